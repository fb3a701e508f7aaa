//! Finishing: what ended in doubt is asked for again with nobody waiting, by the process that has its
//! body, and only while it stands as it was left.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how a test fails, helpers included"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use payonce::clock::Clock;
use payonce::decide::operation::change::{Resolution, resolved};
use payonce::decide::operation::codec::{decode, encode};
use payonce::decide::operation::record::Resolved;
use payonce::ledger::memory::Memory;
use payonce::ledger::{Entry, Ledger};
use payonce::sandbox::{Fault, Kind, Strike};

use crate::guards::logged;
use crate::harness::{Post, Setup, Shared, World, until};

const CONTENT: &str = r#"
[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source"]
finish = "30m"
"#;

fn charge(n: u32) -> Post {
    Post::charge("amount=500&currency=usd&source=tok_visa").sdk(n)
}

fn lost() -> Fault {
    Fault::new(Kind::ResetAfterEffect { clean: false })
}

fn unavailable() -> Fault {
    Fault::new(Kind::Status { code: 503, effect: Strike::Before })
}

fn hasty(policy: &str) -> Setup {
    Setup::policy(policy).set("RETRY__MAX_ATTEMPTS", 1)
}

/// A payonce with one charge in doubt, which the provider has executed.
async fn in_doubt(policy: &str) -> World {
    let world = hasty(policy).start().await;
    world.faults([lost()]);
    world.done(&charge(1)).await.refused(504, "payonce_outcome_unknown");
    world
}

fn held<L: Ledger>(world: &World<L>) -> usize {
    world.payonce().exchange.finishing.len()
}

fn attempts<L>(world: &World<L>, result: &str) -> u64 {
    world
        .count(&format!("payonce_finishing_attempts_total{{rule=\"charges\",result=\"{result}\"}}"))
}

fn dropped<L>(world: &World<L>, reason: &str) -> u64 {
    world.count(&format!("payonce_finishing_dropped_total{{reason=\"{reason}\"}}"))
}

fn keys_and_effects<L>(world: &World<L>) -> (usize, usize) {
    (world.keys().iter().collect::<BTreeSet<_>>().len(), world.effects().len())
}

/// Lets time pass until something holds.
async fn time_passes_until<L: Ledger>(
    world: &World<L>,
    what: &str,
    mut holds: impl FnMut() -> bool,
) {
    until(what, || {
        world.a_second_passes();
        holds()
    })
    .await;
    world.settled().await;
}

/// Lets time pass until the provider was asked so often.
async fn until_asked<L: Ledger>(world: &World<L>, times: usize) {
    time_passes_until(world, "it is asked again", || world.seen().len() >= times).await;
}

#[tokio::test]
async fn what_ended_in_doubt_is_asked_again_and_the_next_ask_gets_the_answer() {
    let world = in_doubt(CONTENT).await;
    let began = world.clock.now();
    assert_eq!((held(&world), world.count("payonce_finishing_held")), (1, 1));
    until_asked(&world, 2).await;
    let after = world.clock.now().since(began).as_secs();
    assert!((45..70).contains(&after), "after {after} s");
    world.until_let_go().await;
    assert_eq!((attempts(&world, "succeeded"), keys_and_effects(&world)), (1, (1, 1)));
    assert_eq!(world.count("payonce_finishing_bytes"), 0);
    // Nobody got the answer, so the redelivered job does, and what is meant then is another.
    world.done(&charge(2)).await.is(200, "replayed");
    assert_eq!((world.row("A14"), keys_and_effects(&world)), (1, (1, 1)));
    world.done(&charge(3)).await.is(200, "repeated");
    assert_eq!(keys_and_effects(&world), (2, 2));
}

#[tokio::test]
async fn it_is_asked_with_the_same_fields_and_the_same_body() {
    let world = in_doubt(CONTENT).await;
    until_asked(&world, 2).await;
    let seen = world.seen();
    let names = |n: usize| {
        let names = seen[n].headers.iter().map(|name| name.to_lowercase());
        names.collect::<BTreeSet<_>>()
    };
    assert_eq!(names(0), names(1));
    // The provider compares the content with that of the first, and it is the same shop's.
    world.done(&charge(2)).await.is(200, "replayed");
    assert_eq!(world.count("payonce_alarms_total{kind=\"conflict_at_stripe\"}"), 0);
}

#[tokio::test]
async fn what_never_came_to_the_provider_is_executed_then() {
    let world = hasty(CONTENT).start().await;
    world.faults([unavailable()]);
    world.done(&charge(1)).await;
    assert_eq!(world.effects().len(), 0);
    world.until_let_go().await;
    assert_eq!((attempts(&world, "succeeded"), keys_and_effects(&world)), (1, (1, 1)));
    world.done(&charge(2)).await.is(200, "replayed");
}

#[tokio::test]
async fn it_is_asked_three_times_once_each_and_then_left_to_whoever_asks() {
    // One attempt at a step, though an asker would have four.
    let world = Setup::policy(CONTENT).start().await;
    world.faults([unavailable().times(99)]);
    world.done(&charge(1)).await;
    let asked = world.seen().len();
    let began = world.clock.now();
    for (n, at_least, at_most) in [(1, 45, 70), (2, 235, 320), (3, 1_430, 1_820)] {
        until_asked(&world, asked + n).await;
        let after = world.clock.now().since(began).as_secs();
        assert!((at_least..at_most).contains(&after), "step {n} after {after} s");
    }
    world.until_let_go().await;
    world.clock.advance(Duration::from_hours(1));
    assert_eq!((world.seen().len() - asked, attempts(&world, "unknown")), (3, 3));
    assert_eq!(world.count("payonce_in_doubt_total{rule=\"charges\"}"), 1);
    world.faults([]);
    world.done(&charge(2)).await.is(200, "executed");
    assert_eq!((world.row("A11"), keys_and_effects(&world)), (4, (1, 1)));
}

#[tokio::test]
async fn a_decline_that_was_found_is_told_once_and_the_card_may_be_tried_again() {
    let world = hasty(CONTENT).start().await;
    let card = |n| Post::charge("amount=500&currency=usd&source=tok_chargeDeclined").sdk(n);
    world.faults([lost()]);
    world.done(&card(1)).await.refused(504, "payonce_outcome_unknown");
    world.until_let_go().await;
    assert_eq!((attempts(&world, "declined"), keys_and_effects(&world)), (1, (1, 1)));
    world.done(&card(2)).await.is(402, "replayed");
    world.done(&card(3)).await.is(402, "executed");
    assert_eq!(keys_and_effects(&world), (2, 2));
}

#[tokio::test]
async fn a_saved_500_is_not_asked_for_again() {
    let world = hasty(CONTENT).start().await;
    world.faults([Fault::new(Kind::Saved500 { effect: Strike::Before })]);
    world.done(&charge(1)).await;
    world.until_let_go().await;
    let asked = world.seen().len();
    // Whether it is saved is seen when it is replayed.
    assert!(asked <= 2, "{asked}");
    world.clock.advance(Duration::from_mins(29));
    assert_eq!((held(&world), world.seen().len()), (0, asked));
}

/// An asker who has read the error goes on; who was only told that the outcome is unknown does not.
#[tokio::test]
async fn a_saved_500_that_nobody_was_told_frees_no_other_key() {
    let world = hasty(&format!("{CONTENT}indeterminate = \"next\"\n")).start().await;
    world.faults([Fault::new(Kind::Saved500 { effect: Strike::After })]);
    world.done(&charge(1)).await;
    world.until_let_go().await;
    assert_eq!((world.seen().len(), keys_and_effects(&world)), (2, (1, 1)));
    world.done(&charge(2)).await;
    assert_eq!((world.seen().len(), keys_and_effects(&world)), (3, (1, 1)));
    world.done(&charge(3)).await.is(200, "executed");
    assert_eq!(keys_and_effects(&world), (2, 2));
}

#[tokio::test]
async fn an_api_key_that_is_forbidden_meanwhile_is_not_sent() {
    let world = in_doubt(CONTENT).await;
    let guarded = "[guard]\nenvironment = \"live\"\n";
    world.reload(&format!("{guarded}{CONTENT}")).await;
    world.until_let_go().await;
    assert_eq!((world.seen().len(), dropped(&world, "policy")), (1, 1));
}

#[tokio::test]
async fn whoever_asks_in_time_is_not_asked_after() {
    let world = in_doubt(CONTENT).await;
    world.done(&charge(2)).await.is(200, "replayed");
    assert_eq!((held(&world), world.seen().len()), (0, 2));
}

#[tokio::test]
async fn who_asks_in_vain_begins_the_waiting_anew() {
    let world = in_doubt(CONTENT).await;
    world.clock.advance(Duration::from_secs(40));
    world.faults([unavailable()]);
    world.done(&charge(2)).await;
    let began = world.clock.now();
    until_asked(&world, 3).await;
    assert!(world.clock.now().since(began) >= Duration::from_secs(45));
    world.until_let_go().await;
    assert_eq!((attempts(&world, "succeeded"), keys_and_effects(&world)), (1, (1, 1)));
}

#[tokio::test]
async fn what_a_person_has_resolved_is_not_asked_for() {
    for how in [Resolution::Succeeded(None), Resolution::Declined] {
        let world = in_doubt(CONTENT).await;
        let ledger = &world.payonce().exchange.ledger;
        let found = ledger.open(10).await.unwrap().remove(0);
        let told = Resolved {
            by: "somebody".to_owned(),
            why: "the dashboard says so".to_owned(),
            at: world.clock.now(),
            unanswerable: false,
        };
        let record = encode(&resolved(decode(&found.record).unwrap(), how, told)).unwrap();
        let ttl = Duration::from_hours(1);
        let entry = Entry { record, ttl, open: false, keys: Vec::new() };
        ledger.replace(found.id, found.version, entry).await.unwrap();
        world.until_let_go().await;
        assert_eq!((world.seen().len(), attempts(&world, "overtaken")), (1, 1));
    }
}

/// Two pods on one store and one provider.
async fn two() -> [World<Arc<Shared>>; 2] {
    let mut store = None;
    let one = hasty(CONTENT).start_with(|clock: Clock| {
        Arc::clone(store.insert(Arc::new(Shared(Memory::new(clock, 1_000)))))
    });
    let one = one.await;
    let beside = hasty(CONTENT).clock(&one.clock).upstream(one.sandbox.addr());
    let other = beside.start_with(|_| store.unwrap()).await;
    [one, other]
}

#[tokio::test]
async fn what_another_process_has_finished_is_not_asked_for() {
    let [one, other] = two().await;
    one.faults([lost()]);
    one.done(&charge(1)).await.refused(504, "payonce_outcome_unknown");
    other.done(&charge(2)).await.is(200, "replayed");
    one.until_let_go().await;
    assert_eq!((one.seen().len(), attempts(&one, "overtaken")), (2, 1));
    // What is meant again is another.
    one.done(&charge(3)).await.is(200, "repeated");
    assert_eq!(keys_and_effects(&one), (2, 2));
}

#[tokio::test]
async fn while_another_process_asks_nobody_else_does() {
    let [one, other] = two().await;
    one.faults([lost(), Fault::new(Kind::Delay { millis: 8_000, effect: Strike::Before })]);
    one.done(&charge(1)).await.refused(504, "payonce_outcome_unknown");
    let asking = async { other.done(&charge(2)).await.is(200, "replayed") };
    tokio::join!(asking, async {
        one.until_seen(2).await;
        one.clock.advance(Duration::from_secs(61));
        // Its lease has not ended for that: it is renewed first.
        until("it is renewed", || other.payonce().exchange.inflight.len() == 1).await;
        time_passes_until(&one, "it has looked", || attempts(&one, "overtaken") > 0).await;
    });
    one.until_let_go().await;
    assert_eq!((one.seen().len(), keys_and_effects(&one)), (2, (1, 1)));
}

#[tokio::test]
async fn two_processes_that_both_hold_it_ask_once_with_one_effect() {
    let [one, other] = two().await;
    one.faults([unavailable(), unavailable()]);
    one.done(&charge(1)).await;
    other.done(&charge(2)).await;
    assert_eq!((held(&one), held(&other)), (1, 1));
    until("both have let go", || {
        if one.payonce().exchange.inflight.is_empty() {
            other.a_second_passes();
        }
        held(&one) + held(&other) == 0
    })
    .await;
    // The first one's doubt was left otherwise by the second.
    assert_eq!((attempts(&one, "overtaken"), attempts(&other, "succeeded")), (1, 1));
    assert_eq!(keys_and_effects(&one), (1, 1));
}

#[tokio::test]
async fn nothing_is_asked_beyond_safe_retention() {
    let world = hasty(CONTENT).start().await;
    world.faults([unavailable().times(9)]);
    world.done(&charge(1)).await;
    // The rule's time is over for the first doubt; for another the key's is before its first step.
    world.clock.advance(Duration::from_hours(23) - Duration::from_secs(40));
    world.until_let_go().await;
    assert_eq!((world.seen().len(), dropped(&world, "horizon")), (1, 0));
    world.done(&charge(2)).await;
    assert_eq!((held(&world), world.seen().len(), dropped(&world, "horizon")), (0, 2, 1));
}

#[tokio::test]
async fn a_rule_that_does_not_say_finish_holds_nothing_and_neither_does_a_call() {
    let without = CONTENT.replace("finish = \"30m\"\n", "");
    let call = "[[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\n\
                class = \"critical\"\nfinish = \"30m\"\n";
    for policy in [without.as_str(), call] {
        let world = in_doubt(policy).await;
        assert_eq!(held(&world), 0, "{policy}");
    }
    // With a name it is an operation.
    let world = hasty(call).start().await;
    world.faults([lost()]);
    world.done(&charge(1).with("Payonce-Operation", "order-7")).await;
    world.until_let_go().await;
    assert_eq!((attempts(&world, "succeeded"), keys_and_effects(&world)), (1, (1, 1)));
    world.done(&charge(2).with("Payonce-Operation", "order-7")).await.is(200, "replayed");
}

#[tokio::test]
async fn an_edit_that_takes_finish_away_or_recognises_otherwise_ends_it() {
    for edited in [
        CONTENT.replace("finish = \"30m\"\n", ""),
        CONTENT.replace("\"content\"", "[\"source\"]\notherwise = \"content\""),
        format!("mode = \"observe\"\n{CONTENT}"),
        CONTENT.replace("/v1/charges", "/v1/refunds"),
    ] {
        let world = in_doubt(CONTENT).await;
        world.reload(&edited).await;
        world.until_let_go().await;
        assert_eq!((world.seen().len(), dropped(&world, "policy")), (1, 1), "{edited}");
    }
    // One that changes something else does not.
    let world = in_doubt(CONTENT).await;
    world.reload(&format!("{CONTENT}indeterminate = \"next\"\n")).await;
    world.until_let_go().await;
    assert_eq!((world.seen().len(), attempts(&world, "succeeded")), (2, 1));
}

#[tokio::test]
async fn shutdown_asks_for_nothing_more_and_says_what_it_lets_go_of() {
    let mut world = in_doubt(CONTENT).await;
    let metrics = world.payonce().metrics.clone();
    world.stop().await;
    assert_eq!(world.seen().len(), 1);
    let told = "payonce_finishing_dropped_total{reason=\"shutdown\"} 1";
    assert!(metrics.encode().lines().any(|line| line == told));
}

#[tokio::test]
async fn shutdown_waits_for_what_is_on_the_wire() {
    let mut world = hasty(CONTENT).set("STORE__KIND", "embedded").start().await;
    let slow = Fault::new(Kind::Delay { millis: 6_000, effect: Strike::Before });
    world.faults([unavailable(), slow]);
    world.done(&charge(1)).await;
    until("it is asked again", || {
        world.a_second_passes();
        world.seen().len() == 2
    })
    .await;
    world.stop().await;
    world.begin().await;
    world.done(&charge(2)).await.is(200, "replayed");
    assert_eq!(keys_and_effects(&world), (1, 1));
}

/// A charge that is in doubt, and that finishing is about to ask for again: `then` is what comes of
/// that, after a while.
async fn being_finished(then: Strike) -> World {
    let world = hasty(CONTENT).start().await;
    let slow = match then {
        Strike::Before => Fault::new(Kind::Delay { millis: 6_000, effect: Strike::Before }),
        Strike::After => Fault::new(Kind::Stall { millis: None, effect: Strike::Before }),
    };
    world.faults([unavailable(), slow]);
    world.done(&named(1)).await;
    until("it is asked again", || {
        world.a_second_passes();
        world.seen().len() == 2
    })
    .await;
    world
}

fn named(n: u32) -> Post {
    charge(n).with("Payonce-Operation", "order-7")
}

/// What stands in the one line of a request that came to `state`.
fn told_of(log: &str, target: &str, state: &str) -> Vec<serde_json::Value> {
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let lines = lines.filter(|line: &serde_json::Value| line["target"] == target);
    lines.filter(|line| line["state"] == state).collect()
}

fn operations<L>(world: &World<L>, outcome: &str) -> u64 {
    world.count(&format!("payonce_operations_total{{rule=\"charges\",outcome=\"{outcome}\"}}"))
}

#[tokio::test]
async fn who_asks_while_it_is_being_finished_joins() {
    let (log, _guard) = logged();
    let world = being_finished(Strike::Before).await;
    world.done(&named(2)).await.is(200, "joined");
    assert_eq!((world.seen().len(), keys_and_effects(&world)), (2, (1, 1)));
    assert_eq!(world.count("payonce_deliveries_total{delivered=\"yes\"}"), 1);
    // It is somebody's request now, and is logged and counted as any other.
    let lines = told_of(&log(), "payonce::operation", "succeeded");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["outcome"], &lines[0]["row"]), (&"joined".into(), &"A11".into()));
    assert_eq!((operations(&world, "in_doubt"), operations(&world, "succeeded")), (1, 1));
    assert_eq!(world.count("payonce_merges_total{kind=\"joined\"}"), 1);
    assert_eq!(attempts(&world, "succeeded"), 1);
    assert!(told_of(&log(), "payonce::finishing", "succeeded").is_empty());
}

