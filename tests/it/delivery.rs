//! What a client does with its answer, and what payonce makes of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

use std::process::Stdio;
use std::time::Duration;

use payonce::clock::{Clock, Timestamp};
use payonce::delivery::Delivery;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::serving::{Event, Served, Setup};

async fn served() -> Served {
    Served::start(Setup::default()).await
}

#[tokio::test]
async fn an_answer_that_was_read_and_followed_by_a_close_is_delivered() {
    let mut served = served().await;
    let mut client = served.tcp().await;
    client.get("/a").await;
    assert_eq!(client.answer().await.text(), "/a");
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Yes);
}

#[tokio::test]
async fn the_next_request_on_the_connection_proves_delivery_at_once() {
    let mut served = served().await;
    let mut client = served.tcp().await;
    client.get("/a").await;
    client.answer().await;
    client.get("/echo").await;
    assert_eq!(served.verdict().await, Delivery::Yes);
}

#[tokio::test]
async fn an_answer_is_delivered_after_two_seconds_without_a_reset_and_not_before() {
    let clock = Clock::driven(Timestamp::from_millis(0), 10);
    let mut served = Served::start(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let mut client = served.tcp().await;
    client.get("/a").await;
    client.answer().await;
    let answered = clock.now();
    let event = served.event(Duration::from_secs(5)).await;
    assert_eq!(event, Some(Event::Delivered(Delivery::Yes)));
    assert!(clock.now().since(answered) >= Duration::from_millis(1_900));
}

#[tokio::test]
async fn a_client_that_resets_before_it_reads_has_lost_its_answer() {
    let mut served = served().await;
    let mut client = served.tcp().await;
    client.get("/a").await;
    client.stream.readable().await.unwrap();
    client.stream.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Lost);
}

#[tokio::test]
async fn a_client_that_closes_with_the_answer_unread_has_lost_it() {
    let mut served = served().await;
    let mut client = served.tcp().await;
    client.get("/a").await;
    client.stream.readable().await.unwrap();
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Lost);
}

#[tokio::test]
async fn a_close_that_leaves_one_byte_unread_loses_the_answer() {
    let mut served = served().await;
    let mut client = served.tcp().await;
    client.get("/a").await;
    let answer = client.answer().await;
    let whole = answer.head.len() + answer.body.len();
    client.get("/a").await;
    assert_eq!(served.verdict().await, Delivery::Yes);
    let mut all_but_one = vec![0; whole - 1];
    client.stream.read_exact(&mut all_but_one).await.unwrap();
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Lost);
}

#[tokio::test]
async fn a_large_answer_read_in_part_is_lost_and_read_whole_is_delivered() {
    let mut served = served().await;
    let mut client = served.tcp().await;
    client.get("/large").await;
    let mut part = vec![0; 1 << 20];
    client.stream.read_exact(&mut part).await.unwrap();
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Lost);

    let mut client = served.tcp().await;
    client.get("/large").await;
    assert_eq!(client.answer().await.body.len(), crate::serving::LARGE);
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Yes);
}

#[tokio::test]
async fn an_answer_is_not_taken_for_delivered_while_part_of_it_waits_to_be_written() {
    let clock = Clock::driven(Timestamp::from_millis(0), 20);
    let mut served = Served::start(Setup { clock, ..Setup::default() }).await;
    let mut client = served.tcp().await;
    client.get("/large").await;
    client.stream.readable().await.unwrap();
    // Ten seconds of the server's clock: five times the quiet that delivers.
    assert_eq!(served.event(Duration::from_millis(500)).await, None);
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Lost);
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_answer_drops_the_service_future() {
    let mut served = served().await;
    let mut client = served.tcp().await;
    client.get("/slow").await;
    assert_eq!(served.event(Duration::from_secs(5)).await, Some(Event::Began));
    drop(client);
    assert_eq!(served.event(Duration::from_secs(5)).await, Some(Event::Abandoned));
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_while_it_waits_counts_as_gone() {
    let mut served = served().await;
    let mut client = served.tcp().await;
    client.get("/slow").await;
    assert_eq!(served.event(Duration::from_secs(5)).await, Some(Event::Began));
    client.stream.shutdown().await.unwrap();
    assert_eq!(served.event(Duration::from_secs(5)).await, Some(Event::Abandoned));
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn an_answer_for_a_client_that_is_gone_is_lost() {
    let mut served = served().await;
    let mut client = served.tcp().await;
    client.get("/detached").await;
    assert_eq!(served.event(Duration::from_secs(5)).await, Some(Event::Began));
    drop(client);
    assert_eq!(served.event(Duration::from_secs(5)).await, Some(Event::Abandoned));
    served.paths.gate.add_permits(1);
    assert_eq!(served.verdict().await, Delivery::Lost);
}

#[tokio::test]
async fn a_reset_that_hides_behind_a_fin_loses_the_answer() {
    let mut served = served().await;
    let mut client = served.tcp().await;
    // The first byte of a next request keeps hyper from looking for the FIN while it answers: the
    // answer is written to a socket that is closed, and the RST shows in SO_ERROR only.
    client.send("GET /a HTTP/1.1\r\nHost: payonce\r\n\r\nG").await;
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Lost);
}

#[tokio::test]
async fn after_connection_close_the_clients_own_end_decides() {
    let mut served = served().await;
    let mut client = served.tcp().await;
    client.get("/close").await;
    assert!(client.rest().await.ends_with("closing"));
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Yes);

    let mut client = served.tcp().await;
    client.get("/close").await;
    client.stream.readable().await.unwrap();
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Lost);
}

