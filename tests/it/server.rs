//! The edge: limits, framing, what hyper lets through, and what it does not.

use std::time::Duration;

use payonce::clock::{Clock, Timestamp};
use payonce::delivery::Delivery;
use payonce::server::Limits;
use payonce::server::limits::BodyPace;

use crate::serving::{Event, LARGE, Served, Setup};

async fn served() -> Served {
    Served::start(Setup::default()).await
}

/// A server whose clock runs twenty times as fast, so that seconds can be waited for.
async fn fast(limits: Limits) -> Served {
    let clock = Clock::driven(Timestamp::from_millis(0), 20);
    Served::start(Setup { clock, limits, ..Setup::default() }).await
}

/// Limits under which nothing ends but by the limit that a test sets.
fn patient() -> Limits {
    Limits { idle_time: Duration::from_hours(10), ..Limits::default() }
}

fn post(path: &str, fields: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: payonce\r\n{fields}\r\n{body}")
}

// Time limits

#[tokio::test]
async fn three_hundred_clients_that_send_their_heads_slowly_are_closed() {
    let served = fast(Limits { head_time: Duration::from_secs(10), ..patient() }).await;
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut client = served.tcp().await;
        client.send("GET / HTTP/1.1\r\nHost: pay").await;
        slow.push(client);
    }
    for client in &mut slow {
        assert_eq!(client.rest().await, "");
    }
}

#[tokio::test]
async fn a_head_that_drips_in_is_closed_though_it_never_pauses() {
    let served = fast(Limits { head_time: Duration::from_secs(10), ..patient() }).await;
    let mut client = served.tcp().await;
    client.send("GET / HTTP/1.1\r\nHost: payonce\r\n").await;
    let closed = async {
        loop {
            client.stream.writable().await.unwrap();
            if client.stream.try_write(b"X").is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), closed).await.unwrap();
}

