//! A ledger in Redis (7.0 or newer) or Valkey, shared by any number of processes.
//!
//! Every write is one small script ([`keys`]): a compare and swap of one record together with its
//! place on the list of open operations, atomic on a single server, behind Sentinel and on a
//! Cluster. The digests by which people look operations up go along in the same round trip as
//! hints: one that is lost does no harm. Versions are drawn by the writer ([`version`]).
//!
//! *A claim* of a fresh operation is one round trip. Where an operation may stand under older ids,
//! those are read first, in a round trip before: on a Cluster they lie in other slots, where no
//! script reaches, and a claim that had to be taken back afterwards could be left standing by a
//! lost connection, to be taken over with another key. Who writes under an older id only knows that
//! one, so a look at a later moment would protect no better.
//!
//! *What Redis promises is less than a disk does.* Replication is asynchronous, and `WAIT` does not
//! change that (a replica that acknowledged need not be the one that is promoted): a fail-over can
//! lose the last writes. Nothing here assumes otherwise. A forgotten operation derives the same key
//! within its epoch, and the provider refuses the duplicate. Replicas are never read.
//!
//! Nothing is sent twice unless a server said that it did not execute it ([`links`]); what was sent
//! and not answered is [`LedgerError::Unavailable`], and may have happened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Claimed, Entry, Held, KeyDigest, Ledger, LedgerError, RecordId, Replaced, Version};
use super::{no_id, value};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::server::Tasks;
use crate::trace::Store;

mod breaker;
mod config;
mod dial;
mod facts;
mod fault;
mod keys;
mod link;
mod links;
mod mark;
mod node;
mod slots;
mod version;
mod watch;

pub use config::{Config, OpenError, Topology};
pub use dial::{Login, TlsError};
use fault::Fault;
use keys::{Command, Keys, Swap};
use links::Links;
pub use node::{BadNode, Node};
use version::Versions;
use watch::Watch;

/// How many records are read in one round trip for the list of open operations.
const BATCH: usize = 64;
/// The longest pause between two looks while a look fails.
const SOON: Duration = Duration::from_millis(500);
/// How long closing may take until connections are cut.
const CLOSING: Duration = Duration::from_secs(5);

/// A ledger in Redis.
pub struct Redis {
    shared: Arc<Shared>,
    tasks: Tasks,
    end: CancellationToken,
}

struct Shared {
    links: Links,
    keys: Keys,
    watch: Watch,
    versions: Versions,
    clock: Clock,
    chance: Chance,
    metrics: Metrics,
    every: Duration,
    about: String,
    traced: Store,
}

impl Redis {
    /// Connects, checks the servers and begins to watch them. If none answers, payonce starts all
    /// the same: a pod that starts during a fail-over should serve as `store_down` says, and they
    /// are checked once they answer.
    ///
    /// # Errors
    /// [`OpenError`] if servers answer that payonce can never work with: an old version, a wrong
    /// password; or if TLS cannot be set up.
    pub async fn open(
        config: Config,
        clock: Clock,
        chance: Chance,
        metrics: Metrics,
    ) -> Result<Self, OpenError> {
        let tls = if config.nodes.iter().any(Node::tls) {
            Some(dial::connector(config.ca_file.as_deref())?)
        } else {
            None
        };
        let nodes: Vec<_> = config.nodes.iter().map(ToString::to_string).collect();
        let about = format!("{:?} {}", config.topology, nodes.join(","));
        let traced = config.traced();
        let (tasks, every) = (Tasks::new(), config.watch);
        let keys = Keys::new(config.prefix.clone());
        let watch = Watch::new(clock.clone(), chance.clone(), metrics.clone());
        let links =
            Links::new(config, tls, clock.clone(), chance.clone(), metrics.clone(), tasks.clone());
        let versions = Versions::default();
        let shared =
            Shared { links, keys, watch, versions, clock, chance, metrics, every, about, traced };
        let ledger = Self { shared: Arc::new(shared), tasks, end: CancellationToken::new() };
        match ledger.shared.look().await {
            Ok(()) => {}
            Err(Fault::Unfit(why)) => return Err(OpenError::Unfit(why)),
            Err(fault) => {
                warn!(store = ledger.shared.about, error = %fault, "the store does not answer: payonce \
                    starts without it, and serves as store_down says until it does");
            }
        }
        let (shared, end) = (Arc::clone(&ledger.shared), ledger.end.clone());
        ledger.tasks.spawn(async move { shared.watch_on(end).await });
        Ok(ledger)
    }

