//! The journey of a request, told in one place.
//!
//! ```text
//! accept ─ classify ─ buffer ─ identify ─ claim ─ forward (retry…) ─ settle ─ respond ─ delivered
//! ```
//!
//! [`Exchange::handle`] names the steps that every request takes in the client's own task, which
//! ends when the client hangs up. From the claim on an operation has a task of its own
//! ([`drive`]), which shutdown waits for. What is decided on the way is decided in
//! [`decide`](crate::decide).

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Request, Response};
use tracing::warn;

use crate::clock::Timestamp;
use crate::decide::identity::Kind;
use crate::decide::operation::record::Record;
use crate::decide::operation::table::{Owner, Refused, Then, judge};
use crate::decide::path::Api;
use crate::decide::policy::{Class, Mode, Policy, Rule};
use crate::inflight::{Entered, NoSeat, Seat, Standing, Table};
use crate::ledger::{Ledger, RecordId};
use crate::refusal::Refusal;
use crate::request::Head;
use crate::respond::{Held, OPERATION_ID, OUTCOME, POLICY, Told};
use crate::seams::{self, Point};
use crate::server::{Connection, Serve};
use crate::trace;
use crate::upstream::{Body, Upstream};

mod asked;
mod caller;
mod claim;
mod client;
mod credentials;
mod drive;
mod finishing;
mod guard;
mod look;
mod other;
mod pass;
mod reading;
mod rooms;
mod settle;
mod tell;
mod witness;
mod write;

use asked::Unbuffered;
pub use asked::{Asked, Other};
pub use client::WARNING;
pub(crate) use credentials::{Credentials, api_key};
pub use finishing::Kept;
pub use guard::Guards;
pub(crate) use guard::found_in;
pub(crate) use look::{Identity as LookedUp, Seen};
use other::Wanted;
pub(crate) use other::{OtherWays, other_identities};
pub(crate) use reading::{By, Reading, remembered};
pub use rooms::{CatchUp, Config, OtherSecret, Policies, Rooms};
pub use write::Write;

/// How long an answered success is shared, unsettled, with those who name the same operation. They
/// would get a replay of it afterwards.
const NAMED_SHARE: Duration = Duration::from_secs(5);

/// Answers requests by the policy. Clones share everything.
pub struct Exchange<L, U>(Arc<Rooms<L, U>>);

impl<L, U> Clone for Exchange<L, U> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L, U> std::ops::Deref for Exchange<L, U> {
    type Target = Rooms<L, U>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<L: Ledger, U: Upstream> Serve for Exchange<L, U> {
    async fn call(&self, request: Request<Body>, conn: Connection) -> Response<Body> {
        let span = self.tracer.request(request.method(), request.headers());
        span.version(request.version());
        let response = span.during(self.answer(request, conn)).await;
        for (key, field) in [("payonce.operation_id", OPERATION_ID), ("payonce.outcome", OUTCOME)] {
            let said = || response.headers().get(field)?.to_str().ok().map(str::to_owned);
            span.note(|it| it.tell_some(key, said()));
        }
        span.answered(response.status());
        response
    }
}

/// What is learnt of a request beside its answer.
#[derive(Default)]
struct Beside {
    /// What its SDK is told.
    warning: client::Warning,
    /// What is observed and written down of it.
    witness: witness::Witness,
}

/// What a visit to a table in flight came to.
enum Visit {
    Answered(Response<Body>),
    /// The turn there is over: ask again.
    Over,
}

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// An exchange of these rooms.
    pub fn new(rooms: Rooms<L, U>) -> Self {
        Self(Arc::new(rooms))
    }

    async fn answer(&self, request: Request<Body>, conn: Connection) -> Response<Body> {
        let arrived = self.clock.now();
        let _in_flight = self.metrics.in_flight();
        let method = request.method().clone();
        let (parts, body) = request.into_parts();
        if let Some(catch_up) = self.policies.catch_up() {
            catch_up.await;
        }
        let policy = self.policies.current();
        let mut beside = Beside::default();
        let handled = Box::pin(self.handle(parts, body, &conn, &policy, arrived, &mut beside));
        let handled = handled.await.map_err(|refusal| {
            beside.witness.refused(&refusal);
            self.refuse(&refusal, &policy)
        });
        let mut response = judged_by(&policy, handled);
        beside.warning.attach(response.headers_mut());
        let response = beside.witness.answered(response, &conn, &self.tasks);
        self.metrics.request(&method, response.status(), self.clock.now().since(arrived));
        response
    }

