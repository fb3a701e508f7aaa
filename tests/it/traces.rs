//! Traces over sockets: what a collector gets, what Stripe does not, and that no payment waits for
//! either. What log lines say of traces stands in `log_schema`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::Value;

use crate::guards::logged;
use crate::harness::{Post, Setup, World, unavailable, until};

mod collector;
mod credentials;
mod store;

use collector::{Collector, Manner, attribute};

const CHARGES: &str = "[[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\n\
    class = \"critical\"\nidentity = \"content\"\ndistinguishes = [\"source\"]\n";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

fn charge() -> Post {
    Post::charge("amount=500&currency=usd&source=tok_visa&metadata[note]=canarynote")
        .with("traceparent", &parent("01"))
        .with("tracestate", "vendor=canarystate")
        .with("baggage", "user=canarybaggage")
}

fn exporting(collector: &Collector) -> Setup {
    Setup::policy(CHARGES).set("TRACING__OTLP_ENDPOINT", format!("http://{}", collector.addr))
}

fn told(span: &Span, key: &str) -> Option<String> {
    attribute(&span.attributes, key)
}

fn failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

fn spans(world: &World, result: &str) -> u64 {
    world.count(&format!("payonce_trace_spans_total{{result=\"{result}\"}}"))
}

#[tokio::test]
async fn a_charge_of_two_attempts_is_a_span_with_two_below_it() {
    let collector = Collector::start(Manner::Takes).await;
    let world = exporting(&collector).start().await;
    world.faults([unavailable().times(1)]);
    let reply = world.done(&charge()).await;
    assert_eq!((reply.status, world.seen().len()), (200, 2));
    let mut spans = collector.got(3).await;
    spans.sort_by_key(|span| (span.kind != i32::from(SpanKind::Server), span.start_time_unix_nano));
    let [request, first, second] = &spans[..] else { panic!("{spans:?}") };
    for span in &spans {
        assert_eq!(
            (hex::encode(&span.trace_id), &*span.trace_state),
            (TRACE.to_owned(), "vendor=canarystate")
        );
        assert_eq!(told(span, "url.path").as_deref(), Some("/v1/charges"));
        assert_eq!(told(span, "http.request.method").as_deref(), Some("POST"));
        assert_eq!(told(span, "network.protocol.version").as_deref(), Some("1.1"));
        assert_eq!(span.name, "POST /v1/charges");
        assert!(span.end_time_unix_nano > span.start_time_unix_nano, "{span:?}");
    }
    assert_eq!(hex::encode(&request.parent_span_id), CALLER);
    assert_eq!((request.kind(), request.flags), (SpanKind::Server, 0x301));
    assert!(!failed(request));
    for (key, value) in [
        ("http.route", "/v1/charges"),
        ("http.response.status_code", "200"),
        ("payonce.rule", "charges"),
        ("payonce.row", "A1"),
        ("payonce.outcome", "executed"),
        ("payonce.operation_id", reply.header("payonce-operation-id").unwrap()),
    ] {
        assert_eq!(told(request, key).as_deref(), Some(value), "{key}");
    }
    let port = world.sandbox.addr().port().to_string();
    for attempt in [first, second] {
        assert_eq!(attempt.parent_span_id, request.span_id);
        assert_eq!((attempt.kind(), attempt.flags), (SpanKind::Client, 0x101));
        assert_eq!(told(attempt, "server.address").as_deref(), Some("127.0.0.1"));
        assert_eq!(told(attempt, "server.port").as_ref(), Some(&port));
    }
    assert_ne!(first.span_id, second.span_id);
    assert_eq!(told(first, "http.response.status_code").as_deref(), Some("503"));
    assert_eq!(told(first, "error.type").as_deref(), Some("503"));
    assert_eq!(told(first, "http.request.resend_count"), None);
    assert!(failed(first) && !failed(second));
    assert_eq!(told(second, "http.response.status_code").as_deref(), Some("200"));
    assert_eq!(told(second, "http.request.resend_count").as_deref(), Some("1"));
    let resource = collector.resource();
    assert_eq!(attribute(&resource, "service.name").as_deref(), Some("payonce"));
    assert!(attribute(&resource, "service.instance.id").is_some());
}

#[tokio::test]
async fn nothing_of_a_path_a_query_a_key_a_body_or_a_person_reaches_the_collector() {
    let collector = Collector::start(Manner::Takes).await;
    let world = exporting(&collector).start().await;
    let paths = [
        "/v1/charges/ch_canarypath/capture?expand[]=canaryquery",
        "/v1/things/canarypath",
        "/canarypath/x",
    ];
    for path in paths {
        world.done(&Post::new(path, "note=canarybody").key("canarykey-0123456789")).await;
        world.done(&Post::new(path, "").method("GET").with("User-Agent", "canaryagent")).await;
    }
    world.done(&charge().instead("Authorization", "Bearer sk_test_canarysecret")).await;
    // A head that is refused before anything is made of it.
    world
        .done(&charge().with("Idempotency-Key", "canaryone").with("Idempotency-Key", "canarytwo"))
        .await;
    let spans = collector.got(15).await;
    let bytes = collector.bytes();
    let shown = String::from_utf8_lossy(&bytes);
    let state = shown.replace("canarystate", "");
    assert!(!state.contains("canary"), "{spans:?}");
    assert!(spans.iter().any(|span| span.name == "POST /v1/charges/{charge}/capture"), "{spans:?}");
}

