//! When to stop asking a store that does not answer: pure, told the time and the chance.
//!
//! Without it, each operation would wait for its own time-out while the store is down.

use std::time::Duration;

use crate::clock::Timestamp;

/// So many failures in a row open it.
const FAILURES: u32 = 5;
/// How long it stays open at first; it doubles with each probe that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A probe that did not come back within this time does not keep others from probing.
const PROBE: Duration = Duration::from_secs(10);

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Ask the store.
    Ask,
    /// Do not: it failed a moment ago.
    Refuse,
}

/// What a result changed, to be told and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Calls fail at once from now on.
    Opened,
    /// The store answers again.
    Closed,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Timestamp, pause: Duration },
    Probing { until: Timestamp, pause: Duration },
}

/// Counts failures in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breaker(State);

impl Default for Breaker {
    fn default() -> Self {
        Self(State::Closed { failures: 0 })
    }
}

impl Breaker {
    /// Whether a call may go to the store at `now`. One that may after a pause is the probe.
    pub(super) fn admit(&mut self, now: Timestamp) -> Admission {
        match self.0 {
            State::Closed { .. } => Admission::Ask,
            State::Open { until, pause } | State::Probing { until, pause } => {
                if now < until {
                    return Admission::Refuse;
                }
                self.0 = State::Probing { until: now.plus(PROBE), pause };
                Admission::Ask
            }
        }
    }

    /// The store answered, whatever it said.
    pub(super) fn answered(&mut self) -> Option<Change> {
        let was = std::mem::replace(&mut self.0, State::Closed { failures: 0 });
        match was {
            State::Closed { .. } => None,
            State::Open { .. } | State::Probing { .. } => Some(Change::Closed),
        }
    }

    /// The store did not answer. `share`, from 0 to 1, spreads the probes of several processes.
    pub(super) fn failed(&mut self, now: Timestamp, share: f64) -> Option<Change> {
        let open = |pause: Duration| {
            let until = now.plus(pause.mul_f64(0.5 + share.clamp(0.0, 1.0) / 2.0));
            State::Open { until, pause }
        };
        match self.0 {
            State::Closed { failures } if failures.saturating_add(1) < FAILURES => {
                self.0 = State::Closed { failures: failures.saturating_add(1) };
                None
            }
            State::Closed { .. } => {
                self.0 = open(FIRST_PAUSE);
                Some(Change::Opened)
            }
            State::Probing { pause, .. } => {
                self.0 = open(pause.saturating_mul(2).min(LONGEST_PAUSE));
                None
            }
            // A call from before it opened.
            State::Open { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn opened(now: Timestamp) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES {
            assert_eq!(breaker.failed(now, 1.0), None);
        }
        assert_eq!(breaker.failed(now, 1.0), Some(Change::Opened));
        breaker
    }

    #[test]
    fn it_opens_after_five_failures_in_a_row_and_not_before() {
        let mut breaker = Breaker::default();
        for _ in 0..20 {
            for _ in 1..FAILURES {
                assert_eq!(breaker.failed(at(0), 1.0), None);
                assert_eq!(breaker.admit(at(0)), Admission::Ask);
            }
            assert_eq!(breaker.answered(), None);
        }
        assert_eq!(opened(at(0)).admit(at(1)), Admission::Refuse);
    }

    #[test]
    fn after_its_pause_one_probe_goes_through_and_an_answer_closes_it() {
        let mut breaker = opened(at(0));
        assert_eq!(breaker.admit(at(999)), Admission::Refuse);
        assert_eq!(breaker.admit(at(1000)), Admission::Ask);
        assert_eq!(breaker.admit(at(1000)), Admission::Refuse);
        assert_eq!(breaker.answered(), Some(Change::Closed));
        assert_eq!(breaker.admit(at(1000)), Admission::Ask);
    }

    #[test]
    fn its_pause_doubles_with_each_failed_probe_up_to_ten_seconds() {
        let (mut breaker, mut now) = (opened(at(0)), 0);
        for pause in [1000, 2000, 4000, 8000, 10_000, 10_000] {
            assert_eq!(breaker.admit(at(now + pause - 1)), Admission::Refuse, "{pause}");
            now += pause;
            assert_eq!(breaker.admit(at(now)), Admission::Ask, "{pause}");
            assert_eq!(breaker.failed(at(now), 1.0), None);
        }
    }

    #[test]
    fn a_probe_that_never_comes_back_does_not_keep_it_open_for_ever() {
        let mut breaker = opened(at(0));
        assert_eq!(breaker.admit(at(1000)), Admission::Ask);
        assert_eq!(breaker.admit(at(10_999)), Admission::Refuse);
        assert_eq!(breaker.admit(at(11_000)), Admission::Ask);
    }

    #[test]
    fn chance_takes_up_to_half_of_the_pause_away() {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            breaker.failed(at(0), 0.0);
        }
        assert_eq!(breaker.admit(at(499)), Admission::Refuse);
        assert_eq!(breaker.admit(at(500)), Admission::Ask);
    }

    #[test]
    fn a_late_failure_does_not_prolong_the_pause() {
        let mut breaker = opened(at(0));
        assert_eq!(breaker.failed(at(900), 1.0), None);
        assert_eq!(breaker.admit(at(1000)), Admission::Ask);
    }
}
