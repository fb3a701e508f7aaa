//! What a ledger that fails for a moment does to an operation: what was learnt still gets there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use payonce::clock::Clock;
use payonce::exchange::Exchange;
use payonce::ledger::memory::Memory;
use payonce::ledger::{
    Claimed, Entry, Held, KeyDigest, Ledger, LedgerError, RecordId, Replaced, Version,
};
use payonce::metrics::Metrics;
use payonce::server::Shutdown;
use payonce::upstream::{Body, Direct, Host, Origin, Origins, SendError, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Around, fixed, listener};

/// A memory ledger that fails as often as told: after it did what was asked, or before.
struct Flaky {
    memory: Memory,
    claims_unanswered: AtomicUsize,
    replaces_unanswered: AtomicUsize,
    replaces_failing: AtomicUsize,
}

fn due(failures: &AtomicUsize) -> bool {
    failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn down<T>() -> Result<T, LedgerError> {
    Err(LedgerError::Unavailable("told to".to_owned()))
}

impl Ledger for Flaky {
    async fn claim(&self, ids: &[RecordId], fresh: Entry) -> Result<Claimed, LedgerError> {
        let claimed = self.memory.claim(ids, fresh).await;
        if due(&self.claims_unanswered) { down() } else { claimed }
    }
    async fn replace(
        &self,
        id: RecordId,
        seen: Version,
        entry: Entry,
    ) -> Result<Replaced, LedgerError> {
        if due(&self.replaces_failing) {
            return down();
        }
        let replaced = self.memory.replace(id, seen, entry).await;
        if due(&self.replaces_unanswered) { down() } else { replaced }
    }
    async fn remove(&self, id: RecordId, seen: Version) -> Result<Replaced, LedgerError> {
        self.memory.remove(id, seen).await
    }
    async fn get(&self, id: RecordId) -> Result<Option<Held>, LedgerError> {
        self.memory.get(id).await
    }
    async fn open(&self, limit: usize) -> Result<Vec<Held>, LedgerError> {
        self.memory.open(limit).await
    }
    async fn by_key(&self, key: KeyDigest) -> Result<Option<Held>, LedgerError> {
        self.memory.by_key(key).await
    }
    fn exclusive(&self) -> bool {
        true
    }

    fn never_forgets(&self) -> bool {
        true
    }
}

/// A provider: one charge a key.
#[derive(Clone, Default)]
struct Provider(Arc<Mutex<HashMap<String, usize>>>);

impl Upstream for Provider {
    async fn send(
        &self,
        _host: Host,
        request: Request<Body>,
        _within: Duration,
    ) -> Result<Response<Body>, SendError> {
        let key = request.headers()["idempotency-key"].to_str().unwrap().to_owned();
        let mut charges = self.0.lock().unwrap();
        let next = charges.len() + 1;
        let replayed = charges.contains_key(&key);
        let number = *charges.entry(key).or_insert(next);
        drop(charges);
        let body = Full::new(Bytes::from(format!("{{\"id\":\"ch_{number}\"}}")));
        let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
        if replayed {
            response.headers_mut().insert("idempotent-replayed", "true".parse().unwrap());
        }
        Ok(response)
    }
}

const POLICY: &str = r#"
version = 1
[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["customer"]
"#;

/// A payonce over `ledger` that has just started; its ledger may be older.
async fn start<U: Upstream + Clone>(ledger: &Arc<Flaky>, provider: &U) -> SocketAddr {
    let (clock, shutdown) = (Clock::System, Shutdown::new());
    let (ledger, closing) = (Arc::clone(ledger), shutdown.first.clone());
    let around = Around::new(ledger, provider.clone(), fixed(POLICY), clock.clone(), closing);
    let exchange = Exchange::new(around.rooms(Metrics::new()));
    let tasks = exchange.tasks.clone();
    let (server, address) = listener(clock, Duration::from_secs(1)).await;
    #[expect(clippy::disallowed_methods, reason = "a test's server ends with the test")]
    drop(tokio::spawn(async move { server.run(exchange, tasks, shutdown).await }));
    address
}

fn ledger() -> Arc<Flaky> {
    Arc::new(Flaky {
        memory: Memory::new(Clock::System, 100),
        claims_unanswered: AtomicUsize::new(0),
        replaces_unanswered: AtomicUsize::new(0),
        replaces_failing: AtomicUsize::new(0),
    })
}

/// Buys on this connection: the outcome that payonce names, and the charge.
async fn buy(stream: &mut TcpStream) -> (String, String) {
    let body = "amount=5&customer=cus_1";
    let request = format!(
        "POST /v1/charges HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk_1\r\ncontent-type: \
         application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let mut buffer = [0; 4096];
    while !answer.contains("\r\n\r\n{") || !answer.ends_with('}') {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "{answer}");
        answer.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    let outcome = answer.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("payonce-outcome: ").map(str::to_owned)
    });
    let charge = answer.rsplit("\r\n\r\n").next().unwrap().to_owned();
    (outcome.unwrap_or_default(), charge)
}

/// Another pod may have sent it, and only the store would know.
#[tokio::test]
async fn nothing_was_sent_is_not_said_of_an_operation_while_the_store_is_silent() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let origins = Origins::all(&Origin::parse(&format!("http://{nobody}")).unwrap());
    let config = payonce::upstream::Config::new(origins);
    let unreachable = Direct::new(&config, Clock::System).unwrap();
    for (unanswered, said) in [(0, true), (1, false)] {
        let ledger = ledger();
        ledger.claims_unanswered.store(unanswered, Ordering::SeqCst);
        let at = start(&ledger, &unreachable).await;
        let (_, answer) = buy(&mut TcpStream::connect(at).await.unwrap()).await;
        assert!(answer.contains("payonce_upstream_unreachable"), "{answer}");
        assert_eq!(answer.contains("Nothing was sent"), said, "{answer}");
    }
}

