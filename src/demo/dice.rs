//! Chance that repeats: every roll is a digest of the seed and of what it is rolled for, so that
//! neither the order of things nor the way they take changes it.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// All chance of one day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The `n`-th roll for `what` of `whom`.
    pub(super) fn bytes(self, what: &str, whom: &str, n: u32) -> [u8; 16] {
        let mut digest = Sha256::new();
        digest.update(self.0.to_be_bytes());
        digest.update(n.to_be_bytes());
        digest.update(what.as_bytes());
        digest.update([0]);
        digest.update(whom.as_bytes());
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(digest.finalize()) {
            *to = from;
        }
        bytes
    }

    /// A number in `[0, 1)`.
    pub(super) fn unit(self, what: &str, whom: &str, n: u32) -> f64 {
        f64::from(self.word(what, whom, n)) / (f64::from(u32::MAX) + 1.0)
    }

    /// A number below `end`.
    pub(super) fn below(self, end: u32, what: &str, whom: &str, n: u32) -> u32 {
        self.word(what, whom, n) % end.max(1)
    }

    fn word(self, what: &str, whom: &str, n: u32) -> u32 {
        self.bytes(what, whom, n).iter().take(4).fold(0, |word, byte| word << 8 | u32::from(*byte))
    }

    /// A time from `least` to `most`, each order of magnitude as likely as the other.
    pub(super) fn time(
        self,
        least: Duration,
        most: Duration,
        what: &str,
        whom: &str,
        n: u32,
    ) -> Duration {
        let ratio = most.as_secs_f64() / least.as_secs_f64().max(0.001);
        least.mul_f64(ratio.max(1.0).powf(self.unit(what, whom, n)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_rolls_the_same_and_another_does_not() {
        let roll = |seed| Dice::new(seed).bytes("key", "op-1", 0);
        assert_eq!(roll(1), roll(1));
        assert_ne!(roll(1), roll(2));
        assert_ne!(roll(1), Dice::new(1).bytes("key", "op-1", 1));
    }

    #[test]
    fn times_lie_between_their_ends() {
        let (least, most) = (Duration::from_millis(100), Duration::from_mins(30));
        for n in 0..200 {
            let time = Dice::new(3).time(least, most, "delay", "op", n);
            assert!((least..=most).contains(&time), "{time:?}");
        }
    }
}
