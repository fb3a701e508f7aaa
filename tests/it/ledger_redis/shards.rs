//! A Cluster of which one server does not answer, or all say that it is down: those that answer are
//! asked as ever, and nobody is asked more often than helps.

use std::sync::Arc;
use std::time::Duration;

use payonce::chance::Chance;
use payonce::clock::Clock;
use payonce::ledger::redis::{Config, Redis, Topology};
use payonce::ledger::{Claimed, LedgerError};
use payonce::metrics::Metrics;

use super::contract::config;
use super::fail_over::claim;
use crate::redis_servers::{Cluster, PATIENCE, Server, beside};

const SHORT: Duration = Duration::from_millis(500);
/// The shortest time between two look-ups of who serves what.
const BETWEEN: Duration = Duration::from_millis(250);

/// A cluster where nobody takes a silent server for down, and so nobody takes over.
async fn steady() -> Arc<Cluster> {
    let start = || {
        let cluster = Cluster::start();
        for server in cluster.servers() {
            server.configure("cluster-node-timeout", "600000");
        }
        cluster
    };
    Arc::new(beside(start).await)
}

async fn opened(cluster: &Cluster, timeout: Duration, clock: Clock) -> (Redis, Metrics) {
    let config = config(&cluster.nodes(), Topology::Cluster, 1);
    let config = Config { timeout, connect_timeout: timeout, ..config };
    let metrics = Metrics::new();
    let ledger = Redis::open(config, clock, Chance::System, metrics.clone()).await.unwrap();
    (ledger, metrics)
}

/// How often calls of a server were suspended, or resumed.
fn changed(metrics: &Metrics, change: &str) -> u32 {
    let name = format!("payonce_store_breaker_total{{change=\"{change}\"}} ");
    let found = metrics.encode();
    let found = found.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok());
    found.unwrap_or_default()
}

/// Asks until the breaker answers instead of the server.
async fn until_refused(ledger: &Redis, number: u8) {
    for _ in 0..20 {
        let error = claim(ledger, number, "{}").await.expect_err("its server stands still");
        assert!(matches!(error, LedgerError::Unavailable(_)), "{error}");
        if error.to_string().contains("is not asked for a while") {
            return;
        }
    }
    panic!("the breaker of its server does not open");
}

#[tokio::test]
async fn one_silent_server_is_soon_refused_at_once_and_the_others_are_asked_as_ever() {
    let cluster = steady().await;
    let (ledger, metrics) = opened(&cluster, SHORT, Clock::System).await;
    let holder = |number: u8| cluster.holder(&format!("{{{number:02x}}}"));
    let dead = holder(1);
    let others: Vec<u8> = (2..30).filter(|number| holder(*number) != dead).collect();
    assert!(matches!(claim(&ledger, 1, "{}").await, Ok(Claimed::Fresh(_))));

    cluster.servers()[dead].pause();
    until_refused(&ledger, 1).await;
    for number in others {
        let claimed = claim(&ledger, number, "{}").await;
        assert!(matches!(claimed, Ok(Claimed::Fresh(_))), "{number}: {claimed:?}");
    }
    // All of it while calls of the silent server were suspended.
    until_refused(&ledger, 1).await;
    assert_eq!((changed(&metrics, "opened"), changed(&metrics, "closed")), (1, 0));

    cluster.servers()[dead].resume();
    let began = std::time::Instant::now();
    while let Err(error) = claim(&ledger, 1, "{}").await {
        assert!(began.elapsed() < PATIENCE, "it is not asked again: {error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(matches!(claim(&ledger, 1, "{}").await, Ok(Claimed::Found(_))));
    assert_eq!(changed(&metrics, "closed"), 1);
    assert_eq!(changed(&metrics, "opened"), 1);
    ledger.close().await;
}

/// How often it was asked who serves what.
fn look_ups(server: &Server) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_cluster|slots:calls="));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn a_cluster_that_is_down_is_not_asked_for_its_map_once_an_operation() {
    const OPERATIONS: u32 = 400;
    let cluster = steady().await;
    let clock = Clock::System;
    let (ledger, _metrics) = opened(&cluster, Duration::from_secs(30), clock.clone()).await;
    assert!(matches!(claim(&ledger, 1, "{}").await, Ok(Claimed::Fresh(_))));
    // One slot that nobody serves is enough.
    for master in cluster.masters() {
        let nodes = master.command(&["CLUSTER", "NODES"]);
        let own = nodes.lines().find(|line| line.contains("myself")).unwrap();
        let first = own.split(' ').next_back().unwrap().split('-').next().unwrap();
        assert_eq!(master.command(&["CLUSTER", "DELSLOTS", first]), "OK");
    }
    let down = || claim(&ledger, 1, "{}");
    let error = down().await.unwrap_err().to_string();
    assert!(error.contains("CLUSTERDOWN"), "{error}");

    for server in cluster.servers() {
        server.command(&["CONFIG", "RESETSTAT"]);
    }
    let (began, mut done) = (clock.now(), 0);
    let passed = || clock.now().since(began);
    while done < OPERATIONS || passed() < BETWEEN * 2 {
        down().await.unwrap_err();
        done += 1;
    }
    // One at once, and one for what a millisecond's fraction may hide.
    let most = passed().as_millis() / BETWEEN.as_millis() + 2;
    let asked: Vec<u64> = cluster.servers().iter().map(look_ups).collect();
    assert!(asked.iter().all(|asked| u128::from(*asked) <= most), "{asked:?}, {most}");
    assert!(asked.iter().any(|asked| *asked > 0), "its map is never asked for again");
    ledger.close().await;
}
