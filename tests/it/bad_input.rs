//! What people and the world do wrong, at the real binary: each a clear message that names what to
//! mend, nothing sent, nothing lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how a test fails, helpers included"
)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::running::{
    API_KEY, CHARGE, LONG, Running, effects, fault, get, post, run, run_in, until, write,
};

/// For tests in which the store is not the matter.
const MEMORY: (&str, &str) = ("PAYONCE_STORE__KIND", "memory");

#[test]
fn every_wrong_setting_is_named_at_once_and_nothing_starts() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[listen]\nproxi = \"127.0.0.1:0\"\n[retry]\nmax_attempts = 0\ndeadline = 70\n";
    write(directory.path(), "payonce.toml", text);
    let env = [("PAYONCE_STORE__KIND", "redb"), ("PAYONCE_LIMITS__BODDY", "1MiB")];
    let ended = run_in(directory.path(), &["serve", "--settings", "payonce.toml"], &env);
    ended.failed(
        64,
        &[
            "listen.proxi",
            "retry.max_attempts",
            "retry.deadline",
            "store.kind",
            "PAYONCE_LIMITS__BODDY",
            "5 problem(s)",
            "nothing was started",
        ],
    );
    let missing = ["serve", "--settings", "not-there.toml"];
    run_in(directory.path(), &missing, &[]).failed(64, &["not-there.toml"]);
}

#[test]
fn a_broken_policy_ends_the_start_before_a_port_is_bound() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "policy.toml", "version = 1\nmode = \"enforced\"\n");
    // The port is taken, so that whoever tried to bind it first would say so.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let env =
        [MEMORY, ("PAYONCE_POLICY__PATH", "policy.toml"), ("PAYONCE_LISTEN__PROXY", &address)];
    let ended = run_in(directory.path(), &["serve"], &env);
    ended.failed(64, &["policy.toml", "2 | mode = \"enforced\"", "^^^", "nothing was bound"]);
    assert!(!ended.err.contains("listen.proxy"), "{}", ended.err);
}

#[test]
fn content_rules_on_a_store_of_one_process_want_that_to_be_said() {
    let ended = run(&["serve"], &[]);
    ended.failed(64, &["embedded", "set store.single_instance = true"]);
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (variable, setting) in [
        ("PAYONCE_LISTEN__PROXY", "listen.proxy"),
        ("PAYONCE_LISTEN__ADMIN", "listen.admin"),
        ("PAYONCE_LISTEN__HEALTH", "listen.health"),
    ] {
        let ended = run(&["serve"], &[MEMORY, (variable, &address)]);
        ended.failed(69, &[setting, &address, "nothing was sent"]);
    }
    run(&["sandbox", "--listen", &address], &[]).failed(69, &["--listen", &address]);
}

#[test]
fn a_store_that_cannot_be_used_is_named_with_its_setting_and_file() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let serve = |path: &str, words: &[&str]| {
        let env = [("PAYONCE_STORE__PATH", path), ("PAYONCE_STORE__SINGLE_INSTANCE", "true")];
        let ended = run_in(directory.path(), &["serve"], &env);
        ended.failed(69, &[&["store.path", path], words].concat());
    };
    write(directory.path(), "damaged.redb", &"no ledger ".repeat(1000));
    serve("damaged.redb", &["damaged", "move it away"]);
    assert!(directory.path().join("damaged.redb").exists(), "it is for people to move");
    std::fs::create_dir(directory.path().join("a-directory.redb")).unwrap();
    serve("a-directory.redb", &[]);
    serve("no-such-directory/x.redb", &["no directory"]);
    let first = Running::serve_in(
        Arc::clone(&directory),
        &[],
        &[("PAYONCE_STORE__PATH", "shared.redb"), ("PAYONCE_STORE__SINGLE_INSTANCE", "true")],
    );
    serve("shared.redb", &["in use by another process"]);
    assert_eq!(get(first.health(), "/livez").status, 200, "the first one goes on");
}

/// An HTTPS server whose certificate nobody vouches for. Says what came of each handshake.
fn uncertified() -> (SocketAddr, Receiver<io::Result<(usize, usize)>>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let cert = params.self_signed(&key).unwrap().der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, handshakes) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            drop(sender.send(tls.complete_io(&mut stream.unwrap())));
        }
    });
    (address, handshakes)
}

