//! What people may know and say about operations. The wire form of the admin port, and what
//! `payonce ops` prints.

use std::future::Future;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::bulk::{Bulk, Bulked};
use super::judge::{Judgement, Question, Recognition};
use super::search::{Found, Wanted};
use crate::clients::list::List;
use crate::clock::Timestamp;
use crate::ledger::LedgerError;

/// What the admin port asks of the rest of payonce.
pub trait Operations: Clone + Send + Sync + 'static {
    /// At most `limit` (1 to 1000) open operations, in no order.
    fn list(&self, limit: usize) -> impl Future<Output = Result<Vec<Summary>, OpsError>> + Send;

    /// The operation with this id, as a person typed it (letters, digits, `-`, `_`; at most 128).
    fn show(&self, id: &str) -> impl Future<Output = Result<Option<Detail>, OpsError>> + Send;

    /// Operations that answer a description, those last sent first.
    fn search(&self, wanted: &Wanted) -> impl Future<Output = Result<Found, OpsError>> + Send;

    /// The operation that was last sent, or asked for, with this idempotency key. The key must be
    /// hashed and not be logged.
    fn by_key(
        &self,
        key: &SecretString,
    ) -> impl Future<Output = Result<Option<Detail>, OpsError>> + Send;

    /// The clients that were seen, and what the policy says of them.
    fn clients(&self) -> List;

    /// How operations are recognised here.
    fn recognition(&self) -> Recognition;

    /// What a request would come to if it arrived now. Nothing is claimed, written or sent. `None`
    /// if something in it is no id of an operation.
    fn judge(
        &self,
        asked: &Question,
    ) -> impl Future<Output = Result<Option<Judgement>, OpsError>> + Send;

    /// Ends an open operation by a person's word, to the end also if nobody waits for it any more.
    /// `who` and `why` are one line each, not empty.
    fn resolve(
        &self,
        id: &str,
        resolution: &Resolution,
        who: &str,
        why: &str,
    ) -> impl Future<Output = Result<Resolved, OpsError>> + Send;

    /// Shows all open operations of one rule, or ends them by a person's word, each by itself, to the
    /// end also if nobody waits for it any more.
    fn resolve_all(&self, said: &Bulk) -> impl Future<Output = Result<Bulked, OpsError>> + Send;
}

/// Why the store gave no answer about operations.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpsError {
    /// It did not answer when it was read. Nothing was changed.
    #[error("the store did not answer: {0}")]
    Unavailable(String),
    /// It did not answer when a person's word was written, which may have happened: show the
    /// operation to see.
    #[error("it is not known whether this was written: {0}")]
    Unknown(String),
    /// Too many words are acted on just now. Nothing was changed.
    #[error("nothing was changed: too many resolutions are under way; try again")]
    Busy,
    /// It holds what cannot be read.
    #[error("the store holds what cannot be read: {0}")]
    Damaged(String),
    /// A person's word must be written into the audit log first, and was not. Nothing was changed.
    #[error("nothing was changed, for the audit log does not take it: {0}")]
    Unrecorded(String),
}

impl From<LedgerError> for OpsError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Unavailable(why) => Self::Unavailable(why),
            LedgerError::Damaged(why) => Self::Damaged(why),
        }
    }
}

/// What is known of an operation's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Somebody is working on it, or died over it.
    InFlight,
    /// It was sent, and nobody knows what became of it.
    InDoubt,
    /// It happened.
    Succeeded,
    /// It did not happen.
    Declined,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::InFlight, Self::InDoubt, Self::Succeeded, Self::Declined];

    /// Whether its outcome is not known.
    #[must_use]
    pub const fn is_open(self) -> bool {
        match self {
            Self::InFlight | Self::InDoubt => true,
            Self::Succeeded | Self::Declined => false,
        }
    }

    /// The state's name, as on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::InDoubt => "in_doubt",
            Self::Succeeded => "succeeded",
            Self::Declined => "declined",
        }
    }
}

/// An operation on a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// As in `Payonce-Operation-Id`.
    pub operation_id: String,
    /// The policy's rule.
    pub rule: String,
    /// What is known of it.
    pub state: State,
    /// Since when this occurrence exists.
    pub since: Timestamp,
    /// How often it was sent.
    pub attempts: u32,
    /// In the currency's smallest unit, if the request said so.
    pub amount: Option<i64>,
    /// Lower-case ISO code, likewise.
    pub currency: Option<String>,
    /// Stripe's object, once an answer named it.
    pub object_id: Option<String>,
    /// Stripe's `Request-Id` of the last answer.
    pub request_id: Option<String>,
    /// Who asked, as far as settings let that be known.
    pub caller: Option<String>,
    /// The policy it was judged by.
    pub policy_version: String,
}

/// All that is told of one operation. No key: only that there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// As on the list.
    #[serde(flatten)]
    pub summary: Summary,
    /// `header`, `fields`, `own_key`, `content` or `call`.
    pub identity: String,
    /// Method and path.
    pub request: Option<String>,
    /// Which time this is.
    pub occurrence: u64,
    /// The epoch it began in.
    pub epoch: u64,
    /// When the occurrence was first sent.
    pub first_sent: Option<Timestamp>,
    /// And last.
    pub last_sent: Option<Timestamp>,
    /// Until when its key is safe to send again.
    pub safe_until: Option<Timestamp>,
    /// Until when its owner holds it.
    pub lease_until: Option<Timestamp>,
    /// `yes`, `lost`, or not known yet.
    pub delivery: Option<String>,
    /// What a person should do, in a sentence.
    pub advice: Option<String>,
    /// Who resolved it and why, if somebody did, or which event of Stripe's closed it.
    pub resolved: Option<String>,
    /// How the SHA-256 of its API key begins.
    #[serde(default)]
    pub api_key: Option<String>,
    /// The last event of Stripe's that bore its key while its outcome was not known.
    #[serde(default)]
    pub event: Option<String>,
    /// How many idempotency keys of the application's asked for it, as far as they are remembered.
    #[serde(default)]
    pub client_keys: usize,
    /// What happened to it and what will, in order.
    #[serde(default)]
    pub timeline: Vec<Moment>,
}

/// Something that happened to an operation, or will.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// What, for programs: `earlier`, `claimed`, `attempt`, `sent_again`, `answered`, `delivered`,
    /// `webhook`, `resolved`, `held_until`, `key_safe_until`, `forgotten_at`.
    pub what: String,
    /// The same for people.
    pub text: String,
    /// The status of an attempt's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Stripe's id of that answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A person's word for what became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It happened at the provider: asking again must not make it happen again.
    Succeeded {
        /// What it made.
        object_id: Option<String>,
    },
    /// It did not happen and no longer can: asking again is a new operation.
    Declined,
}

/// What became of a person's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// It is written; the operation stands like this now.
    Done(Box<Detail>),
    /// There is no such operation.
    NotFound,
    /// The operation has an outcome already.
    NotOpen(Box<Detail>),
    /// Somebody works on the operation just now; nothing was written.
    Busy(Box<Detail>),
}
