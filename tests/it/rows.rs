//! Every row of both tables of DESIGN §4, driven over sockets and looked at from outside: on the
//! wire, in what the provider saw and executed, and in payonce's own count of rows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use payonce::decide::operation::table;
use payonce::decide::outcome;
use payonce::sandbox::{Fault, Kind, Outcome, Rules, Strike};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::harness::{Post, Reply, Setup, World};

const HOUR: Duration = Duration::from_hours(1);

const CONTENT_LOST: &str = r#"
[[rule]]
name = "money"
match = ["POST /v1/charges", "POST /v1/payouts"]
class = "critical"
identity = "content"
distinguishes = ["source", "description"]
"#;

const CONTENT_TWINS: &str = r#"
[[rule]]
name = "money"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source"]
merge = "twins"
repeat_window = "10m"
"#;

const NEXT_AFTER_500: &str = r#"
[[rule]]
name = "money"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source"]
indeterminate = "next"
"#;

const BY_ORDER: &str = r#"
[[rule]]
name = "money"
match = ["POST /v1/charges"]
class = "critical"
identity = ["metadata[order_id]"]
otherwise = "refuse"
"#;

const GOOD: &str = "amount=500&currency=usd&source=tok_visa";
const DECLINED: &str = "amount=500&currency=usd&source=tok_chargeDeclined";

async fn world(policy: &str) -> World {
    Setup::policy(policy).start().await
}

/// One attempt an exchange, so that one fault is enough to leave it in doubt.
async fn hasty(policy: &str) -> World {
    Setup::policy(policy).set("RETRY__MAX_ATTEMPTS", 1).start().await
}

fn good() -> Post {
    Post::charge(GOOD)
}

fn declined() -> Post {
    Post::charge(DECLINED)
}

fn named(operation: &str) -> Post {
    good().with("Payonce-Operation", operation)
}

fn lost_after_effect() -> Fault {
    Fault::new(Kind::ResetAfterEffect { clean: false })
}

fn replayed(is: bool) -> Fault {
    Fault { replayed: Some(is), ..Fault::new(Kind::Mark) }
}

/// How many of the effects moved money.
fn paid(world: &World) -> usize {
    world.effects().iter().filter(|effect| effect.outcome == Outcome::Succeeded).count()
}

#[track_caller]
fn same(one: &Reply, other: &Reply) {
    assert_eq!(one.id(), other.id());
    assert!(!one.id().is_empty());
}

// --- What was found ------------------------------------------------------------------------------

async fn a1_what_nobody_asked_for_before_is_sent() {
    let world = world(CONTENT_LOST).await;
    world.done(&good()).await.is(200, "executed");
    assert_eq!((paid(&world), world.keys().len()), (1, 1));
    assert_eq!(world.row("A1"), 1);
}

