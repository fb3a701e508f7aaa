//! Two payonces on one store, as in two pods: who waits for whom, and what is shared.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at what is not")]

use std::sync::Arc;
use std::time::Duration;

use payonce::ledger::Ledger;
use payonce::ledger::memory::Memory;
use payonce::sandbox::{Fault, Kind, Strike};

use crate::harness::{BY_CONTENT, Post, Reply, Setup, Shared, World, charge};

const DECLINED: &str = "amount=500&currency=usd&source=tok_chargeDeclined";

fn twins() -> String {
    format!("{BY_CONTENT}merge = \"twins\"\n")
}

fn job(body: &str) -> Post {
    Post::charge(body).with("Payonce-Operation", "order-42")
}

/// Two pods, one store, one provider, one clock.
struct Pods {
    one: World<Arc<Shared>>,
    two: World<Arc<Shared>>,
    store: Arc<Shared>,
}

async fn pods(policy: &str) -> Pods {
    pods_apart(policy, Duration::ZERO).await
}

/// The clock of the first runs ahead of the other's.
async fn pods_apart(policy: &str, ahead: Duration) -> Pods {
    let mut store = None;
    let one = Setup::policy(policy)
        .start_with(|clock| Arc::clone(store.insert(Arc::new(Shared(Memory::new(clock, 1_000))))))
        .await;
    let store = store.unwrap();
    let same = Arc::clone(&store);
    let two = Setup::policy(policy).upstream(one.sandbox.addr());
    let two = match ahead {
        Duration::ZERO => two.clock(&one.clock),
        ahead => {
            one.clock.advance(ahead);
            two
        }
    };
    let two = two.start_with(|_clock| same).await;
    Pods { one, two, store }
}

impl Pods {
    /// `first` at one pod, and `second` at the other once the provider has the first.
    async fn at_once(&self, first: &Post, second: &Post) -> (Reply, Reply) {
        self.one.faults([Fault::new(Kind::Delay { millis: 3_000, effect: Strike::Before })]);
        let answers = tokio::join!(self.one.ask(first), async {
            self.one.until_seen(1).await;
            self.two.ask(second).await
        });
        self.one.settled().await;
        self.two.settled().await;
        answers
    }
}

#[tokio::test]
async fn twins_at_two_pods_at_once_are_one_effect_and_both_are_told() {
    let pods = pods(&twins()).await;
    let (first, second) = pods.at_once(&charge().sdk(1), &charge().sdk(2)).await;
    first.is(200, "executed");
    second.is(200, "replayed");
    assert_eq!((first.id(), pods.one.effects().len()), (second.id(), 1));
}

#[tokio::test]
async fn a_twin_that_comes_to_another_pod_after_the_answer_is_a_purchase_of_its_own() {
    let pods = pods(&twins()).await;
    pods.one.done(&charge().sdk(1)).await;
    pods.two.done(&charge().sdk(2)).await.is(200, "repeated");
    assert_eq!(pods.one.effects().len(), 2);
}

#[tokio::test]
async fn a_twin_after_the_answer_is_a_purchase_though_the_other_pods_clock_runs_ahead() {
    let pods = pods_apart(&twins(), Duration::from_mins(10)).await;
    pods.one.done(&charge().sdk(1)).await;
    pods.two.done(&charge().sdk(2)).await.is(200, "repeated");
    assert_eq!(pods.one.effects().len(), 2);
}

#[tokio::test]
async fn twins_at_once_are_one_effect_though_the_other_pods_clock_runs_ahead() {
    let pods = pods_apart(&twins(), Duration::from_mins(10)).await;
    let (first, second) = pods.at_once(&charge().sdk(1), &charge().sdk(2)).await;
    first.is(200, "executed");
    second.is(200, "replayed");
    assert_eq!(pods.one.effects().len(), 1);
}

#[tokio::test]
async fn purchases_that_are_not_merged_happen_in_turn_at_two_pods() {
    let pods = pods(BY_CONTENT).await;
    let (first, second) = pods.at_once(&charge().sdk(1), &charge().sdk(2)).await;
    first.is(200, "executed");
    second.is(200, "repeated");
    assert_eq!(pods.one.effects().len(), 2);
}

#[tokio::test]
async fn a_job_at_two_pods_at_once_tries_the_card_once() {
    let pods = pods("").await;
    let (first, second) = pods.at_once(&job(DECLINED).sdk(1), &job(DECLINED).sdk(2)).await;
    assert_eq!((first.status, second.status), (402, 402));
    let keys = pods.one.keys();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[tokio::test]
async fn another_card_at_another_pod_waits_for_the_decline_of_the_first() {
    let pods = pods("").await;
    let good = job("amount=500&currency=usd&source=tok_visa").sdk(2);
    let (first, second) = pods.at_once(&job(DECLINED).sdk(1), &good).await;
    assert_eq!((first.status, second.status), (402, 200));
    assert_eq!(pods.one.effects().iter().filter(|effect| effect.money).count(), 1);
}

#[tokio::test]
async fn other_content_at_another_pod_conflicts_with_what_succeeds() {
    let pods = pods("").await;
    let more = job("amount=900&currency=usd&source=tok_visa").sdk(2);
    let (first, second) =
        pods.at_once(&job("amount=500&currency=usd&source=tok_visa").sdk(1), &more).await;
    assert_eq!((first.status, second.status), (200, 400));
    assert!(second.message().contains("amount"), "{}", second.message());
    assert_eq!(pods.one.effects().len(), 1);
}

#[tokio::test]
async fn a_pod_that_ends_in_doubt_leaves_the_next_to_ask_with_the_same_key() {
    let pods = pods(BY_CONTENT).await;
    pods.one.faults([Fault::new(Kind::ResetAfterEffect { clean: false }).times(4)]);
    let first = pods.one.done(&charge().sdk(1)).await;
    assert_eq!(first.status, 504);
    pods.two.done(&charge().sdk(2)).await.is(200, "replayed");
    assert_eq!(pods.one.effects().len(), 1);
    assert!(pods.store.open(9).await.unwrap().is_empty());
}
