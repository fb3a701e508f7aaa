//! What a second look sent back.

use super::super::Occurrence;
use super::super::record::Event;
use super::super::table::{Owner, Refused, Row, Then, Way, judge};
use super::*;
use crate::decide::digest::WholeDigest;
use crate::decide::identity::Fingerprint;

const FIRST: Occurrence = Occurrence::first(7);
const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn content(what: u8) -> Fingerprint {
    Fingerprint { whole: WholeDigest([what; 16]), fields: Vec::new() }
}

fn ask(fingerprint: &Fingerprint) -> Ask<'_> {
    Ask {
        kind: Kind::Header,
        fingerprint,
        client_key: None,
        twins: false,
        repeat_window: Duration::ZERO,
        next_after_saved_500: false,
        epoch: 7,
        arrived: NOW,
        waited: false,
        now: NOW,
    }
}

fn with() -> Claiming {
    Claiming {
        claim: Claim { owner: "o".to_owned(), token: "t".to_owned(), lease: NOW },
        key: IdempotencyKey::minted([1; 16]),
        request: "POST /v1/charges".to_owned(),
        api: Api::V1,
        about: About::default(),
    }
}

fn learnt(conclusion: Conclusion, last_sent: Timestamp) -> Learnt {
    Learnt {
        conclusion,
        attempts: 1,
        object: None,
        request_id: None,
        last_sent,
        answered: last_sent,
        trail: Vec::new(),
    }
}

/// A first occurrence that was sent and came to `conclusion`.
fn after(conclusion: Conclusion) -> Record {
    let fingerprint = content(1);
    let send = Send { occurrence: FIRST, way: Way::New { repeat: false, abandoned: false } };
    let record = claimed(None, &ask(&fingerprint), send, with());
    settled(record, &learnt(conclusion, NOW), true, &[], NOW)
}

#[test]
fn an_unspent_decline_that_is_sent_again_without_an_answer_is_in_doubt() {
    let (same, other) = (content(1), content(2));
    let declined = after(Conclusion::Declined { spent: false });
    let Then::Send(send) = judge(Some(&declined), Owner::Gone, &ask(&same)).then else {
        panic!("not sent")
    };
    let again = claimed(Some(&declined), &ask(&same), send, with());
    // Its owner dies here, or gets no answer: either way it may have been executed.
    let unknown = learnt(Conclusion::InDoubt { saved_500: false }, NOW);
    for record in [again.clone(), settled(again.clone(), &unknown, false, &[], NOW)] {
        let verdict = judge(Some(&record), Owner::Gone, &ask(&other));
        assert_eq!(verdict.row, Row::A8, "{record:?}");
        assert!(matches!(verdict.then, Then::Refuse(Refused::Conflict(_))));
        assert_eq!(judge(Some(&record), Owner::Gone, &ask(&same)).row, Row::A11);
    }
    // Nothing executed: the decline stands as it was found.
    assert_eq!(put_back(Some(declined.clone())), Some(declined));
}

#[test]
fn a_success_that_is_asked_for_again_stays_one() {
    let same = content(1);
    let succeeded = after(Conclusion::Succeeded);
    let send = Send { occurrence: FIRST, way: Way::Replay };
    let again = claimed(Some(&succeeded), &ask(&same), send, with());
    let unknown = learnt(Conclusion::InDoubt { saved_500: false }, NOW);
    let record = settled(again, &unknown, false, &[], NOW);
    assert_eq!(record.settled().map(|it| it.result), Some(Outcome::Succeeded));
}

#[test]
fn an_occurrence_that_was_passed_over_is_put_back_as_answered() {
    let same = content(1);
    let send = Send { occurrence: FIRST, way: Way::New { repeat: false, abandoned: false } };
    let record = claimed(None, &ask(&same), send, with());
    let found = put_back(Some(passed_over(&record)));
    // The next asker gets the next occurrence, not the old decline once more.
    let Then::Send(send) = judge(found.as_ref(), Owner::Gone, &ask(&same)).then else {
        panic!("not sent")
    };
    assert_eq!(send.occurrence, FIRST.next(7));
}

#[test]
fn a_known_outcome_is_further_than_the_claim_that_it_settled() {
    let succeeded = after(Conclusion::Succeeded);
    let mut begun = succeeded.clone();
    begun.standing = Standing::Begun;
    begun.last_sent = NOW.plus(Duration::from_secs(1));
    assert_eq!(further(&begun, &succeeded, Owner::Gone), &succeeded);
    assert_eq!(further(&succeeded, &begun, Owner::Gone), &succeeded);
    let mut next = begun.clone();
    next.occurrence = FIRST.next(7);
    assert_eq!(further(&next, &succeeded, Owner::Gone), &next);
}

