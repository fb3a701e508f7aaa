//! What two pods on one store can get wrong.

use std::sync::Arc;
use std::time::Duration;

use payonce::ledger::memory::Memory;
use payonce::sandbox::{Fault, Kind, Strike};

use super::store::Way;
use super::{Verdict, charge, executed};
use crate::harness::{BY_CONTENT, Setup, World, until};

struct Pod {
    world: World<Arc<Way>>,
    way: Arc<Way>,
}

/// Two pods; the first has the provider.
async fn two() -> [Pod; 2] {
    two_by(BY_CONTENT, 4).await
}

async fn two_by(policy: &str, attempts: u32) -> [Pod; 2] {
    let mut made = None;
    let setup = || Setup::policy(policy).set("RETRY__MAX_ATTEMPTS", attempts);
    let world = setup().start_with(|clock| {
        let store = Arc::new(Memory::new(clock, 1_000));
        let way = Way::to(&store);
        made = Some((store, Arc::clone(&way)));
        way
    });
    let world = world.await;
    let (store, way) = made.unwrap();
    let other = Way::to(&store);
    let beside = setup().clock(&world.clock).upstream(world.sandbox.addr());
    let beside = beside.start_with(|_| Arc::clone(&other)).await;
    [Pod { world, way }, Pod { world: beside, way: other }]
}

pub(super) async fn two_pods_claim_what_both_have_read() -> Verdict {
    let [one, other] = two().await;
    one.world.done(&charge("a", 1)).await;
    one.way.holds(true);
    other.way.holds(true);
    let (b, c) = (charge("b", 2), charge("c", 3));
    tokio::join!(one.world.done(&b), other.world.done(&c), async {
        until("both are about to claim", || one.way.waits() && other.way.waits()).await;
        one.way.holds(false);
        other.way.holds(false);
    });
    executed(&one.world, 1, &["a", "b", "c"])
}

pub(super) async fn a_settling_write_comes_late() -> Verdict {
    let [slow, other] = two().await;
    slow.way.holds(true);
    slow.world.ask(&charge("a", 1)).await;
    until("it is about to settle", || slow.way.waits()).await;
    // Its lease ends, and the job is delivered to the other pod.
    slow.world.clock.advance(Duration::from_secs(20));
    other.world.done(&charge("a", 2)).await;
    other.world.done(&charge("b", 3)).await;
    slow.way.holds(false);
    slow.world.settled().await;
    slow.world.done(&charge("c", 4)).await;
    executed(&slow.world, 1, &["a", "b", "c"])
}

pub(super) async fn another_pod_is_asked_for_the_same() -> Verdict {
    let [one, other] = two().await;
    one.world.faults([Fault::new(Kind::Delay { millis: 8_000, effect: Strike::Before })]);
    let (a, b) = (charge("a", 1), charge("b", 2));
    tokio::join!(one.world.done(&a), async {
        one.world.until_seen(1).await;
        other.world.done(&b).await
    });
    executed(&one.world, 1, &["a", "b"])
}

pub(super) async fn the_other_pod_knows_more() -> Verdict {
    let [one, other] = two().await;
    one.world.done(&charge("a", 1)).await;
    other.world.done(&charge("b", 2)).await;
    one.world.done(&charge("c", 3)).await;
    executed(&one.world, 1, &["a", "b", "c"])
}

pub(super) async fn one_pod_has_an_edit_and_the_other_has_not() -> Verdict {
    let [one, other] = two().await;
    one.world
        .edit(&BY_CONTENT.replace("\"content\"", "[\"source\"]\notherwise = \"content\""))
        .await;
    // A success whose answer was lost.
    one.world.lose(&charge("a", 1)).await;
    other.world.done(&charge("a", 2)).await;
    executed(&one.world, 1, &["a"])
}

pub(super) async fn the_other_pod_has_finished_it() -> Verdict {
    let [one, other] = two_by(&format!("{BY_CONTENT}finish = \"30m\"\n"), 1).await;
    one.world.faults([Fault::new(Kind::ResetAfterEffect { clean: false })]);
    one.world.done(&charge("a", 1)).await;
    other.world.done(&charge("a", 2)).await;
    one.world.until_let_go().await;
    executed(&one.world, 1, &["a"])
}
