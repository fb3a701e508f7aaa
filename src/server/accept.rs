//! The accept loop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::listen::Listener;
use super::{Limits, Serve, Tasks, connection};
use crate::clock::Clock;

/// What the connections of one server share.
pub(super) struct Host<S> {
    pub(super) serve: S,
    pub(super) limits: Limits,
    pub(super) clock: Clock,
    pub(super) room: Arc<Semaphore>,
    pub(super) counts: Arc<Counts>,
    pub(super) connections: Tasks,
    pub(super) drain: CancellationToken,
    pub(super) kill: CancellationToken,
}

/// What a server has counted since it was bound.
#[derive(Debug, Default)]
pub struct Counts {
    accepted: AtomicU64,
    waited_for_room: AtomicU64,
    accept_errors: AtomicU64,
}

impl Counts {
    /// Connections accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How often a new connection had to wait because the limit was reached.
    #[must_use]
    pub fn waited_for_room(&self) -> u64 {
        self.waited_for_room.load(Ordering::Relaxed)
    }

    /// Failed accepts: too many open files, most often.
    #[must_use]
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }
}

/// Accepts connections until the drain begins; the listener is closed then.
pub(super) async fn accept<S: Serve>(listener: Listener, host: Arc<Host<S>>) {
    let endless = async {
        let mut failures = 0;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    failures = 0;
                    let Some(room) = room(&host).await else { return };
                    host.counts.accepted.fetch_add(1, Ordering::Relaxed);
                    let serving = connection::serve(stream, peer, Arc::clone(&host));
                    host.connections.spawn(async move {
                        serving.await;
                        drop(room);
                    });
                }
                Err(error) => {
                    host.counts.accept_errors.fetch_add(1, Ordering::Relaxed);
                    failures += 1;
                    back_off(&error, failures, &host.clock).await;
                }
            }
        }
    };
    tokio::select! {
        () = endless => {}
        () = host.drain.cancelled() => {}
    }
}

/// Waits for a place among the connections. What waits here is one accepted connection for each
/// listener; the rest wait in the kernel's queue.
async fn room<S>(host: &Host<S>) -> Option<OwnedSemaphorePermit> {
    if let Ok(room) = Arc::clone(&host.room).try_acquire_owned() {
        return Some(room);
    }
    let times = host.counts.waited_for_room.fetch_add(1, Ordering::Relaxed) + 1;
    // The counter has them all; the log must not grow with the load.
    if times.is_power_of_two() {
        tracing::warn!(
            limit = host.limits.connections,
            times,
            "the limit of client connections is reached; new ones wait, nothing of them was read"
        );
    }
    // The semaphore is never closed.
    Arc::clone(&host.room).acquire_owned().await.ok()
}

/// A client that gave up before it was accepted is no reason to wait; too many open files is.
async fn back_off(error: &io::Error, failures: u32, clock: &Clock) {
    if matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    ) {
        return;
    }
    let wait = Duration::from_millis(10 << failures.min(7));
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    tracing::warn!(%error, wait_ms, "cannot accept connections; clients wait, nothing was read");
    clock.sleep(wait).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[tokio::test]
    async fn too_many_open_files_makes_accepting_wait_longer_each_time_up_to_a_limit() {
        let clock = Clock::driven(Timestamp::from_millis(0), 100);
        let too_many_files = io::Error::from_raw_os_error(24);
        for (failures, least) in [(1, 20), (3, 80), (7, 1_280), (1_000, 1_280)] {
            let before = clock.now();
            back_off(&too_many_files, failures, &clock).await;
            assert!(clock.now().since(before) >= Duration::from_millis(least));
        }
    }

    #[tokio::test]
    async fn a_client_that_gave_up_keeps_nobody_waiting() {
        let clock = Clock::driven(Timestamp::from_millis(0), 1);
        let before = clock.now();
        back_off(&io::ErrorKind::ConnectionAborted.into(), 1_000, &clock).await;
        assert!(clock.now().since(before) < Duration::from_secs(1));
    }
}
