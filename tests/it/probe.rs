//! `payonce health`, the probe that needs nothing but the binary, as a process. That one which closes
//! is not ready is seen where something is in flight: `lifecycle`.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

use std::net::TcpListener;

use super::running::{Running, run};

const HEALTH: &str = "PAYONCE_LISTEN__HEALTH";

#[test]
fn a_payonce_that_serves_is_found_ready_and_alive() {
    let payonce = Running::serve(&["--sandbox"], &[]);
    let port = payonce.health().to_string();
    let ready = run(&["health"], &[(HEALTH, &port)]);
    assert_eq!((ready.code, ready.err.as_str()), (Some(0), ""), "{}", ready.out);
    assert!(ready.out.starts_with("ready\n"), "{}", ready.out);
    let alive = run(&["health", "--live"], &[(HEALTH, &port)]);
    assert_eq!((alive.code, alive.out.as_str()), (Some(0), "alive\n"), "{}", alive.err);
}

#[test]
fn nobody_there_and_somebody_else_there_are_told_apart_from_not_ready() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    run(&["health"], &[(HEALTH, &free)]).failed(69, &["no payonce answers on", &free]);
    run(&["health"], &[(HEALTH, "off")]).failed(69, &["listen.health is off"]);
    // One that takes connections and says nothing: the probe ends by itself.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().to_string();
    run(&["health"], &[(HEALTH, &port)]).failed(69, &["no answer in 2s"]);
}
