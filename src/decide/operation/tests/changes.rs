//! How a record moves on: what an answer may and may not do to it.

use std::time::Duration;

use super::some::{DAY, EPOCH, NOW, ago, at, key, record};
use super::world::{client_key, fingerprint};
use crate::decide::digest::OperationId;
use crate::decide::identity::Kind;
use crate::decide::operation::change::{
    Claiming, Follows, Learnt, MAX_ADVANCES, Resolution, advanced, claimed, follows, forgotten,
    further, kept, put_back, resolved, settled, told_by_word,
};
use crate::decide::operation::record::{
    About, Claim, ClientKeySeen, MAX_CLIENT_KEYS, Outcome, Record, Resolved, Settled, Standing,
};
use crate::decide::operation::table::{Ask, Owner, Row, Send, Way, judge};
use crate::decide::outcome::Conclusion;
use crate::decide::path::Api;

const NEW: Way = Way::New { repeat: false, abandoned: false };
const TAKE_OVER: Way = Way::TakeOver { next_if_replayed: false };
const NEXT_IF_REPLAYED: Way = Way::TakeOver { next_if_replayed: true };
const DECLINED: Conclusion = Conclusion::Declined { spent: true };
const IN_DOUBT: Conclusion = Conclusion::InDoubt { saved_500: false };

fn standing(result: Outcome, spent: bool, delivered: bool) -> Standing {
    Standing::Settled(Settled { result, spent, delivered })
}

fn claim(found: Option<&Record>, n: u32, way: Way, client_key: Option<u16>) -> Record {
    let fingerprint = fingerprint(0);
    let ask = Ask {
        kind: Kind::Content,
        fingerprint: &fingerprint,
        client_key: client_key.map(|key| super::world::client_key(key, 0)),
        twins: false,
        repeat_window: Duration::ZERO,
        next_after_saved_500: false,
        epoch: EPOCH,
        arrived: NOW,
        waited: false,
        now: NOW,
    };
    let with = Claiming {
        claim: Claim { owner: "two".to_owned(), token: "2".to_owned(), lease: NOW },
        key: key(n),
        request: "POST /v1/charges".to_owned(),
        api: Api::V1,
        about: About::default(),
    };
    claimed(found, &ask, Send { occurrence: at(EPOCH, n), way }, with)
}

fn learnt(conclusion: Conclusion) -> Learnt {
    Learnt {
        conclusion,
        attempts: 1,
        object: None,
        request_id: None,
        last_sent: NOW,
        answered: NOW,
        trail: Vec::new(),
    }
}

fn after(standing: Standing, conclusion: Conclusion, delivered: bool) -> Standing {
    let record = Record { standing, ..record(Kind::Content) };
    settled(record, &learnt(conclusion), delivered, &[], NOW).standing
}

#[test]
fn a_take_over_keeps_the_key_and_the_age_of_what_it_takes_over() {
    let found = record(Kind::Content);
    let record = claim(Some(&found), 1, TAKE_OVER, None);
    assert_eq!((record.key, record.first_sent), (found.key, found.first_sent));
    assert_eq!(record.claim.map(|claim| claim.token), Some("2".to_owned()));
}

#[test]
fn the_next_occurrence_begins_anew_and_remembers_who_asked_before() {
    let found = claim(None, 0, NEW, Some(7));
    let found = settled(found, &learnt(Conclusion::Succeeded), true, &[], NOW);
    let record = claim(Some(&found), 1, NEW, Some(8));
    assert_eq!((record.standing, record.first_delivered), (Standing::Begun, None));
    assert_eq!(record.past.len(), 1);
    assert_eq!((&record.past[0].key, record.past[0].spent), (&key(0), true));
    let seen: Vec<u32> = record.client_keys.iter().map(|seen| seen.occurrence.n).collect();
    assert_eq!(seen, [0, 1]);
}

#[test]
fn occurrences_that_no_client_key_points_to_are_not_remembered() {
    let mut record = claim(None, 0, NEW, None);
    for n in 1..200 {
        record = claim(Some(&record), n, NEW, None);
    }
    assert!(record.past.is_empty(), "{} earlier occurrences are remembered", record.past.len());
}

