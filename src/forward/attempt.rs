//! One attempt: a send, and its answer read whole, held against what it announced, and judged.

use std::sync::Mutex;
use std::time::Duration;

use bytes::BytesMut;
use http::Response;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;

use super::{Forwarder, Message};
use crate::clock::Timestamp;
use crate::decide::key::IdempotencyKey;
use crate::decide::outcome::{self, ErrorBody, Meaning, Signals};
use crate::decide::path::Api;
use crate::request::{InFlightBytes, Share, rejoin};
use crate::respond::{Answer, Held};
use crate::seams::{self, Point};
use crate::trace::{self, Open};
use crate::upstream::{Body, BoxError, Cause, SendError, Upstream, headers};

/// What one attempt brought.
pub(super) struct Attempt {
    pub(super) meaning: Meaning,
    pub(super) signals: Signals,
    pub(super) answer: Option<Answer>,
    pub(super) cause: Option<Cause>,
}

impl<U: Upstream> Forwarder<U> {
    /// The attempt `number`, as a span of its own.
    pub(super) async fn attempt(
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
