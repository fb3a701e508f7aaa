//! Small histories whose verdict is known.

use payonce::clock::Timestamp;
use payonce::sandbox::Outcome;

use super::*;

const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn succeeded(object: &str) -> Word {
    Word::Succeeded { object: object.to_owned() }
}

fn operation(intent: &str, class: &str, words: &[(u64, Word)]) -> Operation {
    let heard = words.iter().map(|(when, word)| Heard { at: at(*when), word: word.clone() });
    Operation {
        intent: intent.to_owned(),
        class: class.to_owned(),
        workload: "test",
        by: By::Content,
        keys: Keys::None,
        promise: Promise::Once,
        money: true,
        healed: true,
        heard: heard.collect(),
    }
}

fn effect(when: u64, object: &str, intent: &str) -> Effect {
    Effect {
        n: 0,
        at: at(when),
        operation: String::new(),
        path: String::new(),
        object: object.to_owned(),
        amount: None,
        currency: None,
        key: None,
        scope: String::new(),
        intent: Some(intent.to_owned()),
        money: true,
        outcome: Outcome::Succeeded,
    }
}

#[test]
fn what_happened_once_and_was_told_breaks_nothing() {
    let told = [operation("a", "a", &[(1, Word::Unknown), (9, succeeded("ch_1"))])];
    let verdict = verdict(&told, &[effect(1, "ch_1", "a")]);
    assert_eq!((verdict.broken(), verdict.succeeded, verdict.doubts), (0, 1, vec![8]));
}

#[test]
fn a_second_effect_is_a_duplicate() {
    let told = [operation("a", "a", &[(9, succeeded("ch_2"))])];
    let found = verdict(&told, &[effect(1, "ch_1", "a"), effect(2, "ch_2", "a")]);
    assert_eq!((found.duplicates, found.broken()), (1, 1));
}

#[test]
fn equal_purchases_may_be_executed_by_each_others_request() {
    let told = [
        operation("a", "same", &[(5, succeeded("ch_2"))]),
        operation("b", "same", &[(6, succeeded("ch_1"))]),
    ];
    let found = verdict(&told, &[effect(1, "ch_1", "a"), effect(2, "ch_2", "a")]);
    assert_eq!(found.broken(), 0);
}

#[test]
fn two_who_are_told_of_one_effect_are_merged() {
    let both = [
        operation("a", "same", &[(5, succeeded("ch_1"))]),
        operation("b", "same", &[(6, succeeded("ch_1"))]),
    ];
    assert_eq!(verdict(&both, &[effect(1, "ch_1", "a")]).false_merges, 1);
    let allowed = both.map(|one| Operation { promise: Promise::OnceOrMerged, ..one });
    let found = verdict(&allowed, &[effect(1, "ch_1", "a")]);
    assert_eq!((found.merges_allowed, found.broken()), (1, 0));
}

#[test]
fn executed_and_believed_to_have_failed_is_a_lost_answer() {
    for word in [Word::Declined, Word::NothingSent] {
        let told = [operation("a", "a", &[(0, word)])];
        assert_eq!(verdict(&told, &[effect(1, "ch_1", "a")]).lost_answers, 1);
    }
}

#[test]
fn nothing_was_sent_is_a_lie_after_an_effect_that_was_not_told() {
    let words = [(5, Word::NothingSent), (9, succeeded("ch_1"))];
    let told = [operation("a", "a", &words)];
    assert_eq!(verdict(&told, &[effect(1, "ch_1", "a")]).lost_answers, 1);
    assert_eq!(verdict(&told, &[effect(7, "ch_1", "a")]).lost_answers, 0);
}

#[test]
fn a_success_that_names_nothing_real_is_hollow() {
    let told = [operation("a", "a", &[(5, succeeded("ch_9"))])];
    assert_eq!(verdict(&told, &[effect(1, "ch_1", "a")]).hollow, 1);
}

#[test]
fn who_asks_in_good_times_and_gets_no_outcome_is_locked_out() {
    for word in [Word::Unknown, Word::Refused, Word::Silence, Word::NothingSent] {
        let told = [operation("a", "a", &[(5, word)])];
        assert_eq!(verdict(&told, &[]).locked_out, 1);
    }
}

#[test]
fn what_is_only_measured_breaks_no_promise() {
    let told =
        Operation { promise: Promise::Measured, ..operation("a", "a", &[(9, succeeded("ch_2"))]) };
    let found = verdict(&[told], &[effect(1, "ch_1", "a"), effect(2, "ch_2", "a")]);
    assert_eq!((found.duplicates_measured, found.broken()), (1, 0));
}

#[test]
fn runs_are_added_up() {
    let told = [operation("a", "a", &[(1, Word::Unknown), (9, succeeded("ch_1"))])];
    let one = verdict(&told, &[effect(1, "ch_1", "a")]);
    let mut sum = one.clone();
    sum.add(&one);
    assert_eq!((sum.operations, sum.succeeded, sum.doubts), (2, 2, vec![8, 8]));
}
