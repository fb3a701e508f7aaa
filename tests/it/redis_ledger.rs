//! The Redis ledger against a real server: what only Redis does.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test may fail the test"
)]

use std::time::Duration;

use bytes::Bytes;
use payonce::chance::Chance;
use payonce::clock::Clock;
use payonce::ledger::redis::{Config, Login, OpenError, Redis};
use payonce::ledger::{Claimed, Entry, KeyDigest, Ledger, LedgerError, RecordId};
use payonce::metrics::Metrics;
use payonce::settings::Secret;
use redis::Commands;

use super::harness::{BY_CONTENT, Post, Setup, until};
use super::redis_server::RedisServer;

const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];

fn id(number: u8) -> RecordId {
    RecordId([number; 32])
}

fn entry(record: &str) -> Entry {
    Entry {
        record: Bytes::copy_from_slice(record.as_bytes()),
        ttl: Duration::from_hours(1),
        open: true,
        keys: vec![KeyDigest([7; 16])],
    }
}

async fn opened(config: Config, metrics: &Metrics) -> Result<Redis, OpenError> {
    Redis::open(config, Clock::System, Chance::System, metrics.clone()).await
}

async fn open(config: Config) -> Redis {
    opened(config, &Metrics::new()).await.unwrap()
}

async fn is_fresh(ledger: &Redis, number: u8) -> bool {
    matches!(ledger.claim(&[id(number)], entry("{}")).await.unwrap(), Claimed::Fresh(_))
}

fn shows(metrics: &Metrics, line: &str) -> bool {
    metrics.encode().lines().any(|had| had == line)
}

#[tokio::test]
async fn a_value_can_be_read_by_a_person_and_expires() {
    let server = RedisServer::start(&[]);
    let ledger = open(server.config(1)).await;
    let claimed = ledger.claim(&[id(0xab)], entry("{\"a\":1}")).await.unwrap();
    let Claimed::Fresh(version) = claimed else { panic!("{claimed:?}") };
    let mut redis = server.connection();
    let key = format!("payonce:{{ab}}:{}", "ab".repeat(32));
    let value: String = redis.get(&key).unwrap();
    assert_eq!(value, format!("{}\n{{\"a\":1}}", version.0));
    for key in [key, "payonce:{ab}:open".to_owned(), format!("payonce:k:{}", "07".repeat(16))] {
        let ttl: i64 = redis.pttl(&key).unwrap();
        assert!((3_500_000..=3_600_000).contains(&ttl), "{key} {ttl}");
    }
}

