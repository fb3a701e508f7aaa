//! Stores in memory that are not like the one in memory: shared by several payonces, or failing on
//! demand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use payonce::clock::Clock;
use payonce::ledger::memory::Memory;
use payonce::ledger::{
    Claimed, Entry, Held, KeyDigest, Ledger, LedgerError, RecordId, Replaced, Version,
};

use super::until;

/// A store that several payonces share, as the processes of several pods would.
pub(crate) struct Shared(pub(crate) Memory);

impl Ledger for Shared {
    async fn claim(&self, ids: &[RecordId], fresh: Entry) -> Result<Claimed, LedgerError> {
        self.0.claim(ids, fresh).await
    }

    async fn replace(
        &self,
        id: RecordId,
        seen: Version,
        entry: Entry,
    ) -> Result<Replaced, LedgerError> {
        self.0.replace(id, seen, entry).await
    }

    async fn remove(&self, id: RecordId, seen: Version) -> Result<Replaced, LedgerError> {
        self.0.remove(id, seen).await
    }

    async fn get(&self, id: RecordId) -> Result<Option<Held>, LedgerError> {
        self.0.get(id).await
    }

    async fn open(&self, limit: usize) -> Result<Vec<Held>, LedgerError> {
        self.0.open(limit).await
    }

    async fn by_key(&self, key: KeyDigest) -> Result<Option<Held>, LedgerError> {
        self.0.by_key(key).await
    }

    fn exclusive(&self) -> bool {
        false
    }

    fn never_forgets(&self) -> bool {
        true
    }
}

/// What the store does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Fine,
    /// Nothing happens, and it says so.
    Down,
    /// It happens, and nobody hears of it.
    Unheard,
    /// The next write is lost, then all is well.
    DownOnce,
    /// The next write happens unheard, then all is well.
    UnheardOnce,
    /// Reads fine, writes not at all.
    ReadOnly,
    /// A read is not answered until the mood changes.
    Silent,
    /// All is well, but what is open is not told, ever.
    Unlisted,
}

/// A memory store that fails on demand.
pub(crate) struct Flaky {
    pub(crate) inner: Memory,
    mood: Mutex<Mood>,
    /// What every record reads as, if not as itself.
    spoilt: Mutex<Option<&'static str>>,
    last: Mutex<Option<RecordId>>,
    /// The one record that cannot be had, whatever the mood.
    stuck: Mutex<Option<RecordId>>,
    /// How many reads wait for an answer, or did.
    pub(crate) silent: AtomicUsize,
}

impl Flaky {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        let (mood, spoilt) = (Mutex::new(Mood::Fine), Mutex::default());
        let (last, stuck, silent) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
        Arc::new(Self { inner: Memory::new(clock, 1_000), mood, spoilt, last, stuck, silent })
    }

    /// It is in this mood from now on.
    pub(crate) fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Every record reads as this.
    pub(crate) fn holds(&self, record: &'static str) {
        *self.spoilt.lock().unwrap() = Some(record);
    }

    /// The record that was last written cannot be had any more.
    pub(crate) fn sticks(&self) {
        *self.stuck.lock().unwrap() = *self.last.lock().unwrap();
    }

    /// The record that was last written.
    pub(crate) async fn only(&self) -> Held {
        let id = self.last.lock().unwrap().expect("something was written");
        self.inner.get(id).await.unwrap().unwrap()
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    fn spoil(&self, held: Held) -> Held {
        let spoilt = *self.spoilt.lock().unwrap();
        match spoilt {
            Some(record) => Held { record: Bytes::from(record), ..held },
            None => held,
        }
    }

    async fn write<T>(
        &self,
        work: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        let down = || LedgerError::Unavailable("a test says so".to_owned());
        match self.mood() {
            Mood::Fine | Mood::Unlisted => work.await,
            Mood::DownOnce => {
                self.is(Mood::Fine);
                Err(down())
            }
            Mood::UnheardOnce => {
                self.is(Mood::Fine);
                drop(work.await);
                Err(down())
            }
            Mood::Down | Mood::ReadOnly | Mood::Silent => Err(down()),
            Mood::Unheard => {
                drop(work.await);
                Err(down())
            }
        }
    }
}

impl Ledger for Flaky {
    async fn claim(&self, ids: &[RecordId], fresh: Entry) -> Result<Claimed, LedgerError> {
        *self.last.lock().unwrap() = ids.first().copied();
        Ok(match self.write(self.inner.claim(ids, fresh)).await? {
            Claimed::Found(held) => Claimed::Found(self.spoil(held)),
            fresh @ Claimed::Fresh(_) => fresh,
        })
    }

    async fn replace(
        &self,
        id: RecordId,
        seen: Version,
        entry: Entry,
    ) -> Result<Replaced, LedgerError> {
        self.write(self.inner.replace(id, seen, entry)).await
    }

    async fn remove(&self, id: RecordId, seen: Version) -> Result<Replaced, LedgerError> {
        self.write(self.inner.remove(id, seen)).await
    }

    async fn get(&self, id: RecordId) -> Result<Option<Held>, LedgerError> {
        if *self.stuck.lock().unwrap() == Some(id) {
            return Err(LedgerError::Damaged("a test says so".to_owned()));
        }
        if self.mood() == Mood::Silent {
            self.silent.fetch_add(1, Ordering::Relaxed);
        }
        until("it answers", || self.mood() != Mood::Silent).await;
        match self.mood() {
            Mood::Fine | Mood::ReadOnly | Mood::DownOnce | Mood::UnheardOnce | Mood::Unlisted => {
                Ok(self.inner.get(id).await?.map(|held| self.spoil(held)))
            }
            Mood::Down | Mood::Unheard | Mood::Silent => {
                Err(LedgerError::Unavailable("a test".to_owned()))
            }
        }
    }

    async fn open(&self, limit: usize) -> Result<Vec<Held>, LedgerError> {
        if self.mood() == Mood::Unlisted {
            std::future::pending::<()>().await;
        }
        self.inner.open(limit).await
    }

    async fn by_key(&self, key: KeyDigest) -> Result<Option<Held>, LedgerError> {
        self.inner.by_key(key).await
    }

    fn exclusive(&self) -> bool {
        true
    }

    fn never_forgets(&self) -> bool {
        true
    }
}
