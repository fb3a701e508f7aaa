//! A ledger in this process's memory: for tests, the demo and the sandbox.
//!
//! It is gone with the process, and it is bounded: when it is full of records that have not
//! expired, a claim is refused rather than a record dropped. Nothing here waits.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;

use super::{Claimed, Entry, Held, KeyDigest, Ledger, LedgerError, RecordId, Replaced, Version};
use crate::clock::{Clock, Timestamp};

/// How many expired records a write takes away beside its own work.
const SWEEP: usize = 256;

/// A bounded map with expiry.
pub struct Memory {
    clock: Clock,
    max_records: usize,
    inner: Mutex<Inner>,
}

impl Memory {
    /// An empty ledger of at most `max_records` records, on `clock`'s time.
    #[must_use]
    pub fn new(clock: Clock, max_records: usize) -> Self {
        Self { clock, max_records, inner: Mutex::default() }
    }

    /// All that it holds, to be stepped back to.
    ///
    /// # Errors
    /// As any other call.
    #[cfg(feature = "seams")]
    pub fn snapshot(&self) -> Result<Snapshot, LedgerError> {
        Ok(Snapshot(self.inner()?.clone()))
    }

    /// Steps back to `snapshot`, or to nothing: what a stale replica or a flush leaves behind. No
    /// version comes twice all the same.
    ///
    /// # Errors
    /// As any other call.
    #[cfg(feature = "seams")]
    pub fn step_back(&self, snapshot: Option<&Snapshot>) -> Result<(), LedgerError> {
        let mut inner = self.inner()?;
        let last = inner.last;
        let kept = snapshot.map(|snapshot| snapshot.0.clone()).unwrap_or_default();
        *inner = Inner { last, ..kept };
        Ok(())
    }

    /// Nothing awaits while this is held.
    fn inner(&self) -> Result<MutexGuard<'_, Inner>, LedgerError> {
        self.inner.lock().map_err(|poisoned| {
            LedgerError::Unavailable(format!("an earlier write broke off: {poisoned}"))
        })
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("max_records", &self.max_records).finish_non_exhaustive()
    }
}

impl Ledger for Memory {
    async fn claim(&self, ids: &[RecordId], fresh: Entry) -> Result<Claimed, LedgerError> {
        fresh.check()?;
        let first = *ids.first().ok_or_else(super::no_id)?;
        let now = self.clock.now();
        let mut inner = self.inner()?;
        if let Some(held) = ids.iter().find_map(|id| inner.live(*id, now)) {
            return Ok(Claimed::Found(held));
        }
        inner.forget(first);
        inner.sweep(now);
        if inner.slots.len() >= self.max_records {
            return Err(super::full(self.max_records));
        }
        Ok(Claimed::Fresh(inner.put(first, fresh, now)))
    }

    async fn replace(
        &self,
        id: RecordId,
        seen: Version,
        entry: Entry,
    ) -> Result<Replaced, LedgerError> {
        entry.check()?;
        let now = self.clock.now();
        let mut inner = self.inner()?;
        match inner.live(id, now) {
            Some(held) if held.version == seen => {
                Ok(Replaced::Done(Some(inner.put(id, entry, now))))
            }
            other => Ok(Replaced::Moved(other)),
        }
    }

    async fn remove(&self, id: RecordId, seen: Version) -> Result<Replaced, LedgerError> {
        let now = self.clock.now();
        let mut inner = self.inner()?;
        match inner.live(id, now) {
            Some(held) if held.version == seen => {
                inner.forget(id);
                Ok(Replaced::Done(None))
            }
            other => Ok(Replaced::Moved(other)),
        }
    }

    async fn get(&self, id: RecordId) -> Result<Option<Held>, LedgerError> {
        Ok(self.inner()?.live(id, self.clock.now()))
    }

    async fn open(&self, limit: usize) -> Result<Vec<Held>, LedgerError> {
        let now = self.clock.now();
        let inner = self.inner()?;
        Ok(inner.open.iter().filter_map(|id| inner.live(*id, now)).take(limit).collect())
    }

    async fn by_key(&self, key: KeyDigest) -> Result<Option<Held>, LedgerError> {
        let inner = self.inner()?;
        Ok(inner.keys.get(&key).and_then(|id| inner.live(*id, self.clock.now())))
    }

    fn exclusive(&self) -> bool {
        true
    }
}

/// What a ledger held at one moment.
#[cfg(feature = "seams")]
#[derive(Debug)]
pub struct Snapshot(Inner);