    async fn handle(
        &self,
        parts: Parts,
        body: Body,
        conn: &Connection,
        policy: &Policy,
        arrived: Timestamp,
        beside: &mut Beside,
    ) -> Result<Response<Body>, Refusal> {
        let mut head = Head::check(parts)?;
        let rule = Arc::clone(policy.judge(&head.method, &head.target));
        trace::about(&head.method, &head.target, &rule.name);
        self.client(&head.method, &head.headers, policy, &mut beside.warning)?;
        let acts = !self.config.bypass && policy.mode_of(&rule) == Mode::Enforce;
        let credentials = self.admit(&mut head, policy, &rule, acts)?;
        beside.witness = self.witness(policy, &rule, &head, arrived);
        let witness = &mut beside.witness;
        if !acts {
            return self
                .unenforced(head, body, conn, policy, &rule, credentials.as_ref(), arrived, witness)
                .await;
        }
        match rule.class {
            Class::Refuse => return Err(Refusal::ByPolicy { rule: rule.name.clone() }),
            Class::Pass
                if !self.may_be_known(&head, credentials.as_ref())
                    && !self.was_critical(&head.method, &head.target, policy) =>
            {
                self.lets_pass(&head, credentials.as_ref());
                return self.pass(head, body).await;
            }
            Class::Pass | Class::Critical => {}
        }
        let Some(credentials) = credentials else {
            // I7: without a scope nothing is joined, recorded or replayed.
            return self.pass(head, body).await;
        };
        let body = match self.buffer(body).await {
            Ok(body) => Arc::new(body),
            Err(Unbuffered::Refused(refusal)) => return Err(refusal),
            Err(Unbuffered::TooLarge(rest)) if rule.class == Class::Pass => {
                self.lets_pass(&head, Some(&credentials));
                return self.pass(head, rest).await;
            }
            Err(Unbuffered::TooLarge(rest)) => {
                return self.stream_once(head, rest, &rule, arrived).await;
            }
        };
        let identify =
            |rule: &Arc<Rule>| self.identify(&head, &body, &credentials, policy, rule, arrived);
        let mut asked = match identify(&rule) {
            Ok(asked) => asked,
            // What was critical under another policy is looked at; that is no reason to refuse it.
            Err(_refused) if rule.class == Class::Pass => {
                self.lets_pass(&head, Some(&credentials));
                return self.pass_held(head, &body).await;
            }
            Err(refused) => self.begun(refused, identify(&Arc::new(rule.by_call()))).await?,
        };
        witness.identified(&mut asked);
        if !self.recall(&mut asked) && rule.class == Class::Pass {
            if let Some(former) = self.found_elsewhere(&asked, Wanted::Unfinished).await {
                return self.enforce(former, conn).await;
            }
            self.lets_pass(&head, Some(&credentials));
            return self.pass_held(head, &body).await;
        }
        self.enforce(asked, conn).await
    }

    /// What is critical is kept to once.
    async fn enforce(&self, asked: Asked, conn: &Connection) -> Result<Response<Body>, Refusal> {
        seams::point(Point::Identified);
        let former = match asked.identified.kind {
            Kind::Call => self.found_elsewhere(&asked, Wanted::NotOver).await,
            Kind::Header | Kind::Fields | Kind::OwnKey | Kind::Content => None,
        };
        let mut asked = Arc::new(former.unwrap_or(asked));
        loop {
            let answer = match asked.identified.kind {
                Kind::Call => self.call_alone(Arc::clone(&asked), conn).await?,
                Kind::Header | Kind::Fields | Kind::OwnKey | Kind::Content => {
                    self.operation(Arc::clone(&asked), conn).await?
                }
            };
            match (answer, asked.turned.get()) {
                (Some(answer), _) => return Ok(answer),
                (None, Some(turned)) => asked = Arc::clone(turned),
                // Without an answer its task has failed: it is not begun again behind the client's
                // back.
                (None, None) => return Err(unanswered(&asked)),
            }
        }
    }

    /// A single call: nothing to claim, nothing to record.
    async fn call_alone(
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
    async fn operation(
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

    fn busy(&self, limit: &'static str) -> Refusal {
        self.metrics.limit_reached(limit);
        Refusal::Busy(limit)
    }

    /// payonce's own `Request-Id`.
    fn request_id(&self) -> String {
        format!("req_payonce_{}", hex::encode(self.chance.bytes::<8>()))
    }

    fn refuse(&self, refusal: &Refusal, policy: &Policy) -> Response<Body> {
        self.metrics.refusal(refusal.code());
        trace::note(|it| it.tell("payonce.code", refusal.code()));
        let answer = refusal.answer(&self.request_id());
        let status = answer.status.as_u16();
        let (code, why, policy) = (refusal.code(), refusal.message(), policy.version());
        warn!(code, status, why, policy_version = policy, "refused");
        let Held::Whole(body) = answer.body else {
            return Response::new(crate::upstream::empty_body());
        };
        let mut response = Response::new(crate::respond::full(body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
    }
}

/// Says by which policy a request was judged: on every critical answer, and on what payonce itself
/// answers (an `Err`).
fn judged_by(policy: &Policy, handled: Result<Response<Body>, Response<Body>>) -> Response<Body> {
    let mut response = match handled {
        Ok(response) if !response.headers().contains_key(OPERATION_ID) => return response,
        Ok(response) | Err(response) => response,
    };
    if let Ok(version) = HeaderValue::from_str(policy.version()) {
        response.headers_mut().insert(POLICY, version);
    }
    response
}

/// The first seat at a table of one's own.
fn sit(table: &Arc<Table>, asked: &Asked) -> Result<Seat, Refusal> {
    table.sit(asked.identified.client_key).map_err(|_no_seat| Refusal::Internal)
}

/// Its own task ended without an answer, which is a bug: what was sent is not known.
fn unanswered(asked: &Asked) -> Refusal {
    let keyless_call = asked.identified.kind == Kind::Call && asked.client_key.is_none();
    Refusal::OutcomeUnknown { cause: None, last: None, keyless_call }
}

fn refusal_of(refused: Refused, record: &Record) -> Refusal {
    match refused {
        Refused::Superseded => Refusal::Superseded,
        Refused::WindowElapsed => Refusal::WindowElapsed,
        Refused::AlreadyDone => {
            Refusal::AlreadyDone { object: record.about.object.clone(), at: record.first_sent }
        }
        Refused::Conflict(fields) => Refusal::Conflict { fields },
    }
}

/// Whether `rule` can be kept while the ledger does not answer.
fn derives_without_ledger(rule: &Rule, kind: Kind, api: Api) -> bool {
    let content_v2 = kind == Kind::Content && api == Api::V2;
    rule.store_down == crate::decide::policy::StoreDown::Derive && !content_v2
}
