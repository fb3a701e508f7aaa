//! The sandbox over real sockets: calls, what can be read of them, and what can be steered.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's helpers fail the test by panicking"
)]

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use payonce::clock::{Clock, Timestamp};
use payonce::sandbox::{Config, Effect, Fault, Kind, Limits, Outcome, Sandbox, Strike};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

mod faults;

const CHARGE: &str = "amount=500&currency=usd&source=tok_visa";

fn start() -> Sandbox {
    Sandbox::start(Config::local(Clock::System, 1)).unwrap()
}

fn with(fault: Fault) -> Sandbox {
    let sandbox = start();
    sandbox.set_faults(vec![fault]);
    sandbox
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: sandbox\r\nAuthorization: Bearer sk_test_shop\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A charge with the key `k` and the intent `i`.
fn charge() -> String {
    request("POST", "/v1/charges", "Idempotency-Key: k\r\nSandbox-Intent: i\r\n", CHARGE)
}

/// All bytes that came, and how the connection ended.
async fn raw(addr: SocketAddr, request: &str) -> (Vec<u8>, io::Result<()>) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    let ended = stream.read_to_end(&mut got).await.map(drop);
    (got, ended)
}

struct Reply {
    status: u16,
    head: String,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

async fn ask(addr: SocketAddr, request: &str) -> Reply {
    let (got, ended) = raw(addr, request).await;
    ended.unwrap();
    let text = String::from_utf8(got).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_owned(), text: body.to_owned() }
}

async fn control(addr: SocketAddr, method: &str, path: &str, body: &Value) -> Reply {
    ask(addr, &request(method, &format!("/_sandbox/{path}"), "", &body.to_string())).await
}

