//! A simulated Stripe on real sockets: the oracle that every proof of payonce is counted by.
//!
//! It keeps idempotency keys as FACTS §2 says, moves play money, writes down each effect that truly
//! happened, and lets the network and the provider fail on command. It shares no code with what
//! decides in payonce (a test reads its imports): whatever both got wrong in the same way could not
//! be seen here. It is not a copy of Stripe: objects beyond payments echo what they are given.
//!
//! A call's way: `serve` reads it, `play` plays it with the fault that `plan` chose,
//! `state` begins and ends it under the rules of `keys`, a handler in `objects` executes it.

mod answer;
mod call;
mod control;
mod ctx;
#[cfg(test)]
mod desk;
mod effects;
mod events;
mod expand;
mod faults;
mod form;
mod keys;
mod log;
mod mint;
mod objects;
mod plan;
mod play;
mod routes;
mod serve;
mod state;
mod store;
mod unplugged;
mod webhooks;
mod wire;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Timestamp};

pub use effects::{Effect, Outcome};
pub use faults::{Fault, Kind, Only, Strike};
pub use log::Seen;
pub use unplugged::Unplugged;
pub use webhooks::{Sent, Webhook};

/// How a sandbox is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Its time; [`Sandbox::advance`] moves it on.
    pub clock: Clock,
    /// Of ids and of chance.
    pub seed: u64,
    /// How much it holds.
    pub limits: Limits,
}

impl Config {
    /// On any free loopback port.
    #[must_use]
    pub fn local(clock: Clock, seed: u64) -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { listen, clock, seed, limits: Limits::default() }
    }
}

/// How much a sandbox holds. Beyond it, calls are refused unexecuted, and say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Effects that are remembered.
    pub effects: usize,
    /// Objects, of all scopes.
    pub objects: usize,
    /// Idempotency keys, of all scopes.
    pub keys: usize,
    /// Scopes.
    pub scopes: usize,
    /// Requests in the log; older ones are forgotten.
    pub requests: usize,
    /// Bytes of a request body.
    pub body: usize,
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            effects: 200_000,
            objects: 500_000,
            keys: 250_000,
            scopes: 10_000,
            requests: 10_000,
            body: 8 << 20,
            connections: 4096,
        }
    }
}

/// Where Stripe's documentation leaves open what it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// v2 marks its replays with `Idempotent-Replayed`.
    pub mark_v2_replays: bool,
    /// A 400 for the state of things (nothing left to refund, no funds) is saved under its key.
    pub save_refusals: bool,
}

/// A running sandbox. Dropping it closes it without waiting.
pub struct Sandbox {
    shared: Arc<Shared>,
    addr: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

impl Sandbox {
    /// Listens, and serves on the current tokio runtime.
    ///
    /// # Errors
    /// The address cannot be bound, or there is no runtime.
    pub fn start(config: Config) -> io::Result<Self> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let listener = TcpListener::bind(config.listen)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let shared = Arc::new(Shared::new(config));
        let accepting = runtime.spawn(serve::accept(Arc::clone(&shared), listener));
        shared.tasks.spawn(webhooks::pump(Arc::clone(&shared)));
        Ok(Self { shared, addr, accepting: Some(accepting) })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes it: stalled calls are given up, answers under way get half a second.
    pub async fn shutdown(mut self) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        if let Some(accepting) = self.accepting.take()
            && let Err(error) = accepting.await
        {
            tracing::error!(%error, "the sandbox's accept loop broke off");
        }
        self.shared.tasks.wait().await;
    }

