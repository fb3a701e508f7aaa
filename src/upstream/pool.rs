//! Connections to one host: which to use, how many there may be, how long they are kept.
//!
//! HTTP/1.1: last in, first out, because the freshest is the least likely to be stale. A place
//! (`slots`) is held for as long as a connection is in use, and a connection is opened only when
//! none is idle, so in use and idle together never exceed the number of places. HTTP/2: few
//! connections, many streams. While it is not known, or known, that a host speaks HTTP/2, one
//! connection is opened at a time (`gate`), so that a burst does not open a connection each.
//!
//! Nothing is sent here, and nothing is resent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Cause;
use super::config::Config;
use super::connect::Connector;
use super::origin::Scheme;
use super::wire::{self, Opened, Shared, Single};
use crate::clock::{Clock, Timestamp};

/// Most HTTP/2 connections to one host, and most streams on each: below the 100 that RFC 9113
/// §6.5.2 advises servers to allow at least.
const SHARED: usize = 4;
const STREAMS: usize = 100;
/// How long a connection whose answer was read may take to be ready again, as when the request's
/// body is still being written.
const LINGER: Duration = Duration::from_secs(2);

/// The connections to one host.
pub(super) struct Pool {
    connector: Connector,
    clock: Clock,
    wait: Duration,
    idle_timeout: Duration,
    slots: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    gate: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

struct State {
    speaks: Speaks,
    idle: Vec<Idle>,
    shared: Vec<Trunk>,
    sweeping: bool,
}

impl State {
    /// Closes what the other side closed, and what was unused for too long.
    fn sweep(&mut self, now: Timestamp, limit: Duration) {
        self.idle.retain(|idle| idle.single.sender.is_ready() && now.since(idle.since) < limit);
        self.shared.retain(|trunk| {
            !trunk.shared.sender.is_closed() && (trunk.load() > 0 || now.since(trunk.used) < limit)
        });
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Unknown,
    Http1,
    Http2,
}

struct Idle {
    single: Single,
    since: Timestamp,
}

/// An HTTP/2 connection. Every stream on it holds a clone of `streams`.
struct Trunk {
    shared: Shared,
    streams: Arc<()>,
    used: Timestamp,
}

impl Trunk {
    fn load(&self) -> usize {
        Arc::strong_count(&self.streams) - 1
    }
}

/// A connection, for one request.
pub(super) enum Lease {
    /// HTTP/1.1.
    Single(Single, OwnedSemaphorePermit),
    /// HTTP/2.
    Shared(Shared, Claim),
}

/// What an answer's body holds until it ends.
pub(super) enum Claim {
    /// The connection itself.
    Single { _back: Back },
    /// A stream's place, on the host and on its connection.
    Shared { _place: OwnedSemaphorePermit, _stream: Arc<()> },
}

/// A connection that goes back when this is dropped.
pub(super) struct Back {
    pool: Arc<Pool>,
    connection: Option<(Single, OwnedSemaphorePermit)>,
}

impl Drop for Back {
    /// At once if it is ready, so that the next request finds it; else it is waited for, for a
    /// while. One whose answer was not read to its end is closed by hyper, and never gets ready.
    fn drop(&mut self) {
        let Some((single, place)) = self.connection.take() else { return };
        if single.sender.is_ready() {
            self.pool.put(single);
        } else if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(put_when_ready(Arc::clone(&self.pool), single, place));
        }
    }
}

async fn put_when_ready(pool: Arc<Pool>, mut single: Single, place: OwnedSemaphorePermit) {
    match pool.clock.timeout(LINGER, single.sender.ready()).await {
        Ok(Ok(())) => pool.put(single),
        Ok(Err(_closed)) => {}
        Err(_elapsed) => single.driver.abort(),
    }
    drop(place);
}

impl Pool {
    pub(super) fn new(connector: Connector, config: &Config, clock: &Clock) -> Self {
        let clear = connector.origin().scheme() == Scheme::Http;
        let most = config.max_connections_per_host.min(Semaphore::MAX_PERMITS);
        let speaks = if clear || !config.http2 { Speaks::Http1 } else { Speaks::Unknown };
        Self {
            connector,
            clock: clock.clone(),
            wait: config.connect_timeout,
            idle_timeout: config.idle_timeout,
            slots: Arc::new(Semaphore::new(most)),
            streams: Arc::new(Semaphore::new(SHARED * STREAMS)),
            gate: tokio::sync::Mutex::new(()),
            state: Mutex::new(State {
                speaks,
                idle: Vec::new(),
                shared: Vec::new(),
                sweeping: false,
            }),
        }
    }

    /// Where its connections lead.
    pub(super) const fn connector(&self) -> &Connector {
        &self.connector
    }

