//! A store that is down, answers late, or holds what cannot be read: what is sent then.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use payonce::decide::operation::codec;
use payonce::ledger::{Entry, Ledger};
use payonce::sandbox::{Fault, Kind};

use crate::harness::{BY_CONTENT, Flaky, Mood, Post, Setup, World, charge, until};

async fn world(policy: &str) -> (World<Arc<Flaky>>, Arc<Flaky>) {
    let mut flaky = None;
    let world = Setup::policy(policy)
        .start_with(|clock| {
            let store = Flaky::new(clock);
            flaky = Some(Arc::clone(&store));
            store
        })
        .await;
    (world, flaky.unwrap())
}

fn refuse() -> String {
    format!("{BY_CONTENT}store_down = \"refuse\"\n")
}

/// A charge whose answer is handed over, and which is to settle while the store is in this `mood`:
/// it waits for the delivery, and settles after the client is gone.
async fn settle_while(mood: Mood, world: &World<Arc<Flaky>>, store: &Flaky) {
    let mut client = world.client().await;
    client.send(&charge()).await;
    client.reply().await.is(200, "executed");
    store.is(mood);
    drop(client);
    world.settled().await;
}

fn declined() -> Post {
    Post::charge("amount=500&currency=usd&source=tok_chargeDeclined")
}

#[tokio::test]
async fn without_a_store_the_derived_key_is_sent_and_the_answer_says_degraded() {
    let (world, store) = world(BY_CONTENT).await;
    world.lose(&charge()).await;
    // Another payonce, whose store is down from the first moment, derives the same key.
    store.is(Mood::Down);
    let degraded = world.done(&charge()).await;
    degraded.is(200, "replayed");
    assert_eq!(degraded.header("payonce-degraded"), Some("store"));
    let keys = world.keys();
    assert_eq!((keys[0] == keys[1], world.effects().len()), (true, 1));
    assert_eq!(world.count("payonce_degraded_total{reason=\"store\"}"), 1);
}

