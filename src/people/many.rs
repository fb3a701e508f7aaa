//! A person's word on all open operations of a rule: shown first, then acted on.
//!
//! What is confirmed is the very operations that were shown, in the state in which they were: the
//! look gives them a name, made of their number and a digest of their ids and versions, and the act
//! looks again and does nothing under another name. Each is then written over the version that was
//! looked at, and over no other.

use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tracing::warn;

use super::People;
use super::resolve::{Ended, Said};
use super::search::{AT_ONCE, Hit};
use super::told::read;
use crate::admin::OpsError;
use crate::admin::bulk::{Bulk, Bulked, Failed, Resolutions, Shown};
use crate::admin::search::Found;
use crate::audit::{self, Verdict, Word};
use crate::decide::operation::record::Record;
use crate::ledger::{Held, Ledger};
use crate::upstream::Upstream;

/// Hexadecimal digits of a name's digest: enough for what changes by itself.
const DIGITS: usize = 8;

/// What a word means.
struct Meant {
    /// What it is said of.
    these: Vec<Hit>,
    /// What somebody works on: it is left alone.
    busy: Vec<String>,
    more: bool,
    unreadable: usize,
}

impl Meant {
    /// Names these very operations as they are: `3-9f2c81d0`.
    fn name(&self) -> String {
        let mut marks: Vec<(String, u64)> = self.these.iter().map(Hit::mark).collect();
        marks.sort_unstable();
        let mut digest = Sha256::new();
        for (id, version) in marks {
            digest.update(id);
            digest.update(version.to_be_bytes());
        }
        let digest: String = hex::encode(digest.finalize()).chars().take(DIGITS).collect();
        format!("{}-{digest}", self.these.len())
    }
}

/// How one of many ended.
enum Came {
    Done,
    Busy,
    Changed,
    Unknown(String),
    Failed(String),
}

impl<L: Ledger, U: Upstream> People<L, U> {
    /// Shows what is meant, or ends it all, whether or not anybody waits for that.
    pub(super) async fn end_all(&self, said: &Bulk) -> Result<Bulked, OpsError> {
        let (people, said) = (self.clone(), said.clone());
        self.work.done(async move { people.end_each(&said).await }).await
    }

    async fn end_each(&self, bulk: &Bulk) -> Result<Bulked, OpsError> {
        let meant = self.meant(bulk).await?;
        match &bulk.expect {
            None if !bulk.yes => return Ok(Bulked::Shown(self.shown(&meant))),
            Some(expected) if *expected != meant.name() => {
                return Ok(Bulked::Unexpected(meant.these.len()));
            }
            None | Some(_) => {}
        }
        let Meant { these, busy, more, .. } = meant;
        // What was shown does not have them, so that nobody expects them to be done.
        let busy = if bulk.yes { busy } else { Vec::new() };
        let mut done = Resolutions { busy, more, ..Resolutions::default() };
        if these.is_empty() {
            return Ok(Bulked::Done(done));
        }
        let said = Said {
            resolution: bulk.outcome.resolution(),
            who: bulk.by.trim().to_owned(),
            why: bulk.why.trim().to_owned(),
        };
        let ids: Vec<String> = these.iter().map(Hit::id).collect();
        self.asked(&ids, &bulk.rule, &said).await?;
        let mut silent = false;
        for these in these.chunks(AT_ONCE) {
            let came = match self.reason_to_stop(silent) {
                Some(why) => these.iter().map(|_| Came::Failed(why.to_owned())).collect(),
                None => join_all(these.iter().map(|hit| self.end_one_of(hit, &said))).await,
            };
            silent |= came.iter().all(|came| matches!(came, Came::Unknown(_)));
            for (hit, came) in these.iter().zip(came) {
                note_down(&mut done, hit.id(), came);
            }
        }
        self.told_of(&done, ids.len(), &bulk.rule, &said).await;
        Ok(Bulked::Done(done))
    }