#[test]
fn a_record_never_grows_beyond_its_client_keys() {
    let mut record = claim(None, 0, NEW, Some(0));
    for n in 1..200_u16 {
        record = claim(Some(&record), u32::from(n), NEW, Some(n));
    }
    assert_eq!(record.client_keys.len(), MAX_CLIENT_KEYS);
    assert!(record.past.len() < MAX_CLIENT_KEYS);
    let last = record.client_keys.last().map(|seen| seen.digest);
    assert_eq!(last, Some(client_key(199, 0)), "the oldest is forgotten first");
}

#[test]
fn joiners_are_bounded_too() {
    let joined: Vec<_> = (0..1000).map(|key| client_key(key, 0)).collect();
    let record = settled(record(Kind::Content), &learnt(Conclusion::Succeeded), true, &joined, NOW);
    assert_eq!(record.client_keys.len(), MAX_CLIENT_KEYS);
}

#[test]
fn a_client_key_that_asks_twice_is_remembered_once() {
    let record = claim(None, 0, NEW, Some(7));
    assert_eq!(claim(Some(&record), 0, TAKE_OVER, Some(7)).client_keys.len(), 1);
}

#[test]
fn whoever_asked_for_an_occurrence_that_is_passed_over_asks_for_the_next() {
    let record = claim(None, 0, NEW, Some(7));
    let next = advanced(&record, EPOCH, key(1), NOW);
    let seen = ClientKeySeen { digest: client_key(7, 0), occurrence: at(EPOCH, 1) };
    assert_eq!(
        (next.occurrence, &next.key, next.standing),
        (at(EPOCH, 1), &key(1), Standing::Begun)
    );
    assert_eq!((next.client_keys, next.past.len()), (vec![seen], 0));
    assert_eq!(next.claim, record.claim, "the same claim goes on");
    assert_eq!(advanced(&record, EPOCH + 1, key(1), NOW).occurrence, at(EPOCH + 1, 0));
}

#[test]
fn an_answer_settles_whatever_stood_there() {
    for was in [
        Standing::Begun,
        Standing::InDoubt { saved_500: false },
        Standing::InDoubt { saved_500: true },
        standing(Outcome::Declined, false, false),
    ] {
        for delivered in [true, false] {
            let success = after(was, Conclusion::Succeeded, delivered);
            assert_eq!(success, standing(Outcome::Succeeded, true, delivered));
            for spent in [true, false] {
                let decline = after(was, Conclusion::Declined { spent }, delivered);
                assert_eq!(decline, standing(Outcome::Declined, spent, delivered));
            }
        }
    }
}

#[test]
fn what_the_provider_holds_never_becomes_unknown_again() {
    for result in [Outcome::Succeeded, Outcome::Declined] {
        for conclusion in [IN_DOUBT, Conclusion::InDoubt { saved_500: true }] {
            let is = after(standing(result, true, true), conclusion, true);
            assert_eq!(is, standing(result, true, false), "only this asker has no answer");
        }
    }
}

/// An unspent decline is executed again under its key (DESIGN §2), so a lost answer to that is
/// as unknown as any.
#[test]
fn a_retried_decline_whose_answer_is_lost_is_in_doubt() {
    let found = Record {
        standing: standing(Outcome::Declined, false, true),
        claim: None,
        ..record(Kind::Header)
    };
    let record = claim(Some(&found), 1, NEXT_IF_REPLAYED, None);
    let record = settled(record, &learnt(IN_DOUBT), false, &[], NOW);
    assert!(record.unresolved(), "it may have happened, and counts as {:?}", record.standing);
}

#[test]
fn a_retried_decline_whose_owner_died_is_open() {
    let found = Record {
        standing: standing(Outcome::Declined, false, true),
        claim: None,
        ..record(Kind::Header)
    };
    assert!(claim(Some(&found), 1, NEXT_IF_REPLAYED, None).unresolved());
}

#[test]
fn settling_frees_the_claim_and_adds_up_the_attempts() {
    let found = Record { attempts: 2, ..record(Kind::Content) };
    let learnt = Learnt {
        attempts: 3,
        object: Some("ch_1".to_owned()),
        request_id: Some("req_1".to_owned()),
        ..learnt(Conclusion::Succeeded)
    };
    let is = settled(found, &learnt, true, &[], NOW);
    assert_eq!((is.claim, is.attempts, is.last_sent), (None, 5, NOW));
    assert_eq!(is.about.object.as_deref(), Some("ch_1"));
    assert_eq!(is.about.request_id.as_deref(), Some("req_1"));
}

