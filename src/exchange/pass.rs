//! What passes: requests that are not critical, calls too large to hold, and everything while the
//! mode is `observe` or the bypass is on (except what already has a key, I2).

use std::sync::Arc;

use http::header::HeaderValue;
use http::{Method, Request, Response};
use tracing::{info, warn};

use super::Exchange;
use super::asked::{Asked, Other, Unbuffered, uri};
use super::other::{Wanted, unfinished, was_sent_for};
use super::witness::Witness;
use super::{Credentials, reading};
use crate::clock::Timestamp;
use crate::decide::digest::OperationId;
use crate::decide::identity::Kind;
use crate::decide::key::IdempotencyKey;
use crate::decide::operation::record::About;
use crate::decide::policy::{Class, ClientKey, IdentityRule, Policy, Rule};
use crate::forward::IDEMPOTENCY_KEY;
use crate::ledger::Ledger;
use crate::notes::Note;
use crate::passthrough;
use crate::recent::Call;
use crate::refusal::{Again, Refusal};
use crate::request::{Buffered, Head};
use crate::respond::{Label, annotate, full};
use crate::server::Connection;
use crate::trace;
use crate::upstream::{Body, SendError, Upstream, headers, routes};

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// Hands on a request that is not critical, streamed both ways.
    pub(super) async fn pass(&self, head: Head, body: Body) -> Result<Response<Body>, Refusal> {
        let host = routes::host(&head.method, head.target.segments());
        let mut request = Request::new(body);
        *request.uri_mut() = uri(&head)?;
        *request.headers_mut() = headers::toward_upstream(&head.headers);
        *request.method_mut() = head.method;
        *request.extensions_mut() = head.extensions;
        self.passed(request, host).await
    }

    async fn passed(
        &self,
        request: Request<Body>,
        host: crate::upstream::Host,
    ) -> Result<Response<Body>, Refusal> {
        let within = self.forwarder.limits().deadline;
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let sent = passthrough::forward(
            self.forwarder.upstream(),
            &self.clock,
            &self.chance,
            request,
            host,
            within,
        );
        match sent.await {
            Ok(response) => {
                self.metrics.passthrough(response.status());
                Ok(response)
            }
            Err(error) => Err(pass_failed(&error, reads)),
        }
    }

    /// A call over the body limit: sent once with its key, while it streams.
    pub(super) async fn stream_once(
        &self,
        head: Head,
        rest: Body,
        rule: &Rule,
        arrived: Timestamp,
    ) -> Result<Response<Body>, Refusal> {
        let own = reading::client_key(&head.headers)?;
        let named = reading::operation_header(&head.headers)?.is_some();
        let by_call = matches!(rule.identity, IdentityRule::Call);
        let demands = rule.client_key == ClientKey::Required || !rule.require_field.is_empty();
        if named || !by_call || demands {
            return Err(Refusal::BodyTooLarge { limit: self.config.body_bytes });
        }
        let again = if own.is_some() { Again::SameByKey } else { Again::Another };
        let key = own.unwrap_or_else(|| IdempotencyKey::minted(self.chance.bytes()));
        let operation = OperationId(self.chance.bytes());
        let told = format!("{} {}", head.method, head.target.raw_path());
        let host = routes::host(&head.method, head.target.segments());
        let mut request = Request::new(rest);
        *request.uri_mut() = uri(&head)?;
        *request.headers_mut() = headers::toward_upstream(&head.headers);
        if let Ok(value) = HeaderValue::from_str(key.as_str()) {
            request.headers_mut().insert(IDEMPOTENCY_KEY, value);
        }
        *request.method_mut() = head.method;
        *request.extensions_mut() = head.extensions;
        let limits = self.forwarder.limits();
        let left = limits.deadline.saturating_sub(self.clock.now().since(arrived));
        self.metrics.limit_reached("body");
        match passthrough::attempt(self.forwarder.upstream(), host, request, left, 1).await {
            Ok(mut response) => {
                *response.headers_mut() = headers::toward_client(response.headers());
                *response.version_mut() = http::Version::HTTP_11;
                let label = response.status().is_success().then_some(Label::Executed);
                annotate(response.headers_mut(), &operation.to_string(), label, 1, false);
                trace::note(|it| it.tell("payonce.row", "streamed"));
                info!(target: "payonce::operation", operation_id = %operation, request = told,
                    rule = rule.name, identity = "call", row = "streamed",
                    status = response.status().as_u16(), attempts = 1, "operation");
                Ok(response)
            }
            Err(SendError::NeverSent(_proof, cause)) => {
                Err(Refusal::Unreachable { cause, sent: false, alone: false })
            }
            Err(SendError::Unknown(cause)) => {
                warn!(operation_id = %operation, rule = rule.name,
                    "a call too large to hold ended in doubt");
                self.metrics.in_doubt(&rule.name);
                let about = About { rule: rule.name.clone(), ..About::default() };
                let (keyless, at) = (again == Again::Another, self.clock.now());
                self.notes.add(Note { operation, request: told, about, keyless, at, attempts: 1 });
                Err(Refusal::OutcomeUnknown { cause: Some(cause), last: None, again })
            }
        }
    }

    /// Whether the request's client key may belong to a call that was sent lately (I2).
    pub(super) fn may_be_known(&self, head: &Head, credentials: Option<&Credentials>) -> bool {
        let hint = credentials.and_then(|credentials| credentials.hint(head));
        hint.is_some_and(|hint| self.recent.may_know(hint, self.clock.now()))
    }

    /// Whether the request may be of something that is known: a call that was sent lately, or what was
    /// critical by another policy.
    pub(super) fn may_concern(
        &self,
        head: &Head,
        credentials: Option<&Credentials>,
        policy: &Policy,
    ) -> bool {
        self.may_be_known(head, credentials)
            || self.was_critical(&head.method, &head.target, policy)
    }

    /// A write is let through as it is: should an edit make it critical before its SDK asks again,
    /// it keeps the key that it came with (I2).
    pub(super) fn lets_pass(&self, head: &Head, credentials: Option<&Credentials>) {
        let writes = !matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        if let Some(hint) = credentials.and_then(|it| it.hint(head)).filter(|_| writes) {
            self.recent.passed(hint, self.clock.now());
        }
    }

    /// I2: a call that was sent lately keeps how it was sent, whatever the policy says now.
    pub(super) fn recall(&self, asked: &mut Asked) -> bool {
        let Some(call) = asked.identified.call else { return false };
        let now = self.clock.now();
        let Some(sent) = self.recent.call(call, now) else {
            let passed = asked.hint.is_some_and(|hint| self.recent.has_passed(hint, now));
            if asked.rule.class == Class::Critical && passed {
                let parts: [&[u8]; 2] = [b"payonce passed call 1", &call.0];
                asked.identified.operation = OperationId(asked.secret.digest(&parts));
                asked.identified.kind = Kind::Call;
                asked.recalled.clone_from(&asked.client_key);
            }
            return asked.recalled.is_some();
        };
        let same = |other: &Other| other.identified.operation == sent.operation;
        if let Some(other) = asked.others.iter().find(|other| same(other)).cloned() {
            (asked.identified, asked.secret, asked.today) = (other.identified, other.secret, false);
        }
        asked.identified.kind = sent.kind;
        asked.identified.operation = sent.operation;
        if sent.kind == Kind::Call {
            asked.client_key = Some(sent.key.clone());
        }
        asked.recalled = Some(sent.key);
        true
    }

    /// `observe` and bypass: everything passes unchanged and nothing is refused; only what is open, or
    /// was sent lately with a key of payonce's, keeps that key (I2) and is judged as ever.
    #[expect(clippy::too_many_arguments, reason = "all that a request has come to have by then")]
    pub(super) async fn unenforced(
        &self,
        head: Head,
        body: Body,
        conn: &Connection,
        policy: &Policy,
        rule: &Arc<Rule>,
        credentials: Option<&Credentials>,
        arrived: Timestamp,
        witness: &mut Witness,
    ) -> Result<Response<Body>, Refusal> {
        if rule.class == Class::Refuse {
            self.metrics.operation(&rule.name, "observed_refusable");
            witness.refusable();
        }
        let known = self.may_concern(&head, credentials, policy);
        let critical = rule.class == Class::Critical;
        let Some(credentials) = credentials.filter(|_| critical || known) else {
            self.lets_pass(&head, credentials);
            return self.pass(head, body).await;
        };
        let body = match self.buffer(body).await {
            Ok(body) => Arc::new(body),
            Err(Unbuffered::TooLarge(rest)) => {
                self.lets_pass(&head, Some(credentials));
                return self.pass(head, rest).await;
            }
            Err(Unbuffered::Refused(refusal)) => return Err(refusal),
        };
        let identify =
            |rule: &Arc<Rule>| self.identify(&head, &body, credentials, policy, rule, arrived);
        let asked = identify(rule).or_else(|_refused| {
            self.metrics.operation(&rule.name, "observed_refusable");
            witness.refusable();
            // A call that was sent lately is found by what it is, not by what the rule wants now.
            identify(&Arc::new(rule.by_call()))
        });
        let Ok(mut asked) = asked else { return self.pass_held(head, &body).await };
        witness.identified(&mut asked);
        let recalled = self.recall(&mut asked) && asked.identified.kind != Kind::Call;
        if recalled || self.is_open(&asked).await {
            witness.enforced();
            return self.enforce(asked, conn).await;
        }
        if let Some(former) = self.found_elsewhere(&asked, Wanted::Unfinished).await {
            witness.enforced();
            return self.enforce(former, conn).await;
        }
        if !critical {
            self.lets_pass(&head, Some(credentials));
            return self.pass_held(head, &body).await;
        }
        self.observed(&asked);
        let first = self.remember_passed(&asked);
        witness.observed(&asked, !first);
        let response = self.pass_held(head, &body).await?;
        if first && matches!(response.status().as_u16(), 401 | 403 | 429) {
            self.forget_call(&asked);
        }
        Ok(response)
    }

    /// Whether this operation is open, or this very call was sent for it, so that its key must be kept:
    /// by the ledger, or by what this process remembers.
    async fn is_open(&self, asked: &Asked) -> bool {
        match asked.identified.kind {
            Kind::Call => return false,
            Kind::Header | Kind::Fields | Kind::OwnKey | Kind::Content => {}
        }
        let (now, client_key) = (self.clock.now(), asked.identified.client_key);
        let remembered = self.recent.operation(asked.record(), now);
        let read = self.ledger.get(asked.record()).await;
        let unread = read.as_ref().err().map(ToString::to_string);
        let found = self.furthest(read.ok().flatten().as_ref(), remembered, now).ok().flatten();
        // An own key by itself goes upstream as it is, whoever sends it.
        let open = found.is_some_and(|record| {
            let by_another = asked.client_key.as_ref() != Some(&record.key);
            unfinished(&record, now) || by_another && was_sent_for(&record, client_key, now)
        });
        if let Some(error) = unread {
            self.metrics.ledger_error("unavailable");
            if !open {
                warn!(operation_id = %asked.identified.operation, error,
                    "the store did not say whether this operation is open; it passes unchanged");
            }
        }
        open
    }

    /// The request by another identity, if what is `wanted` of its operation stands there.
    pub(super) async fn found_elsewhere(&self, asked: &Asked, wanted: Wanted) -> Option<Asked> {
        let passes = wanted == Wanted::Unfinished;
        match self.elsewhere(asked, wanted).await {
            Ok(found) => {
                let mut other = asked.under(found?.0)?;
                other.passes = passes;
                Some(other)
            }
            Err(failed) => {
                self.metrics.ledger_error("unavailable");
                warn!(operation_id = %asked.identified.operation, error = %failed,
                    "the store did not say whether this operation is open under a former policy");
                None
            }
        }
    }

    /// Tells what would have been done.
    fn observed(&self, asked: &Asked) {
        info!(
            target: "payonce::observed",
            operation_id = %asked.identified.operation,
            request = asked.request(),
            rule = asked.rule.name,
            identity = asked.identified.kind.as_str(),
            keyless = asked.client_key.is_none(),
            bypass = self.config.bypass,
            "would have been kept to once"
        );
        self.metrics.operation(&asked.rule.name, "observed");
    }

    /// Remembers that a call was sent with the client's own key. True if it was not known before.
    fn remember_passed(&self, asked: &Asked) -> bool {
        let Some(((call, hint), key)) =
            asked.identified.call.zip(asked.hint).zip(asked.client_key.clone())
        else {
            return false;
        };
        let how = Call { kind: Kind::Call, operation: asked.identified.operation, key };
        self.recent.sent(call, hint, how, self.clock.now())
    }

    /// Hands on a request whose body was read already.
    pub(super) async fn pass_held(
        &self,
        head: Head,
        body: &Buffered,
    ) -> Result<Response<Body>, Refusal> {
        self.pass(head, full(body.bytes().clone())).await
    }
}

fn pass_failed(error: &SendError, retried: bool) -> Refusal {
    let (cause, never_sent) = match error {
        SendError::NeverSent(_proof, cause) => (*cause, true),
        SendError::Unknown(cause) => (*cause, false),
    };
    Refusal::PassFailed { cause, never_sent, retried }
}
