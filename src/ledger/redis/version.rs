//! The versions of writes, drawn by whoever writes.
//!
//! A counter in Redis would be forgotten with the records: after a fail-over to a stale replica it
//! would give the same version again, and a writer that was away could match a record that it never
//! saw. So a version is made of the writer's time and of chance: 42 bits of milliseconds since 1970
//! (until the year 2109), 22 random bits. It is greater than the version that it replaces, and
//! greater than any that this process drew before, whatever the clock does. Two processes draw the
//! same only within one millisecond, by one chance in four million, and that matters only if a
//! record was removed and made anew in that very millisecond while a third held its version.
//!
//! Between processes whose clocks differ, the version of a record that came again after removal may
//! be smaller than its predecessor's. It is another all the same, which is all that a compare and
//! swap needs.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::chance::Chance;
use crate::clock::Timestamp;
use crate::ledger::Version;

/// How many bits are chance.
const RANDOM: u32 = 22;

/// Draws versions.
#[derive(Debug, Default)]
pub(super) struct Versions {
    last: AtomicU64,
}

impl Versions {
    /// A version never drawn here before, greater than `seen`.
    pub(super) fn draw(&self, now: Timestamp, chance: &Chance, seen: Option<Version>) -> Version {
        let random = u64::from(u32::from_be_bytes(chance.bytes())) >> (32 - RANDOM);
        let fresh = (now.as_millis() << RANDOM) | random;
        let above = seen.map_or(0, |seen| seen.0.saturating_add(1));
        let fresh = fresh.max(above);
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(fresh.max(last.saturating_add(1)))
            })
            .unwrap_or_else(|last| last);
        Version(fresh.max(last.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn each_version_is_greater_than_all_before_even_if_the_clock_steps_back() {
        let (versions, chance) = (Versions::default(), Chance::seeded(1));
        let mut last = versions.draw(at(5000), &chance, None);
        for now in [5000, 5000, 4000, 6000, 0, 5999] {
            let next = versions.draw(at(now), &chance, None);
            assert!(next > last, "{next:?} after {last:?}");
            last = next;
        }
    }

    #[test]
    fn a_version_is_greater_than_the_one_it_replaces_though_that_writers_clock_runs_ahead() {
        let (ours, theirs) = (Versions::default(), Versions::default());
        let chance = Chance::seeded(2);
        let seen = theirs.draw(at(9_000_000), &chance, None);
        let next = ours.draw(at(1000), &chance, Some(seen));
        assert!(next > seen);
        assert!(ours.draw(at(1000), &chance, None) > next);
    }

    #[test]
    fn two_processes_draw_different_versions_in_one_millisecond() {
        let chance = Chance::seeded(3);
        let mut drawn: Vec<_> =
            (0..1000).map(|_| Versions::default().draw(at(7), &chance, None)).collect();
        drawn.sort();
        drawn.dedup();
        assert!(drawn.len() >= 999, "{}", drawn.len());
    }

    #[test]
    fn the_time_of_this_century_fits() {
        let year_2100 = 4_102_444_800_000;
        let version = Versions::default().draw(at(year_2100), &Chance::seeded(4), None);
        assert_eq!(version.0 >> RANDOM, year_2100);
    }
}
