//! I11, hang-ups, twins and drain: who waits, who shares, what goes on without its client.

use payonce::sandbox::{Fault, Kind, Outcome, Strike};

use super::stub::{Stub, answer, success};
use crate::harness::{BY_CONTENT, Post, Reply, Setup, TWINS, World, charge, until};

fn unavailable() -> Vec<u8> {
    answer(503, "Content-Type: application/json\r\n", r#"{"error":{"type":"api_error"}}"#)
}

fn slow() -> Fault {
    Fault::new(Kind::Delay { millis: 6_000, effect: Strike::Before })
}

fn in_doubt(world: &World) -> u64 {
    world.count("payonce_in_doubt_total{rule=\"charges\"}")
}

#[tokio::test]
async fn when_all_askers_are_gone_no_other_attempt_is_made_and_it_is_in_doubt_at_once() {
    let stub = Stub::held(|n, _| if n == 0 { unavailable() } else { success("ch_1") }).await;
    let world = Setup::policy(TWINS).upstream(stub.addr).start().await;
    let (mut one, mut joiner) = (world.client().await, world.client().await);
    one.send(&charge()).await;
    until("the provider has it", || stub.count() == 1).await;
    joiner.send(&charge()).await;
    until("somebody joins", || world.count("payonce_merges_total{kind=\"joined\"}") == 1).await;
    one.reset();
    drop(joiner);
    // The answer comes when both are known to be gone, and asks for another attempt.
    until("both are gone", || world.count("payonce_operations_in_flight") == 0).await;
    stub.gate.add_permits(1);
    until("it is in doubt", || in_doubt(&world) == 1).await;
    world.settled().await;
    assert_eq!(stub.count(), 1);
    stub.gate.add_permits(9);
    world.done(&charge()).await.is(200, "executed");
    let seen = stub.seen();
    assert_eq!((seen.len(), seen[0].key()), (2, seen[1].key()));
    assert_eq!(world.row("A11"), 1);
}

#[tokio::test]
async fn a_joiner_that_stays_is_reason_enough_to_go_on() {
    let stub = Stub::held(|n, _| if n == 0 { unavailable() } else { success("ch_1") }).await;
    let world = Setup::policy(TWINS).upstream(stub.addr).start().await;
    let (mut one, mut joiner) = (world.client().await, world.client().await);
    one.send(&charge()).await;
    until("the provider has it", || stub.count() == 1).await;
    joiner.send(&charge()).await;
    until("somebody joins", || world.count("payonce_merges_total{kind=\"joined\"}") == 1).await;
    one.reset();
    stub.gate.add_permits(9);
    joiner.reply().await.is(200, "joined");
    assert_eq!(stub.count(), 2);
}

#[tokio::test]
async fn a_call_whose_client_is_gone_is_not_tried_again_and_leaves_a_note() {
    let stub = Stub::held(|_, _| unavailable()).await;
    let world = Setup::policy("").upstream(stub.addr).start().await;
    let mut client = world.client().await;
    client.send(&charge()).await;
    until("the provider has it", || stub.count() == 1).await;
    client.reset();
    until("it is gone", || world.count("payonce_operations_in_flight") == 0).await;
    stub.gate.add_permits(9);
    let exchange = world.payonce().exchange.clone();
    until("a note is left", || exchange.notes.all().len() == 1).await;
    assert!(exchange.notes.all()[0].keyless);
    assert_eq!(stub.count(), 1);
}

#[tokio::test]
async fn an_exchange_goes_on_when_its_client_hangs_up_and_its_answer_is_kept_for_the_next() {
    for clean in [true, false] {
        let world = Setup::policy(BY_CONTENT).start().await;
        world.faults([slow()]);
        let mut client = world.client().await;
        client.send(&charge().sdk(1)).await;
        world.until_seen(1).await;
        if clean {
            drop(client);
        } else {
            client.reset();
        }
        world.settled().await;
        assert_eq!(world.effects().len(), 1, "clean: {clean}");
        world.done(&charge().sdk(2)).await.is(200, "replayed");
        assert_eq!((world.effects().len(), world.row("A14")), (1, 1), "clean: {clean}");
    }
}

#[tokio::test]
async fn a_client_that_reads_part_of_its_answer_and_resets_has_lost_it() {
    use tokio::io::AsyncReadExt;
    let world = Setup::policy(BY_CONTENT).start().await;
    let mut client = world.client().await;
    client.send(&charge()).await;
    client.stream.read_exact(&mut [0; 20]).await.unwrap();
    client.reset();
    world.settled().await;
    world.done(&charge()).await.is(200, "replayed");
    assert_eq!(world.effects().len(), 1);
}

#[tokio::test]
async fn a_kept_connection_tells_by_its_next_request_that_the_answer_was_delivered() {
    let world = Setup::policy(BY_CONTENT).start().await;
    let mut client = world.client().await;
    for outcome in ["executed", "repeated", "repeated"] {
        client.send(&charge()).await;
        client.reply().await.is(200, outcome);
    }
    assert_eq!(world.effects().len(), 3);
}

#[tokio::test]
async fn of_two_lost_answers_one_asker_is_served_by_each_replay() {
    let world = Setup::policy(BY_CONTENT).start().await;
    world.lose(&charge()).await;
    world.lose(&charge()).await;
    world.done(&charge()).await.is(200, "replayed");
    world.done(&charge()).await.is(200, "repeated");
    assert_eq!(world.effects().len(), 2);
}

#[tokio::test]
async fn the_latest_askers_delivery_decides_though_an_earlier_ones_was_lost() {
    let world = Setup::policy(TWINS).start().await;
    world.faults([slow()]);
    let (mut one, mut joiner) = (world.client().await, world.client().await);
    one.send(&charge()).await;
    world.until_seen(1).await;
    joiner.send(&charge()).await;
    until("somebody joins", || world.count("payonce_merges_total{kind=\"joined\"}") == 1).await;
    one.lose_answer().await;
    joiner.reply().await.is(200, "joined");
    drop(joiner);
    world.settled().await;
    assert_eq!(world.count("payonce_deliveries_total{delivered=\"yes\"}"), 1);
    world.clock.advance(std::time::Duration::from_hours(1));
    world.done(&charge()).await.is(200, "repeated");
}

/// Two requests, in turn or at once; how many effects they made.
async fn two(policy: &str, at_once: bool, one: Post, other: Post) -> (usize, Reply) {
    let world = Setup::policy(policy).start().await;
    if !at_once {
        world.done(&one).await.is(200, "executed");
        let second = world.done(&other).await;
        return (world.effects().len(), second);
    }
    world.faults([slow()]);
    let (first, second) = tokio::join!(world.ask(&one), async {
        world.until_seen(1).await;
        world.ask(&other).await
    });
    first.is(200, "executed");
    (world.effects().len(), second)
}

#[tokio::test]
async fn twins_are_one_only_where_the_policy_or_the_application_says_so() {
    let op = |name: &str| charge().with("Payonce-Operation", name);
    for at_once in [false, true] {
        let together = if at_once { "joined" } else { "replayed" };
        let cases = [
            ("keyless", BY_CONTENT, charge(), charge(), 2, "repeated"),
            ("SDK keys", BY_CONTENT, charge().sdk(1), charge().sdk(2), 2, "repeated"),
            ("own keys", BY_CONTENT, charge().key("a"), charge().key("b"), 2, "executed"),
            ("one own key", BY_CONTENT, charge().key("a"), charge().key("a"), 1, together),
            ("one SDK key", BY_CONTENT, charge().sdk(1), charge().sdk(1), 1, "replayed"),
            ("one name", BY_CONTENT, op("a"), op("a"), 1, together),
            ("keyless", TWINS, charge(), charge(), 1, together),
            ("SDK keys", TWINS, charge().sdk(1), charge().sdk(2), 1, together),
            ("own keys", TWINS, charge().key("a"), charge().key("b"), 2, "executed"),
            ("two names", TWINS, op("a"), op("b"), 2, "executed"),
            ("one name", TWINS, op("a").sdk(1), op("a").sdk(2), 1, together),
            ("a name and none", TWINS, op("a"), charge(), 2, "executed"),
            ("calls", "", charge(), charge(), 2, "executed"),
            ("calls", "", charge().sdk(1), charge().sdk(2), 2, "executed"),
        ];
        let mut running = tokio::task::JoinSet::new();
        for (what, policy, one, other, effects, outcome) in cases {
            running.spawn(async move {
                let (made, second) = two(policy, at_once, one, other).await;
                let twins = policy == TWINS;
                assert_eq!(made, effects, "{what}, twins: {twins}, at once: {at_once}");
                assert_eq!(second.outcome(), outcome, "{what}, {twins}, {at_once}");
            });
        }
        while let Some(ended) = running.join_next().await {
            ended.unwrap();
        }
    }
}

#[tokio::test]
async fn a_joined_decline_is_shared_and_the_next_asker_is_not_answered_with_it() {
    let world = Setup::policy(TWINS).start().await;
    let card = Post::charge("amount=500&currency=usd&source=tok_chargeDeclined");
    world.faults([slow()]);
    let (first, second) = tokio::join!(world.ask(&card), async {
        world.until_seen(1).await;
        world.ask(&card).await
    });
    first.is(402, "executed");
    second.is(402, "joined");
    world.settled().await;
    world.done(&card).await.is(402, "executed");
    assert_eq!(world.effects().len(), 2);
}

#[tokio::test]
async fn while_it_is_not_known_whether_an_answer_arrived_a_twin_shares_it_and_another_waits() {
    for (policy, outcome, effects) in [(TWINS, "joined", 1), (BY_CONTENT, "repeated", 2)] {
        let world = Setup::policy(policy).start().await;
        let mut silent = world.client().await;
        silent.send(&charge()).await;
        silent.reply().await.is(200, "executed");
        // It is silent, and neither asks again nor closes.
        world.ask(&charge()).await.is(200, outcome);
        assert_eq!((world.effects().len(), world.row("A9")), (effects, 1));
        drop(silent);
    }
}

#[tokio::test]
async fn so_many_may_wait_for_one_answer_and_no_more() {
    let world = Setup::policy(TWINS).set("LIMITS__WAITERS", 2).start().await;
    world.faults([slow()]);
    let mut one = world.client().await;
    one.send(&charge()).await;
    world.until_seen(1).await;
    let mut joiner = world.client().await;
    joiner.send(&charge()).await;
    until("somebody joins", || world.count("payonce_merges_total{kind=\"joined\"}") == 1).await;
    let refused = world.ask(&charge()).await;
    refused.refused(503, "payonce_busy");
    assert_eq!(refused.header("stripe-should-retry"), Some("true"));
    one.reply().await.is(200, "executed");
    joiner.reply().await.is(200, "joined");
    assert_eq!(world.seen().len(), 1);
}

#[tokio::test]
async fn many_twins_at_once_are_one() {
    let world = Setup::policy(TWINS).start().await;
    world.faults([slow()]);
    let mut clients = Vec::new();
    for n in 0..20 {
        let mut client = world.client().await;
        client.send(&charge().sdk(n)).await;
        clients.push(client);
    }
    let mut executed = 0;
    for mut client in clients {
        let reply = client.reply().await;
        assert_eq!(reply.status, 200);
        executed += usize::from(reply.outcome() == "executed");
    }
    assert_eq!((executed, world.effects().len(), world.seen().len()), (1, 1, 1));
    // Each of those calls is known now, though only one of them was sent.
    world.settled().await;
    world.clock.advance(std::time::Duration::from_hours(1));
    world.done(&charge().sdk(7)).await.is(200, "replayed");
    assert_eq!(world.effects().len(), 1);
}

#[tokio::test]
async fn shutdown_finishes_the_exchange_in_flight() {
    let mut world = Setup::policy(BY_CONTENT).set("STORE__KIND", "embedded").start().await;
    world.faults([slow()]);
    let mut client = world.client().await;
    client.send(&charge()).await;
    world.until_seen(1).await;
    world.payonce().shutdown.first.cancel();
    client.reply().await.is(200, "executed");
    drop(client);
    let summary = world.stop().await;
    assert_eq!((summary.connections, summary.tasks), (0, 0));
    // What was learnt is written: the next process knows it as done and delivered.
    world.begin().await;
    world.done(&charge()).await.is(200, "repeated");
    let paid = world.effects().iter().filter(|it| it.outcome == Outcome::Succeeded).count();
    assert_eq!(paid, 2);
}

#[tokio::test]
async fn shutdown_ends_the_trying_and_leaves_it_in_doubt() {
    let stub = Stub::held(|n, _| if n == 0 { unavailable() } else { success("ch_1") }).await;
    let mut world =
        Setup::policy(BY_CONTENT).set("STORE__KIND", "embedded").upstream(stub.addr).start().await;
    let mut client = world.client().await;
    client.send(&charge()).await;
    until("the provider has it", || stub.count() == 1).await;
    world.payonce().shutdown.first.cancel();
    stub.gate.add_permits(9);
    let given_up = client.reply().await;
    assert_eq!((given_up.status, given_up.header("stripe-should-retry")), (503, Some("false")));
    drop(client);
    let summary = world.stop().await;
    assert_eq!((summary.tasks, stub.count()), (0, 1));
    world.begin().await;
    world.done(&charge()).await.is(200, "executed");
    let seen = stub.seen();
    assert_eq!((seen.len(), seen[0].key()), (2, seen[1].key()));
}
