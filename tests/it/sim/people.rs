//! People and Stripe's webhooks: they say what the provider holds of what is in doubt, while others
//! ask again, finish, and die.

use std::collections::BTreeMap;

use payonce::decide::digest::OperationId;
use payonce::decide::operation::change::{Resolution, kept, resolved, witnessed};
use payonce::decide::operation::codec::{decode, encode};
use payonce::decide::operation::finding::digests;
use payonce::decide::operation::record::{Event, Record, Resolved, Standing};
use payonce::ledger::{Entry, Held};
use payonce::sandbox::{Outcome, Unplugged};

use super::pod::Pod;
use super::sky::Sky;
use super::store::Store;

/// Has its word on everything that is open, that nobody has, and that the provider has ended, by way
/// of `pod`.
pub(crate) async fn speak(sky: &Sky, store: &Store, pod: &Pod, provider: &Unplugged) {
    let effects = provider.effects();
    let ended: BTreeMap<&str, (Outcome, &str)> = effects
        .iter()
        .filter_map(|it| Some((it.key.as_deref()?, (it.outcome, it.object.as_str()))))
        .collect();
    for held in store.open().await {
        let Ok(record) = decode(&held.record) else { continue };
        let saved_500 = record.standing == Standing::InDoubt { saved_500: true };
        // Who died with a claim may not be dead.
        let free = record.claim.is_none() && !pod.exchange.inflight.contains(held.id);
        let known = ended.get(record.key.as_str());
        let Some((outcome, object)) = known.filter(|_| free && !saved_500) else { continue };
        let Some(word) = word(sky, pod, record, *outcome, object) else { continue };
        sky.note(format_args!("people: {:?} of {}", word.standing, held.id));
        write(sky, store, pod, &held, word).await;
    }
}

/// What is said: by an event that proves it or only names it, or by a person.
fn word(sky: &Sky, pod: &Pod, record: Record, outcome: Outcome, object: &str) -> Option<Record> {
    let (at, object) = (pod.exchange.clock.now(), Some(object.to_owned()));
    let event = || Event {
        id: format!("evt_{}", hex::encode(sky.bytes())),
        kind: "charge.any".to_owned(),
        object: object.clone(),
        endpoint: "shop".to_owned(),
        at,
    };
    let person = Resolved {
        by: "somebody".to_owned(),
        why: "the dashboard says so".to_owned(),
        at,
        unanswerable: false,
    };
    match (sky.below(3), outcome) {
        (0, _) => witnessed(record, event(), false),
        (1, Outcome::Succeeded) => witnessed(record, event(), true),
        (_, Outcome::Succeeded) => Some(resolved(record, Resolution::Succeeded(object), person)),
        (_, Outcome::Declined) => Some(resolved(record, Resolution::Declined, person)),
        (_, _) => None,
    }
}

async fn write(sky: &Sky, store: &Store, pod: &Pod, held: &Held, record: Record) {
    let now = pod.exchange.clock.now();
    let entry = Entry {
        record: encode(&record).unwrap(),
        ttl: kept(&record, &OperationId(held.id.0), now),
        open: record.open(),
        keys: digests(&record, None),
    };
    if store.replace(held, entry).await {
        sky.struck("people: a word on what is in doubt");
        pod.exchange.recent.wrote(held.id, record, now);
    }
}
