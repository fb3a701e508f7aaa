//! What a gate is made of: the endpoints, the rooms that an event passes, the settings.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::application::Application;
use super::ranges::Ranges;
use super::secrets::Secrets;
use crate::decide::digest::ApiKeyDigest;
use crate::exchange::Exchange;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::request::InFlightBytes;
use crate::server::Tasks;
use crate::upstream::Upstream;

/// Events that may wait for an operation that somebody works on, each with a task.
const MOST_LATER: usize = 256;

/// One endpoint, as it is registered with Stripe.
pub struct Endpoint<U> {
    /// What it is called.
    pub name: String,
    /// The path that Stripe sends to.
    pub path: String,
    /// What Stripe signs with.
    pub secrets: Secrets,
    /// Where its events go.
    pub application: Application<U>,
    /// The account that it is registered in.
    pub account: Option<String>,
    /// That account's API keys.
    pub api_keys: Vec<ApiKeyDigest>,
}

/// What a gate is told at start.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How far a signature's time may be from now, either way.
    pub tolerance: Duration,
    /// Bytes of an event.
    pub body_bytes: usize,
    /// For the application's answer.
    pub timeout: Duration,
    /// How long a delivery may take beyond that, to be written down: then its process counts as dead.
    pub grace: Duration,
    /// How long it is known that an event was handled.
    pub remember: Duration,
    /// How often files are read again unasked.
    pub refresh: Duration,
}

/// What an event passes.
pub struct Rooms<L, U> {
    /// Where events go, by path.
    pub endpoints: Vec<Arc<Endpoint<U>>>,
    /// From where they may come; `None` for anywhere.
    pub ranges: Option<Ranges>,
    /// The operations that they speak of, and what all of payonce shares: ledger, time, chance.
    pub exchange: Exchange<L, U>,
    /// What all bodies together may hold.
    pub bytes: InFlightBytes,
    /// What shutdown waits for.
    pub tasks: Tasks,
    /// The counters.
    pub metrics: Metrics,
    /// The settings.
    pub config: Config,
    /// Room for events that wait for an operation that somebody works on, each with a task.
    pub(super) later: Arc<Semaphore>,
}

impl<L: Ledger, U: Upstream> Rooms<L, U> {
    /// For these endpoints, beside this exchange.
    pub fn new(
        endpoints: Vec<Endpoint<U>>,
        ranges: Option<Ranges>,
        exchange: Exchange<L, U>,
        bytes: InFlightBytes,
        config: Config,
    ) -> Self {
        let (metrics, later) = (exchange.metrics.clone(), Arc::new(Semaphore::new(MOST_LATER)));
        let endpoints = endpoints.into_iter().map(Arc::new).collect();
        let tasks = Tasks::new();
        Self { endpoints, ranges, exchange, bytes, tasks, metrics, config, later }
    }
}
