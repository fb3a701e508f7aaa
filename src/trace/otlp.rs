//! Spans to a collector, over OTLP (HTTP with protobuf), in batches.
//!
//! A task of its own, which no request waits for. What cannot be delivered is tried again a few
//! times and then dropped and counted; the log hears of it once a minute at most. At shutdown what
//! is left is sent within what remains of the drain time.
//!
//! Not the SDK of OpenTelemetry: its processor runs on a thread without our runtime, clock and
//! connections, takes settings from the environment besides ours, and does not count what it drops.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use prost::Message;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Finished, Spans};
use crate::clock::{Clock, Elapsed, Timestamp};
use crate::metrics::Metrics;
use crate::respond::full;
use crate::server::{Shutdown, Tasks};
use crate::upstream::{Body, Host, SendError, Upstream};

mod credentials;
mod wire;

pub use credentials::Credentials;

/// Spans of one request to the collector, as many as OpenTelemetry's own processors send, and how
/// long the first of them waits for others.
const BATCH: usize = 512;
const DELAY: Duration = Duration::from_secs(1);
/// How long the collector may take to begin its answer, and to end it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a batch is tried, and the pause before it is tried again; it doubles.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// The longest that the end of the process waits for a collector.
const FLUSH: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes.
const ANSWER: usize = 1 << 16;
/// Between two lines of the log about failures.
const QUIET: Duration = Duration::from_mins(1);

/// Takes finished spans to a collector.
pub struct Exporter<U> {
    /// The way there.
    pub upstream: U,
    /// Its path, `/v1/traces`.
    pub target: PathAndQuery,
    /// What it wants to see.
    pub credentials: Credentials,
    /// Which of many payonces this is.
    pub instance: String,
    /// Where the spans come from.
    pub spans: Spans,
    /// The time.
    pub clock: Clock,
    /// The counters.
    pub metrics: Metrics,
}

/// Why a batch was not taken.
struct Failed {
    why: String,
    /// It may be taken later.
    passes: bool,
    /// It may be taken with other credentials.
    denied: bool,
}

impl Failed {
    fn new(why: impl Into<String>, passes: bool) -> Self {
        Self { why: why.into(), passes, denied: false }
    }
}

/// When the log heard of failures last, and what it has not heard of since.
#[derive(Default)]
struct Said {
    at: Option<Timestamp>,
    spans: usize,
}

impl<U: Upstream> Exporter<U> {
    /// Exports, as one of these tasks, until `done`, and then what is left, if it is quick: within
    /// `drain` since the shutdown began, and not after its second signal.
    pub fn start(
        self,
        tasks: &Tasks,
        done: CancellationToken,
        shutdown: Shutdown,
        drain: Duration,
    ) {
        tasks.spawn(self.run(done, shutdown, drain));
    }