    /// What traces tell of it.
    pub(super) fn traced(&self) -> Store {
        self.shared.traced.clone()
    }

    /// Ends the watch and closes the connections. A later call connects anew and is not watched.
    pub async fn close(&self) {
        self.end.cancel();
        self.shared.links.close();
        let drained = self.shared.clock.timeout(CLOSING, self.tasks.drained()).await;
        if drained.is_err() {
            debug!("a connection to the store was still in use");
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Shared {
    async fn look(&self) -> Result<(), Fault> {
        self.watch.look(&self.links, &self.keys).await
    }

    async fn watch_on(&self, end: CancellationToken) {
        let mut was_down = false;
        loop {
            // A connection that was made a moment ago must be looked at, though the first look came
            // too early.
            let pause = if was_down { self.every.min(SOON) } else { self.every };
            tokio::select! {
                () = end.cancelled() => return,
                () = self.clock.sleep(pause) => {}
                () = self.links.connected.notified() => {}
            }
            let looked = tokio::select! {
                () = end.cancelled() => return,
                looked = self.look() => looked,
            };
            match looked {
                Ok(()) => was_down = false,
                Err(fault) if !was_down => {
                    was_down = true;
                    warn!(store = self.about, error = %fault, "the store cannot be watched");
                }
                Err(_fault) => {}
            }
        }
    }

    /// How long something is kept, in the server's milliseconds.
    fn ttl(&self, ttl: Duration) -> u64 {
        u64::try_from(self.clock.real(ttl).as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 52)
    }

    /// Swaps a record and writes its hints, in one round trip.
    async fn swap(
        &self,
        id: RecordId,
        seen: Option<Version>,
        entry: Option<&Entry>,
    ) -> Result<Swapped, LedgerError> {
        let fresh = self.versions.draw(self.clock.now(), &self.chance, seen);
        let stored = entry.map(|entry| value::encode(fresh, &entry.record));
        let ttl = entry.map_or(1, |entry| self.ttl(entry.ttl));
        let swap = Swap {
            id,
            seen: seen.map(|seen| seen.0),
            value: stored.as_deref(),
            ttl,
            open: entry.is_some_and(|entry| entry.open),
        };
        let mut commands = vec![self.keys.swap(&swap)];
        for key in entry.into_iter().flat_map(|entry| &entry.keys) {
            let key = self.keys.digest(*key);
            let mut set = redis::cmd("SET");
            set.arg(&key).arg(id.to_string()).arg("PX").arg(ttl);
            commands.push(Command::hint(key, set));
        }
        let mut answers = self.links.send(&commands).await.into_iter();
        let swapped = answers.next().unwrap_or_else(|| Err(Fault::Silent("no answer".to_owned())));
        let swapped = swapped?;
        for hint in answers {
            if let Err(fault) = hint {
                self.metrics.ledger_error("index");
                debug!(error = %fault, "a key will not find its operation; nothing else hangs on it");
            }
        }
        if swapped == Value::Int(1) {
            return Ok(Swapped::Done(fresh));
        }
        Ok(Swapped::Stands(read(id, &swapped)?))
    }

    /// The records under `ids`, in their order.
    async fn read(&self, ids: &[RecordId]) -> Result<Vec<Option<Held>>, LedgerError> {
        let commands: Vec<_> = ids
            .iter()
            .map(|id| {
                let key = self.keys.record(*id);
                let mut get = redis::cmd("GET");
                get.arg(&key);
                Command::new(key, get)
            })
            .collect();
        let answers = self.links.send(&commands).await;
        ids.iter().zip(answers).map(|(id, answer)| read(*id, &answer?)).collect()
    }

    /// Ids on the lists of open operations, those that are kept longest first.
    async fn listed(&self, limit: usize) -> Result<Vec<RecordId>, LedgerError> {
        let commands: Vec<_> = (0..=u8::MAX)
            .map(|tag| {
                let key = self.keys.open(tag);
                let mut list = redis::cmd("ZRANGE");
                list.arg(&key).arg(0).arg(limit.saturating_sub(1)).arg("REV");
                Command::new(key, list)
            })
            .collect();
        let mut ids = Vec::new();
        for answer in self.links.send(&commands).await {
            let Value::Array(members) = answer? else { continue };
            ids.extend(members.iter().filter_map(id_in));
        }
        Ok(ids)
    }
}

/// What a swap found.
enum Swapped {
    Done(Version),
    Stands(Option<Held>),
}

impl Ledger for Redis {
    async fn claim(&self, ids: &[RecordId], fresh: Entry) -> Result<Claimed, LedgerError> {
        fresh.check()?;
        let (first, older) = ids.split_first().ok_or_else(no_id)?;
        if !older.is_empty()
            && let Some(held) = self.shared.read(ids).await?.into_iter().flatten().next()
        {
            return Ok(Claimed::Found(held));
        }
        match self.shared.swap(*first, None, Some(&fresh)).await? {
            Swapped::Done(version) => Ok(Claimed::Fresh(version)),
            Swapped::Stands(Some(held)) => Ok(Claimed::Found(held)),
            // Nothing stood in the way of a claim that was not done: not an answer of the script's.
            Swapped::Stands(None) => {
                Err(LedgerError::Damaged("a claim without a result".to_owned()))
            }
        }
    }

    async fn replace(
        &self,
        id: RecordId,
        seen: Version,
        entry: Entry,
    ) -> Result<Replaced, LedgerError> {
        entry.check()?;
        Ok(match self.shared.swap(id, Some(seen), Some(&entry)).await? {
            Swapped::Done(version) => Replaced::Done(Some(version)),
            Swapped::Stands(held) => Replaced::Moved(held),
        })
    }

    async fn remove(&self, id: RecordId, seen: Version) -> Result<Replaced, LedgerError> {
        Ok(match self.shared.swap(id, Some(seen), None).await? {
            Swapped::Done(_) => Replaced::Done(None),
            Swapped::Stands(held) => Replaced::Moved(held),
        })
    }

    async fn get(&self, id: RecordId) -> Result<Option<Held>, LedgerError> {
        Ok(self.shared.read(&[id]).await?.into_iter().flatten().next())
    }

    async fn open(&self, limit: usize) -> Result<Vec<Held>, LedgerError> {
        let mut open = Vec::new();
        if limit == 0 {
            return Ok(open);
        }
        for ids in self.shared.listed(limit).await?.chunks(BATCH) {
            open.extend(self.shared.read(ids).await?.into_iter().flatten());
            if open.len() >= limit {
                break;
            }
        }
        open.truncate(limit);
        Ok(open)
    }

    async fn by_key(&self, key: KeyDigest) -> Result<Option<Held>, LedgerError> {
        let key = self.shared.keys.digest(key);
        let mut get = redis::cmd("GET");
        get.arg(&key);
        match id_in(&self.shared.links.ask(Command::new(key, get)).await?) {
            Some(id) => self.get(id).await,
            None => Ok(None),
        }
    }

    fn exclusive(&self) -> bool {
        false
    }

    fn never_forgets(&self) -> bool {
        self.shared.watch.trusted()
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("at", &self.shared.about).finish_non_exhaustive()
    }
}

fn read(id: RecordId, answer: &Value) -> Result<Option<Held>, LedgerError> {
    if *answer == Value::Nil {
        return Ok(None);
    }
    let Value::BulkString(bytes) = answer else {
        return Err(LedgerError::Damaged(format!("the value of record {id} is no text")));
    };
    value::decode(id, bytes).map(Some).map_err(LedgerError::Damaged)
}

fn id_in(value: &Value) -> Option<RecordId> {
    let mut id = [0; 32];
    hex::decode_to_slice(slots::text(value)?, &mut id).ok()?;
    Some(RecordId(id))
}
