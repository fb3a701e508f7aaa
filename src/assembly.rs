//! From settings to a running payonce: builds the rooms and opens the ports.
//!
//! Nothing is bound before settings and policy are known to be good (I9). The only place that
//! knows all rooms by name.

use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin;
use crate::chance::Chance;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::credential::Credential;
use crate::decide::operation::table;
use crate::decide::outcome;
use crate::decide::policy::{Policy, Recording};
use crate::exchange::{Exchange, Guards, Rooms};
use crate::finishing::Finishing;
use crate::inflight::Inflight;
use crate::ledger::{AnyLedger, Ledger};
use crate::metrics::Metrics;
use crate::notes::Notes;
use crate::observer::Observer;
use crate::people::People;
use crate::policy_file::PolicyFile;
use crate::recent::Recent;
use crate::request::InFlightBytes;
use crate::seams::{self, Point};
use crate::server::{Local, Server, Shutdown, Summary, Tasks};
use crate::settings::{Settings, StoreKind, Token};
use crate::standing::Serving;
use crate::survey;
use crate::unwritten::Unwritten;
use crate::upstream::Direct;
use crate::ways::{InForce, Ways};

mod error;
mod health;
mod parts;
mod traces;
mod webhook;

pub use error::StartError;
use health::HealthPort;
pub use parts::acceptable;
pub(crate) use parts::exchange_config;
use parts::{
    audit, audited_policy, forwarder, open_ledger, recorder, server_config, upstream_config,
};
use traces::Exporting;
use webhook::Webhooks;

/// A payonce that is built and bound, and serves nothing yet.
pub struct Assembly {
    server: Server,
    exchange: Exchange<Arc<AnyLedger>, Direct>,
    ledger: Arc<AnyLedger>,
    policy: Arc<PolicyFile>,
    ways: Arc<Ways<Arc<AnyLedger>>>,
    admin: Option<(TcpListener, crate::settings::Secret)>,
    health: HealthPort,
    webhooks: Option<Webhooks>,
    exporting: Exporting,
    settings: Settings,
    shutdown: Shutdown,
    tasks: Tasks,
    metrics: Metrics,
}

fn in_force(policy: &Arc<PolicyFile>) -> impl Fn() -> Arc<Policy> + Send + Sync + use<> {
    let policy = Arc::clone(policy);
    move || policy.current()
}

/// Has every new policy announced to the store before it is in force.
fn announce_edits(policy: &PolicyFile, ways: &Arc<Ways<Arc<AnyLedger>>>) {
    let ways = Arc::clone(ways);
    policy.before_taking(Box::new(move |policy| {
        let ways = Arc::clone(&ways);
        Box::pin(async move { ways.announce(&policy).await })
    }));
}

impl Assembly {
    /// Builds everything and binds the ports.
    ///
    /// # Errors
    /// [`StartError`], the first thing that is wrong.
    pub async fn build(settings: Settings, clock: Clock) -> Result<Self, StartError> {
        let policy = Arc::new(audited_policy(&settings, &clock).await?);
        let shutdown = Shutdown::new();
        let metrics = Metrics::new();
        let tasks = Tasks::new();
        let toward = upstream_config(&settings)?;
        let places = toward.origins.clone();
        let (tracer, exporting) = traces::tracer(&settings, places, &clock, &metrics)?;
        let upstream = Direct::new(&toward, clock.clone())?;
        // The store comes first: a second process fails on it before it touches anything else.
        let ledger = Arc::new(open_ledger(&settings, &clock, &metrics).await?);
        audit(&policy, &settings, &ledger, &metrics, &clock).await?;
        // Before the start waits for anything: a platform's probes see a start, not a closed port.
        let health = HealthPort::open(settings.listen.health, &metrics).await?;
        let notice = settings.store.lease;
        let ways = Ways::new(Arc::clone(&ledger), clock.clone(), metrics.clone(), notice);
        let ways = Arc::new(ways);
        ways.announce(&policy.current()).await;
        announce_edits(&policy, &ways);
        let server = Server::bind(server_config(&settings), clock.clone()).await?;
        let admin = match settings.listen.admin {
            None => None,
            Some(address) => {
                let listener = listen("listen.admin", address).await?;
                let token = admin::token::make(&settings.admin.token).map_err(|why| {
                    let path = match &settings.admin.token {
                        Token::Given(_) => None,
                        Token::Made(path) => Some(path.clone()),
                    };
                    StartError::Token { path, why }
                })?;
                Some((listener, token))
            }
        };
        let observer = Observer::new(metrics.clone(), recorder(&settings, &metrics)?);
        let bytes = InFlightBytes::new(settings.limits.bytes_in_flight);
        let rooms = Rooms {
            forwarder: forwarder(&settings, upstream, &clock, &bytes, &shutdown, &metrics),
            ledger: Arc::clone(&ledger),
            policies: Box::new(InForce { policy: in_force(&policy), ways: Arc::clone(&ways) }),
            guards: Guards::new(Arc::new(Credential::new(
                &settings.credential,
                clock.clone(),
                metrics.clone(),
            ))),
            recent: Recent::default(),
            inflight: Inflight::new(settings.limits.operations, settings.limits.waiters),
            tasks: tasks.clone(),
            closing: shutdown.first.clone(),
            bytes,
            unwritten: Unwritten::default(),
            finishing: Finishing::new(settings.finishing, metrics.clone()),
            notes: Notes::default(),
            observer,
            clock: clock.clone(),
            chance: Chance::System,
            clients: Clients::new(settings.clients.releases.clone(), metrics.clone()),
            metrics: metrics.clone(),
            tracer,
            config: exchange_config(&settings),
        };
        let exchange = Exchange::new(rooms);
        let webhooks = webhook::webhooks(&settings, &exchange, &clock).await?;
        health::policy(&metrics, &policy.status());
        metrics.expect_rows(table::Row::ALL.map(table::Row::as_str));
        metrics.expect_rows(outcome::Row::ALL.map(outcome::Row::as_str));
        seams::point(Point::Started);
        Ok(Self {
            server,
            exchange,
            ledger,
            policy,
            ways,
            admin,
            health,
            webhooks,
            exporting,
            settings,
            shutdown,
            tasks,
            metrics,
        })
    }

