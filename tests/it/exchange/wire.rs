//! Retries, limits and bytes: what is asked for again, what is handed on, and what it looks like.

use std::time::Duration;

use payonce::sandbox::{Fault, Kind, Strike};

use super::stub::{Stub, answer, success};
use crate::harness::{BY_CONTENT, Post, Setup, World, charge, unavailable, until};

async fn world() -> World {
    Setup::policy(BY_CONTENT).start().await
}

#[tokio::test]
async fn retry_after_is_waited_for_within_the_deadline() {
    let world = world().await;
    world.faults([Fault { retry_after: Some("9".to_owned()), ..unavailable() }]);
    let began = world.clock.now();
    world.done(&charge()).await.is(200, "executed");
    let took = world.clock.now().since(began);
    assert!(took >= Duration::from_secs(9), "{took:?}");
}

#[tokio::test]
async fn retry_after_beyond_the_deadline_ends_the_trying_at_once() {
    let world = world().await;
    world.faults([Fault { retry_after: Some("500".to_owned()), ..unavailable() }]);
    let began = world.clock.now();
    let gave_up = world.done(&charge()).await;
    assert_eq!((gave_up.status, gave_up.header("payonce-attempts")), (503, Some("1")));
    assert_eq!(gave_up.header("stripe-should-retry"), Some("false"));
    assert!(world.clock.now().since(began) < Duration::from_secs(30));
    world.done(&charge()).await.is(200, "executed");
    assert_eq!(world.row("A11"), 1);
}

#[tokio::test]
async fn the_budget_bounds_the_retries_of_all_requests() {
    let world = Setup::policy(BY_CONTENT)
        .set("RETRY__BUDGET_RATIO", "0.0")
        .set("RETRY__BUDGET_PER_SECOND", "0.0")
        .set("RETRY__BACKOFF", "1ms")
        .set("RETRY__BACKOFF_MAX", "1ms")
        .start()
        .await;
    world.faults([unavailable().times(1_000)]);
    for n in 0..6 {
        let charge = Post::charge(&format!("amount={n}00&currency=usd&source=tok_visa"));
        assert_eq!(world.done(&charge).await.status, 503);
    }
    // Six first attempts, and the ten retries that a fresh budget holds.
    assert_eq!(world.seen().len(), 16);
}

#[tokio::test]
async fn attempts_end_by_their_number_and_with_the_deadline() {
    let world = Setup::policy(BY_CONTENT).set("RETRY__MAX_ATTEMPTS", 3).start().await;
    world.faults([unavailable().times(1_000)]);
    let gave_up = world.done(&charge()).await;
    assert_eq!((gave_up.status, gave_up.header("payonce-attempts")), (503, Some("3")));
    assert_eq!(gave_up.header("stripe-should-retry"), Some("false"));

    let world = Setup::policy(BY_CONTENT)
        .set("RETRY__MAX_ATTEMPTS", 20)
        .set("RETRY__DEADLINE", "40s")
        .set("RETRY__ATTEMPT_TIMEOUT", "30s")
        .set("STORE__TIMEOUT", "30s")
        .start()
        .await;
    world.faults([Fault::new(Kind::Stall { millis: None, effect: Strike::Before }).times(1_000)]);
    let began = world.clock.now();
    world.done(&charge()).await.refused(504, "payonce_outcome_unknown");
    let took = world.clock.now().since(began);
    assert!((Duration::from_secs(38)..Duration::from_secs(50)).contains(&took), "{took:?}");
    assert_eq!(world.seen().len(), 2);
}

#[tokio::test]
async fn stripe_should_retry_beats_the_status() {
    let world = world().await;
    world.faults([unavailable().should_retry(false)]);
    let told_not_to = world.done(&charge()).await;
    assert_eq!((told_not_to.status, told_not_to.header("payonce-attempts")), (503, Some("1")));
    let other = Post::charge("amount=500&source=tok_visa");
    world.faults([Fault::new(Kind::Mark).should_retry(true)]);
    let retried = world.done(&other).await;
    assert_eq!((retried.status, retried.header("payonce-attempts")), (400, Some("2")));
}

