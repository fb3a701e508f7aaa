//! `payonce serve` as a process: what it says at start, how it ends, and what people do while it
//! runs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how a test fails, helpers included"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};

use super::running::{
    API_KEY, Answer, CHARGE, LONG, Running, TOKEN, ask, effects, fault, form, get, post, run, until,
};

/// A provider that answers one request, and not before it is told to.
struct Stalled {
    address: SocketAddr,
    arrived: Receiver<()>,
    go: Sender<()>,
}

impl Stalled {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ((seen, arrived), (go, wait)) = (channel(), channel());
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            seen.send(()).unwrap();
            // Dropped without a word: the process is to end while it waits.
            let Ok(()) = wait.recv() else { return };
            let body = r#"{"id":"ch_1","object":"charge"}"#;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
            write!(reader.get_mut(), "{head}: {}\r\n\r\n{body}", body.len()).unwrap();
        });
        Self { address, arrived, go }
    }

    /// A payonce before it, and the answer to a charge that is on its way.
    fn charged(&self) -> (Running, std::thread::JoinHandle<Option<Answer>>) {
        let upstream = format!("http://{}", self.address);
        let payonce = Running::serve(
            &[],
            &[("PAYONCE_STORE__KIND", "memory"), ("PAYONCE_UPSTREAM__API", &upstream)],
        );
        let proxy = payonce.proxy();
        let client = std::thread::spawn(move || {
            // A connection that breaks off panics in here.
            std::panic::catch_unwind(|| post(proxy, "/v1/charges", &[], CHARGE)).ok()
        });
        self.arrived.recv_timeout(LONG).unwrap();
        (payonce, client)
    }
}

#[test]
fn a_signal_lets_what_is_in_flight_be_answered() {
    let provider = Stalled::new();
    let (payonce, client) = provider.charged();
    payonce.signal("TERM");
    let ready = until(payonce.health(), "/readyz", |ready| ready.status == 503);
    assert!(ready.body.contains("closing"), "{ready:?}");
    let port = payonce.health().to_string();
    let probe = |line: &[&str]| run(line, &[("PAYONCE_LISTEN__HEALTH", &port)]);
    let asked = probe(&["health"]);
    assert!(asked.code == Some(1) && asked.out.contains("closing"), "{}{}", asked.out, asked.err);
    assert_eq!(probe(&["health", "--live"]).code, Some(0));
    assert_eq!(get(payonce.health(), "/livez").status, 200, "it drains, and lives");
    assert_eq!(get(payonce.health(), "/startupz").status, 200, "it did start");
    provider.go.send(()).unwrap();
    let answer = client.join().unwrap().unwrap();
    assert_eq!((answer.status, answer.field("payonce-outcome")), (200, Some("executed")));
    let (code, lines) = payonce.ended();
    assert_eq!(code, Some(0), "{}", lines.join("\n"));
    assert!(lines.iter().any(|line| line.contains("payonce has stopped")), "{lines:?}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let provider = Stalled::new();
    let (payonce, client) = provider.charged();
    payonce.signal("INT");
    until(payonce.health(), "/readyz", |ready| ready.status == 503);
    payonce.signal("INT");
    let (code, lines) = payonce.ended();
    assert_eq!(code, Some(130), "{}", lines.join("\n"));
    assert!(client.join().unwrap().is_none_or(|answer| answer.status >= 500));
    drop(provider.go);
}

#[test]
fn a_unix_socket_serves_its_owner_and_goes_with_the_process() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let socket = directory.path().join("payonce.sock");
    let env = [
        ("PAYONCE_LISTEN__PROXY", "off"),
        ("PAYONCE_LISTEN__UNIX_SOCKET", socket.to_str().unwrap()),
    ];
    let payonce = Running::serve_in(Arc::clone(&directory), &["--sandbox"], &env);
    assert!(payonce.line("proxy listens").contains("payonce.sock"));
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let bearer = format!("Bearer {API_KEY}");
    // The second comes while the first is still being delivered, or after.
    for outcomes in [&["executed"][..], &["joined", "replayed"]] {
        let stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let answer = ask(stream, "POST /v1/charges", &form(&bearer), CHARGE);
        let outcome = answer.field("payonce-outcome").unwrap_or_default();
        assert!(answer.status == 200 && outcomes.contains(&outcome), "{answer:?}");
    }
    assert_eq!(effects(payonce.sandbox()), 1);
    payonce.signal("TERM");
    assert_eq!(payonce.ended().0, Some(0));
    assert!(UnixStream::connect(&socket).is_err());
}

