//! What is counted of webhooks. Endpoints are named in the settings, so that their number is bounded.

use prometheus_client::registry::Registry;

use super::Metrics;
use super::family::Counters;

pub(super) struct Counts {
    events: Counters<2>,
    rejected: Counters<2>,
    closed: Counters<1>,
    stale: Counters<1>,
}

impl Counts {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let events = "Stripe's events, by endpoint and what became of them";
        let rejected = "Requests to the webhook listener that were not taken for Stripe's, by why";
        let closed = "Events that bore the key of an operation, by what they did to its record";
        let stale = "Readings of an endpoint's secret files that could not be used";
        Self {
            stale: Counters::register(registry, "webhook_stale_secrets", stale, ["endpoint"]),
            events: Counters::register(registry, "webhook_events", events, ["endpoint", "result"]),
            rejected: Counters::register(
                registry,
                "webhook_rejected",
                rejected,
                ["endpoint", "reason"],
            ),
            closed: Counters::register(registry, "webhook_closed", closed, ["result"]),
        }
    }
}

impl Metrics {
    /// A verified event ended at an endpoint: `acknowledged`, `refused`, `unanswered`, `duplicate`
    /// or `in_hand`.
    pub fn webhook_event(&self, endpoint: &str, result: &'static str) {
        self.bound(self.0.webhooks.events.add([endpoint.into(), result.into()]));
    }

    /// Something was not handed on. `endpoint` is empty where there is none.
    pub fn webhook_rejected(&self, endpoint: &str, reason: &'static str) {
        self.bound(self.0.webhooks.rejected.add([endpoint.into(), reason.into()]));
    }

    /// The files of an endpoint's secrets were read, and those read before stay in force.
    pub fn webhook_stale(&self, endpoint: &str) {
        self.bound(self.0.webhooks.stale.add([endpoint.into()]));
    }

    /// An event bore a key: `closed`, `noted`, `known`, `elsewhere`, `other_account`, `late`…
    pub fn webhook_closed(&self, result: &'static str) {
        self.bound(self.0.webhooks.closed.add([result.into()]));
    }
}
