//! How a record moves on: claimed, advanced, settled, put back, resolved by a person or a webhook
//! ([`word`]); and what besides follows from an answer ([`follows`](mod@follows)).

use std::time::Duration;

use super::Retention;
use super::record::{
    About, Claim, ClientKeySeen, FORMAT, MAX_CLIENT_KEYS, MAX_TRAIL, Outcome, Past, Record,
    Settled, Standing, Tried,
};
use super::table::{Ask, Owner, Send};
use crate::clock::Timestamp;
use crate::decide::digest::{ClientKeyDigest, OperationId};
use crate::decide::identity::Kind;
use crate::decide::key::IdempotencyKey;
use crate::decide::outcome::Conclusion;
use crate::decide::path::Api;
use crate::seams::{self, Mistake};

mod follows;
mod word;

pub use follows::{Follows, MAX_ADVANCES, follows};
pub use word::{Resolution, resolved, told_by_word, witnessed};

/// What a claim writes besides what it found.
#[derive(Clone, Debug)]
pub struct Claiming {
    /// Who works on it.
    pub claim: Claim,
    /// The upstream key of the occurrence that is to be sent.
    pub key: IdempotencyKey,
    /// What was asked, for people.
    pub request: String,
    /// The API generation.
    pub api: Api,
    /// What people want to know.
    pub about: About,
}

/// The record with which `send` is claimed over `found`.
#[must_use]
pub fn claimed(found: Option<&Record>, ask: &Ask<'_>, send: Send, with: Claiming) -> Record {
    let mut record = match found {
        Some(found) if found.occurrence == send.occurrence => {
            let standing = sent_again(found.standing);
            // Later than what it follows, whatever the clock of the process that wrote that says:
            // else that one's memory would look like the later exchange ([`further`]).
            let last_sent = ask.now.max(found.last_sent.plus(Duration::from_millis(1)));
            Record { claim: Some(with.claim), standing, last_sent, ..found.clone() }
        }
        found => Record {
            format: FORMAT,
            kind: ask.kind,
            request: with.request,
            api: with.api,
            claim: Some(with.claim),
            standing: Standing::Begun,
            occurrence: send.occurrence,
            key: with.key,
            fingerprint: ask.fingerprint.clone(),
            first_sent: ask.now,
            last_sent: ask.now,
            attempts: 0,
            first_delivered: None,
            answered: None,
            client_keys: found.map(|found| found.client_keys.clone()).unwrap_or_default(),
            past: found.map(with_past).unwrap_or_default(),
            about: with.about,
        },
    };
    if let Some(key) = ask.client_key {
        remember(&mut record, key);
    }
    trim(&mut record);
    record
}

/// What a key that is sent again leaves known. The provider replays an outcome that it holds; an
/// unspent decline it executes anew, so that its outcome is open until there is an answer (I5).
const fn sent_again(standing: Standing) -> Standing {
    match standing {
        Standing::Settled(Settled { result: Outcome::Declined, spent: false, .. }) => {
            Standing::Begun
        }
        Standing::Begun | Standing::InDoubt { .. } | Standing::Settled(_) => standing,
    }
}

/// A record that is younger than the outcome which the provider replayed for it (I6). A derived key
/// is no older than its epoch; how old an own key is, nobody knows.
#[must_use]
pub fn forgotten(mut record: Record, operation: &OperationId) -> Record {
    let retention = Retention::of(record.api);
    let oldest = if record.kind == Kind::OwnKey {
        record.last_sent.minus(retention.safe)
    } else {
        retention.epoch_end(operation, record.occurrence.epoch.saturating_sub(1))
    };
    record.first_sent = record.first_sent.min(oldest);
    record
}

/// A record that is younger than what was made under its key, which the provider replayed (I6): the
/// ledger forgot when that was, and the attempts of the exchange do not tell, where one was not
/// answered. No derived key is older than its epoch.
#[must_use]
pub fn aged(mut record: Record, operation: &OperationId, made: Timestamp) -> Record {
    let epoch =
        Retention::of(record.api).epoch_end(operation, record.occurrence.epoch.saturating_sub(1));
    let sent = if record.kind == Kind::OwnKey { made } else { made.max(epoch) };
    record.first_sent = record.first_sent.min(sent);
    record
}

