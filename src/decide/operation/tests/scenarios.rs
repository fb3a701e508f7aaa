//! Days in the life of a shop, told one by one.

use std::time::Duration;

use super::provider::{Fault, Mood};
use super::world::{Setting, World};
use crate::decide::identity::Kind;
use crate::decide::operation::table::{Refused, Row};

const LOST: [Fault; 4] =
    [Fault::LostAfter(Mood::Succeed), Fault::LostBefore, Fault::LostBefore, Fault::LostBefore];
const NEVER_ARRIVED: [Fault; 4] = [Fault::LostBefore; 4];

fn shop(kind: Kind, intents: usize) -> World {
    let setting = Setting {
        kind,
        window: Duration::from_secs(30),
        next_after_saved_500: false,
        into_epoch: Duration::from_hours(1),
    };
    World::new(setting, intents, false)
}

fn told(world: &World) -> Vec<Option<usize>> {
    world.intents.iter().map(|it| it.told.map(|(effect, _at)| effect)).collect()
}

#[test]
fn updates_a_b_a_are_three_effects() {
    // A and B are two operations; the second A is a repeat of the first.
    let (mut a, mut b) = (shop(Kind::Content, 2), shop(Kind::Content, 1));
    a.ask(0);
    a.run(&[], true);
    b.ask(0);
    b.run(&[], true);
    a.ask(1);
    a.run(&[], true);
    assert_eq!((told(&a), told(&b)), (vec![Some(1), Some(2)], vec![Some(1)]));
    assert_eq!(a.rows, [Row::A1, Row::A16]);
}

#[test]
fn a_declined_card_may_be_tried_again_and_then_another() {
    for kind in [Kind::Header, Kind::Fields] {
        let mut shop = shop(kind, 1);
        shop.ask(0);
        shop.run(&[Fault::None(Mood::DeclineCard)], true);
        shop.fresh_key(0, false);
        shop.ask(0);
        shop.run(&[Fault::None(Mood::DeclineCard)], true);
        assert!(shop.intents[0].declined, "the same card again is asked for again");
        shop.other_card(0);
        shop.ask(0);
        shop.run(&[], true);
        assert_eq!((told(&shop), shop.provider.effects), (vec![Some(1)], 1));
        assert_eq!(shop.rows, [Row::A1, Row::A13, Row::A7]);
    }
}

#[test]
fn a_lost_decline_is_told_again_and_then_tried_again() {
    let mut shop = shop(Kind::Content, 1);
    shop.ask(0);
    shop.run(&[Fault::None(Mood::DeclineCard)], false);
    shop.fresh_key(0, false);
    shop.ask(0);
    shop.run(&[], true);
    assert!(shop.intents[0].declined, "the first decline is what it asked for");
    shop.fresh_key(0, false);
    shop.ask(0);
    shop.run(&[], true);
    assert_eq!(shop.rows, [Row::A1, Row::A13, Row::A13]);
    assert_eq!(told(&shop), [Some(1)]);
}

#[test]
fn a_request_that_was_mended_elsewhere_runs_with_its_first_key() {
    let mut shop = shop(Kind::Content, 1);
    shop.ask(0);
    shop.run(&[Fault::None(Mood::DeclineRequest)], true);
    shop.fresh_key(0, false);
    shop.ask(0);
    shop.run(&[], true);
    assert_eq!(
        (shop.rows.as_slice(), shop.provider.first_seen.len()),
        (&[Row::A1, Row::A12][..], 1)
    );
    assert_eq!(told(&shop), [Some(1)]);
}

#[test]
fn twin_requests_in_turn_are_two_payments() {
    let mut shop = shop(Kind::Content, 2);
    for twin in 0..2 {
        shop.ask(twin);
        shop.run(&[], true);
    }
    assert_eq!(told(&shop), [Some(1), Some(2)]);
}

#[test]
fn twin_requests_at_once_are_two_payments() {
    let mut shop = shop(Kind::Content, 2);
    shop.ask(0);
    shop.ask(1);
    shop.run(&[], true);
    shop.run(&[], true);
    assert_eq!(told(&shop), [Some(1), Some(2)]);
    assert_eq!(shop.rows, [Row::A1, Row::A9, Row::A16]);
}

#[test]
fn a_double_click_is_one_payment_where_the_rule_says_twins() {
    let mut shop = shop(Kind::Content, 3);
    shop.twins = true;
    shop.ask(0);
    shop.ask(1);
    shop.run(&[], true);
    shop.pass(Duration::from_secs(29));
    shop.ask(2);
    shop.run(&[], true);
    assert_eq!((told(&shop), shop.provider.effects), (vec![Some(1); 3], 1));
}

#[test]
fn a_double_click_after_the_window_is_a_second_payment() {
    let mut shop = shop(Kind::Content, 2);
    shop.twins = true;
    shop.ask(0);
    shop.run(&[], true);
    shop.pass(Duration::from_secs(30));
    shop.ask(1);
    shop.run(&[], true);
    assert_eq!(told(&shop), [Some(1), Some(2)]);
}

#[test]
fn a_redelivered_job_whose_pod_died_charges_once() {
    for kind in [Kind::Header, Kind::Fields, Kind::OwnKey, Kind::Content] {
        let mut shop = shop(kind, 1);
        shop.ask(0);
        shop.hang_up();
        shop.run(&[], true);
        shop.pass(Duration::from_mins(30));
        shop.fresh_key(0, false);
        shop.ask(0);
        shop.run(&[], true);
        assert_eq!((told(&shop), shop.provider.effects), (vec![Some(1)], 1), "{kind:?}");
    }
}

