//! The edge towards clients: listeners, limits, connections, drain.
//!
//! HTTP/1.1 (and 1.0) only, over TCP and Unix sockets; the SDKs speak nothing else. What a request
//! means is not decided here: each goes to a [`Serve`], with the [`Connection`] it came on.
//! Nothing here writes an answer, save what hyper says by itself to a head that is not HTTP (400),
//! too large (431) or has too long a target (414): nothing of those was forwarded.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::delivery;
use crate::upstream::Body;

mod accept;
mod connection;
pub mod drain;
pub mod limits;
pub mod listen;
pub mod tasks;
mod timed;

pub use accept::Counts;
pub use drain::{Shutdown, Summary};
pub use limits::Limits;
pub(crate) use listen::without_ipv6;
pub use listen::{Address, BindError, Listen, Local};
pub use tasks::Tasks;

/// What answers requests.
pub trait Serve: Clone + Send + Sync + 'static {
    /// Answers `request`. The future is dropped when the client hangs up: whatever must be
    /// finished nevertheless belongs into a task of its own ([`Tasks::spawn`]).
    fn call(
        &self,
        request: Request<Body>,
        conn: Connection,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// The connection a request came on.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Who is at the other end.
    pub peer: Peer,
    /// Tells what becomes of answers.
    pub watch: delivery::Watch,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A process on this machine, over the Unix socket.
    Unix,
}

/// Where to listen, and within which limits.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The addresses, each with the name of its setting.
    pub listen: Vec<Listen>,
    /// What a client may do.
    pub limits: Limits,
    /// How long shutdown waits for connections and tasks.
    pub drain: Duration,
}

/// A server that listens, and accepts nothing before [`Server::run`].
#[derive(Debug)]
pub struct Server {
    listeners: Vec<listen::Listener>,
    limits: Limits,
    drain: Duration,
    clock: Clock,
    counts: Arc<Counts>,
}

impl Server {
    /// Binds every address of `config`: all of them or none.
    ///
    /// # Errors
    /// [`BindError`], which names the setting.
    pub async fn bind(config: ServerConfig, clock: Clock) -> Result<Self, BindError> {
        let ServerConfig { listen, limits, drain } = config;
        let mut listeners = Vec::with_capacity(listen.len());
        for wanted in &listen {
            listeners.push(listen::Listener::bind(wanted).await?);
        }
        Ok(Self { listeners, limits, drain, clock, counts: Arc::default() })
    }

    /// Where it listens, in the order of the configuration; a port 0 has become a real one.
    #[must_use]
    pub fn local(&self) -> Vec<Local> {
        self.listeners.iter().map(listen::Listener::local).collect()
    }

    /// Counters that go on counting while it runs.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Serves until `shutdown` says to stop, then drains: no new connections, idle ones closed,
    /// answers in flight finished with `Connection: close`, then `tasks` awaited; all that within
    /// the drain time, or until `shutdown.second`. What remains then is dropped and counted.
    pub async fn run<S: Serve>(self, serve: S, tasks: Tasks, shutdown: Shutdown) -> Summary {
        let Self { listeners, limits, drain, clock, counts } = self;
        let kill = CancellationToken::new();
        let host = Arc::new(accept::Host {
            serve,
            room: Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS))),
            limits,
            clock: clock.clone(),
            counts,
            connections: Tasks::new(),
            drain: shutdown.first.clone(),
            kill: kill.clone(),
        });
        let accepting = Tasks::new();
        for listener in listeners {
            accepting.spawn(accept::accept(listener, Arc::clone(&host)));
        }
        shutdown.first_or_second().await;
        tasks.close();
        accepting.drained().await;
        let summary =
            drain::drain(&host.connections, &tasks, drain, &clock, &shutdown.second).await;
        // Only now, so that what is dropped has been counted.
        kill.cancel();
        host.connections.drained().await;
        summary
    }
}
