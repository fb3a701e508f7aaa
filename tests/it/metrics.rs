//! What `/metrics` shows: bounded whatever is sent, as `deploy/metrics.md` lists it, and what is open.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how a test fails, helpers included"
)]

mod listed;
mod many;

use std::sync::Arc;
use std::time::Duration;

use payonce::clock::Timestamp;
use payonce::ledger::Ledger;
use payonce::sandbox::{Fault, Kind};
use payonce::survey::survey;

use crate::harness::{BY_CONTENT, Flaky, Mood, Setup, World, charge};

/// The value of a series, if it is there.
fn value<L: Ledger>(world: &World<L>, series: &str) -> Option<f64> {
    let text = world.payonce().metrics.encode();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map(|value| value.parse().unwrap())
}

#[tokio::test]
async fn what_is_in_doubt_shows_with_its_age_and_its_horizon_until_it_is_settled() {
    let world = Setup::policy(BY_CONTENT).set("RETRY__MAX_ATTEMPTS", 1).start().await;
    let exchange = world.payonce().exchange.clone();
    let doubt = "payonce_open_operations{rule=\"charges\",state=\"in_doubt\"}";
    survey(&exchange).await;
    assert_eq!(value(&world, doubt), Some(0.0));
    world.faults([Fault::new(Kind::ResetAfterEffect { clean: false })]);
    assert_eq!(world.done(&charge()).await.status, 504);
    world.clock.advance(Duration::from_mins(11));
    survey(&exchange).await;
    assert_eq!(value(&world, doubt), Some(1.0));
    let age = value(&world, "payonce_oldest_open_age_seconds{rule=\"charges\",state=\"in_doubt\"}");
    assert!(age.is_some_and(|age| (660.0..1_200.0).contains(&age)), "{age:?}");
    let left = value(&world, "payonce_horizon_seconds{rule=\"charges\"}").unwrap();
    assert!((age.unwrap() + left - 23.0 * 3_600.0).abs() < 0.001, "{age:?} and {left}");
    world.done(&charge()).await.is(200, "replayed");
    survey(&exchange).await;
    assert_eq!(value(&world, doubt), Some(0.0));
    assert_eq!(value(&world, "payonce_horizon_seconds{rule=\"charges\"}"), None);
}

#[tokio::test]
async fn what_is_worked_on_is_in_flight() {
    let world = Setup::policy(BY_CONTENT).start().await;
    world.faults([Fault::new(Kind::Delay {
        millis: 20_000,
        effect: payonce::sandbox::Strike::Before,
    })]);
    let mut client = world.client().await;
    client.send(&charge()).await;
    world.until_seen(1).await;
    survey(&world.payonce().exchange).await;
    let flight = "payonce_open_operations{rule=\"charges\",state=\"in_flight\"}";
    assert_eq!(value(&world, flight), Some(1.0));
    client.reply().await.is(200, "executed");
}

#[tokio::test]
async fn the_survey_goes_on_by_itself() {
    let world = Setup::policy(BY_CONTENT).set("METRICS__SURVEY_INTERVAL", "5s").start().await;
    let at = || value(&world, "payonce_survey_timestamp_seconds").filter(|at| *at > 0.0);
    crate::harness::until("the first survey", || at().is_some()).await;
    let first = at();
    crate::harness::until("the next one", || at() > first).await;
}

#[tokio::test]
async fn a_store_that_does_not_answer_leaves_the_last_numbers_and_their_time() {
    let mut store = None;
    let world = Setup::policy(BY_CONTENT)
        .set("RETRY__MAX_ATTEMPTS", 1)
        .start_with(|clock| Arc::clone(store.insert(Flaky::new(clock))))
        .await;
    let exchange = world.payonce().exchange.clone();
    world.faults([Fault::new(Kind::ResetAfterEffect { clean: false })]);
    assert_eq!(world.done(&charge()).await.status, 504);
    survey(&exchange).await;
    let shown = |series| value(&world, series);
    let at = shown("payonce_survey_timestamp_seconds");
    assert!(at.is_some_and(|at| at > 0.0), "{at:?}");
    store.unwrap().is(Mood::Unlisted);
    let before: Timestamp = world.clock.now();
    survey(&exchange).await;
    assert!(world.clock.now().since(before) < Duration::from_mins(1), "it gives up");
    assert_eq!(shown("payonce_survey_timestamp_seconds"), at);
    let doubt = "payonce_open_operations{rule=\"charges\",state=\"in_doubt\"}";
    assert_eq!(shown(doubt), Some(1.0));
    assert_eq!(shown("payonce_ledger_errors_total{kind=\"survey\"}"), Some(1.0));
}

#[tokio::test]
async fn a_retry_that_the_budget_does_not_grant_is_counted() {
    let world = Setup::policy(BY_CONTENT)
        .set("RETRY__BUDGET_RATIO", "0.0")
        .set("RETRY__BUDGET_PER_SECOND", "0.0")
        .set("RETRY__BACKOFF", "1ms")
        .set("RETRY__BACKOFF_MAX", "1ms")
        .set("RETRY__MAX_ATTEMPTS", 20)
        .start()
        .await;
    let left = || world.payonce().exchange.forwarder.budget_left();
    assert!((left() - 0.5).abs() < 0.001, "{}", left());
    let down = Kind::Status { code: 503, effect: payonce::sandbox::Strike::Before };
    world.faults([Fault::new(down).times(40)]);
    world.done(&charge()).await;
    assert!(left() < 0.05, "{}", left());
    assert_eq!(value(&world, "payonce_limits_reached_total{limit=\"retry.budget\"}"), Some(1.0));
}
