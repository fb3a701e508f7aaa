//! What is counted, by name. Not global: whoever counts is handed a [`Metrics`].
//!
//! Labels are words fixed in the code, names of the policy's rules, or the number of an SDK's major
//! version, never anything else of a request: their number is bounded, and nothing in them is
//! private.

mod family;
mod finish;
mod trace;
mod webhook;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::decide::agent::{Sdk, Version};
use family::{Counters, Durations};

/// All counters of one payonce. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    operations: Counters<2>,
    rows: Counters<1>,
    retries: Counters<1>,
    refusals: Counters<1>,
    attempts: Counters<2>,
    merges: Counters<1>,
    degraded: Counters<1>,
    ledger_errors: Counters<1>,
    ledger_time: Durations<1>,
    alarms: Counters<1>,
    limits: Counters<1>,
    passthrough: Counters<1>,
    deliveries: Counters<1>,
    repeats: Counters<1>,
    forgotten: Counters<1>,
    in_doubt: Counters<1>,
    sdks: Counters<2>,
    client_rules: Counters<2>,
    store_forgot: Counters<1>,
    store_breaker: Counters<1>,
    guard: Counters<3>,
    credential: Counters<1>,
    abandoned: Counter,
    policy: Family<[(&'static str, String); 1], Gauge>,
    policy_refused: Counter,
    policy_audit_failed: Counter,
    in_flight: Gauge,
    findings: Counters<2>,
    records: Counters<1>,
    spans: Counters<1>,
    webhooks: webhook::Counts,
    finishing: finish::Counts,
    requests: Durations<2>,
}

impl Metrics {
    /// Counters that all stand at zero.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a list of names; nothing is decided here")]
    pub fn new() -> Self {
        let mut all = Registry::default();
        let requests = Durations::register(
            &mut all,
            // The name and labels that OpenTelemetry gives to this measure.
            "http_server_request_duration_seconds",
            "From a request's head to its answer's head",
            ["http_request_method", "http_response_status_code"],
            request_buckets,
        );
        let r = all.sub_registry_with_prefix("payonce");
        let inner = Inner {
            requests,
            operations: Counters::register(
                r,
                "operations",
                "Critical requests answered, by rule and Payonce-Outcome",
                ["rule", "outcome"],
            ),
            rows: Counters::register(r, "decisions", "Decisions, by the table's row", ["row"]),
            retries: Counters::register(
                r,
                "retries",
                "Attempts after the first, by why",
                ["reason"],
            ),
            refusals: Counters::register(
                r,
                "refusals",
                "Requests that payonce itself answered with an error, by its code",
                ["code"],
            ),
            attempts: Counters::register(
                r,
                "upstream_attempts",
                "Requests sent upstream, by host and result",
                ["host", "result"],
            ),
            merges: Counters::register(
                r,
                "merges",
                "Requests answered with another request's outcome, by how they were recognised",
                ["kind"],
            ),
            degraded: Counters::register(
                r,
                "degraded",
                "Operations that went on with less safety than usual, by why",
                ["reason"],
            ),
            ledger_errors: Counters::register(
                r,
                "ledger_errors",
                "Failed calls of the store, by kind",
                ["kind"],
            ),
            ledger_time: Durations::register(
                r,
                "ledger_round_trip_seconds",
                "Calls of the store, by which",
                ["call"],
                ledger_buckets,
            ),
            alarms: Counters::register(r, "alarms", "What must never happen, by kind", ["kind"]),
            limits: Counters::register(
                r,
                "limits_reached",
                "Limits that bound, by name",
                ["limit"],
            ),
            passthrough: Counters::register(
                r,
                "passthrough",
                "Requests that are not critical, by class of status",
                ["status"],
            ),
            deliveries: Counters::register(
                r,
                "deliveries",
                "Answers of operations, by whether the client got them",
                ["delivered"],
            ),
            repeats: Counters::register(
                r,
                "repeats",
                "Operations that happened again because they were asked for again, by rule",
                ["rule"],
            ),
            forgotten: Counters::register(
                r,
                "forgotten",
                "Operations that only the provider still remembered, by rule",
                ["rule"],
            ),
            in_doubt: Counters::register(
                r,
                "in_doubt",
                "Operations whose outcome was not known when payonce gave up, by rule",
                ["rule"],
            ),
            sdks: Counters::register(
                r,
                "sdk_requests",
                "Requests, by the SDK that the client names and its major version",
                ["sdk", "major"],
            ),
            client_rules: Counters::register(
                r,
                "client_rules",
                "Requests to which a [[client]] of the policy applied, by its name and what was done",
                ["rule", "done"],
            ),
            store_forgot: Counters::register(
                r,
                "store_forgot",
                "Signs that the store lost records, by sign",
                ["sign"],
            ),
            store_breaker: Counters::register(
                r,
                "store_breaker",
                "Times that calls of a server of the store were suspended, and resumed",
                ["change"],
            ),
            guard: Counters::register(
                r,
                "guard_findings",
                "What guards found in API keys and own keys, by rule, finding and what was done",
                ["rule", "finding", "done"],
            ),
            credential: Counters::register(
                r,
                "credential_reloads",
                "Changes of the file that holds the API key, by what came of them",
                ["result"],
            ),
            abandoned: counter(r, "abandoned", "Open operations that safe retention ended"),
            policy: family(r, "policy", "The policy in force, by version"),
            policy_refused: counter(r, "policy_refused", "Changed policies that were not taken"),
            policy_audit_failed: counter(
                r,
                "policy_audit_failed",
                "Loads of the policy that the audit log did not take",
            ),
            findings: Counters::register(
                r,
                "observed_findings",
                "What observing requests brought to light, by rule and kind",
                ["rule", "kind"],
            ),
            records: Counters::register(
                r,
                "record_lines",
                "Lines for the record of decisions, by what became of them",
                ["result"],
            ),
            spans: Counters::register(
                r,
                "trace_spans",
                "Spans of traces that were kept, by what became of them",
                ["result"],
            ),
            in_flight: gauge(r, "operations_in_flight", "Critical operations in flight"),
            webhooks: webhook::Counts::register(r),
            finishing: finish::Counts::register(r),
            registry: all,
        };
        Self(Arc::new(inner))
    }

    /// A critical request was answered. `outcome` as in `Payonce-Outcome`, or `refused`.
    pub fn operation(&self, rule: &str, outcome: &'static str) {
        self.bound(self.0.operations.add([rule.into(), outcome.into()]));
    }

    /// Shows these rows from the start, each at zero.
    pub fn expect_rows(&self, rows: impl IntoIterator<Item = &'static str>) {
        for row in rows {
            self.0.rows.expect([row.into()]);
        }
    }

    /// A row of the tables of DESIGN §4 decided: `A1`…`A16`, or a row of the outcomes.
    pub fn row(&self, row: &'static str) {
        self.bound(self.0.rows.add([row.into()]));
    }

    /// One more attempt was made.
    pub fn retry(&self, reason: &'static str) {
        self.bound(self.0.retries.add([reason.into()]));
    }

    /// payonce answered by itself, with this `payonce_…` code.
    pub fn refusal(&self, code: &'static str) {
        self.bound(self.0.refusals.add([code.into()]));
    }

    /// A request went upstream.
    pub fn upstream_attempt(&self, host: &'static str, result: &'static str) {
        self.bound(self.0.attempts.add([host.into(), result.into()]));
    }

    /// A request got another's outcome: `content`, `fields`, `header`, `own_key`, `joined`…
    pub fn merge(&self, kind: &'static str) {
        self.bound(self.0.merges.add([kind.into()]));
    }

    /// An operation went on with less safety than usual.
    pub fn degraded(&self, reason: &'static str) {
        self.bound(self.0.degraded.add([reason.into()]));
    }

    /// A call of the store failed.
    pub fn ledger_error(&self, kind: &'static str) {
        self.bound(self.0.ledger_errors.add([kind.into()]));
    }

    /// A call of the store (`claim`, `replace`…) was answered.
    pub fn ledger_round_trip(&self, call: &'static str, took: Duration) {
        self.bound(self.0.ledger_time.observe([call.into()], took));
    }

    /// Something happened that must never happen.
    pub fn alarm(&self, kind: &'static str) {
        self.bound(self.0.alarms.add([kind.into()]));
    }

    /// A limit bound; `limit` is its setting's name where it is one.
    pub fn limit_reached(&self, limit: &'static str) {
        // There are far fewer limits than series, so this one needs no bound.
        self.0.limits.add([limit.into()]);
    }

    /// A request that is not critical was answered.
    pub fn passthrough(&self, status: StatusCode) {
        self.bound(self.0.passthrough.add([class(status).into()]));
    }

    /// Whether an operation's answer reached its client.
    pub fn delivery(&self, reached: bool) {
        let delivered = if reached { "yes" } else { "lost" };
        self.bound(self.0.deliveries.add([delivered.into()]));
    }

    /// An operation happened again, as it was meant to.
    pub fn repeat(&self, rule: &str) {
        self.bound(self.0.repeats.add([rule.into()]));
    }

    /// Only the provider remembered an operation.
    pub fn forgotten(&self, rule: &str) {
        self.bound(self.0.forgotten.add([rule.into()]));
    }

    /// payonce gave up on an operation whose outcome is not known.
    pub fn in_doubt(&self, rule: &str) {
        self.bound(self.0.in_doubt.add([rule.into()]));
    }

    /// What counts the requests of an SDK: a series for each major version, up to a limit.
    #[must_use]
    pub fn sdk(&self, sdk: Option<Sdk>, version: Option<Version>) -> Count {
        let major = version.map_or(Cow::Borrowed("unknown"), |it| it.major().to_string().into());
        let (counter, own) = self.0.sdks.series([sdk.map_or("unknown", Sdk::as_str).into(), major]);
        self.bound(own);
        Count(counter)
    }

    /// A `[[client]]` of the policy applied: `report`, `warn`, `refuse`, or `observed` where it
    /// would have.
    pub fn client_rule(&self, rule: &str, done: &'static str) {
        self.bound(self.0.client_rules.add([rule.into(), done.into()]));
    }

    /// A sign was seen that the store lost records.
    pub fn store_forgot(&self, sign: &'static str) {
        self.bound(self.0.store_forgot.add([sign.into()]));
    }

    /// Calls of a server of the store are suspended, because it does not answer, or resumed.
    pub fn store_breaker(&self, opened: bool) {
        let change = if opened { "opened" } else { "closed" };
        self.bound(self.0.store_breaker.add([change.into()]));
    }

    /// A guard found something in a request of this rule, and this was done about it.
    pub fn guard(&self, rule: &str, finding: &'static str, done: &'static str) {
        self.bound(self.0.guard.add([rule.into(), finding.into(), done.into()]));
    }

    /// The file that holds the API key was read anew: `taken`, `refused` or `mended`.
    pub fn credential(&self, result: &'static str) {
        self.bound(self.0.credential.add([result.into()]));
    }

    /// Safe retention ended an open operation.
    pub fn abandoned(&self) {
        self.0.abandoned.inc();
    }

    /// This version of the policy is in force now, and no other.
    pub fn policy_info(&self, version: &str) {
        self.0.policy.clear();
        self.0.policy.get_or_create(&[("version", version.to_owned())]).set(1);
    }

    /// A changed policy was not taken, and the former one stays in force.
    pub fn policy_refused(&self) {
        self.0.policy_refused.inc();
    }

    /// A load of the policy could not be written to the audit log.
    pub fn policy_audit_failed(&self) {
        self.0.policy_audit_failed.inc();
    }

    /// Observing a request brought this to light: a finding, or `missing_key`.
    pub fn finding(&self, rule: &str, kind: &'static str) {
        self.bound(self.0.findings.add([rule.into(), kind.into()]));
    }

    /// A line for the record was `written`, `dropped` or `failed`.
    pub fn record_lines(&self, result: &'static str, lines: usize) {
        for _ in 0..lines {
            self.0.records.add([result.into()]);
        }
    }

    /// A critical operation is in flight until the guard is dropped.
    #[must_use]
    pub fn in_flight(&self) -> Counting {
        Counting::new(&self.0.in_flight)
    }

    /// A request was answered, by whomever.
    pub fn request(&self, method: &Method, status: StatusCode, took: Duration) {
        let status = Cow::Owned(status.as_u16().to_string());
        self.bound(self.0.requests.observe([known(method).into(), status], took));
    }

    /// Everything in the text form of `OpenMetrics`,
    /// `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        match text::encode(&mut out, &self.0.registry) {
            Ok(()) => out,
            // Writing to a string fails only if a metric's own encoding is wrong: show none of it.
            Err(fmt::Error) => "# EOF\n".to_owned(),
        }
    }

    fn bound(&self, own: bool) {
        if !own {
            self.limit_reached("metric_series");
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// One series of a counter, at hand.
#[derive(Clone)]
pub struct Count(Counter);

impl Count {
    /// Counts one more.
    pub fn one(&self) {
        self.0.inc();
    }
}

impl fmt::Debug for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Count")
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

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

fn family(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> Family<[(&'static str, String); 1], Gauge> {
    let family = Family::default();
    registry.register(name, help, family.clone());
    family
}

/// The buckets that OpenTelemetry names, and two up to the deadline of a critical request.
fn request_buckets() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 80.0,
    ])
}

/// From a memory's reach to the store's time-out.
fn ledger_buckets() -> Histogram {
    Histogram::new([0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0])
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _beyond_http => "other",
    }
}

/// A method by name, if it is one that anybody uses: a client may send any word.
pub(crate) fn known(method: &Method) -> &'static str {
    const KNOWN: [(Method, &str); 9] = [
        (Method::GET, "GET"),
        (Method::POST, "POST"),
        (Method::DELETE, "DELETE"),
        (Method::HEAD, "HEAD"),
        (Method::OPTIONS, "OPTIONS"),
        (Method::PUT, "PUT"),
        (Method::PATCH, "PATCH"),
        (Method::CONNECT, "CONNECT"),
        (Method::TRACE, "TRACE"),
    ];
    KNOWN.iter().find(|(known, _)| known == method).map_or("_OTHER", |(_, name)| name)
}

#[cfg(test)]
mod tests;
