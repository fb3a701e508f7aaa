//! A9: what is in flight is shared or waited for.

use super::*;

/// Two at once, the second while the first is with the provider.
async fn two_at_once(world: &World, first: &Post, second: &Post) -> (Reply, Reply) {
    let before = world.seen().len();
    world.faults([Fault::new(Kind::Delay { millis: 8_000, effect: Strike::Before })]);
    tokio::join!(world.ask(first), async {
        world.until_seen(before + 1).await;
        world.ask(second).await
    })
}

pub(super) async fn a9_twins_and_named_operations_share_the_answer() {
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

pub(super) async fn a9_without_twins_the_second_waits_and_is_judged_by_what_became_of_the_first() {
    let world = world(CONTENT_LOST).await;
    let (one, other) = two_at_once(&world, &good(), &good()).await;
    one.is(200, "executed");
    other.is(200, "repeated");
    assert_ne!(one.id(), other.id());
    assert_eq!(paid(&world), 2);
    assert!(world.row("A9") >= 1 && world.row("A16") == 1);
}

pub(super) async fn a9_a_uuid4_of_an_sdk_is_never_a_twin() {
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

pub(super) async fn a9_the_wait_ends_at_the_deadline() {
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