    /// Everything that was executed, oldest first.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        self.shared.lock().state.effects().to_vec()
    }

    /// The last requests that came in, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.lock().log.all().cloned().collect()
    }

    /// Replaces the faults to come. More than 10,000 are cut off there.
    pub fn set_faults(&self, mut faults: Vec<Fault>) {
        faults.truncate(plan::FAULTS);
        let mut inner = self.shared.lock();
        inner.plan.clear();
        if let Err(error) = inner.plan.add(faults) {
            tracing::error!(error, "the faults were not set");
        }
    }

    /// Replaces the endpoints that are told of what happens from now on. More than 16 are cut off.
    pub fn set_webhooks(&self, endpoints: Vec<Webhook>) {
        self.shared.set_webhooks(endpoints);
    }

    /// What became of the events that were sent.
    #[must_use]
    pub fn webhooks_sent(&self) -> Sent {
        self.shared.lock().sent
    }

    /// How many faults of this kind (its name) have struck.
    #[must_use]
    pub fn struck(&self, kind: &str) -> u64 {
        self.shared.lock().plan.counts().get(kind).copied().unwrap_or_default()
    }

    /// How many faults have struck, by kind.
    #[must_use]
    pub fn fault_counts(&self) -> Vec<(&'static str, u64)> {
        self.shared.lock().plan.counts().iter().map(|(kind, count)| (*kind, *count)).collect()
    }

    /// Changes what Stripe's documentation leaves open.
    pub fn set_rules(&self, rules: Rules) {
        self.shared.lock().state.set_rules(rules);
    }

    /// Moves the sandbox's own clock on, so that keys grow old.
    pub fn advance(&self, by: Duration) {
        self.shared.advance(by);
    }

    /// Forgets everything but the rules' and limits' settings; its time stays.
    pub fn reset(&self) {
        self.shared.reset();
    }
}

/// Where it listens: its state is too long to print, and holds keys.
impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
    }
}

/// Runs a sandbox until `until` is over, for the command line; `ready` hears where it listens.
///
/// # Errors
/// As [`Sandbox::start`].
pub async fn run(
    config: Config,
    ready: impl FnOnce(SocketAddr),
    until: impl Future<Output = ()>,
) -> io::Result<()> {
    let sandbox = Sandbox::start(config)?;
    ready(sandbox.addr());
    until.await;
    sandbox.shutdown().await;
    Ok(())
}

/// What all connections share.
struct Shared {
    inner: Mutex<Inner>,
    clock: Clock,
    limits: Limits,
    seed: u64,
    /// Effects that are still to come after a stall.
    tasks: TaskTracker,
    closing: CancellationToken,
}

struct Inner {
    state: state::State,
    plan: plan::Plan,
    log: log::Log,
    webhooks: Vec<Webhook>,
    sent: Sent,
    ahead: Duration,
}

impl Shared {
    fn new(config: Config) -> Self {
        let Config { listen: _, clock, seed, limits } = config;
        let inner = Inner {
            state: state::State::new(seed, limits, Rules::default()),
            plan: plan::Plan::new(seed),
            log: log::Log::new(limits.requests),
            webhooks: Vec::new(),
            sent: Sent::default(),
            ahead: Duration::ZERO,
        };
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        Self { inner: Mutex::new(inner), clock, limits, seed, tasks, closing }
    }

    /// Never held across a wait. A handler that panicked leaves one call half done, which its own
    /// test shows; the rest goes on.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        let ahead = self.lock().ahead;
        self.clock.now().plus(ahead)
    }

    fn advance(&self, by: Duration) {
        let mut inner = self.lock();
        inner.ahead = inner.ahead.saturating_add(by);
    }

    fn reset(&self) {
        let mut inner = self.lock();
        inner.state.reset();
        inner.plan = plan::Plan::new(self.seed);
        inner.log.clear();
    }

    fn set_webhooks(&self, mut endpoints: Vec<Webhook>) {
        endpoints.truncate(webhooks::MOST);
        let mut inner = self.lock();
        inner.state.outbox().open = !endpoints.is_empty();
        inner.webhooks = endpoints;
    }

    fn struck(&self, kind: &Kind) {
        self.lock().plan.struck(kind);
    }

    fn begin(&self, call: &call::Call) -> state::Begun {
        let now = self.now();
        self.lock().state.begin(call, now)
    }

    fn end(&self, ticket: state::Ticket, call: &call::Call) -> answer::Answer {
        let now = self.now();
        self.lock().state.end(ticket, call, now, state::Forced::No)
    }

    fn execute(&self, call: &call::Call) -> answer::Answer {
        let now = self.now();
        self.lock().state.execute(call, now)
    }
}
