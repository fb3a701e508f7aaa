//! What would happen to a request now: how a tool asks the admin port, and what it is told.
//!
//! The asker has recognised the operation; what it sends of the request are digests, which tell
//! nothing without the secret that made them. Nothing is claimed, written or sent.

use serde::{Deserialize, Serialize};

use super::Detail;
use crate::decide::digest::{CallDigest, ClientKeyDigest, key_digest};
use crate::decide::identity::{Fingerprint, Kind};
use crate::decide::key::IdempotencyKey;
use crate::decide::operation::Occurrence;
use crate::decide::operation::record::Record;
use crate::decide::operation::table::{Owner, Refused, Then, Verdict, Way};
use crate::decide::path::Api;

/// A request for an operation, as far as its record is judged by it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// What it was recognised by.
    pub kind: Kind,
    /// The API generation.
    pub api: Api,
    /// What it says, hashed.
    pub fingerprint: Fingerprint,
    /// Its client key with its content, hashed.
    pub client_key: Option<ClientKeyDigest>,
    /// Its client key with everything that it may not be moved to, hashed.
    pub call: Option<CallDigest>,
    /// Whether it may share a live or freshly delivered answer.
    pub twins: bool,
    /// The rule's `repeat_window`, in milliseconds.
    pub repeat_window_ms: u64,
    /// Whether a saved 500 is followed by the next occurrence.
    pub next_after_saved_500: bool,
}

/// What would happen, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Course {
    /// It would be sent for the first time.
    New,
    /// It would be sent as the next of its kind: an equal one was answered with success.
    Repeat,
    /// It would be sent anew, and an earlier one whose outcome nobody knows is given up.
    Abandoning,
    /// The same key would be sent again, to learn or bring about an outcome.
    TakeOver,
    /// The same key would be sent again, for the saved answer.
    Replay,
    /// The key of an earlier occurrence would be sent again, for its saved answer.
    ReplayEarlier,
    /// It would wait for whoever works on it, and share the answer.
    Share,
    /// It would wait for whoever works on it, and be judged again.
    Wait,
    /// It would be answered with `payonce_superseded`.
    Superseded,
    /// With `payonce_window_elapsed`.
    WindowElapsed,
    /// With `payonce_already_done`.
    AlreadyDone,
    /// With `idempotency_error`: it was asked for with other content.
    Conflict,
}

/// What would happen to a request that arrived now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The row of the state machine, A1 to A16.
    pub row: String,
    /// What that comes to.
    pub course: Course,
    /// For which occurrence it would be sent.
    pub occurrence: Option<Occurrence>,
    /// Where a key that was used before would be sent: its digest, as [`key_digest`] makes it.
    pub key_digest: Option<String>,
    /// The fields in which it conflicts.
    pub fields: Vec<String>,
    /// Whether somebody works on the operation just now.
    pub live_owner: bool,
    /// Whether that process sent this very call within the last 15 minutes, so that the call keeps
    /// the operation and the key that it had then.
    pub recalled: bool,
    /// The provider there, which is part of every operation's id.
    pub provider: String,
    /// The policy in force there.
    pub policy_version: String,
    /// `enforce`, `observe` or `bypass`: what is done there at all.
    pub mode: String,
    /// What is remembered of the operation.
    pub found: Option<Detail>,
}

/// What is told of where payonce stands, beside the judgement.
pub(crate) struct Around {
    pub(crate) recalled: bool,
    pub(crate) provider: String,
    pub(crate) policy_version: String,
    pub(crate) mode: String,
    pub(crate) found: Option<Detail>,
}

impl Judgement {
    /// Tells what the table said of `record`.
    pub(crate) fn of(
        verdict: &Verdict,
        record: Option<&Record>,
        owner: Owner,
        around: Around,
    ) -> Self {
        let course = course(&verdict.then);
        let (occurrence, key) = match &verdict.then {
            Then::Send(send) => match send.way {
                Way::New { .. } => (Some(send.occurrence), None),
                Way::TakeOver { .. } | Way::Replay => {
                    (Some(send.occurrence), record.map(|record| &record.key))
                }
            },
            Then::ReplayEarlier(past) => (Some(past.occurrence), Some(&past.key)),
            Then::Wait { .. } | Then::Refuse(_) => (None, None),
        };
        let fields = match &verdict.then {
            Then::Refuse(Refused::Conflict(fields)) => fields.clone(),
            Then::Refuse(Refused::Superseded | Refused::WindowElapsed | Refused::AlreadyDone)
            | Then::Send(_)
            | Then::ReplayEarlier(_)
            | Then::Wait { .. } => Vec::new(),
        };
        Self {
            row: verdict.row.as_str().to_owned(),
            course,
            occurrence,
            key_digest: key.map(digest_of),
            fields,
            live_owner: owner == Owner::Alive,
            recalled: around.recalled,
            provider: around.provider,
            policy_version: around.policy_version,
            mode: around.mode,
            found: around.found,
        }
    }
}

/// The digest by which a key is compared without being told.
#[must_use]
pub fn digest_of(key: &IdempotencyKey) -> String {
    hex::encode(key_digest(key.as_str()).0)
}

const fn course(then: &Then) -> Course {
    match then {
        Then::Send(send) => match send.way {
            Way::New { abandoned: true, .. } => Course::Abandoning,
            Way::New { repeat: true, .. } => Course::Repeat,
            Way::New { .. } => Course::New,
            Way::TakeOver { .. } => Course::TakeOver,
            Way::Replay => Course::Replay,
        },
        Then::ReplayEarlier(_) => Course::ReplayEarlier,
        Then::Wait { share: true } => Course::Share,
        Then::Wait { share: false } => Course::Wait,
        Then::Refuse(Refused::Superseded) => Course::Superseded,
        Then::Refuse(Refused::WindowElapsed) => Course::WindowElapsed,
        Then::Refuse(Refused::AlreadyDone) => Course::AlreadyDone,
        Then::Refuse(Refused::Conflict(_)) => Course::Conflict,
    }
}