    /// Why nothing more is begun, if so. Nobody waits for as long as a store that answers nothing takes
    /// to be asked for each of a thousand operations.
    fn reason_to_stop(&self, silent: bool) -> Option<&'static str> {
        if self.work.ends() {
            return Some("payonce ends; nothing was changed");
        }
        silent.then_some("the store answered for none of those before; nothing was changed")
    }

    /// What is meant, as it stands now.
    async fn meant(&self, bulk: &Bulk) -> Result<Meant, OpsError> {
        let now = self.exchange.clock.now();
        let found = self.hits(&bulk.wanted(), now).await?;
        let mut meant = Meant {
            these: Vec::new(),
            busy: Vec::new(),
            more: found.more,
            unreadable: found.unreadable,
        };
        for hit in found.all {
            match &hit {
                Hit::Record { held, record } if self.exchange.is_worked_on(held.id, record) => {
                    meant.busy.push(hit.id());
                }
                // Its outcome is known; whoever asked for it again died over that.
                Hit::Record { record, .. } if !record.unresolved() => {}
                Hit::Record { .. } | Hit::Note(_) => meant.these.push(hit),
            }
        }
        Ok(meant)
    }

    fn shown(&self, meant: &Meant) -> Shown {
        let now = self.exchange.clock.now();
        let operations = meant.these.iter().map(|hit| hit.detail(now)).collect();
        let found = Found { operations, more: meant.more, unreadable: meant.unreadable };
        Shown { found, set: meant.name(), busy: meant.busy.len() }
    }

    /// Ends one of many, if it is still what was looked at.
    async fn end_one_of(&self, hit: &Hit, said: &Said) -> Came {
        let (held, record) = match hit {
            Hit::Record { held, record } => (held, record),
            Hit::Note(note) if self.exchange.notes.remove(note.operation) => return Came::Done,
            Hit::Note(_) => return Came::Changed,
        };
        if self.exchange.is_worked_on(held.id, record) {
            return Came::Busy;
        }
        match self.write(held, Record::clone(record), said).await {
            Ended::Written(_) => Came::Done,
            Ended::Moved(stands) => {
                let busy = |held: &Held| {
                    read(held).is_ok_and(|record| self.exchange.is_worked_on(held.id, &record))
                };
                if stands.as_ref().is_some_and(busy) { Came::Busy } else { Came::Changed }
            }
            Ended::Unknown(why) => Came::Unknown(why),
            Ended::Unwritable(why) => Came::Failed(why.to_string()),
        }
    }

    /// Writes down what is meant, before anything is changed.
    async fn asked(&self, ids: &[String], rule: &str, said: &Said) -> Result<(), OpsError> {
        let mut before = 0;
        for ids in ids.chunks(audit::MOST_OPERATIONS) {
            if let Err(why) = self.record(Verdict::Asked, said.word(Some(rule), ids)).await {
                if before > 0 {
                    let none = Word { not_done: before, ..said.word(Some(rule), &[]) };
                    self.recorded(Verdict::Resolved, none).await;
                }
                return Err(why);
            }
            before += ids.len();
        }
        Ok(())
    }

    /// Writes down what came of `asked` operations.
    async fn told_of(&self, done: &Resolutions, asked: usize, rule: &str, said: &Said) {
        let unknown: Vec<String> =
            done.unknown.iter().map(|failed| failed.operation_id.clone()).collect();
        let not_done = asked.saturating_sub(done.done.len() + unknown.len());
        let mut left = not_done;
        for ids in done.done.chunks(audit::MOST_OPERATIONS) {
            let not_done = std::mem::take(&mut left);
            let word = Word { not_done, ..said.word(Some(rule), ids) };
            self.recorded(Verdict::Resolved, word).await;
        }
        if left > 0 {
            let word = Word { not_done: left, ..said.word(Some(rule), &[]) };
            self.recorded(Verdict::Resolved, word).await;
        }
        for ids in unknown.chunks(audit::MOST_OPERATIONS) {
            self.recorded(Verdict::Unknown, said.word(Some(rule), ids)).await;
        }
        warn!(
            rule,
            resolution = said.outcome(),
            by = said.who,
            why = said.why,
            resolved = done.done.len(),
            not_done,
            unknown = unknown.len(),
            "operations of a rule were resolved by a person"
        );
    }
}

fn note_down(done: &mut Resolutions, operation_id: String, came: Came) {
    match came {
        Came::Done => done.done.push(operation_id),
        Came::Busy => done.busy.push(operation_id),
        Came::Changed => done.changed.push(operation_id),
        Came::Unknown(why) => done.unknown.push(Failed { operation_id, why }),
        Came::Failed(why) => done.failed.push(Failed { operation_id, why }),
    }
}
