//! The journey of every request that is not critical: handed on, streamed both ways, unbuffered.
//!
//! Nothing is recorded and no key is looked at. Only a request without a body can be tried again:
//! reading as long as nothing was answered, anything else only with proof that it never left. A
//! v2 DELETE is a write, and never comes here.

use std::time::Duration;

use http::{Method, Request, Response};
use http_body::Body as _;
use rand::RngExt;

use crate::clock::Clock;
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
        let error = match upstream.send(host, next, left).await {
            Ok(answer) => return Ok(toward_client(answer)),
            Err(error) => error,
        };
        let pause = pause_before(tries).mul_f64(rand::rng().random());
        let in_time = until.since(clock.now()) > pause;
        next = match spare {
            Some(spare) if tries < TRIES && in_time && again.permits(&error) => spare,
            Some(_) | None => return Err(error),
        };
        clock.sleep(pause).await;
        tries += 1;
    }
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
    answer
}
