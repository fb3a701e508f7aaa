//! What passes: requests that are not critical, calls too large to hold, and everything while the
//! mode is `observe` or the bypass is on (except what already has a key, I2).

use http::Request;
use http::Response;
use http::header::HeaderValue;
use tracing::{info, warn};

use super::Exchange;
use super::asked::{self, Asked, uri};
use crate::clock::Timestamp;
use crate::decide::identity::Kind;
use crate::decide::key::IdempotencyKey;
use crate::decide::operation::codec::decode;
use crate::decide::policy::{ClientKey, IdentityRule, Rule};
use crate::forward::IDEMPOTENCY_KEY;
use crate::ledger::Ledger;
use crate::passthrough;
use crate::recent::Call;
use crate::refusal::Refusal;
use crate::request::Head;
use crate::respond::{Label, annotate, full};
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

    /// `observe` and bypass: what would have been refused passes all the same, and that is told.
    pub(super) async fn pass_refused(
        &self,
        head: Head,
        body: Body,
        refusal: &Refusal,
    ) -> Result<Response<Body>, Refusal> {
        info!(
            target: "payonce::observed",
            code = refusal.code(),
            bypass = self.config.bypass,
            "would have been refused"
        );
        self.pass(head, body).await
    }

    async fn passed(
        &self,
        request: Request<Body>,
        host: crate::upstream::Host,
    ) -> Result<Response<Body>, Refusal> {
        let within = self.forwarder.limits().deadline;
        let sent =
            passthrough::forward(self.forwarder.upstream(), &self.clock, request, host, within);
        match sent.await {
            Ok(response) => {
                self.metrics.passthrough(response.status());
                Ok(response)
            }
            Err(error) => Err(pass_failed(&error)),
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
        let own = asked::client_key(&head.headers)?;
        let named = asked::operation_header(&head.headers)?.is_some();
        let by_call = matches!(rule.identity, IdentityRule::Call);
        if named || !by_call || rule.client_key == ClientKey::Required {
            return Err(Refusal::BodyTooLarge { limit: self.config.body_bytes });
        }
        let keyless_call = own.is_none();
        let key = own.unwrap_or_else(|| IdempotencyKey::minted(rand::random()));
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
        match self.forwarder.upstream().send(host, request, left).await {
            Ok(mut response) => {
                *response.headers_mut() = headers::toward_client(response.headers());
                annotate(response.headers_mut(), "streamed", Some(Label::Executed), 1, false);
                Ok(response)
            }
            Err(SendError::NeverSent(_proof, cause)) => Err(Refusal::Unreachable(cause)),
            Err(SendError::Unknown(cause)) => {
                warn!(rule = rule.name, "a call too large to hold ended in doubt");
                Err(Refusal::OutcomeUnknown { cause: Some(cause), keyless_call })
            }
        }
    }

    /// Whether a request that would pass may be the retry of a call that was sent lately, under a
    /// policy that did not let it pass.
    pub(super) fn may_be_known(&self, head: &Head) -> bool {
        head.headers.get(IDEMPOTENCY_KEY).is_some_and(|key| {
            let outline = (head.method.as_str(), head.target.raw_path(), key.as_bytes());
            self.recent.outlined(outline, self.clock.now())
        })
    }

    /// I2: a call that was sent lately keeps how it was sent, whatever the policy says now.
    pub(super) fn recall(&self, asked: &mut Asked) {
        let Some(call) = asked.identified.call else { return };
        let Some(sent) = self.recent.call(call, self.clock.now()) else { return };
        asked.recalled = true;
        asked.identified.kind = sent.kind;
        asked.identified.operation = sent.operation;
        if sent.kind == Kind::Call {
            asked.client_key = Some(sent.key);
        }
    }

    /// Whether the ledger holds this operation as open, so that its key must be kept.
    pub(super) async fn is_open(&self, asked: &Asked) -> bool {
        match asked.identified.kind {
            Kind::Call => return false,
            Kind::Header | Kind::Fields | Kind::OwnKey | Kind::Content => {}
        }
        match self.ledger.get(asked.record()).await {
            Ok(held) => held
                .and_then(|held| decode(&held.record).ok())
                .is_some_and(|it| it.open() && !it.beyond_retention(self.clock.now())),
            Err(failed) => {
                self.metrics.ledger_error("unavailable");
                warn!(operation_id = %asked.identified.operation, %failed,
                    "the store did not say whether this operation is open; it passes unchanged");
                false
            }
        }
    }

    /// `observe` and bypass: forwarded unchanged, and what would have been done is told.
    pub(super) async fn pass_unchanged(&self, asked: Asked) -> Result<Response<Body>, Refusal> {
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
        let mut fields = asked.message.headers.clone();
        if let Some(key) = &asked.client_key {
            if let Some(call) = asked.identified.call {
                let how = Call {
                    kind: Kind::Call,
                    operation: asked.identified.operation,
                    key: key.clone(),
                };
                self.recent.sent(call, asked.outline(), how, self.clock.now());
            }
            if let Ok(value) = HeaderValue::from_str(key.as_str()) {
                fields.insert(IDEMPOTENCY_KEY, value);
            }
        }
        let mut request = Request::new(full(asked.message.body.clone()));
        *request.method_mut() = asked.message.method.clone();
        *request.uri_mut() = asked.message.uri.clone();
        *request.headers_mut() = fields;
        *request.extensions_mut() = asked.message.extensions.clone();
        self.passed(request, asked.message.host).await
    }
}

fn pass_failed(error: &SendError) -> Refusal {
    match error {
        SendError::NeverSent(_proof, cause) => {
            Refusal::PassFailed { cause: *cause, never_sent: true }
        }
        SendError::Unknown(cause) => Refusal::PassFailed { cause: *cause, never_sent: false },
    }
}
