//! The rooms of an exchange built by hand, as `payonce serve` builds them from settings: around a
//! store, a provider and policies of a test's own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use payonce::chance::Chance;
use payonce::clients::Clients;
use payonce::clock::Clock;
use payonce::decide::policy::Policy;
use payonce::decide::retry;
use payonce::exchange::{Config, Guards, Policies, Rooms};
use payonce::finishing::{self, Finishing};
use payonce::forward::{Bounds, Forwarder};
use payonce::inflight::Inflight;
use payonce::metrics::Metrics;
use payonce::notes::Notes;
use payonce::observer::Observer;
use payonce::recent::Recent;
use payonce::request::InFlightBytes;
use payonce::server::{Limits, Local, Server, ServerConfig, Tasks};
use payonce::trace::Tracer;
use payonce::unwritten::Unwritten;
use payonce::upstream::Upstream;
use tokio_util::sync::CancellationToken;

/// What the rooms are built around. What else a test wants otherwise it changes in the rooms.
pub(crate) struct Around<L, U> {
    pub(crate) ledger: L,
    pub(crate) upstream: U,
    pub(crate) policies: Box<dyn Policies>,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) retry: retry::Limits,
    /// Retries as a share of requests; one a second besides.
    pub(crate) budget: f64,
    /// Bytes of an answer that is held; as many of a request.
    pub(crate) answer_bytes: usize,
    /// When shutdown has begun.
    pub(crate) closing: CancellationToken,
}

impl<L, U: Upstream> Around<L, U> {
    /// With two attempts right after one another, a budget that grants them, and small bodies.
    pub(crate) fn new(
        ledger: L,
        upstream: U,
        policies: Box<dyn Policies>,
        clock: Clock,
        closing: CancellationToken,
    ) -> Self {
        let retry = retry::Limits {
            deadline: Duration::from_secs(70),
            attempt: Duration::from_secs(40),
            attempts: 2,
            backoff: Duration::from_millis(1),
            backoff_max: Duration::from_millis(2),
        };
        let (chance, budget, answer_bytes) = (Chance::System, 1.0, 65_536);
        Self { ledger, upstream, policies, clock, chance, retry, budget, answer_bytes, closing }
    }

    /// The rooms, with the counters in `metrics`, and a process that nobody else is.
    pub(crate) fn rooms(self, metrics: Metrics) -> Rooms<L, U> {
        let Self {
            ledger,
            upstream,
            policies,
            clock,
            chance,
            retry,
            budget,
            answer_bytes,
            closing,
        } = self;
        let bytes = InFlightBytes::new(1 << 26);
        let budget = retry::Budget::new(budget, 1.0, clock.now());
        let bounds = Bounds { retry, answer_bytes, bytes: bytes.clone(), budget };
        let counts = metrics.clone();
        Rooms {
            ledger,
            forwarder: Forwarder::new(
                upstream,
                clock.clone(),
                chance.clone(),
                bounds,
                closing.clone(),
                counts,
            ),
            policies,
            guards: Guards::default(),
            recent: Recent::default(),
            inflight: Inflight::new(1_000, 100),
            tasks: Tasks::new(),
            closing,
            bytes,
            unwritten: Unwritten::default(),
            finishing: Finishing::new(finishing::Limits::default(), metrics.clone()),
            notes: Notes::default(),
            observer: Observer::new(metrics.clone(), None),
            clock,
            chance,
            clients: Clients::shipped(metrics.clone()).unwrap(),
            metrics,
            tracer: Tracer::default(),
            config: Config {
                provider: "provider.test".to_owned(),
                secret: None,
                other_secrets: Vec::new(),
                owner: hex::encode(Chance::System.bytes::<8>()),
                lease: Duration::from_secs(15),
                body_bytes: answer_bytes,
                bypass: false,
                caller: None,
            },
        }
    }
}

/// One policy for ever.
struct Fixed(Arc<Policy>);

impl Policies for Fixed {
    fn current(&self) -> Arc<Policy> {
        Arc::clone(&self.0)
    }
}

/// This policy for ever, `version = 1` and all.
pub(crate) fn fixed(policy: &str) -> Box<dyn Policies> {
    Box::new(Fixed(Arc::new(Policy::parse(policy).unwrap())))
}

/// A server on a port of its own, and where that is.
pub(crate) async fn listener(clock: Clock, drain: Duration) -> (Server, SocketAddr) {
    let listen = vec![crate::serving::tcp("127.0.0.1:0")];
    let config = ServerConfig { listen, limits: Limits::default(), drain };
    let server = Server::bind(config, clock).await.unwrap();
    let Local::Tcp(address) = server.local().remove(0) else { panic!("no TCP") };
    (server, address)
}
