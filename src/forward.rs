//! The attempts of one exchange: send, read the answer whole, judge it, pause, send again.
//!
//! What an answer means is [`decide::outcome`](crate::decide::outcome)'s, whether to ask again
//! [`decide::retry`](crate::decide::retry)'s. Nothing below retries behind our back, and every send
//! here bears the same key.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Extensions, HeaderMap, Method, Request, Response, Uri};
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::clock::{Clock, Timestamp};
use crate::decide::key::IdempotencyKey;
use crate::decide::operation::record::Tried;
use crate::decide::outcome::{self, Conclusion, ErrorBody, Meaning, Signals, Tally};
use crate::decide::path::Api;
use crate::decide::retry::{self, Budget, Next, Situation, Why};
use crate::inflight::Table;
use crate::metrics::Metrics;
use crate::request::{InFlightBytes, Share, rejoin};
use crate::respond::{Answer, Held, full};
use crate::seams::{self, Mistake, Point};
use crate::trace::{self, Open};
use crate::upstream::{Body, BoxError, Cause, Host, Measured, SendError, Upstream, headers};

mod trail;
mod until;

pub(crate) use trail::request_id;
pub use until::{Lease, Until};

/// `Idempotency-Key`.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What is sent, however often. Its `Debug` shows neither body nor fields (I8).
#[derive(Clone)]
pub struct Message {
    /// Whither.
    pub host: Host,
    /// Its method.
    pub method: Method,
    /// Its target, byte for byte as the client sent it.
    pub uri: Uri,
    /// Its end-to-end fields. A key among them is replaced at each send.
    pub headers: HeaderMap,
    /// How the client spelled them.
    pub extensions: Extensions,
    /// Its body.
    pub body: Bytes,
    /// The API generation.
    pub api: Api,
    /// When the request arrived: the deadline counts from here.
    pub arrived: Timestamp,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, method, body, api, arrived, .. } = self;
        let body = body.len();
        write!(f, "Message({method} to {host:?}, {api:?}, {body} bytes, at {arrived})")
    }
}

impl Message {
    fn request(&self, key: &IdempotencyKey) -> Request<Body> {
        let mut request = Request::new(full(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.extensions_mut() = self.extensions.clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        // The answer's error code decides about the operation, and nothing is decompressed here.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        if let Ok(value) = HeaderValue::from_str(key.as_str()) {
            headers.insert(IDEMPOTENCY_KEY, value);
        }
        request
    }
}

/// What came of all attempts.
#[derive(Debug)]
pub struct Exchanged {
    /// What became of the occurrence.
    pub conclusion: Conclusion,
    /// The last answer, if the last attempt was answered.
    pub answer: Option<Answer>,
    /// What the last attempt meant.
    pub meaning: Meaning,
    /// The last answer was marked as replayed.
    pub replayed: bool,
    /// No attempt before the last can have been executed: what is replayed is of an earlier exchange.
    pub first: bool,
    /// Why the last attempt was not answered.
    pub cause: Option<Cause>,
    /// Any byte left.
    pub sent: bool,
    /// How many attempts were made.
    pub attempts: u32,
    /// When the last one began.
    pub last_sent: Timestamp,
    /// Why there was no other.
    pub why: Why,
    /// All of them, for people.
    pub trail: Vec<Tried>,
}

/// What bounds an exchange.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Attempts and time.
    pub retry: retry::Limits,
    /// The largest answer that is held, in bytes.
    pub answer_bytes: usize,
    /// What all bodies together may hold.
    pub bytes: InFlightBytes,
    /// How many retries the upstream bears.
    pub budget: Budget,
}

/// Sends, within limits.
#[derive(Debug)]
pub struct Forwarder<U> {
    upstream: Measured<U>,
    clock: Clock,
    chance: Chance,
    limits: retry::Limits,
    answer_bytes: usize,
    bytes: InFlightBytes,
    budget: Mutex<Budget>,
    closing: CancellationToken,
    metrics: Metrics,
}

/// What one attempt brought.
struct Attempt {
    meaning: Meaning,
    signals: Signals,
    answer: Option<Answer>,
    cause: Option<Cause>,
}

impl<U: Upstream> Forwarder<U> {
    /// A forwarder; `closing` tells when no new attempts are to be made.
    pub fn new(
        upstream: U,
        clock: Clock,
        chance: Chance,
        bounds: Bounds,
        closing: CancellationToken,
        metrics: Metrics,
    ) -> Self {
        let Bounds { retry: limits, answer_bytes, bytes, budget } = bounds;
        let budget = Mutex::new(budget);
        let upstream = Measured::new(upstream, clock.clone(), metrics.clone());
        Self { upstream, clock, chance, limits, answer_bytes, bytes, budget, closing, metrics }
    }

