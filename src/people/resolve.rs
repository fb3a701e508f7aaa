//! A person's word on an operation: written with who and why into its record, and into the audit log
//! where there is one. Nothing is sent for it, ever. On many operations: [`many`](super::many).
//!
//! The log gets a line before anything is changed, with what is meant, and one after, with what came
//! of it: written, not written, or not known, where the store did not answer. Where the settings
//! require the log, nothing is changed without the first; the second is written whoever hangs up
//! meanwhile ([`work`](super::work)).

use std::time::Duration;

use tracing::{error, warn};

use super::People;
use super::told::{detail, noted, read};
use crate::admin::{Detail, OpsError, Resolution, Resolved};
use crate::audit::{self, Verdict, Word};
use crate::decide::digest::OperationId;
use crate::decide::operation::change::{self, kept};
use crate::decide::operation::codec::{decode, encode};
use crate::decide::operation::finding::digests;
use crate::decide::operation::record::{self, Record};
use crate::ledger::{Entry, Held, Ledger, RecordId, Replaced};
use crate::notes::Note;
use crate::upstream::Upstream;

/// How often a write is made that the store does not answer. It is the same over the same version, so
/// that it happens once however often it is made.
const WRITES: u32 = 3;
const BETWEEN_WRITES: Duration = Duration::from_millis(200);

/// What is said of operations, and by whom.
#[derive(Clone)]
pub(super) struct Said {
    pub(super) resolution: Resolution,
    pub(super) who: String,
    pub(super) why: String,
}

impl Said {
    /// The same for the audit log.
    pub(super) fn word(&self, rule: Option<&str>, operations: &[String]) -> Word {
        let object = match &self.resolution {
            Resolution::Succeeded { object_id } => object_id.clone(),
            Resolution::Declined => None,
        };
        Word {
            by: self.who.clone(),
            why: self.why.clone(),
            outcome: self.outcome().to_owned(),
            object,
            rule: rule.map(str::to_owned),
            operations: operations.to_vec(),
            not_done: 0,
        }
    }

    pub(super) const fn outcome(&self) -> &'static str {
        match self.resolution {
            Resolution::Succeeded { .. } => "succeeded",
            Resolution::Declined => "declined",
        }
    }

    fn change(&self) -> change::Resolution {
        match &self.resolution {
            Resolution::Succeeded { object_id } => change::Resolution::Succeeded(object_id.clone()),
            Resolution::Declined => change::Resolution::Declined,
        }
    }
}

/// What the write of a word came to.
pub(super) enum Ended {
    /// It stands.
    Written(Box<Record>),
    /// Somebody else wrote meanwhile, or removed it: nothing was changed.
    Moved(Option<Held>),
    /// The store did not answer: it may stand.
    Unknown(String),
    /// It cannot be written: nothing was changed.
    Unwritable(OpsError),
}

impl<L: Ledger, U: Upstream> People<L, U> {
    /// Ends one operation by a person's word, whether or not anybody waits for that.
    pub(super) async fn end(&self, id: &str, said: Said) -> Result<Resolved, OpsError> {
        let (people, id) = (self.clone(), id.to_owned());
        self.work.done(async move { people.end_this(&id, &said).await }).await
    }

    async fn end_this(&self, id: &str, said: &Said) -> Result<Resolved, OpsError> {
        let now = self.exchange.clock.now();
        let Some((held, record)) = self.found(id).await? else {
            return match self.note(id) {
                Some(note) => self.end_note(id, &note, said).await,
                None => Ok(Resolved::NotFound),
            };
        };
        if self.exchange.is_worked_on(held.id, &record) {
            return Ok(Resolved::Busy(Box::new(detail(held.id, &record, now))));
        }
        if !record.unresolved() {
            return Ok(Resolved::NotOpen(Box::new(detail(held.id, &record, now))));
        }
        let ids = [id.to_owned()];
        self.record(Verdict::Asked, said.word(None, &ids)).await?;
        let ended = self.write(&held, record, said).await;
        let (verdict, word) = match &ended {
            Ended::Written(_) => (Verdict::Resolved, said.word(None, &ids)),
            Ended::Unknown(_) => (Verdict::Unknown, said.word(None, &ids)),
            Ended::Moved(_) | Ended::Unwritable(_) => (Verdict::Resolved, not_written(said)),
        };
        self.recorded(verdict, word).await;
        match ended {
            Ended::Written(record) => {
                log(id, said);
                Ok(Resolved::Done(Box::new(detail(held.id, &record, now))))
            }
            Ended::Moved(Some(moved)) => {
                let stands = read(&moved)?;
                let shown = Box::new(detail(moved.id, &stands, now));
                Ok(if stands.open() { Resolved::Busy(shown) } else { Resolved::NotOpen(shown) })
            }
            Ended::Moved(None) => Ok(Resolved::NotFound),
            Ended::Unknown(why) => Err(OpsError::Unknown(why)),
            Ended::Unwritable(why) => Err(why),
        }
    }

