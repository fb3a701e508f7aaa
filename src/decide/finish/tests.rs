//! The schedule, and every way in which a record goes on.

use super::super::identity::{Fingerprint, Kind};
use super::super::operation::Retention;
use super::super::operation::change::{Learnt, Resolution, put_back, resolved, settled};
use super::super::operation::record::{About, Claim, FORMAT, Resolved};
use super::super::operation::table::{Ask, Owner, judge};
use super::super::outcome::Conclusion;
use super::super::path::Api;
use super::*;
use crate::decide::digest::WholeDigest;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn after(minutes: u64) -> Timestamp {
    NOW.plus(Duration::from_mins(minutes))
}

fn doubt(finish: u64) -> Doubt {
    Doubt {
        ended: NOW,
        safe: NOW.plus(Duration::from_hours(20)),
        finish: Duration::from_mins(finish),
    }
}

/// When each step is due, in seconds after the end, if each is made when it is due.
fn steps(doubt: &Doubt, random: f64) -> Vec<u64> {
    let mut now = doubt.ended;
    let mut steps = Vec::new();
    while let Next::At(at) = doubt.next(steps.len(), now, random) {
        steps.push(at.since(doubt.ended).as_secs());
        now = at;
    }
    steps
}

#[test]
fn it_is_asked_after_one_and_five_minutes_and_at_the_end() {
    assert_eq!(steps(&doubt(30), 0.0), [60, 300, 1800]);
    assert_eq!(steps(&doubt(10), 0.0), [60, 300, 600]);
    assert_eq!(steps(&doubt(5), 0.0), [60, 300]);
    assert_eq!(steps(&doubt(2), 0.0), [60, 120]);
    assert_eq!(steps(&doubt(1), 0.0), [60]);
}

#[test]
fn each_step_comes_earlier_by_at_most_a_fifth_and_none_after_its_time() {
    for minutes in 1..=30 {
        for random in [0.0, 0.1, 0.5, 0.999] {
            let steps = steps(&doubt(minutes), random);
            assert!(!steps.is_empty() && steps.len() <= 3, "{minutes} {random}: {steps:?}");
            assert!(steps.iter().all(|at| *at <= minutes * 60), "{minutes} {random}: {steps:?}");
            let apart = steps.windows(2).all(|two| two[1] - two[0] >= LEAST.as_secs());
            assert!(apart && steps[0] >= LEAST.as_secs(), "{minutes} {random}: {steps:?}");
        }
    }
    assert_eq!(steps(&doubt(30), 0.999_999), [48, 240, 1440]);
}

#[test]
fn no_step_is_made_beyond_safe_retention() {
    let late = Doubt { safe: after(4), ..doubt(30) };
    assert_eq!(steps(&late, 0.0), [60]);
    assert_eq!(late.next(1, after(1), 0.0), Next::Horizon);
    assert_eq!(late.put_off(after(4), 0.0), Next::Horizon);
}

#[test]
fn a_clock_that_leaps_brings_neither_two_steps_at_once_nor_a_late_one() {
    assert_eq!(doubt(30).next(1, after(20), 0.0), Next::At(after(20).plus(LEAST)));
    assert_eq!(doubt(30).next(2, after(31), 0.0), Next::Over);
    // One that steps back delays.
    assert_eq!(doubt(30).next(0, NOW.minus(Duration::from_mins(9)), 0.0), Next::At(after(1)));
}

#[test]
fn what_the_budget_put_off_loses_no_step_but_comes_no_later_than_the_end() {
    assert_eq!(doubt(30).put_off(after(1), 0.5), Next::At(after(1).plus(Duration::from_secs(10))));
    assert_eq!(doubt(30).put_off(after(30), 0.5), Next::Over);
}

fn record(standing: Standing) -> Record {
    Record {
        format: FORMAT,
        kind: Kind::Content,
        request: "POST /v1/charges".to_owned(),
        api: Api::V1,
        claim: None,
        standing,
        occurrence: Occurrence::first(7),
        key: IdempotencyKey::minted([1; 16]),
        fingerprint: content(1),
        first_sent: NOW,
        last_sent: NOW,
        attempts: 4,
        first_delivered: None,
        answered: Some(NOW),
        client_keys: Vec::new(),
        past: Vec::new(),
        about: About::default(),
    }
}

fn in_doubt() -> Record {
    record(Standing::InDoubt { saved_500: false })
}

