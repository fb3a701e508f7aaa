//! The sockets: connections are accepted, requests read, answers written or broken off.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock::Clock;

use super::Shared;
use super::answer::{Answer, Fail, too_large};
use super::call::Call;
use super::control;
use super::faults::{Fault, Kind};
use super::log::Seen;
use super::plan;
use super::play::{Played, play};
use super::wire::{Cut, Wire};

/// A connection that sends no head for so long is closed. hyper has no such limit by itself.
const HEAD: Duration = Duration::from_mins(2);
/// How long answers under way may take once the sandbox closes.
const GRACE: Duration = Duration::from_millis(500);

/// Accepts connections until the sandbox closes.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(shared.limits.connections));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let next = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = shared.closing.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    connection(shared, stream).await;
                    drop(permit);
                });
            }
            // Out of descriptors, or a connection that was gone before it was taken.
            Err(_) => shared.clock.sleep(Duration::from_millis(10)).await,
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if Clock::System.timeout(GRACE, drained).await.is_err() {
        connections.shutdown().await;
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    // Without it a small answer waits for the client's delayed ACK. A socket that cannot is gone.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let wire = Wire::new(stream);
    let (io, closing) = (TokioIo::new(wire.io()), shared.closing.clone());
    let service = service_fn(move |request| serve(Arc::clone(&shared), Arc::clone(&wire), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    // How a connection ends is the client's matter, or a fault's.
    tokio::select! {
        ended = connection.as_mut() => drop(ended),
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
}

/// The connection is to be let go without an answer.
#[derive(Debug, thiserror::Error)]
#[error("broken off")]
struct Broken;

type Out = Either<Full<Bytes>, Drip>;

async fn serve(
    shared: Arc<Shared>,
    wire: Arc<Wire>,
    request: Request<Incoming>,
) -> Result<Response<Out>, Broken> {
    wire.arm(None);
    let (head, body) = request.into_parts();
    if head.uri.path().starts_with("/_sandbox/") {
        let answer = match read(body, shared.limits.body).await? {
            Ok(body) => control::answer(&shared, &head, &body),
            Err(fail) => fail.into(),
        };
        return Ok(plain(&answer));
    }
    let (n, fault) = arrive(&shared, &head);
    let kind = fault.as_ref().map(|fault| &fault.kind);
    if let Some(kind @ Kind::Refuse) = kind {
        shared.struck(kind);
        return broken(&wire, false);
    }
    let call = match read(body, shared.limits.body).await? {
        Ok(body) => {
            note_body(&shared, n, &body);
            Call::read(&head, &body)
        }
        Err(fail) => Err(fail),
    };
    let played = match call {
        Ok(call) => play(&shared, call, fault.as_ref()).await,
        Err(fail) => Played::Answered(refused(&shared, fail)),
    };
    let answer = match played {
        Played::Answered(answer) => answer,
        Played::Broken { clean } => return broken(&wire, clean),
    };
    if let Some(seen) = shared.lock().log.get(n) {
        seen.status = Some(answer.status);
    }
    match kind {
        Some(Kind::CutAfterBytes { bytes, in_body, reset }) => {
            wire.arm(Some(Cut { left: *bytes, in_body: *in_body, reset: *reset }));
            Ok(plain(&answer))
        }
        Some(Kind::Drip { bytes, millis }) => {
            let pause = Duration::from_millis(*millis);
            let clock = shared.clock.clone();
            let drip = Drip { rest: answer.body.clone(), piece: *bytes, pause, clock, wait: None };
            Ok(response(&answer, Either::Right(drip)))
        }
        Some(_) | None => Ok(plain(&answer)),
    }
}

fn broken(wire: &Wire, clean: bool) -> Result<Response<Out>, Broken> {
    if !clean {
        wire.reset().map_err(|_gone| Broken)?;
    }
    Err(Broken)
}

/// 401, 413 and what is no call at all: no key is looked at.
pub(crate) fn refused(shared: &Shared, fail: Fail) -> Answer {
    let request = shared.lock().state.request_id();
    Answer::from(fail).with("request-id", request)
}

/// Writes the request down and chooses its fault.
fn arrive(shared: &Shared, head: &Parts) -> (u64, Option<Fault>) {
    let field = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (key, intent) = (field("idempotency-key"), field("sandbox-intent"));
    let (method, path) = (head.method.as_str(), head.uri.path());
    let at = shared.now();
    let target = head.uri.path_and_query().map_or(path, http::uri::PathAndQuery::as_str);
    let mut inner = shared.lock();
    let fault = inner.plan.take(plan::Seen { method, path, intent, key });
    let n = inner.log.add(Seen {
        n: 0,
        at,
        method: method.to_owned(),
        target: target.to_owned(),
        key: key.map(str::to_owned),
        headers: head.headers.iter().map(|(name, _)| name.to_string()).collect(),
        intent: intent.map(str::to_owned),
        body_bytes: None,
        body_sha256: None,
        fault: fault.as_ref().map(|fault| fault.kind.name()),
        status: None,
    });
    (n, fault)
}

fn note_body(shared: &Shared, n: u64, body: &Bytes) {
    let digest = hex::encode(Sha256::digest(body));
    if let Some(seen) = shared.lock().log.get(n) {
        seen.body_bytes = Some(body.len());
        seen.body_sha256 = Some(digest);
    }
}

async fn read(body: Incoming, limit: usize) -> Result<Result<Bytes, Fail>, Broken> {
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(Ok(whole.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(Err(too_large(limit))),
        Err(_) => Err(Broken),
    }
}

fn plain(answer: &Answer) -> Response<Out> {
    response(answer, Either::Left(Full::new(answer.body.clone())))
}

pub(crate) fn response<B>(answer: &Answer, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(http::header::SERVER, HeaderValue::from_static("payonce-sandbox"));
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in &answer.headers {
        // A value that no header can hold (a fault's text) is left out rather than made up.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// A body that comes in small pieces.
struct Drip {
    rest: Bytes,
    piece: usize,
    pause: Duration,
    clock: Clock,
    wait: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Body for Drip {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(wait) = self.wait.as_mut() {
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.piece.min(self.rest.len());
        let piece = self.rest.split_to(piece);
        let (clock, pause) = (self.clock.clone(), self.pause);
        self.wait = Some(Box::pin(async move { clock.sleep(pause).await }));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap_or(u64::MAX))
    }
}
