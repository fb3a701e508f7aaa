//! What this process remembers by itself, for a while and within a bound.
//!
//! Two things: which key each recent call was sent with, so that no reload, mode or bypass changes
//! a key mid-call (I2); and the last record of recent operations, which helps a ledger that is
//! down or has forgotten (DESIGN §4). Neither is needed for an operation to be safe.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::decide::digest::{CallDigest, CallHint, OperationId};
use crate::decide::identity::Kind;
use crate::decide::key::IdempotencyKey;
use crate::decide::operation::record::Record;
use crate::ledger::RecordId;

/// How long a call keeps its key, whatever the policy says meanwhile (I2).
pub const CALLS_FOR: Duration = Duration::from_mins(15);
const MAX_CALLS: usize = 65_536;
const MAX_OPERATIONS: usize = 8_192;

/// How a recent call was sent.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it was recognised by; [`Kind::Call`] has no record.
    pub kind: Kind,
    /// Its operation.
    pub operation: OperationId,
    /// The key that it was sent with.
    pub key: IdempotencyKey,
}

/// The memory of one process.
#[derive(Debug)]
pub struct Recent {
    calls: Mutex<Bounded<CallDigest, Call>>,
    hints: Mutex<Bounded<CallHint, ()>>,
    passed: Mutex<Bounded<CallHint, ()>>,
    operations: Mutex<Bounded<RecordId, Record>>,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            calls: Mutex::new(Bounded::new(MAX_CALLS, CALLS_FOR)),
            hints: Mutex::new(Bounded::new(MAX_CALLS, CALLS_FOR)),
            passed: Mutex::new(Bounded::new(MAX_CALLS, CALLS_FOR)),
            operations: Mutex::new(Bounded::new(MAX_OPERATIONS, Duration::from_hours(24))),
        }
    }
}

impl Recent {
    /// How this call was sent, if it was.
    #[must_use]
    pub fn call(&self, call: CallDigest, now: Timestamp) -> Option<Call> {
        lock(&self.calls).get(&call, now).cloned()
    }

    /// Whether a call with this client key may have been sent lately, whatever it said: so that a
    /// request which the policy now passes is looked at before its key is let through.
    #[must_use]
    pub fn may_know(&self, hint: CallHint, now: Timestamp) -> bool {
        lock(&self.hints).get(&hint, now).is_some()
    }

    /// Remembers how a call is sent. True if it was not known before.
    pub fn sent(&self, call: CallDigest, hint: CallHint, how: Call, now: Timestamp) -> bool {
        lock(&self.hints).insert(hint, (), now);
        let mut calls = lock(&self.calls);
        let new = calls.get(&call, now).is_none();
        calls.insert(call, how, now);
        new
    }

    /// Remembers that a request with this client key was let through as it was, its body unread.
    pub fn passed(&self, hint: CallHint, now: Timestamp) {
        lock(&self.passed).insert(hint, (), now);
    }

    /// Whether one was, lately: its client key is what the provider knows it by.
    #[must_use]
    pub fn has_passed(&self, hint: CallHint, now: Timestamp) -> bool {
        lock(&self.passed).get(&hint, now).is_some()
    }

    /// Forgets a call of which nothing was executed.
    pub fn not_executed(&self, call: CallDigest) {
        lock(&self.calls).remove(&call);
    }

    /// The last record that this process wrote, or meant to write, for an operation.
    #[must_use]
    pub fn operation(&self, id: RecordId, now: Timestamp) -> Option<Record> {
        lock(&self.operations).get(&id, now).cloned()
    }

    /// The ids of at most `most` operations whose record is such, in no order: for people.
    #[must_use]
    pub fn operations_where(
        &self,
        most: usize,
        is: impl Fn(RecordId, &Record) -> bool,
    ) -> Vec<RecordId> {
        let operations = lock(&self.operations);
        let all = operations.entries.iter();
        all.filter(|(id, entry)| is(**id, &entry.value)).map(|(id, _)| *id).take(most).collect()
    }

    /// Remembers the record of an operation.
    pub fn wrote(&self, id: RecordId, record: Record, now: Timestamp) {
        lock(&self.operations).insert(id, record, now);
    }

    /// Forgets an operation of which nothing was executed.
    pub fn removed(&self, id: RecordId) {
        lock(&self.operations).remove(&id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A map that forgets: the oldest first when it is full, each entry after a time.
#[derive(Debug)]
pub(crate) struct Bounded<K, V> {
    entries: HashMap<K, Entry<V>>,
    order: VecDeque<(K, u64)>,
    capacity: usize,
    keep: Duration,
    writes: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    write: u64,
    at: Timestamp,
}

impl<K: Copy + Eq + Hash, V> Bounded<K, V> {
    /// Of at most `capacity` entries, each kept for so long.
    pub(crate) fn new(capacity: usize, keep: Duration) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), capacity, keep, writes: 0 }
    }

    /// What is remembered of `key`.
    pub(crate) fn get(&self, key: &K, now: Timestamp) -> Option<&V> {
        self.entries
            .get(key)
            .filter(|entry| now.since(entry.at) < self.keep)
            .map(|entry| &entry.value)
    }

    /// Remembers it from now on.
    pub(crate) fn insert(&mut self, key: K, value: V, now: Timestamp) {
        self.writes = self.writes.saturating_add(1);
        self.entries.insert(key, Entry { value, write: self.writes, at: now });
        self.order.push_back((key, self.writes));
        // Every write leaves a place in the order, so one key written often is bounded as well.
        while self.entries.len() > self.capacity || self.order.len() > self.capacity * 2 {
            let Some((oldest, write)) = self.order.pop_front() else { break };
            if self.entries.get(&oldest).is_some_and(|entry| entry.write == write) {
                self.entries.remove(&oldest);
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn an_entry_is_forgotten_after_its_time() {
        let mut map = Bounded::new(4, Duration::from_secs(10));
        map.insert(1, "a", at(0));
        assert_eq!(map.get(&1, at(9)), Some(&"a"));
        assert_eq!(map.get(&1, at(10)), None);
    }

    #[test]
    fn the_oldest_write_is_forgotten_first_when_it_is_full() {
        let mut map = Bounded::new(2, Duration::from_secs(10));
        map.insert(1, "a", at(0));
        map.insert(2, "b", at(0));
        map.insert(1, "c", at(1));
        map.insert(3, "d", at(1));
        assert_eq!(map.get(&2, at(1)), None);
        assert_eq!(map.get(&1, at(1)), Some(&"c"));
    }

    #[test]
    fn one_key_written_over_and_over_takes_bounded_room() {
        let mut map = Bounded::new(8, Duration::from_secs(10));
        for n in 0..10_000 {
            map.insert(1, n, at(0));
        }
        assert!(map.order.len() <= 16 && map.get(&1, at(0)) == Some(&9_999));
    }
}