#[test]
fn the_first_delivery_is_the_first() {
    let found = Record { first_delivered: Some(ago(9)), ..record(Kind::Content) };
    let is = settled(found, &learnt(Conclusion::Succeeded), true, &[], NOW);
    assert_eq!(is.first_delivered, Some(ago(9)));
    let lost = settled(record(Kind::Content), &learnt(Conclusion::Succeeded), false, &[], NOW);
    assert_eq!(lost.first_delivered, None);
}

#[test]
fn what_was_not_executed_leaves_what_was_found() {
    assert_eq!(put_back(None), None);
    let doubtful =
        Record { standing: Standing::InDoubt { saved_500: true }, ..record(Kind::Header) };
    let is = put_back(Some(doubtful.clone())).unwrap();
    assert_eq!(is, Record { claim: None, ..doubtful });
    let replayed =
        Record { standing: standing(Outcome::Succeeded, true, true), ..record(Kind::Header) };
    let is = put_back(Some(replayed)).unwrap();
    assert_eq!(is.standing, standing(Outcome::Succeeded, true, false), "its replayer is gone");
}

#[test]
fn a_store_that_forgot_is_told_by_a_first_answer_that_is_a_replay() {
    let is = |way, conclusion, replayed, first, advances| {
        follows(&record(Kind::Content), way, conclusion, replayed, first, advances)
    };
    assert_eq!(is(NEW, DECLINED, true, true, 0), Follows::Advance);
    assert_eq!(is(NEW, DECLINED, true, true, MAX_ADVANCES - 1), Follows::Advance);
    assert_eq!(is(NEW, DECLINED, true, true, MAX_ADVANCES), Follows::Older);
    assert_eq!(is(NEW, DECLINED, true, false, 0), Follows::Settle, "its own decline");
    assert_eq!(is(NEW, DECLINED, false, true, 0), Follows::Settle);
    assert_eq!(is(NEW, Conclusion::Succeeded, true, true, 0), Follows::Forgotten);
    assert_eq!(is(NEW, Conclusion::Succeeded, true, false, 0), Follows::Settle, "its own success");
    assert_eq!(is(NEW, IN_DOUBT, true, true, 0), Follows::Settle);
}

#[test]
fn a_take_over_of_a_delivered_decline_goes_on_if_it_is_replayed() {
    let is =
        |way, replayed, first| follows(&record(Kind::Content), way, DECLINED, replayed, first, 0);
    assert_eq!(is(NEXT_IF_REPLAYED, true, true), Follows::Advance);
    assert_eq!(is(NEXT_IF_REPLAYED, true, false), Follows::Settle, "its own decline");
    assert_eq!(is(NEXT_IF_REPLAYED, false, true), Follows::Settle);
    assert_eq!(is(TAKE_OVER, true, true), Follows::Settle);
    assert_eq!(is(Way::Replay, true, true), Follows::Settle);
}

#[test]
fn an_own_key_never_advances() {
    for (way, then) in [(NEW, Follows::Older), (NEXT_IF_REPLAYED, Follows::Settle)] {
        let is = follows(&record(Kind::OwnKey), way, DECLINED, true, true, 0);
        assert_eq!(is, then);
    }
    let is = follows(&record(Kind::OwnKey), NEW, DECLINED, true, false, 0);
    assert_eq!(is, Follows::Older, "its decline may be of a day ago, whatever was lost meanwhile");
}

/// Declined, asked for again when its record is beyond safe retention, and replayed once more: the
/// provider will forget it within the hour, and then execute what is sent.
#[test]
fn nobody_knows_how_old_an_own_key_is_whose_outcome_is_replayed_to_a_new_record() {
    let found = Record { first_sent: NOW, last_sent: NOW, ..record(Kind::OwnKey) };
    let is = forgotten(found, &OperationId([7; 32]));
    assert!(is.beyond_retention(NOW));
}

#[test]
fn a_saved_success_that_is_executed_again_raises_an_alarm() {
    let held = |api| Record {
        api,
        standing: standing(Outcome::Succeeded, true, false),
        ..record(Kind::Header)
    };
    let is = |record: &Record, replayed| {
        follows(record, Way::Replay, Conclusion::Succeeded, replayed, true, 0)
    };
    assert_eq!(is(&held(Api::V1), false), Follows::Alarm);
    assert_eq!(is(&held(Api::V1), true), Follows::Settle);
    assert_eq!(is(&held(Api::V2), false), Follows::Settle, "v2 may not mark its replays");
    let unspent =
        Record { standing: standing(Outcome::Declined, false, true), ..record(Kind::Header) };
    assert_eq!(is(&unspent, false), Follows::Settle, "it was never done");
}

