//! Calls of the store, as spans below the request's: how much of a slow request was the store's.
//!
//! After OpenTelemetry's conventions for database clients. What is called is named with payonce's
//! own words for it, which the metrics have as well: a claim is not one command of Redis. No record,
//! id or key is in it.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Attributes, Finished, Kind, Span};
use crate::trace::Ids;

/// Most calls of one request that are told of: one that waits for another process asks the store
/// several times a second.
const MOST: u32 = 64;

/// A store as spans tell of it. What a credential could be in does not get here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// `db.system.name`.
    pub system: &'static str,
    /// `CLIENT` for one of another process, and otherwise `INTERNAL`.
    pub kind: Kind,
    /// Host and port, or the path of a socket, if it is always the same one.
    pub server: Option<(String, Option<u16>)>,
    /// `db.namespace`.
    pub namespace: Option<String>,
}

/// A call of the store that is under way. Where nobody is told of it, it is nothing. Dropped before
/// it is over, it was cancelled.
#[derive(Default)]
pub struct Call(Option<Box<Begun>>);

struct Begun {
    ids: Ids,
    start: u64,
    kind: Kind,
    name: String,
    told: Attributes,
    below: Span,
}

/// How many calls a span has had.
#[derive(Default)]
pub(super) struct Calls(AtomicU32);

impl Call {
    /// A call of `store` below the span `below`, if that is kept and has had no more than its share.
    pub(in crate::trace) fn begin(below: &Span, store: &Store, operation: &'static str) -> Self {
        let Some(kept) = &below.kept else { return Self(None) };
        let Some(export) = &below.tracer.0.export else { return Self(None) };
        if kept.calls.0.fetch_add(1, Ordering::Relaxed) >= MOST {
            export.queue.pass_over();
            return Self(None);
        }
        let mut told = Attributes::default();
        told.tell("db.system.name", store.system);
        told.tell("db.operation.name", operation);
        told.tell_some("db.namespace", store.namespace.clone());
        let mut name = operation.to_owned();
        if let Some((address, port)) = &store.server {
            told.tell("server.address", address.clone());
            told.tell_some("server.port", *port);
            if let Some(port) = port {
                name = format!("{operation} {address}:{port}");
            }
        }
        Self(Some(Box::new(Begun {
            ids: Ids { span: below.tracer.id(), ..below.ids },
            start: export.clock.unix_nanos(),
            kind: store.kind,
            name,
            told,
            below: below.clone(),
        })))
    }

    /// It is over, and failed in this way if it did.
    pub fn ended(mut self, failed: Option<&'static str>) {
        if let Some(mut begun) = self.0.take() {
            if let Some(how) = failed {
                begun.told.fail(how);
            }
            begun.hand_on();
        }
    }
}

impl Begun {
    fn hand_on(self) {
        let Self { ids, start, kind, name, told, below } = self;
        let Some(export) = &below.tracer.0.export else { return };
        export.queue.offer(Finished {
            ids,
            flags: below.flags,
            state: below.state.clone(),
            parent: Some((below.ids.span, false)),
            kind,
            name,
            start,
            end: export.clock.unix_nanos().max(start),
            attributes: told.list,
            failed: told.failed,
        });
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(mut begun) = self.0.take() {
            begun.told.fail("cancelled");
            begun.hand_on();
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({})", self.0.as_ref().map_or("untold", |begun| &begun.name))
    }
}
