//! What to do about an operation, in a sentence about the money. Pure.

use crate::clock::Timestamp;
use crate::decide::identity::Kind;
use crate::decide::operation::Retention;
use crate::decide::operation::record::{About, Outcome, Record, Settled, Standing};
use crate::notes::Note;

/// What to do about a record.
pub(super) fn of_record(record: &Record, now: Timestamp) -> String {
    let safe = record.first_sent.plus(Retention::of(record.api).safe);
    if let Some(claim) = &record.claim {
        return at_work(claim.lease > now, record.beyond_retention(now));
    }
    match record.standing {
        // A record is free only once an exchange has ended; a person's word, or a crash between two
        // writes, can leave this.
        Standing::Begun | Standing::InDoubt { saved_500: false } => in_doubt(record, safe, now),
        Standing::InDoubt { saved_500: true } => format!(
            "The outcome is unknown{}: Stripe keeps answering its key with a saved error 500, so \
             that asking again with that key brings no answer and moves no money (under a rule with \
             indeterminate = \"next\", another client key is another payment); look {} and say what \
             you found with `payonce ops resolve`.",
            money(&record.about),
            place(&record.about, &record.request, record.first_sent),
        ),
        Standing::Settled(settled) => known(record, settled, now),
    }
}

/// What to do about a call that has no record.
pub(super) fn of_note(note: &Note) -> String {
    let place = place(&note.about, &note.request, note.at);
    let money = money(&note.about);
    if note.keyless {
        return format!(
            "The outcome is unknown{money}: a single call without a key, so that the same request \
             again may be another payment; look {place} before anybody asks again, then resolve \
             this note."
        );
    }
    format!(
        "The outcome is unknown{money}: a single call, which nothing but its key tells from another: \
         asked again by the application it bears a new key, and may be another payment; look {place} \
         before anybody asks again, then resolve this note."
    )
}

fn at_work(lives: bool, old: bool) -> String {
    match (lives, old) {
        (true, _) => {
            "Wait: it is being worked on and has perhaps been sent; there is nothing to do \
                      before its lease ends."
                .to_owned()
        }
        (false, false) => "Its process is perhaps gone, and it has perhaps been sent: the same \
                           request again is safe, for it takes it over with the same key."
            .to_owned(),
        (false, true) => {
            "Its process is gone, it has perhaps been sent, and its key is too old to \
                          be sent again: look it up at Stripe and say what you found with `payonce \
                          ops resolve`."
                .to_owned()
        }
    }
}

fn in_doubt(record: &Record, safe: Timestamp, now: Timestamp) -> String {
    let money = money(&record.about);
    let place = place(&record.about, &record.request, record.first_sent);
    let until = moment(safe);
    match (now < safe, record.kind) {
        (true, Kind::Content) => format!(
            "The outcome is unknown{money}: asking again with the same request is safe until \
             {until}, for it bears the same key; after that it counts as a new operation and may pay \
             twice. To know without asking, look {place}, then say what you found with `payonce ops \
             resolve`."
        ),
        (true, Kind::Header | Kind::Fields | Kind::OwnKey | Kind::Call) => format!(
            "The outcome is unknown{money}: asking again with the same request is safe until \
             {until}, for it bears the same key; after that it is refused. To know without asking, \
             look {place}, then say what you found with `payonce ops resolve`."
        ),
        (false, Kind::Content) => format!(
            "The outcome is unknown{money} and its key is no longer safe to send: the same request \
             counts as a new operation and may pay twice. Look {place} before anybody asks again, \
             then say what you found with `payonce ops resolve`."
        ),
        (false, Kind::Header | Kind::Fields | Kind::OwnKey | Kind::Call) => format!(
            "The outcome is unknown{money} and its key is no longer safe to send: the same request \
             is refused until you look {place} and say what you found with `payonce ops resolve`."
        ),
    }
}

fn known(record: &Record, settled: Settled, now: Timestamp) -> String {
    let old = record.beyond_retention(now);
    let unanswerable = record.about.resolved.as_ref().is_some_and(|word| word.unanswerable);
    let text = match (settled.result, settled.delivered) {
        (Outcome::Succeeded, true) => {
            "It happened, and the application has the answer: there is nothing to do."
        }
        (Outcome::Succeeded, false) if unanswerable => {
            "It happened, by a person's word, and Stripe has only an error 500 for its key: whoever \
             asks again with the same request is told so, and no money moves."
        }
        (Outcome::Succeeded, false) if !old => {
            "It happened, and the application has not got the answer: the same request again brings \
             it, and moves no money."
        }
        (Outcome::Succeeded, false) => match record.kind {
            Kind::Content => {
                "It happened, and the application has not got the answer: the same request is a new \
                 operation by now and would pay again."
            }
            Kind::Header | Kind::Fields | Kind::OwnKey | Kind::Call => {
                "It happened, and the application has not got the answer: the same request again is \
                 told so, and moves no money."
            }
        },
        (Outcome::Declined, _) => {
            "It did not happen, and no money moved: there is nothing to do; asking again tries again."
        }
    };
    text.to_owned()
}

fn money(about: &About) -> String {
    match (&about.amount, &about.currency) {
        (Some(amount), Some(currency)) => {
            format!(" ({amount} {} may have moved)", currency.to_ascii_lowercase())
        }
        (Some(amount), None) => format!(" ({amount} may have moved)"),
        (None, _) => String::new(),
    }
}

/// Where in Stripe's Dashboard the answer stands.
fn place(about: &About, request: &str, since: Timestamp) -> String {
    let last = about.trail.iter().rev().find_map(|tried| tried.request_id.as_ref());
    let account = about.account.as_deref().map(|account| format!(" of {account}"));
    let account = account.unwrap_or_default();
    match (&about.object, about.request_id.as_ref().or(last)) {
        (Some(object), _) => format!("in the Dashboard{account} for {object}"),
        (None, Some(request)) => {
            format!("in the Dashboard{account} (Developers, Logs) for {request}")
        }
        (None, None) => format!(
            "in the Dashboard{account} (Developers, Logs) for {request} from {} on",
            moment(since)
        ),
    }
}

/// `2026-11-23 21:12:05 UTC`
fn moment(at: Timestamp) -> String {
    let text = at.rfc3339();
    let seconds = text.split('.').next().unwrap_or_default();
    format!("{} UTC", seconds.replace('T', " "))
}
