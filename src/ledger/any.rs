//! The ledger that was chosen at run time: an enum, so that callers stay generic over [`Ledger`].
//!
//! Which kind it is, is decided in the settings; nothing here decides anything.

use super::embedded::Embedded;
use super::memory::Memory;
use super::redis::Redis;
use super::{Claimed, Entry, Held, KeyDigest, Ledger, LedgerError, RecordId, Replaced, Version};

/// One of the kinds of ledger.
#[derive(Debug)]
pub enum AnyLedger {
    /// In this process alone, gone with it.
    Memory(Memory),
    /// In a file of this process.
    Embedded(Embedded),
    /// In Redis, shared with other processes.
    Redis(Redis),
}

impl AnyLedger {
    /// Finishes what was asked so far and lets go of the store; a later call is refused.
    ///
    /// # Errors
    /// [`LedgerError`] if the store could not be closed in order. What it answered is durable all
    /// the same; opening it again repairs it.
    pub async fn close(&self) -> Result<(), LedgerError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Embedded(ledger) => ledger.close().await,
            Self::Redis(ledger) => {
                ledger.close().await;
                Ok(())
            }
        }
    }
}

/// Hands a call on to the kind of ledger that there is.
macro_rules! each {
    ($any:expr, $ledger:ident => $call:expr) => {
        match $any {
            AnyLedger::Memory($ledger) => $call,
            AnyLedger::Embedded($ledger) => $call,
            AnyLedger::Redis($ledger) => $call,
        }
    };
}

impl Ledger for AnyLedger {
    async fn claim(&self, ids: &[RecordId], fresh: Entry) -> Result<Claimed, LedgerError> {
        each!(self, ledger => ledger.claim(ids, fresh).await)
    }

    async fn replace(
        &self,
        id: RecordId,
        seen: Version,
        entry: Entry,
    ) -> Result<Replaced, LedgerError> {
        each!(self, ledger => ledger.replace(id, seen, entry).await)
    }

    async fn remove(&self, id: RecordId, seen: Version) -> Result<Replaced, LedgerError> {
        each!(self, ledger => ledger.remove(id, seen).await)
    }

    async fn get(&self, id: RecordId) -> Result<Option<Held>, LedgerError> {
        each!(self, ledger => ledger.get(id).await)
    }

    async fn open(&self, limit: usize) -> Result<Vec<Held>, LedgerError> {
        each!(self, ledger => ledger.open(limit).await)
    }

    async fn by_key(&self, key: KeyDigest) -> Result<Option<Held>, LedgerError> {
        each!(self, ledger => ledger.by_key(key).await)
    }

    fn exclusive(&self) -> bool {
        each!(self, ledger => ledger.exclusive())
    }

    fn never_forgets(&self) -> bool {
        each!(self, ledger => ledger.never_forgets())
    }
}
