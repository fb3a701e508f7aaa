//! A small HTTP/1.1 server for small answers, bounded in everything. The proxy's own listener is
//! another: its limits are settings, and its answers are large.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;

/// An answer of one of the small ports.
pub type Answer = Response<Full<Bytes>>;

/// For a request's head. hyper has no limit without a timer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For a connection, whatever it does: a scraper or a person comes back with another.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(2);
/// Bytes of a head.
const HEAD_BYTES: usize = 16 * 1024;
/// Fields of a head.
const HEAD_FIELDS: usize = 32;
/// For open connections to finish in, once the port closes.
const DRAIN: Duration = Duration::from_secs(2);
/// After the system refused to accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers with `handle` on at most `most` connections at a time, until `until` is done; more wait
/// in the system's queue.
pub(super) async fn serve<H, F>(
    listener: TcpListener,
    most: usize,
    handle: H,
    until: impl Future<Output = ()> + Send,
) where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let (closing, closed) = watch::channel(false);
    let mut open = JoinSet::new();
    let mut until = std::pin::pin!(until);
    loop {
        let room = open.len() < most;
        tokio::select! {
            () = &mut until => break,
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, _peer)) => {
                    open.spawn(connection(stream, handle.clone(), closed.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to a small port was not accepted");
                    Clock::System.sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_ended) = open.join_next() => {}
        }
    }
    drop(listener);
    closing.send_replace(true);
    let drained = async { while open.join_next().await.is_some() {} };
    if Clock::System.timeout(DRAIN, drained).await.is_err() {
        open.shutdown().await;
    }
}

async fn connection<H, F>(stream: TcpStream, handle: H, mut closed: watch::Receiver<bool>)
where
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = handle(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEAD_FIELDS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = async {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            // An error means that the server is gone: the end all the same.
            _closing = closed.wait_for(|closing| *closing) => {}
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    match Clock::System.timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to a small port broke off"),
        Err(error) => tracing::debug!(%error, "a connection to a small port was closed"),
    }
}

/// An answer of plain text or the like.
pub(super) fn text(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// An answer of JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(body) => text(status, "application/json", body),
        Err(bug) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain; charset=utf-8",
            format!("the answer could not be written as JSON: {bug}"),
        ),
    }
}

/// An error: what it is for programs, and for people.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Answer {
    json(status, &serde_json::json!({ "error": { "code": code, "message": message } }))
}

/// 405, with the methods that there are.
pub(super) fn wrong_method(allowed: &'static str) -> Answer {
    let why = format!("this path answers {allowed}");
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "method", &why);
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}