#[test]
fn records_are_kept_for_as_long_as_their_keys_can_do_harm() {
    let operation = OperationId([0; 32]);
    let for_ = |record: &Record| kept(record, &operation, NOW).as_secs();
    let sent_now = |record: Record| Record { first_sent: NOW, last_sent: NOW, ..record };
    let named = |result| Record {
        standing: standing(result, true, true),
        claim: None,
        ..sent_now(record(Kind::Header))
    };
    assert_eq!(for_(&named(Outcome::Succeeded)), 30 * DAY);
    let content = Record { kind: Kind::Content, ..named(Outcome::Succeeded) };
    assert!((DAY..DAY + 22 * 3600).contains(&for_(&content)));
    assert!((DAY..DAY + 22 * 3600).contains(&for_(&named(Outcome::Declined))));
    assert_eq!(for_(&sent_now(record(Kind::Content))), 8 * DAY);
    let v2 = Record { api: Api::V2, occurrence: at(700, 0), ..content };
    assert_eq!(for_(&v2), 30 * DAY);
    let ancient = Record { first_sent: ago(90 * DAY), ..record(Kind::Content) };
    assert_eq!(for_(&ancient), 1, "never zero, which a store might take for ever");
}

fn word() -> Resolved {
    Resolved { by: "ann".to_owned(), why: "seen".to_owned(), at: NOW, unanswerable: false }
}

fn in_doubt(saved_500: bool) -> Record {
    Record { standing: Standing::InDoubt { saved_500 }, ..record(Kind::Header) }
}

#[test]
fn a_person_can_end_what_is_open() {
    let succeeded = Resolution::Succeeded(Some("ch_9".to_owned()));
    let done = resolved(in_doubt(false), succeeded, word());
    assert_eq!(done.standing, standing(Outcome::Succeeded, true, false));
    assert_eq!((done.about.object.as_deref(), &done.claim), (Some("ch_9"), &None));
    let not = resolved(in_doubt(false), Resolution::Declined, word());
    assert_eq!(not.standing, standing(Outcome::Declined, false, false));
    assert_eq!(not.about.resolved, Some(word()));
    assert!(!not.open());
}

#[test]
fn a_key_for_which_a_500_is_replayed_is_done_with_once_a_person_has_spoken() {
    let not = resolved(in_doubt(true), Resolution::Declined, word());
    assert_eq!(not.standing, standing(Outcome::Declined, true, true), "the next occurrence is due");
    let done = resolved(in_doubt(true), Resolution::Succeeded(None), word());
    assert!(done.about.resolved.is_some_and(|word| word.unanswerable));
}

#[test]
fn a_success_whose_answer_cannot_be_had_is_told_and_by_content_only_once() {
    let resolve = |kind| {
        let open = Record { kind, ..in_doubt(true) };
        resolved(open, Resolution::Succeeded(None), word())
    };
    let row = |record: &Record| {
        let ask = Ask {
            kind: record.kind,
            fingerprint: &record.fingerprint,
            client_key: None,
            twins: false,
            repeat_window: Duration::ZERO,
            next_after_saved_500: false,
            epoch: EPOCH,
            arrived: NOW,
            waited: false,
            now: NOW,
        };
        judge(Some(record), Owner::Gone, &ask).row
    };
    let (named, content) = (resolve(Kind::Header), resolve(Kind::Content));
    assert_eq!((row(&named), row(&content)), (Row::A5, Row::A5));
    let told = |record| told_by_word(record, Some(client_key(1, 0)));
    assert_eq!((row(&told(named)), row(&told(content))), (Row::A5, Row::A16));
}

#[test]
fn of_two_records_the_one_that_got_further_counts() {
    let one = record(Kind::Content);
    for occurrence in [at(EPOCH, 2), at(EPOCH + 1, 0)] {
        let other = Record { occurrence, ..one.clone() };
        assert_eq!(further(&one, &other, Owner::Alive), &other);
        assert_eq!(further(&other, &one, Owner::Gone), &other);
    }
}
