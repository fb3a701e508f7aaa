//! A person's word on operations, one or many: written with who and why into each record, and into
//! the audit log where there is one. Nothing is sent for it, ever.
//!
//! The log gets a line before anything is changed, with what is meant, and one after, with what was
//! done; where the settings require the log, nothing is changed without the first.

use futures_util::future::join_all;
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::People;
use super::search::AT_ONCE;
use super::next_key::frees_next_key;
use super::told::{answered, facts_of_note, noted, read};
use crate::admin::bulk::{Bulk, Bulked, Failed, Resolutions};
use crate::admin::search::Wanted;
use crate::admin::{Detail, OpsError, Resolution, Resolved};
use crate::audit::{self, Verdict, Word};
use crate::decide::digest::OperationId;
use crate::decide::operation::change::{self, kept};
use crate::decide::operation::codec::encode;
use crate::decide::operation::finding::digests;
use crate::decide::operation::record::{self, Record};
use crate::ledger::{Entry, Held, Ledger, Replaced};
use crate::upstream::Upstream;

/// What is said of operations, and by whom.
#[derive(Clone, Copy)]
struct Said<'a> {
    resolution: &'a Resolution,
    who: &'a str,
    why: &'a str,
}

/// How one of many ended.
enum Ended {
    Done,
    Busy,
    Changed,
}

impl<L: Ledger, U: Upstream> People<L, U> {
    /// Ends one operation by a person's word.
    pub(super) async fn end(
        &self,
        id: &str,
        resolution: &Resolution,
        who: &str,
        why: &str,
    ) -> Result<Resolved, OpsError> {
        let now = self.exchange.clock.now();
        let said = Said { resolution, who, why };
        let word = |id: &str| word(said, None, vec![id.to_owned()]);
        let Some((held, record)) = self.found(id).await? else {
            let Some(note) = self.note(id) else { return Ok(Resolved::NotFound) };
            self.record(Verdict::Asked, word(id)).await?;
            self.exchange.notes.remove(note.operation);
            self.recorded(word(id)).await;
            let resolved = Some(format!("{who}: {why}"));
            return Ok(Resolved::Done(Box::new(Detail { resolved, advice: None, ..noted(&note) })));
        };
        if self.exchange.is_worked_on(held.id, &record) {
            return Ok(Resolved::Busy(Box::new(self.detail(held.id, &record, now))));
        }
        if !record.unresolved() {
            return Ok(Resolved::NotOpen(Box::new(self.detail(held.id, &record, now))));
        }
        if frees_next_key(&record, resolution) {
            return Ok(Resolved::NextKey(Box::new(self.detail(held.id, &record, now))));
        }
        self.record(Verdict::Asked, word(id)).await?;
        let resolved = self.write(&held, record, said).await?;
        let done = matches!(resolved, Resolved::Done(_));
        self.recorded(if done { word(id) } else { Word { not_done: 1, ..word_on_none(said) } })
            .await;
        Ok(resolved)
    }

    /// Ends all operations that `said` means, whether or not anybody waits for that.
    pub(super) async fn end_all(&self, said: &Bulk) -> Result<Bulked, OpsError> {
        let (people, said) = (self.clone(), said.clone());
        let (tell, told) = oneshot::channel();
        self.exchange.tasks.spawn(async move {
            let bulked = people.end_each(&said).await;
            if tell.send(bulked).is_err() {
                warn!("nobody waited to hear what became of the operations that were resolved");
            }
        });
        told.await.unwrap_or_else(|_ended| {
            Err(OpsError::Unavailable("it ended before all was done".to_owned()))
        })
    }

    async fn end_each(&self, bulk: &Bulk) -> Result<Bulked, OpsError> {
        let wanted = bulk.wanted();
        let found = self.look_for(&wanted).await?;
        let ids: Vec<String> =
            found.operations.into_iter().map(|detail| detail.summary.operation_id).collect();
        if bulk.expect.is_some_and(|expected| expected != ids.len()) {
            return Ok(Bulked::Unexpected(ids.len()));
        }
        let mut done = Resolutions { more: found.more, ..Resolutions::default() };
        if ids.is_empty() {
            return Ok(Bulked::Done(done));
        }
        let resolution = bulk.outcome.resolution();
        let said = Said { resolution: &resolution, who: bulk.by.trim(), why: bulk.why.trim() };
        for ids in ids.chunks(audit::MOST_OPERATIONS) {
            let rule = Some(bulk.rule.clone());
            self.record(Verdict::Asked, word(said, rule, ids.to_vec())).await?;
        }
        for ids in ids.chunks(AT_ONCE) {
            let ended = join_all(ids.iter().map(|id| self.end_one_of(id, &wanted, said))).await;
            for (id, ended) in ids.iter().zip(ended) {
                note_down(&mut done, id.clone(), ended);
            }
        }
        let not_done = ids.len().saturating_sub(done.done.len());
        for (n, ids) in done.done.chunks(audit::MOST_OPERATIONS).enumerate() {
            let not_done = if n == 0 { not_done } else { 0 };
            let rule = Some(bulk.rule.clone());
            self.recorded(Word { not_done, ..word(said, rule, ids.to_vec()) }).await;
        }
        if done.done.is_empty() {
            let rule = Some(bulk.rule.clone());
            self.recorded(Word { rule, not_done, ..word_on_none(said) }).await;
        }
        warn!(
            rule = bulk.rule,
            resolution = bulk.outcome.name(),
            by = said.who,
            why = said.why,
            resolved = done.done.len(),
            not_done,
            "operations of a rule were resolved by a person"
        );
        Ok(Bulked::Done(done))
    }

