//! A pod's way to a store that it shares: it may be down, or hold its writes up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use payonce::ledger::memory::Memory;
use payonce::ledger::{
    Claimed, Entry, Held, KeyDigest, Ledger, LedgerError, RecordId, Replaced, Version,
};
use tokio::sync::watch;

pub(super) struct Way {
    store: Arc<Memory>,
    down: AtomicBool,
    /// Whether writes over a record wait.
    held: watch::Sender<bool>,
    waiting: AtomicUsize,
}

impl Way {
    pub(super) fn to(store: &Arc<Memory>) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            down: AtomicBool::new(false),
            held: watch::Sender::new(false),
            waiting: AtomicUsize::new(0),
        })
    }

    pub(super) fn goes_down(&self) {
        self.down.store(true, Ordering::SeqCst);
    }

    /// Writes over a record wait from now on, or do no longer.
    pub(super) fn holds(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Whether a write waits.
    pub(super) fn waits(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    fn up(&self) -> Result<&Memory, LedgerError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(LedgerError::Unavailable("a test says so".to_owned()));
        }
        Ok(&self.store)
    }
}

impl Ledger for Way {
    async fn claim(&self, ids: &[RecordId], fresh: Entry) -> Result<Claimed, LedgerError> {
        self.up()?.claim(ids, fresh).await
    }

    async fn replace(
        &self,
        id: RecordId,
        seen: Version,
        entry: Entry,
    ) -> Result<Replaced, LedgerError> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let free = self.held.subscribe().wait_for(|held| !held).await.is_ok();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        assert!(free, "the sender lives as long as this");
        self.up()?.replace(id, seen, entry).await
    }

    async fn remove(&self, id: RecordId, seen: Version) -> Result<Replaced, LedgerError> {
        self.up()?.remove(id, seen).await
    }

    async fn get(&self, id: RecordId) -> Result<Option<Held>, LedgerError> {
        self.up()?.get(id).await
    }

    async fn open(&self, limit: usize) -> Result<Vec<Held>, LedgerError> {
        self.up()?.open(limit).await
    }

    async fn by_key(&self, key: KeyDigest) -> Result<Option<Held>, LedgerError> {
        self.up()?.by_key(key).await
    }

    fn exclusive(&self) -> bool {
        false
    }
}
