//! `payonce ops` against real processes: the story of an operation, search, watch, a word on many
//! operations at once, export.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how a test fails, helpers included"
)]

mod bulk;
mod look;
mod saved;

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::redis_server::RedisServer;
use super::running::{API_KEY, Answer, CHARGE, Ended, LONG, Running, TOKEN, fault, post, run};

/// What `payonce ops …` says of the payonce with this admin port.
fn ops(admin: SocketAddr, line: &[&str]) -> Ended {
    let admin = admin.to_string();
    run(&[&["ops"], line].concat(), &[("PAYONCE_LISTEN__ADMIN", &admin)])
}

/// What it prints, if all is well.
#[track_caller]
fn said(admin: SocketAddr, line: &[&str]) -> String {
    let ended = ops(admin, line);
    assert_eq!(ended.code, Some(0), "{line:?}: {}", ended.err);
    ended.out
}

/// Likewise, in JSON.
#[track_caller]
fn found(admin: SocketAddr, line: &[&str]) -> Value {
    serde_json::from_str(&said(admin, &[line, &["--json"]].concat())).unwrap()
}

/// The ids that a search finds.
#[track_caller]
fn ids(admin: SocketAddr, line: &[&str]) -> Vec<String> {
    let found = found(admin, &[&["search"], line].concat());
    let all = found["operations"].as_array().unwrap().iter();
    all.map(|it| it["operation_id"].as_str().unwrap().to_owned()).collect()
}

/// Processes that share a Redis, and the sandbox behind them.
struct Shared {
    redis: RedisServer,
    _sandbox: Running,
    sandbox: SocketAddr,
    pods: [Running; 2],
}

impl Shared {
    fn start(more: &[(&str, &str)]) -> Self {
        let redis = RedisServer::start(&[]);
        let node = format!("unix://{}", redis.socket().display());
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let sandbox = Running::start(directory, &["sandbox", "--listen", "127.0.0.1:0"], &[]);
        let api = sandbox.line("sandbox listens").split(' ').next_back().unwrap().to_owned();
        let store = [
            ("PAYONCE_STORE__KIND", "redis"),
            ("PAYONCE_STORE__NODES", &*node),
            ("PAYONCE_UPSTREAM__API", &*api),
        ];
        let env = [&store[..], more].concat();
        let pods = [Running::serve(&[], &env), Running::serve(&[], &env)];
        let address = api.trim_start_matches("http://").parse().unwrap();
        Self { redis, _sandbox: sandbox, sandbox: address, pods }
    }
}

/// With a key on standard input.
fn with_key(admin: SocketAddr, line: &[&str], key: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_payonce"))
        .arg("ops")
        .args(line)
        .env_clear()
        .env("PAYONCE_LISTEN__ADMIN", admin.to_string())
        .env("PAYONCE_ADMIN__TOKEN", TOKEN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{key}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// A charge whose outcome is not known: it happened, and its answer was lost at each of the
/// attempts.
fn doubtful(payonce: &Running, attempts: usize, fields: &[(&str, &str)], body: &str) -> String {
    doubtful_at(payonce.sandbox(), payonce, attempts, fields, body)
}

fn doubtful_at(
    sandbox: SocketAddr,
    payonce: &Running,
    attempts: usize,
    fields: &[(&str, &str)],
    body: &str,
) -> String {
    for _ in 0..attempts {
        fault(sandbox, &json!({ "kind": "reset_after_effect" }));
    }
    let answer = post(payonce.proxy(), "/v1/charges", fields, body);
    answer.refused(504, "payonce_outcome_unknown", "");
    let id = id(&answer);
    is_known_as(payonce.admin(), &id, "in_doubt");
    id
}

/// Waits until an operation is in this state: what was learnt is written after the answer.
fn is_known_as(admin: SocketAddr, id: &str, state: &str) {
    soon(|| ids(admin, &["--id", id, "--state", state]) == [id]);
}

/// Waits for it, and fails if it does not come.
#[track_caller]
fn soon(mut is: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !is() {
        assert!(Instant::now() < end, "it does not come");
    }
}

fn id(answer: &Answer) -> String {
    answer.field("payonce-operation-id").unwrap().to_owned()
}

/// No secret of the tests' is in it.
#[track_caller]
fn is_clean(text: &str, keys: &[&str]) {
    for secret in keys.iter().chain(&[API_KEY, "tok_visa", CHARGE]) {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
}
