//! What an exchange is made of: the rooms that a journey passes, the settings, the policies.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Guards, Kept, Write};
use crate::chance::Chance;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::decide::digest::Secret;
use crate::decide::policy::{Policy, Way};
use crate::finishing::Finishing;
use crate::forward::Forwarder;
use crate::inflight::Inflight;
use crate::metrics::Metrics;
use crate::notes::Notes;
use crate::observer::Observer;
use crate::recent::Recent;
use crate::request::InFlightBytes;
use crate::server::Tasks;
use crate::trace::Tracer;
use crate::unwritten::Unwritten;

/// Where the policy in force comes from.
pub trait Policies: Send + Sync + 'static {
    /// The policy that a request which begins now keeps.
    fn current(&self) -> Arc<Policy>;

    /// The ways in which requests are or were recognised by this and other processes on the store;
    /// perhaps also the current one.
    fn other_ways(&self) -> Arc<Vec<Arc<Way>>> {
        Arc::default()
    }

    /// Another number whenever those have become others.
    fn generation(&self) -> u64 {
        0
    }

    /// Learns of those if that was not possible for so long that one may be missing.
    fn catch_up(&self) -> Option<CatchUp<'_>> {
        None
    }
}

/// What to await before a request is recognised.
pub type CatchUp<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A secret that is not the one from which keys are derived now.
#[derive(Clone, Debug)]
pub enum OtherSecret {
    /// Configured: it was the one, or will be.
    Configured(Secret),
    /// That of each request's API key: none was configured.
    OfApiKey,
}

/// What an exchange is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The provider's host, part of every operation id.
    pub provider: String,
    /// The configured secret; without one, it is made of each request's API key.
    pub secret: Option<Secret>,
    /// Those that it was or will be: what is open by them is found.
    pub other_secrets: Vec<OtherSecret>,
    /// This process, in claims.
    pub owner: String,
    /// How long a claim holds without being renewed.
    pub lease: Duration,
    /// The largest request body that is held, in bytes.
    pub body_bytes: usize,
    /// Everything passes, but what is open or recent keeps its key.
    pub bypass: bool,
    /// Who asks, where a request does not say.
    pub caller: Option<String>,
}

/// The rooms that a journey passes.
pub struct Rooms<L, U> {
    /// Where operations are remembered.
    pub ledger: L,
    /// The way to the provider.
    pub forwarder: Forwarder<U>,
    /// The policy.
    pub policies: Box<dyn Policies>,
    /// The API key that payonce holds, and what guards remember.
    pub guards: Guards,
    /// What this process remembers.
    pub recent: Recent,
    /// What this process works on.
    pub inflight: Inflight,
    /// What shutdown waits for.
    pub tasks: Tasks,
    /// When shutdown has begun.
    pub closing: CancellationToken,
    /// What all bodies together may hold.
    pub bytes: InFlightBytes,
    /// Writes that the ledger did not take.
    pub unwritten: Unwritten<Write>,
    /// What ended in doubt and is asked for again though nobody waits.
    pub finishing: Finishing<Kept>,
    /// Calls that people should check.
    pub notes: Notes,
    /// Who looks on, and writes down.
    pub observer: Observer,
    /// The time.
    pub clock: Clock,
    /// The random numbers.
    pub chance: Chance,
    /// Who asks.
    pub clients: Clients,
    /// The counters.
    pub metrics: Metrics,
    /// Where spans come from.
    pub tracer: Tracer,
    /// The settings.
    pub config: Config,
}
