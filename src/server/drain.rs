//! The end: what a signal starts, what is waited for, and what is left when the time is up.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::tasks::Tasks;
use crate::clock::Clock;

/// The two ways to ask for an end.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Stop accepting and drain.
    pub first: CancellationToken,
    /// End at once.
    pub second: CancellationToken,
}

impl Shutdown {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) async fn first_or_second(&self) {
        tokio::select! {
            () = self.first.cancelled() => {}
            () = self.second.cancelled() => self.first.cancel(),
        }
    }
}

/// Cancels `first` at the first SIGTERM or SIGINT and `second` at the next, then returns.
///
/// # Errors
/// If the handlers cannot be installed; signals have their default effect then.
pub async fn signals(first: CancellationToken, second: CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    for token in [first, second] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
    }
    Ok(())
}

/// What was left when the drain ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Connections that were dropped, perhaps before their answer was sent.
    pub connections: usize,
    /// Tasks that still ran: operations that are in doubt now.
    pub tasks: usize,
}

impl Summary {
    /// With what was left at another server.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            connections: self.connections.saturating_add(other.connections),
            tasks: self.tasks.saturating_add(other.tasks),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("drained: nothing was left");
        }
        write!(
            f,
            "the drain ended early: {} connections were dropped and {} tasks were left; the \
             outcome of an operation among them is unknown: the same request again, with the same \
             key if it bore one, is safe; a single call is to be looked up at Stripe first",
            self.connections, self.tasks
        )
    }
}

/// Waits for connections, then for the tasks they leave, until `limit` or `second`.
pub(super) async fn drain(
    connections: &Tasks,
    tasks: &Tasks,
    limit: Duration,
    clock: &Clock,
    second: &CancellationToken,
) -> Summary {
    let everything = async {
        connections.drained().await;
        tasks.drained().await;
    };
    tokio::select! {
        // Either way the counts below tell what is left.
        _ = clock.timeout(limit, everything) => {}
        () = second.cancelled() => {}
    }
    Summary { connections: connections.running(), tasks: tasks.running() }
}
