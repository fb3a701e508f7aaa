//! Where operations are remembered: compare and swap, nothing else.
//!
//! A record is opaque here; every decision is the pure state machine's
//! ([`decide::operation`](crate::decide::operation)). A ledger may forget: the keys that payonce
//! derives keep a forgotten operation safe. It must never show one writer's record as another's.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

mod any;
pub mod embedded;
pub mod memory;
pub mod redis;
mod value;

pub use any::{AnyLedger, Kind};

/// The largest record that a ledger takes, in bytes. Far above what the codec writes: it bounds
/// what a batch of writes holds in memory.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// So many keys find a record, those named last: a ledger may let go of earlier ones.
pub const KEYS: usize = 64;

/// The id under which an operation's record is kept: an operation id, as bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub [u8; 32]);

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordId({self})")
    }
}

/// A digest of an upstream or client key, by which a person can look an operation up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest(pub [u8; 16]);

/// Which write this is; a later write has a greater version.
///
/// A ledger never gives one version twice, not even to a record that comes again after its removal
/// or its expiry: who holds the version of a record that is gone can never match its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// What is written: the record, and the hints that let people find it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The encoded record. JSON, readable by a person; never a body.
    pub record: Bytes,
    /// How long it is kept from now on.
    pub ttl: Duration,
    /// Whether it belongs on the list of open operations.
    pub open: bool,
    /// The key digests by which it can be found from this write on, for as long as it is kept. The
    /// writer need not know those of earlier writes: of these the last [`KEYS`] at least go on finding
    /// it, unless they were named for another record since. Bounded by the writer.
    pub keys: Vec<KeyDigest>,
}

/// A record as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The id it was found under.
    pub id: RecordId,
    /// Which write of it this is.
    pub version: Version,
    /// The encoded record.
    pub record: Bytes,
}

impl Entry {
    /// Refuses a record that is too large for any ledger.
    fn check(&self) -> Result<(), LedgerError> {
        if self.record.len() <= MAX_RECORD_BYTES {
            return Ok(());
        }
        Err(LedgerError::Unavailable(format!(
            "a record of {} bytes is over the limit of {MAX_RECORD_BYTES}; nothing was written",
            self.record.len()
        )))
    }
}

/// What a claim found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// Nothing stood under any of the ids; the fresh record now stands under the first.
    Fresh(Version),
    /// A record stands already (the first of the ids that has one); nothing was written.
    Found(Held),
}

/// What a compare-and-swap did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// The version matched and the write happened. `None` after a removal.
    Done(Option<Version>),
    /// Somebody else wrote meanwhile, or the record is gone; nothing was written.
    Moved(Option<Held>),
}

/// Why a ledger did not answer. Whether a write happened is unknown for [`Self::Unavailable`].
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// It cannot be reached, is overloaded or did not answer in time: a write may have happened.
    #[error("the ledger did not answer: {0}")]
    Unavailable(String),
    /// It answered what cannot be: a damaged file, a value in an unknown form.
    #[error("the ledger holds what cannot be read: {0}")]
    Damaged(String),
}

impl LedgerError {
    /// The name in traces, as in metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Damaged(_) => "damaged",
        }
    }
}

/// A store of records, by compare and swap.
///
/// Every operation is atomic, and a write that was answered is durable as far as the kind of
/// ledger promises. An expired record is absent.
pub trait Ledger: Send + Sync + 'static {
    /// Puts `fresh` under `ids[0]` unless a record stands under any of `ids` (the others are older
    /// ids of the same operation). `ids` must not be empty.
    fn claim(
        &self,
        ids: &[RecordId],
        fresh: Entry,
    ) -> impl Future<Output = Result<Claimed, LedgerError>> + Send;

    /// Writes `entry` under `id` if the record there still has version `seen`.
    fn replace(
        &self,
        id: RecordId,
        seen: Version,
        entry: Entry,
    ) -> impl Future<Output = Result<Replaced, LedgerError>> + Send;

    /// Removes the record under `id` if it still has version `seen`.
    fn remove(
        &self,
        id: RecordId,
        seen: Version,
    ) -> impl Future<Output = Result<Replaced, LedgerError>> + Send;

    /// Reads the record under `id`.
    fn get(&self, id: RecordId) -> impl Future<Output = Result<Option<Held>, LedgerError>> + Send;

    /// At most `limit` records whose last write said `open`, in no order. A hint for people.
    fn open(&self, limit: usize) -> impl Future<Output = Result<Vec<Held>, LedgerError>> + Send;

    /// The record last written with this key digest. A hint for people.
    fn by_key(
        &self,
        key: KeyDigest,
    ) -> impl Future<Output = Result<Option<Held>, LedgerError>> + Send;

    /// Whether this process alone writes here (so that a record of another owner is a dead one's).
    fn exclusive(&self) -> bool;

    /// Whether, as far as is known now, no record was lost or will be before its time. May change;
    /// a ledger that cannot know says no.
    fn never_forgets(&self) -> bool {
        false
    }
}

/// By which keys a record is found after a write that names `named`, where `earlier` ones found it
/// before; and by which it no longer is.
fn found_by(mut earlier: Vec<KeyDigest>, named: &[KeyDigest]) -> (Vec<KeyDigest>, Vec<KeyDigest>) {
    earlier.retain(|key| !named.contains(key));
    let surplus = (earlier.len() + named.len()).saturating_sub(KEYS).min(earlier.len());
    let mut all = earlier.split_off(surplus);
    all.extend_from_slice(named);
    (all, earlier)
}

fn no_id() -> LedgerError {
    LedgerError::Unavailable("a claim without an id; nothing was written".to_owned())
}

fn full(max_records: impl fmt::Display) -> LedgerError {
    LedgerError::Unavailable(format!(
        "it is full: {max_records} records, none of them expired; nothing was written"
    ))
}

/// A shared ledger is a ledger.
impl<L: Ledger> Ledger for std::sync::Arc<L> {
    async fn claim(&self, ids: &[RecordId], fresh: Entry) -> Result<Claimed, LedgerError> {
        L::claim(self, ids, fresh).await
    }

    async fn replace(
        &self,
        id: RecordId,
        seen: Version,
        entry: Entry,
    ) -> Result<Replaced, LedgerError> {
        L::replace(self, id, seen, entry).await
    }

    async fn remove(&self, id: RecordId, seen: Version) -> Result<Replaced, LedgerError> {
        L::remove(self, id, seen).await
    }

    async fn get(&self, id: RecordId) -> Result<Option<Held>, LedgerError> {
        L::get(self, id).await
    }

    async fn open(&self, limit: usize) -> Result<Vec<Held>, LedgerError> {
        L::open(self, limit).await
    }

    async fn by_key(&self, key: KeyDigest) -> Result<Option<Held>, LedgerError> {
        L::by_key(self, key).await
    }

    fn exclusive(&self) -> bool {
        L::exclusive(self)
    }

    fn never_forgets(&self) -> bool {
        L::never_forgets(self)
    }
}
