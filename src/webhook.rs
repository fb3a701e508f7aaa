//! The other direction: a gate between Stripe's webhooks and the application.
//!
//! ```text
//! accept ─ endpoint ─ buffer ─ verify ─ close ─ turn ─ deliver ─ ended ─ answer
//! server             request   signature        claim  application claim
//! ```
//!
//! [`Gate::handle`] names the steps until an event is known to be Stripe's; from there on it has a
//! task of its own ([`Gate::journey`]), which a sender that hangs up does not end and shutdown waits
//! for. An event is delivered unchanged, and the application's answer goes back, so that Stripe's
//! redelivery keeps working; [`once`] decides whether it is delivered at all, [`close`] what it says
//! of an operation in doubt.
//!
//! Deliberately absent: no queue, and no retry. An event that the application has not acknowledged
//! is Stripe's to send again; payonce never says 2xx for it.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::ledger::Ledger;
use crate::request::{BadHead, Buffered, Head, buffer};
use crate::respond::DEGRADED;
use crate::server::{Connection, Peer, Serve};
use crate::trace;
use crate::upstream::{Body, Upstream};

pub mod application;
mod claim;
mod close;
pub mod event;
pub mod once;
pub mod ranges;
pub mod rejected;
mod rooms;
pub mod secrets;
pub mod signature;
mod told;

use claim::{Delivery, Turn};
use event::Event;
use rejected::Rejected;
pub use rooms::{Config, Endpoint, Rooms};
use signature::{BadSignature, Signature};
use told::{duplicate, in_hand, unanswered};

/// Takes Stripe's events, and nothing else. Clones share everything.
pub struct Gate<L, U>(Arc<Rooms<L, U>>);

impl<L, U> Clone for Gate<L, U> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L, U> std::ops::Deref for Gate<L, U> {
    type Target = Rooms<L, U>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<L: Ledger, U: Upstream> Serve for Gate<L, U> {
    async fn call(&self, request: Request<Body>, conn: Connection) -> Response<Body> {
        let path = request.uri().path();
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.path == path).cloned();
        let span = self.exchange.tracer.event(request.method());
        span.version(request.version());
        let response = span.during(self.answer(endpoint, request, conn.peer)).await;
        span.answered(response.status());
        response
    }
}

impl<L: Ledger, U: Upstream> Gate<L, U> {
    /// A gate of these rooms.
    pub fn new(rooms: Rooms<L, U>) -> Self {
        Self(Arc::new(rooms))
    }

    async fn answer(
        &self,
        endpoint: Option<Arc<Endpoint<U>>>,
        request: Request<Body>,
        peer: Peer,
    ) -> Response<Body> {
        match Box::pin(self.handle(endpoint.as_ref(), request, peer)).await {
            Ok(response) => response,
            Err(rejected) => self.reject(endpoint.as_deref(), &rejected, peer),
        }
    }

    async fn handle(
        &self,
        endpoint: Option<&Arc<Endpoint<U>>>,
        request: Request<Body>,
        peer: Peer,
    ) -> Result<Response<Body>, Rejected> {
        let endpoint = endpoint.ok_or(Rejected::NoEndpoint)?;
        let (parts, body) = request.into_parts();
        let head = Head::check(parts).map_err(bad_head)?;
        self.admit(&head, peer)?;
        let body = buffer(body, self.config.body_bytes, &self.bytes).await?;
        self.verify(endpoint, &head, &body)?;
        let event = Event::read(body.bytes())?;
        let (tell, told) = oneshot::channel();
        let (gate, endpoint) = (self.clone(), Arc::clone(endpoint));
        let journey = async move { gate.journey(&endpoint, head, body, event, tell).await };
        self.tasks.spawn(trace::carried(journey));
        told.await.map_err(|_its_task_failed| Rejected::Internal)
    }

    /// Whether it may be an event at all, before a byte of its body is read.
    fn admit(&self, head: &Head, peer: Peer) -> Result<(), Rejected> {
        if self.ranges.as_ref().is_some_and(|ranges| !ranges.contain(peer)) {
            return Err(Rejected::Source);
        }
        if head.method != Method::POST {
            return Err(Rejected::Method);
        }
        let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        let json = essence.eq_ignore_ascii_case("application/json");
        if !json || head.headers.contains_key(CONTENT_ENCODING) {
            return Err(Rejected::Type);
        }
        Ok(())
    }

