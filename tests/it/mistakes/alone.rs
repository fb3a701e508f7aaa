//! What one payonce can get wrong.

use std::sync::Arc;
use std::time::Duration;

use payonce::ledger::memory::Memory;
use payonce::sandbox::{Fault, Kind, Strike};

use super::store::Way;
use super::{Verdict, charge, effects_of, executed};
use crate::harness::{BY_CONTENT, Post, Setup, World, lost};

/// As long as an epoch: the next one has begun, and the key may still be sent.
const EPOCH: Duration = Duration::from_hours(22);

async fn world() -> World {
    Setup::policy(BY_CONTENT).start().await
}

/// One attempt an exchange.
async fn hasty() -> World {
    Setup::policy(BY_CONTENT).set("RETRY__MAX_ATTEMPTS", 1).start().await
}

async fn embedded() -> World {
    Setup::policy(BY_CONTENT).set("STORE__KIND", "embedded").start().await
}

/// One that remembers in a store which may go down.
async fn fragile(policy: &str) -> (World<Arc<Way>>, Arc<Way>) {
    let mut way = None;
    let world = Setup::policy(policy)
        .start_with(|clock| Arc::clone(way.insert(Way::to(&Arc::new(Memory::new(clock, 1_000))))));
    let world = world.await;
    (world, way.unwrap())
}

fn named(post: Post) -> Post {
    post.with("Payonce-Operation", "order-7")
}

pub(super) async fn a_lost_answer_is_asked_for_again() -> Verdict {
    let world = world().await;
    world.faults([lost()]);
    world.done(&charge("a", 1)).await;
    executed(&world, 1, &["a"])
}

pub(super) async fn nothing_is_sent_without_the_store() -> Verdict {
    let (world, store) = fragile(&format!("{BY_CONTENT}store_down = \"refuse\"\n")).await;
    store.goes_down();
    let refused = world.done(&charge("a", 1)).await;
    assert!(refused.message().contains("othing was sent"), "{}", refused.message());
    executed(&world, 0, &["a"])
}

pub(super) async fn the_same_is_meant_again_after_a_restart() -> Verdict {
    let mut world = embedded().await;
    world.done(&charge("a", 1)).await;
    world.restart().await;
    world.done(&charge("b", 2)).await;
    executed(&world, 1, &["a", "b"])
}

pub(super) async fn a_doubt_is_asked_for_again_in_the_next_epoch() -> Verdict {
    let world = hasty().await;
    world.faults([lost()]);
    world.done(&charge("a", 1)).await;
    world.clock.advance(EPOCH);
    world.done(&charge("a", 2)).await;
    executed(&world, 1, &["a"])
}

/// The first is with the provider when the second comes.
async fn two_at_once(world: &World, first: Post, second: Post) -> [crate::harness::Reply; 2] {
    world.faults([Fault::new(Kind::Delay { millis: 8_000, effect: Strike::Before })]);
    let (one, other) = tokio::join!(world.ask(&first), async {
        world.until_seen(1).await;
        world.ask(&second).await
    });
    world.settled().await;
    [one, other]
}

pub(super) async fn another_amount_is_asked_for_under_the_same_name() -> Verdict {
    let world = world().await;
    let mut more = named(charge("b", 2));
    more.body = b"amount=900&currency=usd&source=tok_visa".to_vec();
    let [_, other] = two_at_once(&world, named(charge("a", 1)), more).await;
    match (other.status, other.json()["amount"].as_u64()) {
        (200, Some(500)) => Err("900 was asked for and 500 answered".to_owned()),
        _ => Ok(()),
    }
}

pub(super) async fn two_accounts_charge_the_same_at_once() -> Verdict {
    let twins = format!("{BY_CONTENT}merge = \"twins\"\nrepeat_window = \"10m\"\n");
    let world = Setup::policy(&twins).start().await;
    let of = |post: Post, account| post.with("Stripe-Account", account);
    let (one, other) = (of(charge("a", 1), "acct_1"), of(charge("b", 2), "acct_2"));
    two_at_once(&world, one, other).await;
    executed(&world, 1, &["a", "b"])
}

pub(super) async fn two_orders_cost_the_same() -> Verdict {
    let world = world().await;
    for (intent, call) in [("a", 1), ("b", 2)] {
        let mut order = charge(intent, call);
        order.body.extend(format!("&description=order+{intent}").bytes());
        world.done(&order).await;
    }
    executed(&world, 1, &["a", "b"])
}