    /// A single call has no record: its note is taken away.
    async fn end_note(&self, id: &str, note: &Note, said: &Said) -> Result<Resolved, OpsError> {
        let ids = [id.to_owned()];
        self.record(Verdict::Asked, said.word(None, &ids)).await?;
        if !self.exchange.notes.remove(note.operation) {
            self.recorded(Verdict::Resolved, not_written(said)).await;
            return Ok(Resolved::NotFound);
        }
        self.recorded(Verdict::Resolved, said.word(None, &ids)).await;
        log(id, said);
        let resolved = Some(format!("{}: {}", said.who, said.why));
        Ok(Resolved::Done(Box::new(Detail { resolved, advice: None, ..noted(note) })))
    }

    /// Writes a word over `record`, which is what `held` holds.
    pub(super) async fn write(&self, held: &Held, record: Record, said: &Said) -> Ended {
        let now = self.exchange.clock.now();
        let word = record::Resolved {
            by: said.who.clone(),
            why: said.why.clone(),
            at: now,
            unanswerable: false,
        };
        let record = change::resolved(record, said.change(), word);
        let entry = match encode(&record) {
            Ok(bytes) => Entry {
                record: bytes,
                ttl: kept(&record, &OperationId(held.id.0), now),
                open: false,
                keys: digests(&record, None),
            },
            Err(why) => return Ended::Unwritable(OpsError::Damaged(why.to_string())),
        };
        let mut unheard = None;
        for n in 0..WRITES {
            if n > 0 {
                self.exchange.clock.sleep(BETWEEN_WRITES).await;
            }
            let replaced = self.exchange.ledger.replace(held.id, held.version, entry.clone()).await;
            let stands = match replaced {
                Ok(Replaced::Done(_)) => {
                    self.exchange.recent.wrote(held.id, record.clone(), now);
                    return Ended::Written(Box::new(record));
                }
                Ok(Replaced::Moved(stands)) => stands,
                Err(why) => {
                    // The first says what is in doubt; later ones may only say that it is not asked.
                    unheard.get_or_insert_with(|| why.to_string());
                    continue;
                }
            };
            return match unheard {
                None => Ended::Moved(stands),
                Some(_) if stands.is_some_and(|stands| bears(&stands, &record)) => {
                    Ended::Written(Box::new(record))
                }
                Some(why) => unknown(held.id, said, why),
            };
        }
        unknown(held.id, said, unheard.unwrap_or_default())
    }

    /// Writes a word into the audit log, if there is one.
    pub(super) async fn record(&self, verdict: Verdict, word: Word) -> Result<(), OpsError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let (policy, now) = (self.policy.current(), self.exchange.clock.now());
        let file = self.policy.shown().display().to_string();
        let entry = audit::entry_of(word, verdict, (&file, policy.hash()), now);
        let Err(why) = journal.log.append(entry).await else { return Ok(()) };
        self.exchange.metrics.policy_audit_failed();
        if journal.required && verdict == Verdict::Asked {
            return Err(OpsError::Unrecorded(why.to_string()));
        }
        error!(%why, "policy.audit_log: a person's word on operations is not recorded there");
        Ok(())
    }

    /// Writes down what came of it; what cannot be written is logged.
    pub(super) async fn recorded(&self, verdict: Verdict, word: Word) {
        self.record(verdict, word).await.unwrap_or_default();
    }
}

/// Whether the word that `record` bears stands.
fn bears(stands: &Held, record: &Record) -> bool {
    decode(&stands.record).is_ok_and(|stands| stands.about.resolved == record.about.resolved)
}

fn not_written(said: &Said) -> Word {
    Word { not_done: 1, ..said.word(None, &[]) }
}

fn unknown(id: RecordId, said: &Said, error: String) -> Ended {
    warn!(
        operation_id = %id,
        resolution = said.outcome(),
        by = said.who,
        why = said.why,
        error,
        "it is not known whether a person's word on an operation was written"
    );
    Ended::Unknown(error)
}

fn log(operation_id: &str, said: &Said) {
    warn!(
        operation_id,
        resolution = said.outcome(),
        by = said.who,
        why = said.why,
        "an operation was resolved by a person"
    );
}
