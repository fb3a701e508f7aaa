//! The ledger that was chosen at run time: an enum, so that callers stay generic over [`Ledger`].
//!
//! Which kind it is, is decided in the settings; nothing here decides anything. Every call is timed,
//! and a span of the request that it is for; whether the last one was answered is known.

use std::future::Future;

use super::embedded::Embedded;
use super::memory::Memory;
use super::redis::Redis;
use super::{Claimed, Entry, Held, KeyDigest, Ledger, LedgerError, RecordId, Replaced, Version};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::trace::{self, Store};

/// A ledger of one of the kinds that there are.
#[derive(Debug)]
pub struct AnyLedger {
    kind: Kind,
    clock: Clock,
    metrics: Metrics,
    traced: Store,
}

/// The kinds of ledger.
#[derive(Debug)]
pub enum Kind {
    /// In this process alone, gone with it.
    Memory(Memory),
    /// In a file of this process.
    Embedded(Embedded),
    /// In Redis, shared with other processes.
    Redis(Redis),
}

/// Hands a call on to the kind of ledger that there is.
macro_rules! each {
    ($any:expr, $ledger:ident => $call:expr) => {
        match &$any.kind {
            Kind::Memory($ledger) => $call,
            Kind::Embedded($ledger) => $call,
            Kind::Redis($ledger) => $call,
        }
    };
}

impl AnyLedger {
    /// A ledger of this kind, whose calls are noted in `metrics`.
    #[must_use]
    pub fn new(kind: Kind, clock: Clock, metrics: Metrics) -> Self {
        // Whoever is handed an open ledger may take it to answer until a call says otherwise.
        metrics.store_up(true);
        let traced = match &kind {
            Kind::Memory(_) => within("memory"),
            Kind::Embedded(_) => within("redb"),
            Kind::Redis(ledger) => ledger.traced(),
        };
        Self { kind, clock, metrics, traced }
    }

    /// Finishes what was asked so far and lets go of the store; a later call is refused.
    ///
    /// # Errors
    /// [`LedgerError`] if the store could not be closed in order. What it answered is durable all
    /// the same; opening it again repairs it.
    pub async fn close(&self) -> Result<(), LedgerError> {
        match &self.kind {
            Kind::Memory(_) => Ok(()),
            Kind::Embedded(ledger) => ledger.close().await,
            Kind::Redis(ledger) => {
                ledger.close().await;
                Ok(())
            }
        }
    }

    /// Notes how long a call took, if it was answered, and whether it was. A trace is told either way.
    async fn noted<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        let began = self.clock.now();
        let span = trace::call(&self.traced, call);
        let answer = answer.await;
        span.ended(answer.as_ref().err().map(LedgerError::as_str));
        let up = match &answer {
            Ok(_) | Err(LedgerError::Damaged(_)) => true,
            Err(LedgerError::Unavailable(_)) => false,
        };
        if up {
            self.metrics.ledger_round_trip(call, self.clock.now().since(began));
        }
        self.metrics.store_up(up);
        answer
    }
}

/// A store of this process, as traces tell of it. The name is our own: there is none for them.
const fn within(system: &'static str) -> Store {
    Store { system, kind: trace::Kind::Internal, server: None, namespace: None }
}

impl Ledger for AnyLedger {
    async fn claim(&self, ids: &[RecordId], fresh: Entry) -> Result<Claimed, LedgerError> {
        self.noted("claim", async { each!(self, ledger => ledger.claim(ids, fresh).await) }).await
    }

    async fn replace(
        &self,
        id: RecordId,
        seen: Version,
        entry: Entry,
    ) -> Result<Replaced, LedgerError> {
        let answer = async { each!(self, ledger => ledger.replace(id, seen, entry).await) };
        self.noted("replace", answer).await
    }

    async fn remove(&self, id: RecordId, seen: Version) -> Result<Replaced, LedgerError> {
        self.noted("remove", async { each!(self, ledger => ledger.remove(id, seen).await) }).await
    }

    async fn get(&self, id: RecordId) -> Result<Option<Held>, LedgerError> {
        self.noted("get", async { each!(self, ledger => ledger.get(id).await) }).await
    }

    async fn open(&self, limit: usize) -> Result<Vec<Held>, LedgerError> {
        self.noted("open", async { each!(self, ledger => ledger.open(limit).await) }).await
    }

    async fn by_key(&self, key: KeyDigest) -> Result<Option<Held>, LedgerError> {
        self.noted("by_key", async { each!(self, ledger => ledger.by_key(key).await) }).await
    }

    fn exclusive(&self) -> bool {
        each!(self, ledger => ledger.exclusive())
    }

    fn never_forgets(&self) -> bool {
        each!(self, ledger => ledger.never_forgets())
    }
}
