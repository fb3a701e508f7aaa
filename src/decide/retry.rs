//! Whether to ask again, and when: the retry decision of DESIGN §4, pure.

use std::time::Duration;

use super::outcome::{Meaning, Signals};
use crate::clock::Timestamp;

/// The limits on all attempts of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For all attempts together, from the arrival of the request. Under the SDKs' 80 s.
    pub deadline: Duration,
    /// For one attempt.
    pub attempt: Duration,
    /// How many attempts at most; at least 1.
    pub attempts: u32,
    /// The first back-off, doubling.
    pub backoff: Duration,
    /// The longest back-off.
    pub backoff_max: Duration,
}

/// What is known after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// How many attempts were made.
    pub attempts: u32,
    /// How much of the deadline has passed.
    pub elapsed: Duration,
    /// What the last one came to.
    pub meaning: Meaning,
    /// What its head said.
    pub signals: Signals,
    /// How many attempts were answered with 500.
    pub indeterminate: u32,
    /// Somebody waits for the answer (I11).
    pub wanted: bool,
    /// payonce is shutting down.
    pub closing: bool,
    /// The key may still be sent (I6).
    pub key_is_safe: bool,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send again with the same key after this pause, if the budget allows.
    Resend(Duration),
    /// No more attempts.
    Stop(Why),
}

/// Why no more attempts are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The answer is final.
    Final,
    /// `Stripe-Should-Retry: false`.
    ToldNotTo,
    /// All attempts were made.
    Attempts,
    /// No time is left.
    Deadline,
    /// Nobody waits for the answer.
    Unwanted,
    /// The key is too old to be sent again.
    Retention,
    /// The lease ended: another process may have taken the operation over.
    Lease,
    /// payonce is shutting down.
    Shutdown,
    /// The retry budget of the upstream is used up.
    Budget,
}

impl Why {
    /// The name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::ToldNotTo => "told_not_to",
            Self::Attempts => "attempts",
            Self::Deadline => "deadline",
            Self::Unwanted => "unwanted",
            Self::Retention => "retention",
            Self::Lease => "lease",
            Self::Shutdown => "shutdown",
            Self::Budget => "budget",
        }
    }
}

/// Says what follows. `random` lies in `[0, 1)`.
#[must_use]
pub fn after(limits: &Limits, now: &Situation, random: f64) -> Next {
    match retryable(now) {
        Ok(()) => {}
        Err(why) => return Next::Stop(why),
    }
    let pause = pause(limits, now, random);
    if !now.wanted {
        Next::Stop(Why::Unwanted)
    } else if now.closing {
        Next::Stop(Why::Shutdown)
    } else if !now.key_is_safe {
        Next::Stop(Why::Retention)
    } else if now.attempts >= limits.attempts {
        Next::Stop(Why::Attempts)
    } else if now.elapsed.saturating_add(pause) >= limits.deadline {
        Next::Stop(Why::Deadline)
    } else {
        Next::Resend(pause)
    }
}

/// `Stripe-Should-Retry` beats the status of failures, save where asking again can bring nothing
/// else: a conflict, a 500 that is saved.
fn retryable(now: &Situation) -> Result<(), Why> {
    match now.meaning {
        Meaning::Succeeded | Meaning::Conflict | Meaning::Indeterminate { saved: true } => {
            return Err(Why::Final);
        }
        Meaning::NotSent
        | Meaning::Unknown
        | Meaning::RateLimited
        | Meaning::Indeterminate { saved: false }
        | Meaning::NotExecuted
        | Meaning::Declined { .. } => {}
    }
    let final_by_status = match now.meaning {
        Meaning::Declined { .. } | Meaning::NotExecuted => Err(Why::Final),
        // One more try may bring the outcome; a third brings the same.
        Meaning::Indeterminate { .. } if now.indeterminate > 1 => Err(Why::Attempts),
        Meaning::NotSent
        | Meaning::Unknown
        | Meaning::RateLimited
        | Meaning::Indeterminate { .. }
        | Meaning::Succeeded
        | Meaning::Conflict => Ok(()),
    };
    match now.signals.should_retry {
        Some(true) => Ok(()),
        Some(false) => final_by_status.and(Err(Why::ToldNotTo)),
        None => final_by_status,
    }
}

/// Full jitter: anything up to the doubling back-off, so that clients that failed together do not
/// come back together. A rate limit waits for at least half of the longest. `Retry-After` is kept.
fn pause(limits: &Limits, now: &Situation, random: f64) -> Duration {
    let doubled = 1_u32.checked_shl(now.attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    let ceiling = limits.backoff.saturating_mul(doubled).min(limits.backoff_max);
    let jittered = match now.meaning {
        Meaning::RateLimited => limits.backoff_max.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0),
        Meaning::NotSent
        | Meaning::Unknown
        | Meaning::Indeterminate { .. }
        | Meaning::Succeeded
        | Meaning::NotExecuted
        | Meaning::Conflict
        | Meaning::Declined { .. } => ceiling.mul_f64(random.clamp(0.0, 1.0)),
    };
    jittered.max(now.signals.retry_after.unwrap_or_default())
}

/// A token bucket: retries may be a share of the requests, and a few a second beside.
///
/// It keeps a provider in trouble from getting several times its load.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    tokens: f64,
    ratio: f64,
    per_second: f64,
    at: Timestamp,
}

impl Budget {
    /// How many retries may be saved up.
    const MOST: f64 = 20.0;

    /// A budget of `ratio` retries a request and `per_second` beside, half full.
    #[must_use]
    pub const fn new(ratio: f64, per_second: f64, now: Timestamp) -> Self {
        Self { tokens: Self::MOST / 2.0, ratio, per_second, at: now }
    }

    /// A request was made.
    pub fn deposit(&mut self) {
        self.tokens = (self.tokens + self.ratio).min(Self::MOST);
    }

    /// How much is left of all that may be saved up, from 0 to 1.
    #[must_use]
    pub fn left(&self, now: Timestamp) -> f64 {
        self.tokens_at(now) / Self::MOST
    }

    /// Asks for one retry.
    pub fn withdraw(&mut self, now: Timestamp) -> bool {
        self.tokens = self.tokens_at(now);
        self.at = now;
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }

    fn tokens_at(&self, now: Timestamp) -> f64 {
        self.per_second.mul_add(now.since(self.at).as_secs_f64(), self.tokens).min(Self::MOST)
    }
}

#[cfg(test)]
mod tests;
