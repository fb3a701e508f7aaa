//! What payonce would have done with a request that it only observes, pure.
//!
//! The table of DESIGN §4 judges an observed request as it judges any other, by a record that is
//! kept in this process's memory (or, for a replay, in a tool's) and moves on as the ledger's would
//! have. The request itself goes out as it came, so that what became of it says what payonce would
//! have spared: an operation that was executed although it had been executed before is a suspected
//! duplicate. Who remembers, counts and writes down is not told here.

use std::time::Duration;

use super::digest::{ClientKeyDigest, OperationId};
use super::identity::{Fingerprint, Identified, Kind};
use super::key::IdempotencyKey;
use super::operation::Retention;
use super::operation::change::{Claiming, Learnt, claimed, put_back, settled};
use super::operation::record::{About, Claim, Outcome, Record, Standing};
use super::operation::table::{Ask, Owner, Refused, Then, Way, judge};
use super::outcome::Conclusion;
use super::path::Api;
use super::policy::{Indeterminate, Rule};
use crate::clock::Timestamp;

mod finding;

use finding::finding;
pub use finding::{Before, Does, Finding};

/// An observed request, as far as it is judged.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which operation it is.
    pub operation: OperationId,
    /// The API generation.
    pub api: Api,
    /// What it was recognised by.
    pub kind: Kind,
    /// What it says, as a whole. Single fields are left out: memory has room for more operations.
    pub fingerprint: Fingerprint,
    /// Its client key with its content.
    pub client_key: Option<ClientKeyDigest>,
    /// Whether it may share a live or freshly delivered answer.
    pub twins: bool,
    /// The rule's repeat window.
    pub repeat_window: Duration,
    /// Whether a saved 500 is followed by the next occurrence.
    pub next_after_saved_500: bool,
    /// When it arrived.
    pub arrived: Timestamp,
    /// Tells it from every other request.
    pub token: String,
}

impl Request {
    /// A request that was recognised under `rule`. `token` tells it from every other.
    #[must_use]
    pub fn of(
        identified: &Identified,
        rule: &Rule,
        api: Api,
        arrived: Timestamp,
        token: String,
    ) -> Self {
        Self {
            operation: identified.operation,
            api,
            kind: identified.kind,
            fingerprint: Fingerprint { whole: identified.fingerprint.whole, fields: Vec::new() },
            client_key: identified.client_key,
            twins: identified.twins,
            repeat_window: rule.repeat_window,
            next_after_saved_500: rule.indeterminate == Indeterminate::Next,
            arrived,
            token,
        }
    }

    fn ask(&self, now: Timestamp, waited: bool) -> Ask<'_> {
        Ask {
            kind: self.kind,
            fingerprint: &self.fingerprint,
            client_key: self.client_key,
            twins: self.twins,
            repeat_window: self.repeat_window,
            next_after_saved_500: self.next_after_saved_500,
            epoch: Retention::of(self.api).epoch_at(&self.operation, now),
            arrived: self.arrived,
            waited,
            now,
        }
    }

    fn claiming(&self, now: Timestamp) -> Claiming {
        Claiming {
            claim: Claim { owner: String::new(), token: self.token.clone(), lease: now },
            // Nothing is ever sent with it.
            key: IdempotencyKey::minted([0; 16]),
            request: String::new(),
            api: self.api,
            about: About::default(),
        }
    }
}

/// How an observed request was judged on arrival.
#[derive(Clone, Debug)]
pub struct Opinion {
    /// The row that decided.
    pub row: &'static str,
    /// What payonce would have done.
    pub does: Does,
    /// What was known before.
    pub before: Before,
    /// When the operation was last asked for.
    pub last: Option<Timestamp>,
    /// Whether its client key had asked for the same before.
    pub same_key: bool,
    /// What was remembered: put back if nothing comes of it.
    held: Option<Box<Record>>,
}

/// What became of an observed request.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// What was answered comes to this.
    pub conclusion: Conclusion,
    /// The provider marked its answer as a replay: nothing was executed now.
    pub replayed: bool,
    /// Whether the client got the answer.
    pub delivered: bool,
    /// When the answer was there.
    pub answered: Timestamp,
}

/// What is to be remembered after a step.
#[derive(Clone, Debug)]
pub enum Keep {
    /// What was there.
    Same,
    /// This instead.
    This(Box<Record>),
    /// Nothing.
    Nothing,
}

/// Judges a request on arrival, by what is remembered of its operation. Not for [`Kind::Call`],
/// which has no record.
#[must_use]
pub fn arrive(found: Option<&Record>, request: &Request, now: Timestamp) -> (Opinion, Keep) {
    arrive_as(found, request, now, false)
}