    /// The way to the provider, for what is not critical.
    pub const fn upstream(&self) -> &Measured<U> {
        &self.upstream
    }

    /// The limits on one exchange.
    pub const fn limits(&self) -> &retry::Limits {
        &self.limits
    }

    /// Asks the retry budget for an attempt that nobody waits for: half of it is for those who wait.
    pub fn may_spend(&self) -> bool {
        let now = self.clock.now();
        let mut budget = self.budget();
        budget.left(now) >= 0.5 && budget.withdraw(now)
    }

    /// How much of the retry budget is left, from 0 to 1.
    pub fn budget_left(&self) -> f64 {
        self.budget().left(self.clock.now())
    }

    /// Sends `message` with `key` until there is an outcome or a reason to stop.
    ///
    /// `until` is looked at before every attempt but the first, which the caller has judged;
    /// `askers` are those who wait: without any, no new attempt is made (I11).
    pub async fn run(
        &self,
        message: &Message,
        key: &IdempotencyKey,
        until: &Until,
        askers: &Table,
    ) -> Exchanged {
        self.budget().deposit();
        let mut tally = Tally::default();
        let mut attempts = 0;
        let mut indeterminate = 0;
        let mut declined = None;
        let mut trail = Vec::new();
        loop {
            attempts += 1;
            let began = self.clock.now();
            let Attempt { meaning, signals, mut answer, cause } =
                if seams::mistake(Mistake::NewKeyPerRetry) && attempts > 1 {
                    let fresh = IdempotencyKey::minted(self.chance.bytes());
                    self.attempt(message, &fresh, began, attempts).await
                } else {
                    self.attempt(message, key, began, attempts).await
                };
            seams::point(Point::AnswerRead);
            let first = !tally.touched();
            tally.add(meaning);
            trail.push(trail::tried(began, meaning, cause, answer.as_ref()));
            self.metrics.row(meaning.row().as_str());
            self.metrics.upstream_attempt(message.host.as_str(), meaning.as_str());
            match meaning {
                Meaning::Indeterminate { .. } => indeterminate += 1,
                // Should the next attempt not be answered, this is what is known.
                Meaning::Declined { .. } => declined = answer.take(),
                Meaning::NotSent
                | Meaning::Unknown
                | Meaning::RateLimited
                | Meaning::Succeeded
                | Meaning::NotExecuted
                | Meaning::Conflict => {}
            }
            let situation = Situation {
                attempts,
                elapsed: self.clock.now().since(message.arrived),
                meaning,
                signals,
                indeterminate,
                wanted: askers.wanted() || seams::mistake(Mistake::RetriedUnwanted),
                closing: self.closing.is_cancelled(),
                key_is_safe: until.safe.is_none_or(|safe| self.clock.now() < safe),
            };
            let why = match self.next(&situation, until, askers).await {
                Ok(()) => continue,
                Err(why) => why,
            };
            let conclusion = tally.conclusion();
            let answer = match conclusion {
                Conclusion::Declined { .. } => declined,
                Conclusion::Succeeded | Conclusion::InDoubt { .. } | Conclusion::NotExecuted => {
                    answer
                }
            };
            return Exchanged {
                conclusion,
                answer,
                meaning,
                replayed: signals.replayed,
                first,
                cause,
                sent: tally.sent(),
                attempts,
                last_sent: began,
                why,
                trail,
            };
        }
    }

    /// Pauses before the next attempt, or says why there is none.
    async fn next(&self, situation: &Situation, until: &Until, askers: &Table) -> Result<(), Why> {
        let pause = match retry::after(&self.limits, situation, self.chance.share()) {
            Next::Stop(why) => return Err(why),
            Next::Resend(pause) => pause,
        };
        if !self.budget().withdraw(self.clock.now()) {
            self.metrics.limit_reached("retry.budget");
            return Err(Why::Budget);
        }
        tokio::select! {
            // I11: if the pause ends as the last asker leaves, nobody waits.
            biased;
            () = askers.unwanted(), if !seams::mistake(Mistake::RetriedUnwanted) => {
                return Err(Why::Unwanted);
            }
            () = self.closing.cancelled() => return Err(Why::Shutdown),
            () = self.clock.sleep(pause) => {}
        }
        if let Some(why) = until.passed(self.clock.now()) {
            return Err(why);
        }
        self.metrics.retry(situation.meaning.row().as_str());
        Ok(())
    }