#[tokio::test]
async fn an_sdk_does_not_retry_a_decline_that_payonce_has_retried() {
    let world = world().await;
    let again = Fault::new(Kind::Status { code: 400, effect: Strike::Before }).should_retry(true);
    world.faults([again.times(100)]);
    let declined = world.done(&charge()).await;
    assert_eq!((declined.status, declined.header("payonce-attempts")), (400, Some("4")));
    assert_eq!(declined.header("stripe-should-retry"), Some("false"));
}

#[tokio::test]
async fn an_sdk_may_retry_what_payonce_only_hands_on() {
    let pass = "[[rule]]\nname = \"x\"\nmatch = [\"POST /v1/charges\"]\nclass = \"pass\"\n";
    let world = Setup::policy(pass).start().await;
    world.faults([Fault::new(Kind::ResetBeforeEffect { clean: false })]);
    let failed = world.done(&charge()).await;
    failed.refused(502, "payonce_no_answer");
    assert_eq!(failed.header("stripe-should-retry"), None);
}

#[tokio::test]
async fn a_redirect_is_neither_followed_nor_handed_on() {
    let world = world().await;
    let away = Kind::Redirect { location: "https://elsewhere.test/".to_owned() };
    world.faults([Fault::new(away).times(1_000)]);
    for ask in [charge(), Post::new("/v1/plans", "amount=5")] {
        let refused = world.done(&ask).await;
        refused.refused(504, "payonce_outcome_unknown");
        assert_eq!(refused.header("location"), None);
    }
}

#[tokio::test]
async fn a_balancers_page_is_replaced_by_an_error_in_stripes_shape() {
    let world = world().await;
    for code in [502, 503, 504] {
        let page = Fault::new(Kind::Status { code, effect: Strike::Before });
        world.faults([Fault { html: true, ..page }.times(1_000)]);
        let refused = world.done(&charge()).await;
        refused.refused(504, "payonce_outcome_unknown");
        assert_eq!(refused.header("content-type"), Some("application/json"));
        assert_eq!(refused.header("stripe-should-retry"), Some("false"));
    }
}

#[tokio::test]
async fn a_rate_limit_without_stripes_shape_does_not_make_the_outcome_unknown() {
    let world = world().await;
    let page = Fault::new(Kind::RateLimited { reason: None });
    world.faults([Fault { html: true, ..page }.times(1_000)]);
    let limited = world.done(&charge()).await;
    assert_eq!(limited.status, 429);
    assert!(limited.json()["error"]["type"].is_string(), "{limited:?}");
    assert!(!limited.message().contains("unknown"), "{}", limited.message());
}

#[tokio::test]
async fn what_was_in_doubt_stays_so_in_words_when_stripe_cannot_be_reached_again() {
    let stub = Stub::start(|_, _| Vec::new()).await;
    let mut world = Setup::policy(BY_CONTENT)
        .set("STORE__KIND", "embedded")
        .set("RETRY__MAX_ATTEMPTS", 1)
        .upstream(stub.addr)
        .set("RETRY__DEADLINE", "10s")
        .set("RETRY__ATTEMPT_TIMEOUT", "10s")
        .set("STORE__TIMEOUT", "10s")
        .set("UPSTREAM__CONNECT_TIMEOUT", "10s")
        .start()
        .await;
    world.done(&charge()).await.refused(504, "payonce_outcome_unknown");
    world.toward(std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()).await;
    let refused = world.done(&charge()).await;
    refused.refused(504, "payonce_outcome_unknown");
    assert!(!refused.message().contains("Nothing was sent"), "{}", refused.message());
    assert_eq!((world.row("A11"), world.row("O1")), (1, 1));
}