#[tokio::test]
async fn what_was_done_without_a_store_is_written_once_it_is_back() {
    let (world, store) = world(BY_CONTENT).await;
    store.is(Mood::Down);
    world.done(&charge()).await.is(200, "executed");
    store.is(Mood::Fine);
    let next = world.done(&charge()).await;
    next.is(200, "repeated");
    assert_eq!(next.header("payonce-degraded"), None);
    let keys = world.keys();
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn while_the_store_is_down_what_this_process_remembers_decides() {
    let (world, store) = world(BY_CONTENT).await;
    store.is(Mood::Down);
    world.done(&declined()).await.is(402, "executed");
    world.done(&declined()).await.is(402, "executed");
    world.lose(&charge()).await;
    world.done(&charge()).await.is(200, "replayed");
    let keys = world.keys();
    assert!(keys[0] != keys[1] && keys[2] == keys[3], "{keys:?}");
}

#[tokio::test]
async fn a_claim_that_was_written_unheard_is_ours_and_is_settled() {
    let (world, store) = world(BY_CONTENT).await;
    store.is(Mood::Unheard);
    world.faults([Fault::new(Kind::Delay {
        millis: 3_000,
        effect: payonce::sandbox::Strike::Before,
    })]);
    let mut client = world.client().await;
    client.send(&charge()).await;
    world.until_seen(1).await;
    store.is(Mood::Fine);
    client.reply().await.is(200, "executed");
    drop(client);
    world.settled().await;
    assert_eq!(world.count("payonce_ledger_errors_total{kind=\"taken_over\"}"), 0);
    let held = store.inner.open(10).await.unwrap();
    assert!(held.is_empty(), "the record is settled: {held:?}");
    world.done(&charge()).await.is(200, "repeated");
}

#[tokio::test]
async fn an_outcome_that_was_written_unheard_counts_as_written() {
    let (world, store) = world(BY_CONTENT).await;
    settle_while(Mood::UnheardOnce, &world, &store).await;
    assert_eq!(world.count("payonce_ledger_errors_total{kind=\"taken_over\"}"), 0);
    assert_eq!(world.count("payonce_ledger_errors_total{kind=\"unavailable\"}"), 1);
    world.done(&charge()).await.is(200, "repeated");
}

#[tokio::test]
async fn an_outcome_that_is_written_at_the_second_try_is_settled() {
    let (world, store) = world(BY_CONTENT).await;
    settle_while(Mood::DownOnce, &world, &store).await;
    assert_eq!(world.count("payonce_ledger_errors_total{kind=\"taken_over\"}"), 0);
    assert!(store.inner.open(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_outcome_that_cannot_be_written_is_asked_for_again_with_the_same_key() {
    let (world, store) = world(BY_CONTENT).await;
    world.faults([Fault::new(Kind::Delay {
        millis: 3_000,
        effect: payonce::sandbox::Strike::Before,
    })]);
    let mut client = world.client().await;
    client.send(&charge()).await;
    world.until_seen(1).await;
    store.is(Mood::ReadOnly);
    client.lose_answer().await;
    world.settled().await;
    assert_eq!(world.count("payonce_ledger_errors_total{kind=\"unwritten\"}"), 1);
    store.is(Mood::Fine);
    world.done(&charge()).await.is(200, "replayed");
    assert_eq!(world.effects().len(), 1);
}

#[tokio::test]
async fn an_outcome_that_could_not_be_written_is_written_when_the_store_is_back() {
    let (world, store) = world(BY_CONTENT).await;
    settle_while(Mood::Down, &world, &store).await;
    assert!(!store.inner.open(10).await.unwrap().is_empty(), "it looks as if it were in flight");
    store.is(Mood::Fine);
    let unwritten = &world.payonce().exchange.unwritten;
    until("the outcome is written", || unwritten.is_empty()).await;
    let record = codec::decode(&store.only().await.record).unwrap();
    assert!(!record.open(), "{record:?}");
}

#[tokio::test]
async fn an_outcome_that_can_never_be_written_keeps_no_other_waiting() {
    let (world, store) = world(BY_CONTENT).await;
    let mut client = world.client().await;
    client.send(&charge()).await;
    client.reply().await.is(200, "executed");
    store.sticks();
    store.is(Mood::Down);
    drop(client);
    world.settled().await;
    world.done(&Post::charge("amount=700&currency=usd&source=tok_visa")).await.is(200, "executed");
    assert_eq!(world.payonce().exchange.unwritten.len(), 2);
    store.is(Mood::Fine);
    until("the other is written", || world.payonce().exchange.unwritten.len() == 1).await;
    let record = codec::decode(&store.only().await.record).unwrap();
    assert!(!record.open(), "{record:?}");
}

#[tokio::test]
async fn an_outcome_that_is_being_written_when_payonce_ends_is_written() {
    let (world, store) = world(BY_CONTENT).await;
    settle_while(Mood::Down, &world, &store).await;
    store.is(Mood::Silent);
    until("it is under way", || store.silent.load(Ordering::Relaxed) > 0).await;
    world.payonce().shutdown.first.cancel();
    tokio::task::yield_now().await;
    store.is(Mood::Fine);
    let (held, began) = (async || store.only().await, std::time::Instant::now());
    while codec::decode(&held().await.record).unwrap().open() {
        assert!(began.elapsed().as_secs() < 10, "it is lost");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn under_refuse_a_claim_that_was_written_unheard_is_taken_back() {
    let (world, store) = world(&refuse()).await;
    store.is(Mood::UnheardOnce);
    world.done(&charge()).await.refused(503, "payonce_store_down");
    assert!(store.inner.open(10).await.unwrap().is_empty(), "it would keep another pod waiting");
    assert!(world.seen().is_empty());
    world.done(&charge()).await.is(200, "executed");
}

#[tokio::test]
async fn where_the_policy_says_refuse_nothing_is_sent_without_a_store() {
    let (world, store) = world(&refuse()).await;
    store.is(Mood::Down);
    let refused = world.done(&charge()).await;
    refused.refused(503, "payonce_store_down");
    assert_eq!((refused.header("stripe-should-retry"), world.seen().len()), (Some("true"), 0));
    store.is(Mood::Fine);
    world.done(&charge()).await.is(200, "executed");
}

#[tokio::test]
async fn nothing_is_finished_without_the_store_and_no_step_of_it_begins_anew() {
    let (world, store) = world(&format!("{BY_CONTENT}finish = \"30m\"\n")).await;
    let gone = Fault::new(Kind::ResetAfterEffect { clean: false });
    let unavailable = Kind::Status { code: 503, effect: payonce::sandbox::Strike::Before };
    world.faults([gone, Fault::new(unavailable).times(3)]);
    world.done(&charge()).await;
    let asked = world.seen().len();
    let skipped = "payonce_finishing_attempts_total{rule=\"charges\",result=\"not_sent\"}";
    // It is down; it takes the claim without a word, which is put back.
    for (n, mood) in [(1, Mood::Down), (2, Mood::UnheardOnce)] {
        store.is(mood);
        until("a step is skipped", || {
            world.a_second_passes();
            world.count(skipped) == n
        })
        .await;
        store.is(Mood::Fine);
    }
    assert_eq!(world.seen().len(), asked);
    world.until_let_go().await;
    assert_eq!((world.seen().len(), world.effects().len()), (asked + 1, 1));
    world.done(&charge()).await.is(200, "replayed");
}

/// It stepped back, or forgot: whatever finishing would send, this process did not leave it so.
#[tokio::test]
async fn what_the_store_does_not_hold_as_it_was_left_is_not_finished() {
    let (world, store) = world(&format!("{BY_CONTENT}finish = \"30m\"\n")).await;
    world.faults([Fault::new(Kind::ResetAfterEffect { clean: false }).times(4)]);
    world.done(&charge()).await;
    let asked = world.seen().len();
    let held = store.only().await;
    store.inner.remove(held.id, held.version).await.unwrap();
    world.until_let_go().await;
    assert_eq!(world.seen().len(), asked);
    world.done(&charge()).await.is(200, "replayed");
    assert_eq!(world.effects().len(), 1);
}

#[tokio::test]
async fn a_single_call_needs_no_store() {
    let (world, store) = world("").await;
    store.is(Mood::Down);
    let reply = world.done(&charge()).await;
    reply.is(200, "executed");
    assert_eq!(reply.header("payonce-degraded"), None);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_left_as_it_is_and_nothing_is_sent() {
    for record in ["not a record", "{\"format\":2}", ""] {
        let (world, store) = world(BY_CONTENT).await;
        world.done(&charge()).await.is(200, "executed");
        store.holds(record);
        let refused = world.done(&charge()).await;
        refused.refused(503, "payonce_store_unreadable");
        assert_eq!(refused.header("stripe-should-retry"), Some("false"));
        assert_eq!(world.seen().len(), 1, "{record:?}");
    }
}

#[tokio::test]
async fn a_store_that_stepped_back_does_not_lead_to_an_older_occurrence() {
    let (world, store) = world(BY_CONTENT).await;
    world.done(&charge()).await.is(200, "executed");
    let old = store.only().await;
    world.done(&charge()).await.is(200, "repeated");
    // The store forgets the second occurrence, as after an asynchronous fail-over.
    let now = store.inner.get(old.id).await.unwrap().unwrap();
    let entry =
        Entry { record: old.record, ttl: Duration::from_hours(1), open: false, keys: Vec::new() };
    store.inner.replace(now.id, now.version, entry).await.unwrap();
    world.done(&charge()).await.is(200, "repeated");
    let keys = world.keys();
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "{keys:?}");
}

#[tokio::test]
async fn a_store_that_forgot_all_is_told_again_what_this_process_remembers() {
    let (world, store) = world(BY_CONTENT).await;
    world.lose(&charge()).await;
    let held = store.only().await;
    store.inner.remove(held.id, held.version).await.unwrap();
    world.done(&charge()).await.is(200, "replayed");
    assert_eq!(world.effects().len(), 1);
    assert_eq!(world.count("payonce_alarms_total{kind=\"ledger_forgot\"}"), 1);
    world.done(&charge()).await.is(200, "repeated");
}

const BY_ORDER: &str = r#"
[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = ["metadata[order_id]"]
otherwise = "call"
"#;

fn order() -> Post {
    Post::charge("amount=500&currency=usd&source=tok_visa&metadata[order_id]=42")
}

#[tokio::test]
async fn without_a_store_what_is_remembered_from_before_an_edit_keeps_its_key() {
    let (world, store) = world(BY_CONTENT).await;
    world.lose(&order()).await;
    world.edit(BY_ORDER).await;
    store.is(Mood::Down);
    world.done(&order()).await.is(200, "replayed");
    let keys = world.keys();
    assert_eq!((keys[0] == keys[1], world.effects().len()), (true, 1));
}

#[tokio::test]
async fn a_store_that_forgot_what_stood_before_an_edit_is_told_again() {
    let (world, store) = world(BY_CONTENT).await;
    world.lose(&order()).await;
    let held = store.only().await;
    store.inner.remove(held.id, held.version).await.unwrap();
    world.edit(BY_ORDER).await;
    world.done(&order()).await.is(200, "replayed");
    assert_eq!(world.effects().len(), 1);
}

/// A request with a mistake in it was refused; what was corrected is paid for at another process while
/// the store is down, with the key that was not taken up. The record must come to know of it, or
/// the next process takes the next key.
#[tokio::test]
async fn what_was_done_without_a_store_is_written_over_a_refusal_that_stood_there() {
    let named = |amount: u32| {
        let body = format!("amount={amount}&currency=usd&source=tok_visa");
        Post::charge(&body).with("Payonce-Operation", "order-7")
    };
    let (one, store) = world(BY_CONTENT).await;
    one.done(&named(0)).await.is(400, "executed");
    store.is(Mood::Down);
    let beside = Setup::policy(BY_CONTENT).clock(&one.clock).upstream(one.sandbox.addr());
    let shared = Arc::clone(&store);
    let other: World<Arc<Flaky>> = beside.start_with(|_| shared).await;
    other.done(&named(500)).await.is(200, "executed");
    store.is(Mood::Fine);
    let unwritten = &other.payonce().exchange.unwritten;
    until("the outcome is written", || unwritten.is_empty()).await;
    one.done(&named(500)).await.is(200, "replayed");
    assert_eq!(one.effects().len(), 1);
}
