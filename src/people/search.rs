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
use super::told::{answered, facts, facts_of_note, noted, read, record_id};
use crate::admin::search::{Found, MOST_FOUND, WHOLE_ID, Wanted};
use crate::admin::{Detail, OpsError};
use crate::clock::Timestamp;
use crate::decide::digest::{key_digest, object_digest, request_digest};
use crate::decide::operation::record::Record;
use crate::ledger::{Held, KeyDigest, Ledger, LedgerError, RecordId};
use crate::upstream::Upstream;

/// Reads that are under way at the same time.
pub(super) const AT_ONCE: usize = 32;

/// Records that were found, each once, and what may be missing.
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
        let Candidates { held, mut more } = self.candidates(wanted, now).await?;
        let mut unreadable = 0;
        let mut found = Vec::new();
        for held in held.values() {
            match read(held) {
                Ok(record) if self.is(wanted, held.id, &record, now) => {
                    found.push(self.detail(held.id, &record, now));
                }
                Ok(_other) => {}
                Err(why) => {
                    unreadable += 1;
                    warn!(%why, "a record is left out of what people look for");
                }
            }
        }
        if wanted.key.is_none() {
            found.extend(self.noted(wanted, now));
        }
        found.sort_by_key(|detail| std::cmp::Reverse(last_sent(detail)));
        more |= found.len() > wanted.most();
        found.truncate(wanted.most());
        Ok(Found { operations: found, more, unreadable })
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
                .operations_where(most, |id, record| self.is(wanted, id, record, now));
            ids.retain(|id| !all.held.contains_key(id));
            all.add(self.each(&ids).await?);
        }
        Ok(all)
    }

    /// Whether a record is meant.
    pub(super) fn is(
        &self,
        wanted: &Wanted,
        id: RecordId,
        record: &Record,
        now: Timestamp,
    ) -> bool {
        let (stands, id) = (self.exchange.stands(id, record), id.to_string());
        wanted.is(&facts(&id, record, stands), |request| answered(&record.about, request), now)
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

    fn noted(&self, wanted: &Wanted, now: Timestamp) -> Vec<Detail> {
        let notes = self.exchange.notes.all();
        let meant = notes.iter().filter(|note| {
            let id = note.operation.to_string();
            wanted.is(&facts_of_note(&id, note), |request| answered(&note.about, request), now)
        });
        meant.map(noted).collect()
    }
}

/// By what the store's index can find it.
fn indexed(wanted: &Wanted) -> impl Iterator<Item = KeyDigest> {
    let request = wanted.request_id.as_deref().map(request_digest);
    let object = wanted.object_id.as_deref().map(object_digest);
    request.into_iter().chain(object)
}

fn last_sent(detail: &Detail) -> Timestamp {
    detail.last_sent.unwrap_or(detail.summary.since)
}