#[tokio::test]
async fn a_connection_may_idle_longer_than_a_head_may_take_and_is_closed_in_the_end() {
    let served = fast(Limits {
        head_time: Duration::from_secs(10),
        idle_time: Duration::from_mins(1),
        ..Limits::default()
    })
    .await;
    let mut client = served.tcp().await;
    client.get("/echo").await;
    client.answer().await;
    served.paths_clock().sleep(Duration::from_secs(20)).await;
    client.get("/echo").await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_second_head_that_stalls_is_closed_by_the_head_time() {
    let served = fast(Limits { head_time: Duration::from_secs(5), ..patient() }).await;
    let mut client = served.tcp().await;
    client.get("/echo").await;
    client.answer().await;
    client.send("GET /").await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_body_that_pauses_too_long_or_drips_too_slowly_is_answered_so() {
    let (idle, grace) = (Duration::from_secs(10), Duration::from_secs(20));
    let body = BodyPace { idle, grace, bytes_per_second: 1000 };
    let served = fast(Limits { body, ..patient() }).await;
    let mut pausing = served.tcp().await;
    pausing.send(post("/echo", "Content-Length: 100\r\n", "some")).await;
    assert_eq!(pausing.answer().await.status, 408);

    let mut dripping = served.tcp().await;
    dripping.send(post("/echo", "Content-Length: 10000\r\n", "some")).await;
    let refused = async {
        loop {
            if dripping.stream.try_write(b"x").is_err() {
                return;
            }
            tokio::select! {
                answer = dripping.answer() => return assert_eq!(answer.status, 408),
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused).await.unwrap();
}

#[tokio::test]
async fn a_client_that_takes_no_byte_of_its_answer_is_closed_and_has_lost_it() {
    let mut served = fast(Limits { write_stall: Duration::from_secs(10), ..patient() }).await;
    let mut client = served.tcp().await;
    client.get("/large").await;
    let event = served.event(Duration::from_secs(10)).await;
    assert_eq!(event, Some(Event::Delivered(Delivery::Lost)));
    assert!(client.rest().await.len() < LARGE);
}

// Sizes and counts

#[tokio::test]
async fn a_hundred_header_fields_pass_and_one_more_is_431() {
    let served = served().await;
    for (fields, status) in [(99, 200), (100, 431)] {
        let mut client = served.tcp().await;
        let fields = "X: y\r\n".repeat(fields);
        client.send(format!("GET /a HTTP/1.1\r\nHost: payonce\r\n{fields}\r\n")).await;
        assert_eq!(client.answer().await.status, status);
    }
}

#[tokio::test]
async fn a_head_over_its_limit_is_431_and_one_within_it_passes() {
    let served = served().await;
    for (length, status) in [(60 * 1024, 200), (70 * 1024, 431)] {
        let mut client = served.tcp().await;
        let long = "y".repeat(length);
        client.send(format!("GET /a HTTP/1.1\r\nHost: payonce\r\nX: {long}\r\n\r\n")).await;
        assert_eq!(client.answer().await.status, status);
    }
}

#[tokio::test]
async fn a_connection_over_the_cap_waits_for_a_place_and_is_counted() {
    let served = Served::start(Setup {
        limits: Limits { connections: 2, ..Limits::default() },
        ..Setup::default()
    })
    .await;
    let mut first = served.tcp().await;
    first.get("/echo").await;
    first.answer().await;
    let mut second = served.tcp().await;
    second.get("/echo").await;
    second.answer().await;
    let mut third = served.tcp().await;
    third.get("/echo").await;
    while served.counts.waited_for_room() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(served.counts.accepted(), 2);
    drop(first);
    assert_eq!(third.answer().await.status, 200);
    assert_eq!(served.counts.accepted(), 3);
}

#[tokio::test]
async fn a_refused_body_that_is_still_being_sent_does_not_cost_the_client_the_refusal() {
    let served = served().await;
    let mut client = served.tcp().await;
    let body = "x".repeat(16 << 20);
    let length = format!("Content-Length: {}\r\n", body.len());
    client.send(post("/echo", &length, &body)).await;
    assert_eq!(client.answer().await.status, 413);
}

#[tokio::test]
async fn a_body_over_the_limit_can_still_be_had_whole() {
    let served = served().await;
    let mut client = served.tcp().await;
    client
        .send(post(
            "/replay",
            "Transfer-Encoding: chunked\r\n",
            "6\r\nabcdef\r\n6\r\nghijkl\r\n2\r\nmn\r\n0\r\n\r\n",
        ))
        .await;
    assert_eq!(client.answer().await.text(), "abcdefghijklmn");
}

#[tokio::test]
async fn bodies_beyond_what_may_be_in_flight_are_refused_as_busy() {
    let served = Served::start(Setup { budget: 8 * 1024, ..Setup::default() }).await;
    let mut client = served.tcp().await;
    let body = "x".repeat(10_000);
    client.send(post("/echo", "Content-Length: 10000\r\n", &body)).await;
    assert_eq!(client.answer().await.status, 503);
}

// Framing, as hyper does it

#[tokio::test]
async fn a_chunked_body_without_a_length_is_read() {
    let served = served().await;
    let mut client = served.tcp().await;
    let chunks = "4\r\namou\r\n6;x=y\r\nnt=500\r\n0\r\n\r\n";
    client.send(post("/echo", "Transfer-Encoding: chunked\r\n", chunks)).await;
    assert_eq!(client.answer().await.text(), "amount=500");
}

#[tokio::test]
async fn a_bad_chunk_is_malformed() {
    let served = served().await;
    let mut client = served.tcp().await;
    client.send(post("/echo", "Transfer-Encoding: chunked\r\n", "zz\r\nabc")).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (400, "malformed"));
}

#[tokio::test]
async fn beside_chunks_a_length_is_ignored_and_nothing_can_hide_behind_the_body() {
    let served = served().await;
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    ] {
        let mut client = served.tcp().await;
        let hidden = "GET /a HTTP/1.1\r\nHost: payonce\r\n\r\n";
        client.send(post("/echo", fields, &format!("2\r\nhi\r\n0\r\n\r\n{hidden}"))).await;
        let answer = client.answer().await;
        assert_eq!(answer.text(), "hi");
        assert!(answer.head.contains("connection: close"), "{}", answer.head);
        assert_eq!(client.rest().await, "");
    }
}

#[tokio::test]
async fn contradictory_or_bad_framing_is_400() {
    let served = served().await;
    for fields in [
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: 0x3\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Bad Name: x\r\n",
        "Folded: x\r\n y\r\n",
    ] {
        let mut client = served.tcp().await;
        client.send(post("/echo", fields, "abc")).await;
        assert_eq!(client.answer().await.status, 400, "{fields}");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_amid_its_body_gets_no_answer() {
    use tokio::io::AsyncWriteExt;
    let served = served().await;
    let mut client = served.tcp().await;
    client.send(post("/echo", "Content-Length: 100\r\n", "some")).await;
    client.stream.shutdown().await.unwrap();
    let rest = client.rest().await;
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 499"), "{rest}");
}

#[tokio::test]
async fn expect_100_continue_is_answered_when_the_body_is_read() {
    let served = served().await;
    let mut client = served.tcp().await;
    client.send(post("/echo", "Content-Length: 5\r\nExpect: 100-continue\r\n", "")).await;
    assert_eq!(client.head().await.1, 100);
    client.send("hello").await;
    assert_eq!(client.answer().await.text(), "hello");
}

#[tokio::test]
async fn expect_100_continue_with_too_long_a_body_is_refused_unsent() {
    let served = served().await;
    let mut client = served.tcp().await;
    client.send(post("/echo", "Content-Length: 5000000\r\nExpect: 100-continue\r\n", "")).await;
    assert_eq!(client.answer().await.status, 413);
}

#[tokio::test]
async fn an_upgrade_is_ignored_and_the_connection_goes_on() {
    let served = served().await;
    let mut client = served.tcp().await;
    for _ in 0..2 {
        client
            .send("GET /a HTTP/1.1\r\nHost: payonce\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
            .await;
        assert_eq!(client.answer().await.status, 200);
    }
}

// Heads

#[tokio::test]
async fn a_repeated_field_is_refused_by_name() {
    let served = served().await;
    let mut client = served.tcp().await;
    client.send(post("/a", "Idempotency-Key: k\r\nidempotency-key: k\r\n", "")).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.text(), "the header field `idempotency-key` occurs more than once");
}

#[tokio::test]
async fn only_origin_form_and_ordinary_methods_pass() {
    let served = served().await;
    for line in
        ["OPTIONS *", "GET http://payonce/a", "CONNECT api.stripe.com:443", "TRACE /a", "GET a/b"]
    {
        let mut client = served.tcp().await;
        client.send(format!("{line} HTTP/1.1\r\nHost: payonce\r\n\r\n")).await;
        assert_eq!(client.answer().await.status, 400, "{line}");
    }
}

#[tokio::test]
async fn a_target_comes_through_byte_for_byte_or_not_at_all() {
    let served = served().await;
    let mut through = 0;
    for target in [
        "/v1/charges?a[]=1&a[]=2&b[c][d]=%7E~",
        "/v1/charges?x=+%20&&=&y",
        "/v1/charges?",
        "/v1/%63harges",
        "/v1/charges/a;b=c@d:e!$&'()*,",
        "/v1/charges?q={\"a\":1}|^`",
        "/v1/charges?next=/../x//y",
        "/v1/charges?\u{e4}",
        "/v1/ch\u{e4}rges",
        "/v1/charges\\x",
        "/v1/charges?a\\b",
        "/v1/charges%",
    ] {
        let mut client = served.tcp().await;
        client.send(format!("GET {target} HTTP/1.1\r\nHost: payonce\r\n\r\n")).await;
        let answer = client.answer().await;
        match answer.status {
            200 => {
                assert_eq!(answer.text(), target);
                through += 1;
            }
            status => assert_eq!(status, 400, "{target}"),
        }
    }
    assert!(through >= 5, "only {through}");
}

#[tokio::test]
async fn a_fragment_is_cut_off_before_anything_is_matched() {
    let served = served().await;
    let mut client = served.tcp().await;
    client.get("/v1/charges?a=b#/v1/refunds").await;
    assert_eq!(client.answer().await.text(), "/v1/charges?a=b");
}

#[tokio::test]
async fn the_spelling_of_field_names_survives_in_the_extensions() {
    let served = served().await;
    let mut client = served.tcp().await;
    client.send("GET /spelled HTTP/1.1\r\nHost: payonce\r\nX-STRIPE-client: a\r\n\r\n").await;
    let head = client.answer().await.head;
    assert!(head.contains("X-STRIPE-client: a\r\n"), "{head}");
}

#[tokio::test]
async fn an_http_2_preface_gets_no_answer() {
    let served = served().await;
    let mut client = served.tcp().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(!client.rest().await.contains("200"));
}
