//! The health port of a payonce that starts, serves, loses its store, and drains.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "that is how a test fails, helpers included"
)]

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::port::Port;
use super::redis_servers::{Options, Server};
use super::running::{Answer, Running, ask, get, until, write};

const REFUSED: &str = r#"
version = 1
[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source"]
store_down = "refuse"
"#;

/// A payonce on this Redis, with `policy` and more settings.
fn on(server: &Server, policy: &str, more: &[(&str, &str)]) -> Running {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let file = write(directory.path(), "policy.toml", policy);
    let (nodes, file) = (server.url(), file.display().to_string());
    let mut env = vec![
        ("PAYONCE_STORE__KIND", "redis"),
        ("PAYONCE_STORE__NODES", nodes.as_str()),
        ("PAYONCE_POLICY__PATH", file.as_str()),
    ];
    env.extend(more);
    Running::start(directory, &["serve"], &env)
}

#[track_caller]
fn says(answer: &Answer, status: u16, words: &str) {
    assert!(answer.status == status && answer.body.contains(words), "{status} {words}: {answer:?}");
}

#[test]
fn a_start_that_waits_for_other_processes_is_seen_as_a_start() {
    let server = Server::start(&Options::default());
    let first = on(&server, REFUSED, &[]);
    first.line("policy is in force");
    // Another policy on the same store is announced, and used when the others know.
    let other = REFUSED.replace("\"source\"", "\"source\", \"customer\"");
    let port = Port::free();
    let proxy = port.addr().to_string();
    let env = [("PAYONCE_STORE__LEASE", "3s"), ("PAYONCE_LISTEN__PROXY", proxy.as_str())];
    let second = on(&server, &other, &env);
    let health = second.health();
    says(&get(health, "/startupz"), 503, "starting: ");
    says(&get(health, "/readyz"), 503, "starting: ");
    says(&get(health, "/livez"), 200, "alive");
    says(&get(health, "/metrics"), 200, "payonce_build_info{");
    assert!(TcpStream::connect(port.addr()).is_err(), "requests are taken only afterwards");
    says(&until(health, "/startupz", |it| it.status == 200), 200, "started");
    says(&get(health, "/readyz"), 200, "listening: listen.proxy\n");
    TcpStream::connect(port.addr()).unwrap();
}

#[test]
fn a_store_that_hangs_fails_readiness_only_where_nothing_critical_goes_on_without_it() {
    let server = Server::start(&Options::default());
    let refuses = on(&server, REFUSED, &[]);
    refuses.line("policy is in force");
    let derives = REFUSED.replace("\"refuse\"", "\"derive\"");
    let derives = on(&server, &derives, &[]);
    derives.line("policy is in force");
    let (refuses_at, derives_at) = (refuses.health(), derives.health());
    for at in [refuses_at, derives_at] {
        until(at, "/readyz", |it| it.status == 200 && it.body.contains("store: "));
    }
    server.pause();
    says(&until(refuses_at, "/readyz", |it| it.status == 503), 503, "store: down: ");
    let degraded = until(derives_at, "/readyz", |it| it.body.contains("does not answer"));
    says(&degraded, 200, "store: degraded: ");
    let began = Instant::now();
    says(&get(refuses_at, "/livez"), 200, "alive");
    assert!(began.elapsed() < Duration::from_secs(5), "life is not the store's");
    let down = |it: &Answer| it.body.contains("\npayonce_store_up 0\n");
    until(derives_at, "/metrics", down);
    server.resume();
    until(refuses_at, "/readyz", |it| it.status == 200);
    until(derives_at, "/metrics", |it| it.body.contains("\npayonce_store_up 1\n"));
}

#[test]
fn the_health_port_may_be_on_any_address_and_the_admin_port_may_not() {
    let anywhere = [("PAYONCE_LISTEN__HEALTH", "0.0.0.0:0")];
    let payonce = Running::serve(&["--sandbox"], &anywhere);
    let port = payonce.health().port();
    assert!(payonce.health().ip().is_unspecified());
    says(&get(([127, 0, 0, 1], port).into(), "/startupz"), 200, "started");
    let admin = [("PAYONCE_LISTEN__ADMIN", "0.0.0.0:0")];
    super::running::run(&["serve"], &admin).failed(64, &["listen.admin: must be a loopback"]);
}

#[test]
fn webhook_endpoints_are_told_of_and_a_file_that_turns_bad_is_too() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let secret = write(directory.path(), "orders", "whsec_of_this_test_alone_0123456789\n");
    let settings = format!(
        "[webhook]\nlisten = \"127.0.0.1:0\"\nrefresh = \"1s\"\n[webhook.endpoints.orders]\n\
         path = \"/stripe\"\nsecret_files = [{secret:?}]\nforward = \"http://127.0.0.1:9/\"\n"
    );
    let settings = write(directory.path(), "payonce.toml", &settings).display().to_string();
    let args = ["--sandbox", "--settings", &settings];
    let payonce = Running::serve_in(Arc::clone(&directory), &args, &[]);
    let ready = until(payonce.health(), "/readyz", |it| it.status == 200);
    says(&ready, 200, "listening: listen.proxy, webhook.listen\n");
    says(&ready, 200, "\nwebhook orders: ok\n");
    std::fs::write(&secret, "").unwrap();
    let bad = until(payonce.health(), "/readyz", |it| !it.body.contains("webhook orders: ok"));
    says(&bad, 200, "\nwebhook orders: degraded: ");
}

#[test]
fn metrics_are_open_metrics_unless_only_plain_text_is_asked_for() {
    let payonce = Running::serve(&["--sandbox"], &[]);
    let scrape = |accept: &str| {
        let stream = TcpStream::connect(payonce.health()).unwrap();
        ask(stream, "GET /metrics", &[("Accept", accept)], "")
    };
    let new = scrape("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5");
    assert_eq!(
        new.field("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(new.body.contains("# TYPE payonce_decisions counter\n"), "{new:?}");
    let old = scrape("text/plain;version=0.0.4");
    assert_eq!(old.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(old.body.contains("# TYPE payonce_decisions_total counter\n"), "{old:?}");
}