#[tokio::test]
async fn an_http_1_0_client_gets_its_answer_and_its_end_decides() {
    let mut served = served().await;
    let mut client = served.tcp().await;
    client.send("GET /a HTTP/1.0\r\n\r\n").await;
    let whole = client.rest().await;
    assert!(whole.starts_with("HTTP/1.0 200") && whole.ends_with("/a"), "{whole}");
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Yes);
}

#[tokio::test]
async fn answers_without_a_body_are_delivered_like_others() {
    let mut served = served().await;
    let mut client = served.tcp().await;
    client.send("HEAD /a HTTP/1.1\r\nHost: payonce\r\n\r\n").await;
    let (head, status) = client.head().await;
    assert!(status == 200 && head.contains("content-length: 2"), "{head}");
    client.get("/none").await;
    assert_eq!(served.verdict().await, Delivery::Yes);
    assert_eq!(client.head().await.1, 204);
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Yes);
}

#[tokio::test]
async fn pipelined_answers_share_the_fate_of_their_connection() {
    let two = "GET /a HTTP/1.1\r\nHost: payonce\r\n\r\n".repeat(2);
    let mut served = served().await;
    let mut client = served.tcp().await;
    client.send(&two).await;
    client.answer().await;
    client.answer().await;
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Yes);
    assert_eq!(served.verdict().await, Delivery::Yes);

    let mut client = served.tcp().await;
    client.send(&two).await;
    client.stream.readable().await.unwrap();
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Lost);
    assert_eq!(served.verdict().await, Delivery::Lost);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_lost() {
    let mut served = served().await;
    let mut client = served.tcp().await;
    client.get("/broken").await;
    let cut = client.rest().await;
    assert!(!cut.ends_with("0\r\n\r\n"), "{cut}");
    assert_eq!(served.verdict().await, Delivery::Lost);
}

#[tokio::test]
async fn a_unix_socket_tells_the_same() {
    let mut served = served().await;
    let mut client = served.unix().await;
    client.get("/a").await;
    client.answer().await;
    client.get("/a").await;
    assert_eq!(served.verdict().await, Delivery::Yes);
    client.answer().await;
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Yes);

    let mut client = served.unix().await;
    client.get("/a").await;
    client.stream.readable().await.unwrap();
    drop(client);
    assert_eq!(served.verdict().await, Delivery::Lost);

    let mut client = served.unix().await;
    client.get("/slow").await;
    assert_eq!(served.event(Duration::from_secs(5)).await, Some(Event::Began));
    drop(client);
    assert_eq!(served.event(Duration::from_secs(5)).await, Some(Event::Abandoned));
}

/// A client process: asks for `/a`, reads `reads` (all or nothing of the answer), says so, hangs.
const CLIENT: &str = r#"
import socket, sys, time
kind, address, reads = sys.argv[1:]
if kind == "tcp":
    s = socket.create_connection(("127.0.0.1", int(address)))
else:
    s = socket.socket(socket.AF_UNIX); s.connect(address)
s.sendall(b"GET /a HTTP/1.1\r\nHost: payonce\r\n\r\n")
got = b""
while not got.endswith(b"\r\n\r\n/a"):
    got = s.recv(65536, 0 if reads == "all" else socket.MSG_PEEK)
print("there", flush=True)
time.sleep(60)
"#;

async fn killed_after(served: &Served, kind: &str, reads: &str) {
    let address = match kind {
        "tcp" => served.port().to_string(),
        _ => served.socket().display().to_string(),
    };
    let mut child = tokio::process::Command::new("python3")
        .args(["-c", CLIENT, kind, &address, reads])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    assert_eq!(line, "there\n");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn a_client_killed_with_its_answer_unread_has_lost_it_and_after_reading_has_not() {
    let mut served = served().await;
    for kind in ["tcp", "unix"] {
        killed_after(&served, kind, "nothing").await;
        assert_eq!(served.verdict().await, Delivery::Lost, "{kind}");
        killed_after(&served, kind, "all").await;
        assert_eq!(served.verdict().await, Delivery::Yes, "{kind}");
    }
}
