//! Writes that the ledger did not take, kept until it does.
//!
//! Nobody's safety hangs on them: whoever asks next sends the same key. But until they are written
//! an outcome that is known looks unknown to people, and to a request that comes too late to ask
//! the provider. In memory and bounded: they die with the process.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::ledger::RecordId;

/// How many are kept; the oldest goes first.
const MOST: usize = 8_192;

/// What is still to be written, one write for each record: the latest.
#[derive(Debug)]
pub struct Unwritten<W> {
    queue: Mutex<Queue<W>>,
    some: Notify,
}

#[derive(Debug)]
struct Queue<W> {
    writes: HashMap<RecordId, W>,
    order: VecDeque<RecordId>,
}

impl<W> Default for Unwritten<W> {
    fn default() -> Self {
        let queue = Queue { writes: HashMap::new(), order: VecDeque::new() };
        Self { queue: Mutex::new(queue), some: Notify::new() }
    }
}

impl<W> Unwritten<W> {
    /// Keeps a write, in place of an earlier one of the same record. False if the oldest of all had
    /// to go for it.
    pub fn add(&self, id: RecordId, write: W) -> bool {
        let mut queue = self.lock();
        if queue.writes.insert(id, write).is_none() {
            queue.order.push_back(id);
        }
        let full = queue.order.len() > MOST;
        if full && let Some(oldest) = queue.order.pop_front() {
            queue.writes.remove(&oldest);
        }
        drop(queue);
        self.some.notify_one();
        !full
    }

    /// Takes the oldest.
    pub fn take(&self) -> Option<(RecordId, W)> {
        let mut queue = self.lock();
        let id = queue.order.pop_front()?;
        queue.writes.remove(&id).map(|write| (id, write))
    }

    /// Puts one back behind the others that was taken and failed, unless a later one of its record
    /// has come.
    pub fn put_back(&self, id: RecordId, write: W) {
        let mut queue = self.lock();
        if let Entry::Vacant(free) = queue.writes.entry(id) {
            free.insert(write);
            queue.order.push_back(id);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().order.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until there is one.
    pub async fn some(&self) {
        while self.is_empty() {
            self.some.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<W>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(n: u8) -> RecordId {
        RecordId([n; 32])
    }

    #[test]
    fn the_latest_write_of_a_record_is_the_one_that_is_kept() {
        let unwritten = Unwritten::default();
        unwritten.add(id(1), "first");
        unwritten.add(id(2), "other");
        unwritten.add(id(1), "second");
        assert_eq!(unwritten.take(), Some((id(1), "second")));
        unwritten.add(id(1), "third");
        unwritten.put_back(id(1), "second");
        assert_eq!(unwritten.take(), Some((id(2), "other")));
        unwritten.put_back(id(2), "other");
        assert_eq!(unwritten.take(), Some((id(1), "third")));
        assert_eq!(unwritten.take(), Some((id(2), "other")));
        assert_eq!(unwritten.take(), None);
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let unwritten = Unwritten::default();
        let numbered = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            RecordId(bytes)
        };
        assert!((0..MOST).all(|n| unwritten.add(numbered(n), n)));
        assert!(!unwritten.add(numbered(MOST), MOST));
        assert_eq!(unwritten.len(), MOST);
        assert_eq!(unwritten.take(), Some((numbered(1), 1)));
    }

    #[tokio::test]
    async fn waiting_ends_with_the_first_that_is_added() {
        let unwritten = Unwritten::default();
        tokio::join!(unwritten.some(), async { unwritten.add(id(1), ()) });
        assert!(!unwritten.is_empty());
    }
}