#[test]
fn the_start_up_lines_say_what_listens_the_store_the_policy_and_what_to_worry_about() {
    let env = [
        ("PAYONCE_STORE__SINGLE_INSTANCE", "true"),
        ("PAYONCE_STORE__PATH", "here.redb"),
        ("PAYONCE_POLICY__BYPASS", "true"),
        ("PAYONCE_UPSTREAM__API", "http://127.0.0.1:9"),
    ];
    let payonce = Running::serve(&[], &env);
    assert!(payonce.line("proxy listens").contains("http://127.0.0.1:9"));
    payonce.line("admin listens");
    payonce.line("health and metrics listen");
    assert!(payonce.line("store is embedded").contains("here.redb"));
    let policy: Value = serde_json::from_str(&payonce.line("policy is in force")).unwrap();
    assert_eq!(policy["policy_version"].as_str().map(str::len), Some(12), "{policy}");
    assert_eq!((&policy["file"], &policy["mode"]), (&json!("(shipped)"), &json!("enforce")));
    assert!(payonce.line("bypass").contains("WARN"));
}

#[test]
fn logs_are_one_object_a_line_for_machines_and_one_line_an_event_for_people() {
    let payonce = Running::serve(&["--sandbox"], &[]);
    assert_eq!(post(payonce.proxy(), "/v1/charges", &[], CHARGE).status, 200);
    let operation: Value = serde_json::from_str(&payonce.line("\"operation\"")).unwrap();
    for (field, value) in [
        ("rule", json!("charges")),
        ("identity", json!("content")),
        ("row", json!("A1")),
        ("outcome", json!("executed")),
        ("status", json!(200)),
        ("attempts", json!(1)),
        ("amount", json!("500")),
    ] {
        assert_eq!(operation[field], value, "{operation}");
    }
    payonce.signal("TERM");
    let (code, lines) = payonce.ended();
    assert_eq!(code, Some(0));
    for line in &lines {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        assert!(event["timestamp"].is_string() && event["level"].is_string(), "{line}");
    }
    let people = Running::serve(&["--sandbox"], &[("PAYONCE_LOG__FORMAT", "human")]);
    let line = people.line("proxy listens");
    assert!(line.contains("INFO") && !line.starts_with('{') && !line.contains('\u{1b}'), "{line}");
}

#[test]
fn explain_names_the_operation_and_the_key_that_serving_comes_to() {
    let payonce = Running::serve(&["--sandbox"], &[]);
    let key = format!("Authorization: Bearer {API_KEY}");
    let headers = ["Payonce-Operation: order-42", "Stripe-Account: acct_1", "Idempotency-Key: k-1"];
    for header in [None].into_iter().chain(headers.map(Some)) {
        let fields: Vec<(&str, &str)> =
            header.iter().map(|it| it.split_once(": ").unwrap()).collect();
        let served = post(payonce.proxy(), "/v1/charges", &fields, CHARGE);
        let id = served.field("payonce-operation-id").unwrap();
        let requests = get(payonce.sandbox(), "/_sandbox/requests").json();
        let sent = requests["requests"].as_array().unwrap().last().unwrap()["key"].clone();
        let mut line = vec!["explain", "POST /v1/charges", "-d", CHARGE, "-H", &key];
        line.extend(header.iter().flat_map(|it| ["-H", *it]));
        // Its operations are apart from Stripe's.
        let page = run(&line, &[("PAYONCE_UPSTREAM__PROVIDER_HOST", "sandbox")]).out;
        assert!(page.contains(id), "no {id} in\n{page}");
        let own = sent == "k-1" && page.contains("the client's, unchanged");
        assert!(own || page.contains(sent.as_str().unwrap()), "no {sent} in\n{page}");
    }
}

#[test]
fn probes_and_metrics_are_answered() {
    let payonce = Running::serve(&["--sandbox"], &[]);
    assert_eq!(post(payonce.proxy(), "/v1/charges", &[], CHARGE).status, 200);
    let health = payonce.health();
    assert_eq!(get(health, "/livez").body, "alive\n");
    let ready = get(health, "/readyz");
    assert!(ready.status == 200 && ready.body.starts_with("ready\n"), "{ready:?}");
    assert!(
        ready.body.contains("policy: version ")
            && ready.body.contains("store: degraded: it answers")
    );
    let all = get(health, "/metrics").body;
    assert!(all.contains("rule=\"charges\"") && all.contains("\"A1\""), "{all}");
    assert!(all.trim_end().ends_with("# EOF"), "{all}");
    assert_eq!(get(health, "/ops").status, 404, "nothing of the admin port is here");
}

