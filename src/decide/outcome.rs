//! What an answer means for the operation (DESIGN §4, second table; FACTS §2), pure.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::path::Api;
use crate::seams::{self, Mistake};

/// The rows of the table, by their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Row {
    /// Not sent.
    O1,
    /// Unknown yet.
    O2,
    /// Rate limited: not executed.
    O3,
    /// 500: indeterminate.
    O4,
    /// Succeeded.
    O5,
    /// 401, 403: not executed.
    O6,
    /// 400 `idempotency_error`: a conflict at Stripe.
    O7,
    /// Any other 4xx: declined.
    O8,
}

impl Row {
    /// All of them, in order.
    pub const ALL: [Self; 8] =
        [Self::O1, Self::O2, Self::O3, Self::O4, Self::O5, Self::O6, Self::O7, Self::O8];

    /// The id in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::O1 => "O1",
            Self::O2 => "O2",
            Self::O3 => "O3",
            Self::O4 => "O4",
            Self::O5 => "O5",
            Self::O6 => "O6",
            Self::O7 => "O7",
            Self::O8 => "O8",
        }
    }
}

/// What one attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// No byte left.
    NotSent,
    /// Bytes left and nothing is known.
    Unknown,
    /// The provider's rate limit, which stands before its idempotency layer.
    RateLimited,
    /// A 500: it may have been executed.
    Indeterminate {
        /// It is saved under the key: asking again brings the same.
        saved: bool,
    },
    /// Executed, and the answer was read whole.
    Succeeded,
    /// 401 or 403.
    NotExecuted,
    /// The key was used with other parameters, or for another endpoint.
    Conflict,
    /// Answered, and not done.
    Declined {
        /// The provider holds this decline under the key.
        spent: bool,
    },
}

impl Meaning {
    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Unknown => "unknown",
            Self::RateLimited => "rate_limited",
            Self::Indeterminate { .. } => "indeterminate",
            Self::Succeeded => "succeeded",
            Self::NotExecuted => "not_executed",
            Self::Conflict => "conflict",
            Self::Declined { .. } => "declined",
        }
    }

    /// Its row.
    #[must_use]
    pub const fn row(self) -> Row {
        match self {
            Self::NotSent => Row::O1,
            Self::Unknown => Row::O2,
            Self::RateLimited => Row::O3,
            Self::Indeterminate { .. } => Row::O4,
            Self::Succeeded => Row::O5,
            Self::NotExecuted => Row::O6,
            Self::Conflict => Row::O7,
            Self::Declined { .. } => Row::O8,
        }
    }
}

/// What an answer's head says about retries and replays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// `Stripe-Should-Retry`.
    pub should_retry: Option<bool>,
    /// `Idempotent-Replayed: true`.
    pub replayed: bool,
    /// `Retry-After`, in whole seconds (RFC 9110 §10.2.3; Stripe sends no dates).
    pub retry_after: Option<Duration>,
}

impl Signals {
    /// Reads them.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            should_retry: text("stripe-should-retry").and_then(|value| value.trim().parse().ok()),
            replayed: text("idempotent-replayed").is_some_and(|it| it.eq_ignore_ascii_case("true")),
            retry_after: text("retry-after")
                .and_then(|value| value.trim().parse().ok())
                .map(Duration::from_secs),
        }
    }
}

/// What a Stripe-shaped failure says: `{"error": {"type": …, "code": …}}`, or `{"error": "code"}`
/// as OAuth has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorBody {
    /// `error.type`.
    pub kind: Option<String>,
    /// `error.code`.
    pub code: Option<String>,
}

impl ErrorBody {
    /// Reads a body; `None` if it has another shape, so that Stripe did not write it.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Shape {
            error: Said,
        }
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Said {
            More {
                #[serde(default, rename = "type")]
                kind: Option<String>,
                #[serde(default)]
                code: Option<String>,
            },
            Code(String),
        }
        Some(match serde_json::from_slice::<Shape>(body).ok()?.error {
            Said::More { kind, code } => Self { kind, code },
            Said::Code(code) => Self { kind: None, code: Some(code) },
        })
    }
}

