//! A1–A8 and A10–A16: what was found decides what happens.

use super::*;

pub(super) async fn a1_what_nobody_asked_for_before_is_sent() {
    let world = world(CONTENT_LOST).await;
    world.done(&good()).await.is(200, "executed");
    assert_eq!((paid(&world), world.keys().len()), (1, 1));
    assert_eq!(world.row("A1"), 1);
}

pub(super) async fn a2_an_earlier_calls_retry_gets_the_earlier_answer() {
    let world = world(CONTENT_LOST).await;
    let first = world.done(&good().sdk(1)).await;
    let second = world.done(&good().sdk(2)).await;
    second.is(200, "repeated");
    let again = world.done(&good().sdk(1)).await;
    again.is(200, "replayed");
    same(&again, &first);
    let keys = world.keys();
    assert!(keys[0] != keys[1] && keys[2] == keys[0], "{keys:?}");
    assert_eq!((paid(&world), world.row("A2")), (2, 1));
}

pub(super) async fn a2_an_earlier_calls_retry_beyond_retention_is_superseded() {
    let world = world(CONTENT_LOST).await;
    world.done(&good().sdk(1)).await;
    world.done(&good().sdk(2)).await;
    world.clock.advance(23 * HOUR);
    world.done(&good().sdk(1)).await.refused(409, "payonce_superseded");
    assert_eq!((world.keys().len(), world.row("A2")), (2, 1));
}

pub(super) async fn a2_an_earlier_calls_retry_is_served_while_the_next_is_in_flight() {
    let world = world(CONTENT_LOST).await;
    let first = world.done(&good().sdk(1)).await;
    world.faults([Fault::new(Kind::Delay { millis: 5_000, effect: Strike::Before })]);
    let (late, retry) = (good().sdk(2), good().sdk(1));
    let (slow, early) = tokio::join!(world.ask(&late), async {
        world.until_seen(2).await;
        world.ask(&retry).await
    });
    slow.is(200, "repeated");
    early.is(200, "replayed");
    same(&early, &first);
    assert_eq!((paid(&world), world.row("A2")), (2, 1));
}

pub(super) async fn a3_the_same_call_again_is_replayed_though_its_answer_was_delivered() {
    let world = world(CONTENT_LOST).await;
    let first = world.done(&good().sdk(1)).await;
    let again = world.done(&good().sdk(1)).await;
    again.is(200, "replayed");
    same(&again, &first);
    world.done(&declined().sdk(1)).await.is(402, "executed");
    world.done(&declined().sdk(1)).await.is(402, "replayed");
    let keys = world.keys();
    assert!(keys[0] == keys[1] && keys[2] == keys[3], "{keys:?}");
    assert_eq!((world.effects().len(), world.row("A3")), (2, 2));
}

pub(super) async fn a3_the_same_call_after_a_saved_500_is_not_the_next_occurrence() {
    let world = world(NEXT_AFTER_500).await;
    world.faults([Fault::new(Kind::Saved500 { effect: Strike::After })]);
    world.done(&good().sdk(1)).await.is(500, "-");
    world.done(&good().sdk(1)).await.is(500, "-");
    assert_eq!(world.keys().iter().collect::<BTreeSet<_>>().len(), 1);
    assert_eq!((paid(&world), world.row("A3"), world.row("A10")), (1, 1, 0));
}

pub(super) async fn a4_what_is_in_doubt_for_too_long_waits_for_a_person() {
    let world = hasty(CONTENT_LOST).await;
    let own = good().key("order-42");
    world.faults([lost().times(2)]);
    for ask in [&named("order-7"), &own] {
        world.done(ask).await.refused(504, "payonce_outcome_unknown");
    }
    world.clock.advance(23 * HOUR);
    for ask in [&named("order-7"), &own] {
        world.done(ask).await.refused(409, "payonce_window_elapsed");
    }
    assert_eq!((world.keys().len(), world.row("A4")), (2, 2));
}

pub(super) async fn a5_what_was_done_long_ago_is_named_and_not_sent() {
    let world = world(CONTENT_LOST).await;
    let own = good().key("order-42");
    let first = world.done(&named("order-7")).await;
    world.done(&own).await.is(200, "executed");
    world.clock.advance(23 * HOUR);
    let late = world.done(&named("order-7")).await;
    late.refused(409, "payonce_already_done");
    assert!(late.message().contains(&first.id()), "{}", late.message());
    world.done(&own).await.refused(409, "payonce_already_done");
    assert_eq!((world.keys().len(), world.row("A5")), (2, 2));
}