#[test]
fn a_later_exchange_is_further_though_the_clock_of_its_process_runs_behind() {
    let lost = after(Conclusion::Succeeded);
    let behind =
        Ask { now: Timestamp::from_millis(NOW.as_millis() - 30_000), ..ask(&lost.fingerprint) };
    let send = Send { occurrence: FIRST, way: Way::Replay };
    let again = claimed(Some(&lost), &behind, send, with());
    assert_eq!(further(&lost, &again, Owner::Gone), &again);
    let learnt = learnt(Conclusion::Succeeded, behind.now);
    let delivered = settled(again, &learnt, true, &[], behind.now);
    assert_eq!(further(&lost, &delivered, Owner::Gone), &delivered);
}

#[test]
fn an_unspent_decline_is_not_further_than_a_later_exchange() {
    let declined = after(Conclusion::Declined { spent: false });
    let mut begun = declined.clone();
    begun.standing = Standing::Begun;
    begun.last_sent = NOW.plus(Duration::from_secs(1));
    assert_eq!(further(&declined, &begun, Owner::Gone), &begun);
}

/// Its owner has been taken over, was declined all the same, and remembers it; whoever took over is
/// about to send the key that the provider does not know.
#[test]
fn what_a_live_owner_holds_is_further_than_an_unspent_decline_that_is_remembered() {
    let mut declined = after(Conclusion::Declined { spent: false });
    let mut taken_over = declined.clone();
    taken_over.standing = Standing::Begun;
    declined.last_sent = NOW.plus(Duration::from_secs(1));
    assert_eq!(further(&taken_over, &declined, Owner::Alive), &taken_over);
    assert_eq!(further(&taken_over, &declined, Owner::Gone), &declined);
}

fn event(id: &str) -> Event {
    Event {
        id: id.to_owned(),
        kind: "charge.succeeded".to_owned(),
        object: Some("ch_1".to_owned()),
        endpoint: "orders".to_owned(),
        at: NOW,
    }
}

const DOUBT: Conclusion = Conclusion::InDoubt { saved_500: false };

#[test]
fn an_event_that_proves_success_closes_what_is_in_doubt_and_the_next_asker_gets_the_answer() {
    let closed = witnessed(after(DOUBT), event("evt_1"), true).unwrap();
    assert!(!closed.open() && closed.about.object.as_deref() == Some("ch_1"));
    let word = closed.about.resolved.as_ref().unwrap();
    assert!(word.by.contains("evt_1") && word.why.contains("orders"), "{word:?}");
    let verdict = judge(Some(&closed), Owner::Gone, &ask(&content(1)));
    assert_eq!(verdict.row, Row::A14);
    assert!(matches!(verdict.then, Then::Send(Send { way: Way::Replay, .. })));
    assert_eq!(witnessed(closed, event("evt_2"), true), None);
}

#[test]
fn an_event_that_proves_no_success_tells_people_and_leaves_the_doubt_and_the_key() {
    let noted = witnessed(after(DOUBT), event("evt_1"), false).unwrap();
    assert!(noted.unresolved() && noted.about.event.is_some());
    let verdict = judge(Some(&noted), Owner::Gone, &ask(&content(1)));
    assert_eq!(verdict.row, Row::A11);
    // Said again it is nothing new; another that proves success still closes it.
    assert_eq!(witnessed(noted.clone(), event("evt_1"), false), None);
    assert!(!witnessed(noted, event("evt_2"), true).unwrap().unresolved());
}

#[test]
fn an_event_changes_nothing_where_the_outcome_is_known() {
    for known in [Conclusion::Succeeded, Conclusion::Declined { spent: true }] {
        for succeeded in [true, false] {
            assert_eq!(witnessed(after(known), event("evt_1"), succeeded), None);
        }
    }
}

#[test]
fn an_event_keeps_a_saved_500_from_being_followed_by_another_payment() {
    let doubt = after(Conclusion::InDoubt { saved_500: true });
    let same = content(1);
    let ask = Ask { next_after_saved_500: true, ..ask(&same) };
    let closed = witnessed(doubt.clone(), event("evt_1"), true).unwrap();
    assert_eq!(judge(Some(&doubt), Owner::Gone, &ask).row, Row::A10);
    let then = judge(Some(&closed), Owner::Gone, &ask).then;
    assert!(matches!(then, Then::Refuse(Refused::AlreadyDone)), "{then:?}");
}
