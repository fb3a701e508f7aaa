//! Watches the store for forgetting: every few seconds, and after each new connection.
//!
//! Redis drops records without a word: an eviction policy, a FLUSHALL, a restart without
//! persistence, a fail-over to a replica that was behind. The keys that payonce derives keep what
//! was forgotten safe within its epoch; people must know all the same, and v2 requests by content
//! are refused from then on (DESIGN §4).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use redis::Value;
use tracing::{error, warn};

use super::facts::Facts;
use super::fault::Fault;
use super::keys::{Command, Keys};
use super::links::Links;
use super::mark::{Mark, Sign};
use super::node::Node;
use super::slots::text;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::metrics::Metrics;

/// What is known of the store, as far as the watch has seen.
pub(super) struct Watch {
    clock: Clock,
    chance: Chance,
    metrics: Metrics,
    trusted: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// By tag: at most 256.
    marks: BTreeMap<u8, Mark>,
    evicted: BTreeMap<u8, u64>,
    /// What was said already.
    doubts: Vec<String>,
}

/// One look at one master.
struct Look {
    facts: Facts,
    mark: Option<Mark>,
}

impl Watch {
    pub(super) fn new(clock: Clock, chance: Chance, metrics: Metrics) -> Self {
        let trusted = AtomicBool::new(false);
        Self { clock, chance, metrics, trusted, seen: Mutex::default() }
    }

    /// Whether all that was seen so far speaks for a store that forgets nothing.
    pub(super) fn trusted(&self) -> bool {
        self.trusted.load(Ordering::Acquire)
    }

    /// Why it is not trusted, if it is not and that is known.
    pub(super) fn doubt(&self) -> Option<String> {
        if self.trusted() {
            return None;
        }
        let (seen, now) = (self.seen(), self.clock.now());
        let lost =
            seen.marks.values().filter(|mark| !mark.is_trusted(now)).map(|mark| mark.at).max();
        let lost = lost.map(|at| {
            let at = at.rfc3339();
            format!(
                "it was emptied, restored or failed over, which was seen at {at}: what it had been \
                 told before may be lost"
            )
        });
        lost.or_else(|| seen.doubts.last().cloned())
    }

    /// Looks at each master once.
    pub(super) async fn look(&self, links: &Links, keys: &Keys) -> Result<(), Fault> {
        let tags = tags(links, keys).await?;
        let mut trusted = true;
        for (tag, node) in &tags {
            let look = match Self::ask(links, keys, *tag).await {
                Ok(look) => look,
                Err(fault) => {
                    self.trusted.store(false, Ordering::Release);
                    return Err(fault);
                }
            };
            trusted &= self.judge(links, keys, *tag, node, look).await?;
        }
        self.trusted.store(trusted, Ordering::Release);
        Ok(())
    }

    async fn ask(links: &Links, keys: &Keys, tag: u8) -> Result<Look, Fault> {
        let key = keys.watch(tag);
        let mut save = redis::cmd("CONFIG");
        save.arg("GET").arg("save");
        let mut get = redis::cmd("GET");
        get.arg(&key);
        let asked = [redis::cmd("INFO"), save, get];
        let asked = asked.map(|cmd| Command::new(key.clone(), cmd));
        let mut answers = links.send(&asked).await.into_iter();
        let mut next = || answers.next().unwrap_or(Ok(Value::Nil));
        // Both may be forbidden; the mark may not.
        let (info, save) = (next().unwrap_or(Value::Nil), next().unwrap_or(Value::Nil));
        let mark = next()?;
        Ok(Look {
            facts: Facts::read(&info, &save),
            mark: text(&mark).and_then(|text| Mark::parse(&text)),
        })
    }

