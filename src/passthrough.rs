//! The journey of every request that is not critical: handed on, streamed both ways, unbuffered.
//!
//! Nothing is recorded and no key is looked at. Only a request without a body can be tried again:
//! reading as long as nothing was answered, anything else only with proof that it never left. A
//! v2 DELETE is a write, and never comes here.

use std::time::Duration;

use http::{Method, Request, Response, Version};
use http_body::Body as _;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::trace;
use crate::upstream::{Body, Cause, Host, SendError, Upstream, empty_body, headers};

/// Most times that one request is tried.
const TRIES: u32 = 3;
/// Longest wait before the second try; doubled for the third. Drawn evenly from nothing to this.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Hands on `request`, whose fields were filtered by [`headers::toward_upstream`], and awaits the
/// head of its answer for at most `within`, all tries together. The answer's fields are filtered
/// here.
///
/// # Errors
/// The last try's failure, with its evidence.
pub async fn forward<U: Upstream>(
    upstream: &U,
    clock: &Clock,
    chance: &Chance,
    request: Request<Body>,
    host: Host,
    within: Duration,
) -> Result<Response<Body>, SendError> {
    let until = clock.now().plus(within);
    let again = Again::of(&request);
    let mut next = request;
    let mut tries = 1;
    loop {
        let left = until.since(clock.now());
        let spare = again.permits_any().then(|| copy(&next));
        let error = match attempt(upstream, host, next, left, tries).await {
            Ok(answer) => return Ok(toward_client(answer)),
            Err(error) => error,
        };
        let pause = pause_before(tries).mul_f64(chance.share());
        let in_time = until.since(clock.now()) > pause;
        next = match spare {
            Some(spare) if tries < TRIES && in_time && again.permits(&error) => spare,
            Some(_) | None => return Err(error),
        };
        clock.sleep(pause).await;
        tries += 1;
    }
}

/// Sends once, the `number`th time, and tells it as a span of its own: until the answer's head, for
/// what follows streams.
pub(crate) async fn attempt<U: Upstream>(
    upstream: &U,
    host: Host,
    mut request: Request<Body>,
    within: Duration,
    number: u32,
) -> Result<Response<Body>, SendError> {
    let span = trace::attempt(host, number);
    span.inject(request.headers_mut());
    let sent = span.during(upstream.send(host, request, within)).await;
    match &sent {
        Ok(answer) => {
            span.head(answer);
            span.attempted(None);
        }
        Err(error) => span.attempted(Some(error.cause())),
    }
    sent
}

/// After which failures a request may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// Its body is gone.
    Never,
    /// It may change something.
    IfNeverSent,
    /// It only reads.
    IfUnanswered,
}

impl Again {
    fn of(request: &Request<Body>) -> Self {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match (request.body().is_end_stream(), reads) {
            (false, _) => Self::Never,
            (true, false) => Self::IfNeverSent,
            (true, true) => Self::IfUnanswered,
        }
    }

    const fn permits_any(self) -> bool {
        !matches!(self, Self::Never)
    }

    fn permits(self, error: &SendError) -> bool {
        match (self, error) {
            (Self::Never, _) | (Self::IfNeverSent, SendError::Unknown(_)) => false,
            (Self::IfNeverSent | Self::IfUnanswered, SendError::NeverSent(_, cause))
            | (Self::IfUnanswered, SendError::Unknown(cause)) => may_pass(*cause),
        }
    }
}

/// Whether a moment may mend it.
const fn may_pass(cause: Cause) -> bool {
    match cause {
        Cause::Dns | Cause::Connect | Cause::ConnectTimeout | Cause::Proxy | Cause::Closed => true,
        // A full pool was waited for already; a bad certificate stays bad; the rest would recur.
        Cause::Busy | Cause::Tls | Cause::AnswerTimeout | Cause::Protocol | Cause::RequestBody => {
            false
        }
    }
}

fn pause_before(tries: u32) -> Duration {
    FIRST_PAUSE * 2_u32.saturating_pow(tries - 1)
}

