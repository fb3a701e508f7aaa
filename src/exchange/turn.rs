//! Whose turn it is: of those who ask for one operation in this process, one has the turn and a task
//! that works on it; the others share its answer, or wait until it is over and ask anew.
//!
//! Who sits at which table is [`inflight`](crate::inflight)'s; what the one with the turn does is
//! told in [`drive`].

use std::sync::Arc;
use std::time::Duration;

use http::Response;

use super::{Asked, Exchange, drive, refusal_of, unanswered};
use crate::decide::identity::Kind;
use crate::decide::operation::record::Record;
use crate::decide::operation::table::{Owner, Refused, Then, judge};
use crate::inflight::{Entered, NoSeat, Seat, Standing, Table};
use crate::ledger::{Ledger, RecordId};
use crate::refusal::Refusal;
use crate::respond::{Held, Told};
use crate::seams::{self, Point};
use crate::server::Connection;
use crate::trace;
use crate::upstream::{Body, Upstream};

/// How long an answered success is shared, unsettled, with those who name the same operation. They
/// would get a replay of it afterwards.
const NAMED_SHARE: Duration = Duration::from_secs(5);

/// What a visit to a table in flight came to.
enum Visit {
    Answered(Response<Body>),
    /// The turn there is over: ask again.
    Over,
}

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// A single call: nothing to claim, nothing to record.
    pub(super) async fn call_alone(
        &self,
        asked: Arc<Asked>,
        conn: &Connection,
    ) -> Result<Option<Response<Body>>, Refusal> {
        let turn = self.inflight.alone();
        let seat = sit(turn.table(), &asked)?;
        self.tasks.spawn(trace::carried(drive::call(self.clone(), turn, asked)));
        Ok(self.take_answer(seat, conn, false).await)
    }

    /// An operation: one turn at a time in this process, the others wait or share. `None` if it turned
    /// to another identity.
    pub(super) async fn operation(
        &self,
        asked: Arc<Asked>,
        conn: &Connection,
    ) -> Result<Option<Response<Body>>, Refusal> {
        let deadline = self.forwarder.limits().deadline;
        loop {
            match self.inflight.enter(asked.record()) {
                Entered::Full => return Err(self.busy("operations in flight")),
                Entered::Turn(turn) => {
                    let seat = sit(turn.table(), &asked)?;
                    let task = drive::operation(self.clone(), turn, Arc::clone(&asked));
                    self.tasks.spawn(trace::carried(task));
                    return Ok(self.take_answer(seat, conn, false).await);
                }
                Entered::Busy(table) => {
                    asked.waits();
                    let left = deadline.saturating_sub(self.clock.now().since(asked.arrived()));
                    match self.clock.timeout(left, self.visit(&table, &asked, conn)).await {
                        Err(_elapsed) => return Err(Refusal::StillInFlight),
                        Ok(visit) => match visit? {
                            Visit::Answered(response) => return Ok(Some(response)),
                            Visit::Over => {}
                        },
                    }
                }
            }
        }
    }

    /// Comes to an operation in flight: shares its answer, waits until it is over, or is refused.
    async fn visit(
        &self,
        table: &Arc<Table>,
        asked: &Arc<Asked>,
        conn: &Connection,
    ) -> Result<Visit, Refusal> {
        let Standing::Claimed { record, told } = table.standing().await else {
            table.over().await;
            return Ok(Visit::Over);
        };
        let verdict = judge(Some(&record), Owner::Alive, &self.ask(asked));
        self.metrics.row(verdict.row.as_str());
        match verdict.then {
            Then::Wait { share: true } if self.shareable(&record, told.as_deref(), asked) => {
                match table.sit(asked.identified.client_key) {
                    Ok(seat) => {
                        self.metrics.merge("joined");
                        self.remember_call(asked, &record.key);
                        if let Some(response) = self.take_answer(seat, conn, true).await {
                            return Ok(Visit::Answered(response));
                        }
                    }
                    Err(NoSeat::Full) => return Err(self.busy("askers of one operation")),
                    Err(NoSeat::Ending) => {}
                }
            }
            Then::ReplayEarlier(past) => {
                let turn = self.inflight.alone();
                let seat = sit(turn.table(), asked)?;
                let task = drive::earlier(self.clone(), turn, Arc::clone(asked), past);
                self.tasks.spawn(trace::carried(task));
                let answer = self.take_answer(seat, conn, false).await;
                return answer.map(Visit::Answered).ok_or_else(|| unanswered(asked));
            }
            // It is answered already, and how it is settled decides about other content.
            Then::Refuse(Refused::Conflict(_)) if told.is_some() => {}
            Then::Refuse(refused) => return Err(refusal_of(refused, &record)),
            Then::Wait { .. } | Then::Send(_) => {}
        }
        table.over().await;
        Ok(Visit::Over)
    }

    /// Awaits the answer and hands it on; `None` if there is none to be had at this table.
    async fn take_answer(
        &self,
        seat: Seat,
        conn: &Connection,
        joined: bool,
    ) -> Option<Response<Body>> {
        let told = seat.answer().await?;
        let (response, receipt) = conn.watch.track(told.response(joined)?);
        seat.handed(receipt);
        seams::point(Point::Handed);
        Some(response)
    }

    /// A joiner shares an answer that is still to come, or for a while a success. A decline that was
    /// answered is judged again once its delivery is known, so that the next attempt is not answered
    /// with the last; so is a success beyond the while, lest a steady stream of twins shares it for
    /// ever.
    fn shareable(&self, record: &Record, told: Option<&Told>, asked: &Asked) -> bool {
        if asked.recalled.as_ref().is_some_and(|sent| *sent != record.key) {
            return false;
        }
        let Some(told) = told else { return true };
        let window = match asked.identified.kind {
            Kind::Content => asked.rule.repeat_window,
            Kind::Header | Kind::Fields | Kind::OwnKey | Kind::Call => NAMED_SHARE,
        };
        let whole = matches!(told.answer.body, Held::Whole(_));
        told.succeeded && whole && self.clock.now().since(told.at) < window
    }

    /// Whether somebody works on this operation just now: this process by its own word, another by
    /// its lease.
    pub(crate) fn is_worked_on(&self, id: RecordId, record: &Record) -> bool {
        let leased = record.claim.as_ref().is_some_and(|claim| claim.lease > self.clock.now());
        self.inflight.contains(id) || (leased && !self.ledger.exclusive())
    }
}

/// The first seat at a table of one's own.
fn sit(table: &Arc<Table>, asked: &Asked) -> Result<Seat, Refusal> {
    table.sit(asked.identified.client_key).map_err(|_no_seat| Refusal::Internal)
}
