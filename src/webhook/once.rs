//! Whether an event is delivered: what was found of it and the time in, what comes next out. Pure.
//!
//! | id | found | what happens |
//! |---|---|---|
//! | W1 | nothing | deliver |
//! | W2 | the application acknowledged it with 2xx | answer 200, deliver nothing |
//! | W3 | in hand, lease alive | wait, else 409: Stripe comes again |
//! | W4 | in hand, lease over: its process died | deliver |
//! | W5 | it failed | deliver again |
//!
//! What cannot be excluded: a process that dies between the application's 2xx and the write of it
//! leaves W4, and the event is delivered again. One that cannot be recorded, because the store is
//! down, is delivered each time that it comes. An event is never lost for the sake of once.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::ledger::RecordId;

/// The form of a record that this payonce writes.
pub const FORM: u32 = 1;

/// The id under which the handling of an event is kept: an endpoint's, in its account. Stripe sends
/// one event to each of an account's endpoints under one id, and each is to get it.
#[must_use]
pub fn id(endpoint: &str, account: Option<&str>, event: &str) -> RecordId {
    let mut digest = Sha256::new();
    let presence: &[u8] = if account.is_some() { b"1" } else { b"0" };
    let account = account.unwrap_or_default().as_bytes();
    let parts = [b"payonce webhook 1", endpoint.as_bytes(), presence, account, event.as_bytes()];
    for part in parts {
        digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(part);
    }
    RecordId(digest.finalize().into())
}

/// What is remembered of an event at an endpoint. Nothing of what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handling {
    /// The form of what follows: [`FORM`].
    pub webhook: u32,
    /// The endpoint's name.
    pub endpoint: String,
    /// The event's id.
    pub event: String,
    /// The event's type.
    pub kind: String,
    /// How often its delivery was begun.
    pub deliveries: u32,
    /// Where it stands.
    pub stands: Stands,
}

/// Where the handling of an event stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Stands {
    /// A process delivers it.
    InHand {
        /// The process.
        owner: String,
        /// This delivery alone.
        token: String,
        /// When the delivery is over at the latest, unless the process died.
        lease: Timestamp,
    },
    /// The application acknowledged it.
    Done {
        /// With this status.
        status: u16,
        /// When.
        at: Timestamp,
    },
    /// The application refused it, or did not answer.
    Failed {
        /// The application's status, if there is one.
        status: Option<u16>,
        /// When.
        at: Timestamp,
    },
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// This process.
    pub owner: &'a str,
    /// Whether this process alone writes the ledger, so that another owner is a dead one.
    pub alone: bool,
    /// The time.
    pub now: Timestamp,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is delivered.
    Deliver,
    /// It was acknowledged then: nothing is delivered.
    AlreadyDone(Timestamp),
    /// Somebody delivers it, until then at the latest.
    InHand(Timestamp),
}

/// Says what comes next for an event of which `found` is known, and by which row.
#[must_use]
pub fn decide(found: Option<&Handling>, asker: Asker<'_>) -> (&'static str, Then) {
    match found.map(|found| &found.stands) {
        None => ("W1", Then::Deliver),
        Some(Stands::Done { at, .. }) => ("W2", Then::AlreadyDone(*at)),
        Some(Stands::InHand { owner, lease, .. }) => {
            let dead = asker.alone && owner != asker.owner;
            if *lease > asker.now && !dead {
                ("W3", Then::InHand(*lease))
            } else {
                ("W4", Then::Deliver)
            }
        }
        Some(Stands::Failed { .. }) => ("W5", Then::Deliver),
    }
}

impl Handling {
    /// Taken in hand by `owner`, over what was `found`.
    #[must_use]
    pub fn begun(
        found: Option<&Self>,
        endpoint: &str,
        event: &super::event::Event,
        (owner, token, lease): (&str, &str, Timestamp),
    ) -> Self {
        Self {
            webhook: FORM,
            endpoint: endpoint.to_owned(),
            event: event.id.clone(),
            kind: event.kind.clone(),
            deliveries: found.map_or(0, |found| found.deliveries).saturating_add(1),
            stands: Stands::InHand { owner: owner.to_owned(), token: token.to_owned(), lease },
        }
    }

