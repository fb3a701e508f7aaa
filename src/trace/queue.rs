//! The way of finished spans to whoever exports them: bounded, and never waited for. A span that
//! finds no room is counted and gone.

use std::fmt;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Finished;
use crate::metrics::Metrics;

/// Spans that may wait, as OpenTelemetry's own processors have it.
const ROOM: usize = 2048;

/// Where finished spans go. Clones share it.
#[derive(Clone)]
pub struct Queue {
    way: Sender<Finished>,
    metrics: Metrics,
}

/// Where they come out.
pub type Spans = Receiver<Finished>;

impl Queue {
    /// A queue of 2048 spans, counted here.
    #[must_use]
    pub fn new(metrics: Metrics) -> (Self, Spans) {
        let (way, spans) = channel(ROOM);
        (Self { way, metrics }, spans)
    }

    /// Hands on a span, or drops and counts it.
    pub(super) fn offer(&self, span: Finished) {
        if self.way.try_send(span).is_err() {
            self.pass_over();
        }
    }

    /// Counts a span that is not made, for there would be too many.
    pub(super) fn pass_over(&self) {
        self.metrics.spans("dropped", 1);
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue(room for {})", self.way.capacity())
    }
}
