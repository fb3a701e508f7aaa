//! A whole payonce in this process, the sandbox as its upstream, one clock for both, and clients
//! that write bytes, hang up, reset, or keep their connection.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a helper of tests may fail the test"
)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use payonce::assembly::Assembly;
use payonce::chance::Chance;
use payonce::clients::Clients;
use payonce::clock::{Clock, Timestamp};
use payonce::decide::digest::Secret;
use payonce::decide::policy::Policy;
use payonce::decide::retry;
use payonce::exchange::{self, Exchange, Rooms};
use payonce::finishing::Finishing;
use payonce::forward::{Bounds, Forwarder};
use payonce::inflight::Inflight;
use payonce::ledger::memory::Memory;
use payonce::ledger::{
    AnyLedger, Claimed, Entry, Held, KeyDigest, Ledger, LedgerError, RecordId, Replaced, Version,
};
use payonce::metrics::Metrics;
use payonce::notes::Notes;
use payonce::observer::Observer;
use payonce::recent::Recent;
use payonce::request::InFlightBytes;
use payonce::sandbox::{self, Effect, Fault, Sandbox, Seen};
use payonce::server::{Limits, Local, Server, ServerConfig, Shutdown, Summary, Tasks};
use payonce::settings::Settings;
use payonce::trace::Tracer;
use payonce::unwritten::Unwritten;
use payonce::upstream::{self, Direct, Origin, Origins};
use payonce::ways::{InForce, Ways};
use tokio::task::JoinHandle;

mod client;

pub(crate) use client::{Client, Post, Reply};

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
    pub(crate) clock: Option<Clock>,
}

impl Setup {
    /// With these rules.
    pub(crate) fn policy(policy: &str) -> Self {
        let policy = format!("version = 1\n{policy}");
        Self { policy, env: Vec::new(), upstream: None, speed: SPEED, clock: None }
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

    /// On the clock of another world.
    pub(crate) fn clock(mut self, clock: &Clock) -> Self {
        self.clock = Some(clock.clone());
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
        let clock = self.clock.unwrap_or_else(|| Clock::driven(base, self.speed));
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

/// A store that several payonces share, as the processes of several pods would.
pub(crate) struct Shared(pub(crate) Memory);

impl Ledger for Shared {
    async fn claim(&self, ids: &[RecordId], fresh: Entry) -> Result<Claimed, LedgerError> {
        self.0.claim(ids, fresh).await
    }

    async fn replace(
        &self,
        id: RecordId,
        seen: Version,
        entry: Entry,
    ) -> Result<Replaced, LedgerError> {
        self.0.replace(id, seen, entry).await
    }

    async fn remove(&self, id: RecordId, seen: Version) -> Result<Replaced, LedgerError> {
        self.0.remove(id, seen).await
    }

    async fn get(&self, id: RecordId) -> Result<Option<Held>, LedgerError> {
        self.0.get(id).await
    }

    async fn open(&self, limit: usize) -> Result<Vec<Held>, LedgerError> {
        self.0.open(limit).await
    }

    async fn by_key(&self, key: KeyDigest) -> Result<Option<Held>, LedgerError> {
        self.0.by_key(key).await
    }

    fn exclusive(&self) -> bool {
        false
    }

    fn never_forgets(&self) -> bool {
        true
    }
}

/// A policy that a test may exchange for another.
#[derive(Clone)]
struct Edited(Arc<Mutex<Arc<Policy>>>);

/// One run of payonce.
pub(crate) struct Running<L = Arc<AnyLedger>> {
    pub(crate) port: u16,
    pub(crate) metrics: Metrics,
    pub(crate) exchange: Exchange<L, Direct>,
    pub(crate) shutdown: Shutdown,
    pub(crate) run: JoinHandle<Summary>,
    take: Option<Take>,
}

type Take = payonce::policy_file::Prepare;

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
            take: None,
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
        self.set(name, value);
        self.restart().await;
    }
}

impl<L: Ledger> World<L> {
    /// Builds the rooms by hand, around `store`.
    async fn begin_with(&mut self, store: L)
    where
        L: Clone,
    {
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
            Chance::System,
            Bounds {
                retry: limits,
                answer_bytes: settings.limits.answer,
                bytes: InFlightBytes::new(1 << 24),
                budget: retry::Budget::new(1.0, 1.0, clock.now()),
            },
            shutdown.first.clone(),
            metrics.clone(),
        );
        let policy = Policy::parse(&std::fs::read_to_string(self.file()).unwrap()).unwrap();
        let lease = settings.store.lease;
        let ways = Arc::new(Ways::new(store.clone(), clock.clone(), metrics.clone(), lease));
        ways.announce(&policy).await;
        let stop = shutdown.first.clone();
        let watching = Arc::clone(&ways);
        tokio::task::spawn(async move { watching.watch(stop).await });
        let edited = Edited(Arc::new(Mutex::new(Arc::new(policy))));
        let (now, known) = (edited.clone(), Arc::clone(&ways));
        let in_force = move || Arc::clone(&now.0.lock().unwrap());
        let take: Take = Box::new(move |policy| {
            let (edited, ways) = (edited.clone(), Arc::clone(&known));
            Box::pin(async move {
                ways.announce(&policy).await;
                *edited.0.lock().unwrap() = policy;
            })
        });
        let exchange = Exchange::new(Rooms {
            ledger: store,
            forwarder,
            policies: Box::new(InForce { policy: in_force, ways }),
            guards: exchange::Guards::default(),
            recent: Recent::default(),
            inflight: Inflight::new(1_000, 64),
            tasks: tasks.clone(),
            closing: shutdown.first.clone(),
            bytes: InFlightBytes::new(1 << 24),
            unwritten: Unwritten::default(),
            finishing: Finishing::new(settings.finishing, metrics.clone()),
            notes: Notes::default(),
            observer: Observer::new(metrics.clone(), None),
            chance: Chance::System,
            clock: clock.clone(),
            clients: Clients::shipped(metrics.clone()).unwrap(),
            metrics: metrics.clone(),
            tracer: Tracer::default(),
            config: exchange::Config {
                provider: "provider.test".to_owned(),
                secret: settings.secret.as_ref().map(|it| Secret::configured(it.expose())),
                other_secrets: Vec::new(),
                owner: hex::encode(Chance::System.bytes::<8>()),
                lease,
                body_bytes: settings.limits.body,
                bypass: false,
                caller: None,
            },
        });
        let config = ServerConfig {
            listen: vec![crate::serving::tcp("127.0.0.1:0")],
            limits: Limits::default(),
            drain: Duration::from_secs(90),
        };
        let server = Server::bind(config, clock).await.unwrap();
        let Local::Tcp(address) = server.local()[0] else { panic!("no TCP") };
        let (writer, stop) = (exchange.clone(), shutdown.first.clone());
        tokio::task::spawn(async move { writer.write_what_is_left(stop).await });
        let finisher = exchange.clone();
        tokio::task::spawn(async move { finisher.finish_what_is_held().await });
        let run = tokio::task::spawn(server.run(exchange.clone(), tasks, shutdown.clone()));
        let port = address.port();
        self.payonce = Some(Running { port, metrics, exchange, shutdown, run, take: Some(take) });
    }

