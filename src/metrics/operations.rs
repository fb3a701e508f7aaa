//! What is counted of critical operations: decided, merged, repeated, told, in doubt.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::family::Counters;
use super::{Metrics, counter, gauge};

pub(super) struct Counts {
    operations: Counters<2>,
    rows: Counters<1>,
    merges: Counters<1>,
    repeats: Counters<1>,
    forgotten: Counters<1>,
    in_doubt: Counters<1>,
    degraded: Counters<1>,
    alarms: Counters<1>,
    deliveries: Counters<1>,
    findings: Counters<2>,
    records: Counters<1>,
    abandoned: Counter,
    in_flight: Gauge,
}

impl Counts {
    pub(super) fn register(r: &mut Registry) -> Self {
        let operations = "Critical requests, by rule and what they came to";
        let merges =
            "Requests answered with another request's outcome, by how they were recognised";
        let repeats = "Operations that happened again because they were asked for again, by rule";
        let forgotten = "Operations that only the provider still remembered, by rule";
        let in_doubt = "Operations whose outcome was not known when payonce gave up, by rule";
        let degraded = "Operations that went on with less safety than usual, by why";
        let deliveries = "Answers of operations, by whether the client got them";
        let findings = "What observing requests brought to light, by rule and kind";
        let records = "Lines for the record of decisions, by what became of them";
        let alarms = "What must never happen, by kind";
        Self {
            operations: Counters::register(r, "operations", operations, ["rule", "outcome"]),
            rows: Counters::register(r, "decisions", "Decisions, by the table's row", ["row"]),
            merges: Counters::register(r, "merges", merges, ["kind"]),
            repeats: Counters::register(r, "repeats", repeats, ["rule"]),
            forgotten: Counters::register(r, "forgotten", forgotten, ["rule"]),
            in_doubt: Counters::register(r, "in_doubt", in_doubt, ["rule"]),
            degraded: Counters::register(r, "degraded", degraded, ["reason"]),
            alarms: Counters::register(r, "alarms", alarms, ["kind"]),
            deliveries: Counters::register(r, "deliveries", deliveries, ["delivered"]),
            findings: Counters::register(r, "observed_findings", findings, ["rule", "kind"]),
            records: Counters::register(r, "record_lines", records, ["result"]),
            abandoned: counter(r, "abandoned", "Open operations that safe retention ended"),
            in_flight: gauge(r, "operations_in_flight", "Requests that are being answered"),
        }
    }
}

impl Metrics {
    /// What a critical request came to: `succeeded`, `declined`, `in_doubt`, `not_executed`; `observed`
    /// where it was only looked at.
    pub fn operation(&self, rule: &str, outcome: &'static str) {
        self.bound(self.0.operations.operations.add([rule.into(), outcome.into()]));
    }

    /// Shows these rows from the start, each at zero.
    pub fn expect_rows(&self, rows: impl IntoIterator<Item = &'static str>) {
        for row in rows {
            self.0.operations.rows.expect([row.into()]);
        }
    }

    /// A row of the tables of DESIGN §4 decided: `A1`…`A16`, or a row of the outcomes.
    pub fn row(&self, row: &'static str) {
        self.bound(self.0.operations.rows.add([row.into()]));
    }

    /// A request got another's outcome: `content`, `fields`, `header`, `own_key`, `joined`…
    pub fn merge(&self, kind: &'static str) {
        self.bound(self.0.operations.merges.add([kind.into()]));
    }

    /// An operation happened again, as it was meant to.
    pub fn repeat(&self, rule: &str) {
        self.bound(self.0.operations.repeats.add([rule.into()]));
    }

    /// Only the provider remembered an operation.
    pub fn forgotten(&self, rule: &str) {
        self.bound(self.0.operations.forgotten.add([rule.into()]));
    }

    /// payonce gave up on an operation whose outcome is not known.
    pub fn in_doubt(&self, rule: &str) {
        self.bound(self.0.operations.in_doubt.add([rule.into()]));
    }

    /// Safe retention ended an open operation.
    pub fn abandoned(&self) {
        self.0.operations.abandoned.inc();
    }

    /// An operation went on with less safety than usual.
    pub fn degraded(&self, reason: &'static str) {
        self.bound(self.0.operations.degraded.add([reason.into()]));
    }

    /// Something happened that must never happen.
    pub fn alarm(&self, kind: &'static str) {
        self.bound(self.0.operations.alarms.add([kind.into()]));
    }

    /// Whether an operation's answer reached its client.
    pub fn delivery(&self, reached: bool) {
        let delivered = if reached { "yes" } else { "lost" };
        self.bound(self.0.operations.deliveries.add([delivered.into()]));
    }

    /// Observing a request brought this to light: a finding, or `missing_key`.
    pub fn finding(&self, rule: &str, kind: &'static str) {
        self.bound(self.0.operations.findings.add([rule.into(), kind.into()]));
    }

    /// A line for the record was `written`, `dropped` or `failed`.
    pub fn record_lines(&self, result: &'static str, lines: usize) {
        let (counter, own) = self.0.operations.records.series([result.into()]);
        counter.inc_by(u64::try_from(lines).unwrap_or(u64::MAX));
        self.bound(own);
    }

    /// A request is being answered until the guard is dropped.
    #[must_use]
    pub fn in_flight(&self) -> Counting {
        Counting::new(&self.0.operations.in_flight)
    }
}

/// Counts as one while it lives.
#[derive(Debug)]
pub struct Counting(Gauge);

impl Counting {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.0.dec();
    }
}