fn content(what: u8) -> Fingerprint {
    Fingerprint { whole: WholeDigest([what; 16]), fields: Vec::new() }
}

/// How it stands for finishing, two minutes after it was left.
fn stands(stored: Option<&Record>, found: Option<&Record>) -> Stands {
    stands_at(after(2), &content(1), stored, found)
}

fn stands_at(
    now: Timestamp,
    fingerprint: &Fingerprint,
    stored: Option<&Record>,
    found: Option<&Record>,
) -> Stands {
    let ask = Ask {
        kind: Kind::Content,
        fingerprint,
        client_key: None,
        twins: false,
        repeat_window: Duration::ZERO,
        next_after_saved_500: false,
        epoch: 7,
        arrived: now,
        waited: false,
        now,
    };
    let verdict = judge(found, Owner::Gone, &ask);
    Left::of(&in_doubt()).unwrap().stands(stored, found, &verdict)
}

/// The record after another exchange with its key.
fn later(conclusion: Conclusion, delivered: bool) -> Record {
    let at = after(1);
    let learnt = Learnt {
        conclusion,
        attempts: 1,
        object: None,
        request_id: None,
        trail: Vec::new(),
        last_sent: at,
        answered: at,
    };
    settled(in_doubt(), &learnt, delivered, &[], at)
}

#[test]
fn it_goes_on_with_the_very_record_that_was_left_in_doubt() {
    let left = in_doubt();
    assert_eq!(stands(Some(&left), Some(&left)), Stands::AsLeft);
    // Somebody asked meanwhile, and nothing of that was executed.
    let back = put_back(Some(left)).unwrap();
    assert_eq!(stands(Some(&back), Some(&back)), Stands::AsLeft);
}

#[test]
fn whatever_anybody_did_with_the_operation_since_ends_it() {
    let word = Resolved {
        by: "a person".to_owned(),
        why: "looked".to_owned(),
        at: after(1),
        unanswerable: false,
    };
    let by_word = |how| resolved(in_doubt(), how, word.clone());
    let moved = [
        later(Conclusion::Succeeded, true),
        later(Conclusion::Succeeded, false),
        later(Conclusion::Declined { spent: true }, true),
        later(Conclusion::Declined { spent: false }, true),
        // Whoever left it so has its body.
        later(Conclusion::InDoubt { saved_500: false }, false),
        later(Conclusion::InDoubt { saved_500: true }, false),
        by_word(Resolution::Succeeded(None)),
        by_word(Resolution::Declined),
        Record { occurrence: Occurrence { epoch: 7, n: 1 }, ..in_doubt() },
    ];
    for record in &moved {
        assert_eq!(stands(Some(record), Some(record)), Stands::Moved, "{record:?}");
        // The ledger stepped back, and this process knows better; or the other way round.
        assert_eq!(stands(Some(&in_doubt()), Some(record)), Stands::Moved, "{record:?}");
        assert_eq!(stands(Some(record), Some(&in_doubt())), Stands::Moved, "{record:?}");
    }
}

#[test]
fn nothing_is_asked_while_somebody_has_it_or_the_ledger_has_it_not() {
    let claim = Claim { owner: "o".to_owned(), token: "t".to_owned(), lease: NOW };
    let claimed = Record { claim: Some(claim), ..in_doubt() };
    assert_eq!(stands(Some(&claimed), Some(&claimed)), Stands::Claimed);
    assert_eq!(stands(None, Some(&in_doubt())), Stands::Missing);
}

#[test]
fn nothing_is_asked_beyond_safe_retention_or_with_other_content() {
    let left = in_doubt();
    let safe = NOW.plus(Retention::of(Api::V1).safe);
    assert_eq!(stands_at(safe, &content(1), Some(&left), Some(&left)), Stands::Moved);
    assert_eq!(stands_at(after(2), &content(2), Some(&left), Some(&left)), Stands::Moved);
}

#[test]
fn what_is_settled_claimed_or_answered_with_a_saved_500_is_not_left_in_doubt() {
    assert!(Left::of(&in_doubt()).is_some());
    for standing in [Standing::Begun, Standing::InDoubt { saved_500: true }] {
        assert_eq!(Left::of(&record(standing)), None);
    }
    assert_eq!(Left::of(&later(Conclusion::Succeeded, false)), None);
    let claim = Claim { owner: "o".to_owned(), token: "t".to_owned(), lease: NOW };
    assert_eq!(Left::of(&Record { claim: Some(claim), ..in_doubt() }), None);
}