    /// Puts another policy in force here, as a reload does.
    pub(crate) async fn edit(&self, policy: &str) {
        let policy = Policy::parse(&format!("version = 1\n{policy}")).unwrap();
        let take = self.payonce().take.as_ref().expect("its rooms were built by hand");
        take(Arc::new(policy)).await;
    }

    /// Lets a second pass for what is held to be finished, unless somebody is at work.
    pub(crate) fn a_second_passes(&self) {
        let exchange = &self.payonce().exchange;
        if exchange.inflight.is_empty() {
            self.clock.advance(Duration::from_secs(1));
            // Nothing has this id: it only has the room look at the clock.
            exchange.finishing.let_go(RecordId([0; 32]));
        }
    }

    /// Lets time pass until nothing is held to be finished.
    pub(crate) async fn until_let_go(&self) {
        until("it is let go of", || {
            self.a_second_passes();
            self.payonce().exchange.finishing.is_empty()
        })
        .await;
        self.settled().await;
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
    /// Changes a setting for the next start.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.env.retain(|(known, _)| *known != name);
        self.env.push((name, value.to_owned()));
    }

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

    /// Writes another policy.
    pub(crate) fn write_policy(&self, policy: &str) {
        std::fs::write(self.file(), format!("version = 1\n{policy}")).unwrap();
    }

    /// Writes another policy and waits until it is in force.
    pub(crate) async fn reload(&self, policy: &str) {
        self.write_policy(policy);
        let version = payonce::decide::policy::version_of(&std::fs::read(self.file()).unwrap());
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
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// Waits until nothing is in flight: all deliveries are known and all records written.
    pub(crate) async fn settled(&self) {
        let inflight = self.payonce().exchange.inflight.clone();
        until("all operations settle", || inflight.is_empty()).await;
    }

    /// A new connection.
    pub(crate) async fn client(&self) -> Client {
        Client::to(("127.0.0.1", self.payonce().port)).await
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
        let mut client = Client::to(self.sandbox.addr()).await;
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
