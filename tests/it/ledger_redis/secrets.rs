//! Passwords and values reach no log and no error.

use payonce::clock::Clock;
use payonce::sandbox::{self, Sandbox};

use crate::redis_servers::{Options, Server, beside};
use crate::running::{API_KEY, CHARGE, Running, get, post, run};

const PASSWORD: &str = "a-password-that-nobody-may-see";

#[test]
fn a_wrong_password_ends_the_start_and_is_not_shown() {
    let server = Server::start(&Options { password: Some("another"), ..Options::default() });
    let ended = run(
        &["serve"],
        &[
            ("PAYONCE_STORE__KIND", "redis"),
            ("PAYONCE_STORE__NODES", &server.url()),
            ("PAYONCE_STORE__PASSWORD", PASSWORD),
        ],
    );
    assert_ne!(ended.code, Some(0));
    assert!(ended.err.contains("password"), "{}", ended.err);
    assert!(!ended.err.contains(PASSWORD) && !ended.out.contains(PASSWORD), "{}", ended.err);
}

#[test]
fn a_password_in_an_address_is_refused_and_not_quoted() {
    let nodes = format!("redis://:{PASSWORD}@127.0.0.1:1");
    let env = [("PAYONCE_STORE__KIND", "redis"), ("PAYONCE_STORE__NODES", nodes.as_str())];
    let ended = run(&["serve"], &env);
    ended.failed(64, &["store.nodes"]);
    assert!(!ended.err.contains(PASSWORD), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn neither_password_nor_values_are_in_what_a_payonce_says_while_its_store_fails() {
    let config = sandbox::Config::local(Clock::System, 7);
    let sandbox = Sandbox::start(config).unwrap();
    let upstream = format!("http://{}", sandbox.addr());
    // Everything is blocking from here on; the sandbox has the runtime for itself.
    beside(move || said_while_the_store_fails(&upstream)).await;
    assert_eq!(sandbox.effects().len(), 3);
}

fn said_while_the_store_fails(upstream: &str) {
    let user = Some(("payonce", PASSWORD, "~* &* +@all"));
    let server = Server::start(&Options { user, ..Options::default() });
    let payonce = Running::serve(
        &[],
        &[
            ("PAYONCE_STORE__KIND", "redis"),
            ("PAYONCE_STORE__NODES", &server.url()),
            ("PAYONCE_STORE__USER", "payonce"),
            ("PAYONCE_STORE__PASSWORD", PASSWORD),
            ("PAYONCE_STORE__TIMEOUT", "200ms"),
            ("PAYONCE_UPSTREAM__API", upstream),
            ("PAYONCE_LOG__LEVEL", "trace"),
        ],
    );
    let names = ["order-of-a-customer", "another-order", "a-third-order"];
    let charge = |name: &str| {
        let name = [("Payonce-Operation", name)];
        post(payonce.proxy(), "/v1/charges", &name, CHARGE)
    };
    let first = charge(names[0]);
    assert_eq!((first.status, first.field("payonce-degraded")), (200, None));
    server.command(&["ACL", "SETUSER", "payonce", "-@all"]);
    let second = charge(names[1]);
    assert_eq!((second.status, second.field("payonce-degraded")), (200, Some("store")));
    server.kill();
    let third = charge(names[2]);
    assert_eq!((third.status, third.field("payonce-degraded")), (200, Some("store")));
    let metrics = get(payonce.health(), "/metrics").body;
    payonce.signal("TERM");
    let (_code, heard) = payonce.ended();
    assert!(heard.iter().any(|line| line.contains("the store did not answer")), "{heard:?}");
    for secret in [PASSWORD, API_KEY, "tok_visa"].iter().chain(&names) {
        let said = heard.iter().find(|line| line.contains(secret));
        assert!(said.is_none() && !metrics.contains(secret), "{secret}: {said:?}");
    }
}