async fn a2_an_earlier_calls_retry_gets_the_earlier_answer() {
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

async fn a2_an_earlier_calls_retry_beyond_retention_is_superseded() {
    let world = world(CONTENT_LOST).await;
    world.done(&good().sdk(1)).await;
    world.done(&good().sdk(2)).await;
    world.clock.advance(23 * HOUR);
    world.done(&good().sdk(1)).await.refused(409, "payonce_superseded");
    assert_eq!((world.keys().len(), world.row("A2")), (2, 1));
}

async fn a2_an_earlier_calls_retry_is_served_while_the_next_is_in_flight() {
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

async fn a3_the_same_call_again_is_replayed_though_its_answer_was_delivered() {
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

async fn a3_the_same_call_after_a_saved_500_is_not_the_next_occurrence() {
    let world = world(NEXT_AFTER_500).await;
    world.faults([Fault::new(Kind::Saved500 { effect: Strike::After })]);
    world.done(&good().sdk(1)).await.is(500, "-");
    world.done(&good().sdk(1)).await.is(500, "-");
    assert_eq!(world.keys().iter().collect::<BTreeSet<_>>().len(), 1);
    assert_eq!((paid(&world), world.row("A3"), world.row("A10")), (1, 1, 0));
}

async fn a4_what_is_in_doubt_for_too_long_waits_for_a_person() {
    let world = hasty(CONTENT_LOST).await;
    let own = good().key("order-42");
    world.faults([lost_after_effect().times(2)]);
    for ask in [&named("order-7"), &own] {
        world.done(ask).await.refused(504, "payonce_outcome_unknown");
    }
    world.clock.advance(23 * HOUR);
    for ask in [&named("order-7"), &own] {
        world.done(ask).await.refused(409, "payonce_window_elapsed");
    }
    assert_eq!((world.keys().len(), world.row("A4")), (2, 2));
}

async fn a5_what_was_done_long_ago_is_named_and_not_sent() {
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

async fn a6_content_begins_anew_beyond_retention_whatever_became_of_it() {
    let world = hasty(CONTENT_LOST).await;
    let other = Post::charge("amount=700&currency=usd&source=tok_visa");
    world.done(&good()).await.is(200, "executed");
    world.faults([lost_after_effect()]);
    world.done(&other).await.refused(504, "payonce_outcome_unknown");
    world.clock.advance(23 * HOUR);
    world.done(&good()).await.is(200, "executed");
    world.done(&other).await.is(200, "executed");
    let keys = world.keys();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 4, "{keys:?}");
    assert_eq!((world.row("A6"), world.count("payonce_abandoned_total")), (2, 1));
}

async fn a6_a_named_decline_may_be_asked_for_again_beyond_retention() {
    let world = world(CONTENT_LOST).await;
    let card = declined().with("Payonce-Operation", "order-7");
    world.done(&card).await.is(402, "executed");
    world.clock.advance(23 * HOUR);
    world.done(&card).await.is(402, "executed");
    let keys = world.keys();
    assert_ne!(keys[0], keys[1]);
    assert_eq!(world.row("A6"), 1);
}

async fn a7_another_card_after_a_decline_gets_another_key() {
    let world = world(BY_ORDER).await;
    let order = |body: &str| Post::charge(&format!("{body}&metadata[order_id]=o7"));
    world.done(&order(DECLINED)).await.is(402, "executed");
    world.done(&order(GOOD)).await.is(200, "executed");
    let keys = world.keys();
    assert_ne!(keys[0], keys[1]);
    assert_eq!((paid(&world), world.row("A7")), (1, 1));
}

async fn a8_other_content_is_a_conflict_that_names_fields_and_no_values() {
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

async fn a8_an_own_key_conflicts_though_it_was_declined() {
    let world = world(CONTENT_LOST).await;
    world.done(&declined().key("mine")).await.is(402, "executed");
    world.done(&good().key("mine")).await.refused(400, "payonce_conflict");
    assert_eq!((world.keys().len(), world.row("A8")), (1, 1));
}

/// Two at once, the second while the first is with the provider.
async fn two_at_once(world: &World, first: &Post, second: &Post) -> (Reply, Reply) {
    let before = world.seen().len();
    world.faults([Fault::new(Kind::Delay { millis: 8_000, effect: Strike::Before })]);
    tokio::join!(world.ask(first), async {
        world.until_seen(before + 1).await;
        world.ask(second).await
    })
}

async fn a9_twins_and_named_operations_share_the_answer() {
    let world = world(CONTENT_TWINS).await;
    let pairs = [
        (good(), good()),
        (good().sdk(1), good().sdk(2)),
        (named("order-7"), named("order-7")),
        (good().key("mine"), good().key("mine")),
    ];
    for (n, (first, second)) in pairs.into_iter().enumerate() {
        world.clock.advance(HOUR);
        let (one, other) = two_at_once(&world, &first, &second).await;
        world.settled().await;
        assert_eq!(one.status, 200, "pair {n}");
        other.is(200, "joined");
        same(&one, &other);
        assert_eq!(world.keys().len(), n + 1);
    }
    assert_eq!(world.row("A9"), 4);
}

async fn a9_without_twins_the_second_waits_and_is_judged_by_what_became_of_the_first() {
    let world = world(CONTENT_LOST).await;
    let (one, other) = two_at_once(&world, &good(), &good()).await;
    one.is(200, "executed");
    other.is(200, "repeated");
    assert_ne!(one.id(), other.id());
    assert_eq!(paid(&world), 2);
    assert!(world.row("A9") >= 1 && world.row("A16") == 1);
}

async fn a9_a_uuid4_of_an_sdk_is_never_a_twin() {
    let world = world(CONTENT_TWINS).await;
    let ruby = |n: u32| {
        good()
            .instead("User-Agent", "Stripe/v1 RubyBindings/19.5.0")
            .key(&format!("10000000-0000-4000-8000-{n:012}"))
    };
    let (one, other) = two_at_once(&world, &ruby(1), &ruby(2)).await;
    one.is(200, "executed");
    other.is(200, "repeated");
    assert_eq!(paid(&world), 2);
    assert!(world.row("A9") >= 1);
}

async fn a9_the_wait_ends_at_the_deadline() {
    let setup = Setup { speed: 4, ..Setup::policy(CONTENT_LOST) };
    let seconds = |setup: Setup, name| setup.set(name, "12s");
    let setup = seconds(setup, "RETRY__ATTEMPT_TIMEOUT");
    let setup = seconds(setup, "UPSTREAM__CONNECT_TIMEOUT");
    let world = seconds(seconds(setup, "STORE__TIMEOUT"), "RETRY__DEADLINE").start().await;
    // The first has its answer before the deadline, and is silent until after the second's.
    world.faults([Fault::new(Kind::Delay { millis: 11_000, effect: Strike::Before })]);
    let mut first = world.client().await;
    first.send(&good()).await;
    world.until_seen(1).await;
    let mut second = world.client().await;
    second.send(&good()).await;
    first.reply().await.is(200, "executed");
    second.reply().await.refused(409, "payonce_in_flight");
    assert_eq!((world.seen().len(), world.row("A9")), (1, 1));
}

async fn a10_a_new_call_after_a_saved_500_is_the_next_where_the_policy_says_so() {
    let world = world(NEXT_AFTER_500).await;
    world.faults([Fault::new(Kind::Saved500 { effect: Strike::Before })]);
    world.done(&good().sdk(1)).await.is(500, "-");
    world.done(&good().sdk(2)).await.is(200, "executed");
    let keys = world.keys();
    assert_ne!(keys.first(), keys.last());
    assert_eq!((paid(&world), world.row("A10")), (1, 1));
}

async fn a11_what_is_in_doubt_is_taken_over_with_the_same_key() {
    let world = hasty(CONTENT_LOST).await;
    world.faults([lost_after_effect()]);
    world.done(&good().sdk(1)).await.refused(504, "payonce_outcome_unknown");
    world.done(&good().sdk(2)).await.is(200, "replayed");
    let keys = world.keys();
    assert_eq!(keys[0], keys[1]);
    assert_eq!((paid(&world), world.row("A11")), (1, 1));
}

async fn a11_a_saved_500_is_held_unless_the_policy_says_next() {
    let world = world(CONTENT_LOST).await;
    world.faults([Fault::new(Kind::Saved500 { effect: Strike::After })]);
    world.done(&good().sdk(1)).await.is(500, "-");
    world.done(&good().sdk(2)).await.is(500, "-");
    assert_eq!(world.keys().iter().collect::<BTreeSet<_>>().len(), 1);
    assert_eq!((paid(&world), world.row("A11")), (1, 1));
}

async fn a12_an_unspent_decline_is_asked_for_again_with_the_same_key() {
    let world = world(CONTENT_LOST).await;
    let incomplete = Post::charge("amount=500&source=tok_visa");
    world.done(&incomplete).await.is(400, "executed");
    world.done(&incomplete).await.is(400, "executed");
    let keys = world.keys();
    assert_eq!(keys[0], keys[1]);
    assert_eq!(world.row("A12"), 1);
}

async fn a12_a_replayed_decline_makes_way_for_the_next_occurrence() {
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

async fn a13_a_delivered_decline_makes_way_and_a_lost_one_is_replayed() {
    let world = world(CONTENT_LOST).await;
    world.lose(&declined()).await;
    world.done(&declined()).await.is(402, "replayed");
    world.done(&declined()).await.is(402, "executed");
    let keys = world.keys();
    assert!(keys[0] == keys[1] && keys[1] != keys[2], "{keys:?}");
    assert_eq!((world.effects().len(), world.row("A13")), (2, 2));
}

async fn a14_a_lost_success_is_replayed_once() {
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

async fn a15_named_operations_and_fresh_twins_are_replayed() {
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

async fn a15_the_window_counts_from_the_first_delivery() {
    let world = world(CONTENT_TWINS).await;
    world.done(&good()).await.is(200, "executed");
    world.clock.advance(Duration::from_mins(7));
    world.done(&good()).await.is(200, "replayed");
    world.clock.advance(Duration::from_mins(7));
    world.done(&good()).await.is(200, "repeated");
    assert_eq!(world.row("A15"), 1);
}

async fn a16_the_same_again_after_a_delivered_success_happens_again() {
    let world = world(CONTENT_LOST).await;
    let first = world.done(&good()).await;
    let second = world.done(&good()).await;
    second.is(200, "repeated");
    assert_ne!(first.id(), second.id());
    assert_eq!((paid(&world), world.row("A16")), (2, 1));
    assert_eq!(world.count("payonce_repeats_total{rule=\"money\"}"), 1);
}

async fn a16_an_own_key_has_no_next_occurrence() {
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

// --- What an answer means ------------------------------------------------------------------------

async fn o1_what_never_left_is_tried_again_and_leaves_no_trace() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = Setup::policy(CONTENT_LOST).upstream(closed).start().await;
    let refused = world.done(&good()).await;
    refused.refused(502, "payonce_upstream_unreachable");
    assert!(refused.message().contains("Nothing was sent"), "{}", refused.message());
    assert_eq!(refused.header("payonce-attempts"), Some("4"));
    world.done(&good()).await.refused(502, "payonce_upstream_unreachable");
    assert_eq!((world.row("O1"), world.row("A1"), world.row("A11")), (8, 2, 0));
}

async fn o2_what_may_have_happened_is_asked_for_again_with_the_same_key() {
    let status = |code, effect| Fault::new(Kind::Status { code, effect });
    let faults = [
        lost_after_effect(),
        Fault::new(Kind::ResetBeforeEffect { clean: true }),
        Fault::new(Kind::CutAfterBytes { bytes: 10, in_body: true, reset: false }),
        Fault::new(Kind::InUse),
        Fault::new(Kind::LockTimeout),
        status(408, Strike::Before),
        status(424, Strike::Before),
        status(502, Strike::After),
        status(503, Strike::Before),
        status(504, Strike::After),
        status(599, Strike::After),
        Fault::new(Kind::Redirect { location: "https://elsewhere.test/".to_owned() }),
    ];
    let world = world(CONTENT_LOST).await;
    for (n, fault) in faults.into_iter().enumerate() {
        let kind = format!("{:?}", fault.kind);
        world.faults([fault]);
        let before = world.keys().len();
        let charge = Post::charge(&format!("{GOOD}&metadata[n]={n}"));
        let reply = world.done(&charge).await;
        assert_eq!((reply.status, reply.header("payonce-attempts")), (200, Some("2")), "{kind}");
        let keys = &world.keys()[before..];
        assert_eq!((keys.len(), &keys[0]), (2, &keys[1]), "{kind}");
        assert_eq!(paid(&world), n + 1, "{kind}");
        world.clock.advance(Duration::from_mins(1));
    }
    assert_eq!(world.row("O2"), 12);
}

async fn o3_a_rate_limit_is_waited_for_and_passed_on_at_the_end() {
    let world = world(CONTENT_LOST).await;
    let limited = || Fault::new(Kind::RateLimited { reason: None });
    world.faults([limited()]);
    let began = world.clock.now();
    world.done(&good()).await.is(200, "executed");
    let took = world.clock.now().since(began);
    assert!(took >= Duration::from_millis(2_400), "a rate limit is waited for slowly: {took:?}");
    world.faults([limited().times(9)]);
    let other = Post::charge("amount=700&currency=usd&source=tok_visa");
    let passed = world.done(&other).await;
    passed.is(429, "-");
    assert_eq!(passed.header("stripe-should-retry"), Some("false"));
    world.faults([]);
    world.done(&other).await.is(200, "executed");
    assert_eq!((world.row("O3"), world.row("A1"), world.row("A11")), (5, 3, 0));
}

async fn o4_a_500_gets_one_more_try_unless_stripe_says_no() {
    let world = world(CONTENT_LOST).await;
    let failed = || Fault::new(Kind::Unsaved500 { effect: Strike::Before });
    world.faults([failed()]);
    world.done(&good()).await.is(200, "executed");
    world.faults([failed().times(9)]);
    let other = Post::charge("amount=700&currency=usd&source=tok_visa");
    let gave_up = world.done(&other).await;
    gave_up.is(500, "-");
    assert_eq!(gave_up.header("stripe-should-retry"), Some("false"));
    assert_eq!(gave_up.header("payonce-attempts"), Some("2"));
    world.faults([failed().should_retry(false)]);
    let told_not_to = world.done(&other).await;
    assert_eq!((told_not_to.status, told_not_to.header("payonce-attempts")), (500, Some("1")));
    assert_eq!((world.row("O4"), world.row("A11")), (4, 1));
}

async fn o5_a_whole_2xx_settles_it() {
    let world = world(CONTENT_LOST).await;
    let reply = world.done(&good()).await;
    reply.is(200, "executed");
    assert_eq!(reply.id(), world.effects()[0].object);
    assert_eq!(world.row("O5"), 1);
}

async fn o6_a_401_is_passed_on_and_nothing_is_remembered() {
    let world = world(CONTENT_LOST).await;
    let stranger = good().instead("Authorization", "Bearer nonsense");
    for _ in 0..2 {
        let passed = world.done(&stranger).await;
        passed.is(401, "-");
        assert_eq!(passed.header("payonce-attempts"), Some("1"));
    }
    world.faults([Fault::new(Kind::Status { code: 403, effect: Strike::Before })]);
    world.done(&good()).await.is(403, "-");
    world.done(&good()).await.is(200, "executed");
    assert_eq!((world.row("O6"), world.row("A1")), (3, 4));
}

async fn o7_a_conflict_at_stripe_is_passed_on_unchanged_and_alarms() {
    let world = world("").await;
    world.done(&Post::new("/v1/customers", "name=a").key("mine")).await.is(200, "executed");
    for _ in 0..2 {
        let conflict = world.done(&good().key("mine")).await;
        conflict.is(400, "-");
        assert_eq!(conflict.json()["error"]["type"], "idempotency_error");
    }
    assert_eq!(world.count("payonce_alarms_total{kind=\"conflict_at_stripe\"}"), 2);
    assert_eq!((world.row("O7"), world.row("A1"), world.keys().len()), (2, 3, 3));
}

async fn o8_any_other_4xx_is_a_decline() {
    let world = world(CONTENT_LOST).await;
    world.done(&declined()).await.is(402, "executed");
    world.done(&Post::charge("source=tok_visa")).await.is(400, "executed");
    world.done(&Post::charge("source=tok_nobody&amount=1&currency=usd")).await;
    assert_eq!(world.row("O8"), 3);
}

// --- A store that forgot -------------------------------------------------------------------------

async fn a_forgotten_decline_does_not_lock_out() {
    let mut world = world(CONTENT_LOST).await;
    world.done(&declined()).await.is(402, "executed");
    world.restart().await;
    world.done(&declined()).await.is(402, "executed");
    let keys = world.keys();
    assert!(keys[0] == keys[1] && keys[2] != keys[1], "{keys:?}");
    assert_eq!((keys.len(), world.effects().len(), world.row("A1")), (3, 2, 1));
}

async fn a_forgotten_success_is_handed_on_and_marked() {
    let mut world = world(CONTENT_LOST).await;
    let first = world.done(&good()).await;
    world.restart().await;
    let again = world.done(&good()).await;
    again.is(200, "forgotten");
    same(&again, &first);
    assert_eq!((paid(&world), world.row("A1")), (1, 1));
    assert_eq!(world.count("payonce_forgotten_total{rule=\"money\"}"), 1);
}

async fn a_fresh_success_where_a_saved_one_was_asked_for_alarms() {
    let world = world(CONTENT_LOST).await;
    world.lose(&good()).await;
    world.faults([replayed(false)]);
    world.done(&good()).await.is(200, "replayed");
    assert_eq!(world.count("payonce_alarms_total{kind=\"fresh_on_replay\"}"), 1);
    assert_eq!(world.row("A14"), 1);
}

async fn at_most_eight_occurrences_are_passed_over() {
    let world = world(CONTENT_LOST).await;
    world.faults([replayed(true).times(50)]);
    world.done(&declined()).await;
    let keys = world.keys();
    assert_eq!((keys.len(), keys.iter().collect::<BTreeSet<_>>().len()), (9, 9));
    assert_eq!(world.row("A1"), 1);
}

type Scenario = (&'static str, &'static str, fn() -> Pin<Box<dyn Future<Output = ()> + Send>>);

macro_rules! scenarios {
    ($($row:literal $scenario:ident)*) => {
        [$(($row, stringify!($scenario), || Box::pin($scenario()))),*]
    };
}

/// Each asserts that the row decided, as payonce counts it.
const SCENARIOS: [Scenario; 40] = scenarios![
    "A1" a1_what_nobody_asked_for_before_is_sent
    "A2" a2_an_earlier_calls_retry_gets_the_earlier_answer
    "A2" a2_an_earlier_calls_retry_beyond_retention_is_superseded
    "A2" a2_an_earlier_calls_retry_is_served_while_the_next_is_in_flight
    "A3" a3_the_same_call_again_is_replayed_though_its_answer_was_delivered
    "A3" a3_the_same_call_after_a_saved_500_is_not_the_next_occurrence
    "A4" a4_what_is_in_doubt_for_too_long_waits_for_a_person
    "A5" a5_what_was_done_long_ago_is_named_and_not_sent
    "A6" a6_content_begins_anew_beyond_retention_whatever_became_of_it
    "A6" a6_a_named_decline_may_be_asked_for_again_beyond_retention
    "A7" a7_another_card_after_a_decline_gets_another_key
    "A8" a8_other_content_is_a_conflict_that_names_fields_and_no_values
    "A8" a8_an_own_key_conflicts_though_it_was_declined
    "A9" a9_twins_and_named_operations_share_the_answer
    "A9" a9_without_twins_the_second_waits_and_is_judged_by_what_became_of_the_first
    "A9" a9_a_uuid4_of_an_sdk_is_never_a_twin
    "A9" a9_the_wait_ends_at_the_deadline
    "A10" a10_a_new_call_after_a_saved_500_is_the_next_where_the_policy_says_so
    "A11" a11_what_is_in_doubt_is_taken_over_with_the_same_key
    "A11" a11_a_saved_500_is_held_unless_the_policy_says_next
    "A12" a12_an_unspent_decline_is_asked_for_again_with_the_same_key
    "A12" a12_a_replayed_decline_makes_way_for_the_next_occurrence
    "A13" a13_a_delivered_decline_makes_way_and_a_lost_one_is_replayed
    "A14" a14_a_lost_success_is_replayed_once
    "A15" a15_named_operations_and_fresh_twins_are_replayed
    "A15" a15_the_window_counts_from_the_first_delivery
    "A16" a16_the_same_again_after_a_delivered_success_happens_again
    "A3" a16_an_own_key_has_no_next_occurrence
    "O1" o1_what_never_left_is_tried_again_and_leaves_no_trace
    "O2" o2_what_may_have_happened_is_asked_for_again_with_the_same_key
    "O3" o3_a_rate_limit_is_waited_for_and_passed_on_at_the_end
    "O4" o4_a_500_gets_one_more_try_unless_stripe_says_no
    "O5" o5_a_whole_2xx_settles_it
    "O6" o6_a_401_is_passed_on_and_nothing_is_remembered
    "O7" o7_a_conflict_at_stripe_is_passed_on_unchanged_and_alarms
    "O8" o8_any_other_4xx_is_a_decline
    "A1" a_forgotten_decline_does_not_lock_out
    "A1" a_forgotten_success_is_handed_on_and_marked
    "A14" a_fresh_success_where_a_saved_one_was_asked_for_alarms
    "A1" at_most_eight_occurrences_are_passed_over
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_of_both_tables_holds_over_sockets() {
    let room = Arc::new(Semaphore::new(6));
    let mut running = JoinSet::new();
    for (row, name, scenario) in SCENARIOS {
        let room = Arc::clone(&room);
        running.spawn(async move {
            let _place = room.acquire_owned().await.unwrap();
            let held = tokio::task::spawn(scenario()).await.is_ok();
            (row, name, held)
        });
    }
    let (mut covered, mut broken) = (BTreeSet::new(), Vec::new());
    while let Some(ended) = running.join_next().await {
        let (row, name, held) = ended.unwrap();
        if held {
            covered.insert(row);
        } else {
            broken.push(name);
        }
    }
    let rows = table::Row::ALL.map(table::Row::as_str).into_iter();
    let all: BTreeSet<_> = rows.chain(outcome::Row::ALL.map(outcome::Row::as_str)).collect();
    let missing: Vec<_> = all.difference(&covered).collect();
    let line = format!("rows covered over sockets / all rows: {}/{}", covered.len(), all.len());
    println!("{line}");
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("rows-covered.txt"), format!("{line}\n")).unwrap();
    assert!(broken.is_empty(), "these do not hold: {broken:#?}");
    assert!(missing.is_empty(), "not driven over sockets: {missing:?}");
}
