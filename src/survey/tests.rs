//! What is found among records and notes.

use super::*;
use crate::decide::digest::{OperationId, WholeDigest};
use crate::decide::identity::{Fingerprint, Kind};
use crate::decide::key::IdempotencyKey;
use crate::decide::operation::Occurrence;
use crate::decide::operation::record::{About, FORMAT, Outcome, Settled, Standing};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const DOUBT: Stands = Stands::InDoubt { saved_500: false };
const HOUR: Duration = Duration::from_hours(1);

fn record(rule: &str, age: Duration) -> Record {
    Record {
        format: FORMAT,
        kind: Kind::Content,
        request: "POST /v1/charges".to_owned(),
        api: Api::V1,
        claim: None,
        standing: Standing::InDoubt { saved_500: false },
        occurrence: Occurrence::first(1),
        key: IdempotencyKey::parse(b"key-1").unwrap(),
        fingerprint: Fingerprint { whole: WholeDigest([0; 16]), fields: Vec::new() },
        first_sent: NOW.minus(age),
        last_sent: NOW,
        attempts: 1,
        first_delivered: None,
        answered: None,
        client_keys: Vec::new(),
        past: Vec::new(),
        about: About { rule: rule.to_owned(), ..About::default() },
    }
}

fn note(rule: &str, age: Duration, keyless: bool) -> Note {
    Note {
        operation: OperationId([1; 32]),
        request: "POST /v1/charges".to_owned(),
        about: About { rule: rule.to_owned(), ..About::default() },
        keyless,
        at: NOW.minus(age),
        attempts: 1,
    }
}

#[test]
fn the_oldest_and_the_nearest_horizon_are_told_of_each_rule() {
    let mut found = Found::default();
    found.record(&record("charges", HOUR), DOUBT, NOW);
    found.record(&record("charges", 3 * HOUR), DOUBT, NOW);
    found.record(&record("charges", 2 * HOUR), Stands::InFlight, NOW);
    let open = found.rules["charges"];
    assert_eq!(open.in_doubt, Group { count: 2, oldest: 3 * HOUR });
    assert_eq!(open.in_flight, Group { count: 1, oldest: 2 * HOUR });
    assert_eq!(open.horizon, Some(20 * HOUR));
}

#[test]
fn what_is_worked_on_has_no_horizon_and_what_is_beyond_it_has_none_left() {
    let mut found = Found::default();
    found.record(&record("charges", 3 * HOUR), Stands::InFlight, NOW);
    assert_eq!(found.rules["charges"].horizon, None);
    found.record(&record("charges", 30 * HOUR), DOUBT, NOW);
    assert_eq!(found.rules["charges"].horizon, Some(Duration::ZERO));
    let lasting = Record { api: Api::V2, ..record("accounts", 30 * HOUR) };
    found.record(&lasting, DOUBT, NOW);
    assert_eq!(found.rules["accounts"].horizon, Some(666 * HOUR));
}

#[test]
fn a_claim_that_nobody_works_on_is_in_doubt_and_a_known_outcome_is_not_open() {
    let mut found = Found::default();
    let begun = Record { standing: Standing::Begun, ..record("charges", HOUR) };
    found.record(&begun, DOUBT, NOW);
    let settled = Settled { result: Outcome::Succeeded, spent: true, delivered: false };
    let settled = Record { standing: Standing::Settled(settled), ..record("charges", 9 * HOUR) };
    found.record(&settled, Stands::Succeeded, NOW);
    assert_eq!(found.rules["charges"].in_doubt, Group { count: 1, oldest: HOUR });
}

#[test]
fn a_single_call_is_in_doubt_and_without_a_key_it_cannot_be_asked_for_again() {
    let mut found = Found::default();
    found.note(&note("refunds", HOUR, true), NOW);
    assert_eq!(found.rules["refunds"].horizon, None);
    found.note(&note("refunds", 2 * HOUR, false), NOW);
    let open = found.rules["refunds"];
    assert_eq!((open.in_doubt.count, open.horizon), (2, Some(21 * HOUR)));
}

#[test]
fn critical_rules_of_the_policy_stand_at_nothing() {
    let text = "version = 1\n\
        [[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\nclass = \"critical\"\n\
        [[rule]]\nname = \"others\"\nmatch = [\"POST /v1/**\"]\nclass = \"pass\"\n";
    let found = Found::among(&Policy::parse(text).unwrap());
    assert_eq!(found.rules, BTreeMap::from([("charges".to_owned(), Open::default())]));
}

#[test]
fn more_rules_than_there_is_room_for_are_added_up() {
    let mut found = Found::default();
    for n in 0..MOST_RULES + 5 {
        found.record(&record(&format!("rule-{n}"), HOUR), DOUBT, NOW);
    }
    found.record(&record("rule-0", 2 * HOUR), DOUBT, NOW);
    assert_eq!(found.rules.len(), MOST_RULES + 1);
    assert_eq!(found.rules[OTHERS].in_doubt, Group { count: 5, oldest: HOUR });
    assert_eq!(found.rules["rule-0"].in_doubt, Group { count: 2, oldest: 2 * HOUR });
}