#[tokio::test]
async fn who_joins_what_is_finished_in_vain_is_counted_as_told_of_the_doubt() {
    let world = being_finished(Strike::After).await;
    let refusals = "payonce_refusals_total{code=\"payonce_outcome_unknown\"}";
    let before = world.count(refusals);
    world
        .done(&named(2).instead("Idempotency-Key", ""))
        .await
        .refused(504, "payonce_outcome_unknown");
    assert_eq!((operations(&world, "in_doubt"), attempts(&world, "unknown")), (2, 1));
    assert_eq!(world.count("payonce_in_doubt_total{rule=\"charges\"}"), 2);
    assert_eq!(world.count(refusals) - before, 1);
}

#[tokio::test]
async fn what_is_finished_for_nobody_is_no_request() {
    let (log, _guard) = logged();
    let world = in_doubt(CONTENT).await;
    world.until_let_go().await;
    assert_eq!((operations(&world, "in_doubt"), operations(&world, "succeeded")), (1, 0));
    assert!(told_of(&log(), "payonce::operation", "succeeded").is_empty());
    assert_eq!(told_of(&log(), "payonce::finishing", "succeeded").len(), 1);
}

#[tokio::test]
async fn what_finds_no_room_is_counted_and_waits_for_whoever_asks() {
    for (name, value) in [("FINISHING__MAX_OPERATIONS", "1"), ("FINISHING__MAX_BYTES", "1KiB")] {
        let world = hasty(CONTENT).set(name, value).start().await;
        world.faults([lost(), lost()]);
        world.done(&charge(1)).await;
        let body = format!("amount=1&currency=usd&source=tok_visa&description={}", "x".repeat(999));
        world.done(&Post::charge(&body).sdk(2)).await.refused(504, "payonce_outcome_unknown");
        assert_eq!((held(&world), dropped(&world, "full")), (1, 1), "{name}");
    }
}

