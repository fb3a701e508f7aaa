//! Each room's own configuration, made of the settings.

use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use crate::audit::{AuditLog, Recorder, refused_at_start};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::decide::digest::Secret;
use crate::decide::retry;
use crate::exchange::{Config, OtherSecret};
use crate::forward::{Bounds, Forwarder};
use crate::ledger::embedded::{self, Embedded};
use crate::ledger::memory::Memory;
use crate::ledger::redis::{self, Redis};
use crate::ledger::{AnyLedger, Kind};
use crate::metrics::Metrics;
use crate::policy_file::{self, LoadError, PolicyFile};
use crate::recording;
use crate::request::InFlightBytes;
use crate::server::limits::BodyPace;
use crate::server::{Address, Limits, Listen, ServerConfig, Shutdown};
use crate::settings::{self, Settings, Store, StoreKind};
use crate::upstream::{self, Direct, EgressProxy, Origin, Origins};

/// Between two looks whether a shared store has forgotten.
const STORE_WATCH: Duration = Duration::from_secs(5);

/// The policy that the settings name, or the shipped one.
fn load_policy(settings: &Settings, clock: &Clock) -> Result<PolicyFile, LoadError> {
    let accept = acceptable(settings);
    match &settings.policy.path {
        Some(path) => {
            let trusted = settings.policy.trusted.clone();
            PolicyFile::load_signed(path, trusted, clock.clone(), accept)
        }
        None => policy_file::shipped(clock.clone(), &accept),
    }
}

/// The log of policy loads, if the settings want one.
pub(super) fn audit_log(settings: &Settings, clock: &Clock) -> Option<AuditLog> {
    settings.policy.audit_log.as_ref().map(|path| AuditLog::at(path, clock.clone()))
}

/// [`load_policy`], and what keeps payonce from starting is written down too.
pub(super) async fn audited_policy(
    settings: &Settings,
    clock: &Clock,
) -> Result<PolicyFile, LoadError> {
    let refused = match load_policy(settings, clock) {
        Ok(policy) => return Ok(policy),
        Err(error) => error,
    };
    if let Some(log) = audit_log(settings, clock) {
        refused_at_start(&log, &refused.path, refused.clone(), clock).await;
    }
    Err(refused)
}

/// From now on, each load of `policy` is looked at, and written down if the settings say so.
pub(super) async fn audit(
    policy: &PolicyFile,
    settings: &Settings,
    ledger: &Arc<AnyLedger>,
    metrics: &Metrics,
    clock: &Clock,
) -> Result<(), LoadError> {
    let recorder = Recorder {
        log: audit_log(settings, clock),
        required: settings.policy.audit_required,
        ledger: Arc::clone(ledger),
        metrics: metrics.clone(),
        clock: clock.clone(),
    };
    policy.witnessed_by(Box::new(recorder)).await
}

/// What these settings ask of a policy: at start, and before a reload is taken.
#[must_use]
pub fn acceptable(settings: &Settings) -> policy_file::Accept {
    let shared = settings.store.kind == StoreKind::Embedded && !settings.store.single_instance;
    let secret = settings.secret.is_some();
    Box::new(move |policy| {
        if let Some(rule) = policy.needs_one_store().filter(|_| shared) {
            return Err(format!(
                "rule {:?} recognises operations by content or fields, which needs one store for \
                 all processes: with the embedded store, set store.single_instance = true if this \
                 is the only payonce for its application",
                rule.name
            ));
        }
        if !secret && !policy.scopes().aliases().is_empty() {
            return Err(
                "[[scope]] makes several API keys one, and without a secret what is derived \
                 hangs on each key: set secret.file to one made by `payonce keygen`"
                    .to_owned(),
            );
        }
        Ok(())
    })
}

pub(super) async fn open_ledger(
    settings: &Settings,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<AnyLedger, StartError> {
    let store = &settings.store;
    let kind = match store.kind {
        StoreKind::Memory => Kind::Memory(Memory::new(clock.clone(), store.max_records)),
        StoreKind::Embedded => {
            let limits = embedded::Limits {
                timeout: store.timeout,
                cache_bytes: store.cache,
                ..embedded::Limits::default()
            };
            Kind::Embedded(Embedded::open(&store.path, clock.clone(), limits)?)
        }
        StoreKind::Redis => {
            let config = redis_config(store);
            let opened = Redis::open(config, clock.clone(), Chance::System, metrics.clone());
            Kind::Redis(opened.await?)
        }
    };
    Ok(AnyLedger::new(kind, clock.clone(), metrics.clone()))
}

fn redis_config(store: &Store) -> redis::Config {
    let from = &store.redis;
    redis::Config {
        nodes: from.nodes.clone(),
        topology: from.topology,
        master: from.master.clone().unwrap_or_default(),
        login: from.login.clone(),
        sentinel_login: from.sentinel_login.clone(),
        database: from.database,
        ca_file: from.ca_file.clone(),
        prefix: from.prefix.clone(),
        timeout: store.timeout,
        connect_timeout: from.connect_timeout,
        watch: STORE_WATCH,
    }
}

pub(super) fn forwarder(
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
    let chance = Chance::System;
    Forwarder::new(upstream, clock.clone(), chance, bounds, shutdown.first.clone(), metrics.clone())
}

/// The way to the record, if the settings name a file for it.
pub(super) fn recorder(
    settings: &Settings,
    metrics: &Metrics,
) -> Result<Option<recording::Recorder>, StartError> {
    let Some(path) = &settings.record.path else { return Ok(None) };
    let opened = recording::Recorder::open(path, settings.record.max_size, metrics.clone());
    opened.map(Some).map_err(|why| StartError::Record { path: path.clone(), why })
}

/// What the exchange is told of these settings.
pub(crate) fn exchange_config(settings: &Settings) -> Config {
    Config {
        provider: settings.upstream.provider_host.clone(),
        other_secrets: settings.other_secrets.iter().map(other_secret).collect(),
        secret: settings.secret.as_ref().map(|secret| Secret::configured(secret.expose())),
        owner: hex::encode(rand::random::<[u8; 8]>()),
        lease: settings.store.lease,
        body_bytes: settings.limits.body,
        bypass: settings.policy.bypass,
        caller: settings.listen.caller.clone(),
    }
}

fn other_secret(other: &settings::OtherSecret) -> OtherSecret {
    match other {
        settings::OtherSecret::Given(secret) => {
            OtherSecret::Configured(Secret::configured(secret.expose()))
        }
        settings::OtherSecret::OfApiKey => OtherSecret::OfApiKey,
    }
}

pub(super) fn server_config(settings: &Settings) -> ServerConfig {
    let mut listen = Vec::new();
    if let Some(address) = settings.listen.proxy {
        listen.push(Listen { setting: "listen.proxy", at: Address::Tcp(address) });
    }
    if let Some(path) = &settings.listen.unix_socket {
        let at = Address::Unix { path: path.clone(), mode: 0o600 };
        listen.push(Listen { setting: "listen.unix_socket", at });
    }
    ServerConfig { listen, limits: limits(settings), drain: settings.shutdown.drain }
}

/// What a client may do, at any listener.
pub(super) fn limits(settings: &Settings) -> Limits {
    let limits = &settings.limits;
    Limits {
        connections: limits.connections,
        head_time: limits.header_timeout,
        idle_time: limits.idle_timeout,
        head_bytes: limits.head_bytes,
        headers: limits.headers,
        body: BodyPace { idle: limits.body_timeout, ..BodyPace::default() },
        write_stall: limits.body_timeout,
    }
}

pub(super) fn upstream_config(settings: &Settings) -> Result<upstream::Config, StartError> {
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
