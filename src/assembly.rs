//! From settings to a running payonce: builds the rooms and opens the ports.
//!
//! Nothing is bound before settings and policy are known to be good (I9). The only place that
//! knows all rooms by name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin;
use crate::clock::Clock;
use crate::decide::digest::Secret;
use crate::decide::policy::Policy;
use crate::decide::retry;
use crate::exchange::{Config, Exchange, Policies, Rooms};
use crate::forward::{Bounds, Forwarder};
use crate::inflight::Inflight;
use crate::ledger::embedded::{Embedded, OpenError};
use crate::ledger::memory::Memory;
use crate::ledger::{AnyLedger, embedded};
use crate::metrics::Metrics;
use crate::notes::Notes;
use crate::people::People;
use crate::policy_file::{self, LoadError, PolicyFile};
use crate::recent::Recent;
use crate::request::InFlightBytes;
use crate::server::limits::BodyPace;
use crate::server::{
    Address, BindError, Limits, Listen, Local, Server, ServerConfig, Shutdown, Summary, Tasks,
};
use crate::settings::{Settings, StoreKind, Token};
use crate::upstream::origin::BadOrigin;
use crate::upstream::proxy::BadProxy;
use crate::upstream::{self, BuildError, Direct, EgressProxy, Origin, Origins};

/// How long a claim holds without being renewed (DESIGN §2).
const LEASE: Duration = Duration::from_secs(15);

/// Why payonce does not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The policy is not good.
    #[error("{0}")]
    Policy(#[from] LoadError),
    /// The way to the provider cannot be built.
    #[error("{0}")]
    Upstream(#[from] BuildError),
    /// An origin is none.
    #[error("{setting}: {why}")]
    Origin {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        why: BadOrigin,
    },
    /// The egress proxy's address is none.
    #[error("upstream.egress_proxy: {0}")]
    Proxy(#[from] BadProxy),
    /// The store cannot be opened.
    #[error("store.path: {0}")]
    Store(#[from] OpenError),
    /// A port or socket cannot be listened on.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// Likewise, for the admin or health port.
    #[error("{setting}: {address} cannot be listened on: {why}; choose another, or \"off\"")]
    Port {
        /// The setting.
        setting: &'static str,
        /// Its value.
        address: std::net::SocketAddr,
        /// What the system says.
        why: std::io::Error,
    },
    /// The admin token cannot be made.
    #[error(
        "admin.token_file: the admin token cannot be written{}: {why}; name a token file, or set \
         listen.admin = \"off\"",
        path.as_ref().map(|path| format!(" to {}", path.display())).unwrap_or_default()
    )]
    Token {
        /// Where it was to be written.
        path: Option<std::path::PathBuf>,
        /// What the system says.
        why: std::io::Error,
    },
}

impl StartError {
    /// Whether a file that people wrote is wrong, rather than something that is not there.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Policy(_) | Self::Upstream(_) | Self::Origin { .. } | Self::Proxy(_) => true,
            Self::Store(_) | Self::Bind(_) | Self::Port { .. } | Self::Token { .. } => false,
        }
    }
}

/// A payonce that is built and bound, and serves nothing yet.
pub struct Assembly {
    server: Server,
    exchange: Exchange<Arc<AnyLedger>, Direct>,
    ledger: Arc<AnyLedger>,
    policy: Arc<PolicyFile>,
    admin: Option<(TcpListener, crate::settings::Secret)>,
    health: Option<TcpListener>,
    settings: Settings,
    shutdown: Shutdown,
    tasks: Tasks,
    metrics: Metrics,
}

impl Policies for Arc<PolicyFile> {
    fn current(&self) -> Arc<Policy> {
        PolicyFile::current(self)
    }
}

