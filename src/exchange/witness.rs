//! What is seen of a request while it is handled, for the observer and the record.
//!
//! A witness never changes what is done: it is told on the way, and stays until it is known whether the
//! client got its answer. One that is dropped before says that the client hung up.

use http::{Method, Response, StatusCode};
use tracing::info;

use super::caller::caller;
use super::{Asked, Exchange};
use crate::clock::{Clock, Timestamp};
use crate::decide::identity::Kind;
use crate::decide::key;
use crate::decide::observe::{Ended, Finding, Opinion, Request};
use crate::decide::outcome::{self, Conclusion, ErrorBody, Meaning, Signals, Tally};
use crate::decide::path::Api;
use crate::decide::policy::{Class, Mode, Policy, Recording, Rule};
use crate::decide::traffic::{self, Came, FORMAT, Line, Would, template};
use crate::delivery::Delivery;
use crate::metrics::Metrics;
use crate::observer::Observer;
use crate::observer::tee::{Through, tee};
use crate::refusal::Refusal;
use crate::request::Head;
use crate::respond::OUTCOME;
use crate::server::{Connection, Tasks};
use crate::upstream::Body;

/// A witness, if the request is observed or recorded.
#[derive(Default)]
pub(super) struct Witness(Option<Box<Seeing>>);

struct Seeing {
    observer: Observer,
    metrics: Metrics,
    clock: Clock,
    line: Line,
    api: Api,
    /// It is written down.
    records: bool,
    /// Nothing is done about it, and what would be is counted.
    observes: bool,
    /// What came to light already: its rule would refuse it, or its client key is known.
    known: Option<Would>,
    request: String,
    watched: Option<(Request, Opinion)>,
    /// payonce wrote its answer.
    refused: Option<Came>,
    ended: bool,
}

impl<L, U> Exchange<L, U> {
    /// Whether what is decided under `policy` is written down.
    pub(super) fn records(&self, policy: &Policy) -> bool {
        policy.recording() == Recording::Decisions && self.observer.recorder().is_some()
    }

    /// Calls a witness. Reading is of no interest, unless a rule speaks of it.
    pub(super) fn witness(
        &self,
        policy: &Policy,
        rule: &Rule,
        head: &Head,
        arrived: Timestamp,
    ) -> Witness {
        let passes = rule.class == Class::Pass;
        let reads = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let records = self.records(policy) && !(passes && reads);
        let observes = !passes && (self.config.bypass || policy.mode_of(rule) == Mode::Observe);
        if !records && !observes {
            return Witness(None);
        }
        let mode = if self.config.bypass { "bypass" } else { policy.mode_of(rule).as_str() };
        let agent = head.headers.get(http::header::USER_AGENT).and_then(|it| it.to_str().ok());
        let method = &head.method;
        let line = Line {
            v: FORMAT,
            at: arrived.as_millis(),
            took: 0,
            policy: policy.version().to_owned(),
            method: method.to_string(),
            path: if records { template::of(method, &head.target) } else { String::new() },
            rule: rule.name.clone(),
            class: rule.class.as_str().to_owned(),
            mode: mode.to_owned(),
            kind: None,
            operation: None,
            sdk: agent.and_then(key::sdk_named).map(|sdk| sdk.chars().take(40).collect()),
            caller: caller(&head.headers, self.config.caller.as_deref()),
            said: None,
            amount: None,
            currency: None,
            outcome: Came::HungUp,
            status: None,
            label: None,
            replayed: false,
            delivered: None,
            would: None,
        };
        Witness(Some(Box::new(Seeing {
            observer: self.observer.clone(),
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
            line,
            api: head.target.api(),
            records,
            observes,
            known: None,
            request: String::new(),
            watched: None,
            refused: None,
            ended: false,
        })))
    }
}

