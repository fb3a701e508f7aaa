//! A span: its ids always, and what is told of it only where it is kept.
//!
//! The span of a request ends with its answer, or when its client hangs up; what its operation comes
//! to may be known later. So it is handed on when the last task that works on it is done, with the
//! end that it had.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};

use super::parent::{Flags, Parent, TRACEPARENT, TRACESTATE, written};
use super::{Ids, Tracer, within};
use crate::decide::path::{Api, Target};
use crate::decide::policy::operations;
use crate::upstream::{Cause, Host};

mod attributes;
mod call;

pub use attributes::{Attributes, Value};
pub use call::{Call, Store};

/// What a span is to its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request that was served.
    Server,
    /// A request that was sent.
    Client,
    /// Work within this process.
    Internal,
}

/// A span that is over, for export.
#[derive(Debug)]
pub struct Finished {
    /// Its ids.
    pub ids: Ids,
    /// Its trace's flags.
    pub flags: Flags,
    /// Its `tracestate`.
    pub state: Arc<str>,
    /// The span it is below, and whether that is another process's.
    pub parent: Option<([u8; 8], bool)>,
    /// What it is to its parent.
    pub kind: Kind,
    /// `POST /v1/charges/{charge}/capture`.
    pub name: String,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    /// Likewise.
    pub end: u64,
    /// In the order in which they were told.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it counts as an error.
    pub failed: bool,
}

/// A span, as the tasks hold it that work on it. Its `Debug` shows its ids.
#[derive(Clone)]
pub struct Span {
    ids: Ids,
    flags: Flags,
    state: Arc<str>,
    tracer: Tracer,
    kept: Option<Arc<Kept>>,
}

/// What is handed on once nobody works on the span any more.
struct Kept {
    ids: Ids,
    flags: Flags,
    state: Arc<str>,
    tracer: Tracer,
    parent: Option<([u8; 8], bool)>,
    kind: Kind,
    method: &'static str,
    route: OnceLock<&'static str>,
    start: u64,
    attributes: Mutex<Attributes>,
    calls: call::Calls,
}

impl Span {
    pub(super) fn of_request(tracer: &Tracer, method: &Method, parent: Option<Parent>) -> Self {
        let span = tracer.id();
        let export = tracer.0.export.as_ref();
        let (trace, flags, state, above) = if let Some(Parent { ids, flags, state }) = parent {
            (ids.trace, flags, state.into(), Some((ids.span, true)))
        } else {
            let trace = tracer.id();
            let sampled = export.is_some_and(|export| export.sampler.keeps(trace));
            (trace, Flags::fresh(sampled), Arc::default(), None)
        };
        let mut this =
            Self { ids: Ids { trace, span }, flags, state, tracer: tracer.clone(), kept: None };
        this.keep(Kind::Server, crate::metrics::known(method), above);
        this.note(|it| it.tell("url.scheme", "http"));
        this
    }

    /// The span of an attempt below this one.
    pub(super) fn attempt(&self, host: Host, number: u32) -> Self {
        let ids = Ids { span: self.tracer.id(), ..self.ids };
        let mut this = Self { ids, kept: None, ..self.clone() };
        let Some(request) = &self.kept else { return this };
        this.keep(Kind::Client, request.method, Some((self.ids.span, false)));
        if let Some(route) = request.route.get() {
            this.route(route);
        }
        let place = self.tracer.place(host);
        this.note(|it| {
            if let Some(place) = place {
                it.tell("server.address", place.host().to_owned());
                it.tell("server.port", place.port());
                it.tell("url.scheme", place.scheme().as_str());
            }
            if number > 1 {
                it.tell("http.request.resend_count", number - 1);
            }
        });
        this
    }

    /// Keeps what is told of it, if its trace is kept and goes anywhere.
    fn keep(&mut self, kind: Kind, method: &'static str, parent: Option<([u8; 8], bool)>) {
        let Some(export) = self.tracer.0.export.as_ref().filter(|_| self.flags.sampled()) else {
            return;
        };
        let start = export.clock.unix_nanos();
        self.kept = Some(Arc::new(Kept {
            ids: self.ids,
            flags: self.flags,
            state: Arc::clone(&self.state),
            tracer: self.tracer.clone(),
            parent,
            kind,
            method,
            route: OnceLock::new(),
            start,
            attributes: Mutex::default(),
            calls: call::Calls::default(),
        }));
        self.note(|it| it.tell("http.request.method", method));
    }

    /// What names it.
    #[must_use]
    pub const fn ids(&self) -> Ids {
        self.ids
    }

    /// The same for the log alone: whoever holds it does not keep the span from being handed on.
    #[must_use]
    pub fn mention(&self) -> Self {
        Self { kept: None, ..self.clone() }
    }