#[tokio::test]
async fn each_attempt_is_granted_by_the_retry_budget_or_put_off() {
    let setup = hasty(CONTENT).set("RETRY__BUDGET_RATIO", "0.0");
    let world = setup.set("RETRY__BUDGET_PER_SECOND", "0.0").start().await;
    world.faults([lost().times(12)]);
    for n in 1..=12 {
        let body = format!("amount=500&currency=usd&source=tok_visa&description={n}");
        world.done(&Post::charge(&body).sdk(n)).await;
    }
    world.until_let_go().await;
    // A budget is half full at first, this one is never filled, and half is for those who wait.
    assert_eq!((attempts(&world, "succeeded"), world.seen().len()), (1, 13));
    assert!(world.count("payonce_limits_reached_total{limit=\"retry.budget\"}") >= 2);
}

#[tokio::test]
async fn v2_is_finished_only_where_nobody_sends_without_a_store_that_never_forgets() {
    let account = || {
        Post::new("/v2/core/accounts", "{\"display_name\":\"a\",\"metadata\":{\"n\":\"1\"}}")
            .instead("Content-Type", "application/json")
            .sdk(1)
    };
    let rule = "[[rule]]\nname = \"charges\"\nmatch = [\"POST /v2/core/accounts\"]\n\
                class = \"critical\"\nidentity = [\"metadata[n]\"]\notherwise = \"refuse\"\n\
                finish = \"5m\"\n";
    let refuse = format!("{rule}store_down = \"refuse\"\n");
    for (policy, store, holds) in
        [(rule, "embedded", 0), (&refuse, "memory", 0), (&refuse, "embedded", 1)]
    {
        let world = hasty(policy).set("STORE__KIND", store).start().await;
        world.faults([lost()]);
        world.done(&account()).await.refused(504, "payonce_outcome_unknown");
        assert_eq!(held(&world), holds, "{store} {policy}");
    }
}

#[tokio::test]
async fn what_is_held_shows_neither_body_nor_key_when_it_is_printed() {
    let world = in_doubt(CONTENT).await;
    world.clock.advance(Duration::from_mins(2));
    let exchange = &world.payonce().exchange;
    let (_ticket, kept) = exchange.finishing.due(&world.clock).await;
    let shown = format!("{kept:?}");
    for secret in ["sk_test", "tok_visa", "stripe-node", world.keys()[0].as_str()] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