    /// The attempt `number`, as a span of its own.
    async fn attempt(
        &self,
        message: &Message,
        key: &IdempotencyKey,
        began: Timestamp,
        number: u32,
    ) -> Attempt {
        let span = trace::attempt(message.host, number);
        let attempt = span.during(self.once(message, key, began, &span)).await;
        span.attempted(attempt.cause);
        attempt
    }

    async fn once(
        &self,
        message: &Message,
        key: &IdempotencyKey,
        began: Timestamp,
        span: &Open,
    ) -> Attempt {
        let left = self.limits.deadline.saturating_sub(began.since(message.arrived));
        let within = self.limits.attempt.min(left);
        seams::point(Point::BeforeSend);
        let mut request = message.request(key);
        span.inject(request.headers_mut());
        let sent = self.upstream.send(message.host, request, within).await;
        let left = within.saturating_sub(self.clock.now().since(began));
        match sent {
            Ok(response) => {
                span.head(&response);
                self.read(response, message.api, left).await
            }
            Err(SendError::NeverSent(_proof, cause)) => Attempt::failed(Meaning::NotSent, cause),
            Err(SendError::Unknown(cause)) => Attempt::failed(Meaning::Unknown, cause),
        }
    }

    async fn read(&self, response: Response<Body>, api: Api, within: Duration) -> Attempt {
        let (head, body) = response.into_parts();
        let signals = Signals::of(&head.headers);
        let headers = headers::toward_client(&head.headers);
        let read =
            self.clock.timeout(within, read_whole(body, self.answer_bytes, &self.bytes)).await;
        let (body, share) = match read {
            Ok(Ok((Held::Whole(body), _))) if cut_short(&head, &body) => {
                return Attempt::failed(Meaning::Unknown, Cause::Closed);
            }
            Ok(Ok(read)) => read,
            Ok(Err(_broken)) => return Attempt::failed(Meaning::Unknown, Cause::Closed),
            Err(_elapsed) => return Attempt::failed(Meaning::Unknown, Cause::AnswerTimeout),
        };
        let error = match &body {
            Held::Whole(bytes) if !head.status.is_success() => ErrorBody::read(bytes),
            Held::Whole(_) | Held::Stream(_) => None,
        };
        let meaning = outcome::read(head.status, signals, error.as_ref(), api);
        let answer =
            Some(Answer { status: head.status, headers, extensions: head.extensions, body, share });
        Attempt { meaning, signals, answer, cause: None }
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    fn failed(meaning: Meaning, cause: Cause) -> Self {
        Self { meaning, signals: Signals::default(), answer: None, cause: Some(cause) }
    }
}

/// Whether less was read than the answer's head promises. HTTP/2 can end a body early without an
/// error (`RST_STREAM` with `NO_ERROR`, RFC 9113 §8.1), so what was read is held against the length
/// or, for a success in JSON, against itself.
fn cut_short(head: &http::response::Parts, body: &[u8]) -> bool {
    let field = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(length) = field(CONTENT_LENGTH) {
        return length.parse() != Ok(body.len());
    }
    let json = field(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
    let plain = field(CONTENT_ENCODING).is_none();
    head.status.is_success()
        && json
        && plain
        && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err()
}

/// Reads a body whole; one over `limit` bytes, or beyond what may be in memory, comes back as a
/// stream of all of it.
async fn read_whole(
    mut body: Body,
    limit: usize,
    bytes: &InFlightBytes,
) -> Result<(Held, Share), BoxError> {
    let mut share = Share::default();
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        read.extend_from_slice(&data);
        if read.len() > limit || share.grow(read.len(), bytes).is_err() {
            let all = rejoin(read.freeze(), body);
            return Ok((Held::Stream(Mutex::new(Some(all))), share));
        }
    }
    Ok((Held::Whole(read.freeze()), share))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> http::response::Parts {
        let answer =
            fields.iter().fold(Response::builder(), |it, (name, value)| it.header(*name, *value));
        answer.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_body_shorter_than_announced_was_cut_short_whatever_ended_it() {
        assert!(cut_short(&head(&[("content-length", "100")]), b"{}"));
        assert!(!cut_short(&head(&[("content-length", "2")]), b"{}"));
    }

    #[test]
    fn a_success_in_json_without_a_length_is_held_against_itself() {
        let json = ("content-type", "application/json; charset=utf-8");
        assert!(cut_short(&head(&[json]), b"{\"id\":"));
        assert!(!cut_short(&head(&[json]), b"{\"id\":1}"));
        assert!(!cut_short(&head(&[json, ("content-encoding", "gzip")]), b"\x1f\x8b"));
        assert!(!cut_short(&head(&[]), b"text"));
    }
}
