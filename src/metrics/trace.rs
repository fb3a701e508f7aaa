//! What is counted of traces.

use prometheus_client::registry::Registry;

use super::Metrics;
use super::family::Counters;

pub(super) struct Counts {
    spans: Counters<1>,
}

impl Counts {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let spans = "Spans of traces that were kept, by what became of them";
        Self { spans: Counters::register(registry, "trace_spans", spans, ["result"]) }
    }
}

impl Metrics {
    /// So many spans were `sent` to the collector, `dropped` because nobody kept up with them or one
    /// request had too many, or `failed`: the collector did not take them.
    pub fn spans(&self, result: &'static str, spans: usize) {
        let spans = u64::try_from(spans).unwrap_or(u64::MAX);
        let (counter, own) = self.0.traces.spans.series([result.into()]);
        counter.inc_by(spans);
        self.bound(own);
    }
}
