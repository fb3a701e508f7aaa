use super::*;
use crate::decide::identity::Kind;
use crate::decide::operation::codec::decode;
use crate::decide::operation::record::{Claim, Resolved, TakenOver};
use crate::decide::operation::stands::Stands;
use crate::decide::operation::table::Owner;
use crate::people::advice;

const FIRST: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn after(seconds: u64) -> Timestamp {
    Timestamp::from_millis(FIRST.as_millis() + seconds * 1000)
}

fn attempt_at(seconds: u64, came: &'static str, status: Option<u16>) -> Tried {
    Tried {
        at: after(seconds),
        came: came.into(),
        status,
        cause: status.is_none().then(|| "no answer in time".to_owned()),
        request_id: status.map(|status| format!("req_{status}")),
    }
}

/// Sent twice, answered with nothing that says what came of it.
fn in_doubt() -> Record {
    let record = decode(include_bytes!("../../../tests/fixtures/record-1.json")).unwrap();
    let mut record = Record {
        kind: Kind::Content,
        claim: None,
        standing: Standing::InDoubt { saved_500: false },
        first_sent: FIRST,
        last_sent: after(41),
        attempts: 2,
        first_delivered: None,
        answered: Some(after(42)),
        past: Vec::new(),
        ..record
    };
    record.about.object = None;
    record.about.request_id = None;
    record.about.resolved = None;
    record.about.trail = vec![
        attempt_at(0, "unknown", None),
        Tried { request_id: None, ..attempt_at(41, "unknown", Some(502)) },
    ];
    record
}

/// What to do about it, where its owner is judged by its lease.
fn advised(record: &Record, now: Timestamp) -> String {
    let lives = record.claim.as_ref().is_some_and(|claim| claim.lease > now);
    let owner = if lives { Owner::Alive } else { Owner::Gone };
    advice::of_record(record, Stands::of(record, owner), now)
}

fn told(record: &Record, now: Timestamp) -> String {
    let lines = of_record(RecordId([7; 32]), record, now).into_iter().map(|it| {
        let seconds = it.at.since(FIRST).as_secs();
        let request = it.request_id.unwrap_or_default();
        format!("{seconds:>7} {}: {} {request}", it.what, it.text).trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn an_operation_in_doubt_tells_its_attempts_and_what_lies_ahead() {
    let record = in_doubt();
    insta::assert_snapshot!(told(&record, after(60)));
    insta::assert_snapshot!(advised(&record, after(60)));
}

#[test]
fn what_became_of_it_later_is_told_in_order() {
    let mut record = in_doubt();
    record.standing =
        Standing::Settled(Settled { result: Outcome::Succeeded, spent: true, delivered: true });
    record.past = vec![Past {
        occurrence: record.occurrence,
        key: record.key.clone(),
        spent: true,
        first_sent: Timestamp::from_millis(FIRST.as_millis() - 5000),
    }];
    record.last_sent = after(3600);
    record.first_delivered = Some(after(3602));
    record.about.event = Some(Event {
        id: "evt_1".to_owned(),
        kind: "charge.succeeded".to_owned(),
        object: Some("ch_1".to_owned()),
        endpoint: "orders".to_owned(),
        at: after(90),
    });
    record.about.resolved = Some(Resolved {
        by: "ann".to_owned(),
        why: "seen in the dashboard".to_owned(),
        at: after(600),
        unanswerable: false,
    });
    insta::assert_snapshot!(told(&record, after(7200)));
}

#[test]
fn a_success_at_the_first_attempt_is_told_without_a_trail() {
    let mut record = in_doubt();
    record.standing =
        Standing::Settled(Settled { result: Outcome::Succeeded, spent: true, delivered: false });
    record.about.trail = Vec::new();
    record.about.request_id = Some("req_1".to_owned());
    let text = told(&record, after(60));
    assert!(text.contains("attempt: sent req_1"), "{text}");
    assert!(text.contains("told that it succeeded; that answer was lost"), "{text}");
}

#[test]
fn who_works_on_it_is_told_and_how_long() {
    let claim = Claim { owner: "pod-7".to_owned(), token: "t".to_owned(), lease: after(75) };
    let record = Record { claim: Some(claim), ..in_doubt() };
    let text = told(&record, after(61));
    assert!(text.contains("held_until: pod-7 works on it"), "{text}");
    assert!(advised(&record, after(61)).starts_with("Wait"));
    assert!(advised(&record, after(76)).contains("takes it over with the same key"));
    let long_after = advised(&record, after(24 * 3600));
    assert!(long_after.contains("too old to be sent again"), "{long_after}");
}

#[test]
fn whoever_took_it_over_and_what_stood_before_is_told() {
    let mut record = in_doubt();
    record.occurrence.n = 1;
    record.about.taken_over = Some(TakenOver { from: "pod-7".to_owned(), at: after(30) });
    let text = told(&record, after(60));
    assert!(
        text.contains("taken_over: taken over from pod-7, which had perhaps sent it"),
        "{text}"
    );
    assert!(text.contains("Another of this operation came earlier"), "{text}");
}

#[test]
fn an_answer_that_is_stripes_own_error_is_not_called_payonces_word() {
    let saved = Record { standing: Standing::InDoubt { saved_500: true }, ..in_doubt() };
    assert!(told(&saved, after(60)).contains("was handed Stripe's own error 500"));
    let advice = advised(&saved, after(60));
    assert!(advice.contains("--next-key") && advice.contains("pays twice"), "{advice}");
}

#[test]
fn the_advice_says_what_each_state_means_for_the_money() {
    let day = after(24 * 3600);
    let in_doubt = in_doubt();
    let settled = |result, delivered| Record {
        standing: Standing::Settled(Settled { result, spent: true, delivered }),
        ..in_doubt.clone()
    };
    let named = Record { kind: Kind::Fields, ..in_doubt.clone() };
    let saved = Record { standing: Standing::InDoubt { saved_500: true }, ..in_doubt.clone() };
    let mut unanswerable = settled(Outcome::Succeeded, false);
    unanswerable.about.resolved = Some(Resolved {
        by: "ann".to_owned(),
        why: "seen".to_owned(),
        at: after(50),
        unanswerable: true,
    });
    let cases = [
        ("in doubt, by content", &in_doubt, after(60)),
        ("in doubt, by content, a day later", &in_doubt, day),
        ("in doubt, by name", &named, after(60)),
        ("in doubt, by name, a day later", &named, day),
        ("in doubt after a saved 500", &saved, after(60)),
        ("succeeded by a person's word, after a saved 500", &unanswerable, after(60)),
        ("succeeded", &settled(Outcome::Succeeded, true), day),
        ("succeeded, answer lost", &settled(Outcome::Succeeded, false), after(60)),
        ("succeeded, answer lost, a day later", &settled(Outcome::Succeeded, false), day),
        ("declined", &settled(Outcome::Declined, true), after(60)),
    ];
    let all = cases.map(|(case, record, now)| format!("{case}:\n  {}", advised(record, now)));
    insta::assert_snapshot!(all.join("\n"));
}
