//! A whole payonce in this process, the sandbox as its upstream, one clock for both, and clients
//! that write bytes, hang up, reset, or keep their connection.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a helper of tests may fail the test"
)]

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use payonce::assembly::Assembly;
use payonce::clock::{Clock, Timestamp};
use payonce::decide::policy::Policy;
use payonce::decide::retry;
use payonce::exchange::{self, Exchange, Policies, Rooms};
use payonce::forward::Forwarder;
use payonce::inflight::Inflight;
use payonce::ledger::{AnyLedger, Ledger};
use payonce::metrics::Metrics;
use payonce::notes::Notes;
use payonce::recent::Recent;
use payonce::request::InFlightBytes;
use payonce::sandbox::{self, Effect, Fault, Sandbox, Seen};
use payonce::server::{Limits, Local, Server, ServerConfig, Shutdown, Summary, Tasks};
use payonce::settings::Settings;
use payonce::upstream::{self, Direct, Origin, Origins};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How much faster than the wall everything runs: 2 s of silence take 0.2 s.
pub(crate) const SPEED: u32 = 10;

/// The longest that a condition is waited for, on the wall.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `holds`, looking every few milliseconds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// How a [`World`] is built.
pub(crate) struct Setup {
    pub(crate) policy: String,
    pub(crate) env: Vec<(&'static str, String)>,
    pub(crate) upstream: Option<String>,
    pub(crate) speed: u32,
}

impl Setup {
    /// With these rules.
    pub(crate) fn policy(policy: &str) -> Self {
        let policy = format!("version = 1\n{policy}");
        Self { policy, env: Vec::new(), upstream: None, speed: SPEED }
    }

    /// With one more setting: `RETRY__DEADLINE`.
    pub(crate) fn set(mut self, name: &'static str, value: impl ToString) -> Self {
        self.env.push((name, value.to_string()));
        self
    }

    /// Another provider than the sandbox.
    pub(crate) fn upstream(mut self, address: std::net::SocketAddr) -> Self {
        self.upstream = Some(format!("http://{address}"));
        self
    }

    /// Builds everything as `payonce serve` does.
    pub(crate) async fn start(self) -> World {
        let mut world = self.world();
        world.begin().await;
        world
    }

    /// The same with a store of the test's own, which has no settings.
    pub(crate) async fn start_with<L: Ledger>(
        self,
        store: impl FnOnce(Clock) -> Arc<L>,
    ) -> World<Arc<L>> {
        let mut world = self.world();
        let store = store(world.clock.clone());
        world.begin_with(store).await;
        world
    }

    fn world<L>(self) -> World<L> {
        let base = Timestamp::from_millis(1_790_000_000_000);
        let clock = Clock::driven(base, self.speed);
        let sandbox = Sandbox::start(sandbox::Config::local(clock.clone(), 7)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy.toml");
        std::fs::write(&file, &self.policy).unwrap();
        World {
            origin: self.upstream.unwrap_or_else(|| format!("http://{}", sandbox.addr())),
            env: self.env,
            clock,
            sandbox,
            directory,
            payonce: None,
        }
    }
}

/// A payonce, a provider and a clock.
pub(crate) struct World<L = Arc<AnyLedger>> {
    pub(crate) clock: Clock,
    pub(crate) sandbox: Sandbox,
    directory: tempfile::TempDir,
    origin: String,
    env: Vec<(&'static str, String)>,
    payonce: Option<Running<L>>,
}

struct Fixed(Arc<Policy>);

impl Policies for Fixed {
    fn current(&self) -> Arc<Policy> {
        Arc::clone(&self.0)
    }
}

/// One run of payonce.
pub(crate) struct Running<L = Arc<AnyLedger>> {
    pub(crate) port: u16,
    pub(crate) metrics: Metrics,
    pub(crate) exchange: Exchange<L, Direct>,
    pub(crate) shutdown: Shutdown,
    pub(crate) run: JoinHandle<Summary>,
}

impl World {
    /// Starts payonce, which must not run.
    pub(crate) async fn begin(&mut self) {
        let assembly = Assembly::build(self.settings(), self.clock.clone()).await;
        let assembly = assembly.unwrap_or_else(|error| panic!("{error}"));
        let Local::Tcp(address) = assembly.local()[0] else { panic!("no TCP") };
        let running = Running {
            port: address.port(),
            metrics: assembly.metrics().clone(),
            exchange: assembly.exchange().clone(),
            shutdown: assembly.shutdown().clone(),
            run: tokio::task::spawn(assembly.run()),
        };
        self.payonce = Some(running);
    }