pub(super) async fn the_client_is_gone_before_it_has_its_answer() -> Verdict {
    let world = world().await;
    world.lose(&charge("a", 1)).await;
    world.done(&charge("a", 2)).await;
    executed(&world, 1, &["a"])
}

pub(super) async fn a_doubt_is_asked_for_again_when_the_provider_has_forgotten() -> Verdict {
    let world = hasty().await;
    world.faults([lost()]);
    world.done(&named(charge("a", 1))).await;
    world.clock.advance(Duration::from_hours(25));
    world.done(&named(charge("a", 2))).await;
    executed(&world, 1, &["a"])
}

pub(super) async fn the_same_is_meant_again_while_the_store_is_down() -> Verdict {
    let (world, store) = fragile(BY_CONTENT).await;
    world.done(&charge("a", 1)).await;
    store.goes_down();
    world.done(&charge("b", 2)).await;
    executed(&world, 1, &["a", "b"])
}

pub(super) async fn a_balancer_gives_up_after_the_effect() -> Verdict {
    let world = hasty().await;
    world.faults([Fault::new(Kind::Status { code: 503, effect: Strike::After })]);
    world.done(&charge("a", 1)).await;
    world.done(&charge("a", 2)).await;
    executed(&world, 1, &["a"])
}

pub(super) async fn the_key_is_still_in_use() -> Verdict {
    let world = Setup::policy(BY_CONTENT).set("RETRY__MAX_ATTEMPTS", 2).start().await;
    world.faults([lost(), Fault::new(Kind::InUse)]);
    let first = world.done(&charge("a", 1)).await;
    if first.status != 200 {
        world.done(&charge("a", 2)).await;
    }
    executed(&world, 1, &["a"])
}

pub(super) async fn a_rate_limit_follows_a_lost_answer() -> Verdict {
    let world = world().await;
    world.faults([lost(), Fault::new(Kind::RateLimited { reason: None }).times(3)]);
    world.done(&charge("a", 1)).await;
    world.faults([]);
    world.clock.advance(EPOCH);
    world.done(&charge("a", 2)).await;
    executed(&world, 1, &["a"])
}

pub(super) async fn a_declined_card_is_tried_again() -> Verdict {
    let world = world().await;
    for (call, intent) in [(1, "a"), (2, "b")] {
        let mut declined = charge(intent, call);
        declined.body = b"amount=500&currency=usd&source=tok_chargeDeclined".to_vec();
        world.done(&declined).await;
    }
    executed(&world, 1, &["a", "b"])
}

pub(super) async fn the_policy_is_edited_while_a_charge_is_in_doubt() -> Verdict {
    let world = hasty().await;
    world.faults([lost()]);
    world.done(&charge("a", 1)).await;
    world.reload(&BY_CONTENT.replace("\"content\"", "[\"source\"]\notherwise = \"content\"")).await;
    world.done(&charge("a", 2)).await;
    executed(&world, 1, &["a"])
}

pub(super) async fn the_same_is_meant_again() -> Verdict {
    let world = world().await;
    world.done(&charge("a", 1)).await;
    world.done(&charge("b", 2)).await;
    executed(&world, 1, &["a", "b"])
}

pub(super) async fn the_sdk_asks_again_after_a_restart() -> Verdict {
    let mut world = embedded().await;
    world.done(&charge("a", 1)).await;
    world.restart().await;
    world.done(&charge("a", 1)).await;
    executed(&world, 1, &["a"])
}

pub(super) async fn the_client_is_gone_while_the_provider_stalls() -> Verdict {
    let setup = Setup::policy(BY_CONTENT).set("UPSTREAM__CONNECT_TIMEOUT", "10s");
    let world = setup.set("RETRY__ATTEMPT_TIMEOUT", "10s").start().await;
    world.faults([Fault::new(Kind::Stall { millis: None, effect: Strike::Before })]);
    let mut client = world.client().await;
    client.send(&charge("a", 1)).await;
    world.until_seen(1).await;
    client.reset();
    world.settled().await;
    match effects_of(&world, "a").len() + world.seen().len() {
        1 => Ok(()),
        _ => Err("an attempt was made that nobody waited for".to_owned()),
    }
}

pub(super) async fn a_doubt_is_finished_before_the_job_comes_again() -> Verdict {
    let finishing = format!("{BY_CONTENT}finish = \"30m\"\n");
    let world = Setup::policy(&finishing).set("RETRY__MAX_ATTEMPTS", 1).start().await;
    world.faults([lost()]);
    world.done(&charge("a", 1)).await;
    world.until_let_go().await;
    world.done(&charge("a", 2)).await;
    executed(&world, 1, &["a"])
}
