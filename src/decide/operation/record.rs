//! What is remembered of an operation. No body, and nothing of a payer beyond Stripe's object id.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Occurrence, Retention};
use crate::clock::Timestamp;
use crate::decide::digest::{ApiKeyHint, ClientKeyDigest};
use crate::decide::identity::{Fingerprint, Kind};
use crate::decide::key::IdempotencyKey;
use crate::decide::path::Api;
use crate::seams::{self, Mistake};

/// The form of a record that this payonce writes.
pub const FORMAT: u32 = 1;

/// How many client keys a record remembers; the oldest is forgotten first.
pub const MAX_CLIENT_KEYS: usize = 64;

/// How many attempts a record remembers for people: the first, and the last ones.
pub const MAX_TRAIL: usize = 8;

/// One operation, as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The form of what follows: [`FORMAT`].
    pub format: u32,
    /// What it was recognised by.
    pub kind: Kind,
    /// What was asked, for people: `POST /v1/charges`.
    pub request: String,
    /// The API generation that its keys live in.
    pub api: Api,
    /// Whose turn it is while it is in flight.
    pub claim: Option<Claim>,
    /// What is known of the current occurrence's outcome.
    pub standing: Standing,
    /// Which occurrence is current.
    pub occurrence: Occurrence,
    /// Its upstream key.
    pub key: IdempotencyKey,
    /// What it was first sent with.
    pub fingerprint: Fingerprint,
    /// When it was claimed: no byte of it left earlier.
    pub first_sent: Timestamp,
    /// When the last exchange with it began.
    pub last_sent: Timestamp,
    /// How many attempts were made with it.
    pub attempts: u32,
    /// When its success was first delivered.
    pub first_delivered: Option<Timestamp>,
    /// When its outcome was last told: whoever had arrived by then shares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Timestamp>,
    /// The client keys that asked for this operation.
    pub client_keys: Vec<ClientKeySeen>,
    /// Earlier occurrences that a client key above still points to.
    pub past: Vec<Past>,
    /// What people want to know.
    pub about: About,
}

/// Who works on an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The process.
    pub owner: String,
    /// This claim alone: tells whether a write that was not acknowledged happened.
    pub token: String,
    /// Until when nobody need take over. Only an economy: a take-over sends the same key.
    pub lease: Timestamp,
}

/// What is known of an occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Standing {
    /// Claimed, and no exchange of it has ended.
    Begun,
    /// Bytes left and the outcome is not known.
    InDoubt {
        /// The provider replays a 500 for this key.
        saved_500: bool,
    },
    /// The outcome is known. It never becomes unknown again, unless the provider does not keep it
    /// (an unspent decline) and the key is sent again.
    Settled(Settled),
}

/// A known outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Which.
    pub result: Outcome,
    /// Whether the provider holds it under the key.
    pub spent: bool,
    /// Whether the latest asker got it.
    pub delivered: bool,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The effect happened.
    Succeeded,
    /// It did not.
    Declined,
}

/// A client key that asked, and for which occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientKeySeen {
    /// The key with its content, hashed.
    pub digest: ClientKeyDigest,
    /// What it asked for.
    pub occurrence: Occurrence,
}

/// An earlier occurrence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// Which.
    pub occurrence: Occurrence,
    /// Its upstream key.
    pub key: IdempotencyKey,
    /// Whether the provider holds an outcome under it.
    pub spent: bool,
    /// When it was claimed.
    pub first_sent: Timestamp,
}

/// What a person looks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The rule that it fell to.
    pub rule: String,
    /// The policy's version then.
    pub policy: String,
    /// Stripe's id of what was made.
    pub object: Option<String>,
    /// Stripe's id of the last answer.
    pub request_id: Option<String>,
    /// Who asked.
    pub caller: Option<String>,
    /// The `amount` field, as sent.
    pub amount: Option<String>,
    /// The `currency` field, as sent.
    pub currency: Option<String>,
    /// Who resolved it by hand, and why.
    pub resolved: Option<Resolved>,
    /// Whose account: the request's `Stripe-Account`, or else its `Stripe-Context`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The beginning of its API key's digest: what an endpoint of webhooks is held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyHint>,
    /// What the provider's webhook said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// Attempts of this occurrence, [`MAX_TRAIL`] at most: the first, and the last ones. Empty where the first attempt
    /// succeeded: the rest of the record says all of that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trail: Vec<Tried>,
    /// Whose claim on this occurrence was taken over last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_over: Option<TakenOver>,
}

/// A claim that its process left behind: what that had sent is not written down. For people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// The process that had it.
    pub from: String,
    /// When another took it over.
    pub at: Timestamp,
}

/// One attempt, for people. Nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// When it began.
    pub at: Timestamp,
    /// What it meant, by its name in metrics. Text, so that a payonce that knows fewer meanings
    /// reads the record all the same.
    pub came: Cow<'static, str>,
    /// The answer's status, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Stripe's id of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// What a webhook of the provider said of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The event's id.
    pub id: String,
    /// Its type: `charge.succeeded`.
    pub kind: String,
    /// What it is about.
    pub object: Option<String>,
    /// Which endpoint it came to.
    pub endpoint: String,
    /// When.
    pub at: Timestamp,
}

/// A person's word on an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// Who said so.
    pub by: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
    /// The provider replays a 500 for the key, so the true answer cannot be had by asking again.
    #[serde(default)]
    pub unanswerable: bool,
}

impl Record {
    /// Whether its outcome is not known.
    #[must_use]
    pub const fn unresolved(&self) -> bool {
        match self.standing {
            Standing::Begun | Standing::InDoubt { .. } => true,
            Standing::Settled(_) => false,
        }
    }

    /// Whether somebody works on it or its outcome is not known.
    #[must_use]
    pub const fn open(&self) -> bool {
        self.claim.is_some() || self.unresolved()
    }

    /// Whether its key is too old to be sent again (I6).
    #[must_use]
    pub fn beyond_retention(&self, now: Timestamp) -> bool {
        now.since(self.first_sent) >= Retention::of(self.api).safe
            && !seams::mistake(Mistake::SentPastHorizon)
    }

    /// The known outcome, if any. A claim over a settled record means that the latest asker has
    /// not got it yet.
    #[must_use]
    pub fn settled(&self) -> Option<Settled> {
        match self.standing {
            Standing::Settled(settled) if self.claim.is_some() => {
                Some(Settled { delivered: false, ..settled })
            }
            Standing::Settled(settled) => Some(settled),
            Standing::Begun | Standing::InDoubt { .. } => None,
        }
    }
}
