//! The thread that writes: takes what waits, one transaction, one commit, then the answers.
//!
//! Nothing is answered before its commit is on the disk. A transaction that fails answers all of
//! its calls with the failure; the file is then closed and opened again, which repairs it.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use redb::{Database, Durability};
use tokio::sync::oneshot;

use super::tables::{Fault, Tables, broken};
use super::{Limits, OpenError, unavailable};
use crate::clock::{Clock, Timestamp};
use crate::ledger::LedgerError;
use crate::seams::{self, Point};

/// How many expired records one transaction takes away.
const SWEEP_RECORDS: usize = 256;
/// How long the writer waits for a call before it sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long a failed file is left alone before it is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// A call on its way through the writer.
pub(super) trait Job: Send {
    /// Does the work; an error is the file's, and ends the transaction.
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), LedgerError>;
    /// Answers the caller, with `failure` if the transaction failed.
    fn answer(self: Box<Self>, failure: Option<&LedgerError>);
}

/// A [`Job`] made of a closure and the place where its caller waits.
pub(super) struct Asked<T, F> {
    work: Option<F>,
    result: Option<Result<T, LedgerError>>,
    reply: oneshot::Sender<Result<T, LedgerError>>,
}

impl<T, F> Asked<T, F> {
    pub(super) fn new(work: F, reply: oneshot::Sender<Result<T, LedgerError>>) -> Self {
        Self { work: Some(work), result: None, reply }
    }
}

impl<T, F> Job for Asked<T, F>
where
    T: Send,
    F: FnOnce(&mut Tables<'_>) -> Result<T, Fault> + Send,
{
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), LedgerError> {
        let Some(work) = self.work.take() else { return Ok(()) };
        self.result = Some(match work(tables) {
            Ok(result) => Ok(result),
            Err(Fault::Call(error)) => Err(error),
            Err(Fault::Store(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<&LedgerError>) {
        let not_run = || Err(unavailable("the call was not served; nothing was written"));
        let answer = match failure {
            Some(failure) => Err(failure.clone()),
            None => self.result.unwrap_or_else(not_run),
        };
        if self.reply.send(answer).is_err() {
            tracing::debug!("a caller of the ledger had stopped waiting");
        }
    }
}

/// Opens the file again after a failure.
pub(super) type Reopen = Box<dyn FnMut() -> Result<Database, OpenError> + Send>;

/// What the thread owns.
pub(super) struct Writer {
    store: Option<Database>,
    reopen: Reopen,
    clock: Clock,
    limits: Limits,
    swept_at: Timestamp,
    failed_at: Timestamp,
    /// More has expired than the last sweep took.
    behind: bool,
}

impl Writer {
    pub(super) fn new(store: Database, reopen: Reopen, clock: Clock, limits: Limits) -> Self {
        let (swept_at, failed_at) = (Timestamp::default(), Timestamp::default());
        Self { store: Some(store), reopen, clock, limits, swept_at, failed_at, behind: false }
    }

    /// Serves until there is no sender left and the queue is empty, then closes the file.
    pub(super) fn run(mut self, waiting: &Receiver<Box<dyn Job>>) -> Result<(), LedgerError> {
        loop {
            let idle = if self.behind { Duration::ZERO } else { self.clock.real(SWEEP_EVERY) };
            match waiting.recv_timeout(idle) {
                Ok(first) => {
                    let more = waiting.try_iter().take(self.limits.batch.saturating_sub(1));
                    self.serve(std::iter::once(first).chain(more).collect());
                }
                Err(RecvTimeoutError::Timeout) => self.serve(Vec::new()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.store.take().map_or(Ok(()), |store| store.close().map_err(broken))
    }

    fn serve(&mut self, mut batch: Vec<Box<dyn Job>>) {
        let failure = self.transact(&mut batch).err();
        for job in batch {
            job.answer(failure.as_ref());
        }
    }

    fn transact(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), LedgerError> {
        self.open()?;
        self.apply(batch).inspect_err(|error| {
            tracing::error!(%error, calls = batch.len(), "the ledger file failed and is opened anew");
            // redb takes no further write after a failed commit; opening it again repairs it.
            self.store = None;
            self.behind = false;
            self.failed_at = self.clock.now();
        })
    }

    fn open(&mut self) -> Result<(), LedgerError> {
        if self.store.is_some() {
            return Ok(());
        }
        let now = self.clock.now();
        if now.since(self.failed_at) < REOPEN_AFTER {
            return Err(unavailable("its file failed a moment ago; nothing was written"));
        }
        self.failed_at = now;
        let store = (self.reopen)().map_err(|error| {
            tracing::error!(%error, "the ledger file cannot be opened again");
            LedgerError::Unavailable(format!("{error}; nothing was written"))
        })?;
        tracing::info!("the ledger file is open again");
        self.store = Some(store);
        Ok(())
    }

    fn apply(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), LedgerError> {
        let Some(store) = &self.store else { return Err(unavailable("its file is closed")) };
        let now = self.clock.now();
        let mut txn = store.begin_write().map_err(broken)?;
        txn.set_durability(Durability::Immediate).map_err(broken)?;
        txn.set_two_phase_commit(true);
        let mut tables = Tables::new(&txn, now, self.limits.max_records).map_err(store_failed)?;
        for job in batch {
            job.run(&mut tables)?;
        }
        // A transaction that only read would pay a commit for the sweep, so those wait for it.
        if tables.changed() || self.behind || now.since(self.swept_at) >= SWEEP_EVERY {
            self.behind = tables.sweep(SWEEP_RECORDS).map_err(store_failed)? == SWEEP_RECORDS;
            self.swept_at = now;
        }
        if tables.finish().map_err(store_failed)? {
            seams::point(Point::BeforeCommit);
            let committed = txn.commit().map_err(broken);
            seams::point(Point::Committed);
            committed
        } else {
            txn.abort().map_err(broken)
        }
    }
}

fn store_failed(fault: Fault) -> LedgerError {
    match fault {
        Fault::Call(error) | Fault::Store(error) => error,
    }
}
