//! The figures, on made-up effects.

use super::*;

fn told(id: &str, class: &str, kind: Kind, word: Word) -> Told {
    let (id, class) = (id.to_owned(), class.to_owned());
    Told {
        intent: Intent { id, class, kind, wanted: Wanted::Done },
        word,
        at: Timestamp::from_millis(0),
        by_person: false,
    }
}

fn charge(id: &str, word: Word) -> Told {
    told(id, id, Kind::Charge, word)
}

fn effect(id: &str, amount: i64) -> Effect {
    Effect {
        n: 0,
        at: Timestamp::from_millis(0),
        operation: "POST /v1/charges".to_owned(),
        path: "/v1/charges".to_owned(),
        object: "ch_1".to_owned(),
        amount: Some(amount),
        currency: Some("usd".to_owned()),
        key: None,
        scope: "a|-|-".to_owned(),
        intent: Some(id.to_owned()),
        money: true,
        outcome: Outcome::Succeeded,
    }
}

#[test]
fn what_happened_once_as_told_is_no_harm() {
    let counts = count(&[charge("a", Word::Succeeded)], &[effect("a", 500)]);
    assert_eq!(counts, Counts { operations: 1, ..Counts::default() });
    assert!(counts.kept());
}

#[test]
fn a_second_charge_is_counted_with_its_money() {
    let effects = [effect("a", 500), effect("a", 500), effect("a", 500), effect("b", 100)];
    let counts = count(&[charge("a", Word::Succeeded), charge("b", Word::Succeeded)], &effects);
    assert_eq!(counts.charged_twice, 1);
    assert_eq!(counts.over_charged, BTreeMap::from([("usd".to_owned(), 1000)]));
    assert!(!counts.kept());
}

#[test]
fn declines_and_strangers_effects_move_no_money() {
    let mut declined = effect("a", 500);
    (declined.money, declined.outcome) = (false, Outcome::Declined);
    let mut strange = effect("a", 500);
    strange.intent = None;
    let effects = [declined, strange, effect("a", 500)];
    assert_eq!(count(&[charge("a", Word::Succeeded)], &effects).harm(), 0);
}

#[test]
fn a_charge_whose_user_was_told_failed_is_counted() {
    for word in [Word::Failed, Word::Declined] {
        let counts = count(&[charge("a", word)], &[effect("a", 500)]);
        assert_eq!((counts.charged_told_failed, counts.locked_out), (1, 0));
    }
}

#[test]
fn what_is_never_done_is_locked_out_whatever_was_said() {
    for word in [Word::None, Word::Failed, Word::Declined] {
        assert_eq!(count(&[charge("a", word)], &[]).locked_out, 1, "{word:?}");
    }
    let mut declined = charge("a", Word::Declined);
    declined.intent.wanted = Wanted::Declined;
    assert_eq!(count(&[declined], &[]).harm(), 0);
}

#[test]
fn success_without_an_effect_is_a_merge() {
    assert_eq!(count(&[charge("a", Word::Succeeded)], &[]).merged, 1);
    let twin = |id: &str, at: u64| Told {
        at: Timestamp::from_millis(at),
        ..told(id, "twins", Kind::PaymentIntent, Word::Succeeded)
    };
    let counts = count(&[twin("a", 0), twin("b", 1000)], &[effect("a", 500)]);
    assert_eq!((counts.merged, counts.merged_by_policy), (1, 0));
}

#[test]
fn equal_charges_within_the_window_are_merged_by_policy() {
    let twin = |id: &str, at: u64| Told {
        at: Timestamp::from_millis(at),
        ..told(id, "twins", Kind::Charge, Word::Succeeded)
    };
    for (apart, expected) in [(29_000, (0, 1)), (31_000, (1, 0))] {
        let counts = count(&[twin("a", 0), twin("b", apart)], &[effect("a", 500)]);
        assert_eq!((counts.merged, counts.merged_by_policy), expected, "{apart}");
    }
}

#[test]
fn twins_that_were_executed_by_each_other_are_swapped_and_not_charged_twice() {
    let twin = |id: &str| told(id, "twins", Kind::Charge, Word::Succeeded);
    let counts = count(&[twin("a"), twin("b")], &[effect("a", 500), effect("a", 500)]);
    assert_eq!((counts.harm(), counts.swapped), (0, 1));
    let three = [effect("a", 500), effect("a", 500), effect("b", 500)];
    assert_eq!(count(&[twin("a"), twin("b")], &three).charged_twice, 1);
}

#[test]
fn settings_that_are_set_twice_are_no_harm_and_customers_made_twice_are() {
    let mut made = effect("a", 0);
    made.money = false;
    let twice = [made.clone(), made];
    assert_eq!(count(&[told("a", "a", Kind::Update, Word::Succeeded)], &twice).harm(), 0);
    let counts = count(&[told("a", "a", Kind::Customer, Word::Succeeded)], &twice);
    assert_eq!((counts.made_twice, counts.charged_twice), (1, 0));
}
