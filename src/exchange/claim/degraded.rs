//! A claim while the ledger does not answer (`store_down`): what is sent without it, and what is not.
//!
//! A key that is derived is safe without a record, so that the ledger being down is no reason not to
//! take a payment unless the rule says so. What this process remembers of the operation says which
//! occurrence it is.

use tracing::{error, warn};

use super::super::other::is_over;
use super::super::{Asked, Exchange, derives_without_ledger, refusal_of};
use super::{Claimed, Holding, Looked};
use crate::decide::operation::table::{Owner, Then, judge};
use crate::ledger::{Ledger, LedgerError};
use crate::refusal::Refusal;
use crate::seams::{self, Mistake};
use crate::upstream::Upstream;

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// `store_down`: go on with what can be derived and is remembered, or refuse.
    pub(super) fn without_ledger(&self, asked: &Asked, failed: &LedgerError) -> Claimed {
        let operation = asked.identified.operation;
        match failed {
            LedgerError::Damaged(what) => {
                self.metrics.ledger_error("damaged");
                error!(operation_id = %operation, error = %what, "the store's record cannot be read; nothing was sent");
                return Claimed::Refused(Refusal::StoreUnreadable);
            }
            LedgerError::Unavailable(what) => self.store_is_down(asked, what),
        }
        if !derives(asked) && !seams::mistake(Mistake::StoreErrorSwallowed) {
            return Claimed::Refused(Refusal::StoreDown);
        }
        self.metrics.degraded("store");
        let ask = self.ask(asked);
        let remembered = self.recent.operation(asked.record(), ask.now);
        let remembered = remembered.filter(|_| !seams::mistake(Mistake::StoreErrorSwallowed));
        let verdict = judge(remembered.as_ref(), Owner::Gone, &ask);
        if asked.begins_nothing() {
            match &remembered {
                // It stood there a moment ago, and perhaps does.
                None => return Claimed::Refused(Refusal::StoreDown),
                Some(found) if is_over(found, &verdict, &ask, asked.names, asked.same_rule) => {
                    return Claimed::Over;
                }
                Some(_) => {}
            }
        }
        self.metrics.row(verdict.row.as_str());
        match verdict.then {
            Then::Send(send) => {
                Claimed::Held(Box::new(self.holding(asked, remembered, &ask, send, verdict.row)))
            }
            Then::ReplayEarlier(past) => Claimed::Earlier(past),
            Then::Refuse(refused) => Claimed::Refused(
                remembered.as_ref().map_or(Refusal::Internal, |it| refusal_of(refused, it)),
            ),
            // Nobody is alive in what only this process remembers.
            Then::Wait { .. } => Claimed::Refused(Refusal::StillInFlight),
        }
    }

    /// A claim that was not answered, where nothing may be sent without it.
    pub(super) fn down(&self, asked: &Asked, holding: Holding, what: &str) -> Looked {
        self.store_is_down(asked, what);
        Looked::Done(Claimed::Down(Box::new(holding)))
    }

    pub(super) fn store_is_down(&self, asked: &Asked, what: &str) {
        self.metrics.ledger_error("unavailable");
        warn!(operation_id = %asked.identified.operation, error = %what, "the store did not answer");
    }
}

/// Whether the request may be sent while the ledger does not answer.
pub(super) fn derives(asked: &Asked) -> bool {
    asked.finishes.is_none()
        && derives_without_ledger(&asked.rule, asked.identified.kind, asked.message.api)
}
