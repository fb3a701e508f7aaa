//! Ledgers that live through a fail-over: what was replicated is found, what is written meanwhile is
//! done or not answered, and never something else; then the whole contract holds again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use payonce::clock::Clock;
use payonce::ledger::redis::{Config, Redis, Topology};
use payonce::ledger::{Claimed, Entry, Held, Ledger, LedgerError, RecordId, Replaced};
use tokio::sync::watch;

use super::contract::{config, open};
use crate::ledger_contract::{self, SPEED, TESTS};
use crate::redis_servers::{Cluster, Replicated, beside};

/// How soon a ledger works again by itself once the servers do.
const RECOVERY: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_hours(1);

fn id(number: u8) -> RecordId {
    RecordId([number; 32])
}

fn entry(record: &str) -> Entry {
    let record = Bytes::copy_from_slice(record.as_bytes());
    Entry { record, ttl: HOUR * SPEED, open: true, keys: Vec::new() }
}

/// Claims a fresh id.
pub(super) async fn claim<L: Ledger>(
    ledger: &L,
    number: u8,
    record: &str,
) -> Result<Claimed, LedgerError> {
    ledger.claim(&[id(number)], entry(record)).await
}

#[tokio::test]
async fn the_contract_holds_through_a_fail_over_by_sentinel() {
    let pair = Arc::new(beside(Replicated::start).await);
    let nodes = pair.nodes();
    let (servers, others) = (Arc::clone(&pair), Arc::clone(&pair));
    let ready = beside(move || servers.until_replicated());
    let fail_over = beside(move || others.fail_over());
    lives_through(|speed| config(&nodes, Topology::Sentinel, speed), ready, fail_over).await;
    drop(pair);
}

#[tokio::test]
async fn the_contract_holds_through_a_fail_over_in_a_cluster() {
    let cluster = Arc::new(beside(Cluster::start).await);
    let nodes = cluster.nodes();
    let (servers, others) = (Arc::clone(&cluster), Arc::clone(&cluster));
    let ready = beside(move || servers.until_replicated());
    // Whoever holds the records of id 9, which every ledger wrote.
    let fail_over = beside(move || others.fail_over(others.holder("{09}")));
    lives_through(|speed| config(&nodes, Topology::Cluster, speed), ready, fail_over).await;
    drop(cluster);
}

async fn lives_through(
    config: impl Fn(u32) -> Config,
    ready: impl Future<Output = ()>,
    fail_over: impl Future<Output = ()>,
) {
    let clock = ledger_contract::clock();
    let mut ledgers = Vec::new();
    for _ in 0..TESTS {
        let ledger = open(config(SPEED), clock.clone()).await;
        let claimed = claim(&ledger, 9, "before").await.unwrap();
        let Claimed::Fresh(version) = claimed else { panic!("{claimed:?}") };
        ledgers.push((Arc::new(ledger), version));
    }
    ready.await;

    let short = Duration::from_millis(500);
    let brief = Config { timeout: short, connect_timeout: short, ..config(1) };
    let writing = open(brief, Clock::System).await;
    let (ended, end) = watch::channel(false);
    let written = tokio::join!(write_on(&writing, end), async {
        fail_over.await;
        ended.send_replace(true);
    });
    check(&writing, written.0).await;

    let began = Instant::now();
    let mut left = Vec::new();
    for (ledger, version) in ledgers {
        let held = recovered(&ledger, began).await.expect("it was replicated");
        assert_eq!((held.version, held.record), (version, Bytes::from_static(b"before")));
        let settled = ledger.replace(id(9), version, Entry { open: false, ..entry("after") }).await;
        assert!(matches!(settled, Ok(Replaced::Done(_))), "{settled:?}");
        left.push(ledger);
    }
    ledger_contract::hold(left, &clock).await;
}

/// The record 9, as soon as the ledger answers.
async fn recovered(ledger: &Redis, began: Instant) -> Option<payonce::ledger::Held> {
    loop {
        match ledger.get(id(9)).await {
            Ok(held) => return held,
            Err(error) => assert!(began.elapsed() < RECOVERY, "it does not recover: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What may stand under each id: all that was asked to be written there, answered or not.
type Asked = BTreeMap<u8, Vec<String>>;

/// Claims and settles one id after the other until told, and then until one pair was answered
/// again.
async fn write_on(ledger: &Redis, end: watch::Receiver<bool>) -> Asked {
    let mut asked = Asked::new();
    let (mut unanswered, mut told) = (0_u32, None);
    for round in 0_u32.. {
        let number = u8::try_from(10 + round % 200).unwrap();
        let done = write_once(ledger, number, round, asked.entry(number).or_default()).await;
        match done {
            Ok(()) if told.is_some() => break,
            Ok(()) => {}
            Err(LedgerError::Unavailable(_)) => unanswered += 1,
            Err(damaged @ LedgerError::Damaged(_)) => panic!("{damaged}"),
        }
        if *end.borrow() {
            let since = *told.get_or_insert_with(Instant::now);
            assert!(since.elapsed() < RECOVERY, "it does not recover");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(unanswered > 0, "the fail-over was not noticed");
    asked
}

async fn write_once(
    ledger: &Redis,
    number: u8,
    round: u32,
    asked: &mut Vec<String>,
) -> Result<(), LedgerError> {
    let (claimed, settled) = (format!("claimed {round}"), format!("settled {round}"));
    asked.push(claimed.clone());
    let version = match claim(ledger, number, &claimed).await? {
        Claimed::Fresh(version) => version,
        // From an earlier round: what stands there is what was asked for.
        Claimed::Found(held) => {
            among(&held.record, asked);
            held.version
        }
    };
    asked.push(settled.clone());
    match ledger.replace(id(number), version, entry(&settled)).await? {
        Replaced::Done(_) => Ok(()),
        // A write that was not answered, or one that the fail-over took back.
        Replaced::Moved(held) => {
            if let Some(held) = held {
                among(&held.record, asked);
            }
            Ok(())
        }
    }
}

fn among(record: &Bytes, asked: &[String]) {
    assert!(asked.iter().any(|it| it.as_bytes() == record), "{record:?} was not asked for");
}

/// What stands there, once the store is asked again after the fail-over.
async fn read(ledger: &Redis, number: u8) -> Option<Held> {
    let began = Instant::now();
    loop {
        match ledger.get(id(number)).await {
            Ok(held) => return held,
            Err(failed) => assert!(began.elapsed() < Duration::from_secs(30), "{failed}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn check(ledger: &Redis, asked: Asked) {
    for (number, asked) in asked {
        if let Some(held) = read(ledger, number).await {
            among(&held.record, &asked);
        }
    }
}
