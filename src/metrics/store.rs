//! What is counted of the store: calls, failures, whether it answers, whether it forgets.

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::family::{Counters, Durations};
use super::{Metrics, gauge};

pub(super) struct Counts {
    errors: Counters<1>,
    time: Durations<1>,
    forgot: Counters<1>,
    breaker: Counters<1>,
    up: Gauge,
}

impl Counts {
    pub(super) fn register(r: &mut Registry) -> Self {
        let errors = "Failed calls of the store, by kind";
        let time = "Calls of the store that were answered, by which";
        let forgot = "Signs that the store lost records, by sign";
        let breaker = "Times that calls of a server of the store were suspended, and resumed";
        Self {
            errors: Counters::register(r, "ledger_errors", errors, ["kind"]),
            time: Durations::register(r, "ledger_round_trip", time, ["call"], buckets),
            forgot: Counters::register(r, "store_forgot", forgot, ["sign"]),
            breaker: Counters::register(r, "store_breaker", breaker, ["change"]),
            up: gauge(r, "store_up", "Whether the last call of the store was answered"),
        }
    }
}

impl Metrics {
    /// A call of the store failed.
    pub fn ledger_error(&self, kind: &'static str) {
        self.bound(self.0.store.errors.add([kind.into()]));
    }

    /// A call of the store (`claim`, `replace`…) was answered.
    pub fn ledger_round_trip(&self, call: &'static str, took: Duration) {
        self.bound(self.0.store.time.observe([call.into()], took));
    }

    /// Whether the last call of the store was answered.
    pub fn store_up(&self, up: bool) {
        self.0.store.up.set(i64::from(up));
    }

    /// A sign was seen that the store lost records.
    pub fn store_forgot(&self, sign: &'static str) {
        self.bound(self.0.store.forgot.add([sign.into()]));
    }

    /// Calls of a server of the store are suspended, because it does not answer, or resumed.
    pub fn store_breaker(&self, opened: bool) {
        let change = if opened { "opened" } else { "closed" };
        self.bound(self.0.store.breaker.add([change.into()]));
    }
}

/// From a memory's reach to the store's time-out.
fn buckets() -> Histogram {
    Histogram::new([0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0])
}