#[test]
fn an_upstream_that_nobody_vouches_for_gets_nothing() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let other = CertificateParams::new(Vec::new()).unwrap();
    let other = other.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    write(directory.path(), "ca.pem", &other);
    write(directory.path(), "not-a-ca.pem", "nothing");
    let (address, handshakes) = uncertified();
    let upstream = format!("https://{address}");
    let payonce = Running::serve_in(
        Arc::clone(&directory),
        &[],
        &[MEMORY, ("PAYONCE_UPSTREAM__API", &upstream), ("PAYONCE_UPSTREAM__CA_FILE", "ca.pem")],
    );
    let answer = post(payonce.proxy(), "/v1/charges", &[], CHARGE);
    answer.refused(502, "payonce_upstream_unreachable", "TLS");
    answer.refused(502, "payonce_upstream_unreachable", "Nothing was sent");
    assert!(handshakes.recv_timeout(LONG).unwrap().is_err(), "the certificate was trusted");
    for file in ["not-a-ca.pem", "not-there.pem"] {
        let env = [MEMORY, ("PAYONCE_UPSTREAM__CA_FILE", file)];
        let ended = run_in(directory.path(), &["serve"], &env);
        ended.failed(64, &["upstream.ca_file", file]);
    }
}

/// An address that refuses every connection until it is opened. Nobody else can take it.
struct Closed(Socket);

impl Closed {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    /// From now on it leads to `to`.
    fn open(self, to: SocketAddr) {
        self.0.listen(16).unwrap();
        let listener = TcpListener::from(self.0);
        std::thread::spawn(move || {
            for here in listener.incoming() {
                let (here, there) = (here.unwrap(), TcpStream::connect(to).unwrap());
                pipe(here.try_clone().unwrap(), there.try_clone().unwrap());
                pipe(there, here);
            }
        });
    }
}

fn pipe(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        drop(to.shutdown(std::net::Shutdown::Write));
    });
}

#[test]
fn an_unreachable_upstream_costs_nothing_and_the_same_request_works_once_it_is_back() {
    let sandbox = Running::serve(&["--sandbox"], &[]);
    let closed = Closed::new();
    let upstream = format!("http://{}", closed.address());
    let payonce = Running::serve(&[], &[MEMORY, ("PAYONCE_UPSTREAM__API", &upstream)]);
    let named = [("Payonce-Operation", "order-1")];
    for headers in [&[][..], &[("Idempotency-Key", "order-2")], &named] {
        let answer = post(payonce.proxy(), "/v1/charges", headers, CHARGE);
        answer.refused(502, "payonce_upstream_unreachable", "Nothing was sent to Stripe");
        answer.refused(502, "payonce_upstream_unreachable", "no connection to the upstream");
    }
    let read = get(payonce.proxy(), "/v1/charges/ch_1");
    read.refused(502, "payonce_no_answer", "Nothing was sent");
    closed.open(sandbox.sandbox());
    for headers in [&[][..], &[("Idempotency-Key", "order-2")], &named] {
        let answer = post(payonce.proxy(), "/v1/charges", headers, CHARGE);
        let outcome = answer.field("payonce-outcome");
        assert_eq!((answer.status, outcome), (200, Some("executed")), "{answer:?}");
    }
    assert_eq!(effects(sandbox.sandbox()), 3);
    let again = post(payonce.proxy(), "/v1/charges", &named, CHARGE);
    let outcome = again.field("payonce-outcome").unwrap_or_default();
    assert!(["joined", "replayed"].contains(&outcome), "{again:?}");
    assert_eq!(effects(sandbox.sandbox()), 3);
}

