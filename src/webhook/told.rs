//! What is told of an event: to its sender where the application does not answer, and to those who
//! look at log, metrics and traces.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use tracing::{info, warn};

use super::event::Event;
use super::rejected::Rejected;
use super::{Endpoint, Gate};
use crate::clock::Timestamp;
use crate::ledger::Ledger;
use crate::respond::full;
use crate::server::Peer;
use crate::trace;
use crate::upstream::{Body, Cause, SendError, Upstream};

impl<L: Ledger, U: Upstream> Gate<L, U> {
    /// Says to metrics, trace and log what became of an event.
    pub(super) fn tell_of(
        &self,
        endpoint: &Endpoint<U>,
        event: &Event,
        result: &'static str,
        status: Option<u16>,
        began: Timestamp,
    ) {
        self.metrics.webhook_event(&endpoint.name, result);
        trace::note(|it| {
            it.tell("payonce.webhook.endpoint", endpoint.name.clone());
            it.tell("payonce.webhook.result", result);
        });
        let took = self.exchange.clock.now().since(began).as_millis();
        info!(
            endpoint = endpoint.name,
            event_id = event.id,
            event_type = event.kind,
            result,
            status,
            duration_ms = u64::try_from(took).unwrap_or(u64::MAX),
            "webhook event"
        );
    }

    /// Turns a request away that is no event of Stripe's, and says why.
    pub(super) fn reject(
        &self,
        endpoint: Option<&Endpoint<U>>,
        rejected: &Rejected,
        peer: Peer,
    ) -> Response<Body> {
        let endpoint = endpoint.map_or("", |endpoint| endpoint.name.as_str());
        let (reason, source) = (rejected.reason(), source(peer));
        self.metrics.webhook_rejected(endpoint, reason);
        trace::note(|it| {
            it.tell("payonce.webhook.endpoint", endpoint.to_owned());
            it.tell("payonce.webhook.result", reason);
        });
        warn!(endpoint, source, reason, why = %rejected, "a webhook was turned away");
        answer(rejected.status(), "payonce_webhook_rejected", &rejected.to_string())
    }
}

fn source(peer: Peer) -> String {
    match peer {
        Peer::Tcp(address) => address.ip().to_canonical().to_string(),
        Peer::Unix => "unix".to_owned(),
    }
}

/// The application acknowledged it before.
pub(super) fn duplicate(at: Timestamp) -> Response<Body> {
    let text = format!("the application acknowledged this event already, at {at} (Unix time)");
    json(StatusCode::OK, &serde_json::json!({ "payonce_webhook": "duplicate", "message": text }))
}

/// The application did not answer: Stripe sends it again.
pub(super) fn unanswered(error: &SendError) -> Response<Body> {
    let (cause, reached) = match error {
        SendError::NeverSent(_, cause) => (*cause, "did not get the event"),
        SendError::Unknown(cause) => (*cause, "may have got the event"),
    };
    let (status, what) = match cause {
        Cause::AnswerTimeout => (StatusCode::GATEWAY_TIMEOUT, "no answer in time"),
        Cause::Dns => (StatusCode::BAD_GATEWAY, "its name did not resolve"),
        Cause::Connect | Cause::ConnectTimeout => (StatusCode::BAD_GATEWAY, "no connection"),
        Cause::Tls => (StatusCode::BAD_GATEWAY, "the TLS handshake failed"),
        Cause::Busy => (StatusCode::BAD_GATEWAY, "all connections to it are in use"),
        Cause::Proxy | Cause::Closed | Cause::Protocol | Cause::RequestBody => {
            (StatusCode::BAD_GATEWAY, "it broke off")
        }
    };
    answer(status, "payonce_webhook_unanswered", &format!("the application {reached}: {what}"))
}

/// It is being delivered just now.
pub(super) fn in_hand() -> Response<Body> {
    let why = "this event is being delivered to the application just now";
    answer(StatusCode::CONFLICT, "payonce_webhook_in_hand", why)
}

fn answer(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = serde_json::json!({ "error": { "code": code, "message": message } });
    json(status, &body)
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(full(body.to_string().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