    /// Drains payonce and starts it again; a memory store has forgotten everything then.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.begin().await;
    }

    /// Restarts with another provider.
    pub(crate) async fn toward(&mut self, address: std::net::SocketAddr) {
        self.origin = format!("http://{address}");
        self.restart().await;
    }

    /// Restarts with one setting changed.
    pub(crate) async fn restart_with(&mut self, name: &'static str, value: &str) {
        self.env.retain(|(known, _)| *known != name);
        self.env.push((name, value.to_owned()));
        self.restart().await;
    }
}

impl<L: Ledger> World<L> {
    /// Builds the rooms by hand, around `store`.
    async fn begin_with(&mut self, store: L) {
        let (settings, clock) = (self.settings(), self.clock.clone());
        let (metrics, shutdown, tasks) = (Metrics::new(), Shutdown::new(), Tasks::new());
        let origin = || Origin::parse(&self.origin).unwrap();
        let origins =
            Origins { api: origin(), files: origin(), connect: origin(), meter_events: origin() };
        let upstream = upstream::Config {
            connect_timeout: Duration::from_secs(30),
            ..upstream::Config::new(origins)
        };
        let limits = retry::Limits {
            deadline: settings.retry.deadline,
            attempt: settings.retry.attempt_timeout,
            attempts: settings.retry.max_attempts,
            backoff: settings.retry.backoff,
            backoff_max: settings.retry.backoff_max,
        };
        let forwarder = Forwarder::new(
            Direct::new(&upstream, clock.clone()).unwrap(),
            clock.clone(),
            limits,
            settings.limits.answer,
            retry::Budget::new(1.0, 1.0, clock.now()),
            shutdown.first.clone(),
            metrics.clone(),
        );
        let policy = Policy::parse(&std::fs::read_to_string(self.file()).unwrap()).unwrap();
        let exchange = Exchange::new(Rooms {
            ledger: store,
            forwarder,
            policies: Box::new(Fixed(Arc::new(policy))),
            recent: Recent::default(),
            inflight: Inflight::new(1_000, 64),
            tasks: tasks.clone(),
            closing: shutdown.first.clone(),
            bytes: InFlightBytes::new(1 << 24),
            notes: Notes::default(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            config: exchange::Config {
                provider: "provider.test".to_owned(),
                secret: None,
                owner: "this".to_owned(),
                lease: Duration::from_secs(15),
                body_bytes: settings.limits.body,
                bypass: false,
                never_forgets: true,
            },
        });
        let config = ServerConfig {
            listen: vec![crate::serving::tcp("127.0.0.1:0")],
            limits: Limits::default(),
            drain: Duration::from_secs(90),
        };
        let server = Server::bind(config, clock).await.unwrap();
        let Local::Tcp(address) = server.local()[0] else { panic!("no TCP") };
        let run = tokio::task::spawn(server.run(exchange.clone(), tasks, shutdown.clone()));
        let port = address.port();
        self.payonce = Some(Running { port, metrics, exchange, shutdown, run });
    }

    /// Drains payonce.
    pub(crate) async fn stop(&mut self) -> Summary {
        let old = self.payonce.take().unwrap();
        old.shutdown.first.cancel();
        // The store's file is free for the next one when nobody holds it.
        drop(old.exchange);
        tokio::time::timeout(PATIENCE, old.run).await.expect("it drains").unwrap()
    }
}

impl<L> World<L> {
    fn settings(&self) -> Settings {
        let policy = self.file().display().to_string();
        let store = self.directory.path().join("store.redb").display().to_string();
        let fixed = [
            ("LISTEN__PROXY", "127.0.0.1:0".to_owned()),
            ("LISTEN__ADMIN", "off".to_owned()),
            ("LISTEN__HEALTH", "off".to_owned()),
            ("UPSTREAM__API", self.origin.clone()),
            ("UPSTREAM__FILES", self.origin.clone()),
            ("UPSTREAM__CONNECT", self.origin.clone()),
            ("UPSTREAM__METER_EVENTS", self.origin.clone()),
            ("UPSTREAM__PROVIDER_HOST", "provider.test".to_owned()),
            // Time runs fast, and a busy machine must not make a time-out of it.
            ("UPSTREAM__CONNECT_TIMEOUT", "30s".to_owned()),
            ("STORE__KIND", "memory".to_owned()),
            ("STORE__PATH", store),
            ("STORE__SINGLE_INSTANCE", "true".to_owned()),
            ("STORE__TIMEOUT", "60s".to_owned()),
            ("LIMITS__HEADER_TIMEOUT", "10m".to_owned()),
            ("LIMITS__BODY_TIMEOUT", "10m".to_owned()),
            ("LIMITS__IDLE_TIMEOUT", "1h".to_owned()),
            ("POLICY__PATH", policy),
        ];
        let all = fixed.into_iter().chain(self.env.iter().cloned());
        let env = all.map(|(name, value)| {
            (OsString::from(format!("PAYONCE_{name}")), OsString::from(value))
        });
        Settings::load(None, env.collect::<Vec<_>>()).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("policy.toml")
    }