#[tokio::test]
async fn a_call_over_the_body_limit_streams_once_with_its_key() {
    let world = Setup::policy(BY_CONTENT).set("LIMITS__BODY", "2KiB").start().await;
    let long = |path: &str| Post::new(path, &format!("name=a&metadata[x]={}", "x".repeat(3_000)));
    world.faults([unavailable()]);
    let untried = world.done(&long("/v1/customers")).await;
    assert_eq!((untried.status, world.seen().len()), (503, 1));
    let streamed = world.done(&long("/v1/customers").key("mine")).await;
    streamed.is(200, "executed");
    let seen = world.seen();
    assert_eq!(seen[1].key.as_deref(), Some("mine"));
    assert!(seen[0].key.is_some() && seen[1].body_bytes > Some(3_000));
    let charge = long("/v1/charges");
    world.done(&charge).await.refused(413, "payonce_body_too_large");
    let named = long("/v1/customers").with("Payonce-Operation", "a");
    world.done(&named).await.refused(413, "payonce_body_too_large");
    assert_eq!(world.seen().len(), 2);
}

#[tokio::test]
async fn an_answer_too_large_to_hold_streams_and_settles() {
    let body = format!("{{\"id\":\"ch_1\",\"x\":\"{}\"}}", "x".repeat(3_000_000));
    let large = body.clone();
    let stub = Stub::start(move |_, _| answer(200, "", &large)).await;
    let world = Setup::policy(BY_CONTENT).set("LIMITS__ANSWER", "4KiB").upstream(stub.addr);
    let world = world.start().await;
    for outcome in ["executed", "repeated"] {
        let reply = world.done(&charge()).await;
        reply.is(200, outcome);
        assert!(reply.body == body.as_bytes(), "{} bytes", reply.body.len());
    }
    // One that nobody read to its end is lost.
    world.lose(&charge()).await;
    world.done(&charge()).await.is(200, "replayed");
    assert_eq!(stub.count(), 4);
}