    /// Where requests are taken, in the order of the settings: TCP, then the Unix socket.
    #[must_use]
    pub fn local(&self) -> Vec<Local> {
        self.server.local()
    }

    /// Where the admin port is.
    #[must_use]
    pub fn admin_addr(&self) -> Option<std::net::SocketAddr> {
        self.admin.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Where the health port is.
    #[must_use]
    pub fn health_addr(&self) -> Option<std::net::SocketAddr> {
        self.health.address
    }

    /// Where Stripe's webhooks arrive.
    #[must_use]
    pub fn webhook_addr(&self) -> Option<Local> {
        self.webhooks.as_ref().and_then(|webhooks| webhooks.server.local().into_iter().next())
    }

    /// What ends it: the first token drains, the second ends at once.
    #[must_use]
    pub const fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// The counters.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The exchange, for tests and tools in the same process.
    #[must_use]
    pub const fn exchange(&self) -> &Exchange<Arc<AnyLedger>, Direct> {
        &self.exchange
    }

    /// Says what listens where, which store, which policy, what is degraded.
    pub fn announce(&self) {
        let status = self.policy.status();
        let source = self.settings.policy.path.as_deref().map(Path::display);
        info!(version = env!("CARGO_PKG_VERSION"), "payonce starts");
        for local in self.local() {
            info!(address = %local, upstream = self.settings.upstream.api, "proxy listens");
        }
        if let Some(address) = self.admin_addr() {
            info!(%address, "admin listens (payonce ops)");
        }
        if let Some(address) = self.webhook_addr() {
            let endpoints = self.settings.webhook.endpoints.len();
            info!(%address, endpoints, "webhooks listen");
        }
        match self.settings.store.kind {
            StoreKind::Embedded => {
                info!(file = %self.settings.store.path.display(), "store is embedded");
            }
            StoreKind::Memory => info!("store is memory"),
            StoreKind::Redis => {
                let redis = &self.settings.store.redis;
                let nodes: Vec<_> = redis.nodes.iter().map(ToString::to_string).collect();
                info!(
                    nodes = nodes.join(","),
                    topology = ?redis.topology,
                    prefix = redis.prefix,
                    trusted = self.ledger.never_forgets(),
                    "store is redis"
                );
            }
        }
        info!(
            policy_version = status.version,
            mode = %self.policy.current().mode(),
            rules = status.rules,
            sha256 = self.policy.current().hash(),
            signed_by = status.signed.as_ref().map(|signed| tracing::field::display(&signed.by)),
            file = source.map_or_else(|| "(shipped)".to_owned(), |path| path.to_string()),
            "policy is in force"
        );
        self.announce_record();
        self.announce_traces();
        if self.settings.credential.key.is_some() {
            let file = self.settings.credential.path.as_deref().map(Path::display);
            let file = file.map_or_else(|| "(environment)".to_owned(), |path| path.to_string());
            info!(
                file,
                only = self.settings.credential.only,
                "API key is put in for a placeholder"
            );
        }
        for warning in &self.settings.warnings {
            warn!("{warning}");
        }
    }

    /// Says where traces go, if anywhere.
    fn announce_traces(&self) {
        let Some(collector) = &self.settings.tracing.collector else { return };
        let ratio = self.settings.tracing.sample_ratio;
        info!(%collector, sample_ratio = ratio, "traces are exported");
    }

    /// Says whether decisions are written down, and what is missing if they are half wanted.
    fn announce_record(&self) {
        let wanted = self.policy.current().recording() == Recording::Decisions;
        match (&self.settings.record.path, wanted) {
            (Some(path), true) => info!(file = %path.display(), "decisions are recorded"),
            (Some(_), false) => {
                info!("record.path is set, and nothing is recorded: the policy does not say so");
            }
            (None, true) => {
                warn!("the policy says record = \"decisions\", and record.path is not set");
            }
            (None, false) => {}
        }
    }

    /// Serves until told to stop, drains, and closes the store.
    pub async fn run(self) -> Summary {
        let Self {
            server,
            exchange,
            ledger,
            policy,
            ways,
            admin,
            health,
            webhooks,
            mut exporting,
            settings,
            shutdown,
            tasks,
            metrics,
        } = self;
        exporting.start(&shutdown, settings.shutdown.drain);
        // These end with the process, not with the requests: the admin port and the probes answer
        // while payonce drains.
        let HealthPort { standing, aside, done, .. } = health;
        let done = done.disarm();
        let people = People::new(exchange.clone(), Arc::clone(&policy))
            .heard_until(aside.clone(), done.clone());
        let log = parts::audit_log(&settings, &exchange.clock);
        let people = people.recorded_in(log, settings.policy.audit_required);
        if let Some((listener, token)) = admin {
            let done = done.clone();
            aside.spawn(async move {
                admin::serve(listener, people, token, done.cancelled_owned()).await;
            });
        }
        let stop = done.clone();
        aside.spawn(async move { ways.watch(stop).await });
        watch_policy(&policy, &settings, &metrics, &aside, &done);
        let credential = Arc::clone(exchange.guards.credential());
        let (refresh, stop) = (settings.credential.refresh, done.clone());
        aside.spawn(async move { credential.watch(refresh, stop).await });
        let (writer, stop) = (exchange.clone(), done.clone());
        aside.spawn(async move { writer.write_what_is_left(stop).await });
        let finisher = exchange.clone();
        aside.spawn(async move { finisher.finish_what_is_held().await });
        let every = settings.metrics.survey_interval;
        aside.spawn(survey::watch(exchange.clone(), every, shutdown.first.clone()));
        standing.serves(Serving {
            exchange: exchange.clone(),
            policy,
            gate: webhooks.as_ref().map(|webhooks| webhooks.gate.clone()),
            listening: health::listening(&settings.listen, webhooks.is_some()),
            closing: shutdown.first.clone(),
        });
        let gate = webhooks.map(|webhooks| {
            let (gate, done) = (webhooks.gate.clone(), done.clone());
            aside.spawn(async move { gate.refresh(done).await });
            let Webhooks { server, gate } = webhooks;
            server.run(gate.clone(), gate.tasks.clone(), shutdown.clone())
        });
        let gate = async {
            match gate {
                Some(serving) => serving.await,
                None => Summary::default(),
            }
        };
        let (payments, events) =
            tokio::join!(server.run(exchange.clone(), tasks, shutdown.clone()), gate);
        let summary = payments.and(events);
        let notes = exchange.notes.all().len();
        if notes > 0 {
            warn!(
                notes,
                "single calls whose outcome is unknown are noted in the log alone from here"
            );
        }
        if let Some(recorder) = exchange.observer.recorder() {
            recorder.close().await;
        }
        done.cancel();
        aside.drained().await;
        if let Err(error) = ledger.close().await {
            warn!(%error, "the store did not close; what was answered is written");
        }
        exporting.finish().await;
        summary
    }
}

fn watch_policy(
    policy: &Arc<PolicyFile>,
    settings: &Settings,
    metrics: &Metrics,
    aside: &Tasks,
    done: &CancellationToken,
) {
    let (file, refresh, stop) = (Arc::clone(policy), settings.policy.refresh, done.clone());
    aside.spawn(async move { file.watch(refresh, stop).await });
    let (mut status, metrics, stop) = (policy.subscribe(), metrics.clone(), done.clone());
    aside.spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = status.changed() => if changed.is_err() { return },
            }
            let now = status.borrow_and_update().clone();
            health::policy(&metrics, &now);
            if now.refused.is_some() {
                metrics.policy_refused();
            }
        }
    });
}

async fn listen(
    setting: &'static str,
    address: std::net::SocketAddr,
) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|why| StartError::Port { setting, address, why })
}
