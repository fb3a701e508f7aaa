//! An answer that is held, and what payonce adds to it on its way to each asker.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::{Extensions, HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Full};

use crate::clock::Timestamp;
use crate::request::Share;
use crate::upstream::Body;

/// `Payonce-Operation-Id`: the id of the operation, or of the call.
pub const OPERATION_ID: HeaderName = HeaderName::from_static("payonce-operation-id");
/// `Payonce-Outcome`: see [`Label`].
pub const OUTCOME: HeaderName = HeaderName::from_static("payonce-outcome");
/// `Payonce-Attempts`: how many times it was sent for this answer.
pub const ATTEMPTS: HeaderName = HeaderName::from_static("payonce-attempts");
/// `Payonce-Degraded`: what was missing, `store` so far.
pub const DEGRADED: HeaderName = HeaderName::from_static("payonce-degraded");
/// `Payonce-Policy`: the version of the policy that the request was judged by.
pub const POLICY: HeaderName = HeaderName::from_static("payonce-policy");
/// `Stripe-Should-Retry`, which the SDKs obey (FACTS §1.6).
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("stripe-should-retry");

/// Where an answer comes from, as `Payonce-Outcome` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// This request was executed.
    Executed,
    /// It shared the answer of one in flight.
    Joined,
    /// It got the saved answer of its operation.
    Replayed,
    /// The same was done before, and this is it once more.
    Repeated,
    /// The provider had done it already, and the ledger had forgotten.
    Forgotten,
}

impl Label {
    /// The header's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Joined => "joined",
            Self::Replayed => "replayed",
            Self::Repeated => "repeated",
            Self::Forgotten => "forgotten",
        }
    }
}

/// The body of an answer.
pub enum Held {
    /// Read whole.
    Whole(Bytes),
    /// Too large to hold: the first asker streams it, others are judged again.
    Stream(Mutex<Option<Body>>),
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// An answer, held to be handed to its askers. Its `Debug` shows no field (I8).
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its end-to-end fields.
    pub headers: HeaderMap,
    /// How the provider spelled them.
    pub extensions: Extensions,
    /// Its body.
    pub body: Held,
    /// Its share of what may be in memory.
    pub share: Share,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {:?})", self.status, self.body)
    }
}

/// What the askers of one operation are told.
#[derive(Debug)]
pub struct Told {
    /// The answer: the provider's, or one that payonce wrote.
    pub answer: Answer,
    /// Where it comes from; `None` while the outcome is not known.
    pub label: Option<Label>,
    /// Whether the operation succeeded.
    pub succeeded: bool,
    /// How many times it was sent.
    pub attempts: u32,
    /// The ledger did not take part.
    pub degraded: bool,
    /// The operation's id.
    pub operation: String,
    /// When it was told.
    pub at: Timestamp,
}

impl Told {
    /// The response for one asker. `None` if the answer could not be held: only the first asker
    /// streams it, once.
    #[must_use]
    pub fn response(&self, joined: bool) -> Option<Response<Body>> {
        let body = match &self.answer.body {
            Held::Whole(bytes) => full(bytes.clone()),
            Held::Stream(_) if joined => return None,
            Held::Stream(stream) => stream.lock().unwrap_or_else(PoisonError::into_inner).take()?,
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.answer.status;
        *response.headers_mut() = self.answer.headers.clone();
        *response.extensions_mut() = self.answer.extensions.clone();
        if let Held::Whole(bytes) = &self.answer.body
            && allows_body(self.answer.status)
        {
            // It was read whole, so its length is known even where it came in chunks.
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        let label = self.label.map(|label| if joined { Label::Joined } else { label });
        annotate(response.headers_mut(), &self.operation, label, self.attempts, self.degraded);
        Some(response)
    }
}

const fn allows_body(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Adds the `Payonce-*` fields of a critical answer.
pub fn annotate(
    headers: &mut HeaderMap,
    operation: &str,
    label: Option<Label>,
    attempts: u32,
    degraded: bool,
) {
    if let Ok(id) = HeaderValue::from_str(operation) {
        headers.insert(OPERATION_ID, id);
    }
    if let Some(label) = label {
        headers.insert(OUTCOME, HeaderValue::from_static(label.as_str()));
    }
    headers.insert(ATTEMPTS, HeaderValue::from(attempts));
    if degraded {
        headers.insert(DEGRADED, HeaderValue::from_static("store"));
    }
}

/// A body of known bytes.
#[must_use]
pub fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
