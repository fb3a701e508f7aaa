//! A TCP relay in this process that does to connections what networks do.
//!
//! It stands before Redis or before the provider, runs on a thread of its own (so that a test may
//! block), listens on a free loopback port and obeys a [`Script`] that may change at any time; the
//! change holds for connections that live, too. It knows nothing of what it carries.
//!
//! ```text
//! let relay = Relay::start(redis.addr());
//! relay.set(Script { up: Way::late(Duration::from_millis(5)), ..Script::default() });
//! relay.end_all(End::Reset);
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

mod carry;
mod script;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::watch;

pub(crate) use script::{Accept, Cut, Direction, Drip, End, Flow, Script, Way};

use crate::port::Port;

/// What a relay records at most, over all connections, in bytes; then it only counts.
const MOST_RECORDED: usize = 64 << 20;

/// A relay. It ends, and all its connections with it, when it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// What a relay is told through, from any thread. Clones share it, and may outlive it.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    addr: SocketAddr,
    state: watch::Sender<State>,
    seen: Arc<Mutex<Account>>,
}

/// What is in force.
#[derive(Clone, Copy, Debug)]
struct State {
    target: SocketAddr,
    script: Script,
    /// Grows with each script: counts of bytes begin anew then.
    version: u64,
    /// Grows with each order to end all, and how.
    ended: (u64, End),
    /// Grows with each order to half-close, for each direction.
    half_closed: [u64; 2],
    recording: bool,
    over: bool,
}

/// What happened so far.
#[derive(Debug, Default)]
struct Account {
    bytes: [usize; 2],
    accepted: u64,
    live: usize,
    cuts: u64,
    recorded: Vec<Chunk>,
    held: usize,
}

/// Bytes that were handed on in one piece.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    /// The connection, counted from 1 in the order of accepting.
    pub(crate) connection: u64,
    /// Which way they went.
    pub(crate) direction: Direction,
    /// When they were about to be handed on.
    pub(crate) at: Instant,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Relay {
    /// A relay to `target` that does no harm yet.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let port = Port::free();
        let (sender, state) = watch::channel(State {
            target,
            script: Script::default(),
            version: 0,
            ended: (0, End::Reset),
            half_closed: [0; 2],
            recording: false,
            over: false,
        });
        let handle = Handle { addr: port.addr(), state: sender, seen: Arc::default() };
        let (seen, script) = (Arc::clone(&handle.seen), handle.state.clone());
        let listener = port.listen();
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(carry::serve(port, listener, state, script, seen));
        });
        Self { handle, thread: Some(thread.unwrap()) }
    }

    /// Something to steer it with from elsewhere.
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.handle.state.send_modify(|state| state.over = true);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl std::ops::Deref for Relay {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Handle {
    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where new connections are carried to from now on. Those that live stay where they are.
    pub(crate) fn toward(&self, target: SocketAddr) {
        self.state.send_modify(|state| state.target = target);
    }

    /// What it does from now on, to connections that live as well.
    pub(crate) fn set(&self, script: Script) {
        self.state.send_modify(|state| {
            state.script = script;
            state.version += 1;
        });
    }

    /// What it does now. A [`Cut`] that was to happen once is gone when it has happened.
    pub(crate) fn script(&self) -> Script {
        self.state.borrow().script
    }

    /// Does no harm any more. Connections that lost bytes are reset.
    pub(crate) fn heal(&self) {
        self.set(Script::default());
    }

    /// Ends all connections that live.
    pub(crate) fn end_all(&self, how: End) {
        self.state.send_modify(|state| state.ended = (state.ended.0 + 1, how));
    }

    /// Closes all connections that live in one direction: the receiver reads their end, and nothing
    /// more is carried that way.
    pub(crate) fn half_close(&self, direction: Direction) {
        self.state.send_modify(|state| state.half_closed[direction.index()] += 1);
    }

    /// Whether to record what is carried, from now on.
    pub(crate) fn record(&self, on: bool) {
        self.state.send_modify(|state| state.recording = on);
    }

    /// Everything recorded, in order, and forgets it.
    pub(crate) fn recorded(&self) -> Vec<Chunk> {
        let mut seen = self.seen.lock().unwrap();
        seen.held = 0;
        std::mem::take(&mut seen.recorded)
    }

    /// How many bytes were handed on in a direction.
    pub(crate) fn bytes(&self, direction: Direction) -> usize {
        self.seen.lock().unwrap().bytes[direction.index()]
    }

    /// How many connections were accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.seen.lock().unwrap().accepted
    }

    /// How many of them live.
    pub(crate) fn live(&self) -> usize {
        self.seen.lock().unwrap().live
    }

    /// How many were cut by a [`Cut`].
    pub(crate) fn cuts(&self) -> u64 {
        self.seen.lock().unwrap().cuts
    }
}