/// The same request again; for one without a body only.
fn copy(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(empty_body());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

fn toward_client(mut answer: Response<Body>) -> Response<Body> {
    *answer.headers_mut() = headers::toward_client(answer.headers());
    // The version is each connection's own (RFC 9110 §2.5); hyper would hand on a 1.0.
    *answer.version_mut() = Version::HTTP_11;
    answer
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use http::header::HeaderValue;
    use http_body_util::{BodyExt, Full};

    use super::*;
    use crate::clock::Timestamp;
    use crate::upstream::NeverSent;

    /// Fails as told, then answers; remembers what it was asked.
    #[derive(Default)]
    struct Scripted {
        failures: Mutex<VecDeque<SendError>>,
        seen: Mutex<Vec<String>>,
    }

    impl Upstream for Scripted {
        async fn send(
            &self,
            _host: Host,
            request: Request<Body>,
            _within: Duration,
        ) -> Result<Response<Body>, SendError> {
            let line = format!("{} {}", request.method(), request.uri());
            self.seen.lock().unwrap().push(line);
            match self.failures.lock().unwrap().pop_front() {
                Some(failure) => Err(failure),
                None => Ok(Response::new(empty_body())),
            }
        }
    }

    fn never(cause: Cause) -> SendError {
        SendError::NeverSent(NeverSent::proven(), cause)
    }

    fn request(method: Method, body: &'static str) -> Request<Body> {
        let body = Body::new(Full::from(body).map_err(|never| match never {}));
        Request::builder().method(method).uri("/v1/x?a=1").body(body).unwrap()
    }

    /// How often it was tried, and whether it was answered.
    async fn tried(
        request: Request<Body>,
        failures: impl IntoIterator<Item = SendError>,
    ) -> (usize, bool) {
        let failures = Mutex::new(failures.into_iter().collect());
        let upstream = Scripted { failures, seen: Mutex::default() };
        // An hour in 3.6 s: the pauses are rules, not waits.
        let clock = Clock::driven(Timestamp::default(), 1000);
        let within = Duration::from_hours(1);
        let answer = forward(&upstream, &clock, &Chance::System, request, Host::Api, within).await;
        let seen = upstream.seen.into_inner().unwrap();
        assert!(seen.iter().all(|line| *line == seen[0]), "{seen:?}");
        (seen.len(), answer.is_ok())
    }

    #[tokio::test]
    async fn a_read_survives_two_failures_of_any_evidence() {
        let failures = || [SendError::Unknown(Cause::Closed), never(Cause::Connect)];
        assert_eq!(tried(request(Method::GET, ""), failures()).await, (3, true));
        assert_eq!(tried(request(Method::HEAD, ""), failures()).await, (3, true));
    }

    #[tokio::test]
    async fn three_tries_are_all_there_are() {
        let failures = (0..9).map(|_| never(Cause::Connect));
        assert_eq!(tried(request(Method::GET, ""), failures).await, (3, false));
    }

    #[tokio::test]
    async fn a_delete_is_tried_again_with_proof_alone() {
        let delete = || request(Method::DELETE, "");
        assert_eq!(tried(delete(), [never(Cause::Connect)]).await, (2, true));
        assert_eq!(tried(delete(), [SendError::Unknown(Cause::Closed)]).await, (1, false));
    }

    #[tokio::test]
    async fn a_request_with_a_body_is_tried_once() {
        let post = request(Method::POST, "a=b");
        assert_eq!(tried(post, [never(Cause::Connect)]).await, (1, false));
    }

    #[tokio::test]
    async fn what_time_does_not_mend_is_not_tried_again() {
        let get = || request(Method::GET, "");
        assert_eq!(tried(get(), [never(Cause::Tls)]).await, (1, false));
        assert_eq!(tried(get(), [never(Cause::Busy)]).await, (1, false));
        assert_eq!(tried(get(), [SendError::Unknown(Cause::AnswerTimeout)]).await, (1, false));
    }

    #[tokio::test]
    async fn nothing_is_tried_after_the_deadline() {
        let upstream = Scripted::default();
        upstream.failures.lock().unwrap().push_back(never(Cause::Connect));
        let get = request(Method::GET, "");
        let answer =
            forward(&upstream, &Clock::System, &Chance::System, get, Host::Api, Duration::ZERO)
                .await;
        assert!(answer.is_err());
        assert_eq!(upstream.seen.lock().unwrap().len(), 1);
    }

    #[test]
    fn answers_lose_what_was_for_one_connection() {
        let mut answer = Response::new(empty_body());
        answer.headers_mut().insert("keep-alive", HeaderValue::from_static("timeout=5"));
        answer.headers_mut().insert("request-id", HeaderValue::from_static("req_1"));
        let answer = toward_client(answer);
        assert_eq!(answer.headers().len(), 1);
    }
}
