//! The journey of a request, told in one place.
//!
//! ```text
//! accept ─ classify ─ buffer ─ identify ─ claim ─ forward (retry…) ─ settle ─ respond ─ delivered
//! ```
//!
//! [`Exchange::handle`] names the steps that every request takes in the client's own task, which
//! ends when the client hangs up. Those who ask for the same share or wait ([`turn`]); from the claim
//! on an operation has a task of its own ([`drive`]), which shutdown waits for. What is decided on the
//! way is decided in [`decide`](crate::decide).

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Request, Response};
use tracing::warn;

use crate::clock::Timestamp;
use crate::decide::identity::Kind;
use crate::decide::operation::record::Record;
use crate::decide::operation::table::Refused;
use crate::decide::path::Api;
use crate::decide::policy::{Class, Mode, Policy, Rule};
use crate::ledger::Ledger;
use crate::refusal::Refusal;
use crate::request::Head;
use crate::respond::{Held, OPERATION_ID, OUTCOME, POLICY};
use crate::seams::{self, Point};
use crate::server::{Connection, Serve};
use crate::trace;
use crate::upstream::{Body, Upstream};

mod about;
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
mod turn;
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
            Class::Pass if !self.may_concern(&head, credentials.as_ref(), policy) => {
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

/// Its own task ended without an answer, which is a bug: what was sent is not known.
fn unanswered(asked: &Asked) -> Refusal {
    Refusal::OutcomeUnknown { cause: None, last: None, again: asked.again() }
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