#[test]
fn a_proxy_that_died_after_sending_charges_once() {
    for kind in [Kind::Header, Kind::Fields, Kind::OwnKey, Kind::Content] {
        let mut shop = shop(kind, 1);
        shop.ask(0);
        shop.crash(Some(Fault::None(Mood::Succeed)));
        shop.fresh_key(0, false);
        shop.ask(0);
        shop.run(&[], true);
        assert_eq!((told(&shop), shop.provider.effects), (vec![Some(1)], 1), "{kind:?}");
        assert_eq!(shop.rows, [Row::A1, Row::A11], "{kind:?}");
    }
}

#[test]
fn an_operation_left_in_doubt_is_a_matter_for_people_the_next_day_if_it_is_named() {
    for kind in [Kind::Header, Kind::Fields, Kind::OwnKey] {
        for attempts in [LOST, NEVER_ARRIVED] {
            let mut shop = shop(kind, 1);
            shop.ask(0);
            shop.run(&attempts, true);
            shop.pass(Duration::from_hours(24));
            shop.fresh_key(0, false);
            shop.ask(0);
            assert_eq!(shop.intents[0].refused, Some(Refused::WindowElapsed), "{kind:?}");
            assert!(shop.provider.effects <= 1);
        }
    }
}

#[test]
fn content_left_in_doubt_is_given_up_the_next_day() {
    let mut shop = shop(Kind::Content, 1);
    shop.ask(0);
    shop.run(&NEVER_ARRIVED, true);
    shop.pass(Duration::from_hours(24));
    shop.fresh_key(0, false);
    shop.ask(0);
    shop.run(&[], true);
    assert_eq!((told(&shop), shop.rows.last()), (vec![Some(1)], Some(&Row::A6)));
}

#[test]
fn an_operation_done_yesterday_is_not_done_again() {
    for kind in [Kind::Header, Kind::Fields, Kind::OwnKey] {
        let mut shop = shop(kind, 1);
        shop.ask(0);
        shop.run(&[], false);
        shop.pass(Duration::from_hours(48));
        shop.fresh_key(0, false);
        shop.ask(0);
        assert_eq!(shop.intents[0].refused, Some(Refused::AlreadyDone), "{kind:?}");
        assert_eq!(shop.provider.effects, 1);
    }
}

#[test]
fn a_retried_charge_that_was_declined_before_is_not_charged_again_by_another_card() {
    let mut shop = shop(Kind::Header, 1);
    shop.ask(0);
    shop.run(&[Fault::None(Mood::DeclineRequest)], true);
    shop.fresh_key(0, false);
    shop.ask(0);
    shop.run(&LOST, true);
    assert_eq!(shop.provider.effects, 1, "it happened, and its answer was lost");
    shop.other_card(0);
    shop.ask(0);
    shop.run(&[], true);
    assert_eq!(shop.provider.effects, 1, "charged twice: rows {:?}", shop.rows);
}

#[test]
fn a_retried_charge_that_was_declined_before_is_not_charged_again_the_next_day() {
    for kind in [Kind::Header, Kind::Fields] {
        let mut shop = shop(kind, 1);
        shop.ask(0);
        shop.run(&[Fault::None(Mood::DeclineRequest)], true);
        shop.fresh_key(0, false);
        shop.ask(0);
        shop.crash(Some(Fault::None(Mood::Succeed)));
        shop.pass(Duration::from_hours(24));
        shop.fresh_key(0, false);
        shop.ask(0);
        shop.run(&[], true);
        assert_eq!(shop.provider.effects, 1, "charged twice: rows {:?}", shop.rows);
    }
}

#[test]
fn a_store_that_forgot_declines_finds_the_payment_behind_them() {
    let mut shop = shop(Kind::Content, 1);
    for _card in 0..3 {
        shop.fresh_key(0, false);
        shop.ask(0);
        shop.run(&[Fault::None(Mood::DeclineCard)], true);
    }
    shop.fresh_key(0, false);
    shop.ask(0);
    shop.run(&[], false);
    shop.forget();
    shop.fresh_key(0, false);
    shop.ask(0);
    shop.run(&[], true);
    assert_eq!((told(&shop), shop.provider.effects), (vec![Some(1)], 1));
}

/// The provider replays a decline of a day ago to a record that began with the last hour; then it
/// forgets it, and executes what is sent. That outcome is as open as any.
#[test]
fn an_own_key_that_is_executed_anew_after_its_decline_was_forgotten_is_not_sent_for_ever() {
    for first in [Fault::None(Mood::DeclineCard), Fault::NotSent, Fault::LostBefore] {
        let mut shop = shop(Kind::OwnKey, 1);
        shop.ask(0);
        shop.run(&[Fault::None(Mood::DeclineCard)], false);
        shop.pass(Duration::from_hours(23));
        shop.ask(0);
        shop.run(&[first], false);
        shop.pass(Duration::from_hours(1));
        shop.ask(0);
        shop.run(&[Fault::LostAfter(Mood::Fail { effect: true })], false);
        shop.pass(Duration::from_hours(25));
        shop.ask(0);
        shop.run(&[], true);
        assert_eq!(shop.provider.effects, 1, "charged twice: {first:?}, rows {:?}", shop.rows);
        assert_eq!(shop.intents[0].refused, Some(Refused::WindowElapsed));
    }
}