#[test]
fn an_ill_formed_request_is_refused_in_stripes_shape_and_nothing_is_sent() {
    let payonce = Running::serve(&["--sandbox"], &[("PAYONCE_LIMITS__BODY", "1KiB")]);
    let long = "k".repeat(256);
    let large = format!("{CHARGE}&description={}", "x".repeat(1024));
    let bearer = format!("Bearer {API_KEY}");
    let name = "a".repeat(256);
    for (path, headers, body, status, code, words) in [
        (
            "/v1/charges",
            &[("Idempotency-Key", &*long)][..],
            CHARGE,
            400,
            "payonce_bad_idempotency_key",
            "256 characters",
        ),
        (
            "/v1/charges",
            &[("Idempotency-Key", "")],
            CHARGE,
            400,
            "payonce_bad_idempotency_key",
            "empty",
        ),
        (
            "/v1/charges",
            &[("Idempotency-Key", "schlüssel")],
            CHARGE,
            400,
            "payonce_bad_idempotency_key",
            "printable",
        ),
        (
            "/v1/charges",
            &[("Payonce-Operation", &*name)],
            CHARGE,
            400,
            "payonce_bad_operation",
            "255",
        ),
        (
            "/v1/charges",
            &[("Authorization", &*bearer)],
            CHARGE,
            400,
            "payonce_repeated_header",
            "authorization",
        ),
        ("/v1//charges", &[], CHARGE, 400, "payonce_bad_target", "empty segment"),
        ("/v1/charges", &[], &large, 413, "payonce_body_too_large", "limits.body"),
    ] {
        let answer = post(payonce.proxy(), path, headers, body);
        answer.refused(status, code, words);
        answer.refused(status, code, "Nothing was sent to Stripe.");
    }
    let requests = get(payonce.sandbox(), "/_sandbox/requests").json();
    assert_eq!(requests["requests"], json!([]));
    let all = get(payonce.health(), "/metrics").body;
    assert!(all.contains("payonce_bad_idempotency_key"), "refusals are counted\n{all}");
}

#[test]
fn a_reload_that_is_broken_keeps_the_policy_in_force_and_says_so() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let refuse = "version = 1\n[[rule]]\nname = \"closed\"\nmatch = [\"POST /v1/charges\"]\n\
                  class = \"refuse\"\n";
    write(directory.path(), "policy.toml", refuse);
    let env = [("PAYONCE_POLICY__PATH", "policy.toml"), ("PAYONCE_POLICY__REFRESH", "1s")];
    let payonce = Running::serve_in(Arc::clone(&directory), &["--sandbox"], &env);
    let closed = || post(payonce.proxy(), "/v1/charges", &[], CHARGE);
    closed().refused(403, "payonce_refused_by_policy", "closed");
    write(directory.path(), "policy.toml", "version = 1\n[[rule]]\n");
    let ready = until(payonce.health(), "/readyz", |it| it.body.contains("policy_refused"));
    assert_eq!(ready.status, 200, "{ready:?}");
    until(payonce.health(), "/metrics", |it| it.body.contains("payonce_policy_refused_total 1"));
    payonce.line("policy.toml");
    closed().refused(403, "payonce_refused_by_policy", "closed");
    write(directory.path(), "policy.toml", &refuse.replace("refuse", "pass"));
    until(payonce.health(), "/readyz", |it| !it.body.contains("policy_refused"));
    assert_eq!(closed().status, 200);
    assert_eq!(effects(payonce.sandbox()), 1);
}

#[test]
fn what_goes_wrong_upstream_shows_no_secret_anywhere() {
    let payonce = Running::serve(
        &["--sandbox"],
        &[("PAYONCE_LOG__LEVEL", "trace"), ("PAYONCE_RETRY__MAX_ATTEMPTS", "1")],
    );
    let mut pages = Vec::new();
    for kind in ["reset_after_effect", "in_use", "refuse"] {
        fault(payonce.sandbox(), &json!({ "kind": kind, "match": { "method": "POST" } }));
        let secret = [("Idempotency-Key", "the-raw-key-of-this-test")];
        let body = "amount=77700&currency=usd&source=tok_visa&description=the-body-of-this-test";
        let answer = post(payonce.proxy(), "/v1/charges", &secret, body);
        assert!(answer.status >= 400, "{answer:?}");
        pages.push(answer.body);
    }
    let health = payonce.health();
    pages.extend([get(health, "/metrics").body, get(health, "/readyz").body]);
    payonce.signal("TERM");
    let (code, lines) = payonce.ended();
    assert_eq!(code, Some(0), "{}", lines.join("\n"));
    for line in pages.iter().chain(&lines) {
        for secret in [API_KEY, "the-raw-key-of-this-test", "the-body-of-this-test"] {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
    }
}
