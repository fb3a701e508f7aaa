//! Spans: their ids go with the tasks, and what is told of them comes out once all work is done.

use std::sync::Arc;

use http::{HeaderValue, Response, StatusCode, Version};

use super::*;
use crate::clock::Timestamp;
use crate::metrics::Metrics;
use crate::upstream::Cause;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn origins() -> Origins {
    Origins::all(&Origin::parse("https://api.stripe.com").unwrap())
}

/// What makes spans, all of which are kept at this share, and where they come out.
fn tracer(share: f64) -> (Tracer, Spans, Metrics) {
    let metrics = Metrics::new();
    let (queue, spans) = Queue::new(metrics.clone());
    let clock = Clock::driven(Timestamp::from_millis(1_790_000_000_000), 1);
    let export = Export { clock, sampler: Sampler::ratio(share), queue };
    (Tracer::new(Chance::seeded(1), Some(export), true, origins()), spans, metrics)
}

fn with_parent(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(TRACEPARENT, HeaderValue::from_str(text).unwrap());
    headers
}

fn charge() -> (Method, Target) {
    (Method::POST, Target::parse("/v1/charges/ch_secret/capture?q=jane").unwrap())
}

fn attribute<'a>(span: &'a Finished, name: &str) -> Option<&'a Value> {
    span.attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn text(value: &'static str) -> Value {
    value.into()
}

