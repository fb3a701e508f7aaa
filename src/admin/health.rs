//! The health port, for platforms. Reads only, says nothing private.
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200 as long as this process answers at all; nothing else is asked |
//! | `/readyz` | 200 if requests should be sent here, else 503; a line for each thing looked at |
//! | `/startupz` | 503 until payonce serves for the first time, 200 ever after, also while it drains |
//! | `/metrics` | the counters, as `OpenMetrics` or in Prometheus's older text form |
//!
//! There is no `?verbose`: the details are always told, a line each.

use std::fmt::Write as _;
use std::future::Future;
use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::http1::{self, Answer};
use crate::clock::Clock;
use crate::metrics::{Format, Metrics};

/// Connections to the health port at a time.
const MOST_CONNECTIONS: usize = 64;

/// To find out whether this process is ready; probes wait no longer either.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

const PLAIN: &str = "text/plain; charset=utf-8";

/// What the health port asks of the rest of payonce.
pub trait Health: Clone + Send + Sync + 'static {
    /// Whether payonce serves, or did: nothing of the start is left to do.
    fn started(&self) -> bool;

    /// Whether requests should be sent here now. No answer within a second counts as no. Not asked
    /// before payonce has started.
    fn ready(&self) -> impl Future<Output = Readiness> + Send;

    /// Brings those metrics up to date that are not counted as things happen.
    fn measure(&self) {}
}

/// Whether requests should be sent here, and why (not).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Whether they should.
    pub ready: bool,
    /// What was looked at, and what was found: `("store", "ok")`, `("policy", "version 1a2b…")`.
    /// Anybody on the network can read it.
    pub details: Vec<(String, String)>,
}

/// Serves the health port on `listener` until `until` is done.
pub async fn serve<H: Health>(
    listener: TcpListener,
    health: H,
    metrics: Metrics,
    until: impl Future<Output = ()> + Send,
) {
    let handle = move |request| answer(health.clone(), metrics.clone(), request);
    http1::serve(listener, MOST_CONNECTIONS, handle, until).await;
}

async fn answer<H: Health>(health: H, metrics: Metrics, request: Request<Incoming>) -> Answer {
    let known = matches!(request.uri().path(), "/livez" | "/readyz" | "/startupz" | "/metrics");
    if known && request.method() != Method::GET && request.method() != Method::HEAD {
        return http1::wrong_method("GET, HEAD");
    }
    match request.uri().path() {
        // That this is answered at all is the proof.
        "/livez" => http1::text(StatusCode::OK, PLAIN, "alive\n"),
        "/startupz" if health.started() => http1::text(StatusCode::OK, PLAIN, "started\n"),
        "/startupz" | "/readyz" if !health.started() => readiness(&starting()),
        "/readyz" => match Clock::System.timeout(READY_TIMEOUT, health.ready()).await {
            Ok(found) => readiness(&found),
            Err(elapsed) => readiness(&Readiness {
                ready: false,
                details: vec![("readiness".to_owned(), elapsed.to_string())],
            }),
        },
        "/metrics" => {
            health.measure();
            let accept = request.headers().get(header::ACCEPT);
            let format = Format::accepted(accept.and_then(|accept| accept.to_str().ok()));
            http1::text(StatusCode::OK, format.media_type(), format.page(metrics.encode()))
        }
        _other => {
            let why = "this port has /livez, /readyz, /startupz and /metrics";
            http1::error(StatusCode::NOT_FOUND, "not_found", why)
        }
    }
}

fn starting() -> Readiness {
    let why = "telling the other processes of the store how this policy recognises operations";
    Readiness { ready: false, details: vec![("starting".to_owned(), why.to_owned())] }
}

fn readiness(readiness: &Readiness) -> Answer {
    let (status, word) = if readiness.ready {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let mut body = format!("{word}\n");
    for (what, found) in &readiness.details {
        // Writing to a string cannot fail.
        writeln!(body, "{what}: {found}").unwrap_or_default();
    }
    http1::text(status, PLAIN, body)
}
