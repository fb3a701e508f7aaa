//! What is proven of a request that got no answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use payonce::upstream::{Body, Cause, Host, SendError, Upstream};
use tokio::net::TcpListener;

use super::peer::{Line, Peer};
use super::{Frames, config, direct, get, post, send, soon, text, told_of_everything};

fn never_sent(error: &SendError) -> Cause {
    match error {
        SendError::NeverSent(_, cause) => *cause,
        SendError::Unknown(cause) => panic!("only unknown: {cause}"),
    }
}

fn unknown(error: &SendError) -> Cause {
    match error {
        SendError::Unknown(cause) => *cause,
        SendError::NeverSent(_, cause) => panic!("said to be never sent: {cause}"),
    }
}

#[tokio::test]
async fn a_refused_connection_is_never_sent() {
    let origin = Peer::new().await.origin();
    let direct = direct(&config(&origin));
    assert_eq!(never_sent(&send(&direct, post("/v1/a", "x")).await.unwrap_err()), Cause::Connect);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_never_sent() {
    let direct = direct(&config("https://payonce-test.invalid"));
    assert_eq!(never_sent(&send(&direct, post("/v1/a", "x")).await.unwrap_err()), Cause::Dns);
}

#[tokio::test]
async fn a_connection_that_never_gets_ready_is_never_sent() {
    let peer = Peer::new().await;
    let mut config = config(&format!("https://127.0.0.1:{}", peer.port()));
    config.connect_timeout = Duration::from_millis(50);
    let direct = direct(&config);
    // It accepts, and says nothing to the TLS handshake.
    let error = send(&direct, post("/v1/a", "x")).await.unwrap_err();
    assert_eq!(never_sent(&error), Cause::ConnectTimeout);
}

#[tokio::test]
async fn a_deadline_that_ends_while_connecting_is_never_sent() {
    let peer = Peer::new().await;
    let direct = direct(&config(&format!("https://127.0.0.1:{}", peer.port())));
    let request = post("/v1/a", "x");
    let error = direct.send(Host::Api, request, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(never_sent(&error), Cause::ConnectTimeout);
}

/// The cause said of a POST whose whole bytes were read before `end` had its way.
async fn cause_after(end: impl AsyncFnOnce(Line)) -> Cause {
    let peer = Peer::new().await;
    let direct = direct(&config(&peer.origin()));
    let (answer, ()) = tokio::join!(send(&direct, post("/v1/a", "x=1")), async {
        let mut line = peer.accept().await;
        assert_eq!(line.request().await.1, "x=1");
        end(line).await;
    });
    assert!(peer.is_quiet().await, "nothing is sent again");
    unknown(&answer.unwrap_err())
}

#[tokio::test]
async fn a_reset_before_the_answer_is_unknown() {
    assert_eq!(cause_after(async |line| line.reset()).await, Cause::Closed);
}

#[tokio::test]
async fn an_end_before_the_answer_is_unknown() {
    assert_eq!(cause_after(async |line| drop(line)).await, Cause::Closed);
}

#[tokio::test]
async fn half_an_answer_head_is_unknown() {
    let end = async |mut line: Line| line.write("HTTP/1.1 200 OK\r\nContent-Le").await;
    assert_eq!(cause_after(end).await, Cause::Closed);
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_unknown() {
    let end = async |mut line: Line| line.write("SSH-2.0-OpenSSH\r\n\r\n").await;
    assert_eq!(cause_after(end).await, Cause::Protocol);
}

#[tokio::test]
async fn an_answer_head_beyond_the_limits_is_unknown() {
    let many = "X-Y: z\r\n".repeat(101);
    let end = async |mut line: Line| line.write(&format!("HTTP/1.1 200 OK\r\n{many}\r\n")).await;
    assert_eq!(cause_after(end).await, Cause::Protocol, "more than 100 fields");
    let long = "z".repeat(64 * 1024);
    let end = async |mut line: Line| line.write(&format!("HTTP/1.1 200 OK\r\nX: {long}\r\n")).await;
    assert_eq!(cause_after(end).await, Cause::Protocol, "more than 64 KiB");
}

#[tokio::test]
async fn a_switch_of_protocols_is_no_answer() {
    let end = async |mut line: Line| {
        line.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
            .await;
        line.closed().await;
    };
    assert_eq!(cause_after(end).await, Cause::Protocol);
}

#[tokio::test]
async fn no_answer_in_time_is_unknown_and_closes_the_connection() {
    let peer = Peer::new().await;
    let direct = direct(&config(&peer.origin()));
    let within = Duration::from_millis(500);
    let (answer, ()) = tokio::join!(direct.send(Host::Api, post("/v1/a", "x"), within), async {
        let mut line = peer.accept().await;
        line.request().await;
        line.closed().await;
    });
    assert_eq!(unknown(&answer.unwrap_err()), Cause::AnswerTimeout);
}

#[tokio::test]
async fn a_request_body_that_breaks_off_is_unknown() {
    let peer = Peer::new().await;
    let direct = direct(&config(&peer.origin()));
    let broken = Body::new(Frames::of([Ok("half"), Err("the client left")]));
    let (answer, ()) =
        tokio::join!(send(&direct, Request::post("/v1/files").body(broken).unwrap()), async {
            peer.accept().await.closed().await;
        });
    assert_eq!(unknown(&answer.unwrap_err()), Cause::RequestBody);
}

#[tokio::test]
async fn an_answer_cut_short_is_told_from_a_whole_one() {
    let peer = Peer::new().await;
    let direct = direct(&config(&peer.origin()));
    let (answer, ()) = tokio::join!(send(&direct, get("/v1/a")), async {
        let mut line = peer.accept().await;
        line.request().await;
        line.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    });
    assert!(soon(answer.unwrap().into_body().collect()).await.is_err());
}

#[tokio::test]
async fn an_answer_that_falls_silent_breaks_off_and_closes_its_connection() {
    let peer = Peer::new().await;
    let mut config = config(&peer.origin());
    config.body_timeout = Duration::from_millis(50);
    let direct = direct(&config);
    let (answer, mut line) = tokio::join!(send(&direct, get("/v1/a")), async {
        let mut line = peer.accept().await;
        line.request().await;
        line.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
        line
    });
    let error = soon(answer.unwrap().into_body().collect()).await.unwrap_err();
    assert_eq!(error.to_string(), "the upstream sent nothing of its answer's body for 0.05 s");
    line.closed().await;
}

#[tokio::test]
async fn a_deadline_of_nothing_sends_nothing() {
    let peer = Peer::new().await;
    let direct = direct(&config(&peer.origin()));
    let error = direct.send(Host::Api, post("/v1/a", "x"), Duration::ZERO).await.unwrap_err();
    assert_eq!(never_sent(&error), Cause::ConnectTimeout);
}

#[tokio::test]
async fn a_connection_that_ended_while_idle_costs_nothing() {
    let peer = Peer::new().await;
    let direct = direct(&config(&peer.origin()));
    let (first, line) = tokio::join!(send(&direct, post("/v1/a", "1")), async {
        let mut line = peer.accept().await;
        line.serve("one").await;
        line
    });
    assert_eq!(text(first.unwrap()).await, "one");
    drop(line);
    told_of_everything().await;
    let (second, seen) = tokio::join!(send(&direct, post("/v1/a", "2")), async {
        peer.accept().await.serve("two").await
    });
    assert_eq!(text(second.unwrap()).await, "two");
    assert_eq!(seen.1, "2");
}

/// A server that closes each connection after one answer without saying so, so that requests race
/// with the close: none may reach it twice, and none that is called never sent may reach it at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_with_a_close_nothing_is_written_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let seen: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let counted = Arc::clone(&seen);
    let server = tokio::spawn(async move {
        loop {
            let mut line = Line { stream: listener.accept().await.unwrap().0 };
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let (_, body) = line.serve("ok").await;
                *counted.lock().unwrap().entry(body).or_default() += 1;
            });
        }
    });
    let direct = direct(&config(&origin));
    let mut never = Vec::new();
    for n in 0..300 {
        let request = Request::post("/v1/a").body(super::body(n.to_string())).unwrap();
        match send(&direct, request).await {
            Ok(answer) => assert_eq!(text(answer).await, "ok"),
            Err(SendError::NeverSent(..)) => never.push(n.to_string()),
            Err(SendError::Unknown(cause)) => assert_eq!(cause, Cause::Closed),
        }
    }
    server.abort();
    let seen = seen.lock().unwrap();
    assert!(seen.values().all(|times| *times == 1), "{seen:?}");
    assert!(never.iter().all(|id| !seen.contains_key(id)), "{never:?}");
    assert!(seen.len() > 100);
}