const FIRST: &str = "{\"id\":\"ch_1\"}";
const SECOND: &str = "{\"id\":\"ch_2\"}";

/// Two purchases one after the other on one connection, which tells that the first was answered.
async fn two_purchases(ledger: &Arc<Flaky>) {
    let provider = Provider::default();
    let mut stream = TcpStream::connect(start(ledger, &provider).await).await.unwrap();
    assert_eq!(buy(&mut stream).await, ("executed".to_owned(), FIRST.to_owned()));
    assert_eq!(buy(&mut stream).await, ("repeated".to_owned(), SECOND.to_owned()));
}

#[tokio::test]
async fn a_delivered_success_is_settled_though_the_first_write_of_it_failed() {
    let ledger = ledger();
    ledger.replaces_failing.store(1, Ordering::SeqCst);
    two_purchases(&ledger).await;
}

#[tokio::test]
async fn a_delivered_success_is_settled_though_no_write_of_it_was_taken() {
    let ledger = ledger();
    ledger.replaces_failing.store(3, Ordering::SeqCst);
    two_purchases(&ledger).await;
}

#[tokio::test]
async fn a_settling_write_that_happened_unanswered_is_done() {
    let ledger = ledger();
    ledger.replaces_unanswered.store(1, Ordering::SeqCst);
    two_purchases(&ledger).await;
}

#[tokio::test]
async fn a_claim_that_happened_unanswered_is_settled_by_its_token() {
    let ledger = ledger();
    ledger.claims_unanswered.store(1, Ordering::SeqCst);
    two_purchases(&ledger).await;
}

#[tokio::test]
async fn a_claim_over_a_known_record_that_fails_goes_on_with_what_was_read() {
    let (ledger, provider) = (ledger(), Provider::default());
    let mut stream = TcpStream::connect(start(&ledger, &provider).await).await.unwrap();
    assert_eq!(buy(&mut stream).await.1, FIRST);
    assert_eq!(buy(&mut stream).await.1, SECOND);
    drop(stream);
    while !ledger.open(1).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    // A new process remembers nothing, and the ledger answers the look but not the claim.
    let mut stream = TcpStream::connect(start(&ledger, &provider).await).await.unwrap();
    ledger.replaces_failing.store(1, Ordering::SeqCst);
    assert_eq!(buy(&mut stream).await, ("repeated".to_owned(), "{\"id\":\"ch_3\"}".to_owned()));
}
