//! One connection, from accept to its last word.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::accept::Host;
use super::limits::{BodyPace, HYPER_HEADERS, Limits, Paced};
use super::timed::{Activity, Answering, Timed};
use super::{Connection, Peer, Serve};
use crate::clock::Clock;
use crate::delivery::{Stream, Watched};
use crate::upstream::Body;

/// hyper adds the idle time to an instant, which must not overflow.
const LONGEST_IDLE: Duration = Duration::from_hours(24 * 365);

/// Serves one connection until the client or the drain ends it.
pub(super) async fn serve<S: Serve>(stream: Stream, peer: Peer, host: Arc<Host<S>>) {
    let (watched, watch, remains) = Watched::new(stream);
    let over = async {
        speak(watched, Connection { peer, watch }, &host).await;
        remains.linger(&host.clock).await;
    };
    tokio::select! {
        () = over => {}
        () = host.kill.cancelled() => {}
    }
}

async fn speak<S: Serve>(watched: Watched, conn: Connection, host: &Host<S>) {
    let Limits { head_time, write_stall, body: pace, .. } = host.limits;
    let activity = Arc::new(Activity::default());
    let timed =
        Timed::new(watched, Arc::clone(&activity), host.clock.clone(), head_time, write_stall);
    let service = service_fn(|request: http::Request<Incoming>| {
        let busy = activity.begin();
        let (serve, conn, clock) = (host.serve.clone(), conn.clone(), host.clock.clone());
        async move {
            let request = request.map(|body| paced(body, pace, clock));
            let answer = serve.call(request, conn).await;
            Ok::<_, Infallible>(answer.map(|body| Answering { body, _busy: busy }))
        }
    });
    let mut http =
        Box::pin(http1(&host.limits, &host.clock).serve_connection(TokioIo::new(timed), service));
    let ended = tokio::select! {
        ended = http.as_mut() => ended,
        () = host.drain.cancelled() => {
            http.as_mut().graceful_shutdown();
            http.await
        }
    };
    // Whose fault it was is the client's business: hyper's message names no header and no body.
    if let Err(error) = ended {
        tracing::debug!(peer = ?conn.peer, %error, "a client connection ended early");
    }
}

fn paced(body: Incoming, pace: BodyPace, clock: Clock) -> Body {
    if body.is_end_stream() {
        return Empty::new().map_err(|never| match never {}).boxed_unsync();
    }
    Paced::new(body, pace, clock).boxed_unsync()
}

/// hyper's server side, with what payonce depends on said in full.
fn http1(limits: &Limits, clock: &Clock) -> Builder {
    let mut http = Builder::new();
    // Without a timer hyper has no time limit at all: it held 300 of 300 slow connections.
    http.timer(TokioTimer::new())
        .header_read_timeout(clock.real(limits.idle_time).min(LONGEST_IDLE))
        .max_header_size(limits.head_bytes)
        // The least that hyper takes is 8 KiB. An idle connection keeps one such read buffer.
        .max_buf_size(limits.head_bytes.max(8192))
        .preserve_header_case(true)
        // A client that closed its side awaits nothing (I11); with half-close hyper would not look.
        .half_close(false)
        // `delivery` takes a flush for "all of it was accepted"; pipelined flushes are not.
        .pipeline_flush(false);
    if limits.headers != HYPER_HEADERS {
        http.max_headers(limits.headers);
    }
    http
}
