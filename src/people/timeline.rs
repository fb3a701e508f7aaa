//! What a record tells of an operation's life, in order. Pure.
//!
//! A record is small: it holds when things happened last, and no more than a few attempts. What it
//! does not hold is not told.

use crate::admin::Moment;
use crate::clock::Timestamp;
use crate::decide::digest::OperationId;
use crate::decide::operation::change::kept;
use crate::decide::operation::record::{Event, Outcome, Past, Record, Settled, Standing, Tried};
use crate::decide::operation::{Occurrence, Retention};
use crate::ledger::RecordId;
use crate::notes::Note;

/// The moments of a record, the earliest first; those that lie ahead come last.
pub(super) fn of_record(id: RecordId, record: &Record, now: Timestamp) -> Vec<Moment> {
    let mut all: Vec<Moment> = record.past.iter().map(earlier).collect();
    all.push(moment(record.first_sent, "claimed", claimed(record)));
    all.extend(record.about.taken_over.as_ref().map(|taken| {
        let text = format!("taken over from {}, which had perhaps sent it", taken.from);
        moment(taken.at, "taken_over", text)
    }));
    all.extend(attempts(record));
    all.extend(record.answered.map(|at| moment(at, "answered", told(record))));
    all.extend(record.first_delivered.map(|at| {
        moment(at, "delivered", "the application's connection took the answer".to_owned())
    }));
    all.extend(record.about.event.as_ref().map(webhook));
    all.extend(record.about.resolved.as_ref().map(|word| {
        moment(word.at, "resolved", format!("{} said what became of it: {}", word.by, word.why))
    }));
    all.extend(record.claim.as_ref().map(|claim| {
        let text = if claim.lease > now {
            format!("{} works on it, and holds it until then unless renewed", claim.owner)
        } else {
            format!("{} held it until then, had perhaps sent it, and is perhaps gone", claim.owner)
        };
        moment(claim.lease, "held_until", text)
    }));
    let safe = record.first_sent.plus(Retention::of(record.api).safe);
    let text = "the horizon: its key is sent again until then, and never after";
    all.push(moment(safe, "key_safe_until", text.to_owned()));
    let forgotten = now.plus(kept(record, &OperationId(id.0), now));
    all.push(moment(forgotten, "forgotten_at", "payonce forgets it".to_owned()));
    all.sort_by_key(|moment| moment.at);
    all
}

/// Those of a call, of which only a note is left.
pub(super) fn of_note(note: &Note) -> Vec<Moment> {
    let mut all: Vec<Moment> = note.about.trail.iter().map(attempt).collect();
    if all.is_empty() {
        all.push(moment(note.at, "attempt", "last sent".to_owned()));
    }
    all
}

fn moment(at: Timestamp, what: &str, text: String) -> Moment {
    Moment { at, what: what.to_owned(), text, status: None, request_id: None }
}

fn earlier(past: &Past) -> Moment {
    let held = if past.spent { "Stripe holds its outcome" } else { "its key is unspent" };
    let text = format!(
        "occurrence {} of epoch {} began; {held}",
        past.occurrence.n, past.occurrence.epoch
    );
    moment(past.first_sent, "earlier", text)
}

const OF_THIS: &str = "nothing of this occurrence left before";
const EARLIER: &str = "came earlier, and may have been paid: the log tells, by this operation's id";

/// What stood before this occurrence is not held, but for those that a client key points to.
fn claimed(record: &Record) -> String {
    let Occurrence { epoch, n } = record.occurrence;
    let before = match n {
        0 => "nothing of it left before".to_owned(),
        1 => format!("{OF_THIS}. Another of this operation {EARLIER}"),
        n => format!("{OF_THIS}. {n} others of this operation {EARLIER}"),
    };
    format!("claimed as occurrence {n} of epoch {epoch}; {before}")
}

fn attempts(record: &Record) -> Vec<Moment> {
    let about = &record.about;
    let mut all: Vec<Moment> = about.trail.iter().map(attempt).collect();
    let known = about.trail.last().map(|tried| tried.at);
    match known {
        // A success at the first attempt leaves no trail.
        None if record.attempts > 0 => all.push(Moment {
            request_id: about.request_id.clone(),
            ..moment(record.last_sent, "attempt", "sent".to_owned())
        }),
        Some(known) if record.last_sent > known => {
            let text = "an exchange with the same key began; its attempts are not written down";
            all.push(moment(record.last_sent, "sent_again", text.to_owned()));
        }
        None | Some(_) => {}
    }
    all
}

fn attempt(tried: &Tried) -> Moment {
    let meant = match tried.came.as_ref() {
        "not_sent" => "not sent",
        "unknown" => "sent, and nobody knows what came of it",
        "rate_limited" => "rate limited before it was executed",
        "indeterminate" => "sent, and perhaps executed",
        "succeeded" => "succeeded",
        "not_executed" => "not executed",
        "conflict" => "conflict at Stripe: its key was used with other content",
        "declined" => "declined",
        other => other,
    };
    let answer = match (tried.status, &tried.cause) {
        (Some(status), _) => format!(": answered {status}"),
        (None, Some(cause)) => format!(": {cause}"),
        (None, None) => String::new(),
    };
    Moment {
        status: tried.status,
        request_id: tried.request_id.clone(),
        ..moment(tried.at, "attempt", format!("{meant}{answer}"))
    }
}

fn told(record: &Record) -> String {
    match record.standing {
        Standing::Begun => "whoever asked was told".to_owned(),
        Standing::InDoubt { saved_500: true } => {
            "whoever asked was handed Stripe's own error 500, which does not tell what came of it"
                .to_owned()
        }
        Standing::InDoubt { saved_500: false } => {
            "whoever asked was told that the outcome is not known".to_owned()
        }
        Standing::Settled(Settled { result, delivered, .. }) => {
            let what = match result {
                Outcome::Succeeded => "that it succeeded",
                Outcome::Declined => "that it was declined",
            };
            // A person's word is nobody's answer.
            let lost = !delivered && record.about.resolved.is_none();
            let lost = if lost { "; that answer was lost on its way" } else { "" };
            if record.about.resolved.is_some() {
                return "whoever asked was told what was known then".to_owned();
            }
            format!("whoever asked was told {what}{lost}")
        }
    }
}

fn webhook(event: &Event) -> Moment {
    let object = event.object.as_deref().map(|object| format!(", {object}")).unwrap_or_default();
    let (id, kind, endpoint) = (&event.id, &event.kind, &event.endpoint);
    let text = format!("Stripe's event {id} ({kind}{object}) came to the endpoint {endpoint}");
    moment(event.at, "webhook", text)
}

#[cfg(test)]
mod tests;
