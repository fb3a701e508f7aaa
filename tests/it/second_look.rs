//! Cases that a second reader of the heart sent back, each of which charged twice, locked somebody
//! out or told what was not so.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at what is not")]

use std::sync::Arc;
use std::time::Duration;

use payonce::clock::Clock;
use payonce::decide::operation::{change, codec, record};
use payonce::ledger::memory::Memory;
use payonce::ledger::{Entry, Ledger};
use payonce::sandbox::{Fault, Kind, Strike};

use crate::harness::{BY_CONTENT, Post, Setup, Shared, charge};

/// A call under a derived key loses its answer; the SDK asks again under another policy.
async fn asked_again_under(policy: &str) {
    let world = Setup::policy(BY_CONTENT).set("RETRY__MAX_ATTEMPTS", 1).start().await;
    world.faults([Fault::new(Kind::ResetAfterEffect { clean: false })]);
    world.done(&charge().sdk(1)).await;
    world.reload(&format!("mode = \"observe\"\n{policy}")).await;
    world.done(&charge().sdk(1)).await;
    let keys = world.keys();
    assert_eq!((world.effects().len(), &keys[0]), (1, &keys[1]));
}

fn by_class(class: &str) -> String {
    format!("[[rule]]\nname = \"x\"\nmatch = [\"POST /v1/charges\"]\nclass = \"{class}\"\n")
}

#[tokio::test]
async fn a_call_keeps_its_key_when_it_is_observed_and_let_pass() {
    asked_again_under(&by_class("pass")).await;
}

#[tokio::test]
async fn a_call_keeps_its_key_when_it_is_observed_and_would_be_refused() {
    asked_again_under(&by_class("refuse")).await;
}

#[tokio::test]
async fn a_call_keeps_its_key_when_it_is_observed_and_lacks_what_the_rule_wants() {
    let identity = "identity = [\"metadata[order_id]\"]\notherwise = \"refuse\"\n";
    asked_again_under(&format!("{}{identity}", by_class("critical"))).await;
}

#[tokio::test]
async fn a_success_that_cannot_be_fetched_again_is_not_told_as_nothing() {
    let mut world = Setup::policy(BY_CONTENT)
        .set("STORE__KIND", "embedded")
        .set("RETRY__MAX_ATTEMPTS", 1)
        .start()
        .await;
    world.lose(&charge()).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.toward(nobody).await;
    let told = world.done(&charge()).await;
    assert!(String::from_utf8_lossy(&told.body).contains("has succeeded already"));
}

#[tokio::test]
async fn an_own_key_that_was_declined_without_a_trace_is_executed_and_said_so() {
    let world = Setup::policy(BY_CONTENT).start().await;
    world.faults([Fault::new(Kind::Status { code: 404, effect: Strike::Before })]);
    world.done(&charge().key("mine")).await.is(404, "executed");
    world.done(&charge().key("mine")).await.is(200, "executed");
    assert_eq!(world.effects().len(), 1);
}

#[tokio::test]
async fn a_joiner_whose_answer_was_lost_gets_the_occurrence_that_was_advanced_to() {
    let twins = format!("{BY_CONTENT}merge = \"twins\"\nrepeat_window = \"10m\"\n");
    let mut world = Setup::policy(&twins).start().await;
    let declined = Post::charge("amount=500&currency=usd&source=tok_chargeDeclined");
    world.done(&declined.clone().sdk(1)).await;
    // The store forgets, so that the provider's decline is passed over.
    world.restart().await;
    let before = world.seen().len();
    world.faults([Fault::new(Kind::Delay { millis: 8_000, effect: Strike::Before })]);
    let second = declined.clone().sdk(2);
    let (_answer, ()) = tokio::join!(world.ask(&second), async {
        world.until_seen(before + 1).await;
        let mut client = world.client().await;
        client.send(&declined.clone().sdk(3)).await;
        client.lose_answer().await;
    });
    world.settled().await;
    assert_eq!(world.done(&declined.clone().sdk(3)).await.status, 402);
}

/// A store that a second process may be given too.
fn shared(store: &mut Option<Arc<Shared>>, clock: Clock) -> Arc<Shared> {
    Arc::clone(store.insert(Arc::new(Shared(Memory::new(clock, 1_000)))))
}

#[tokio::test]
async fn one_who_is_told_of_a_persons_word_and_does_not_hear_it_is_told_again() {
    let mut store = None;
    let world = Setup::policy(BY_CONTENT).start_with(|clock| shared(&mut store, clock)).await;
    let store = store.unwrap();
    world.faults([Fault::new(Kind::Saved500 { effect: Strike::After })]);
    world.done(&charge().sdk(1)).await;
    let held = store.open(10).await.unwrap().remove(0);
    let said = record::Resolved {
        by: "ann".to_owned(),
        why: "seen".to_owned(),
        at: world.clock.now(),
        unanswerable: false,
    };
    let open = codec::decode(&held.record).unwrap();
    let record = change::resolved(open, change::Resolution::Succeeded(None), said);
    let record = codec::encode(&record).unwrap();
    let entry = Entry { record, ttl: Duration::from_hours(22), open: false, keys: Vec::new() };
    store.replace(held.id, held.version, entry).await.unwrap();
    world.lose(&charge().sdk(2)).await;
    assert_eq!(world.done(&charge().sdk(2)).await.status, 409);
    assert_eq!(world.done(&charge().sdk(2)).await.status, 409, "and whoever has that key");
    assert_eq!(world.effects().len(), 1);
    world.done(&charge().sdk(3)).await.is(200, "repeated");
}

#[tokio::test]
async fn what_another_process_put_back_is_not_brought_back_from_memory() {
    let mut store = None;
    let one = Setup::policy(BY_CONTENT).start_with(|clock| shared(&mut store, clock)).await;
    let store = store.unwrap();
    let pod = Arc::clone(&store);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let other = Setup::policy(BY_CONTENT).upstream(nobody).start_with(|_clock| pod).await;
    let order = || charge().with("Payonce-Operation", "order-42");
    one.faults([Fault::new(Kind::RateLimited { reason: None }).times(50)]);
    let (first, waiting) = (order(), order());
    let (_limited, unreachable) = tokio::join!(one.ask(&first), async {
        one.until_seen(1).await;
        other.ask(&waiting).await
    });
    one.settled().await;
    other.settled().await;
    assert!(String::from_utf8_lossy(&unreachable.body).contains("Nothing was sent"));
    assert!(store.open(10).await.unwrap().is_empty(), "nothing was executed, so nothing is open");
}