pub(super) async fn a6_content_begins_anew_beyond_retention_whatever_became_of_it() {
    let world = hasty(CONTENT_LOST).await;
    let other = Post::charge("amount=700&currency=usd&source=tok_visa");
    world.done(&good()).await.is(200, "executed");
    world.faults([lost()]);
    world.done(&other).await.refused(504, "payonce_outcome_unknown");
    world.clock.advance(23 * HOUR);
    world.done(&good()).await.is(200, "executed");
    world.done(&other).await.is(200, "executed");
    let keys = world.keys();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 4, "{keys:?}");
    assert_eq!((world.row("A6"), world.count("payonce_abandoned_total")), (2, 1));
}

pub(super) async fn a6_a_named_decline_may_be_asked_for_again_beyond_retention() {
    let world = world(CONTENT_LOST).await;
    let card = declined().with("Payonce-Operation", "order-7");
    world.done(&card).await.is(402, "executed");
    world.clock.advance(23 * HOUR);
    world.done(&card).await.is(402, "executed");
    let keys = world.keys();
    assert_ne!(keys[0], keys[1]);
    assert_eq!(world.row("A6"), 1);
}

pub(super) async fn a7_another_card_after_a_decline_gets_another_key() {
    let world = world(BY_ORDER).await;
    let order = |body: &str| Post::charge(&format!("{body}&metadata[order_id]=o7"));
    world.done(&order(DECLINED)).await.is(402, "executed");
    world.done(&order(GOOD)).await.is(200, "executed");
    let keys = world.keys();
    assert_ne!(keys[0], keys[1]);
    assert_eq!((paid(&world), world.row("A7")), (1, 1));
}

pub(super) async fn a8_other_content_is_a_conflict_that_names_fields_and_no_values() {
    let world = world(BY_ORDER).await;
    let order = |amount: u32, card: &str| {
        let body = format!("amount={amount}&currency=usd&source={card}&metadata[order_id]=o7");
        Post::charge(&body)
    };
    world.done(&order(500, "tok_visa")).await.is(200, "executed");
    let conflict = world.done(&order(991, "tok_amex")).await;
    conflict.refused(400, "payonce_conflict");
    assert_eq!(conflict.json()["error"]["type"], "idempotency_error");
    let message = conflict.message();
    assert!(message.contains("amount") && message.contains("source"), "{message}");
    let values = ["500", "991", "tok_", "o7"];
    assert!(!values.iter().any(|value| message.contains(value)), "{message}");
    assert_eq!((world.keys().len(), world.row("A8")), (1, 1));
}

pub(super) async fn a8_an_own_key_conflicts_though_it_was_declined() {
    let world = world(CONTENT_LOST).await;
    world.done(&declined().key("mine")).await.is(402, "executed");
    world.done(&good().key("mine")).await.refused(400, "payonce_conflict");
    assert_eq!((world.keys().len(), world.row("A8")), (1, 1));
}

pub(super) async fn a10_a_new_call_after_a_saved_500_is_the_next_where_the_policy_says_so() {
    let world = world(NEXT_AFTER_500).await;
    world.faults([Fault::new(Kind::Saved500 { effect: Strike::Before })]);
    world.done(&good().sdk(1)).await.is(500, "-");
    world.done(&good().sdk(2)).await.is(200, "executed");
    let keys = world.keys();
    assert_ne!(keys.first(), keys.last());
    assert_eq!((paid(&world), world.row("A10")), (1, 1));
}

pub(super) async fn a11_what_is_in_doubt_is_taken_over_with_the_same_key() {
    let world = hasty(CONTENT_LOST).await;
    world.faults([lost()]);
    world.done(&good().sdk(1)).await.refused(504, "payonce_outcome_unknown");
    world.done(&good().sdk(2)).await.is(200, "replayed");
    let keys = world.keys();
    assert_eq!(keys[0], keys[1]);
    assert_eq!((paid(&world), world.row("A11")), (1, 1));
}

pub(super) async fn a11_a_saved_500_is_held_unless_the_policy_says_next() {
    let world = world(CONTENT_LOST).await;
    world.faults([Fault::new(Kind::Saved500 { effect: Strike::After })]);
    world.done(&good().sdk(1)).await.is(500, "-");
    world.done(&good().sdk(2)).await.is(500, "-");
    assert_eq!(world.keys().iter().collect::<BTreeSet<_>>().len(), 1);
    assert_eq!((paid(&world), world.row("A11")), (1, 1));
}