impl Witness {
    /// The request was recognised.
    pub(super) fn identified(&mut self, asked: &mut Asked) {
        let Some(seeing) = &mut self.0 else { return };
        seeing.line.kind = Some(asked.identified.kind);
        seeing.line.operation = Some(asked.identified.operation.to_string());
        seeing.line.amount = traffic::amount(asked.about.amount.as_deref());
        seeing.line.currency = traffic::currency(asked.about.currency.as_deref());
        seeing.line.said = asked.said.take().map(|said| *said);
        if seeing.observes {
            seeing.request = asked.request();
        }
    }

    /// It passes, though it would be kept to once. `again`: the same call was sent before.
    pub(super) fn observed(&mut self, asked: &Asked, again: bool) {
        let Some(seeing) = &mut self.0 else { return };
        if asked.client_key.is_none() {
            seeing.metrics.finding(&asked.rule.name, "missing_key");
        }
        if seeing.known.is_some() {
            return;
        }
        if asked.identified.kind == Kind::Call {
            let again = again && asked.client_key.is_some();
            seeing.known = again.then(traffic::would_know);
        } else {
            let (rule, arrived) = (&asked.rule, asked.arrived());
            let request = Request::of(&asked.identified, rule, seeing.api, arrived, asked.token());
            let opinion = seeing.observer.arrive(&request, seeing.clock.now());
            seeing.watched = Some((request, opinion));
        }
    }

    /// The rule would refuse it.
    pub(super) fn refusable(&mut self) {
        if let Some(seeing) = &mut self.0 {
            seeing.known = seeing.observes.then(traffic::would_refuse);
        }
    }

    /// It is kept to once after all, for its key was sent before (I2).
    pub(super) fn enforced(&mut self) {
        if let Some(seeing) = &mut self.0 {
            seeing.observes = false;
            Mode::Enforce.as_str().clone_into(&mut seeing.line.mode);
        }
    }

    /// payonce answers it by itself.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        if let Some(seeing) = &mut self.0 {
            let never_sent = matches!(refusal, Refusal::PassFailed { never_sent: true, .. });
            let came = came_of_code(refusal.code());
            seeing.refused = Some(if never_sent { Came::NotExecuted } else { came });
        }
    }

    /// It is answered: the witness leaves when it is known whether the client got that.
    pub(super) fn answered(
        &mut self,
        response: Response<Body>,
        conn: &Connection,
        tasks: &Tasks,
    ) -> Response<Body> {
        let Some(mut seeing) = self.0.take() else { return response };
        let status = response.status();
        let signals = Signals::of(response.headers());
        let label = response.headers().get(OUTCOME).and_then(|it| it.to_str().ok());
        seeing.line.label = label.map(ToOwned::to_owned);
        seeing.line.status = Some(status.as_u16());
        seeing.line.replayed = signals.replayed;
        seeing.line.took = seeing.took();
        if let Some((request, opinion)) = &seeing.watched {
            let (declined, now) = (status == StatusCode::PAYMENT_REQUIRED, seeing.clock.now());
            seeing.observer.answered(request, opinion, declined, now);
        }
        let Some(place) = seeing.observer.wait() else {
            let came = seeing.came(status, signals, &Through::default());
            seeing.end(came, None);
            return response;
        };
        let (parts, body) = response.into_parts();
        let (body, told) = tee(body, !status.is_success());
        let (response, receipt) = conn.watch.track(Response::from_parts(parts, body));
        tasks.spawn(async move {
            let delivery = receipt.delivery(&seeing.clock).await;
            let through = told.await.unwrap_or_default();
            let came = seeing.came(status, signals, &through);
            seeing.end(came, Some(delivery == Delivery::Yes));
            drop(place);
        });
        response
    }
}

impl Seeing {
    fn took(&self) -> u64 {
        self.clock.now().as_millis().saturating_sub(self.line.at)
    }

