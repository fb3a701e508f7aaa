//! What a request would find now, for people who ask. Nothing is claimed, written or sent.

use super::Exchange;
use crate::decide::operation::record::Record;
use crate::decide::operation::table::{Ask, Owner, Verdict, judge};
use crate::ledger::{Ledger, LedgerError, RecordId};
use crate::upstream::Upstream;

/// What is known of an operation, and what a request for it would come to.
pub(crate) struct Seen {
    /// The record, of the ledger or of this process's memory.
    pub(crate) record: Option<Record>,
    /// Whether somebody works on it.
    pub(crate) owner: Owner,
    /// What would happen.
    pub(crate) verdict: Verdict,
}

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// Judges what `ask` asks as [`claim`](super::claim) would at its first look. A moment later it
    /// may be otherwise.
    ///
    /// # Errors
    /// The ledger did not answer, or holds what cannot be read.
    pub(crate) async fn seen(&self, id: RecordId, ask: &Ask<'_>) -> Result<Seen, LedgerError> {
        let held = self.ledger.get(id).await?;
        let remembered = self.recent.operation(id, ask.now);
        let record = self.furthest(held.as_ref(), remembered, ask.now)?;
        let owner = match &record {
            _here if self.inflight.contains(id) => Owner::Alive,
            Some(record) => self.owner_of(record, ask.now),
            None => Owner::Gone,
        };
        let verdict = judge(record.as_ref(), owner, ask);
        Ok(Seen { record, owner, verdict })
    }
}
