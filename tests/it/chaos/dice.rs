//! Chance that repeats: a roll depends on the seed and on what it is rolled for, not on the order in
//! which parallel applications come to it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;
use std::time::Duration;

/// All chance of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// The `n`-th roll for `what` of `whom`.
    pub(crate) fn roll(self, what: &str, whom: &str, n: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.0, what, whom, n).hash(&mut hasher);
        hasher.finish()
    }

    /// A number below `end`.
    pub(crate) fn below(self, end: u64, what: &str, whom: &str, n: u64) -> usize {
        usize::try_from(self.roll(what, whom, n) % end.max(1)).unwrap()
    }

    /// Whether it happens, so many times of a hundred.
    pub(crate) fn percent(self, chance: u64, what: &str, whom: &str, n: u64) -> bool {
        self.roll(what, whom, n) % 100 < chance
    }

    /// A time of so many milliseconds.
    pub(crate) fn millis(self, range: Range<u64>, what: &str, whom: &str, n: u64) -> Duration {
        let wide = range.end.saturating_sub(range.start).max(1);
        Duration::from_millis(range.start + self.roll(what, whom, n) % wide)
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(self, from: &[T], what: &str, whom: &str, n: u64) -> T {
        from[self.below(from.len() as u64, what, whom, n)]
    }
}