fn arrive_as(
    found: Option<&Record>,
    request: &Request,
    now: Timestamp,
    waited: bool,
) -> (Opinion, Keep) {
    let ask = request.ask(now, waited);
    // Whoever claimed it ends in this memory as well, so that a claim is that of a live request.
    let verdict = judge(found, Owner::Alive, &ask);
    let does = match &verdict.then {
        Then::Send(send) => match send.way {
            Way::New { repeat: true, .. } => Does::Repeat,
            Way::New { .. } if found.is_some() => Does::Next,
            Way::New { .. } => Does::Send,
            Way::TakeOver { .. } => Does::TakeOver,
            Way::Replay => Does::Replay,
        },
        Then::ReplayEarlier(_) => Does::Replay,
        Then::Wait { share: true } if told_long_ago(found, request, now) => Does::Wait,
        Then::Wait { share: true } => Does::Join,
        Then::Wait { share: false } => Does::Wait,
        Then::Refuse(Refused::Conflict(_)) => Does::Conflict,
        Then::Refuse(Refused::Superseded | Refused::WindowElapsed | Refused::AlreadyDone) => {
            Does::Refuse
        }
    };
    let opinion = Opinion {
        row: verdict.row.as_str(),
        does,
        before: Before::of(found),
        last: found.map(|record| record.last_sent),
        same_key: found.is_some_and(|record| knows(record, request)),
        held: found.cloned().map(Box::new),
    };
    let keep = match verdict.then {
        Then::Send(send) => Keep::This(Box::new(claimed(found, &ask, send, request.claiming(now)))),
        Then::ReplayEarlier(_) | Then::Wait { .. } | Then::Refuse(_) => Keep::Same,
    };
    (opinion, keep)
}

/// Whether the live one has its answer already, for longer than twins share it by content.
fn told_long_ago(found: Option<&Record>, request: &Request, now: Timestamp) -> bool {
    let told = found.and_then(|record| record.answered.filter(|at| *at >= record.last_sent));
    let over = |at: Timestamp| now.since(at) >= request.repeat_window;
    request.kind == Kind::Content && told.is_some_and(over)
}

fn knows(record: &Record, request: &Request) -> bool {
    let seen = |key| record.client_keys.iter().any(|seen| seen.digest == key);
    request.client_key.is_some_and(seen)
}

/// Learns that a request has its answer, though not yet whether that was delivered. A decline
/// (`declined`) is shared with nobody, so that whoever comes next is judged by it at once.
#[must_use]
pub fn answered(
    found: Option<&Record>,
    request: &Request,
    opinion: &Opinion,
    declined: bool,
    now: Timestamp,
) -> Keep {
    let Some(record) = found.filter(|record| is_of(record, request)) else { return Keep::Same };
    if !declined {
        return Keep::This(Box::new(Record { answered: Some(now), ..record.clone() }));
    }
    let conclusion = Conclusion::Declined { spent: true };
    let ended = Ended { conclusion, replayed: false, delivered: true, answered: now };
    after(record, opinion, &ended, now)
}

fn is_of(record: &Record, request: &Request) -> bool {
    record.claim.as_ref().is_some_and(|claim| claim.token == request.token)
}

/// Learns what became of a request that [`arrive`] judged; `found` is what is remembered now. The
/// opinion comes back as it is in the end: who waited for one in flight is judged by its outcome.
#[must_use]
pub fn end(
    found: Option<&Record>,
    request: &Request,
    opinion: Opinion,
    ended: &Ended,
    now: Timestamp,
) -> (Opinion, Option<Finding>, Keep) {
    let (opinion, keep) = match found.filter(|record| is_of(record, request)) {
        Some(record) => {
            let keep = after(record, &opinion, ended, now);
            (opinion, keep)
        }
        None if matches!(opinion.does, Does::Join | Does::Wait) => {
            waited(found, request, opinion, ended, now)
        }
        None => (opinion, Keep::Same),
    };
    let finding = finding(&opinion, request.api, ended);
    (opinion, finding, keep)
}

/// It would have waited for one in flight, which has ended by now, or has not.
fn waited(
    found: Option<&Record>,
    request: &Request,
    first: Opinion,
    ended: &Ended,
    now: Timestamp,
) -> (Opinion, Keep) {
    let (again, claim) = arrive_as(found, request, now, true);
    let keep = match claim {
        Keep::This(record) => after(&record, &again, ended, now),
        Keep::Same | Keep::Nothing => Keep::Same,
    };
    // One that is still on its way when this has its answer: as far as can be told, one of them is
    // too many.
    let still = matches!(again.does, Does::Join | Does::Wait);
    let same_key = first.same_key || again.same_key;
    let opinion = if still { first } else { Opinion { same_key, ..again } };
    (opinion, keep)
}

/// The record once the request that claimed it has ended.
fn after(record: &Record, opinion: &Opinion, ended: &Ended, now: Timestamp) -> Keep {
    let answered = matches!(ended.conclusion, Conclusion::Succeeded | Conclusion::Declined { .. });
    let conclusion = match (opinion.does, record.standing) {
        // The provider would have given the saved outcome again, whatever it did in truth.
        (Does::Replay, Standing::Settled(held)) if answered => match held.result {
            Outcome::Succeeded => Conclusion::Succeeded,
            Outcome::Declined => Conclusion::Declined { spent: held.spent },
        },
        _ => ended.conclusion,
    };
    if conclusion == Conclusion::NotExecuted {
        let held = put_back(opinion.held.as_deref().cloned());
        return held.map_or(Keep::Nothing, |held| Keep::This(Box::new(held)));
    }
    let learnt = Learnt {
        conclusion,
        attempts: 1,
        object: None,
        request_id: None,
        last_sent: record.last_sent,
        answered: ended.answered,
        trail: Vec::new(),
    };
    Keep::This(Box::new(settled(record.clone(), &learnt, ended.delivered, &[], now)))
}

#[cfg(test)]
mod tests;
