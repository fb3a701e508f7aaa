//! A store that takes its time with writes, or does not answer them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use payonce::clock::Clock;
use payonce::ledger::memory::Memory;
use payonce::ledger::{
    Claimed, Entry, Held, KeyDigest, Ledger, LedgerError, RecordId, Replaced, Version,
};
use tokio::sync::watch;

/// What it does with a write over a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// It does it and says so.
    Willing,
    /// It waits until it is in another mood.
    Slow,
    /// It does so many, and says nothing.
    Mute(usize),
    /// It says nothing, and does nothing either, for this one record or all of them.
    Deaf(Option<RecordId>),
}

pub(super) struct Moody {
    store: Memory,
    mood: watch::Sender<Mood>,
    waiting: AtomicUsize,
}

impl Moody {
    pub(super) fn new(clock: Clock) -> Arc<Self> {
        let mood = watch::Sender::new(Mood::Willing);
        Arc::new(Self { store: Memory::new(clock, 1_000), mood, waiting: AtomicUsize::new(0) })
    }

    pub(super) fn is(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// How many writes wait.
    pub(super) fn waits(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}

impl Ledger for Moody {
    async fn claim(&self, ids: &[RecordId], fresh: Entry) -> Result<Claimed, LedgerError> {
        self.store.claim(ids, fresh).await
    }

    async fn replace(
        &self,
        id: RecordId,
        seen: Version,
        entry: Entry,
    ) -> Result<Replaced, LedgerError> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mood = self.mood.subscribe().wait_for(|mood| *mood != Mood::Slow).await.map(|it| *it);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        let unheard = Err(LedgerError::Unavailable("no answer, as the test wants it".to_owned()));
        match mood.expect("the sender lives as long as this") {
            Mood::Deaf(only) if only.is_none_or(|only| only == id) => unheard,
            Mood::Mute(left @ 1..) => {
                self.is(Mood::Mute(left - 1));
                self.store.replace(id, seen, entry).await?;
                unheard
            }
            Mood::Willing | Mood::Slow | Mood::Mute(_) | Mood::Deaf(_) => {
                self.store.replace(id, seen, entry).await
            }
        }
    }

    async fn remove(&self, id: RecordId, seen: Version) -> Result<Replaced, LedgerError> {
        self.store.remove(id, seen).await
    }

    async fn get(&self, id: RecordId) -> Result<Option<Held>, LedgerError> {
        self.store.get(id).await
    }

    async fn open(&self, limit: usize) -> Result<Vec<Held>, LedgerError> {
        self.store.open(limit).await
    }

    async fn by_key(&self, key: KeyDigest) -> Result<Option<Held>, LedgerError> {
        self.store.by_key(key).await
    }

    fn exclusive(&self) -> bool {
        true
    }

    fn never_forgets(&self) -> bool {
        true
    }
}
