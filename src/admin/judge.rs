//! What would happen to a request now: how a tool asks the admin port, and what it is told.
//!
//! The asker has recognised the operation; what it sends of the request are digests, which tell
//! nothing without the secret that made them. Nothing is claimed, written or sent.

use serde::{Deserialize, Serialize};

use super::Detail;
use crate::decide::digest::{CallDigest, ClientKeyDigest, key_digest};
use crate::decide::identity::{Fingerprint, Identified, Kind};
use crate::decide::key::IdempotencyKey;
use crate::decide::operation::Occurrence;
use crate::decide::operation::table::{Owner, Refused, Then, Way};
use crate::decide::path::Api;
use crate::exchange::Seen;

/// How operations are recognised by the payonce that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recognition {
    /// The provider there, which is part of every operation's id.
    pub provider: String,
    /// The ways that are known on its store, as [`Way::text`](crate::decide::policy::Way::text)
    /// writes them.
    pub ways: Vec<String>,
}

/// A request for an operation, as far as its record is judged by it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// What it is recognised as today.
    pub today: Identity,
    /// What it is under other policies, secrets, scopes on the store; nearest first, at most 16.
    pub others: Vec<Identity>,
    /// The API generation.
    pub api: Api,
    /// Its client key with everything that it may not be moved to, hashed.
    pub call: Option<CallDigest>,
    /// The rule's `repeat_window`, in milliseconds.
    pub repeat_window_ms: u64,
    /// Whether a saved 500 is followed by the next occurrence.
    pub next_after_saved_500: bool,
}

/// What a request was recognised as.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The operation id, 64 hexadecimal digits.
    pub operation: String,
    /// By what.
    pub kind: Kind,
    /// What it says, hashed.
    pub fingerprint: Fingerprint,
    /// Its client key with its content, hashed.
    pub client_key: Option<ClientKeyDigest>,
    /// Whether it may share a live or freshly delivered answer.
    pub twins: bool,
    /// Whether today's rule makes the same two requests the same operation.
    pub same_rule: bool,
}

impl Identity {
    /// What `identified` says of itself.
    #[must_use]
    pub fn of(identified: &Identified, same_rule: bool) -> Self {
        Self {
            operation: identified.operation.to_string(),
            kind: identified.kind,
            fingerprint: identified.fingerprint.clone(),
            client_key: identified.client_key,
            twins: identified.twins,
            same_rule,
        }
    }
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
    /// By which identity: 0 is today's, 1 the first of the others.
    pub by: usize,
    /// The operation of that identity.
    pub operation: String,
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
    pub(crate) policy_version: String,
    pub(crate) mode: String,
    pub(crate) found: Option<Detail>,
}

impl Judgement {
    /// Tells what was seen.
    pub(crate) fn of(seen: &Seen, around: Around) -> Self {
        let Seen { record, owner, verdict, .. } = seen;
        let course = course(&verdict.then);
        let (occurrence, key) = match &verdict.then {
            Then::Send(send) => match send.way {
                Way::New { .. } => (Some(send.occurrence), None),
                Way::TakeOver { .. } | Way::Replay => {
                    (Some(send.occurrence), record.as_ref().map(|record| &record.key))
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
            live_owner: *owner == Owner::Alive,
            recalled: around.recalled,
            by: seen.by,
            operation: seen.id.to_string(),
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