#[derive(Clone, Debug)]
struct Slot {
    version: Version,
    record: Bytes,
    expires: Timestamp,
    keys: Vec<KeyDigest>,
}

/// The records, and what points at them. Every id in an index has a slot.
#[derive(Clone, Debug, Default)]
struct Inner {
    slots: HashMap<RecordId, Slot>,
    expiry: BTreeSet<(Timestamp, RecordId)>,
    open: BTreeSet<RecordId>,
    keys: HashMap<KeyDigest, RecordId>,
    last: u64,
}

impl Inner {
    fn live(&self, id: RecordId, now: Timestamp) -> Option<Held> {
        let slot = self.slots.get(&id).filter(|slot| slot.expires > now)?;
        Some(Held { id, version: slot.version, record: slot.record.clone() })
    }

    fn put(&mut self, id: RecordId, entry: Entry, now: Timestamp) -> Version {
        let earlier = self.take(id);
        let (keys, gone) = super::found_by(earlier, &entry.keys);
        self.unlink(id, &gone);
        self.last += 1;
        let version = Version(self.last);
        let expires = now.plus(entry.ttl);
        self.expiry.insert((expires, id));
        if entry.open {
            self.open.insert(id);
        }
        self.keys.extend(entry.keys.iter().map(|key| (*key, id)));
        self.slots.insert(id, Slot { version, record: entry.record, expires, keys });
        version
    }

    fn forget(&mut self, id: RecordId) {
        let keys = self.take(id);
        self.unlink(id, &keys);
    }

    /// Takes a record away; the keys that find it are left to the caller.
    fn take(&mut self, id: RecordId) -> Vec<KeyDigest> {
        let Some(slot) = self.slots.remove(&id) else { return Vec::new() };
        self.expiry.remove(&(slot.expires, id));
        self.open.remove(&id);
        slot.keys
    }

    fn unlink(&mut self, id: RecordId, keys: &[KeyDigest]) {
        for key in keys {
            if self.keys.get(key) == Some(&id) {
                self.keys.remove(key);
            }
        }
    }

    fn sweep(&mut self, now: Timestamp) {
        for _ in 0..SWEEP {
            match self.expiry.first() {
                Some((expires, id)) if *expires <= now => self.forget(*id),
                Some(_) | None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(ttl: Duration) -> Entry {
        Entry { record: Bytes::from_static(b"{}"), ttl, open: true, keys: vec![KeyDigest([1; 16])] }
    }

    #[tokio::test]
    async fn a_full_ledger_refuses_and_drops_nothing() {
        let ledger = Memory::new(Clock::System, 2);
        let day = Duration::from_hours(24);
        for id in [1, 2] {
            ledger.claim(&[RecordId([id; 32])], entry(day)).await.unwrap();
        }
        let refused = ledger.claim(&[RecordId([3; 32])], entry(day)).await.unwrap_err();
        assert!(refused.to_string().contains("full"), "{refused}");
        assert_eq!(ledger.open(9).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn expired_records_make_room_and_leave_nothing_behind() {
        let ledger = Memory::new(Clock::System, 2);
        for id in 1..=20 {
            ledger.claim(&[RecordId([id; 32])], entry(Duration::ZERO)).await.unwrap();
        }
        let mut inner = ledger.inner().unwrap();
        inner.sweep(Timestamp::from_millis(u64::MAX));
        assert_eq!((inner.slots.len(), inner.expiry.len()), (0, 0));
        assert_eq!((inner.open.len(), inner.keys.len()), (0, 0));
    }

    #[tokio::test]
    async fn the_keys_of_a_record_that_is_written_again_and_again_are_bounded() {
        let ledger = Memory::new(Clock::System, 2);
        let id = RecordId([1; 32]);
        let Claimed::Fresh(mut version) =
            ledger.claim(&[id], entry(Duration::from_hours(24))).await.unwrap()
        else {
            panic!("an empty ledger found something")
        };
        for n in 0..200 {
            let keys = vec![KeyDigest([n; 16])];
            let next = Entry { keys, ..entry(Duration::from_hours(24)) };
            let replaced = ledger.replace(id, version, next).await.unwrap();
            let Replaced::Done(Some(done)) = replaced else { panic!("not replaced") };
            version = done;
        }
        assert_eq!(ledger.inner().unwrap().keys.len(), crate::ledger::KEYS);
        ledger.remove(id, version).await.unwrap();
        assert_eq!(ledger.inner().unwrap().keys.len(), 0);
    }
}