    /// Adds to what is told of it.
    pub fn note(&self, tell: impl FnOnce(&mut Attributes)) {
        if let Some(kept) = &self.kept {
            tell(&mut kept.attributes.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Says which operation of Stripe's it is about.
    pub fn is_about(&self, method: &Method, target: &Target) {
        if self.kept.is_some() {
            self.route(template(method, target));
        }
    }

    fn route(&self, route: &'static str) {
        let Some(kept) = &self.kept else { return };
        let key = match kept.kind {
            Kind::Server => "http.route",
            Kind::Client | Kind::Internal => "url.template",
        };
        if kept.route.set(route).is_ok() {
            self.note(|it| {
                it.tell(key, route);
                it.tell("url.path", route);
            });
        }
    }

    fn end(&self) {
        let export = self.tracer.0.export.as_ref();
        self.note(|it| {
            if it.end == 0 {
                it.end = export.map_or(0, |export| export.clock.unix_nanos());
            }
        });
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Span({})", written(self.ids, self.flags))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(export) = &self.tracer.0.export else { return };
        let told = self.attributes.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Attributes { list, failed, end } = std::mem::take(told);
        let name = match self.route.get() {
            Some(route) => format!("{} {route}", self.method),
            None => self.method.to_owned(),
        };
        export.queue.offer(Finished {
            ids: self.ids,
            flags: self.flags,
            state: Arc::clone(&self.state),
            parent: self.parent,
            kind: self.kind,
            name,
            start: self.start,
            end: end.max(self.start),
            attributes: list,
            failed,
        });
    }
}

/// A span that has not ended. It ends when it is told how, or as cancelled when it is dropped.
#[derive(Debug, Default)]
pub struct Open(Option<Span>);

impl Open {
    pub(super) const fn new(span: Span) -> Self {
        Self(Some(span))
    }

    /// Does `work` as a part of it.
    pub fn during<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        within(self.0.clone(), work)
    }

    /// Says which operation of Stripe's it is about.
    pub fn is_about(&self, method: &Method, target: &Target) {
        if let Some(span) = &self.0 {
            span.is_about(method, target);
        }
    }

    /// Writes which trace the attempt is of into what is sent, if the provider may know.
    pub fn inject(&self, headers: &mut HeaderMap) {
        let Some(span) = self.0.as_ref().filter(|span| span.tracer.0.propagate) else { return };
        if let Ok(value) = HeaderValue::from_str(&written(span.ids, span.flags)) {
            headers.insert(TRACEPARENT, value);
        }
        if let Some(value) = HeaderValue::from_str(&span.state).ok().filter(|it| !it.is_empty()) {
            headers.insert(TRACESTATE, value);
        }
    }

    /// Which version of HTTP was spoken.
    pub fn version(&self, version: Version) {
        let spoken = match version {
            Version::HTTP_09 => "0.9",
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            Version::HTTP_3 => "3",
            _one => "1.1",
        };
        self.note(|it| it.tell("network.protocol.version", spoken));
    }

    /// The head of the answer to an attempt: from 400 on, an error to whoever asked.
    pub fn head<B>(&self, answer: &Response<B>) {
        self.version(answer.version());
        self.status(answer.status(), StatusCode::BAD_REQUEST);
    }

    /// An attempt is over, without an answer for this cause if there is one.
    pub fn attempted(self, cause: Option<Cause>) {
        if let Some(cause) = cause {
            self.note(|it| it.fail(cause.as_str()));
        }
        self.end();
    }

    /// A request is answered: from 500 on, an error of whoever serves.
    pub fn answered(self, status: StatusCode) {
        self.status(status, StatusCode::INTERNAL_SERVER_ERROR);
        self.end();
    }

    /// Adds to what is told of it.
    pub fn note(&self, tell: impl FnOnce(&mut Attributes)) {
        if let Some(span) = &self.0 {
            span.note(tell);
        }
    }

    fn status(&self, status: StatusCode, errors: StatusCode) {
        self.note(|it| {
            it.tell("http.response.status_code", status.as_u16());
            if status >= errors {
                // What payonce itself says is more exact than its status.
                let said = it.told("payonce.code").cloned();
                it.fail(said.unwrap_or_else(|| status.as_str().to_owned().into()));
            }
        });
    }

    fn end(mut self) {
        if let Some(span) = self.0.take() {
            span.end();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(span) = self.0.take() {
            span.note(|it| it.fail("cancelled"));
            span.end();
        }
    }
}

/// The path of one of Stripe's operations, or how paths of that kind begin: nothing of a client's.
fn template(method: &Method, target: &Target) -> &'static str {
    if let Some(known) = operations::find(method, target).and_then(|at| operations::all().get(at)) {
        return known.path;
    }
    match (target.segments().first().map(AsRef::as_ref), target.api()) {
        (_, Api::V2) => "/v2/**",
        (Some("v1"), Api::V1) => "/v1/**",
        (_, Api::V1) => "/**",
    }
}
