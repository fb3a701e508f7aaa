//! Time as an argument: the one place that reads a clock or waits.
//!
//! Everything that decides takes a [`Timestamp`]; everything that waits asks a [`Clock`]. A
//! compressed clock runs all of payonce (leases, time-outs, back-off, delivery) faster than the
//! wall by one factor, so that the demo can play a day in seconds without a second set of rules.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

mod calendar;

/// Milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The instant `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it lies in the future (a clock that stepped back).
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This instant moved on by `by`, saturating.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This instant moved back by `by`, to 1970 at most.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// A deadline passed before the awaited thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time limit passed")]
pub struct Elapsed;

/// Where time comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's wall clock, and real waits.
    System,
    /// Starts at `base` and runs `speed` times as fast as tokio's clock, which a test may pause.
    Driven {
        /// What the clock read when it was made.
        base: Timestamp,
        /// tokio's time when it was made.
        start: tokio::time::Instant,
        /// How many seconds pass in one real second; at least 1.
        speed: u32,
        /// Milliseconds that it was moved on by. Clones share it.
        ahead: Arc<AtomicU64>,
    },
}

impl Clock {
    /// A clock on tokio's time, `speed` (at least 1) times as fast, that now reads `base`.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn driven(base: Timestamp, speed: u32) -> Self {
        let (start, ahead) = (tokio::time::Instant::now(), Arc::default());
        Self::Driven { base, start, speed: speed.max(1), ahead }
    }

    /// Moves a driven clock and all its clones on at once. Waits that run already end no sooner:
    /// what looks at the time sees the leap, what sleeps does not. The system's clock stays.
    pub fn advance(&self, by: Duration) {
        match self {
            Self::System => {}
            Self::Driven { ahead, .. } => {
                let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
                ahead.fetch_add(by, Ordering::Relaxed);
            }
        }
    }

    /// What time it is.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::default().plus(since)
            }
            Self::Driven { base, start, speed, ahead } => base
                .plus(start.elapsed().saturating_mul(*speed))
                .plus(Duration::from_millis(ahead.load(Ordering::Relaxed))),
        }
    }

    /// The same in nanoseconds since the Unix epoch, for what must tell short times apart.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn unix_nanos(&self) -> u64 {
        let since = match self {
            Self::System => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Self::Driven { base, start, speed, ahead } => Duration::from_millis(base.as_millis())
                .saturating_add(start.elapsed().saturating_mul(*speed))
                .saturating_add(Duration::from_millis(ahead.load(Ordering::Relaxed))),
        };
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Waits for `time` of this clock.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub async fn sleep(&self, time: Duration) {
        tokio::time::sleep(self.real(time)).await;
    }

    /// Awaits `what` for at most `limit` of this clock.
    ///
    /// # Errors
    /// [`Elapsed`] if the limit passed first; `what` is dropped then.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub async fn timeout<F: Future>(&self, limit: Duration, what: F) -> Result<F::Output, Elapsed> {
        tokio::time::timeout(self.real(limit), what).await.map_err(|_elapsed| Elapsed)
    }

    /// How long `time` of this clock takes on the wall.
    #[must_use]
    pub fn real(&self, time: Duration) -> Duration {
        match self {
            Self::System => time,
            Self::Driven { speed, .. } => time / *speed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_leap_is_seen_by_all_clones_of_a_driven_clock() {
        let clock = Clock::driven(Timestamp::from_millis(5), 1);
        let clone = clock.clone();
        clock.advance(Duration::from_hours(23));
        assert!(clone.now() >= Timestamp::from_millis(5).plus(Duration::from_hours(23)));
    }
}
