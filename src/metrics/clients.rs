//! What is counted of the client's side: requests, refusals, SDKs.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::family::{Counters, Durations};
use super::{Metrics, known, request_buckets};
use crate::decide::agent::Sdk;

pub(super) struct Counts {
    refusals: Counters<1>,
    sdks: Counters<2>,
    rules: Counters<2>,
    requests: Durations<2>,
}

impl Counts {
    /// `all` has no prefix: one name in it is OpenTelemetry's.
    pub(super) fn register(all: &mut Registry) -> Self {
        let requests = Durations::register(
            all,
            "http_server_request_duration",
            "From a request's head to its answer's head",
            ["http_request_method", "http_response_status_code"],
            request_buckets,
        );
        let r = all.sub_registry_with_prefix("payonce");
        let refusals = "Requests that payonce itself answered with an error, by its code";
        let sdks = "Requests, by the SDK that the client names and its major version";
        let rules =
            "Requests to which a [[client]] of the policy applied, by its name and what was done";
        Self {
            refusals: Counters::register(r, "refusals", refusals, ["code"]),
            sdks: Counters::register(r, "sdk_requests", sdks, ["sdk", "major"]),
            rules: Counters::register(r, "client_rules", rules, ["rule", "done"]),
            requests,
        }
    }
}

impl Metrics {
    /// A request was answered, by whomever.
    pub fn request(&self, method: &Method, status: StatusCode, took: Duration) {
        let status = Cow::Owned(status.as_u16().to_string());
        self.bound(self.0.clients.requests.observe([known(method).into(), status], took));
    }

    /// payonce answered by itself, with this `payonce_…` code.
    pub fn refusal(&self, code: &'static str) {
        self.bound(self.0.clients.refusals.add([code.into()]));
    }

    /// What counts the requests of an SDK, by major version.
    #[must_use]
    pub fn sdk(&self, sdk: Option<Sdk>, major: Major) -> Count {
        let name = sdk.map_or("unknown", Sdk::as_str).into();
        let (counter, own) = self.0.clients.sdks.series([name, major.label()]);
        self.bound(own);
        Count(counter)
    }

    /// A `[[client]]` of the policy applied: `report`, `warn`, `refuse`, or `observed` where it
    /// would have.
    pub fn client_rule(&self, rule: &str, done: &'static str) {
        self.bound(self.0.clients.rules.add([rule.into(), done.into()]));
    }
}

/// The major version that a client claims to have. What it claims is not believed without bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Major {
    /// It says none.
    Unknown,
    /// One that exists, as far as is known.
    Known(u32),
    /// Some other number.
    Other,
}

impl Major {
    fn label(self) -> Cow<'static, str> {
        match self {
            Self::Unknown => "unknown".into(),
            Self::Known(major) => major.to_string().into(),
            Self::Other => "other".into(),
        }
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
