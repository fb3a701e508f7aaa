//! Writes over a claim: made once, reconciled where nobody answered, kept where nobody took them.
//!
//! A write that was not answered is reconciled by the claim's token. One that the ledger does not
//! take is kept ([`Unwritten`](crate::unwritten::Unwritten)) and made later; until then a take-over
//! sends the same key.

use std::convert::Infallible;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::claim::Holding;
use super::{Asked, Exchange};
use crate::clock::Timestamp;
use crate::decide::digest::OperationId;
use crate::decide::operation::change::{kept, says_more};
use crate::decide::operation::codec::{decode, encode};
use crate::decide::operation::finding::digests;
use crate::decide::operation::record::Record;
use crate::ledger::{Claimed, Entry, KeyDigest, Ledger, LedgerError, RecordId, Replaced, Version};
use crate::seams::{self, Mistake, Point};
use crate::trace::{self, Span};
use crate::upstream::Upstream;

/// How often a write is tried before it is kept for later.
const WRITES: u32 = 3;
const BETWEEN_WRITES: Duration = Duration::from_millis(200);
/// How often what was kept is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// After so many failures in a row the store is down, and the others wait as well.
const FAILURES: u32 = 3;

/// A write over a claim, and what tells whether the claim still stands.
#[derive(Clone, Debug)]
pub struct Write {
    operation: OperationId,
    client_key: Option<KeyDigest>,
    /// What the claim wrote.
    claimed: Record,
    /// What the claim found.
    found: Option<Record>,
    /// What is to stand; nothing to remove what stands.
    record: Option<Record>,
    /// The request that it is for, for the log.
    span: Option<Span>,
}

impl Write {
    /// `record` over what is held, or its removal.
    pub(super) fn new(asked: &Asked, holding: &Holding, record: Option<Record>) -> Self {
        Self {
            operation: asked.identified.operation,
            client_key: asked.key_digest(),
            claimed: holding.record.clone(),
            found: holding.found.clone(),
            record,
            span: trace::current().map(|span| span.mention()),
        }
    }

    const fn id(&self) -> RecordId {
        self.operation.record()
    }

    fn entry(&self, now: Timestamp) -> Result<Option<Entry>, LedgerError> {
        let entry = |record| entry(&self.operation, self.client_key, record, now);
        self.record.as_ref().map(entry).transpose()
    }
}

/// What a write over a claim came to.
enum Written {
    /// It stands, in this version; `None` after a removal.
    Done(Option<Version>),
    TakenOver,
    /// It is still this claim's: in this version, or gone from the ledger.
    Ours(Option<Version>),
}