/// Reads a complete answer.
#[must_use]
pub fn read(status: StatusCode, signals: Signals, error: Option<&ErrorBody>, api: Api) -> Meaning {
    let code = error.and_then(|error| error.code.as_deref());
    let kind = error.and_then(|error| error.kind.as_deref());
    if seams::mistake(Mistake::UnknownAsDecline) && matches!(status.as_u16(), 408 | 424 | 501..=599)
        || seams::mistake(Mistake::InUseAsDecline) && status == StatusCode::CONFLICT
    {
        return Meaning::Declined { spent: true };
    }
    match status.as_u16() {
        200..=299 => Meaning::Succeeded,
        401 | 403 => Meaning::NotExecuted,
        429 if code == Some("lock_timeout") => Meaning::Unknown,
        429 => Meaning::RateLimited,
        408 | 424 => Meaning::Unknown,
        409 if in_use(kind, code) => Meaning::Unknown,
        // Somebody between payonce and Stripe wrote it, who cannot know what Stripe did.
        400..=499 if error.is_none() => Meaning::Unknown,
        400 if kind == Some("idempotency_error") => Meaning::Conflict,
        status @ 400..=499 => {
            Meaning::Declined { spent: api == Api::V1 && (status == 402 || signals.replayed) }
        }
        500 => Meaning::Indeterminate { saved: signals.replayed },
        _other => Meaning::Unknown,
    }
}

/// Whether a 409 says that the key is in use. One that does not say what it is counts as that:
/// to take it for a decline would free the operation for another key while it runs.
fn in_use(kind: Option<&str>, code: Option<&str>) -> bool {
    match code {
        Some(code) => code == "idempotency_key_in_use" || kind == Some("idempotency_error"),
        None => true,
    }
}

/// What all attempts of one exchange come to: the worst decides, unless an outcome was read (I5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    last: Option<Meaning>,
    unknown: bool,
    sent: bool,
    declined: Option<bool>,
}

/// What became of an occurrence in one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// It happened.
    Succeeded,
    /// It was answered and did not happen.
    Declined {
        /// The provider holds the decline under the key.
        spent: bool,
    },
    /// Bytes left and the outcome is not known.
    InDoubt {
        /// The provider replays a 500 under the key.
        saved_500: bool,
    },
    /// Nothing of this exchange was executed: what its claim found is put back.
    NotExecuted,
}

impl Tally {
    /// Counts one more attempt.
    pub fn add(&mut self, meaning: Meaning) {
        self.last = Some(meaning);
        match meaning {
            Meaning::NotSent | Meaning::RateLimited if seams::mistake(Mistake::UnknownErased) => {
                self.unknown = false;
            }
            Meaning::NotSent => {}
            Meaning::Unknown | Meaning::Indeterminate { .. } => {
                self.sent = true;
                self.unknown = true;
            }
            // The provider answered for this key, so whatever came before had not happened.
            Meaning::Declined { spent } => {
                self.sent = true;
                self.unknown = false;
                self.declined = Some(spent);
            }
            Meaning::Succeeded
            | Meaning::RateLimited
            | Meaning::NotExecuted
            | Meaning::Conflict => self.sent = true,
        }
    }

    /// Whether an attempt so far may have been executed, or was: what is replayed after it may be its
    /// own outcome.
    #[must_use]
    pub const fn touched(&self) -> bool {
        self.unknown || self.declined.is_some() || matches!(self.last, Some(Meaning::Succeeded))
    }

    /// Whether any byte left.
    #[must_use]
    pub const fn sent(&self) -> bool {
        self.sent
    }

    /// What it comes to.
    #[must_use]
    pub const fn conclusion(&self) -> Conclusion {
        match self.last {
            Some(Meaning::Succeeded) => Conclusion::Succeeded,
            Some(Meaning::Declined { spent }) => Conclusion::Declined { spent },
            Some(Meaning::Indeterminate { saved: true }) => Conclusion::InDoubt { saved_500: true },
            Some(
                Meaning::NotSent
                | Meaning::Unknown
                | Meaning::RateLimited
                | Meaning::Indeterminate { saved: false }
                | Meaning::NotExecuted
                | Meaning::Conflict,
            )
            | None => match (self.unknown, self.declined) {
                (true, _) => Conclusion::InDoubt { saved_500: false },
                (false, Some(spent)) => Conclusion::Declined { spent },
                (false, None) => Conclusion::NotExecuted,
            },
        }
    }
}

#[cfg(test)]
mod tests;
