//! Edits that a second reader sent back: each charged twice, or let pass and then did not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at what is not")]

use std::sync::Arc;

use payonce::decide::operation::codec;
use payonce::ledger::memory::Memory;
use payonce::ledger::{Entry, Ledger};
use payonce::sandbox::{Fault, Kind, Strike};

use crate::harness::{Post, Setup, Shared, World};

const CONTENT: &str = "identity = \"content\"\ndistinguishes = [\"source\"]";
const ORDER: &str = "identity = [\"metadata[order_id]\"]\notherwise = \"call\"";

fn rule(class: &str, identity: &str) -> String {
    format!(
        "[[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\nclass = \"{class}\"\n\
         {identity}\n"
    )
}

fn critical(identity: &str) -> Setup {
    Setup::policy(&rule("critical", identity))
        .set("RETRY__MAX_ATTEMPTS", 1)
        .set("STORE__LEASE", "2s")
}

fn charge(n: u32) -> Post {
    Post::charge("amount=500&currency=usd&source=tok_visa&metadata[order_id]=42").sdk(n)
}

async fn in_doubt<L: Ledger, M>(world: &World<L>, provider: &World<M>, n: u32) {
    provider.faults([Fault::new(Kind::ResetAfterEffect { clean: false })]);
    assert!(world.done(&charge(n)).await.status >= 400);
    provider.faults([]);
}

#[tokio::test]
async fn what_was_open_before_the_latest_of_many_edits_is_found() {
    let fields = ["amount", "currency", "source", "metadata[order_id]"];
    let mut ways = fields.map(|field| format!("\"{field}\"")).to_vec();
    ways.extend(fields[1..].iter().map(|field| format!("\"amount\", \"{field}\"")));
    ways.extend(fields[2..].iter().map(|field| format!("\"currency\", \"{field}\"")));
    let ways = ways.iter().map(|names| format!("identity = [{names}]\notherwise = \"call\""));
    let world = critical(CONTENT).start().await;
    for way in ways {
        world.reload(&rule("critical", &way)).await;
    }
    in_doubt(&world, &world, 1).await;
    world.reload(&rule("critical", "identity = \"call\"")).await;
    assert_eq!(world.done(&charge(2)).await.status, 200);
    assert_eq!(world.effects().len(), 1);
}

#[tokio::test]
async fn what_was_delivered_is_no_longer_kept_to_once_where_an_edit_lets_it_pass() {
    for after in [rule("pass", ""), format!("mode = \"observe\"\n{}", rule("critical", CONTENT))] {
        let world = critical(ORDER).start().await;
        world.done(&charge(1)).await.is(200, "executed");
        world.reload(&after).await;
        let passed = world.done(&charge(2)).await;
        assert_eq!((passed.status, passed.header("payonce-outcome")), (200, None));
        assert_eq!(world.effects().len(), 2);
    }
}

#[tokio::test]
async fn a_success_whose_answer_was_lost_is_answered_when_it_is_only_observed() {
    let world = critical(CONTENT).start().await;
    world.lose(&charge(1)).await;
    world.reload(&format!("mode = \"observe\"\n{}", rule("critical", CONTENT))).await;
    world.done(&charge(2)).await;
    assert_eq!(world.effects().len(), 1);
}

#[tokio::test]
async fn a_claim_left_by_a_process_that_died_as_it_turned_draws_nothing_to_it() {
    let mut store = None;
    let mut shared = |clock| Arc::clone(store.insert(Arc::new(Shared(Memory::new(clock, 1_000)))));
    let dying = critical(ORDER).start_with(&mut shared).await;
    dying.faults([Fault::new(Kind::Stall { millis: None, effect: Strike::Before })]);
    let mut client = dying.client().await;
    client.send(&charge(9)).await;
    dying.until_seen(1).await;
    let left = dying.payonce().exchange.ledger.open(10).await.unwrap().remove(0);

    let world = critical(ORDER).start_with(&mut shared).await;
    world.edit(&rule("critical", CONTENT)).await;
    in_doubt(&world, &world, 1).await;
    let mut claim = codec::decode(&left.record).unwrap();
    (claim.first_sent, claim.last_sent) = (world.clock.now(), world.clock.now());
    let record = codec::encode(&claim).unwrap();
    let ttl = std::time::Duration::from_hours(24);
    let entry = Entry { record, ttl, open: true, keys: Vec::new() };
    world.payonce().exchange.ledger.claim(&[left.id], entry).await.unwrap();
    assert_eq!(world.done(&charge(2)).await.status, 200);
    assert_eq!(world.effects().len(), 1);
}