    /// Says what is new, and marks the store anew where that is called for.
    async fn judge(
        &self,
        links: &Links,
        keys: &Keys,
        tag: u8,
        node: &Node,
        look: Look,
    ) -> Result<bool, Fault> {
        let now = self.clock.now();
        let Look { facts, mark: found } = look;
        let replication = facts.replication.clone().unwrap_or_else(|| "-".to_owned());
        let known = self.seen().marks.get(&tag).cloned();
        let sign = Mark::sign(known.as_ref(), found.as_ref(), &replication);
        if sign.lost() {
            self.forgot(sign, node);
        }
        let evicts = self.evicted(tag, node, facts.evicted);
        self.doubts(node, &facts);
        let stands = match found {
            Some(found) if found.replication == replication && (!evicts || found.again) => found,
            Some(found) => {
                let mark = Mark { replication, at: now, again: true, ..found };
                set(links, keys, tag, &mark, false).await?;
                mark
            }
            None => {
                let random = hex::encode(self.chance.bytes::<8>());
                let mark = Mark { random, replication, at: now, again: sign.lost() || evicts };
                set(links, keys, tag, &mark, true).await?.unwrap_or(mark)
            }
        };
        let trusted = stands.is_trusted(now) && facts.keeps();
        self.seen().marks.insert(tag, stands);
        Ok(trusted)
    }

    fn forgot(&self, sign: Sign, node: &Node) {
        self.metrics.store_forgot(sign.as_str());
        match sign {
            Sign::Same | Sign::New => {}
            Sign::Gone | Sign::Other => {
                error!(%node, sign = sign.as_str(), "THE STORE FORGOT: it was emptied or went back \
                    in time; operations of the current epoch keep their derived keys, which the \
                    provider knows; older ones, and who got which answer, are lost. Check what \
                    emptied it");
            }
            Sign::Handed => {
                warn!(%node, "the store's history of writes is another one (a fail-over or a \
                    restart): the last writes may be lost; derived keys keep the operations of the \
                    current epoch safe");
            }
        }
    }

    /// Whether it dropped records since the last look.
    fn evicted(&self, tag: u8, node: &Node, evicted: u64) -> bool {
        let before = self.seen().evicted.insert(tag, evicted);
        let more = before.is_some_and(|before| evicted > before);
        if more {
            self.metrics.store_forgot("evicted");
            error!(%node, evicted, "THE STORE FORGETS: it evicts records because its memory is \
                full; set maxmemory-policy noeviction and give it more memory");
        }
        more
    }

    /// What was not said before.
    fn doubts(&self, node: &Node, facts: &Facts) {
        for doubt in facts.doubts() {
            let said = format!("{node}: {doubt}");
            let mut seen = self.seen();
            // A few per server; a Cluster that grows without end is said no more of.
            if seen.doubts.len() < 1024 && !seen.doubts.contains(&said) {
                warn!(%node, why = %doubt, "THE STORE MAY FORGET. Until that is mended, derived keys alone keep \
                    forgotten operations safe, and v2 requests are not recognised by content");
                seen.doubts.push(said);
            }
        }
    }

    /// Nothing awaits while this is held.
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a mark; what stands there instead, if it was only to be written where none stood.
async fn set(
    links: &Links,
    keys: &Keys,
    tag: u8,
    mark: &Mark,
    only_new: bool,
) -> Result<Option<Mark>, Fault> {
    let key = keys.watch(tag);
    let mut cmd = redis::cmd("SET");
    cmd.arg(&key).arg(mark.to_string());
    if only_new {
        cmd.arg("NX").arg("GET");
    }
    let stood = links.ask(Command::new(key, cmd)).await?;
    Ok(if only_new { text(&stood).and_then(|text| Mark::parse(&text)) } else { None })
}

/// A tag of each master: the first one that it serves.
async fn tags(links: &Links, keys: &Keys) -> Result<Vec<(u8, Node)>, Fault> {
    let masters = links.masters().await?.len();
    let mut tags: Vec<(u8, Node)> = Vec::new();
    for tag in 0..=u8::MAX {
        if tags.len() >= masters {
            break;
        }
        if let Some(node) = links.master_of(&keys.watch(tag)).await?
            && !tags.iter().any(|(_, known)| *known == node)
        {
            tags.push((tag, node));
        }
    }
    Ok(tags)
}
