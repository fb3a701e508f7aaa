//! What is counted of the way to the provider: attempts, retries, their budget, what only passes.

use http::{Method, StatusCode};
use std::borrow::Cow;
use std::time::Duration;

use prometheus_client::registry::{Registry, Unit};

use super::family::{Counters, Durations, Level};
use super::{Metrics, known, request_buckets};

pub(super) struct Counts {
    attempts: Counters<2>,
    retries: Counters<1>,
    passthrough: Counters<1>,
    budget: Level,
    requests: Durations<4>,
}

impl Counts {
    /// `all` has no prefix: one name in it is OpenTelemetry's.
    pub(super) fn register(all: &mut Registry) -> Self {
        let requests = Durations::register(
            all,
            "http_client_request_duration",
            "From sending a request upstream to its answer's head, or to what came instead",
            ["http_request_method", "server_address", "http_response_status_code", "error_type"],
            request_buckets,
        );
        let r = all.sub_registry_with_prefix("payonce");
        let attempts = "Requests of critical operations sent upstream, by host and result";
        let passthrough = "Requests that are not critical, by class of status";
        let left = "How much of the retry budget is left, from 0 to 1";
        let budget = Level::default();
        let ratio = Unit::Other("ratio".to_owned());
        r.register_with_unit("retry_budget_remaining", left, ratio, budget.clone());
        Self {
            attempts: Counters::register(r, "upstream_attempts", attempts, ["host", "result"]),
            retries: Counters::register(
                r,
                "retries",
                "Attempts after the first, by why",
                ["reason"],
            ),
            passthrough: Counters::register(r, "passthrough", passthrough, ["status"]),
            budget,
            requests,
        }
    }
}

impl Metrics {
    /// One more attempt was made.
    pub fn retry(&self, reason: &'static str) {
        self.bound(self.0.upstream.retries.add([reason.into()]));
    }

    /// A request went upstream.
    pub fn upstream_attempt(&self, host: &'static str, result: &'static str) {
        self.bound(self.0.upstream.attempts.add([host.into(), result.into()]));
    }

    /// A request that is not critical was answered.
    pub fn passthrough(&self, status: StatusCode) {
        self.bound(self.0.upstream.passthrough.add([class(status).into()]));
    }

    /// This share of the retry budget is left.
    pub fn retry_budget(&self, left: f64) {
        self.0.upstream.budget.set(left);
    }

    /// A request that was sent to `address` got an answer of this status, or failed as `error` says.
    pub fn attempt(
        &self,
        method: &Method,
        address: &str,
        ended: Result<StatusCode, &'static str>,
        took: Duration,
    ) {
        let (status, error) = match ended {
            Ok(status) => (Cow::Owned(status.as_u16().to_string()), ""),
            Err(error) => (Cow::Borrowed(""), error),
        };
        let values = [known(method).into(), address.into(), status, error.into()];
        self.bound(self.0.upstream.requests.observe(values, took));
    }
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
