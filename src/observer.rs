//! Who looks on: what is remembered of observed operations, what came to light, what is recorded.
//!
//! Nothing here touches a request. What an observed request would have come to is decided in
//! [`observe`](crate::decide::observe), by records that are kept in this process alone, for a day
//! and within a bound: another process, or this one before its start, is not seen.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::decide::digest::OperationId;
use crate::decide::observe::{self, Ended, Finding, Keep, Opinion, Request};
use crate::decide::operation::record::Record;
use crate::metrics::Metrics;
use crate::recent::Bounded;
use crate::recording::Recorder;

pub mod tee;

/// How many operations are remembered; the one not asked for the longest is forgotten first.
const MOST_OPERATIONS: usize = 32_768;
/// How long, at most. Then Stripe forgets a key as well.
const KEPT: Duration = Duration::from_hours(24);
/// How many answers may be waited for at one time, until it is known whether they were delivered.
const MOST_WAITING: usize = 16_384;

/// The memory and the record of one process. Clones share them.
#[derive(Clone)]
pub struct Observer(Arc<Inner>);

struct Inner {
    memory: Mutex<Bounded<OperationId, Record>>,
    waiting: AtomicUsize,
    recorder: Option<Recorder>,
    metrics: Metrics,
}

impl Observer {
    /// One that remembers nothing yet; it records if there is a `recorder`.
    #[must_use]
    pub fn new(metrics: Metrics, recorder: Option<Recorder>) -> Self {
        let memory = Mutex::new(Bounded::new(MOST_OPERATIONS, KEPT));
        Self(Arc::new(Inner { memory, waiting: AtomicUsize::new(0), recorder, metrics }))
    }

    /// Where decisions are written, if anywhere.
    #[must_use]
    pub fn recorder(&self) -> Option<&Recorder> {
        self.0.recorder.as_ref()
    }

    /// Judges an observed request on arrival.
    #[must_use]
    pub fn arrive(&self, request: &Request, now: Timestamp) -> Opinion {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let (opinion, keep) = observe::arrive(memory.get(&request.operation, now), request, now);
        remember(&mut memory, request.operation, keep, now);
        opinion
    }

    /// Learns that it has its answer.
    pub fn answered(&self, request: &Request, opinion: &Opinion, declined: bool, now: Timestamp) {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let found = memory.get(&request.operation, now);
        let keep = observe::answered(found, request, opinion, declined, now);
        remember(&mut memory, request.operation, keep, now);
    }

    /// Learns what became of it.
    pub fn end(
        &self,
        request: &Request,
        opinion: Opinion,
        ended: &Ended,
        now: Timestamp,
    ) -> (Opinion, Option<Finding>) {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let found = memory.get(&request.operation, now);
        let (opinion, finding, keep) = observe::end(found, request, opinion, ended, now);
        remember(&mut memory, request.operation, keep, now);
        (opinion, finding)
    }

    /// A place to wait for a delivery; `None` if as many are waited for as may be.
    #[must_use]
    pub fn wait(&self) -> Option<Waiting> {
        let waiting = Waiting(self.clone());
        if self.0.waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING {
            return Some(waiting);
        }
        self.0.metrics.limit_reached("observed_answers");
        None
    }
}

fn remember(
    memory: &mut Bounded<OperationId, Record>,
    operation: OperationId,
    keep: Keep,
    now: Timestamp,
) {
    match keep {
        Keep::Same => {}
        Keep::This(record) => memory.insert(operation, *record, now),
        Keep::Nothing => memory.remove(&operation),
    }
}

/// Waits for one delivery while it lives.
pub struct Waiting(Observer);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}