    pub(crate) fn payonce(&self) -> &Running<L> {
        self.payonce.as_ref().unwrap()
    }

    /// Writes another policy and waits until it is in force.
    pub(crate) async fn reload(&self, policy: &str) {
        let policy = format!("version = 1\n{policy}");
        let version = payonce::decide::policy::version_of(policy.as_bytes());
        std::fs::write(self.file(), &policy).unwrap();
        let exchange = self.payonce().exchange.clone();
        until("the policy is taken", || exchange.policies.current().version() == version).await;
    }

    /// How often a row of the tables decided.
    pub(crate) fn row(&self, row: &str) -> u64 {
        self.count(&format!("payonce_decisions_total{{row=\"{row}\"}}"))
    }

    /// The value of a counter, 0 if it never counted.
    pub(crate) fn count(&self, series: &str) -> u64 {
        let text = self.payonce().metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0, |value| value.trim().parse::<f64>().unwrap() as u64)
    }

    /// Waits until nothing is in flight: all deliveries are known and all records written.
    pub(crate) async fn settled(&self) {
        let inflight = self.payonce().exchange.inflight.clone();
        until("all operations settle", || inflight.is_empty()).await;
    }

    /// A new connection.
    pub(crate) async fn client(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.payonce().port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, buffer: Vec::new() }
    }

    /// Sends on a connection of its own, reads the answer, and closes once it has it.
    pub(crate) async fn ask(&self, post: &Post) -> Reply {
        let mut client = self.client().await;
        client.send(post).await;
        client.reply().await
    }

    /// The same, and waits until payonce knows that it was delivered.
    pub(crate) async fn done(&self, post: &Post) -> Reply {
        let reply = self.ask(post).await;
        self.settled().await;
        reply
    }

    /// Sends, and resets the connection once the answer is there, without having read it.
    pub(crate) async fn lose(&self, post: &Post) {
        let mut client = self.client().await;
        client.send(post).await;
        client.lose_answer().await;
        self.settled().await;
    }

    /// Asks the sandbox itself.
    pub(crate) async fn provider(&self, post: &Post) -> Reply {
        let stream = TcpStream::connect(self.sandbox.addr()).await.unwrap();
        let mut client = Client { stream, buffer: Vec::new() };
        client.send(post).await;
        client.reply().await
    }

    /// Decides what goes wrong from now on.
    pub(crate) fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.sandbox.set_faults(faults.into_iter().collect());
    }

    /// The effects.
    pub(crate) fn effects(&self) -> Vec<Effect> {
        self.sandbox.effects()
    }