pub(super) async fn a12_an_unspent_decline_is_asked_for_again_with_the_same_key() {
    let world = world(CONTENT_LOST).await;
    let incomplete = Post::charge("amount=500&source=tok_visa");
    world.done(&incomplete).await.is(400, "executed");
    world.done(&incomplete).await.is(400, "executed");
    let keys = world.keys();
    assert_eq!(keys[0], keys[1]);
    assert_eq!(world.row("A12"), 1);
}

pub(super) async fn a12_a_replayed_decline_makes_way_for_the_next_occurrence() {
    let world = world(CONTENT_LOST).await;
    world.sandbox.set_rules(Rules { save_refusals: true, ..Rules::default() });
    let payout = Post::new("/v1/payouts", "amount=100000400&currency=usd&description=week-7");
    world.done(&payout).await.is(400, "executed");
    world.done(&Post::charge("amount=500&currency=usd&source=tok_visa")).await.is(200, "executed");
    world.done(&payout).await.is(200, "executed");
    let keys = world.keys();
    assert!(keys[0] == keys[2] && keys[3] != keys[2], "{keys:?}");
    assert_eq!((keys.len(), world.row("A12")), (4, 1));
}

pub(super) async fn a13_a_delivered_decline_makes_way_and_a_lost_one_is_replayed() {
    let world = world(CONTENT_LOST).await;
    world.lose(&declined()).await;
    world.done(&declined()).await.is(402, "replayed");
    world.done(&declined()).await.is(402, "executed");
    let keys = world.keys();
    assert!(keys[0] == keys[1] && keys[1] != keys[2], "{keys:?}");
    assert_eq!((world.effects().len(), world.row("A13")), (2, 2));
}

pub(super) async fn a14_a_lost_success_is_replayed_once() {
    let world = world(CONTENT_LOST).await;
    world.lose(&good().sdk(1)).await;
    let again = world.done(&good().sdk(2)).await;
    again.is(200, "replayed");
    assert_eq!((paid(&world), world.row("A14")), (1, 1));
    assert_eq!(world.effects()[0].object, again.id());
    // One lost answer serves one asker.
    world.done(&good().sdk(3)).await.is(200, "repeated");
    assert_eq!(paid(&world), 2);
}

pub(super) async fn a15_named_operations_and_fresh_twins_are_replayed() {
    let world = world(CONTENT_TWINS).await;
    for ask in [good(), named("order-7")] {
        let first = world.done(&ask).await;
        let again = world.done(&ask).await;
        again.is(200, "replayed");
        same(&again, &first);
    }
    assert_eq!((paid(&world), world.row("A15")), (2, 2));
    world.clock.advance(HOUR);
    world.done(&named("order-7")).await.is(200, "replayed");
    world.done(&good()).await.is(200, "repeated");
    assert_eq!((paid(&world), world.row("A15")), (3, 3));
}

pub(super) async fn a15_the_window_counts_from_the_first_delivery() {
    let world = world(CONTENT_TWINS).await;
    world.done(&good()).await.is(200, "executed");
    world.clock.advance(Duration::from_mins(7));
    world.done(&good()).await.is(200, "replayed");
    world.clock.advance(Duration::from_mins(7));
    world.done(&good()).await.is(200, "repeated");
    assert_eq!(world.row("A15"), 1);
}

pub(super) async fn a16_the_same_again_after_a_delivered_success_happens_again() {
    let world = world(CONTENT_LOST).await;
    let first = world.done(&good()).await;
    let second = world.done(&good()).await;
    second.is(200, "repeated");
    assert_ne!(first.id(), second.id());
    assert_eq!((paid(&world), world.row("A16")), (2, 1));
    assert_eq!(world.count("payonce_repeats_total{rule=\"money\"}"), 1);
}

pub(super) async fn a16_an_own_key_has_no_next_occurrence() {
    let world = world("").await;
    let own = good().key("mine");
    let first = world.done(&own).await;
    // Its content is known under this key, so A3 stands first; a decline's word is Stripe's.
    let again = world.done(&own).await;
    again.is(200, "replayed");
    same(&again, &first);
    let card = declined().key("card");
    world.done(&card).await.is(402, "executed");
    world.done(&card).await.is(402, "replayed");
    assert_eq!(world.keys(), ["mine", "mine", "card", "card"]);
    assert_eq!(world.row("A3"), 2);
}
