//! Traces: which request a log line is of, and what is told of it to a collector.
//!
//! A request goes on with the trace that it came with (W3C Trace Context), or begins one. It is one
//! span (`SERVER`), each attempt upstream one below it (`CLIENT`), with the attributes of
//! OpenTelemetry's conventions for HTTP; and so is each call of the store, with those for databases.
//! Where payonce exports nothing, a span is its ids, for the log, and nothing is allocated or kept.
//!
//! The current span goes with the task that works on a request, as OpenTelemetry's context does, so
//! that a line logged deep within says whose it is. Nothing is decided by it.
//!
//! Never in a span: a path with its ids, a query, a field, a body, a key, a client's address. What
//! is not one of Stripe's operations is told as `/v1/**`.
//!
//! Not in here: how spans are written for a collector ([`otlp`], with its cargo feature alone), and
//! what log lines look like ([`telemetry`](crate::telemetry)).

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::Either;
use http::{HeaderMap, Method};

use crate::chance::Chance;
use crate::clock::Clock;
use crate::decide::path::Target;
use crate::upstream::{Host, Origin, Origins};

pub mod fields;
pub mod headers;
#[cfg(feature = "otlp")]
pub mod otlp;
mod parent;
mod queue;
mod sample;
mod span;

pub use parent::{Flags, Parent, TRACEPARENT, TRACESTATE};
pub use queue::{Queue, Spans};
pub use sample::Sampler;
pub use span::{Attributes, Call, Finished, Kind, Open, Span, Store, Value};

tokio::task_local! {
    static CURRENT: Span;
}

/// What names a span: printed as in a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Of the trace, never all zero.
    pub trace: [u8; 16],
    /// Of the span, never all zero.
    pub span: [u8; 8],
}

/// Where spans come from. Clones share everything.
#[derive(Clone, Default)]
pub struct Tracer(Arc<Making>);

#[derive(Default)]
struct Making {
    chance: Chance,
    export: Option<Export>,
    propagate: bool,
    places: Option<Origins>,
}

/// What is done with finished spans.
pub struct Export {
    /// The time in them.
    pub clock: Clock,
    /// Which traces that begin here are kept.
    pub sampler: Sampler,
    /// Where they go.
    pub queue: Queue,
}

impl Tracer {
    /// Spans of requests to the provider at `places`. Without an `export` they have ids alone; with
    /// `propagate` the provider is told the id of each attempt.
    #[must_use]
    pub fn new(chance: Chance, export: Option<Export>, propagate: bool, places: Origins) -> Self {
        Self(Arc::new(Making { chance, export, propagate, places: Some(places) }))
    }

    /// The span of a request with these fields, until its answer's head.
    #[must_use]
    pub fn request(&self, method: &Method, headers: &HeaderMap) -> Open {
        let parent = Parent::of(headers);
        Open::new(Span::of_request(self, method, parent))
    }

    /// The span of an event. It begins a trace: whoever sends events comes from the internet, and
    /// does not decide what is kept here.
    #[must_use]
    pub fn event(&self, method: &Method) -> Open {
        Open::new(Span::of_request(self, method, None))
    }

    fn place(&self, host: Host) -> Option<&Origin> {
        let places = self.0.places.as_ref()?;
        Some(match host {
            Host::Api => &places.api,
            Host::Files => &places.files,
            Host::Connect => &places.connect,
            Host::MeterEvents => &places.meter_events,
        })
    }

    /// Random bytes that are not all zero, as ids must be.
    fn id<const N: usize>(&self) -> [u8; N] {
        loop {
            let id = self.0.chance.bytes();
            if id != [0; N] {
                return id;
            }
        }
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Making { export, propagate, .. } = &*self.0;
        write!(f, "Tracer(exports: {}, propagates: {propagate})", export.is_some())
    }
}

/// The ids of the span that the current task works on.
#[must_use]
pub fn ids() -> Option<Ids> {
    CURRENT.try_with(Span::ids).ok()
}

/// The current span.
#[must_use]
pub fn current() -> Option<Span> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Says what the current span is about: one of Stripe's operations, and the policy's rule for it.
pub fn about(method: &Method, target: &Target, rule: &str) {
    let tell = |span: &Span| {
        span.is_about(method, target);
        span.note(|it| it.tell("payonce.rule", rule.to_owned()));
    };
    CURRENT.try_with(tell).unwrap_or_default();
}

/// Adds to what is told of the current span; does nothing where nobody is told.
pub fn note(tell: impl FnOnce(&mut Attributes)) {
    // The only error is that there is no current span.
    CURRENT.try_with(|span| span.note(tell)).unwrap_or_default();
}

/// The span of one attempt, the `number`th from 1, below the current span.
#[must_use]
pub fn attempt(host: Host, number: u32) -> Open {
    let span = CURRENT.try_with(|span| span.attempt(host, number));
    span.map_or_else(|_none| Open::default(), Open::new)
}

/// The span of a call of `store`, below the current span: what is called there, in payonce's words.
#[must_use]
pub fn call(store: &Store, operation: &'static str) -> Call {
    CURRENT.try_with(|span| Call::begin(span, store, operation)).unwrap_or_default()
}

/// `work` with `span`, whoever polls it.
pub fn within<F: Future>(span: Option<Span>, work: F) -> impl Future<Output = F::Output> {
    match span {
        Some(span) => Either::Left(CURRENT.scope(span, work)),
        None => Either::Right(work),
    }
}

/// `work` with the span that is current now, for a task of its own.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    within(current(), work)
}

#[cfg(test)]
mod tests;
