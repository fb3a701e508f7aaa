//! Which ways of recognising operations are known on a store, and since when. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The form of an index that this payonce writes.
const FORMAT: u32 = 1;

/// How long a way is kept after it was last in force: nothing that is kept for longer than this
/// (v2: 30 days and 7) can have been recognised by it.
const KEEP: Duration = Duration::from_hours(38 * 24);

/// By how much the clocks of two processes may differ: what was announced less long ago may not be
/// known everywhere.
const CLOCKS_DIFFER: Duration = Duration::from_mins(10);

/// Ways that are kept at most; the one that was in force longest ago goes first.
const MOST: usize = 32;

/// What stands in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    format: u32,
    ways: Vec<Entry>,
}

/// One way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) id: String,
    /// When it was announced.
    since: Timestamp,
    /// When it was last known to be in force; within the hour.
    last: Timestamp,
}

/// What stands there is no index that this payonce reads.
#[derive(Debug, thiserror::Error)]
#[error("the list of former policies cannot be read: {0}")]
pub(super) struct UnreadableIndex(String);

impl Index {
    pub(super) const fn new() -> Self {
        Self { format: FORMAT, ways: Vec::new() }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, UnreadableIndex> {
        let index: Self =
            serde_json::from_slice(bytes).map_err(|error| UnreadableIndex(error.to_string()))?;
        if index.format != FORMAT {
            return Err(UnreadableIndex(format!("its format is {}", index.format)));
        }
        Ok(index)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The ids of all ways, that in force last first: what is open is most likely of the latest.
    pub(super) fn ids(&self) -> Vec<&str> {
        let mut ways: Vec<&Entry> = self.ways.iter().collect();
        ways.sort_by_key(|entry| std::cmp::Reverse((entry.last, entry.since)));
        ways.into_iter().map(|entry| entry.id.as_str()).collect()
    }

    /// Those of `earlier` that are not here and may still be of use: the store has lost them.
    pub(super) fn lost<'a>(&self, earlier: &'a Self, now: Timestamp) -> Vec<&'a str> {
        let here = |id: &str| self.ways.iter().any(|entry| entry.id == id);
        let lost = |entry: &&Entry| !here(&entry.id) && now.since(entry.last) < KEEP;
        let full = self.ways.len() >= MOST;
        earlier.ways.iter().filter(|_| !full).filter(lost).map(|it| it.id.as_str()).collect()
    }

    /// Whether `id` is known to be in force by a note that is younger than `within`.
    pub(super) fn in_force(&self, id: &str, now: Timestamp, within: Duration) -> bool {
        self.ways.iter().any(|entry| entry.id == id && now.since(entry.last) < within)
    }

    /// Notes that `id` is in force, and forgets what is of no use any more. Says which ways went
    /// because there are too many.
    pub(super) fn note(&mut self, id: &str, now: Timestamp) -> Vec<String> {
        self.ways.retain(|entry| entry.id == id || now.since(entry.last) < KEEP);
        match self.ways.iter_mut().find(|entry| entry.id == id) {
            Some(entry) => entry.last = entry.last.max(now),
            None => self.ways.push(Entry { id: id.to_owned(), since: now, last: now }),
        }
        let mut gone = Vec::new();
        while self.ways.len() > MOST {
            let oldest = self.ways.iter().enumerate().filter(|(_, it)| it.id != id);
            let Some((place, _)) = oldest.min_by_key(|(_, it)| it.last) else { break };
            gone.push(self.ways.remove(place).id);
        }
        gone
    }

    /// How long is to be waited before `id` is used: `notice`, if it is new and there is any other
    /// way by which a process may work.
    pub(super) fn wait(&self, id: &str, now: Timestamp, notice: Duration) -> Duration {
        let alone = self.ways.iter().all(|entry| entry.id == id);
        let since = self.ways.iter().find(|entry| entry.id == id).map(|entry| entry.since);
        match since {
            Some(since) if !alone && now < since.plus(notice).plus(CLOCKS_DIFFER) => notice,
            Some(_) | None => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTICE: Duration = Duration::from_secs(15);
    const DAY: u64 = 24 * 3600;

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn the_first_way_of_a_store_is_used_at_once_and_another_after_its_notice() {
        let mut index = Index::new();
        index.note("a", at(0));
        assert_eq!(index.wait("a", at(0), NOTICE), Duration::ZERO);
        index.note("b", at(100));
        assert_eq!(index.wait("b", at(100), NOTICE), NOTICE);
        // By another's clock it may be announced for a shorter time.
        assert_eq!(index.wait("b", at(115), NOTICE), NOTICE);
        assert_eq!(index.wait("b", at(715), NOTICE), Duration::ZERO);
        // Everybody has known the first one all the time.
        index.note("a", at(200));
        assert_eq!(index.wait("a", at(1000), NOTICE), Duration::ZERO);
    }

    #[test]
    fn a_process_whose_clock_is_behind_waits_as_well() {
        let mut index = Index::new();
        index.note("a", at(0));
        index.note("b", at(1000));
        assert_eq!(index.wait("b", at(10), NOTICE), NOTICE);
    }

    #[test]
    fn a_way_is_forgotten_when_nothing_recognised_by_it_can_be_left() {
        let mut index = Index::new();
        index.note("a", at(0));
        index.note("b", at(10 * DAY));
        index.note("b", at(38 * DAY - 1));
        assert_eq!(index.ids(), ["b", "a"]);
        index.note("b", at(38 * DAY));
        assert_eq!(index.ids(), ["b"]);
    }

    #[test]
    fn the_way_that_was_in_force_longest_ago_goes_when_there_are_too_many() {
        let mut index = Index::new();
        for n in 0..32 {
            assert!(index.note(&n.to_string(), at(n)).is_empty());
        }
        assert!(index.note("0", at(100)).is_empty());
        assert_eq!(index.note("new", at(101)), ["1"]);
        assert_eq!(index.ids().len(), 32);
    }

    #[test]
    fn what_the_store_lost_is_known_by_what_it_held() {
        let mut earlier = Index::new();
        earlier.note("a", at(0));
        earlier.note("b", at(DAY));
        let mut now = Index::new();
        now.note("b", at(2 * DAY));
        assert_eq!(now.lost(&earlier, at(2 * DAY)), ["a"]);
        // What is of no use any more is not missed.
        assert!(now.lost(&earlier, at(38 * DAY)).is_empty());
    }

    #[test]
    fn an_index_of_a_newer_payonce_is_left_alone() {
        let mut index = Index::new();
        index.note("a", at(5));
        assert_eq!(Index::read(&index.bytes()).unwrap(), index);
        let newer =
            String::from_utf8(index.bytes()).unwrap().replace("\"format\":1", "\"format\":2");
        assert!(Index::read(newer.as_bytes()).is_err());
    }
}