fn answer(status: u16) -> Response<()> {
    let mut answer = Response::new(());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

#[tokio::test]
async fn a_request_goes_on_with_its_trace_and_attempts_lie_below_it() {
    let (tracer, mut spans, _metrics) = tracer(0.0);
    let (method, target) = charge();
    let request = tracer.request(&method, &with_parent(PARENT));
    let work = async {
        about(&method, &target, "captures");
        let first = attempt(Host::Api, 1);
        first.attempted(Some(Cause::Closed));
        let second = attempt(Host::Api, 2);
        second.head(&answer(402));
        second.attempted(None);
        ids().unwrap()
    };
    let own = request.during(work).await;
    request.answered(StatusCode::PAYMENT_REQUIRED);
    let (first, second, request) =
        (spans.try_recv().unwrap(), spans.try_recv().unwrap(), spans.try_recv().unwrap());
    assert_eq!(request.ids, own);
    assert_eq!(hex::encode(own.trace), PARENT[3..35]);
    assert_eq!(request.parent.map(|(id, far)| (hex::encode(id), far)), {
        Some((PARENT[36..52].to_owned(), true))
    });
    assert_eq!(request.kind, Kind::Server);
    assert_eq!(request.name, "POST /v1/charges/{charge}/capture");
    assert_eq!(attribute(&request, "payonce.rule"), Some(&text("captures")));
    assert_eq!(attribute(&request, "error.type"), None);
    for attempt in [&first, &second] {
        assert_eq!(attempt.parent, Some((own.span, false)));
        assert_eq!((attempt.ids.trace, attempt.kind), (own.trace, Kind::Client));
        assert_eq!(attribute(attempt, "server.port"), Some(&Value::Number(443)));
        assert_eq!(attribute(attempt, "url.path"), Some(&text("/v1/charges/{charge}/capture")));
        assert!(attempt.failed);
    }
    assert_eq!(attribute(&first, "error.type"), Some(&text("closed")));
    assert_eq!(attribute(&first, "http.request.resend_count"), None);
    assert_eq!(attribute(&second, "error.type"), Some(&text("402")));
    assert_eq!(attribute(&second, "http.request.resend_count"), Some(&Value::Number(1)));
    let shown = format!("{request:?}{first:?}{second:?}");
    assert!(!shown.contains("secret") && !shown.contains("jane"), "{shown}");
}

#[tokio::test]
async fn a_trace_that_is_not_kept_has_ids_and_tells_nobody() {
    let (tracer, mut spans, _metrics) = tracer(1.0);
    let request = tracer.request(&Method::GET, &with_parent(&PARENT.replace("-01", "-00")));
    let ids = request.during(async { ids() }).await.unwrap();
    assert_eq!(hex::encode(ids.trace), PARENT[3..35]);
    request.answered(StatusCode::OK);
    assert!(spans.try_recv().is_err());
}

#[tokio::test]
async fn a_request_without_a_good_parent_begins_a_trace() {
    let (tracer, mut spans, _metrics) = tracer(1.0);
    tracer.request(&Method::GET, &with_parent("00-nonsense")).answered(StatusCode::OK);
    let span = spans.try_recv().unwrap();
    assert!(span.parent.is_none());
    assert_eq!(span.flags.bits(), 3);
    assert_eq!(span.name, "GET");
}

#[tokio::test]
async fn a_span_is_handed_on_when_its_last_task_is_done_and_ends_with_its_answer() {
    let (tracer, mut spans, _metrics) = tracer(1.0);
    let request = tracer.request(&Method::POST, &HeaderMap::new());
    let late = request.during(async { current() }).await;
    let task = within(late, async { note(|it| it.tell("late", "told")) });
    request.answered(StatusCode::OK);
    assert!(spans.try_recv().is_err());
    task.await;
    let span = spans.try_recv().unwrap();
    assert_eq!(attribute(&span, "late"), Some(&text("told")));
}

#[tokio::test]
async fn who_only_mentions_a_span_does_not_keep_it() {
    let (tracer, mut spans, _metrics) = tracer(1.0);
    let request = tracer.request(&Method::POST, &HeaderMap::new());
    let mentioned = request.during(async { current().unwrap().mention() }).await;
    request.answered(StatusCode::OK);
    assert_eq!(spans.try_recv().unwrap().ids, mentioned.ids());
}

#[tokio::test]
async fn a_request_whose_client_hangs_up_is_told_as_cancelled() {
    let (tracer, mut spans, _metrics) = tracer(1.0);
    drop(tracer.request(&Method::POST, &HeaderMap::new()));
    let span = spans.try_recv().unwrap();
    assert_eq!(attribute(&span, "error.type"), Some(&text("cancelled")));
    assert!(span.failed);
}

#[tokio::test]
async fn what_payonce_says_of_its_failure_is_told_instead_of_its_status() {
    let (tracer, mut spans, _metrics) = tracer(1.0);
    let request = tracer.request(&Method::POST, &HeaderMap::new());
    request.note(|it| it.tell("payonce.code", "payonce_store_down"));
    request.answered(StatusCode::SERVICE_UNAVAILABLE);
    let span = spans.try_recv().unwrap();
    assert_eq!(attribute(&span, "error.type"), Some(&text("payonce_store_down")));
}

#[tokio::test]
async fn the_provider_is_told_of_an_attempt_only_if_it_may_know() {
    let (mut fields, mut none) = (HeaderMap::new(), HeaderMap::new());
    let headers = with_parent(PARENT);
    let told = async |tracer: Tracer, fields: &mut HeaderMap| {
        let request = tracer.request(&Method::POST, &headers);
        request.during(async { attempt(Host::Api, 1).inject(fields) }).await;
    };
    told(tracer(1.0).0, &mut fields).await;
    told(Tracer::new(Chance::System, None, false, origins()), &mut none).await;
    let said = fields[TRACEPARENT].to_str().unwrap();
    assert_eq!((&said[..35], &said[52..]), (&PARENT[..35], &PARENT[52..]));
    assert_ne!(said[36..52], PARENT[36..52]);
    assert!(none.is_empty());
}

#[tokio::test]
async fn spans_that_find_no_room_are_counted_and_gone() {
    let (tracer, spans, metrics) = tracer(1.0);
    let room = spans.max_capacity();
    for _ in 0..room + 3 {
        tracer.request(&Method::GET, &HeaderMap::new()).answered(StatusCode::OK);
    }
    assert_eq!(spans.len(), room);
    let text = metrics.encode();
    assert!(text.contains("payonce_trace_spans_total{result=\"dropped\"} 3"), "{text}");
}

fn redis() -> Store {
    let server = Some(("redis.internal".to_owned(), Some(6380)));
    Store { system: "redis", kind: Kind::Client, server, namespace: Some("3".to_owned()) }
}

#[tokio::test]
async fn a_call_of_the_store_lies_below_the_request_and_says_how_it_failed() {
    let (tracer, mut spans, _metrics) = tracer(1.0);
    let request = tracer.request(&Method::POST, &with_parent(PARENT));
    let above = request.during(async { ids().unwrap() }).await;
    request
        .during(async {
            call(&redis(), "claim").ended(None);
            call(&redis(), "replace").ended(Some("unavailable"));
            drop(call(&redis(), "get"));
        })
        .await;
    request.answered(StatusCode::OK);
    for (name, failed) in [
        ("claim redis.internal:6380", None),
        ("replace redis.internal:6380", Some("unavailable")),
        ("get redis.internal:6380", Some("cancelled")),
    ] {
        let call = spans.try_recv().unwrap();
        assert_eq!((&*call.name, call.kind), (name, Kind::Client));
        assert_eq!((call.ids.trace, call.parent), (above.trace, Some((above.span, false))));
        assert_eq!(attribute(&call, "error.type"), failed.map(Value::from).as_ref());
        assert_eq!(call.failed, failed.is_some());
        assert_eq!(attribute(&call, "db.system.name"), Some(&text("redis")));
        assert_eq!(attribute(&call, "server.port"), Some(&Value::Number(6380)));
        assert_eq!(attribute(&call, "db.namespace"), Some(&text("3")));
    }
    assert_eq!(spans.try_recv().unwrap().ids, above);
}

#[tokio::test]
async fn a_call_is_nothing_outside_of_a_request_or_where_its_trace_is_not_kept() {
    let untold = |call: Call| assert_eq!(format!("{call:?}"), "Call(untold)");
    untold(call(&redis(), "claim"));
    let (tracer, mut spans, _metrics) = tracer(0.0);
    let request = tracer.request(&Method::POST, &HeaderMap::new());
    request.during(async { untold(call(&redis(), "claim")) }).await;
    // What is written once nobody waits for it any more is only mentioned.
    let late = request.during(async { current().unwrap().mention() }).await;
    within(Some(late), async { untold(call(&redis(), "claim")) }).await;
    let exporting_nothing = Tracer::default().request(&Method::POST, &with_parent(PARENT));
    exporting_nothing.during(async { untold(call(&redis(), "claim")) }).await;
    request.answered(StatusCode::OK);
    assert!(spans.try_recv().is_err());
}

#[tokio::test]
async fn of_a_request_that_asks_the_store_for_ever_the_first_calls_are_told() {
    let (tracer, spans, metrics) = tracer(1.0);
    let request = tracer.request(&Method::POST, &HeaderMap::new());
    request.during(async { (0..64 + 3).for_each(|_| call(&redis(), "get").ended(None)) }).await;
    assert_eq!(spans.len(), 64);
    let text = metrics.encode();
    assert!(text.contains("payonce_trace_spans_total{result=\"dropped\"} 3"), "{text}");
}

#[tokio::test]
async fn outside_of_a_request_there_is_no_span() {
    assert!(ids().is_none() && current().is_none());
    note(|it| it.tell("nobody", "hears"));
    let attempt = attempt(Host::Api, 1);
    attempt.version(Version::HTTP_2);
    attempt.attempted(None);
    assert_eq!(carried(async { 1 }).await, 1);
}

#[test]
fn no_path_of_a_clients_shows_in_a_span() {
    let (tracer, mut spans, _metrics) = tracer(1.0);
    let span = Arc::new(tracer);
    for (path, shown) in [
        ("/v1/new_things/jane", "GET /v1/**"),
        ("/v2/new/jane", "GET /v2/**"),
        ("/jane", "GET /**"),
        ("/v1/customers/jane", "GET /v1/customers/{customer}"),
    ] {
        let request = span.request(&Method::GET, &HeaderMap::new());
        request.is_about(&Method::GET, &Target::parse(path).unwrap());
        request.answered(StatusCode::OK);
        assert_eq!(spans.try_recv().unwrap().name, shown, "{path}");
    }
}
