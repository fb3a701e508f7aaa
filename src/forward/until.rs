//! Until when a key may be sent: it grows old, and its operation may be taken over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Timestamp;
use crate::decide::retry::Why;

/// Until when a key may be sent.
#[derive(Clone, Debug, Default)]
pub struct Until {
    /// When it becomes too old (I6).
    pub safe: Option<Timestamp>,
    /// When another process may take the operation over.
    pub lease: Option<Lease>,
}

impl Until {
    /// Why it may not be sent any more.
    pub(super) fn passed(&self, now: Timestamp) -> Option<Why> {
        let safe = self.safe.is_none_or(|safe| now < safe);
        let held = self.lease.as_ref().is_none_or(|lease| now < lease.ends());
        match (safe, held) {
            (false, _) => Some(Why::Retention),
            (true, false) => Some(Why::Lease),
            (true, true) => None,
        }
    }
}

/// When a lease ends, which moves on as it is renewed. Clones share it.
#[derive(Clone, Debug)]
pub struct Lease(Arc<AtomicU64>);

impl Lease {
    /// One that ends then.
    #[must_use]
    pub fn until(end: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(end.as_millis())))
    }

    /// When it ends.
    #[must_use]
    pub fn ends(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Acquire))
    }

    /// It was renewed.
    pub fn renewed(&self, end: Timestamp) {
        self.0.store(end.as_millis(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_renewed_lease_is_seen_by_whoever_sends_under_it_and_age_comes_first() {
        let start = Timestamp::from_millis(1000);
        let later = start.plus(Duration::from_secs(20));
        let lease = Lease::until(start.plus(Duration::from_secs(15)));
        let until =
            Until { safe: Some(start.plus(Duration::from_mins(1))), lease: Some(lease.clone()) };
        assert_eq!((until.passed(start), until.passed(later)), (None, Some(Why::Lease)));
        lease.renewed(start.plus(Duration::from_secs(30)));
        assert_eq!(until.passed(later), None);
        assert_eq!(until.passed(start.plus(Duration::from_mins(2))), Some(Why::Retention));
        assert_eq!(Until::default().passed(later), None);
    }
}