    /// Ended with the application's `status`; `None` if there was no answer. Only 2xx is an
    /// acknowledgement, as for Stripe: a redirect is none.
    #[must_use]
    pub fn ended(self, status: Option<u16>, at: Timestamp) -> Self {
        let stands = match status {
            Some(status @ 200..=299) => Stands::Done { status, at },
            status => Stands::Failed { status, at },
        };
        Self { stands, ..self }
    }

    /// Whether it is in hand by the same delivery as `other`.
    #[must_use]
    pub fn same_delivery(&self, other: &Self) -> bool {
        match (&self.stands, &other.stands) {
            (Stands::InHand { token: one, .. }, Stands::InHand { token: two, .. }) => one == two,
            (Stands::InHand { .. } | Stands::Done { .. } | Stands::Failed { .. }, _) => false,
        }
    }

    /// Its bytes; `None` if it has no JSON form, which none is known to lack.
    #[must_use]
    pub fn encode(&self) -> Option<Bytes> {
        serde_json::to_vec(self).ok().map(Bytes::from)
    }

    /// Reads it; `None` if it is of a newer payonce, damaged, or something else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|it: &Self| it.webhook == FORM)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::event::Event;
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const LATER: Timestamp = Timestamp::from_millis(1_000_001);

    fn in_hand(lease: Timestamp) -> Handling {
        let event = Event::read(br#"{"id":"evt_1","type":"charge.succeeded"}"#).unwrap();
        Handling::begun(None, "orders", &event, ("one", "t1", lease))
    }

    fn then(found: &Handling, owner: &str, alone: bool) -> (&'static str, Then) {
        decide(Some(found), Asker { owner, alone, now: NOW })
    }

    #[test]
    fn what_was_never_seen_or_failed_is_delivered() {
        let asker = Asker { owner: "one", alone: false, now: NOW };
        assert_eq!(decide(None, asker), ("W1", Then::Deliver));
        for status in [None, Some(500), Some(302), Some(404), Some(199)] {
            let failed = in_hand(LATER).ended(status, NOW);
            assert_eq!(then(&failed, "one", false), ("W5", Then::Deliver));
        }
    }

    #[test]
    fn what_was_acknowledged_is_not_delivered_again() {
        for status in [200, 204, 299] {
            let done = in_hand(LATER).ended(Some(status), NOW);
            assert_eq!(then(&done, "two", false), ("W2", Then::AlreadyDone(NOW)));
        }
    }

    #[test]
    fn a_live_delivery_is_waited_for_and_a_dead_one_is_taken_over() {
        assert_eq!(then(&in_hand(LATER), "two", false), ("W3", Then::InHand(LATER)));
        assert_eq!(then(&in_hand(LATER), "one", true), ("W3", Then::InHand(LATER)));
        assert_eq!(then(&in_hand(NOW), "two", false), ("W4", Then::Deliver));
        assert_eq!(then(&in_hand(NOW), "one", true), ("W4", Then::Deliver));
    }

    #[test]
    fn on_a_ledger_of_one_process_another_owner_is_a_dead_one() {
        assert_eq!(then(&in_hand(LATER), "two", true), ("W4", Then::Deliver));
    }

    #[test]
    fn each_endpoint_and_account_handles_an_event_by_itself() {
        let ids = [
            id("orders", None, "evt_1"),
            id("orders", Some(""), "evt_1"),
            id("orders", Some("acct_1"), "evt_1"),
            id("ledger", None, "evt_1"),
            id("orders", None, "evt_2"),
            id("orderse", None, "vt_1"),
        ];
        for (n, one) in ids.iter().enumerate() {
            assert!(!ids.iter().skip(n + 1).any(|other| one == other), "{n}");
        }
        assert_eq!(id("orders", None, "evt_1"), ids[0]);
    }

    #[test]
    fn bytes_read_back_and_those_of_a_newer_form_or_of_an_operation_do_not() {
        let done = in_hand(NOW.plus(Duration::from_secs(1))).ended(Some(200), NOW);
        assert_eq!(Handling::decode(&done.encode().unwrap()), Some(done.clone()));
        let newer = Handling { webhook: FORM + 1, ..done };
        assert_eq!(Handling::decode(&newer.encode().unwrap()), None);
        let operation = include_bytes!("../../tests/fixtures/record-1.json");
        assert_eq!(Handling::decode(operation), None);
    }
}
