//! What is counted of finishing. Rules are named by the policy, everything else by this code.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::family::Counters;
use super::{Metrics, gauge};

pub(super) struct Counts {
    held: Gauge,
    bytes: Gauge,
    attempts: Counters<2>,
    dropped: Counters<1>,
}

impl Counts {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let held = "Operations in doubt whose requests are held, to be asked again";
        let bytes = Gauge::default();
        let size = "Bytes of those requests";
        registry.register_with_unit("finishing", size, Unit::Bytes, bytes.clone());
        let attempts = "Times that an operation in doubt was to be asked for again with nobody \
            waiting, by rule and what came of it";
        let dropped = "Requests of operations in doubt that are not held (any more), by why";
        let dropped = Counters::register(registry, "finishing_dropped", dropped, ["reason"]);
        for reason in ["full", "shutdown", "horizon", "policy"] {
            dropped.expect([reason.into()]);
        }
        Self {
            held: gauge(registry, "finishing_held", held),
            bytes,
            attempts: Counters::register(
                registry,
                "finishing_attempts",
                attempts,
                ["rule", "result"],
            ),
            dropped,
        }
    }
}

impl Metrics {
    /// So many requests, of so many bytes, are held to be asked again.
    pub fn finishing_holds(&self, operations: usize, bytes: usize) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.0.finishing.held.set(count(operations));
        self.0.finishing.bytes.set(count(bytes));
    }

    /// A step of finishing came to `succeeded`, `declined`, `unknown`, `not_sent` (nothing of it was
    /// executed) or `overtaken` (somebody else has asked, or is asking).
    pub fn finishing_attempt(&self, rule: &str, result: &'static str) {
        self.bound(self.0.finishing.attempts.add([rule.into(), result.into()]));
    }

    /// So many were dropped: `full`, `shutdown`, `horizon` or `policy`. They are in doubt as before.
    pub fn finishing_dropped(&self, reason: &'static str, operations: usize) {
        for _ in 0..operations {
            self.0.finishing.dropped.add([reason.into()]);
        }
    }
}