impl Assembly {
    /// Builds everything and binds the ports.
    ///
    /// # Errors
    /// [`StartError`], the first thing that is wrong.
    pub async fn build(settings: Settings, clock: Clock) -> Result<Self, StartError> {
        let policy = Arc::new(load_policy(&settings, &clock)?);
        let shutdown = Shutdown::new();
        let metrics = Metrics::new();
        let tasks = Tasks::new();
        let upstream = Direct::new(&upstream_config(&settings)?, clock.clone())?;
        // The store comes first: a second process fails on it before it touches anything else.
        let ledger = Arc::new(open_ledger(&settings, &clock)?);
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
        let health = match settings.listen.health {
            None => None,
            Some(address) => Some(listen("listen.health", address).await?),
        };
        let bytes = InFlightBytes::new(settings.limits.bytes_in_flight);
        let rooms = Rooms {
            forwarder: forwarder(&settings, upstream, &clock, &bytes, &shutdown, &metrics),
            ledger: Arc::clone(&ledger),
            policies: Box::new(Arc::clone(&policy)),
            recent: Recent::default(),
            inflight: Inflight::new(settings.limits.operations, settings.limits.waiters),
            tasks: tasks.clone(),
            closing: shutdown.first.clone(),
            bytes,
            notes: Notes::default(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            config: exchange_config(&settings),
        };
        let exchange = Exchange::new(rooms);
        metrics.policy_info(&policy.status().version);
        Ok(Self {
            server,
            exchange,
            ledger,
            policy,
            admin,
            health,
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
        self.health.as_ref().and_then(|listener| listener.local_addr().ok())
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
        if let Some(address) = self.health_addr() {
            info!(%address, "health and metrics listen");
        }
        match self.settings.store.kind {
            StoreKind::Embedded => {
                info!(path = %self.settings.store.path.display(), "store is embedded");
            }
            StoreKind::Memory => info!("store is memory"),
        }
        info!(
            version = status.version,
            mode = %self.policy.current().mode(),
            rules = status.rules,
            file = source.map_or_else(|| "(shipped)".to_owned(), |path| path.to_string()),
            "policy is in force"
        );
        for warning in &self.settings.warnings {
            warn!("{warning}");
        }
    }

    /// Serves until told to stop, drains, and closes the store.
    pub async fn run(self) -> Summary {
        let Self {
            server,
            exchange,
            ledger,
            policy,
            admin,
            health,
            settings,
            shutdown,
            tasks,
            metrics,
        } = self;
        // These end with the process, not with the requests: the admin port and the probes answer
        // while payonce drains.
        let aside = Tasks::new();
        let done = CancellationToken::new();
        let people = People::new(exchange.clone(), Arc::clone(&policy), shutdown.first.clone());
        if let Some((listener, token)) = admin {
            let (people, done) = (people.clone(), done.clone());
            aside.spawn(async move {
                admin::serve(listener, people, token, done.cancelled_owned()).await;
            });
        }
        if let Some(listener) = health {
            let (metrics, done) = (metrics.clone(), done.clone());
            aside.spawn(async move {
                admin::health::serve(listener, people, metrics, done.cancelled_owned()).await;
            });
        }
        watch_policy(&policy, &settings, &metrics, &aside, &done);
        let summary = server.run(exchange.clone(), tasks, shutdown).await;
        let notes = exchange.notes.all().len();
        if notes > 0 {
            warn!(
                notes,
                "single calls whose outcome is unknown are noted in the log alone from here"
            );
        }
        done.cancel();
        aside.drained().await;
        if let Err(error) = ledger.close().await {
            warn!(%error, "the store did not close; what was answered is written");
        }
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
            metrics.policy_info(&now.version);
            if now.refused.is_some() {
                metrics.policy_refused();
            }
        }
    });
}

/// The policy that the settings name, or the shipped one.
fn load_policy(settings: &Settings, clock: &Clock) -> Result<PolicyFile, LoadError> {
    let accept = acceptable(settings);
    match &settings.policy.path {
        Some(path) => PolicyFile::load(path, clock.clone(), accept),
        None => policy_file::shipped(clock.clone(), &accept),
    }
}

/// What these settings ask of a policy: at start, and before a reload is taken.
#[must_use]
pub fn acceptable(settings: &Settings) -> policy_file::Accept {
    let shared = settings.store.kind == StoreKind::Embedded && !settings.store.single_instance;
    Box::new(move |policy| match policy.needs_one_store() {
        Some(rule) if shared => Err(format!(
            "rule {:?} recognises operations by content or fields, which needs one store for all \
             processes: with the embedded store, set store.single_instance = true if this is the \
             only payonce for its application",
            rule.name
        )),
        Some(_) | None => Ok(()),
    })
}

async fn listen(
    setting: &'static str,
    address: std::net::SocketAddr,
) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|why| StartError::Port { setting, address, why })
}