/// What is written for `record`.
pub(super) fn entry(
    operation: &OperationId,
    client_key: Option<KeyDigest>,
    record: &Record,
    now: Timestamp,
) -> Result<Entry, LedgerError> {
    let bytes =
        encode(record).map_err(|unreadable| LedgerError::Damaged(unreadable.to_string()))?;
    Ok(Entry {
        record: bytes,
        ttl: kept(record, operation, now),
        open: record.open(),
        keys: digests(record, client_key),
    })
}

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// Writes over the claim, or keeps the write for later.
    pub(super) async fn write(&self, write: Write, mut version: Option<Version>) {
        let operation_id = write.operation;
        seams::point(Point::BeforeSettle);
        for _ in 0..WRITES {
            match self.write_once(&write, version).await {
                Ok(Written::Done(_)) => return seams::point(Point::Settled),
                Ok(Written::TakenOver) => return self.taken_over(operation_id),
                Ok(Written::Ours(held)) => version = held,
                Err(failed) => {
                    self.metrics.ledger_error("unavailable");
                    warn!(%operation_id, error = %failed, "the store did not take what was learnt");
                    version = None;
                    self.clock.sleep(BETWEEN_WRITES).await;
                }
            }
        }
        self.metrics.ledger_error("unwritten");
        error!(%operation_id, "the store did not take what was learnt; it is tried again later, and \
            the next request for this operation sends the same key and gets the same answer");
        if !self.unwritten.add(write.id(), write) {
            self.metrics.limit_reached("unwritten outcomes");
        }
    }

    /// Makes the writes that were kept, until `done`, and then once more.
    pub async fn write_what_is_left(&self, done: CancellationToken) {
        loop {
            let due = async {
                self.unwritten.some().await;
                self.clock.sleep(AGAIN).await;
            };
            tokio::select! {
                biased;
                () = done.cancelled() => break,
                () = due => {}
            }
            // Never ended half-way: the write that was taken would be lost.
            self.write_left().await;
        }
        self.write_left().await;
        let left = self.unwritten.len();
        if left > 0 {
            warn!(
                left,
                "outcomes are lost that the store did not take; whoever asks again sends \
                the same key"
            );
        }
    }

    /// Tries each once. One that fails goes behind the others: it may be it alone that cannot be
    /// written (a damaged record, a part of a Cluster that is down).
    async fn write_left(&self) {
        let mut failed = 0;
        for _ in 0..self.unwritten.len() {
            let Some((id, write)) = self.unwritten.take() else { return };
            let later = trace::within(write.span.clone(), self.write_later(&write));
            match later.await {
                Ok(()) => failed = 0,
                Err(_failed) => {
                    self.unwritten.put_back(id, write);
                    failed += 1;
                    if failed == FAILURES {
                        return;
                    }
                }
            }
        }
    }

    async fn write_later(&self, write: &Write) -> Result<(), LedgerError> {
        let mut version = None;
        for _ in 0..WRITES {
            match self.write_once(write, version).await? {
                Written::Done(_) => {
                    info!(operation_id = %write.operation, "the store took it at last");
                    return Ok(());
                }
                Written::TakenOver => {
                    self.taken_over(write.operation);
                    return Ok(());
                }
                Written::Ours(held) => version = held,
            }
        }
        Err(LedgerError::Unavailable("it moves all the time".to_owned()))
    }

    fn taken_over(&self, operation_id: OperationId) {
        self.metrics.ledger_error("taken_over");
        warn!(%operation_id, "another process took the operation over; it holds the same key");
    }

    async fn write_once(
        &self,
        write: &Write,
        version: Option<Version>,
    ) -> Result<Written, LedgerError> {
        let id = write.id();
        let moved = match (version, write.entry(self.clock.now())?) {
            (Some(version), Some(entry)) => self.ledger.replace(id, version, entry).await?,
            (Some(version), None) => self.ledger.remove(id, version).await?,
            // A write that was not answered: did it happen?
            (None, entry) => match (self.ledger.get(id).await?, entry) {
                (Some(held), _) => Replaced::Moved(Some(held)),
                (None, None) => return Ok(Written::Done(None)),
                (None, Some(entry)) => match self.ledger.claim(&[id], entry).await? {
                    Claimed::Fresh(version) => return Ok(Written::Done(Some(version))),
                    Claimed::Found(held) => Replaced::Moved(Some(held)),
                },
            },
        };
        let held = match moved {
            Replaced::Done(version) => return Ok(Written::Done(version)),
            // It forgot the claim. What is known is written all the same.
            Replaced::Moved(None) => return Ok(Written::Ours(None)),
            Replaced::Moved(Some(held)) => held,
        };
        let Ok(stands) = decode(&held.record) else { return Ok(Written::TakenOver) };
        if write.record.as_ref() == Some(&stands) {
            return Ok(Written::Done(Some(held.version)));
        }
        let more = write.record.as_ref().is_some_and(|record| says_more(record, &stands));
        let free = more || write.found.as_ref() == Some(&stands);
        let ours =
            free || ours(&stands, &write.claimed) || seams::mistake(Mistake::SettleByNonOwner);
        Ok(if ours { Written::Ours(Some(held.version)) } else { Written::TakenOver })
    }

    /// Writes `next` over the claim that is held; `None` if another process took the operation over.
    pub(super) async fn move_on(
        &self,
        asked: &Asked,
        holding: &Holding,
        next: &Record,
    ) -> Result<Option<Version>, LedgerError> {
        let write = Write::new(asked, holding, Some(next.clone()));
        let mut version = holding.version;
        for _ in 0..WRITES {
            match self.write_once(&write, version).await? {
                Written::Done(version) => return Ok(version),
                Written::TakenOver => return Ok(None),
                Written::Ours(held) => version = held,
            }
        }
        Ok(None)
    }

    /// Whether a claim may still be acted on: a process that stood still for longer than its lease
    /// (stopped, suspended) looks first whether another took the operation over meanwhile.
    pub(super) async fn still_ours(&self, asked: &Asked, holding: &mut Holding) -> bool {
        let held = holding.lease.as_ref().is_none_or(|lease| self.clock.now() < lease.ends());
        if held || holding.version.is_none() {
            return true;
        }
        // As with a claim that was not answered, the key is the same for whoever has it now.
        self.renew(asked, holding).await.unwrap_or(true)
    }

    /// Awaits `work` while the lease is renewed, where another process might take it for ended.
    pub(super) async fn while_held<T>(
        &self,
        asked: &Asked,
        holding: &mut Holding,
        work: impl Future<Output = T>,
    ) -> T {
        if self.ledger.exclusive() {
            return work.await;
        }
        tokio::select! {
            biased;
            value = work => value,
            never = self.keep_renewing(asked, holding) => match never {},
        }
    }

    async fn keep_renewing(&self, asked: &Asked, holding: &mut Holding) -> Infallible {
        loop {
            self.clock.sleep(self.config.lease / 3).await;
            if holding.version.is_some() && !matches!(self.renew(asked, holding).await, Ok(true)) {
                // Settling finds out whose it is; until then the key is the same for both.
                self.metrics.ledger_error("not_renewed");
            }
        }
    }

    /// Begins the lease anew; false if another process took the operation over.
    async fn renew(&self, asked: &Asked, holding: &mut Holding) -> Result<bool, LedgerError> {
        let mut renewed = holding.record.clone();
        let ends = self.clock.now().plus(self.config.lease);
        if let Some(claim) = &mut renewed.claim {
            claim.lease = ends;
        }
        seams::point(Point::BeforeRenew);
        let moved = self.move_on(asked, holding, &renewed).await;
        seams::point(Point::Renewed);
        let Some(version) = moved? else { return Ok(false) };
        holding.version = Some(version);
        holding.record = renewed;
        if let Some(lease) = &holding.lease {
            lease.renewed(ends);
        }
        Ok(true)
    }
}

/// Whether what stands in the ledger bears the claim of `record`.
fn ours(stands: &Record, record: &Record) -> bool {
    let token = |record: &Record| record.claim.as_ref().map(|claim| claim.token.clone());
    stands.claim.is_some() && token(stands) == token(record)
}
