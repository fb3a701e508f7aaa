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
use payonce::clock::{Clock, Timestamp};
use payonce::decide::digest::Secret;
use payonce::decide::policy::Policy;
use payonce::decide::retry;
use payonce::exchange::{Exchange, Policies};
use payonce::finishing::Finishing;
use payonce::inflight::Inflight;
use payonce::ledger::{AnyLedger, Ledger, RecordId};
use payonce::metrics::Metrics;
use payonce::sandbox::{self, Sandbox};
use payonce::server::{Local, Shutdown, Summary};
use payonce::settings::Settings;
use payonce::upstream::{self, Direct, Origin, Origins};
use payonce::ways::{InForce, Ways};
use tokio::task::JoinHandle;

mod asking;
mod client;
mod rooms;
mod store;
mod usual;

pub(crate) use client::{Client, Post, Reply};
pub(crate) use rooms::{Around, fixed, listener};
pub(crate) use store::{Flaky, Mood, Shared};
pub(crate) use usual::{BY_CONTENT, STRICT, TWINS, charge, hasty, lost, unavailable};

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

fn retry_limits(settings: &Settings) -> retry::Limits {
    retry::Limits {
        deadline: settings.retry.deadline,
        attempt: settings.retry.attempt_timeout,
        attempts: settings.retry.max_attempts,
        backoff: settings.retry.backoff,
        backoff_max: settings.retry.backoff_max,
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
        let (metrics, shutdown) = (Metrics::new(), Shutdown::new());
        let ways = Ways::new(store.clone(), clock.clone(), metrics.clone(), settings.store.lease);
        let (policies, take) = self.editable(Arc::new(ways), &shutdown).await;
        let origins = Origins::all(&Origin::parse(&self.origin).unwrap());
        let upstream = upstream::Config {
            connect_timeout: Duration::from_secs(30),
            ..upstream::Config::new(origins)
        };
        let upstream = Direct::new(&upstream, clock.clone()).unwrap();
        let closing = shutdown.first.clone();
        let mut rooms = Around {
            retry: retry_limits(&settings),
            answer_bytes: settings.limits.answer,
            ..Around::new(store, upstream, policies, clock.clone(), closing.clone())
        }
        .rooms(metrics.clone());
        rooms.inflight = Inflight::new(1_000, 64);
        rooms.finishing = Finishing::new(settings.finishing, metrics.clone());
        rooms.config.secret = settings.secret.as_ref().map(|it| Secret::configured(it.expose()));
        rooms.config.body_bytes = settings.limits.body;
        rooms.config.lease = settings.store.lease;
        let exchange = Exchange::new(rooms);
        let (server, address) = listener(clock, Duration::from_secs(90)).await;
        let writer = exchange.clone();
        tokio::task::spawn(async move { writer.write_what_is_left(closing).await });
        let finisher = exchange.clone();
        tokio::task::spawn(async move { finisher.finish_what_is_held().await });
        let tasks = exchange.tasks.clone();
        let run = tokio::task::spawn(server.run(exchange.clone(), tasks, shutdown.clone()));
        let port = address.port();
        self.payonce = Some(Running { port, metrics, exchange, shutdown, run, take: Some(take) });
    }

    /// The policy of the file, which [`World::edit`] exchanges, announced as an edit is.
    async fn editable(&self, ways: Arc<Ways<L>>, shutdown: &Shutdown) -> (Box<dyn Policies>, Take) {
        let policy = Policy::parse(&std::fs::read_to_string(self.file()).unwrap()).unwrap();
        ways.announce(&policy).await;
        let (watching, stop) = (Arc::clone(&ways), shutdown.first.clone());
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
        (Box::new(InForce { policy: in_force, ways }), take)
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
}
