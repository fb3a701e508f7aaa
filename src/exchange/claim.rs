//! The claim: one awaited round trip for a fresh operation, one more for a known one.
//!
//! The ledger swaps, the table judges; a lost race is judged again. What this process remembers
//! helps where the ledger is down or has forgotten: the occurrence that got further wins.

use std::time::Duration;

use tracing::{error, warn};

use super::other::{Wanted, begins, is_over};
use super::write::entry;
use super::{Asked, Exchange, derives_without_ledger, refusal_of};
use crate::clock::Timestamp;
use crate::decide::identity::Kind;
use crate::decide::operation::change::{Claiming, claimed};
use crate::decide::operation::record::{Claim, Past, Record};
use crate::decide::operation::table::{Ask, Owner, Refused, Row, Send, Then, Way, judge};
use crate::forward::Lease;
use crate::inflight::Table;
use crate::ledger::{Claimed as Found, Entry, Held, Ledger, LedgerError, Replaced, Version};
use crate::refusal::Refusal;
use crate::seams::{self, Mistake, Point};
use crate::upstream::Upstream;

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

    /// One look at the ledger.
    async fn look(&self, asked: &Asked, table: &Table) -> Result<Looked, LedgerError> {
        if !table.wanted() {
            return Ok(Looked::Done(Claimed::Unwanted));
        }
        let ask = self.ask(asked);
        let remembered = self.recent.operation(asked.record(), ask.now);
        let held = match self.candidate(asked, remembered.as_ref(), &ask) {
            None => self.ledger.get(asked.record()).await?,
            Some(candidate) => {
                let entry = Self::entry(asked, &candidate.record, ask.now)?;
                seams::point(Point::BeforeClaim);
                let claimed = self.ledger.claim(&[asked.record()], entry).await;
                seams::point(Point::Claimed);
                let found = match claimed {
                    Err(LedgerError::Unavailable(what)) if !derives(asked) => {
                        return Ok(self.down(asked, candidate, &what));
                    }
                    found => found?,
                };
                match found {
                    Found::Fresh(version) => {
                        if candidate.found.is_some() {
                            self.metrics.alarm("ledger_forgot");
                        }
                        self.metrics.row(candidate.row.as_str());
                        let holding = Holding { version: Some(version), ..candidate };
                        return Ok(Looked::Done(Claimed::Held(Box::new(holding))));
                    }
                    Found::Found(held) if seams::mistake(Mistake::ClaimOverwrites) => {
                        let holding = Holding { version: Some(held.version), ..candidate };
                        return Ok(Looked::Done(Claimed::Held(Box::new(holding))));
                    }
                    Found::Found(held) => Some(held),
                }
            }
        };
        self.judged(asked, &ask, table, held, remembered).await
    }

    /// Judges what stands in the ledger, or what is remembered if that got further.
    async fn judged(
        &self,
        asked: &Asked,
        ask: &Ask<'_>,
        table: &Table,
        held: Option<Held>,
        remembered: Option<Record>,
    ) -> Result<Looked, LedgerError> {
        let found = self.furthest(held.as_ref(), remembered, ask.now)?;
        if let Some(found) = &found
            && (found.claim.is_none() || self.ledger.exclusive())
        {
            // Should the ledger not answer at the next look, this is better than nothing. What
            // another process has claimed it may still put back.
            self.recent.wrote(asked.record(), found.clone(), ask.now);
        }
        let owner = found.as_ref().map_or(Owner::Gone, |found| self.owner_of(found, ask.now));
        let verdict = judge(found.as_ref(), owner, ask);
        if let Some(finishes) = &asked.finishes {
            let stored = self.furthest(held.as_ref(), None, ask.now)?;
            if !finishes.goes_on(stored.as_ref(), found.as_ref(), &verdict) {
                return Ok(Looked::Done(Claimed::Over));
            }
        }
        if asked.begins_nothing()
            && found
                .as_ref()
                .is_none_or(|found| is_over(found, &verdict, ask, asked.names, asked.same_rule))
        {
            return Ok(Looked::Done(Claimed::Over));
        }
        let send = match verdict.then {
            Then::Wait { .. } => return Ok(Looked::Elsewhere(Refusal::StillInFlight)),
            Then::ReplayEarlier(past) => {
                self.metrics.row(verdict.row.as_str());
                return Ok(Looked::Done(Claimed::Earlier(past)));
            }
            // It may be answered already, and how it is settled decides about other content.
            Then::Refuse(Refused::Conflict(fields)) if owner == Owner::Alive => {
                return Ok(Looked::Elsewhere(Refusal::Conflict { fields }));
            }
            Then::Refuse(refused) => {
                self.metrics.row(verdict.row.as_str());
                // Nothing is refused where nothing was found.
                let by_word = refused == Refused::AlreadyDone && ask.kind == Kind::Content;
                let refusal =
                    found.as_ref().map_or(Refusal::Internal, |it| refusal_of(refused, it));
                return Ok(Looked::Done(match (held, found) {
                    (Some(held), Some(record)) if by_word => {
                        Claimed::Told(refusal, held, Box::new(record))
                    }
                    (_, _) => Claimed::Refused(refusal),
                }));
            }
            Then::Send(send) => send,
        };
        let Some(held) = held else { return Ok(Looked::Lost) };
        if !table.wanted() {
            // A claim says that the latest asker has not got its answer. The one before may have,
            // and would be taken for lost should this process die now.
            return Ok(Looked::Done(Claimed::Unwanted));
        }
        let holding = self.holding(asked, found, ask, send, verdict.row);
        let entry = Self::entry(asked, &holding.record, ask.now)?;
        seams::point(Point::BeforeClaim);
        let replaced = self.ledger.replace(held.id, held.version, entry).await;
        seams::point(Point::Claimed);
        let version = match replaced {
            Ok(Replaced::Done(version)) => version,
            Ok(Replaced::Moved(Some(moved))) if seams::mistake(Mistake::VersionIgnored) => {
                Some(moved.version)
            }
            Ok(Replaced::Moved(_)) => return Ok(Looked::Lost),
            // What was read is better than what is remembered, or than nothing.
            Err(LedgerError::Unavailable(what)) if derives(asked) => {
                self.store_is_down(asked, &what);
                self.metrics.degraded("store");
                None
            }
            Err(LedgerError::Unavailable(what)) => return Ok(self.down(asked, holding, &what)),
            Err(failed) => return Err(failed),
        };
        self.metrics.row(verdict.row.as_str());
        Ok(Looked::Done(Claimed::Held(Box::new(Holding { version, ..holding }))))
    }

    /// What is claimed if the ledger holds nothing; `None` if memory says not to send.
    fn candidate(
        &self,
        asked: &Asked,
        remembered: Option<&Record>,
        ask: &Ask<'_>,
    ) -> Option<Holding> {
        if asked.finishes.is_some() {
            // What the ledger does not hold is not finished.
            return None;
        }
        let verdict = judge(remembered, Owner::Gone, ask);
        match verdict.then {
            Then::Send(send) if asked.begins_nothing() && begins(send.way) => None,
            Then::Send(send) => {
                Some(self.holding(asked, remembered.cloned(), ask, send, verdict.row))
            }
            Then::ReplayEarlier(_) | Then::Wait { .. } | Then::Refuse(_) => None,
        }
    }

    fn holding(
        &self,
        asked: &Asked,
        found: Option<Record>,
        ask: &Ask<'_>,
        send: Send,
        row: Row,
    ) -> Holding {
        let ends = ask.now.plus(self.config.lease);
        let with = Claiming {
            claim: Claim { owner: self.config.owner.clone(), token: asked.token(), lease: ends },
            key: asked.key(send.occurrence),
            request: asked.request(),
            api: asked.message.api,
            about: asked.about.clone(),
        };
        let record = claimed(found.as_ref(), ask, send, with);
        let lease = (!self.ledger.exclusive()).then(|| Lease::until(ends));
        Holding { found, record, version: None, lease, way: send.way, row, first_call: false }
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

    /// `store_down`: go on with what can be derived and is remembered, or refuse.
    fn without_ledger(&self, asked: &Asked, failed: &LedgerError) -> Claimed {
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
    fn down(&self, asked: &Asked, holding: Holding, what: &str) -> Looked {
        self.store_is_down(asked, what);
        Looked::Done(Claimed::Down(Box::new(holding)))
    }

    fn store_is_down(&self, asked: &Asked, what: &str) {
        self.metrics.ledger_error("unavailable");
        warn!(operation_id = %asked.identified.operation, error = %what, "the store did not answer");
    }
}

/// Whether the request may be sent while the ledger does not answer.
fn derives(asked: &Asked) -> bool {
    asked.finishes.is_none()
        && derives_without_ledger(&asked.rule, asked.identified.kind, asked.message.api)
}
