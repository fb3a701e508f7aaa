//! One look at the ledger: what stands there is judged by the table, and a claim swapped in.
//!
//! The ledger compares and swaps, the table judges; a lost race is looked at again by whoever asked.
//! What this process remembers helps where the ledger has forgotten: the occurrence that got further
//! wins.

use super::super::other::{begins, is_over};
use super::super::{Asked, Exchange, refusal_of};
use super::degraded::derives;
use super::{Claimed, Holding, Looked};
use crate::clock::Timestamp;
use crate::decide::identity::Kind;
use crate::decide::operation::change::{Claiming, claimed};
use crate::decide::operation::record::{Claim, Record};
use crate::decide::operation::table::{Ask, Owner, Refused, Row, Send, Then, judge};
use crate::forward::Lease;
use crate::inflight::Table;
use crate::ledger::{Claimed as Found, Held, Ledger, LedgerError, Replaced};
use crate::refusal::Refusal;
use crate::seams::{self, Mistake, Point};
use crate::upstream::Upstream;

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// One look at the ledger.
    pub(super) async fn look(&self, asked: &Asked, table: &Table) -> Result<Looked, LedgerError> {
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
        let row = verdict.row;
        let send = match verdict.then {
            Then::Wait { .. } => return Ok(Looked::Elsewhere(Refusal::StillInFlight)),
            Then::ReplayEarlier(past) => {
                self.metrics.row(row.as_str());
                return Ok(Looked::Done(Claimed::Earlier(past)));
            }
            // It may be answered already, and how it is settled decides about other content.
            Then::Refuse(Refused::Conflict(fields)) if owner == Owner::Alive => {
                return Ok(Looked::Elsewhere(Refusal::Conflict { fields }));
            }
            Then::Refuse(refused) => {
                self.metrics.row(row.as_str());
                return Ok(Looked::Done(refused_by(refused, held, found, ask.kind)));
            }
            Then::Send(send) => send,
        };
        let Some(held) = held else { return Ok(Looked::Lost) };
        if !table.wanted() {
            // A claim says that the latest asker has not got its answer. The one before may have,
            // and would be taken for lost should this process die now.
            return Ok(Looked::Done(Claimed::Unwanted));
        }
        let holding = self.holding(asked, found, ask, send, row);
        self.swap(asked, &held, holding, ask.now).await
    }

    /// Puts a claim in the place of what was read, unless another did so first.
    async fn swap(
        &self,
        asked: &Asked,
        read: &Held,
        holding: Holding,
        now: Timestamp,
    ) -> Result<Looked, LedgerError> {
        let entry = Self::entry(asked, &holding.record, now)?;
        seams::point(Point::BeforeClaim);
        let replaced = self.ledger.replace(read.id, read.version, entry).await;
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
        self.metrics.row(holding.row.as_str());
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

    /// The claim with which `send` is made over what was found.
    pub(super) fn holding(
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
}

/// What comes of asking for what the table refuses.
fn refused_by(refused: Refused, held: Option<Held>, found: Option<Record>, kind: Kind) -> Claimed {
    let by_word = refused == Refused::AlreadyDone && kind == Kind::Content;
    // Nothing is refused where nothing was found.
    let refusal = found.as_ref().map_or(Refusal::Internal, |it| refusal_of(refused, it));
    match (held, found) {
        (Some(held), Some(record)) if by_word => Claimed::Told(refusal, held, Box::new(record)),
        (_, _) => Claimed::Refused(refusal),
    }
}
