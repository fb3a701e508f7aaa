//! The claim: one awaited round trip for a fresh operation, one more for a known one.
//!
//! It looks for the operation under its other identities, then looks at the ledger ([`swap`]) until
//! the claim stands or somebody else's answer does, then for the others again. Where the ledger does
//! not answer, [`degraded`] says whether it goes on.

use std::time::Duration;

use super::other::{Wanted, begins};
use super::write::entry;
use super::{Asked, Exchange};
use crate::clock::Timestamp;
use crate::decide::operation::record::{Past, Record};
use crate::decide::operation::table::{Owner, Row, Way};
use crate::forward::Lease;
use crate::inflight::Table;
use crate::ledger::{Entry, Held, Ledger, LedgerError, Version};
use crate::refusal::Refusal;
use crate::seams::{self, Mistake};
use crate::upstream::Upstream;

mod degraded;
mod swap;

use degraded::derives;

/// The first pause while another process works on the operation, doubling to [`LONGEST_LOOK`].
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LONGEST_LOOK: Duration = Duration::from_millis(500);

/// A claim that was won.
#[derive(Debug)]
pub(super) struct Holding {
    /// What it found, to be put back if nothing is executed.
    pub(super) found: Option<Record>,
    /// What stands in the ledger for it.
    pub(super) record: Record,
    /// The version of that; `None` if the ledger did not answer, so that it may not stand there.
    pub(super) version: Option<Version>,
    /// Until when no other process takes it over; none does where this one has the ledger alone.
    pub(super) lease: Option<Lease>,
    /// Why its key is sent.
    pub(super) way: Way,
    /// The row that decided.
    pub(super) row: Row,
    /// The call was not known before, so that it may be forgotten if nothing is executed (I2).
    pub(super) first_call: bool,
}

/// What one look at the ledger came to.
enum Looked {
    Done(Claimed),
    /// A lost race: look again.
    Lost,
    /// Another process works on it; this is said should it not end in time.
    Elsewhere(Refusal),
}

/// What came of asking for a claim.
#[derive(Debug)]
pub(super) enum Claimed {
    /// It is won.
    Held(Box<Holding>),
    /// The key of an earlier occurrence is to be sent again, without a claim.
    Earlier(Past),
    /// It is answered without asking the provider.
    Refused(Refusal),
    /// Likewise, with a person's word, after which the next who asks by content may mean another.
    Told(Refusal, Held, Box<Record>),
    /// The ledger did not answer, and nothing may be sent without it; what was to be claimed may
    /// stand there.
    Down(Box<Holding>),
    /// Nobody waits any more.
    Unwanted,
    /// It goes on by its other identity of this number.
    Otherwise(usize),
    /// Nothing is left under this identity, which is not today's; or nothing to be finished.
    Over,
}

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// Claims the operation, wherever it stands, or says why not.
    pub(super) async fn claim(&self, asked: &Asked, table: &Table) -> Claimed {
        if asked.turns > 1 {
            // Another process recognises it otherwise, and turned as well.
            let pause = FIRST_LOOK.saturating_mul(1 << asked.turns.min(5));
            self.clock.sleep(pause.mul_f64(self.chance.share())).await;
        }
        match self.elsewhere(asked, Wanted::NotOver).await {
            Ok(None) => {}
            Ok(Some((n, other))) => match self.stands_today(asked, &other).await {
                Ok(true) => {}
                Ok(false) => return Claimed::Otherwise(n),
                Err(failed) => return self.without_ledger(asked, &failed),
            },
            Err(failed) => return self.without_ledger(asked, &failed),
        }
        let claimed = self.claim_here(asked, table).await;
        let Claimed::Held(holding) = claimed else { return claimed };
        if !begins(holding.way) {
            return Claimed::Held(holding);
        }
        let pinned = !asked.today || asked.recalled.is_some();
        if !pinned && asked.generation != self.policies.generation() {
            // It was recognised before an edit was known, and did not look where that leads.
            self.put_back(asked, &holding).await;
            return Claimed::Refused(self.busy("requests while the policy is edited"));
        }
        if holding.version.is_none() {
            return Claimed::Held(holding);
        }
        // Another process may have looked here before this claim stood, and claimed there since.
        match self.elsewhere(asked, Wanted::NotOver).await {
            Ok(None) => Claimed::Held(holding),
            Ok(Some((n, _))) => {
                self.put_back(asked, &holding).await;
                Claimed::Otherwise(n)
            }
            Err(LedgerError::Unavailable(what)) if derives(asked) => {
                self.store_is_down(asked, &what);
                self.metrics.degraded("store");
                Claimed::Held(holding)
            }
            Err(_unavailable_or_damaged) => Claimed::Down(holding),
        }
    }

    /// Claims the operation under its identity, or says why not.
    async fn claim_here(&self, asked: &Asked, table: &Table) -> Claimed {
        let until = asked.arrived().plus(self.forwarder.limits().deadline);
        let mut look = FIRST_LOOK;
        loop {
            let late = match self.look(asked, table).await {
                Ok(Looked::Done(claimed)) => return claimed,
                Ok(Looked::Lost) => Refusal::StillInFlight,
                Ok(Looked::Elsewhere(late)) => {
                    asked.waits();
                    late
                }
                Err(failed) => return self.without_ledger(asked, &failed),
            };
            if self.clock.now().plus(look) >= until {
                return Claimed::Refused(late);
            }
            tokio::select! {
                biased;
                () = self.clock.sleep(look.mul_f64(self.chance.share())) => {}
                () = table.unwanted() => return Claimed::Unwanted,
            }
            look = look.saturating_mul(2).min(LONGEST_LOOK);
        }
    }
    /// Whether the owner of a record still works on it. This process holds the turn, so a claim of
    /// its own is a left one.
    pub(super) fn owner_of(&self, record: &Record, now: Timestamp) -> Owner {
        match &record.claim {
            Some(claim)
                if !seams::mistake(Mistake::LeaseIgnored)
                    && !self.ledger.exclusive()
                    && claim.owner != self.config.owner
                    && claim.lease > now =>
            {
                Owner::Alive
            }
            Some(_) | None => Owner::Gone,
        }
    }

    /// What is written for `record`.
    pub(super) fn entry(
        asked: &Asked,
        record: &Record,
        now: Timestamp,
    ) -> Result<Entry, LedgerError> {
        entry(&asked.identified.operation, asked.key_digest(), record, now)
    }
}
