//! Different versions of payonce on one store, and values that are none of payonce's.

use serde_json::Value;

use crate::harness::World;
use crate::redis_servers::{Options, Server};

use super::{charge, on};

async fn charged() -> (Server, World, String) {
    let server = Server::start(&Options::default());
    let world = on(&server.url()).set("STORE__PREFIX", "p:").start().await;
    world.done(&charge("order")).await.is(200, "executed");
    let key = server.keys("p:").into_iter().find(|key| {
        server.command(&["TYPE", key]) == "string"
            && server.command(&["GET", key]).contains("\"occurrence\"")
    });
    (server, world, key.expect("the record stands in the store"))
}

/// Another process, which remembers nothing, is asked: it refuses, sends nothing and leaves the
/// value as it is.
async fn refused(server: &Server, world: &World, key: &str, value: &str) {
    server.command(&["SET", key, value, "KEEPTTL"]);
    let other = on(&server.url()).set("STORE__PREFIX", "p:");
    let other = other.upstream(world.sandbox.addr()).start().await;
    let sent = world.seen().len();
    other.done(&charge("order")).await.refused(503, "payonce_store_unreadable");
    assert_eq!(world.seen().len(), sent, "{value:?}");
    assert_eq!(server.command(&["GET", key]), value);
    other.done(&charge("another")).await.is(200, "executed");
}

#[tokio::test]
async fn a_record_of_a_newer_payonce_is_refused_politely_and_never_overwritten() {
    let (server, world, key) = charged().await;
    let stored = server.command(&["GET", &key]);
    let (version, record) = stored.split_once('\n').expect("a version before the record");
    let mut record: Value = serde_json::from_str(record).unwrap();
    record["format"] = Value::from(record["format"].as_u64().unwrap() + 1);
    record["of_the_future"] = Value::from(true);
    refused(&server, &world, &key, &format!("{version}\n{record}")).await;
    assert_eq!(world.effects().len(), 2);
}

#[tokio::test]
async fn a_value_that_is_no_record_is_refused_and_left_alone() {
    let (server, world, key) = charged().await;
    refused(&server, &world, &key, "somebody else's").await;
}

#[tokio::test]
async fn what_stands_in_the_store_can_be_read_by_a_person_and_holds_no_secret() {
    let (server, _world, key) = charged().await;
    let stored = server.command(&["GET", &key]);
    let (version, record) = stored.split_once('\n').unwrap();
    assert!(version.parse::<u64>().is_ok());
    let record: Value = serde_json::from_str(record).unwrap();
    assert!(record.is_object());
    let left: i64 = server.command(&["PTTL", &key]).parse().unwrap();
    assert!(left > 3_600_000, "{left}");
    for key in server.keys("") {
        let value = match server.command(&["TYPE", &key]).as_str() {
            "string" => server.command(&["GET", &key]),
            _list => server.command(&["ZRANGE", &key, "0", "-1"]),
        };
        for secret in ["sk_test_shop_1", "tok_visa", "order\""] {
            assert!(!value.contains(secret) && !key.contains(secret), "{key}: {value}");
        }
        assert!(key.starts_with("p:"), "{key}");
    }
}
