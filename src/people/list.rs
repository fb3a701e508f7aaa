//! What is open, listed: of the store, and this process's notes of single calls.

use super::People;
use super::told::{noted, read, summary};
use crate::admin::search::MOST_FOUND;
use crate::admin::{Listed, OpsError};
use crate::ledger::{Ledger, LedgerError};
use crate::upstream::Upstream;

impl<L: Ledger, U: Upstream> People<L, U> {
    /// At most `limit` of them. A store that does not answer leaves the notes, which only this
    /// process has.
    pub(super) async fn listed(&self, limit: usize) -> Result<Listed, OpsError> {
        // More than are wanted: what nobody works on any more, and has its outcome, is not open.
        let (held, store) = match self.exchange.ledger.open(MOST_FOUND).await {
            Ok(held) => (held, None),
            Err(LedgerError::Unavailable(why)) => (Vec::new(), Some(why)),
            Err(damaged @ LedgerError::Damaged(_)) => return Err(damaged.into()),
        };
        let mut more = held.len() >= MOST_FOUND;
        let mut operations = Vec::new();
        for held in held {
            let record = read(&held)?;
            let stands = self.exchange.stands(held.id, &record);
            if stands.is_open() {
                operations.push(summary(held.id, &record, stands));
            }
        }
        let notes = self.exchange.notes.all();
        operations.extend(notes.iter().map(|note| noted(note).summary));
        // The oldest first: alerts go by their age.
        operations.sort_by_key(|operation| operation.since);
        more |= operations.len() > limit;
        operations.truncate(limit);
        let doubt = self.exchange.ledger.doubt();
        Ok(Listed { operations, more, store, doubt })
    }
}
