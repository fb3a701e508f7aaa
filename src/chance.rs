//! Randomness as an argument: the one place on a request's way that asks for it.
//!
//! What is drawn here keeps claims apart, spreads pauses and mints keys. A seeded source draws the
//! same again, so that a simulation replays a run exactly.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Where random numbers come from. Clones share the source.
#[derive(Clone, Default)]
pub enum Chance {
    /// The thread's generator, seeded by the system; fit for keys.
    #[default]
    System,
    /// The same numbers for the same seed. For simulations alone.
    Seeded(Arc<Mutex<StdRng>>),
}

impl Chance {
    /// A source that draws the same again for the same `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match self {
            Self::System => rand::rng().fill(&mut bytes),
            Self::Seeded(rng) => {
                rng.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut bytes);
            }
        }
        bytes
    }

    /// A number from 0 up to, not including, 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        match self {
            Self::System => rand::rng().random(),
            Self::Seeded(rng) => rng.lock().unwrap_or_else(PoisonError::into_inner).random(),
        }
    }
}

/// What a source would draw next is nobody's business.
impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Seeded(_) => "Seeded",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again_and_another_does_not() {
        let drawn = |seed| Chance::seeded(seed).bytes::<16>();
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert_ne!(Chance::System.bytes::<16>(), Chance::System.bytes::<16>());
    }

    #[test]
    fn a_share_lies_below_one() {
        let chance = Chance::seeded(3);
        assert!((0..1000).all(|_| (0.0..1.0).contains(&chance.share())));
    }
}
