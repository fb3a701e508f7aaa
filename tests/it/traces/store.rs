//! Calls of the store in a trace: how much of a request was the store's, and that it was down.

use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::collector::{Collector, Manner};
use super::{CHARGES, TRACE, charge, exporting, failed, told};
use crate::harness::{Setup, World};
use crate::redis_servers::{Options, Server};
use crate::relay::{End, Relay, Script};

/// What is told of a call, by name.
fn keys(call: &Span) -> Vec<&str> {
    call.attributes.iter().map(|pair| pair.key.as_str()).collect()
}

fn on(redis: String, collector: &Collector) -> Setup {
    exporting(collector)
        .set("STORE__KIND", "redis")
        .set("STORE__NODES", redis)
        .set("STORE__TIMEOUT", "30s")
        .set("STORE__CONNECT_TIMEOUT", "30s")
}

#[tokio::test]
async fn a_claim_and_a_settling_write_are_spans_below_the_requests() {
    let collector = Collector::start(Manner::Takes).await;
    let world = exporting(&collector).start().await;
    let reply = world.done(&charge()).await;
    assert_eq!(reply.status, 200);
    let calls = collector.got_calls(2).await;
    let spans = collector.got(2).await;
    let request = spans.iter().find(|span| span.kind() == SpanKind::Server).unwrap();
    let attempt = spans.iter().find(|span| span.kind() == SpanKind::Client).unwrap();
    let [claim, settling] = &calls[..] else { panic!("{calls:?}") };
    for (call, name) in [(claim, "claim"), (settling, "replace")] {
        assert_eq!(hex::encode(&call.trace_id), TRACE);
        assert_eq!(call.parent_span_id, request.span_id);
        // The store is in this process.
        assert_eq!((&*call.name, call.kind(), call.flags), (name, SpanKind::Internal, 0x101));
        assert_eq!(keys(call), ["db.system.name", "db.operation.name"]);
        assert_eq!(told(call, "db.system.name").as_deref(), Some("memory"));
        assert_eq!(told(call, "db.operation.name").as_deref(), Some(name));
        assert!(!failed(call));
    }
    assert!(claim.start_time_unix_nano >= request.start_time_unix_nano);
    assert!(claim.end_time_unix_nano >= claim.start_time_unix_nano);
    assert!(claim.end_time_unix_nano <= attempt.start_time_unix_nano);
    assert!(claim.end_time_unix_nano <= request.end_time_unix_nano);
    assert!(settling.start_time_unix_nano >= attempt.end_time_unix_nano);
}

#[tokio::test]
async fn the_embedded_store_is_told_by_its_own_name() {
    let collector = Collector::start(Manner::Takes).await;
    let world = exporting(&collector).set("STORE__KIND", "embedded").start().await;
    assert_eq!(world.done(&charge()).await.status, 200);
    for call in collector.got_calls(2).await {
        assert_eq!(told(&call, "db.system.name").as_deref(), Some("redb"));
        assert_eq!(call.kind(), SpanKind::Internal);
    }
}

#[tokio::test]
async fn a_call_of_a_redis_says_where_it_is_and_nothing_of_what_is_in_it() {
    let server = Arc::new(Server::start(&Options::default()));
    let collector = Collector::start(Manner::Takes).await;
    let world = on(server.url(), &collector).start().await;
    assert_eq!(world.done(&charge()).await.status, 200);
    let calls = collector.got_calls(2).await;
    let port = server.addr().port().to_string();
    for (call, name) in calls.iter().zip(["claim", "replace"]) {
        assert_eq!(call.name, format!("{name} 127.0.0.1:{port}"));
        assert_eq!(call.kind(), SpanKind::Client);
        for (key, value) in [
            ("db.system.name", "redis"),
            ("db.operation.name", name),
            ("db.namespace", "0"),
            ("server.address", "127.0.0.1"),
            ("server.port", &port),
        ] {
            assert_eq!(told(call, key).as_deref(), Some(value), "{key}");
        }
        assert_eq!(call.attributes.len(), 5);
    }
}

#[tokio::test]
async fn a_store_that_is_down_shows_in_the_trace_and_changes_no_answer() {
    const BOTH: &str = "[[rule]]\nname = \"refunds\"\nmatch = [\"POST /v1/refunds\"]\n\
        class = \"critical\"\nidentity = \"content\"\ndistinguishes = [\"charge\"]\n\
        store_down = \"refuse\"\n";
    let server = Arc::new(Server::start(&Options::default()));
    let relay = Relay::start(server.addr());
    let collector = Collector::start(Manner::Takes).await;
    let setup = on(format!("redis://{}", relay.addr()), &collector);
    let setup = Setup { policy: format!("version = 1\n{CHARGES}{BOTH}"), ..setup };
    let world: World = setup.start().await;
    relay.set(Script::refusing());
    relay.end_all(End::Reset);

    let charged = world.ask(&charge()).await;
    assert_eq!((charged.status, charged.header("payonce-degraded")), (200, Some("store")));
    let mut refund = charge().at("/v1/refunds");
    refund.body = b"charge=ch_1".to_vec();
    world.ask(&refund).await.refused(503, "payonce_store_down");

    // Two requests, and the attempt of one.
    let spans = collector.got(3).await;
    let calls = collector.got_calls(2).await;
    let below = |name: &str| {
        let span = spans.iter().find(|it| it.name == name && it.kind() == SpanKind::Server);
        let span = span.unwrap_or_else(|| panic!("no {name} in {spans:?}"));
        calls.iter().find(|call| call.parent_span_id == span.span_id).unwrap()
    };
    let port = relay.addr().port();
    for request in ["POST /v1/charges", "POST /v1/refunds"] {
        let claim = below(request);
        assert_eq!(claim.name, format!("claim 127.0.0.1:{port}"));
        assert_eq!(told(claim, "error.type").as_deref(), Some("unavailable"));
        assert!(failed(claim));
    }
}
