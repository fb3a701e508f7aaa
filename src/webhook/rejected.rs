//! What is turned away at the gate, and how that is said: to the sender, to the log, to a counter.
//! Nothing of it reached the application.

use http::StatusCode;

use super::event::NotAnEvent;
use super::signature::BadSignature;
use crate::request::{BadHead, BodyError};

/// Why a request is not handed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Its head is ill-formed.
    #[error("{0}")]
    Head(BadHead),
    /// No endpoint has this path.
    #[error("no endpoint has this path (webhook.endpoints)")]
    NoEndpoint,
    /// It comes from elsewhere than Stripe's events do.
    #[error("events are not expected from this address (webhook.source_ranges_file)")]
    Source,
    /// Not a POST.
    #[error("an event is sent with POST")]
    Method,
    /// Not JSON.
    #[error("an event is sent as application/json, with no Content-Encoding")]
    Type,
    /// Its body is over the limit.
    #[error("the body is over {0} bytes (webhook.body)")]
    TooLarge(usize),
    /// Its body came too slowly.
    #[error("the body did not come in time")]
    TooSlow,
    /// Its body broke off.
    #[error("the body broke off or was ill-formed")]
    Broken,
    /// All bodies together hold as much as they may.
    #[error("too many bytes of events are in flight")]
    Busy,
    /// It was not signed by Stripe, not for this endpoint, or not now.
    #[error("{0}")]
    Signature(#[from] BadSignature),
    /// It was signed, and is no event.
    #[error("{0}")]
    Event(#[from] NotAnEvent),
    /// payonce failed inside; whether the application got it is not known.
    #[error("payonce failed inside; whether the application got the event is not known")]
    Internal,
}

impl Rejected {
    /// The name in metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Head(_) => "head",
            Self::NoEndpoint => "no_endpoint",
            Self::Source => "source",
            Self::Method => "method",
            Self::Type => "type",
            Self::TooLarge(_) => "too_large",
            Self::TooSlow => "too_slow",
            Self::Broken => "broken",
            Self::Busy => "busy",
            Self::Signature(why) => why.as_str(),
            Self::Event(NotAnEvent::NotJson) => "not_json",
            Self::Event(NotAnEvent::NoId) => "no_event_id",
            Self::Internal => "internal",
        }
    }

    /// The status: 400 for all that an endpoint does not take for an event of Stripe's.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Head(_)
            | Self::Source
            | Self::Type
            | Self::Broken
            | Self::Signature(_)
            | Self::Event(_) => StatusCode::BAD_REQUEST,
            Self::NoEndpoint => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<BodyError> for Rejected {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { limit, .. } => Self::TooLarge(limit),
            BodyError::TooSlow => Self::TooSlow,
            BodyError::ClientGone | BodyError::Malformed => Self::Broken,
            BodyError::Busy => Self::Busy,
        }
    }
}
