//! Two payonces on one Redis: what one does, the other knows.

use crate::harness::{Post, Setup, World, until};
use crate::redis_servers::{Options, Server};
use crate::relay::{Direction, Relay, Script};

use super::{charge, on};

const CLAIMS: &str = "payonce_ledger_round_trip_seconds_count{call=\"claim\"}";

/// Two payonces with one store and one provider, which a relay holds back.
struct Pair {
    one: World,
    other: World,
    provider: Relay,
    _server: Server,
}

impl Pair {
    async fn start(setup: impl Fn(Setup) -> Setup) -> Self {
        let server = Server::start(&Options::default());
        let nobody = crate::port::Port::free();
        let provider = Relay::start(nobody.addr());
        let begin = || setup(on(&server.url())).upstream(provider.addr());
        let (one, other) = (begin().start().await, begin().start().await);
        provider.toward(one.sandbox.addr());
        Self { one, other, provider, _server: server }
    }

    /// The provider gets requests, and its answers wait.
    fn hold_answers(&self) {
        self.provider.set(Script::one(Direction::Down, Script::held().down));
    }

    /// Asks both, the second when the first has sent; the second has looked at the store when this
    /// returns what both are answered.
    async fn both(&self, post: &Post) -> [crate::harness::Reply; 2] {
        self.hold_answers();
        // Announcing a policy takes calls too.
        let before = self.other.count(CLAIMS);
        let mut first = self.one.client().await;
        first.send(post).await;
        self.one.until_seen(1).await;
        let mut second = self.other.client().await;
        second.send(post).await;
        until("the second finds the first's claim", || self.other.count(CLAIMS) > before).await;
        self.provider.heal();
        let first = async {
            let reply = first.reply().await;
            drop(first);
            reply
        };
        let (first, second) = tokio::join!(first, second.reply());
        [first, second]
    }
}

#[tokio::test]
async fn the_same_operation_at_two_processes_at_once_has_one_effect_and_both_get_the_answer() {
    let pair = Pair::start(|setup| setup).await;
    let [first, second] = pair.both(&charge("order-1")).await;
    first.is(200, "executed");
    second.is(200, "replayed");
    let effects = pair.one.effects();
    assert_eq!(
        (effects.len(), first.id(), second.id()),
        (1, effects[0].object.clone(), first.id())
    );
}

#[tokio::test]
async fn a_lost_answer_is_replayed_by_another_process() {
    let pair = Pair::start(|setup| setup).await;
    // By content alone: two workers, no name.
    let post = Post::charge("amount=700&currency=usd&source=tok_visa");
    pair.one.lose(&post).await;
    let reply = pair.other.done(&post).await;
    reply.is(200, "replayed");
    assert_eq!((pair.one.effects().len(), pair.one.effects()[0].object.clone()), (1, reply.id()));
    // Its answer was delivered now: the next is meant.
    pair.other.done(&post).await.is(200, "repeated");
    assert_eq!(pair.one.effects().len(), 2);
}

#[tokio::test]
async fn what_another_process_did_later_counts_though_its_clock_runs_behind() {
    let pair = Pair::start(|setup| setup).await;
    pair.one.clock.advance(std::time::Duration::from_secs(30));
    let post = Post::charge("amount=800&currency=usd&source=tok_visa");
    pair.one.lose(&post).await;
    pair.other.done(&post).await.is(200, "replayed");
    // The answer was delivered, as the store knows: this one is meant to happen. The first process
    // still remembers that it was lost, half a minute later by its own clock.
    pair.one.done(&post).await.is(200, "repeated");
    assert_eq!(pair.one.effects().len(), 2);
}

#[tokio::test]
async fn a_process_that_died_mid_flight_is_succeeded_by_another_with_the_same_key() {
    let pair = Pair::start(|setup| setup).await;
    pair.hold_answers();
    let mut first = pair.one.client().await;
    first.send(&charge("order-2")).await;
    pair.one.until_seen(1).await;
    // It is gone, with its memory and its claim, which nobody renews.
    let Pair { one, other, provider, _server } = pair;
    let sandbox = &one.sandbox;
    one.payonce().run.abort();
    until("it is gone", || one.payonce().run.is_finished()).await;
    other.clock.advance(std::time::Duration::from_mins(1));
    provider.heal();
    let reply = other.done(&charge("order-2")).await;
    assert_eq!((reply.status, sandbox.effects().len()), (200, 1));
    assert_eq!(reply.id(), sandbox.effects()[0].object);
    let keys = one.keys();
    assert!(keys.len() >= 2 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[tokio::test]
async fn twenty_askers_at_two_processes_have_one_effect() {
    let pair = Pair::start(|setup| setup).await;
    let post = charge("order-3");
    let mut clients = Vec::new();
    for n in 0..20 {
        let world = if n % 2 == 0 { &pair.one } else { &pair.other };
        let mut client = world.client().await;
        client.send(&post).await;
        clients.push(client);
    }
    let asked: Vec<_> = clients
        .into_iter()
        .map(|mut client| tokio::task::spawn(async move { client.reply().await }))
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for reply in asked {
        let reply = reply.await.unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        ids.insert(reply.id());
    }
    assert_eq!((ids.len(), pair.one.effects().len()), (1, 1));
}