    /// Ends one of many, if it is still what was meant.
    async fn end_one_of(
        &self,
        id: &str,
        wanted: &Wanted,
        said: Said<'_>,
    ) -> Result<Ended, OpsError> {
        let now = self.exchange.clock.now();
        let Some((held, record)) = self.found(id).await? else {
            let Some(note) = self.note(id) else { return Ok(Ended::Changed) };
            let facts = facts_of_note(id, &note);
            let meant = wanted.is(&facts, |request| answered(&note.about, request), now);
            let removed = meant && self.exchange.notes.remove(note.operation);
            return Ok(if removed { Ended::Done } else { Ended::Changed });
        };
        if self.exchange.is_worked_on(held.id, &record) {
            return Ok(Ended::Busy);
        }
        if !record.unresolved() || !self.is(wanted, held.id, &record, now) {
            return Ok(Ended::Changed);
        }
        Ok(match self.write(&held, record, said).await? {
            Resolved::Done(_) => Ended::Done,
            Resolved::Busy(_) => Ended::Busy,
            Resolved::NotOpen(_) | Resolved::NotFound | Resolved::NextKey(_) => Ended::Changed,
        })
    }

    async fn write(
        &self,
        held: &Held,
        record: Record,
        said: Said<'_>,
    ) -> Result<Resolved, OpsError> {
        let now = self.exchange.clock.now();
        let resolution = match said.resolution {
            Resolution::Succeeded { object_id } => change::Resolution::Succeeded(object_id.clone()),
            Resolution::Declined { .. } => change::Resolution::Declined,
        };
        let word = record::Resolved {
            by: said.who.to_owned(),
            why: said.why.to_owned(),
            at: now,
            unanswerable: false,
        };
        let record = change::resolved(record, resolution, word);
        let entry = Entry {
            record: encode(&record).map_err(|why| OpsError::Damaged(why.to_string()))?,
            ttl: kept(&record, &OperationId(held.id.0), now),
            open: false,
            keys: digests(&record, None),
        };
        match self.exchange.ledger.replace(held.id, held.version, entry).await? {
            Replaced::Done(_) => {
                self.exchange.recent.wrote(held.id, record.clone(), now);
                Ok(Resolved::Done(Box::new(self.detail(held.id, &record, now))))
            }
            Replaced::Moved(Some(moved)) => {
                Ok(Resolved::Busy(Box::new(self.detail(moved.id, &read(&moved)?, now))))
            }
            Replaced::Moved(None) => Ok(Resolved::NotFound),
        }
    }

    /// Writes a word into the audit log, if there is one.
    async fn record(&self, verdict: Verdict, word: Word) -> Result<(), OpsError> {
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

    /// Writes down what was done; what cannot be written is logged.
    async fn recorded(&self, word: Word) {
        self.record(Verdict::Resolved, word).await.unwrap_or_default();
    }
}

fn note_down(done: &mut Resolutions, operation_id: String, ended: Result<Ended, OpsError>) {
    match ended {
        Ok(Ended::Done) => done.done.push(operation_id),
        Ok(Ended::Busy) => done.busy.push(operation_id),
        Ok(Ended::Changed) => done.changed.push(operation_id),
        Err(why) => done.failed.push(Failed { operation_id, why: why.to_string() }),
    }
}

fn word(said: Said<'_>, rule: Option<String>, operations: Vec<String>) -> Word {
    let (outcome, object) = match said.resolution {
        Resolution::Succeeded { object_id } => ("succeeded", object_id.clone()),
        Resolution::Declined { .. } => ("declined", None),
    };
    Word {
        by: said.who.to_owned(),
        why: said.why.to_owned(),
        outcome: outcome.to_owned(),
        object,
        rule,
        operations,
        not_done: 0,
    }
}

fn word_on_none(said: Said<'_>) -> Word {
    word(said, None, Vec::new())
}
