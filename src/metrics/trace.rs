//! What is counted of traces.

use super::Metrics;

impl Metrics {
    /// So many spans were `sent` to the collector, `dropped` because nobody kept up with them, or
    /// `failed`: the collector did not take them.
    pub fn spans(&self, result: &'static str, spans: usize) {
        let spans = u64::try_from(spans).unwrap_or(u64::MAX);
        let (counter, own) = self.0.spans.series([result.into()]);
        counter.inc_by(spans);
        self.bound(own);
    }
}
