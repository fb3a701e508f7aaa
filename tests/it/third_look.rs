//! Cases that a third reader of the heart sent back: one key of a client's that bore two keys
//! upstream, and keys that were taken for younger than they are.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at what is not")]

use std::sync::Arc;
use std::time::Duration;

use payonce::clock::Clock;
use payonce::ledger::Ledger;
use payonce::ledger::memory::Memory;
use payonce::sandbox::{Fault, Kind};

use crate::harness::{Post, Setup, Shared, World};

/// Longer than calls are remembered by the process alone.
const A_WHILE: Duration = Duration::from_mins(20);

fn rule(class: &str, identity: &str) -> String {
    format!(
        "[[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\nclass = \"{class}\"\n{identity}\n"
    )
}

fn by_fields() -> String {
    rule("critical", "identity = [\"metadata[order_id]\"]\notherwise = \"call\"")
}

fn by_content() -> String {
    rule("critical", "identity = \"content\"\ndistinguishes = [\"source\"]")
}

fn charge() -> Post {
    Post::charge("amount=500&currency=usd&source=tok_visa&metadata[order_id]=42")
}

fn lost() -> Fault {
    Fault::new(Kind::ResetAfterEffect { clean: false })
}

/// A named charge with a key of the application's own is done; the job comes again much later with
/// that key, while payonce lets everything pass. Without payonce, the key would protect it.
async fn asked_again_with_its_own_key_while(policy: &str) {
    let world = Setup::policy(&by_fields()).start().await;
    world.done(&charge().key("order-42")).await.is(200, "executed");
    world.clock.advance(A_WHILE);
    world.reload(policy).await;
    let again = world.done(&charge().key("order-42")).await;
    assert_eq!((again.status, world.effects().len()), (200, 1), "{policy}");
    // Another key of the application's is another request to it.
    world.done(&charge().key("order-43")).await.is(200, "-");
    assert_eq!(world.effects().len(), 2, "{policy}");
}

#[tokio::test]
async fn an_own_key_beside_a_name_still_protects_while_payonce_observes() {
    asked_again_with_its_own_key_while(&format!("mode = \"observe\"\n{}", by_fields())).await;
}

#[tokio::test]
async fn an_own_key_beside_a_name_still_protects_where_an_edit_lets_it_pass() {
    asked_again_with_its_own_key_while(&rule("pass", "")).await;
}

/// The SDK asks again while a reload makes critical what has passed until now.
#[tokio::test]
async fn a_call_that_passed_keeps_its_key_when_an_edit_makes_it_critical() {
    for critical in [by_content(), by_fields()] {
        let world = Setup::policy(&rule("pass", "")).start().await;
        world.faults([lost()]);
        world.done(&charge().sdk(1)).await;
        world.reload(&critical).await;
        let again = world.done(&charge().sdk(1)).await;
        assert_eq!((again.status, world.effects().len()), (200, 1), "{critical}");
    }
}

/// What the store forgot, this process remembers, also where it only observes by now.
#[tokio::test]
async fn what_is_in_doubt_and_forgotten_by_the_store_keeps_its_key_while_payonce_observes() {
    let shared = |clock: Clock| Arc::new(Shared(Memory::new(clock, 1_000)));
    let setup = Setup::policy(&by_content()).set("RETRY__MAX_ATTEMPTS", 1);
    let world: World<Arc<Shared>> = setup.start_with(shared).await;
    world.faults([lost()]);
    world.done(&charge().sdk(1)).await;
    let ledger = &world.payonce().exchange.ledger;
    let held = ledger.open(10).await.unwrap().remove(0);
    ledger.remove(held.id, held.version).await.unwrap();
    world.edit(&format!("mode = \"observe\"\n{}", by_content())).await;
    let again = world.done(&charge().sdk(2)).await;
    assert_eq!((again.status, world.effects().len()), (200, 1));
}

/// The store forgot a success, and the first attempt after that is not answered; that the second
/// brings an old answer shows only in the age of what it made.
#[tokio::test]
async fn a_key_is_as_old_as_what_it_made_though_the_store_forgot_when_it_was_sent() {
    let named = || charge().with("Payonce-Operation", "order-7");
    let mut world = Setup::policy(&by_content()).start().await;
    world.done(&named()).await.is(200, "executed");
    world.restart().await;
    world.clock.advance(Duration::from_hours(4));
    world.faults([lost()]);
    world.done(&named()).await;
    assert_eq!(world.effects().len(), 1, "it is the same epoch still");
    world.clock.advance(Duration::from_hours(21));
    let again = world.done(&named()).await;
    assert_eq!(world.effects().len(), 1, "{} {}", again.status, again.message());
    again.refused(409, "payonce_already_done");
}

/// What payonce's own retry learnt is as young as before, and its answer can be fetched as long.
#[tokio::test]
async fn a_success_that_a_retry_brought_is_replayed_until_its_key_is_old() {
    let named = || charge().with("Payonce-Operation", "order-7");
    let world = Setup::policy(&by_content()).start().await;
    world.faults([lost()]);
    world.done(&named()).await.is(200, "executed");
    world.clock.advance(Duration::from_hours(22) + Duration::from_mins(50));
    world.done(&named()).await.is(200, "replayed");
    assert_eq!(world.effects().len(), 1);
}