#[tokio::test]
async fn whoever_began_the_trace_decides_whether_it_is_kept() {
    let collector = Collector::start(Manner::Takes).await;
    let world = exporting(&collector).set("TRACING__SAMPLE_RATIO", "0.0").start().await;
    world.done(&charge().instead("traceparent", &parent("00"))).await;
    world.done(&charge().instead("traceparent", "")).await;
    world.done(&charge().instead("traceparent", "00-not-good-01")).await;
    world.done(&charge()).await;
    let spans = collector.got(2).await;
    let calls = collector.got_calls(2).await;
    let all = || spans.iter().chain(&calls);
    assert!(all().all(|span| hex::encode(&span.trace_id) == TRACE), "{spans:?} {calls:?}");
    assert_eq!(spans.len(), 2);
}

#[tokio::test]
async fn by_default_stripe_is_told_nothing_of_traces_and_otherwise_of_each_attempt() {
    let collector = Collector::start(Manner::Takes).await;
    for (propagate, of_traces) in [("false", &[][..]), ("true", &["traceparent", "tracestate"])] {
        let world = exporting(&collector).set("TRACING__PROPAGATE", propagate).start().await;
        world.done(&charge()).await;
        world.done(&charge().method("GET").at("/v1/customers/cus_1")).await;
        for seen in world.seen() {
            let names = ["traceparent", "tracestate", "baggage"];
            let found: Vec<_> =
                seen.headers.iter().filter(|it| names.contains(&it.as_str())).collect();
            assert_eq!(found, of_traces, "{seen:?}");
        }
        assert_eq!(world.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_collector_that_hangs_delays_no_payment_and_no_shutdown() {
    let collector = Collector::start(Manner::Hangs).await;
    let mut world = exporting(&collector).start().await;
    assert_eq!(world.done(&charge()).await.status, 200);
    until("the collector has spans and does not answer", || collector.requests() == 1).await;
    for n in 1..20 {
        let body = format!("amount={n}00&currency=usd&source=tok_visa");
        assert_eq!(world.done(&Post::charge(&body)).await.status, 200);
    }
    assert_eq!(world.effects().len(), 20);
    let metrics = world.payonce().metrics.clone();
    assert_eq!(world.stop().await, payonce::server::Summary::default());
    let text = metrics.encode();
    assert!(!text.contains("payonce_trace_spans_total{result=\"sent\"}"), "{text}");
    assert!(text.contains("payonce_trace_spans_total{result=\"dropped\"}"), "{text}");
}

#[tokio::test]
async fn a_collector_that_refuses_harms_nothing_and_the_log_says_so_once() {
    let (log, _guard) = logged();
    let collector = Collector::start(Manner::Answers(400)).await;
    let world = exporting(&collector).start().await;
    for n in 1_u64..4 {
        let body = format!("amount={n}00&currency=usd&source=tok_visa");
        assert_eq!(world.done(&Post::charge(&body)).await.status, 200);
        // The request, its attempt, and two calls of the store.
        let failed = 4 * n;
        until("the spans are counted as failed", || spans(&world, "failed") == failed).await;
    }
    assert!(collector.requests() >= 3);
    assert_eq!(log().matches("the collector did not take spans").count(), 1);
}

#[tokio::test]
async fn a_collector_that_is_not_there_is_asked_again_and_harms_nothing() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("http://{gone}");
    let setup = Setup::policy(CHARGES).set("TRACING__OTLP_ENDPOINT", endpoint);
    let world = setup.start().await;
    assert_eq!(world.done(&charge()).await.status, 200);
    until("the spans are counted as failed", || spans(&world, "failed") == 4).await;
    assert_eq!(world.effects().len(), 1);
}

#[tokio::test]
async fn what_a_collector_does_not_take_of_a_batch_is_counted() {
    let collector = Collector::start(Manner::TakesBut(1)).await;
    let world = exporting(&collector).start().await;
    world.done(&charge()).await;
    collector.got(2).await;
    let requests = u64::try_from(collector.requests()).unwrap();
    until("one of each is not taken", || {
        spans(&world, "failed") == requests && spans(&world, "sent") == 4 - requests
    })
    .await;
}

#[tokio::test]
async fn what_is_left_at_the_end_is_still_sent() {
    let collector = Collector::start(Manner::Takes).await;
    let mut world = exporting(&collector).start().await;
    assert_eq!(world.ask(&charge()).await.status, 200);
    world.stop().await;
    assert_eq!((collector.spans().len(), collector.calls().len()), (2, 2));
}

#[tokio::test]
async fn each_line_of_a_request_says_its_trace_and_whose_span_it_is() {
    let (log, _guard) = logged();
    let world = Setup::policy(CHARGES).start().await;
    world.done(&charge()).await;
    let line = |what: &str| -> Value {
        let log = log();
        let line = log.lines().find(|line| line.contains(what));
        serde_json::from_str(line.unwrap_or_else(|| panic!("no {what} in {log}"))).unwrap()
    };
    let operation = line("payonce::operation");
    assert_eq!(operation["trace_id"], TRACE);
    assert_eq!(operation["span_id"].as_str().unwrap().len(), 16);
    assert_ne!(operation["span_id"], CALLER);
    let twice = charge().with("Idempotency-Key", "one").with("Idempotency-Key", "two");
    world.done(&twice.instead("traceparent", "nonsense")).await;
    let refused = line("payonce_repeated_header");
    assert_eq!(refused["trace_id"].as_str().unwrap().len(), 32);
    assert_ne!(refused["trace_id"], TRACE);
}
