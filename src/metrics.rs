//! What is counted, by name. Not global: whoever counts is handed a [`Metrics`].
//!
//! Labels are words fixed in the code, names of the policy's rules, the provider's host names,
//! HTTP's status codes, or the number of a known SDK's major version, never anything else of a
//! request: their number is bounded, and nothing in them is private. `deploy/metrics.md` lists
//! them all for people.
//!
//! Each room counts one subject, and says with what words.

mod clients;
mod exposition;
mod family;
mod finish;
mod open;
mod operations;
mod policy;
mod process;
mod store;
mod trace;
mod upstream;
mod webhook;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use clients::{Count, Major};
pub use exposition::Format;
pub use open::{Group, MOST_RULES, Open};
pub use operations::Counting;

use crate::clock::Timestamp;
use family::Counters;

/// All counters of one payonce. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    limits: Counters<1>,
    clients: clients::Counts,
    operations: operations::Counts,
    open: open::Counts,
    upstream: upstream::Counts,
    store: store::Counts,
    policy: policy::Counts,
    webhooks: webhook::Counts,
    finishing: finish::Counts,
    traces: trace::Counts,
}

impl Metrics {
    /// Counters that all stand at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut all = Registry::default();
        process::register(&mut all);
        let clients = clients::Counts::register(&mut all);
        let upstream = upstream::Counts::register(&mut all);
        let r = all.sub_registry_with_prefix("payonce");
        let limits = "Limits that bound, by name";
        let inner = Inner {
            clients,
            upstream,
            limits: Counters::register(r, "limits_reached", limits, ["limit"]),
            operations: operations::Counts::register(r),
            open: open::Counts::register(r),
            store: store::Counts::register(r),
            policy: policy::Counts::register(r),
            webhooks: webhook::Counts::register(r),
            finishing: finish::Counts::register(r),
            traces: trace::Counts::register(r),
            registry: all,
        };
        Self(Arc::new(inner))
    }

    /// A limit bound; `limit` is its setting's name where it is one.
    pub fn limit_reached(&self, limit: &'static str) {
        // There are far fewer limits than series, so this one needs no bound.
        self.0.limits.add([limit.into()]);
    }

    /// Everything in the text form of `OpenMetrics`; [`Format`] makes others of it.
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

/// A time as metrics show it: seconds since the Unix epoch.
fn seconds(at: Timestamp) -> f64 {
    Duration::from_millis(at.as_millis()).as_secs_f64()
}

/// The buckets that OpenTelemetry names, and two up to the deadline of a critical request.
fn request_buckets() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 80.0,
    ])
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