/// Waits until `there` holds, for at most 10 s.
async fn until(there: impl Fn() -> bool) {
    let waiting = async {
        while !there() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
}

fn is_reset(ended: &io::Result<()>) -> bool {
    ended.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn a_charge_over_a_socket_is_an_effect_that_can_be_read_by_intent() {
    let sandbox = start();
    let reply = ask(sandbox.addr(), &charge()).await;
    assert_eq!((reply.status, reply.header("idempotency-key")), (200, Some("k")));
    let again = ask(sandbox.addr(), &charge()).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("original-request"), reply.header("request-id"));
    let effects = control(sandbox.addr(), "GET", "effects?intent=i", &json!({})).await.json();
    let read: Vec<Effect> = serde_json::from_value(effects["effects"].clone()).unwrap();
    assert_eq!((read.len(), &read), (1, &sandbox.effects()));
    let others = control(sandbox.addr(), "GET", "effects?intent=j", &json!({})).await.json();
    assert_eq!(others["count"], json!(0));
    sandbox.shutdown().await;
}

#[tokio::test]
async fn a_live_key_is_refused_with_nothing_executed() {
    let sandbox = start();
    let live = charge().replace("sk_test_shop", "sk_live_shop");
    let reply = ask(sandbox.addr(), &live).await;
    assert_eq!(reply.status, 401);
    assert!(reply.text.contains("live key must never be used"), "{}", reply.text);
    assert!(!reply.text.contains("sk_live_shop") && reply.header("request-id").is_some());
    assert!(sandbox.effects().is_empty());
}

#[tokio::test]
async fn faults_are_scripted_counted_and_cleared_over_http() {
    let sandbox = start();
    let addr = sandbox.addr();
    let script = json!([
        {"kind": "status", "code": 503, "match": {"path_prefix": "/v1/charges", "intent": "i"}},
        {"kind": "in_use", "rate": 0.5, "match": {"method": "DELETE"}},
    ]);
    assert_eq!(control(addr, "POST", "faults", &script).await.status, 200);
    assert_eq!(ask(addr, &request("GET", "/v1/balance", "", "")).await.status, 200);
    assert_eq!(ask(addr, &charge()).await.status, 503);
    assert_eq!(ask(addr, &charge()).await.status, 200);
    let told = control(addr, "GET", "faults", &json!({})).await.json();
    assert_eq!((&told["counts"], &told["total"]), (&json!({"status": 1}), &json!(1)));
    assert_eq!(told["faults"].as_array().unwrap().len(), 1);
    let cleared = control(addr, "DELETE", "faults", &json!({})).await.json();
    assert_eq!((&cleared["faults"], &cleared["total"]), (&json!([]), &json!(1)));
    let bad = control(addr, "POST", "faults", &json!({"kind": "in_use", "time": 3})).await;
    assert_eq!(bad.status, 400);
    assert!(bad.text.contains("unknown field time"), "{}", bad.text);
}

#[tokio::test]
async fn the_clock_is_moved_over_http_and_keys_grow_old_by_it() {
    let sandbox = start();
    let addr = sandbox.addr();
    ask(addr, &charge()).await;
    let day = json!({"advance_seconds": 86_400});
    assert_eq!(control(addr, "POST", "clock", &day).await.status, 200);
    assert_eq!(ask(addr, &charge()).await.header("idempotent-replayed"), None);
    assert_eq!(sandbox.effects().len(), 2);
    sandbox.advance(Duration::from_hours(24));
    ask(addr, &charge()).await;
    assert_eq!(sandbox.effects().len(), 3);
}

#[tokio::test]
async fn requests_are_logged_as_they_arrived() {
    let sandbox = with(Fault::new(Kind::InUse));
    let addr = sandbox.addr();
    let sent = request("POST", "/v1/charges?a=%7E", "Idempotency-Key: k\r\nX-Odd: 1\r\n", CHARGE);
    ask(addr, &sent).await;
    let told = control(addr, "GET", "requests", &json!({})).await.json();
    let seen = &told["requests"][0];
    assert_eq!(seen["target"], json!("/v1/charges?a=%7E"));
    assert_eq!(
        (&seen["key"], &seen["fault"], &seen["status"]),
        (&json!("k"), &json!("in_use"), &json!(409))
    );
    assert!(seen["headers"].as_array().unwrap().contains(&json!("x-odd")));
    assert_eq!(seen["body_bytes"], json!(CHARGE.len()));
    assert_eq!(sandbox.requests().len(), 1);
}

#[tokio::test]
async fn the_payer_authenticates_over_http() {
    let sandbox = start();
    let addr = sandbox.addr();
    let form = "amount=5&currency=usd&payment_method=pm_card_authenticationRequired&confirm=true";
    let made = ask(addr, &request("POST", "/v1/payment_intents", "", form)).await.json();
    assert_eq!(made["status"], json!("requires_action"));
    let id = made["id"].as_str().unwrap();
    let told = control(addr, "POST", "authenticate", &json!({"payment_intent": id})).await;
    assert_eq!(told.status, 200);
    let path = format!("/v1/payment_intents/{id}/confirm");
    let done = ask(addr, &request("POST", &path, "", "")).await.json();
    assert_eq!(done["status"], json!("succeeded"));
    let outcomes: Vec<_> = sandbox.effects().iter().map(|effect| effect.outcome).collect();
    assert_eq!(outcomes, [Outcome::RequiresAction, Outcome::Succeeded]);
}

#[tokio::test]
async fn a_reset_forgets_effects_keys_faults_and_requests() {
    let sandbox = start();
    let addr = sandbox.addr();
    ask(addr, &charge()).await;
    sandbox.set_faults(vec![Fault::new(Kind::InUse)]);
    control(addr, "POST", "reset", &json!({})).await;
    assert!(sandbox.effects().is_empty() && sandbox.requests().is_empty());
    assert_eq!(ask(addr, &charge()).await.header("idempotent-replayed"), None);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_unexecuted() {
    let mut config = Config::local(Clock::System, 1);
    config.limits = Limits { body: 100, ..Limits::default() };
    let sandbox = Sandbox::start(config).unwrap();
    let big = request("POST", "/v1/customers", "", &format!("name={}", "x".repeat(100)));
    assert_eq!(ask(sandbox.addr(), &big).await.status, 413);
    assert!(sandbox.effects().is_empty());
}

#[tokio::test]
async fn a_chunked_body_without_a_length_is_read() {
    let sandbox = start();
    let chunked = format!(
        "POST /v1/charges HTTP/1.1\r\nHost: s\r\nAuthorization: Bearer sk_test_shop\r\n\
         Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{CHARGE}\r\n0\r\n\r\n",
        CHARGE.len()
    );
    assert_eq!(ask(sandbox.addr(), &chunked).await.status, 200);
}

#[tokio::test]
async fn a_connection_serves_many_requests_and_a_cut_strikes_only_its_own() {
    let sandbox = start();
    let mut stream = TcpStream::connect(sandbox.addr()).await.unwrap();
    for n in 0..3_usize {
        let kept = charge().replace("Connection: close\r\n", "");
        stream.write_all(kept.replace("Key: k", &format!("Key: {n}")).as_bytes()).await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0);
        }
        // The next answer is just not cut, and the one after it would be, were the cut still there.
        let bytes = u64::try_from(got.len()).unwrap() + 9;
        if n == 0 {
            let cut = Kind::CutAfterBytes { bytes, in_body: false, reset: false };
            sandbox.set_faults(vec![Fault::new(cut)]);
        }
    }
    assert_eq!((sandbox.effects().len(), sandbox.struck("cut_after_bytes")), (3, 1));
}

#[tokio::test]
async fn a_hundred_parallel_requests_with_one_key_make_one_effect() {
    let sandbox = start();
    let addr = sandbox.addr();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..100 {
        asking.spawn(async move { ask(addr, &charge()).await.status });
    }
    let statuses = asking.join_all().await;
    assert!(statuses.iter().all(|status| [200, 409].contains(status)), "{statuses:?}");
    assert_eq!(sandbox.effects().len(), 1);
}

#[tokio::test]
async fn a_closed_sandbox_refuses_connections_and_its_port_is_free() {
    let sandbox = start();
    let addr = sandbox.addr();
    sandbox.shutdown().await;
    let refused = TcpStream::connect(addr).await.map(drop);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let config = Config { listen: addr, ..Config::local(Clock::System, 1) };
    assert_eq!(Sandbox::start(config).unwrap().addr(), addr);
}
