//! HTTP on a connected stream: hyper's client connections, each with the task that drives it.
//!
//! The legacy client of hyper-util is deliberately absent: it pools and resends on its own.
//!
//! hyper 1.12 as it is depended on here, read in its source and tried in `tests/it/upstream.rs`:
//! - `try_send_request` hands the request back only if its connection task never took it from the
//!   queue (`client::dispatch::Envelope`): then not a byte of it was encoded. Once taken, an error
//!   comes without the request, be it written or not. So a request in hand is proof.
//! - The task of an HTTP/1.1 connection reads before it takes a request, so the end of an idle
//!   connection is seen first.
//! - A request that is queued just as its connection's task ends, on another thread, is neither taken
//!   nor handed back until all senders of that connection are dropped: the queue (tokio's, 1.54) was
//!   emptied a moment before. So whoever waits lets go of the sender once the task [`Ended`].
//! - Dropping the future of `try_send_request` closes an HTTP/1.1 connection, and resets an HTTP/2
//!   stream. Neither sends anything again.
//! - 1xx answers other than 101 are skipped. At most 100 fields an answer (`max_headers`).
//! - Without a timer HTTP/2 sends no pings; there is one here.

use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::connect::Link;
use super::{Body, Cause};
use crate::seams::written;

/// Longest answer head, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// [`MAX_HEAD`] as HTTP/2 counts it.
const MAX_HEADER_LIST: u32 = 64 * 1024;
/// Most bytes read ahead, or held unwritten, on one HTTP/1.1 connection.
const MAX_BUFFER: usize = 128 * 1024;
/// Bytes of answers that may be under way, on one stream and on one HTTP/2 connection.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Most bytes of one request body that HTTP/2 holds unwritten.
const MAX_SEND_BUFFER: usize = 256 * 1024;
/// A connection without an answer to a ping for so long is dead.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_LIMIT: Duration = Duration::from_secs(10);

/// An HTTP/1.1 connection: one request at a time.
pub(super) struct Single {
    pub(super) sender: http1::SendRequest<Body>,
    pub(super) driver: AbortHandle,
    pub(super) ended: Ended,
}

/// An HTTP/2 connection: a handle, of which there can be many.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) sender: http2::SendRequest<Body>,
    pub(super) ended: Ended,
}

/// Done once the task of a connection has ended: it takes no request any more.
#[derive(Clone)]
pub(super) struct Ended(CancellationToken);

impl Ended {
    pub(super) async fn wait(&self) {
        self.0.cancelled().await;
    }
}

/// What a connected stream turned out to speak.
pub(super) enum Opened {
    Single(Single),
    Shared(Shared),
}

/// Starts HTTP on `link`, as ALPN said.
pub(super) async fn open(link: Link) -> Result<Opened, Cause> {
    let h2 = link.speaks_h2();
    match link {
        Link::Plain(tcp) => single(tcp).await,
        Link::Tls(tls) if h2 => shared(*tls).await,
        Link::Tls(tls) => single(*tls).await,
    }
}

async fn single<S>(stream: S) -> Result<Opened, Cause>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .preserve_header_case(true)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER)
        .handshake(TokioIo::new(written(stream)))
        .await
        .map_err(|_hyper| Cause::Connect)?;
    let (driver, ended) = drive(connection);
    Ok(Opened::Single(Single { sender, driver, ended }))
}

async fn shared<S>(stream: S) -> Result<Opened, Cause>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_LIMIT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .max_header_list_size(MAX_HEADER_LIST)
        .handshake(TokioIo::new(written(stream)))
        .await
        .map_err(|_hyper| Cause::Connect)?;
    let (_driver, ended) = drive(connection);
    Ok(Opened::Shared(Shared { sender, ended }))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a connection outlives its exchanges; shutdown waits for those, not for idle sockets"
)]
fn drive<C>(connection: C) -> (AbortHandle, Ended)
where
    C: Future<Output = hyper::Result<()>> + Send + 'static,
{
    let ended = CancellationToken::new();
    // Dropped after the connection, also where the task is aborted.
    let end = ended.clone().drop_guard();
    let task = tokio::spawn(async move {
        let _end = end;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an upstream connection ended");
        }
    });
    (task.abort_handle(), Ended(ended))
}

/// What an error of hyper's means; none of its texts hold fields or bodies.
pub(super) fn cause(error: &hyper::Error) -> Cause {
    if error.is_parse() {
        Cause::Protocol
    } else if error.is_user() {
        Cause::RequestBody
    } else {
        Cause::Closed
    }
}

/// HTTP/1.1 on any stream.
#[cfg(test)]
pub(super) async fn over(stream: tokio::io::DuplexStream) -> Single {
    let Ok(Opened::Single(single)) = single(stream).await else { panic!("not HTTP/1.1") };
    single
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::upstream::empty_body;

    fn request() -> Request<Body> {
        Request::post("/v1/a").header("host", "x").body(empty_body()).unwrap()
    }

    async fn connection() -> (http1::SendRequest<Body>, DuplexStream) {
        let (ours, theirs) = duplex(4096);
        (over(ours).await.sender, theirs)
    }

    #[tokio::test]
    async fn a_request_that_meets_an_ended_connection_comes_back_unwritten() {
        let (mut sender, mut theirs) = connection().await;
        theirs.shutdown().await.unwrap();
        // Nothing else runs on this thread, so the connection's task finds both: end and request.
        let mut error = sender.try_send_request(request()).await.unwrap_err();
        assert_eq!(error.take_message().unwrap().uri().path(), "/v1/a");
        let mut written = Vec::new();
        theirs.read_to_end(&mut written).await.unwrap();
        assert!(written.is_empty(), "{written:?}");
    }

    #[tokio::test]
    async fn a_request_that_meets_a_stray_answer_comes_back_unwritten() {
        let (mut sender, mut theirs) = connection().await;
        theirs.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        let mut error = sender.try_send_request(request()).await.unwrap_err();
        assert!(error.take_message().is_some());
        let mut written = Vec::new();
        theirs.read_to_end(&mut written).await.unwrap();
        assert!(written.is_empty(), "{written:?}");
    }

    #[tokio::test]
    async fn a_request_of_which_bytes_left_never_comes_back() {
        let (mut sender, mut theirs) = connection().await;
        let answer = tokio::join!(sender.try_send_request(request()), async {
            theirs.read_u8().await.unwrap();
            drop(theirs);
        });
        assert!(answer.0.unwrap_err().take_message().is_none());
    }
}
