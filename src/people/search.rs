//! Where operations are looked for: the store's index, its list of what is open, this process's
//! memory and its notes.
//!
//! The index finds one operation by a key, a `Request-Id` or an object's id: the one last written.
//! What is open is looked through as a whole, up to a bound. What is settled is on no list; that of
//! this process is remembered for a while.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tracing::warn;

use super::People;
use super::told::{answered, detail, facts, facts_of_note, noted, read, record_id};
use crate::admin::search::{Found, MOST_FOUND, WHOLE_ID, Wanted};
use crate::admin::{Detail, OpsError};
use crate::clock::Timestamp;
use crate::decide::digest::{key_digest, object_digest, request_digest};
use crate::decide::operation::record::Record;
use crate::ledger::{Held, KeyDigest, Ledger, LedgerError, RecordId};
use crate::notes::Note;
use crate::upstream::Upstream;

/// Reads that are under way at the same time.
pub(super) const AT_ONCE: usize = 32;

/// What was found.
pub(super) enum Hit {
    /// An operation, as it stands.
    Record {
        /// Where, and in which version.
        held: Held,
        /// What is held.
        record: Box<Record>,
    },
    /// A single call.
    Note(Box<Note>),
}

impl Hit {
    /// Its id.
    pub(super) fn id(&self) -> String {
        match self {
            Self::Record { held, .. } => held.id.to_string(),
            Self::Note(note) => note.operation.to_string(),
        }
    }

    /// Its id, and what changes whenever anything about it does.
    pub(super) fn mark(&self) -> (String, u64) {
        let version = match self {
            Self::Record { held, .. } => held.version.0,
            Self::Note(note) => note.at.as_millis(),
        };
        (self.id(), version)
    }

    /// All that is told of it.
    pub(super) fn detail(&self, now: Timestamp) -> Detail {
        match self {
            Self::Record { held, record } => detail(held.id, record, now),
            Self::Note(note) => noted(note),
        }
    }

    const fn last_sent(&self) -> Timestamp {
        match self {
            Self::Record { record, .. } => record.last_sent,
            Self::Note(note) => note.at,
        }
    }
}

/// All that was found, those last sent first.
pub(super) struct Hits {
    pub(super) all: Vec<Hit>,
    pub(super) more: bool,
    pub(super) unreadable: usize,
}

/// Records that may be meant, each once, and what may be missing.
#[derive(Default)]
struct Candidates {
    held: BTreeMap<RecordId, Held>,
    more: bool,
}

impl Candidates {
    fn add(&mut self, found: impl IntoIterator<Item = Held>) {
        self.held.extend(found.into_iter().map(|held| (held.id, held)));
    }
}

impl<L: Ledger, U: Upstream> People<L, U> {
    /// What answers the description `wanted`, those last sent first.
    pub(super) async fn look_for(&self, wanted: &Wanted) -> Result<Found, OpsError> {
        let now = self.exchange.clock.now();
        let Hits { all, more, unreadable } = self.hits(wanted, now).await?;
        let operations = all.iter().map(|hit| hit.detail(now)).collect();
        Ok(Found { operations, more, unreadable })
    }

    /// The same as it stands in the store.
    pub(super) async fn hits(&self, wanted: &Wanted, now: Timestamp) -> Result<Hits, OpsError> {
        let Candidates { held, mut more } = self.candidates(wanted, now).await?;
        let mut unreadable = 0;
        let mut all = Vec::new();
        for held in held.into_values() {
            match read(&held) {
                Ok(record) if is(wanted, held.id, &record, now) => {
                    all.push(Hit::Record { held, record: Box::new(record) });
                }
                Ok(_other) => {}
                Err(why) => {
                    unreadable += 1;
                    warn!(%why, "a record is left out of what people look for");
                }
            }
        }
        if wanted.key.is_none() {
            all.extend(self.noted(wanted, now));
        }
        all.sort_by_key(|hit| std::cmp::Reverse(hit.last_sent()));
        more |= all.len() > wanted.most();
        all.truncate(wanted.most());
        Ok(Hits { all, more, unreadable })
    }

    async fn candidates(&self, wanted: &Wanted, now: Timestamp) -> Result<Candidates, OpsError> {
        let ledger = &self.exchange.ledger;
        let mut all = Candidates::default();
        if let Some(key) = &wanted.key {
            all.add(ledger.by_key(key_digest(key)).await?);
            return Ok(all);
        }
        let whole = wanted.id.iter().filter(|id| id.len() == WHOLE_ID);
        let ids: Vec<RecordId> =
            wanted.ids.iter().chain(whole).filter_map(|id| record_id(id)).collect();
        if !ids.is_empty() {
            all.add(self.each(&ids).await?);
            return Ok(all);
        }
        for digest in indexed(wanted) {
            all.add(ledger.by_key(digest).await?);
        }
        let open = ledger.open(MOST_FOUND).await?;
        all.more = open.len() >= MOST_FOUND;
        all.add(open);
        if !wanted.open {
            // One more than wanted shows that there are more.
            let most = wanted.most().saturating_add(1);
            let mut ids = self
                .exchange
                .recent
                .operations_where(most, |id, record| is(wanted, id, record, now));
            ids.retain(|id| !all.held.contains_key(id));
            all.add(self.each(&ids).await?);
        }
        Ok(all)
    }

    /// The records under these ids, as far as there are any.
    async fn each(&self, ids: &[RecordId]) -> Result<Vec<Held>, LedgerError> {
        let mut all = Vec::new();
        for ids in ids.chunks(AT_ONCE) {
            let found = join_all(ids.iter().map(|id| self.exchange.ledger.get(*id))).await;
            for held in found {
                all.extend(held?);
            }
        }
        Ok(all)
    }

    fn noted(&self, wanted: &Wanted, now: Timestamp) -> impl Iterator<Item = Hit> {
        let notes = self.exchange.notes.all().into_iter();
        let meant = notes.filter(move |note| {
            let id = note.operation.to_string();
            wanted.is(&facts_of_note(&id, note), |request| answered(&note.about, request), now)
        });
        meant.map(|note| Hit::Note(Box::new(note)))
    }
}

/// Whether a record is meant.
fn is(wanted: &Wanted, id: RecordId, record: &Record, now: Timestamp) -> bool {
    let id = id.to_string();
    wanted.is(&facts(&id, record), |request| answered(&record.about, request), now)
}

/// By what the store's index can find it.
fn indexed(wanted: &Wanted) -> impl Iterator<Item = KeyDigest> {
    let request = wanted.request_id.as_deref().map(request_digest);
    let object = wanted.object_id.as_deref().map(object_digest);
    request.into_iter().chain(object)
}