/// Passes over the current occurrence, which the provider answered with a replayed decline.
#[must_use]
pub fn advanced(record: &Record, epoch: u64, key: IdempotencyKey, now: Timestamp) -> Record {
    let over = passed_over(record);
    let mut next = Record {
        occurrence: record.occurrence.next(epoch),
        key,
        claim: record.claim.clone(),
        standing: Standing::Begun,
        first_sent: now,
        last_sent: now,
        attempts: 0,
        first_delivered: None,
        answered: None,
        past: with_past(&over),
        about: About { object: None, event: None, trail: Vec::new(), ..over.about.clone() },
        ..over
    };
    // Whoever asked for the occurrence that is passed over asks for this one.
    for seen in &mut next.client_keys {
        if seen.occurrence == record.occurrence {
            seen.occurrence = next.occurrence;
        }
    }
    trim(&mut next);
    next
}

/// `record` with the decline that the provider replayed for it, free: what is put back if nothing
/// comes of the occurrence after it.
#[must_use]
pub fn passed_over(record: &Record) -> Record {
    Record {
        claim: None,
        standing: Standing::Settled(Settled {
            result: Outcome::Declined,
            spent: true,
            delivered: true,
        }),
        ..record.clone()
    }
}

/// The earlier occurrences, with the current one of `record` among them.
fn with_past(record: &Record) -> Vec<Past> {
    let spent = match record.standing {
        Standing::Settled(settled) => settled.spent,
        Standing::Begun | Standing::InDoubt { .. } => false,
    };
    let mut past = record.past.clone();
    past.push(Past {
        occurrence: record.occurrence,
        key: record.key.clone(),
        spent,
        first_sent: record.first_sent,
    });
    past
}

fn remember(record: &mut Record, key: ClientKeyDigest) {
    let seen = ClientKeySeen { digest: key, occurrence: record.occurrence };
    if !record.client_keys.contains(&seen) && !seams::mistake(Mistake::AskerNotRecorded) {
        record.client_keys.push(seen);
    }
    trim(record);
}

fn trim(record: &mut Record) {
    let surplus = record.client_keys.len().saturating_sub(MAX_CLIENT_KEYS);
    record.client_keys.drain(..surplus);
    let Record { past, client_keys, .. } = record;
    past.retain(|past| client_keys.iter().any(|seen| seen.occurrence == past.occurrence));
}

/// What an exchange learnt.
#[derive(Clone, Debug)]
pub struct Learnt {
    /// What became of the occurrence.
    pub conclusion: Conclusion,
    /// How many attempts this exchange made.
    pub attempts: u32,
    /// Stripe's id of what was made.
    pub object: Option<String>,
    /// Stripe's id of the last answer.
    pub request_id: Option<String>,
    /// When the last attempt began.
    pub last_sent: Timestamp,
    /// When the askers were told.
    pub answered: Timestamp,
    /// Its attempts one by one, for people.
    pub trail: Vec<Tried>,
}

/// Settles `record` with what was learnt; `joined` are the client keys that shared the answer.
///
/// Not for [`Conclusion::NotExecuted`], after which what the claim found is put back.
#[must_use]
pub fn settled(
    mut record: Record,
    learnt: &Learnt,
    delivered: bool,
    joined: &[ClientKeyDigest],
    now: Timestamp,
) -> Record {
    record.standing = match (learnt.conclusion, record.standing) {
        (Conclusion::Succeeded, _) => {
            Standing::Settled(Settled { result: Outcome::Succeeded, spent: true, delivered })
        }
        // A success is not undone by what is answered later for its key (which raises an alarm).
        (
            Conclusion::Declined { .. },
            Standing::Settled(held @ Settled { result: Outcome::Succeeded, .. }),
        ) => Standing::Settled(Settled { delivered: false, ..held }),
        (Conclusion::Declined { spent }, _) => {
            Standing::Settled(Settled { result: Outcome::Declined, spent, delivered })
        }
        // What the provider keeps never becomes unknown; this asker just has not got the answer.
        (Conclusion::InDoubt { .. } | Conclusion::NotExecuted, Standing::Settled(settled)) => {
            Standing::Settled(Settled { delivered: false, ..settled })
        }
        (Conclusion::InDoubt { saved_500 }, Standing::Begun | Standing::InDoubt { .. }) => {
            Standing::InDoubt { saved_500 }
        }
        (Conclusion::NotExecuted, standing @ (Standing::Begun | Standing::InDoubt { .. })) => {
            standing
        }
    };
    let success = learnt.conclusion == Conclusion::Succeeded;
    if success && delivered && record.first_delivered.is_none() {
        record.first_delivered = Some(now);
    }
    record.claim = None;
    record.attempts = record.attempts.saturating_add(learnt.attempts);
    record.last_sent = learnt.last_sent.max(record.last_sent);
    record.answered = Some(learnt.answered);
    record.about.object = learnt.object.clone().or(record.about.object);
    record.about.request_id = learnt.request_id.clone().or(record.about.request_id);
    add_trail(&mut record.about.trail, learnt);
    for key in joined {
        remember(&mut record, *key);
    }
    record
}

