//! A word on an open operation from outside its exchange: a person's, or an event's of the provider.

use super::remember;
use crate::decide::digest::ClientKeyDigest;
use crate::decide::operation::record::{Event, Outcome, Record, Resolved, Settled, Standing};

/// What a person says of an open operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It happened; this is what it made, if known.
    Succeeded(Option<String>),
    /// It did not happen, and may be asked for again.
    Declined,
}

/// Settles `record` on a person's word.
///
/// Succeeded: the next who asks gets the saved answer (A14). Declined: the same key again is safest, for it protects should the person be wrong; only where
/// the provider replays a 500 for it, it is done with.
#[must_use]
pub fn resolved(mut record: Record, resolution: Resolution, mut word: Resolved) -> Record {
    let saved_500 = record.standing == Standing::InDoubt { saved_500: true };
    word.unanswerable = saved_500;
    let (result, spent, delivered) = match resolution {
        Resolution::Succeeded(object) => {
            record.about.object = object.or(record.about.object);
            (Outcome::Succeeded, true, false)
        }
        Resolution::Declined => (Outcome::Declined, saved_500, saved_500),
    };
    record.standing = Standing::Settled(Settled { result, spent, delivered });
    record.claim = None;
    record.about.resolved = Some(word);
    record
}

/// What a webhook of the provider says of `record`, which bears the key that the event names.
///
/// Where it proves that the request succeeded, it settles the record as a person's word does: the
/// next who asks gets the saved answer (A14). Else it only tells people where to look: the provider
/// holds an outcome, which the same key brings (A11). No event proves a decline: one request can try
/// two cards. `None` if it changes nothing: the outcome is known, or this was said before.
#[must_use]
pub fn witnessed(mut record: Record, event: Event, succeeded: bool) -> Option<Record> {
    if !record.unresolved() {
        return None;
    }
    let known = record.about.event.replace(event.clone());
    if !succeeded {
        record.about.object = record.about.object.or(event.object);
        return (known.map(|known| known.id) != Some(event.id)).then_some(record);
    }
    let word = Resolved {
        by: format!("Stripe's event {}", event.id),
        why: format!("{} at the webhook endpoint {}", event.kind, event.endpoint),
        at: event.at,
        unanswerable: false,
    };
    Some(resolved(record, Resolution::Succeeded(event.object), word))
}

/// Somebody, perhaps with a client key, was told of a success by a person's word: for content, the
/// next who asks wants another.
#[must_use]
pub fn told_by_word(mut record: Record, client_key: Option<ClientKeyDigest>) -> Record {
    if let Standing::Settled(settled) = &mut record.standing {
        settled.delivered = true;
    }
    if let Some(key) = client_key {
        remember(&mut record, key);
    }
    record
}
