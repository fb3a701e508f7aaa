//! From settings to a running payonce: builds the rooms and opens the ports.
//!
//! Nothing is bound before settings and policy are known to be good (I9). The only place that
//! knows all rooms by name.

use std::sync::Arc;

use tokio::net::TcpListener;
use tracing::warn;

use crate::admin;
use crate::chance::Chance;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::credential::Credential;
use crate::decide::operation::table;
use crate::decide::outcome;
use crate::decide::policy::Policy;
use crate::exchange::{Exchange, Guards, Rooms};
use crate::finishing::Finishing;
use crate::inflight::Inflight;
use crate::ledger::AnyLedger;
use crate::metrics::Metrics;
use crate::notes::Notes;
use crate::observer::Observer;
use crate::people::People;
use crate::policy_file::PolicyFile;
use crate::recent::Recent;
use crate::request::InFlightBytes;
use crate::seams::{self, Point};
use crate::server::{Local, Server, Shutdown, Summary, Tasks, without_ipv6};
use crate::settings::{Secret, Settings, Token};
use crate::standing::Serving;
use crate::unwritten::Unwritten;
use crate::upstream::Direct;
use crate::ways::{InForce, Ways};

mod announce;
mod beside;
mod error;
mod health;
mod parts;
mod traces;
mod webhook;

use beside::Beside;
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
    admin: Option<(TcpListener, Secret)>,
    health: HealthPort,
    webhooks: Option<Webhooks>,
    exporting: Exporting,
    settings: Settings,
    shutdown: Shutdown,
    tasks: Tasks,
    metrics: Metrics,
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
        let ways = announced_ways(&settings, &ledger, &policy, &clock, &metrics).await;
        let server = Server::bind(server_config(&settings), clock.clone()).await?;
        let admin = admin_port(&settings).await?;
        let observer = Observer::new(metrics.clone(), recorder(&settings, &metrics)?);
        let bytes = InFlightBytes::new(settings.limits.bytes_in_flight);
        let rooms = Rooms {
            forwarder: forwarder(&settings, upstream, &clock, &bytes, &shutdown, &metrics),
            ledger: Arc::clone(&ledger),
            policies: Box::new(InForce { policy: in_force(&policy), ways: Arc::clone(&ways) }),
            guards: guards(&settings, &clock, &metrics),
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
        shown_at_start(&metrics, &policy);
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
        let HealthPort { standing, aside, done, .. } = health;
        let beside = Beside::new(aside, done.disarm());
        let people = People::new(exchange.clone(), Arc::clone(&policy));
        let log = parts::audit_log(&settings, &exchange.clock);
        let people = people.recorded_in(log, settings.policy.audit_required);
        if let Some(admin) = admin {
            beside.admin(admin, people);
        }
        beside.ways(ways);
        beside.policy(&policy, &settings, &metrics);
        beside.exchange(&exchange, &settings, shutdown.first.clone());
        standing.serves(Serving {
            exchange: exchange.clone(),
            policy,
            gate: webhooks.as_ref().map(|webhooks| webhooks.gate.clone()),
            listening: health::listening(&settings.listen, webhooks.is_some()),
            closing: shutdown.first.clone(),
        });
        if let Some(webhooks) = &webhooks {
            beside.webhooks(webhooks);
        }
        let events = serve_events(webhooks, shutdown.clone());
        let (payments, events) =
            tokio::join!(server.run(exchange.clone(), tasks, shutdown.clone()), events);
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
        beside.ended().await;
        if let Err(error) = ledger.close().await {
            warn!(%error, "the store did not close; what was answered is written");
        }
        exporting.finish().await;
        summary
    }
}

async fn listen(
    setting: &'static str,
    address: std::net::SocketAddr,
) -> Result<TcpListener, StartError> {
    let bound = match TcpListener::bind(address).await {
        Ok(bound) => Ok(bound),
        Err(why) => match without_ipv6(address, &why) {
            Some(instead) => TcpListener::bind(instead).await,
            None => Err(why),
        },
    };
    bound.map_err(|why| StartError::Port { setting, address, why })
}

/// The admin port, if the settings say so, and the token that opens it.
async fn admin_port(settings: &Settings) -> Result<Option<(TcpListener, Secret)>, StartError> {
    let Some(address) = settings.listen.admin else { return Ok(None) };
    let listener = listen("listen.admin", address).await?;
    let token = admin::token::make(&settings.admin.token).map_err(|why| {
        let path = match &settings.admin.token {
            Token::Given(_) => None,
            Token::Made(path) => Some(path.clone()),
        };
        StartError::Token { path, why }
    })?;
    Ok(Some((listener, token)))
}

/// The ways on the store, to which the policy's is announced, and every new one before it is in force.
async fn announced_ways(
    settings: &Settings,
    ledger: &Arc<AnyLedger>,
    policy: &PolicyFile,
    clock: &Clock,
    metrics: &Metrics,
) -> Arc<Ways<Arc<AnyLedger>>> {
    let notice = settings.store.lease;
    let ways = Ways::new(Arc::clone(ledger), clock.clone(), metrics.clone(), notice);
    let ways = Arc::new(ways);
    ways.announce(&policy.current()).await;
    let announcing = Arc::clone(&ways);
    policy.before_taking(Box::new(move |policy| {
        let ways = Arc::clone(&announcing);
        Box::pin(async move { ways.announce(&policy).await })
    }));
    ways
}

fn in_force(policy: &Arc<PolicyFile>) -> impl Fn() -> Arc<Policy> + Send + Sync + use<> {
    let policy = Arc::clone(policy);
    move || policy.current()
}

fn guards(settings: &Settings, clock: &Clock, metrics: &Metrics) -> Guards {
    let credential = Credential::new(&settings.credential, clock.clone(), metrics.clone());
    Guards::new(Arc::new(credential))
}

/// The policy in force, and every row, before the first request.
fn shown_at_start(metrics: &Metrics, policy: &PolicyFile) {
    health::policy(metrics, &policy.status());
    metrics.expect_rows(table::Row::ALL.map(table::Row::as_str));
    metrics.expect_rows(outcome::Row::ALL.map(outcome::Row::as_str));
}

/// Takes Stripe's events, if they are to come here.
async fn serve_events(webhooks: Option<Webhooks>, shutdown: Shutdown) -> Summary {
    let Some(Webhooks { server, gate }) = webhooks else { return Summary::default() };
    let tasks = gate.tasks.clone();
    server.run(gate, tasks, shutdown).await
}