/// Remembers the attempts, unless a success at the first is all that there is to tell.
fn add_trail(trail: &mut Vec<Tried>, learnt: &Learnt) {
    let plain = learnt.conclusion == Conclusion::Succeeded && learnt.trail.len() <= 1;
    if plain && trail.is_empty() {
        return;
    }
    trail.extend(learnt.trail.iter().cloned());
    trail.drain(..trail.len().saturating_sub(MAX_TRAIL));
}

/// What is written back where nothing of an exchange was executed: what its claim found, free.
#[must_use]
pub fn put_back(found: Option<Record>) -> Option<Record> {
    found.map(|found| Record {
        // Whoever held a claim here was judged to be gone, without an answer delivered.
        standing: found.settled().map_or(found.standing, Standing::Settled),
        claim: None,
        ..found
    })
}

const fn spent(record: &Record) -> bool {
    matches!(record.standing, Standing::Settled(Settled { spent: true, .. }))
}

const fn succeeded(record: &Record) -> bool {
    matches!(record.standing, Standing::Settled(Settled { result: Outcome::Succeeded, .. }))
}

/// How long a record is kept from `now` on.
#[must_use]
pub fn kept(record: &Record, operation: &OperationId, now: Timestamp) -> Duration {
    let retention = Retention::of(record.api);
    let named = record.kind != Kind::Content;
    let until = match record.standing {
        Standing::Begun | Standing::InDoubt { .. } => record.first_sent.plus(retention.open()),
        Standing::Settled(Settled { result: Outcome::Succeeded, .. }) if named => {
            record.last_sent.plus(Retention::done())
        }
        Standing::Settled(_) => retention
            .epoch_end(operation, record.occurrence.epoch)
            .max(record.last_sent.plus(retention.after_send)),
    };
    until.since(now).max(Duration::from_secs(1))
}

/// Of what is stored and what a process remembers of one operation, the record that got further:
/// what a store that stepped back, or did not take a write, does not know, a process may remember.
/// Of one occurrence, an outcome that the provider keeps is further than any other standing; then
/// the later exchange is, unless the `owner` of what is stored still works on it and will send its
/// key. A tie is the store's.
#[must_use]
pub fn further<'a>(stored: &'a Record, remembered: &'a Record, owner: Owner) -> &'a Record {
    let reached = |record: &Record| {
        let later = (owner == Owner::Gone).then_some(record.last_sent);
        (record.occurrence, spent(record), later)
    };
    if reached(stored) >= reached(remembered) { stored } else { remembered }
}

/// Whether `record`, with which an exchange ends, says more of its key than what `stands` there free:
/// an outcome that the provider keeps, or a later exchange. Its claim never stood there, or was
/// judged to be over, and whoever wrote what stands did not learn this. A person's word gives way to
/// the provider's alone.
#[must_use]
pub fn says_more(record: &Record, stands: &Record) -> bool {
    let free = record.claim.is_none() && stands.claim.is_none();
    let same = record.occurrence == stands.occurrence && record.key == stands.key;
    let later = record.last_sent > stands.last_sent && stands.about.resolved.is_none();
    let more = spent(record) && !spent(stands) || spent(record) == spent(stands) && later;
    free && same && more
}

#[cfg(test)]
mod tests;