    /// What became of the request, by its answer.
    fn came(&self, status: StatusCode, signals: Signals, through: &Through) -> Came {
        if let Some(refused) = self.refused {
            return refused;
        }
        let error = ErrorBody::read(&through.said);
        let code = error.as_ref().and_then(|error| error.code.as_deref());
        if let Some(code) = code.filter(|code| code.starts_with("payonce_")) {
            return came_of_code(code);
        }
        let meaning = outcome::read(status, signals, error.as_ref(), self.api);
        let cut_short = meaning == Meaning::Succeeded && through.broke;
        let mut tally = Tally::default();
        tally.add(if cut_short { Meaning::Unknown } else { meaning });
        match tally.conclusion() {
            Conclusion::Succeeded => Came::Succeeded,
            Conclusion::Declined { .. } => Came::Declined,
            Conclusion::InDoubt { saved_500: true } => Came::SavedError,
            Conclusion::InDoubt { saved_500: false } => Came::Unknown,
            Conclusion::NotExecuted => Came::NotExecuted,
        }
    }

    fn end(&mut self, came: Came, delivered: Option<bool>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.line.outcome = came;
        self.line.delivered = delivered;
        if self.observes
            && let Some(would) = self.finding(came, delivered)
        {
            self.tell(&would);
            self.line.would = Some(would);
        }
        if let Some(recorder) = self.observer.recorder().filter(|_| self.records) {
            recorder.write(self.line.clone());
        }
    }

    /// What came to light, if anything did.
    fn finding(&mut self, came: Came, delivered: Option<bool>) -> Option<Would> {
        let now = self.clock.now();
        let ended = Ended {
            conclusion: traffic::conclusion(came, self.line.status, self.line.replayed),
            replayed: self.line.replayed,
            // Without word of it, the least suspicious is assumed.
            delivered: delivered.unwrap_or(true),
            answered: Timestamp::from_millis(self.line.at.saturating_add(self.line.took)),
        };
        let judged = self.watched.take().map(|(request, opinion)| {
            let arrived = request.arrived;
            let (opinion, finding) = self.observer.end(&request, opinion, &ended, now);
            (arrived, opinion, finding)
        });
        match judged {
            Some((arrived, opinion, finding)) => finding.map(|finding| Would {
                finding,
                does: opinion.does,
                row: opinion.row.to_owned(),
                before: opinion.before,
                after: opinion
                    .last
                    .map(|last| arrived.as_millis().saturating_sub(last.as_millis())),
            }),
            None => self.known.take(),
        }
    }

    /// One line, and a count.
    fn tell(&self, would: &Would) {
        let line = &self.line;
        self.metrics.finding(&line.rule, would.finding.as_str());
        let what = match would.finding {
            Finding::Duplicate => "suspected duplicate: payonce would have kept it to once",
            Finding::Conflict => "the same operation or key with other content",
            Finding::Refused => "the rule would have refused it",
            Finding::Retry => "asked again by the application",
            Finding::SameKey => "asked again with the same key",
            Finding::Repeat => "the same once more after a delivered success: taken as intended",
        };
        info!(
            target: "payonce::observed",
            operation_id = line.operation,
            request = self.request,
            rule = line.rule,
            finding = would.finding.as_str(),
            would = would.does.as_str(),
            row = would.row,
            before = would.before.as_str(),
            after_ms = would.after,
            amount = line.amount,
            currency = line.currency,
            caller = line.caller,
            status = line.status,
            "{what}"
        );
    }
}

impl Drop for Seeing {
    fn drop(&mut self) {
        if !self.ended {
            self.line.took = self.took();
            self.end(self.refused.unwrap_or(Came::HungUp), Some(false));
        }
    }
}

/// What an error that payonce wrote means for the operation.
fn came_of_code(code: &str) -> Came {
    match code {
        "payonce_outcome_unknown"
        | "payonce_answer_unavailable"
        | "payonce_no_answer"
        | "payonce_internal" => Came::Unknown,
        "payonce_upstream_unreachable" | "payonce_rate_limited" => Came::NotExecuted,
        _refused => Came::Refused,
    }
}
