//! A ledger in a file of this process: survives restarts and SIGKILL, shared with nobody.
//!
//! One thread of its own writes; it takes what waits, applies it in one transaction, commits once
//! (two-phase, synced to disk), and only then answers. Reads go the same way, so that every answer
//! is in one order. The file's form is in `file`, its tables in `tables`, the thread in `writer`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::Database;
use tokio::sync::oneshot;

use self::tables::{Fault, Tables};
use self::writer::{Asked, Job, Writer};
use super::{Claimed, Entry, Held, KeyDigest, Ledger, LedgerError, RecordId, Replaced, Version};
use crate::clock::Clock;

mod file;
mod tables;
mod writer;

pub use file::OpenError;

/// What an embedded ledger may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a caller waits for an answer, by the ledger's clock.
    pub timeout: Duration,
    /// How many calls may wait for the writer; one more is refused at once.
    pub queue: usize,
    /// How many calls share one transaction, at most.
    pub batch: usize,
    /// How much of the file is cached in memory, in bytes.
    pub cache_bytes: usize,
    /// How many records the file may hold; a claim of one more is refused.
    pub max_records: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(2),
            queue: 1024,
            batch: 256,
            cache_bytes: 16 * 1024 * 1024,
            max_records: 10_000_000,
        }
    }
}

/// A ledger in a redb file.
pub struct Embedded {
    path: PathBuf,
    clock: Clock,
    timeout: Duration,
    jobs: Mutex<Option<SyncSender<Box<dyn Job>>>>,
    writer: Mutex<Option<JoinHandle<Result<(), LedgerError>>>>,
}

impl Embedded {
    /// Opens the file at `path`, or makes it (readable by its owner alone), and starts the writer.
    ///
    /// Every page of an existing file is checked, so that damage shows here and not in the middle
    /// of a payment: the call blocks for as long as reading the file takes.
    ///
    /// # Errors
    /// [`OpenError`], which names the path and says what to do.
    pub fn open(path: &Path, clock: Clock, limits: Limits) -> Result<Self, OpenError> {
        let store = file::open(path, limits.cache_bytes)?;
        let again = path.to_owned();
        let reopen = move || file::open_existing(&again, limits.cache_bytes);
        Self::start(path, store, reopen, clock, limits)
    }

    fn start(
        path: &Path,
        store: Database,
        reopen: impl FnMut() -> Result<Database, OpenError> + Send + 'static,
        clock: Clock,
        limits: Limits,
    ) -> Result<Self, OpenError> {
        let (jobs, waiting) = sync_channel(limits.queue);
        let writer = Writer::new(store, Box::new(reopen), clock.clone(), limits);
        let writer = std::thread::Builder::new()
            .name("payonce-ledger".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            clock,
            timeout: limits.timeout,
            jobs: Mutex::new(Some(jobs)),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Finishes what was asked so far, closes the file and ends the writer. Later calls are
    /// refused; closing again does nothing.
    ///
    /// # Errors
    /// [`LedgerError`] if the file could not be closed in order. What was answered is in it all the
    /// same; opening it again repairs it.
    pub async fn close(&self) -> Result<(), LedgerError> {
        let Some(writer) = self.end() else { return Ok(()) };
        match tokio::task::spawn_blocking(move || writer.join()).await {
            Ok(Ok(closed)) => closed,
            Ok(Err(_panic)) => Err(stopped()),
            Err(cut) => Err(LedgerError::Unavailable(format!("closing was cut short: {cut}"))),
        }
    }

    /// Without a sender left, the writer drains the queue and ends.
    fn end(&self) -> Option<JoinHandle<Result<(), LedgerError>>> {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn submit(&self, job: Box<dyn Job>) -> Result<(), LedgerError> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(jobs) = jobs.as_ref() else {
            return Err(unavailable("it is closed; nothing was written"));
        };
        jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => unavailable("its queue is full; nothing was written"),
            TrySendError::Disconnected(_) => stopped(),
        })
    }

    async fn ask<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tables<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.submit(Box::new(Asked::new(work, reply)))?;
        match self.clock.timeout(self.timeout, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_dropped)) => Err(stopped()),
            Err(_elapsed) => Err(LedgerError::Unavailable(format!(
                "no answer within {:?}; a write may have happened, or may happen yet",
                self.timeout
            ))),
        }
    }
}

impl Ledger for Embedded {
    async fn claim(&self, ids: &[RecordId], fresh: Entry) -> Result<Claimed, LedgerError> {
        fresh.check()?;
        let first = *ids.first().ok_or_else(super::no_id)?;
        let ids = ids.to_vec();
        self.ask(move |tables| tables.claim(first, &ids, &fresh)).await
    }

    async fn replace(
        &self,
        id: RecordId,
        seen: Version,
        entry: Entry,
    ) -> Result<Replaced, LedgerError> {
        entry.check()?;
        self.ask(move |tables| tables.replace(id, seen, &entry)).await
    }

    async fn remove(&self, id: RecordId, seen: Version) -> Result<Replaced, LedgerError> {
        self.ask(move |tables| tables.remove(id, seen)).await
    }

    async fn get(&self, id: RecordId) -> Result<Option<Held>, LedgerError> {
        self.ask(move |tables| tables.get(id)).await
    }

    async fn open(&self, limit: usize) -> Result<Vec<Held>, LedgerError> {
        self.ask(move |tables| tables.open(limit)).await
    }

    async fn by_key(&self, key: KeyDigest) -> Result<Option<Held>, LedgerError> {
        self.ask(move |tables| tables.by_key(key)).await
    }

    fn exclusive(&self) -> bool {
        true
    }

    fn never_forgets(&self) -> bool {
        true
    }
}

impl Drop for Embedded {
    /// Waits for the writer, so that the file is closed, and its lock free, when this returns.
    fn drop(&mut self) {
        if let Some(writer) = self.end()
            && !matches!(writer.join(), Ok(Ok(())))
        {
            tracing::warn!(file = %self.path.display(), "the ledger file was not closed in order; opening it again repairs it");
        }
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("path", &self.path).finish_non_exhaustive()
    }
}

fn unavailable(why: &str) -> LedgerError {
    LedgerError::Unavailable(why.to_owned())
}

fn stopped() -> LedgerError {
    unavailable("its writer stopped; a write that waited may have happened")
}

#[cfg(test)]
mod tests;