    async fn run(mut self, done: CancellationToken, shutdown: Shutdown, drain: Duration) {
        let late = late(self.clock.clone(), done.clone(), shutdown.first, drain);
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            () = self.export(&mut batch, done) => {}
            () = shutdown.second.cancelled() => {}
            () = late => {}
        }
        self.metrics.spans("dropped", batch.len().saturating_add(self.spans.len()));
    }

    async fn export(&mut self, batch: &mut Vec<Finished>, done: CancellationToken) {
        let mut said = Said::default();
        loop {
            tokio::select! {
                biased;
                () = done.cancelled() => break,
                () = self.gather(batch) => {}
            }
            self.deliver(batch, &done, &mut said).await;
        }
        loop {
            while batch.len() < BATCH
                && let Ok(span) = self.spans.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            self.deliver(batch, &done, &mut said).await;
        }
    }

    /// Awaits a span, and for a moment others.
    async fn gather(&mut self, batch: &mut Vec<Finished>) {
        if self.spans.recv_many(batch, BATCH).await == 0 {
            // Whoever makes spans is gone: only the end is awaited.
            return std::future::pending().await;
        }
        let clock = self.clock.clone();
        let others = async {
            while let room @ 1.. = BATCH.saturating_sub(batch.len()) {
                if self.spans.recv_many(batch, room).await == 0 {
                    return;
                }
            }
        };
        // Either way the batch holds what came.
        clock.timeout(DELAY, others).await.unwrap_or_default();
    }

    /// Sends a batch, again if that may help, and empties it.
    async fn deliver(
        &mut self,
        batch: &mut Vec<Finished>,
        done: &CancellationToken,
        said: &mut Said,
    ) {
        let bytes = Bytes::from(wire::request(batch, &self.instance).encode_to_vec());
        let mut pause = PAUSE;
        let mut tries = 1;
        let failed = loop {
            self.credentials.refresh().await;
            let mut failed = match self.send(bytes.clone()).await {
                Ok(refused) => {
                    self.metrics.spans("sent", batch.len().saturating_sub(refused));
                    self.metrics.spans("failed", refused);
                    batch.clear();
                    return;
                }
                Err(failed) => failed,
            };
            // They may have been rolled just now, or read half written.
            failed.passes |= failed.denied && self.credentials.refresh().await;
            if !failed.passes || tries == TRIES || done.is_cancelled() {
                break failed;
            }
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                () = done.cancelled() => {}
            }
            (pause, tries) = (pause * 2, tries + 1);
        };
        self.metrics.spans("failed", batch.len());
        said.failed(batch.len(), &failed.why, self.clock.now());
        batch.clear();
    }

    /// One request to the collector: how many of its spans it did not take.
    async fn send(&self, bytes: Bytes) -> Result<usize, Failed> {
        let mut request = Request::new(full(bytes));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone().into();
        let headers = request.headers_mut();
        self.credentials.put(headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let agent = concat!("payonce/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        // A collector is one place; which of the provider's hosts it is called makes no matter.
        let sent = self.upstream.send(Host::Api, request, TIMEOUT).await;
        let answer = sent.map_err(|error| unanswered(&error))?;
        match self.clock.timeout(TIMEOUT, read(answer)).await {
            Ok(read) => read,
            Err(Elapsed) => Err(Failed::new("its answer did not end", true)),
        }
    }
}

/// The latest end: when what remains of the drain time after the last request has passed.
async fn late(clock: Clock, done: CancellationToken, first: CancellationToken, drain: Duration) {
    first.cancelled_owned().await;
    let began = clock.now();
    done.cancelled_owned().await;
    let left = drain.saturating_sub(clock.now().since(began));
    clock.sleep(left.min(FLUSH)).await;
}

impl Said {
    fn failed(&mut self, spans: usize, error: &str, now: Timestamp) {
        self.spans = self.spans.saturating_add(spans);
        if self.at.is_some_and(|at| now.since(at) < QUIET) {
            return;
        }
        warn!(
            spans = self.spans,
            error, "the collector did not take spans; payments do not need it"
        );
        *self = Self { at: Some(now), spans: 0 };
    }
}

fn unanswered(error: &SendError) -> Failed {
    Failed::new(error.cause().as_str(), true)
}

/// What the collector says: how many spans it did not take, or why it took none.
async fn read(answer: Response<Body>) -> Result<usize, Failed> {
    let status = answer.status();
    if !status.is_success() {
        // These four alone are to be tried again (OTLP, "Retryable Response Codes").
        let passes = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        let denied = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        return Err(Failed { why: format!("it answered {status}"), passes, denied });
    }
    let broken = |why: &str| Failed::new(why, false);
    let (mut body, mut bytes) = (answer.into_body(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken| broken("its answer broke off"))?;
        bytes.extend_from_slice(frame.data_ref().map_or(&[][..], Bytes::as_ref));
        if bytes.len() > ANSWER {
            return Err(broken("its answer is too long"));
        }
    }
    let said = wire::Answer::decode(bytes).map_err(|_not| broken("its answer is not OTLP's"))?;
    let refused = said.partial_success.map_or(0, |partial| partial.rejected_spans);
    Ok(usize::try_from(refused).unwrap_or(0))
}