    /// A connection for one request. With `fresh`, an idle HTTP/1.1 connection is not trusted.
    ///
    /// # Errors
    /// [`Cause::Busy`] if no place came free within the connect time-out; else why there is no
    /// connection. Nothing was sent.
    pub(super) async fn checkout(self: &Arc<Self>, fresh: bool) -> Result<Lease, Cause> {
        let place = self.place().await?;
        let place = match self.reuse(place, fresh) {
            Ok(lease) => return Ok(lease),
            Err(place) => place,
        };
        if self.state().speaks == Speaks::Http1 {
            return self.open(place).await;
        }
        let gate = self.clock.timeout(self.wait, self.gate.lock()).await;
        let gate = gate.map_err(|_elapsed| Cause::ConnectTimeout)?;
        // Whoever held the gate before may have left what was wanted.
        let place = match self.reuse(place, fresh) {
            Ok(lease) => return Ok(lease),
            Err(place) => place,
        };
        if self.state().speaks == Speaks::Http1 {
            drop(gate);
            return self.open(place).await;
        }
        let opened = self.open(place).await;
        drop(gate);
        opened
    }

    /// Lets go of the connections that ended, and so of what is still queued for them.
    pub(super) fn forget_ended(&self) {
        self.state().sweep(self.clock.now(), self.idle_timeout);
    }

    /// Takes an HTTP/1.1 connection back when the answer's body, with which the claim goes, ends.
    pub(super) fn give_back(
        self: &Arc<Self>,
        single: Single,
        place: OwnedSemaphorePermit,
    ) -> Claim {
        Claim::Single { _back: Back { pool: Arc::clone(self), connection: Some((single, place)) } }
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, Cause> {
        let places = match self.state().speaks {
            Speaks::Http2 => &self.streams,
            Speaks::Http1 | Speaks::Unknown => &self.slots,
        };
        let place = self.clock.timeout(self.wait, Arc::clone(places).acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or(Cause::Busy)
    }

    /// A connection that is there already; gives the place back if there is none.
    fn reuse(
        &self,
        place: OwnedSemaphorePermit,
        fresh: bool,
    ) -> Result<Lease, OwnedSemaphorePermit> {
        let now = self.clock.now();
        let mut state = self.state();
        state.sweep(now, self.idle_timeout);
        if let Some(trunk) = state.shared.iter_mut().find(|trunk| trunk.load() < STREAMS) {
            trunk.used = now;
            let claim = Claim::Shared { _place: place, _stream: Arc::clone(&trunk.streams) };
            return Ok(Lease::Shared(trunk.shared.clone(), claim));
        }
        match state.idle.pop() {
            // The oldest would be evicted; which one goes makes no difference to a new one.
            Some(_closed) if fresh => Err(place),
            Some(idle) => Ok(Lease::Single(idle.single, place)),
            None => Err(place),
        }
    }

    async fn open(self: &Arc<Self>, place: OwnedSemaphorePermit) -> Result<Lease, Cause> {
        // Boxed, for it is rare and large: requests that find a connection need not carry it.
        let opened = Box::pin(async { wire::open(self.connector.connect().await?).await });
        match opened.await? {
            Opened::Single(single) => {
                self.state().speaks = Speaks::Http1;
                Ok(Lease::Single(single, place))
            }
            Opened::Shared(shared) => {
                let streams = Arc::new(());
                let claim = Claim::Shared { _place: place, _stream: Arc::clone(&streams) };
                let trunk = Trunk { shared: shared.clone(), streams, used: self.clock.now() };
                self.share(trunk);
                Ok(Lease::Shared(shared, claim))
            }
        }
    }

    fn put(self: &Arc<Self>, single: Single) {
        let since = self.clock.now();
        self.state().idle.push(Idle { single, since });
        self.sweep_later();
    }

    fn share(self: &Arc<Self>, trunk: Trunk) {
        let mut state = self.state();
        state.speaks = Speaks::Http2;
        // One too many serves its one request, and ends with it.
        if state.shared.len() < SHARED {
            state.shared.push(trunk);
        }
        drop(state);
        self.sweep_later();
    }

    /// Starts the one task that closes what is unused for too long; it ends with the last
    /// connection, or with the pool. No exchange hangs on it, so shutdown need not wait for it.
    fn sweep_later(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if std::mem::replace(&mut self.state().sweeping, true) {
            return;
        }
        let (pool, clock, pause) =
            (Arc::downgrade(self), self.clock.clone(), self.idle_timeout / 2);
        runtime.spawn(async move {
            loop {
                clock.sleep(pause).await;
                let Some(pool) = pool.upgrade() else { return };
                let mut state = pool.state();
                state.sweep(clock.now(), pool.idle_timeout);
                state.sweeping = !(state.idle.is_empty() && state.shared.is_empty());
                if !state.sweeping {
                    return;
                }
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