fn open_ledger(settings: &Settings, clock: &Clock) -> Result<AnyLedger, OpenError> {
    let store = &settings.store;
    Ok(match store.kind {
        StoreKind::Memory => AnyLedger::Memory(Memory::new(clock.clone(), store.max_records)),
        StoreKind::Embedded => {
            let limits = embedded::Limits {
                timeout: store.timeout,
                cache_bytes: store.cache,
                ..embedded::Limits::default()
            };
            AnyLedger::Embedded(Embedded::open(&store.path, clock.clone(), limits)?)
        }
    })
}

fn forwarder(
    settings: &Settings,
    upstream: Direct,
    clock: &Clock,
    bytes: &InFlightBytes,
    shutdown: &Shutdown,
    metrics: &Metrics,
) -> Forwarder<Direct> {
    let retry = &settings.retry;
    let limits = retry::Limits {
        deadline: retry.deadline,
        attempt: retry.attempt_timeout,
        attempts: retry.max_attempts,
        backoff: retry.backoff,
        backoff_max: retry.backoff_max,
    };
    let bounds = Bounds {
        retry: limits,
        answer_bytes: settings.limits.answer,
        bytes: bytes.clone(),
        budget: retry::Budget::new(retry.budget_ratio, retry.budget_per_second, clock.now()),
    };
    Forwarder::new(upstream, clock.clone(), bounds, shutdown.first.clone(), metrics.clone())
}

/// What the exchange is told of these settings.
pub(crate) fn exchange_config(settings: &Settings) -> Config {
    Config {
        provider: settings.upstream.provider_host.clone(),
        secret: settings.secret.as_ref().map(|secret| Secret::configured(secret.expose())),
        owner: hex::encode(rand::random::<[u8; 8]>()),
        lease: LEASE,
        body_bytes: settings.limits.body,
        bypass: settings.policy.bypass,
        never_forgets: settings.store.kind == StoreKind::Embedded,
    }
}

fn server_config(settings: &Settings) -> ServerConfig {
    let limits = &settings.limits;
    let mut listen = Vec::new();
    if let Some(address) = settings.listen.proxy {
        listen.push(Listen { setting: "listen.proxy", at: Address::Tcp(address) });
    }
    if let Some(path) = &settings.listen.unix_socket {
        let at = Address::Unix { path: path.clone(), mode: 0o600 };
        listen.push(Listen { setting: "listen.unix_socket", at });
    }
    ServerConfig {
        listen,
        limits: Limits {
            connections: limits.connections,
            head_time: limits.header_timeout,
            idle_time: limits.idle_timeout,
            head_bytes: limits.head_bytes,
            headers: limits.headers,
            body: BodyPace { idle: limits.body_timeout, ..BodyPace::default() },
            write_stall: limits.body_timeout,
        },
        drain: settings.shutdown.drain,
    }
}

fn upstream_config(settings: &Settings) -> Result<upstream::Config, StartError> {
    let of = |setting: &'static str, text: &str| {
        Origin::parse(text).map_err(|why| StartError::Origin { setting, why })
    };
    let from = &settings.upstream;
    let origins = Origins {
        api: of("upstream.api", &from.api)?,
        files: of("upstream.files", &from.files)?,
        connect: of("upstream.connect", &from.connect)?,
        meter_events: of("upstream.meter_events", &from.meter_events)?,
    };
    let egress_proxy = from
        .egress_proxy
        .as_ref()
        .map(|text| EgressProxy::parse(secrecy::ExposeSecret::expose_secret(text)))
        .transpose()?;
    Ok(upstream::Config {
        ca_file: from.ca_file.clone(),
        egress_proxy,
        connect_timeout: from.connect_timeout,
        body_timeout: settings.limits.body_timeout,
        idle_timeout: from.idle_timeout,
        max_connections_per_host: from.max_connections_per_host,
        http2: from.http2,
        ..upstream::Config::new(origins)
    })
}
