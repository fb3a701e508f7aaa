//! What a request would find now, for people who ask. Nothing is claimed, written or sent.

use super::Exchange;
use super::other::is_over;
use crate::decide::identity::Kind;
use crate::decide::operation::record::Record;
use crate::decide::operation::table::{Ask, Owner, Verdict, judge};
use crate::ledger::{Ledger, LedgerError, RecordId};
use crate::upstream::Upstream;

/// One identity of a request: its record, and what the table looks at.
pub(crate) struct Identity<'a> {
    pub(crate) id: RecordId,
    pub(crate) ask: Ask<'a>,
    /// Today's rule makes the same two requests the same operation.
    pub(crate) same_rule: bool,
}

/// What is known of an operation, and what a request for it would come to.
pub(crate) struct Seen {
    /// Which identity it goes by: 0 is today's, the others follow in the order in which they were
    /// given.
    pub(crate) by: usize,
    pub(crate) id: RecordId,
    /// The record, of the ledger or of this process's memory.
    pub(crate) record: Option<Record>,
    /// Whether somebody works on it.
    pub(crate) owner: Owner,
    /// What would happen.
    pub(crate) verdict: Verdict,
}

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// Judges a request as [`claim`](super::claim) would at its first look: by another identity of
    /// it where its operation stands under that and is not over, else by `today`'s. A moment later
    /// it may be otherwise.
    ///
    /// # Errors
    /// The ledger did not answer, or holds what cannot be read.
    pub(crate) async fn seen(
        &self,
        today: &Identity<'_>,
        others: &[Identity<'_>],
    ) -> Result<Seen, LedgerError> {
        for (n, other) in others.iter().enumerate() {
            let seen = self.seen_by(n + 1, other).await?;
            let names = today.ask.kind == Kind::Fields;
            let over = |record: &Record| {
                is_over(record, &seen.verdict, &other.ask, names, other.same_rule)
            };
            if seen.record.as_ref().is_some_and(|record| !over(record)) {
                return Ok(seen);
            }
        }
        self.seen_by(0, today).await
    }

    async fn seen_by(&self, by: usize, identity: &Identity<'_>) -> Result<Seen, LedgerError> {
        let Identity { id, ask, .. } = identity;
        let held = self.ledger.get(*id).await?;
        let remembered = self.recent.operation(*id, ask.now);
        let record = self.furthest(held.as_ref(), remembered, ask.now)?;
        let owner = match &record {
            _here if self.inflight.contains(*id) => Owner::Alive,
            Some(record) => self.owner_of(record, ask.now),
            None => Owner::Gone,
        };
        let verdict = judge(record.as_ref(), owner, ask);
        Ok(Seen { by, id: *id, record, owner, verdict })
    }
}