    /// Whether Stripe signed these bytes, for this endpoint, just now. Where no secret matches, the
    /// files may hold another already.
    fn verify(
        &self,
        endpoint: &Endpoint<U>,
        head: &Head,
        body: &Buffered,
    ) -> Result<(), BadSignature> {
        let signature = Signature::of(&head.headers)?;
        let now = self.exchange.clock.now();
        let verify = || {
            let secrets = endpoint.secrets.current();
            let secrets = secrets.iter().map(secrets::Secret::expose);
            signature.verify(body.bytes(), secrets, now, self.config.tolerance)
        };
        match verify() {
            Err(BadSignature::Mismatch) if endpoint.secrets.look_again(now) => verify(),
            verified => verified,
        }
    }

    /// What becomes of an event that is Stripe's.
    async fn journey(
        &self,
        endpoint: &Arc<Endpoint<U>>,
        head: Head,
        body: Buffered,
        event: Event,
        tell: oneshot::Sender<Response<Body>>,
    ) {
        let began = self.exchange.clock.now();
        // Before the application hears of it: it may ask again at once.
        self.close(endpoint, &event).await;
        match self.turn(endpoint, &event).await {
            Turn::AlreadyDone(at) => {
                self.tell_of(endpoint, &event, "duplicate", None, began);
                drop(tell.send(duplicate(at)));
            }
            Turn::InHand => {
                self.tell_of(endpoint, &event, "in_hand", None, began);
                drop(tell.send(in_hand()));
            }
            Turn::Ours(delivery) => {
                self.deliver(endpoint, &head, &body, &event, delivery, tell, began).await;
            }
        }
    }

    /// Hands the event to the application, writes down what came of it, and hands the answer back:
    /// in this order, so that Stripe is never told of what a crash would make payonce forget.
    #[expect(clippy::too_many_arguments, reason = "one step of the journey, told in one place")]
    async fn deliver(
        &self,
        endpoint: &Endpoint<U>,
        head: &Head,
        body: &Buffered,
        event: &Event,
        mut delivery: Delivery,
        tell: oneshot::Sender<Response<Body>>,
        began: Timestamp,
    ) {
        let bytes = body.bytes().clone();
        let sent = endpoint.application.deliver(&endpoint.name, head, bytes, delivery.degraded);
        let sent = sent.await;
        let status = sent.as_ref().ok().map(|answer| answer.status().as_u16());
        let written = self.ended(&mut delivery, status).await;
        let result = match status {
            Some(200..=299) => "acknowledged",
            Some(_other) => "refused",
            None => "unanswered",
        };
        self.tell_of(endpoint, event, result, status, began);
        let mut response = sent.unwrap_or_else(|error| unanswered(&error));
        if delivery.degraded {
            response.headers_mut().insert(DEGRADED, HeaderValue::from_static("store"));
        }
        // A sender that hung up sends it again, and hears then what became of it.
        drop(tell.send(response));
        if !written {
            self.ended_later(delivery, status).await;
        }
    }

    /// Reads the files of secrets and ranges again and again, until `done`.
    pub async fn refresh(&self, done: CancellationToken) {
        loop {
            tokio::select! {
                () = done.cancelled() => return,
                () = self.exchange.clock.sleep(self.config.refresh) => {}
            }
            for endpoint in &self.endpoints {
                endpoint.secrets.refresh();
                if endpoint.secrets.stale() {
                    self.metrics.webhook_stale(&endpoint.name);
                }
            }
            if let Some(ranges) = &self.ranges {
                ranges.refresh();
            }
        }
    }
}

/// A head that is refused, with the one case that has a name of its own here.
fn bad_head(bad: BadHead) -> Rejected {
    match bad {
        BadHead::Method(_) => Rejected::Method,
        BadHead::NotOriginForm | BadHead::Path(_) | BadHead::Repeated(_) => Rejected::Head(bad),
    }
}