/// `payonce ops …` against `payonce`.
fn ops(payonce: &Running, token: &str, line: &[&str]) -> super::running::Ended {
    let admin = payonce.admin().to_string();
    let env = [("PAYONCE_LISTEN__ADMIN", &*admin), ("PAYONCE_ADMIN__TOKEN", token)];
    run(&[&["ops"], line].concat(), &env)
}

#[test]
fn a_person_finds_an_operation_in_doubt_and_says_what_became_of_it() {
    let payonce = Running::serve(&["--sandbox"], &[("PAYONCE_RETRY__MAX_ATTEMPTS", "1")]);
    let charge = |headers: &[(&str, &str)]| post(payonce.proxy(), "/v1/charges", headers, CHARGE);
    fault(payonce.sandbox(), &json!({ "kind": "reset_after_effect" }));
    let key = [("Idempotency-Key", "order-42")];
    let doubtful = charge(&key);
    doubtful.refused(504, "payonce_outcome_unknown", "is safe");
    let id = doubtful.field("payonce-operation-id").unwrap().to_owned();

    let table = ops(&payonce, TOKEN, &["list"]);
    assert_eq!(table.code, Some(0), "{}", table.err);
    assert!(table.out.contains("charges") && table.out.contains("doubt"), "{}", table.out);
    let open: Value = serde_json::from_str(&ops(&payonce, TOKEN, &["list", "--json"]).out).unwrap();
    assert_eq!(open["operations"][0]["operation_id"], id.as_str(), "{open}");
    for line in [&["show", &id][..], &["show", "--key", "order-42"]] {
        let shown = ops(&payonce, TOKEN, line);
        assert_eq!(shown.code, Some(0), "{}", shown.err);
        assert!(shown.out.contains(&id) && !shown.out.contains("order-42"), "{}", shown.out);
    }
    let seen = ["--object", "ch_1", "--by", "ann", "--why", "seen it"];
    let resolve = [&["resolve", &id, "--as", "succeeded"], &seen[..]].concat();
    ops(&payonce, "another-token-of-some-length", &resolve).failed(1, &["token"]);
    let resolved = ops(&payonce, TOKEN, &resolve);
    assert_eq!(resolved.code, Some(0), "{}", resolved.err);
    assert!(resolved.out.contains("succeeded") && resolved.out.contains("seen it"));
    ops(&payonce, TOKEN, &resolve).failed(1, &[]);
    assert!(!ops(&payonce, TOKEN, &["list"]).out.contains(&id));

    let again = charge(&key);
    assert_eq!((again.status, again.field("payonce-outcome")), (200, Some("replayed")));
    assert_eq!(effects(payonce.sandbox()), 1);
    ops(&payonce, TOKEN, &["show", "--key", "no-such-key"]).failed(1, &[]);
}

#[test]
fn an_operation_that_a_person_calls_declined_is_sent_anew() {
    let payonce = Running::serve(&["--sandbox"], &[("PAYONCE_RETRY__MAX_ATTEMPTS", "1")]);
    let named = [("Payonce-Operation", "order-42")];
    let charge = || post(payonce.proxy(), "/v1/charges", &named, CHARGE);
    fault(payonce.sandbox(), &json!({ "kind": "reset_before_effect" }));
    let lost = charge();
    lost.refused(504, "payonce_outcome_unknown", "is safe");
    let id = lost.field("payonce-operation-id").unwrap();
    let resolve = ["resolve", id, "--as", "declined", "--by", "ann", "--why", "none at Stripe"];
    assert_eq!(ops(&payonce, TOKEN, &resolve).code, Some(0));
    let again = charge();
    assert_eq!((again.status, again.field("payonce-outcome")), (200, Some("executed")));
    assert_eq!(effects(payonce.sandbox()), 1);
}

#[test]
fn ops_says_where_nobody_answers() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    drop(taken);
    let ended = run(&["ops", "list"], &[("PAYONCE_LISTEN__ADMIN", &address)]);
    ended.failed(69, &[&address, "is it running"]);
    run(&["ops", "list"], &[("PAYONCE_LISTEN__ADMIN", "off")]).failed(69, &["listen.admin"]);
}