#[tokio::test]
async fn two_prefixes_share_a_server_and_see_nothing_of_each_other() {
    let server = RedisServer::start(&[]);
    let one = open(server.config(1)).await;
    let same = open(server.config(1)).await;
    let other = open(Config { prefix: "other:".to_owned(), ..server.config(1) }).await;
    assert!(is_fresh(&one, 1).await);
    assert!(!is_fresh(&same, 1).await);
    assert!(is_fresh(&other, 1).await);
    assert_eq!(other.open(9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_lost_the_script_is_given_it_again() {
    let server = RedisServer::start(&[]);
    let ledger = open(server.config(1)).await;
    assert!(is_fresh(&ledger, 1).await);
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut server.connection()).unwrap();
    assert!(is_fresh(&ledger, 2).await);
    assert!(!is_fresh(&ledger, 2).await);
}

#[tokio::test]
async fn a_password_is_used_and_a_wrong_one_keeps_payonce_from_starting_without_being_shown() {
    let server = RedisServer::start(&["--requirepass", "hunter2"]);
    let with = |password: &str| {
        let password = Some(Secret::new(password.as_bytes().to_vec()));
        Config { login: Login { user: None, password }, ..server.config(1) }
    };
    assert!(is_fresh(&open(with("hunter2")).await, 1).await);
    for config in [with("swordfish"), server.config(1)] {
        assert!(!format!("{config:?}").contains("swordfish"));
        let refused = opened(config, &Metrics::new()).await.unwrap_err();
        assert!(matches!(refused, OpenError::Unfit(_)), "{refused}");
        assert!(!refused.to_string().contains("swordfish"), "{refused}");
    }
}

#[tokio::test]
async fn only_a_server_that_appends_to_disk_and_evicts_nothing_is_trusted_to_forget_nothing() {
    let sound = RedisServer::start(&DURABLE);
    assert!(open(sound.config(1)).await.never_forgets());
    let forgetful = RedisServer::start(&[]);
    assert!(!open(forgetful.config(1)).await.never_forgets());
    let evicting = [&DURABLE[..], &["--maxmemory-policy", "allkeys-lru"]].concat();
    let evicting = RedisServer::start(&evicting);
    assert!(!open(evicting.config(1)).await.never_forgets());
}

#[tokio::test]
async fn a_store_that_was_emptied_is_noticed_and_trusted_no_more_by_later_processes_either() {
    let server = RedisServer::start(&DURABLE);
    let metrics = Metrics::new();
    let ledger = opened(server.config(1), &metrics).await.unwrap();
    assert!(ledger.never_forgets());
    redis::cmd("FLUSHALL").exec(&mut server.connection()).unwrap();
    until("it is noticed", || !ledger.never_forgets()).await;
    until("it is counted", || shows(&metrics, "payonce_store_forgot_total{sign=\"mark_gone\"} 1"))
        .await;
    assert!(!open(server.config(1)).await.never_forgets());
    assert!(is_fresh(&ledger, 1).await);
}

#[tokio::test]
async fn a_full_store_says_so_keeps_what_it_has_and_is_still_read() {
    let server = RedisServer::start(&["--maxmemory-policy", "noeviction"]);
    let ledger = open(server.config(1)).await;
    assert!(is_fresh(&ledger, 1).await);
    redis::cmd("CONFIG")
        .arg("SET")
        .arg("maxmemory")
        .arg("1")
        .exec(&mut server.connection())
        .unwrap();
    for _ in 0..10 {
        let full = ledger.claim(&[id(2)], entry("{}")).await.unwrap_err();
        assert!(full.to_string().contains("it is full"), "{full}");
    }
    assert!(ledger.get(id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_store_that_is_gone_is_soon_not_asked_and_is_found_again_when_it_is_back() {
    // With `everysec`, a write waits in the server's memory while another is flushed to disk,
    // and a kill loses what was answered already: seen once in a hundred runs.
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let metrics = Metrics::new();
    let ledger = opened(server.config(1), &metrics).await.unwrap();
    assert!(is_fresh(&ledger, 1).await);
    server.stop();
    for _ in 0..6 {
        let down = ledger.get(id(1)).await.unwrap_err();
        assert!(matches!(down, LedgerError::Unavailable(_)), "{down}");
    }
    assert!(shows(&metrics, "payonce_store_breaker_total{change=\"opened\"} 1"));
    let held = ledger.get(id(1)).await.unwrap_err();
    assert!(held.to_string().contains("is not asked for a while"), "{held}");
    server.again();
    until("it is asked again", || {
        shows(&metrics, "payonce_store_breaker_total{change=\"closed\"} 1")
    })
    .await;
    assert!(!is_fresh(&ledger, 1).await);
    // A restart begins another history: the last writes before it may be gone.
    until("it is looked at", || {
        shows(&metrics, "payonce_store_forgot_total{sign=\"history_changed\"} 1")
    })
    .await;
}

#[tokio::test]
async fn payonce_starts_without_its_store_and_finds_it_later() {
    let mut server = RedisServer::start(&[]);
    server.stop();
    let ledger = open(server.config(1)).await;
    assert!(ledger.get(id(1)).await.is_err() && !ledger.never_forgets());
    server.again();
    for _ in 0..2000 {
        if ledger.get(id(1)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it was not found");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_costs_no_call() {
    let server = RedisServer::start(&[]);
    let ledger = open(server.config(1)).await;
    for number in 1..5 {
        let mut redis = server.connection();
        redis::cmd("CLIENT").arg("KILL").arg("SKIPME").arg("yes").exec(&mut redis).unwrap();
        // The close arrives with the runtime's next turn.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(is_fresh(&ledger, number).await);
    }
}

#[tokio::test]
async fn a_record_of_a_newer_payonce_is_refused_and_left_as_it_is() {
    let server = RedisServer::start(&[]);
    let nodes = format!("unix://{}", server.socket().display());
    let world = Setup::policy(BY_CONTENT)
        .set("STORE__KIND", "redis")
        .set("STORE__NODES", nodes)
        .set("STORE__CONNECT_TIMEOUT", "30s")
        .start()
        .await;
    let charge = Post::charge("amount=500&currency=usd&source=tok_visa");
    world.done(&charge).await.is(200, "executed");
    world.settled().await;
    let mut redis = server.connection();
    let keys: Vec<String> = redis.keys("payonce:{*}:*").unwrap();
    let is_record = |key: &&String| {
        redis.get::<_, String>(key).is_ok_and(|value| value.contains("\"occurrence\""))
    };
    let key = keys.iter().find(is_record).unwrap();
    let newer = "99\n{\"format\":2,\"wonders\":true}";
    let () = redis.set(key, newer).unwrap();
    let refused = world.done(&charge).await;
    refused.refused(503, "payonce_store_unreadable");
    assert_eq!(world.seen().len(), 1);
    let stands: String = redis.get(key).unwrap();
    assert_eq!(stands, newer);
}