    /// The requests that the sandbox saw.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.sandbox.requests()
    }

    /// The keys that the sandbox saw, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.key.unwrap_or_default()).collect()
    }

    /// Waits until the sandbox has got so many requests.
    pub(crate) async fn until_seen(&self, requests: usize) {
        until("the provider gets the request", || self.seen().len() >= requests).await;
    }
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Post {
    /// A form POST with an API key.
    pub(crate) fn new(path: &str, body: &str) -> Self {
        let headers = [
            ("Authorization", "Bearer sk_test_shop_1"),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (path, body) = (path.to_owned(), body.as_bytes().to_vec());
        Self { method: "POST", path, headers: headers.to_vec(), body }
    }

    /// A charge of a token.
    pub(crate) fn charge(body: &str) -> Self {
        Self::new("/v1/charges", body)
    }

    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// With one more header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With another header instead, or none if `value` is empty.
    pub(crate) fn instead(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        if value.is_empty() { self } else { self.with(name, value) }
    }

    /// With a key.
    pub(crate) fn key(self, key: &str) -> Self {
        self.instead("Idempotency-Key", key)
    }

    /// With a key that stripe-node minted for this call: `n` tells one call from another.
    pub(crate) fn sdk(self, n: u32) -> Self {
        self.instead("User-Agent", "Stripe/v1 NodeBindings/23.1.0")
            .key(&format!("stripe-node-retry-00000000-0000-4000-8000-{n:012}"))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: payonce\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write!(head, "Content-Length: {}\r\n\r\n", self.body.len()).unwrap();
        [head.as_bytes(), &self.body].concat()
    }
}

/// A connection to payonce.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn send(&mut self, post: &Post) {
        self.stream.write_all(&post.bytes()).await.unwrap();
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Waits until an answer is there, then resets the connection with it unread.
    pub(crate) async fn lose_answer(self) {
        let readable = self.stream.readable();
        tokio::time::timeout(PATIENCE, readable).await.expect("an answer").unwrap();
        self.reset();
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Reads one answer.
    pub(crate) async fn reply(&mut self) -> Reply {
        self.try_reply().await.expect("a whole answer")
    }

    /// Reads one answer; `None` if the connection ended before it was whole.
    pub(crate) async fn try_reply(&mut self) -> Option<Reply> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            self.more().await?;
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status: u16 = lines.next().unwrap()[9..12].parse().unwrap();
        let fields = lines.filter_map(|line| line.split_once(": "));
        let fields = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let mut reply = Reply { status, fields: fields.collect(), body: Vec::new() };
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.body = self.chunks().await?;
        } else {
            let length = reply.header("content-length").map_or(0, |it| it.parse().unwrap());
            reply.body = self.take(length).await?;
        }
        Some(reply)
    }

    /// Reads a head only.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            self.more().await.expect("a whole head");
        }
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut whole = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                    break end;
                }
                self.more().await?;
            };
            let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let size = std::str::from_utf8(&line[..end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let data = self.take(size + 2).await?;
            whole.extend_from_slice(&data[..size]);
            if size == 0 {
                return Some(whole);
            }
        }
    }

    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.buffer);
        let read = tokio::time::timeout(PATIENCE, read).await.expect("something comes in time");
        matches!(read, Ok(1..)).then_some(())
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `Payonce-Outcome`, or `-`.
    pub(crate) fn outcome(&self) -> &str {
        self.header("payonce-outcome").unwrap_or("-")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// `error.code`, or what stands there instead.
    pub(crate) fn code(&self) -> String {
        let code = &self.json()["error"]["code"];
        code.as_str().map_or_else(|| "-".to_owned(), str::to_owned)
    }

    pub(crate) fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn id(&self) -> String {
        self.json()["id"].as_str().unwrap_or_default().to_owned()
    }

    /// Status and outcome, the two things that most tests look at.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, outcome: &str) {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!((self.status, self.outcome()), (status, outcome), "{text}");
    }

    /// An error that payonce wrote.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!((self.status, self.code().as_str()), (status, code), "{text}");
        assert!(self.header("request-id").is_some_and(|it| it.starts_with("req_payonce_")));
    }
}
