//! How many connections there are, and how long.

use std::time::Duration;

use http_body_util::BodyExt;
use payonce::upstream::{Cause, SendError};

use super::peer::Peer;
use super::{config, direct, get, post, send, soon, text};

#[tokio::test]
async fn requests_in_turn_share_one_connection() {
    let peer = Peer::new().await;
    let direct = direct(&config(&peer.origin()));
    let client = async {
        for _ in 0..3 {
            assert_eq!(text(send(&direct, post("/v1/a", "x")).await.unwrap()).await, "ok");
        }
    };
    tokio::join!(client, async {
        let mut line = peer.accept().await;
        for _ in 0..3 {
            line.serve("ok").await;
        }
    });
}

#[tokio::test]
async fn a_full_pool_makes_wait_and_then_says_busy() {
    let peer = Peer::new().await;
    let mut config = config(&peer.origin());
    config.max_connections_per_host = 2;
    config.connect_timeout = Duration::from_millis(500);
    let direct = direct(&config);
    let mut lines = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let (answer, line) = tokio::join!(send(&direct, get("/v1/a")), async {
            let mut line = peer.accept().await;
            line.request().await;
            line.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await;
            line
        });
        answers.push(answer.unwrap());
        lines.push(line);
    }
    let third = send(&direct, get("/v1/b")).await.unwrap_err();
    assert!(matches!(third, SendError::NeverSent(_, Cause::Busy)), "{third:?}");
    let mut line = lines.remove(0);
    line.write("k").await;
    assert_eq!(text(answers.remove(0)).await, "ok");
    let (fourth, _) = tokio::join!(send(&direct, get("/v1/c")), line.serve("again"));
    assert_eq!(text(fourth.unwrap()).await, "again");
    assert!(peer.is_quiet().await, "there never was a third connection");
}

#[tokio::test]
async fn whoever_waits_gets_the_connection_that_comes_free() {
    let peer = Peer::new().await;
    let mut config = config(&peer.origin());
    config.max_connections_per_host = 1;
    let direct = direct(&config);
    let one = async { text(send(&direct, post("/v1/a", "x")).await.unwrap()).await };
    let two = async { text(send(&direct, post("/v1/a", "x")).await.unwrap()).await };
    let (one, two, ()) = tokio::join!(one, two, async {
        let mut line = peer.accept().await;
        line.serve("one").await;
        line.serve("two").await;
    });
    assert_eq!((one.as_str(), two.as_str()), ("one", "two"));
}

#[tokio::test]
async fn an_answer_that_is_dropped_midway_takes_its_connection_along() {
    let peer = Peer::new().await;
    let direct = direct(&config(&peer.origin()));
    let (answer, mut line) = tokio::join!(send(&direct, get("/v1/a")), async {
        let mut line = peer.accept().await;
        line.request().await;
        line.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegin").await;
        line
    });
    let mut answer = answer.unwrap().into_body();
    soon(answer.frame()).await.unwrap().unwrap();
    drop(answer);
    line.closed().await;
}

#[tokio::test]
async fn a_connection_that_says_close_is_not_used_again() {
    let peer = Peer::new().await;
    let direct = direct(&config(&peer.origin()));
    for _ in 0..2 {
        let (answer, ()) = tokio::join!(send(&direct, post("/v1/a", "x")), async {
            let mut line = peer.accept().await;
            line.request().await;
            line.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
        });
        assert_eq!(text(answer.unwrap()).await, "ok");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let peer = Peer::new().await;
    let mut config = config(&peer.origin());
    config.idle_timeout = Duration::from_millis(40);
    let direct = direct(&config);
    let (answer, mut line) = tokio::join!(send(&direct, get("/v1/a")), async {
        let mut line = peer.accept().await;
        line.serve("ok").await;
        line
    });
    assert_eq!(text(answer.unwrap()).await, "ok");
    line.closed().await;
    drop(direct);
}

#[tokio::test]
async fn a_request_body_that_is_never_taken_does_not_hold_a_connection_for_ever() {
    let peer = Peer::new().await;
    let direct = direct(&config(&peer.origin()));
    let stuck = http::Request::post("/v1/files").body(payonce::upstream::Body::new(Stuck)).unwrap();
    let (answer, mut line) = tokio::join!(send(&direct, stuck), async {
        let mut line = peer.accept().await;
        line.read_to("\r\n\r\n").await;
        line.write("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await;
        line
    });
    assert_eq!(text(answer.unwrap()).await, "no");
    line.closed().await;
}

/// A body that never gets anywhere.
struct Stuck;

impl http_body::Body for Stuck {
    type Data = bytes::Bytes;
    type Error = payonce::upstream::BoxError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}
