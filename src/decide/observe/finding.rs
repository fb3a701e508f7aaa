//! What observing a request brings to light, and the words for it: what was known of the operation
//! before, and what payonce would have done.

use serde::{Deserialize, Serialize};

use super::{Ended, Opinion};
use crate::decide::operation::record::{Outcome, Record, Settled, Standing};
use crate::decide::outcome::Conclusion;
use crate::decide::path::Api;

/// What payonce would have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Does {
    /// Sent it: nothing like it was known.
    Send,
    /// Sent it once more: the same had succeeded and its answer had been delivered.
    Repeat,
    /// Sent it with the next key: what came before was declined, or given up.
    Next,
    /// Sent it with the key of the one before, to learn its outcome.
    TakeOver,
    /// Fetched the saved answer of the one before.
    Replay,
    /// Shared the answer of one in flight.
    Join,
    /// Waited for one in flight, and then judged again.
    Wait,
    /// Refused it, because the same name or key was there with other content.
    Conflict,
    /// Refused it, because it is done, or too old to be asked for again.
    Refuse,
}

impl Does {
    /// The word in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Repeat => "repeat",
            Self::Next => "next",
            Self::TakeOver => "take_over",
            Self::Replay => "replay",
            Self::Join => "join",
            Self::Wait => "wait",
            Self::Conflict => "conflict",
            Self::Refuse => "refuse",
        }
    }

    /// Whether it is taken for the operation that was there.
    #[must_use]
    pub const fn merges(self) -> bool {
        match self {
            Self::TakeOver | Self::Replay | Self::Join | Self::Refuse => true,
            Self::Send | Self::Repeat | Self::Next | Self::Wait | Self::Conflict => false,
        }
    }
}

/// What was known of the operation when a request for it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Before {
    /// Nothing.
    Nothing,
    /// One was on its way.
    InFlight,
    /// The outcome of the last one was not known.
    Unknown,
    /// The last one was declined.
    Declined,
    /// The last one succeeded, and its answer was lost.
    Lost,
    /// The last one succeeded, and its answer was delivered.
    Delivered,
}

impl Before {
    /// The word in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::InFlight => "in_flight",
            Self::Unknown => "unknown",
            Self::Declined => "declined",
            Self::Lost => "lost",
            Self::Delivered => "delivered",
        }
    }

    /// By what is remembered of it.
    pub(super) fn of(found: Option<&Record>) -> Self {
        let Some(record) = found else { return Self::Nothing };
        if record.claim.is_some() {
            return Self::InFlight;
        }
        match record.standing {
            Standing::Begun | Standing::InDoubt { .. } => Self::Unknown,
            Standing::Settled(Settled { result: Outcome::Declined, .. }) => Self::Declined,
            Standing::Settled(Settled { delivered: true, .. }) => Self::Delivered,
            Standing::Settled(_) => Self::Lost,
        }
    }

    /// Whether the operation may have happened already.
    const fn may_have_happened(self) -> bool {
        match self {
            Self::InFlight | Self::Unknown | Self::Lost | Self::Delivered => true,
            Self::Nothing | Self::Declined => false,
        }
    }
}

/// What observing a request brought to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It was executed, and so, perhaps, was the same operation before, mostly under another client
    /// key or none: payonce would have kept it to once.
    Duplicate,
    /// The same name or own key had been used with other content.
    Conflict,
    /// The rule would have refused it.
    Refused,
    /// The application asked again for what had failed, under another client key or none.
    Retry,
    /// The same client key with the same content came again, which Stripe recognises by itself.
    SameKey,
    /// The same again after a success that was delivered: payonce takes that as intended.
    Repeat,
}

impl Finding {
    /// All of them, the worst first.
    pub const ALL: [Self; 6] =
        [Self::Duplicate, Self::Conflict, Self::Refused, Self::Retry, Self::SameKey, Self::Repeat];

    /// The word in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Retry => "retry",
            Self::SameKey => "same_key",
            Self::Repeat => "repeat",
        }
    }
}

/// What a request brought to light that `ended` so.
pub(super) fn finding(opinion: &Opinion, api: Api, ended: &Ended) -> Option<Finding> {
    let executed = ended.conclusion == Conclusion::Succeeded && !ended.replayed;
    if opinion.same_key && opinion.does != Does::Conflict {
        // v1 marks what it replays (FACTS §2): this it had forgotten, and did again.
        let done = matches!(opinion.before, Before::Lost | Before::Delivered);
        let twice = executed && done && api == Api::V1;
        return Some(if twice { Finding::Duplicate } else { Finding::SameKey });
    }
    match opinion.does {
        Does::Conflict => Some(Finding::Conflict),
        Does::TakeOver | Does::Replay | Does::Join | Does::Refuse => {
            let twice = executed && opinion.before.may_have_happened();
            Some(if twice { Finding::Duplicate } else { Finding::Retry })
        }
        // Other content under one name after a decline is another card, and no retry.
        Does::Next if opinion.row == "A7" || opinion.row == "A6" => None,
        Does::Next => Some(Finding::Retry),
        Does::Repeat => Some(Finding::Repeat),
        Does::Send | Does::Wait => None,
    }
}