#[tokio::test]
async fn an_answer_too_large_to_hold_is_asked_for_again_by_a_second_asker() {
    let body = format!("{{\"id\":\"ch_1\",\"x\":\"{}\"}}", "x".repeat(50_000));
    let stub = Stub::held(move |_, _| answer(200, "", &body)).await;
    let world = Setup::policy(BY_CONTENT).set("LIMITS__ANSWER", "4KiB").upstream(stub.addr);
    let world = world.start().await;
    let named = charge().with("Payonce-Operation", "a");
    let (mut one, mut other) = (world.client().await, world.client().await);
    one.send(&named).await;
    until("the provider has it", || stub.count() == 1).await;
    other.send(&named).await;
    until("the second joins", || world.count("payonce_merges_total{kind=\"joined\"}") == 1).await;
    stub.gate.add_permits(99);
    let (first, second) = tokio::join!(one.reply(), other.reply());
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!((first.body.len(), second.body.len()), (50_020, 50_020));
    let seen = stub.seen();
    assert!(seen.len() == 2 && seen[0].key() == seen[1].key());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again_and_never_handed_on_in_part() {
    let world = world().await;
    let cut = |reset| Fault::new(Kind::CutAfterBytes { bytes: 30, in_body: true, reset });
    world.faults([cut(false), cut(true)]);
    let reply = world.done(&charge()).await;
    reply.is(200, "executed");
    assert_eq!(reply.header("payonce-attempts"), Some("3"));
    assert_eq!((reply.id(), world.effects().len()), (world.effects()[0].object.clone(), 1));
}

/// As HTTP/2 can end a body early without an error, told here by chunks that end in good order.
#[tokio::test]
async fn a_success_in_json_that_is_none_was_cut_short_and_is_asked_for_again() {
    let stub = Stub::start(|n, _got| match n {
        0 => b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
            c\r\n{\"id\":\"ch_1\",\r\n0\r\n\r\n"
            .to_vec(),
        _ => success("ch_1"),
    })
    .await;
    let world = Setup::policy(BY_CONTENT).upstream(stub.addr).start().await;
    let answer = world.done(&charge()).await;
    answer.is(200, "executed");
    assert_eq!(answer.header("payonce-attempts"), Some("2"));
    let seen = stub.seen();
    assert_eq!(seen[0].key(), seen[1].key());
}

#[tokio::test]
async fn bytes_survive_both_ways() {
    let zipped: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0xff, 0xff];
    let stub = Stub::start(move |_, got| {
        let fields = "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Odd: 1\r\nPayonce-Outcome: x\r\n";
        match got.head.lines().next().unwrap() {
            line if line.contains("/none") => {
                b"HTTP/1.1 204 No Content\r\nRequest-Id: req_1\r\n\r\n".to_vec()
            }
            line if line.contains("/unchanged") => {
                b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n".to_vec()
            }
            line if line.starts_with("HEAD") => {
                b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n".to_vec()
            }
            line if line.contains("/zipped") => {
                answer(200, "Content-Encoding: gzip\r\n", zipped)
            }
            line if line.contains("/empty") => answer(200, "", ""),
            line if line.contains("/chunked") => {
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n"
                    .to_vec()
            }
            _other => answer(200, fields, "{}"),
        }
    })
    .await;
    let world = Setup::policy("").upstream(stub.addr).start().await;

    let none = world.done(&Post::new("/v1/none", "a=1")).await;
    none.is(204, "executed");
    assert_eq!((none.header("content-length"), none.header("request-id")), (None, Some("req_1")));
    let none = world.done(&Post::new("/v1/none", "").method("GET")).await;
    assert_eq!(none.status, 204);
    let unchanged = world.done(&Post::new("/v1/unchanged", "").method("GET")).await;
    assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some("\"1\"")));

    let mut client = world.client().await;
    client.send_bytes(b"HEAD /v1/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.contains("Content-Length: 77") && head.starts_with("HTTP/1.1 200"), "{head}");
    // Nothing followed the head, so that the connection is still in step.
    client.send(&Post::new("/v1/chunked", "a=1")).await;
    let chunked = client.reply().await;
    assert_eq!((chunked.status, chunked.body.as_slice()), (200, b"{\"a\":1}".as_slice()));
    client.send(&Post::new("/v1/empty", "")).await;
    let empty = client.reply().await;
    assert_eq!(
        (empty.status, empty.body.len(), empty.header("content-length")),
        (200, 0, Some("0"))
    );
    client.send(&Post::new("/v1/zipped", "").method("GET").with("Accept-Encoding", "gzip")).await;
    let reply = client.reply().await;
    assert_eq!((reply.body.as_slice(), reply.header("content-encoding")), (zipped, Some("gzip")));

    // Go's way: chunked, without a length; and a body that is compressed already.
    client
        .send_bytes(
            b"POST /v1/other?expand[]=a&b=%7E+%20 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\n\
              X-Twice: 1\r\nX-Twice: 2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=1\r\n0\r\n\r\n",
        )
        .await;
    let reply = client.reply().await;
    let cookies = reply.fields.iter().filter(|(name, _)| name == "set-cookie").count();
    assert_eq!((cookies, reply.header("x-odd"), reply.outcome()), (2, Some("1"), "executed"));
    let got = stub.seen().pop().unwrap();
    assert!(got.head.starts_with("POST /v1/other?expand[]=a&b=%7E+%20 HTTP/1.1"), "{}", got.head);
    assert_eq!((got.all("x-twice"), got.body.as_slice()), (vec!["1", "2"], b"a=1".as_slice()));
    assert_eq!(got.all("content-length"), ["3"]);
    assert!(got.key().is_some());

    let mut packed = Post::new("/v1/other", "").with("Content-Encoding", "gzip");
    packed.body = zipped.to_vec();
    world.done(&packed).await.is(200, "executed");
    let got = stub.seen().pop().unwrap();
    assert_eq!((got.body.as_slice(), got.all("content-encoding")), (zipped, vec!["gzip"]));
}
