//! The health port: `/livez`, `/readyz`, `/metrics`. Reads only, says nothing private.

use std::fmt::Write as _;
use std::future::Future;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::http1::{self, Answer};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// Connections to the health port at a time.
const MOST_CONNECTIONS: usize = 64;

/// To find out whether this process is ready; probes wait no longer either.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

const PLAIN: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the health port asks of the rest of payonce.
pub trait Health: Clone + Send + Sync + 'static {
    /// Whether requests should be sent here now. No answer within a second counts as no.
    fn ready(&self) -> impl Future<Output = Readiness> + Send;
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
    let known = matches!(request.uri().path(), "/livez" | "/readyz" | "/metrics");
    if known && request.method() != Method::GET && request.method() != Method::HEAD {
        return http1::wrong_method("GET, HEAD");
    }
    match request.uri().path() {
        // That this is answered at all is the proof.
        "/livez" => http1::text(StatusCode::OK, PLAIN, "alive\n"),
        "/readyz" => match Clock::System.timeout(READY_TIMEOUT, health.ready()).await {
            Ok(found) => readiness(&found),
            Err(elapsed) => readiness(&Readiness {
                ready: false,
                details: vec![("readiness".to_owned(), elapsed.to_string())],
            }),
        },
        "/metrics" => http1::text(StatusCode::OK, OPEN_METRICS, metrics.encode()),
        _other => {
            let why = "this port has /livez, /readyz and /metrics";
            http1::error(StatusCode::NOT_FOUND, "not_found", why)
        }
    }
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
