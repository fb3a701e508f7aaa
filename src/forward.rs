//! The attempts of one exchange: send, read the answer whole, judge it, pause, send again.
//!
//! What an answer means is [`decide::outcome`](crate::decide::outcome)'s, whether to ask again
//! [`decide::retry`](crate::decide::retry)'s. Nothing below retries behind our back, and every send
//! here bears the same key.

use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::decide::key::IdempotencyKey;
use crate::decide::retry::{self, Budget, Next, Situation, Why};
use crate::inflight::Table;
use crate::metrics::Metrics;
use crate::request::InFlightBytes;
use crate::seams::{self, Mistake, Point};
use crate::upstream::{Measured, Upstream};

mod attempt;
mod message;
mod trail;
mod tries;
mod until;

use attempt::Attempt;
pub use message::{IDEMPOTENCY_KEY, Message};
pub(crate) use trail::request_id;
pub use tries::Exchanged;
use tries::Tries;
pub use until::{Lease, Until};

/// What bounds an exchange.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Attempts and time.
    pub retry: retry::Limits,
    /// The largest answer that is held, in bytes.
    pub answer_bytes: usize,
    /// What all bodies together may hold.
    pub bytes: InFlightBytes,
    /// How many retries the upstream bears.
    pub budget: Budget,
}

/// Sends, within limits.
#[derive(Debug)]
pub struct Forwarder<U> {
    upstream: Measured<U>,
    clock: Clock,
    chance: Chance,
    limits: retry::Limits,
    answer_bytes: usize,
    bytes: InFlightBytes,
    budget: Mutex<Budget>,
    closing: CancellationToken,
    metrics: Metrics,
}

impl<U: Upstream> Forwarder<U> {
    /// A forwarder; `closing` tells when no new attempts are to be made.
    pub fn new(
        upstream: U,
        clock: Clock,
        chance: Chance,
        bounds: Bounds,
        closing: CancellationToken,
        metrics: Metrics,
    ) -> Self {
        let Bounds { retry: limits, answer_bytes, bytes, budget } = bounds;
        let budget = Mutex::new(budget);
        let upstream = Measured::new(upstream, clock.clone(), metrics.clone());
        Self { upstream, clock, chance, limits, answer_bytes, bytes, budget, closing, metrics }
    }

    /// The way to the provider, for what is not critical.
    pub const fn upstream(&self) -> &Measured<U> {
        &self.upstream
    }

    /// The limits on one exchange.
    pub const fn limits(&self) -> &retry::Limits {
        &self.limits
    }

    /// Asks the retry budget for an attempt that nobody waits for: half of it is for those who wait.
    pub fn may_spend(&self) -> bool {
        let now = self.clock.now();
        let mut budget = self.budget();
        budget.left(now) >= 0.5 && budget.withdraw(now)
    }

    /// How much of the retry budget is left, from 0 to 1.
    pub fn budget_left(&self) -> f64 {
        self.budget().left(self.clock.now())
    }

    /// Sends `message` with `key` until there is an outcome or a reason to stop.
    ///
    /// `until` is looked at before every attempt but the first, which the caller has judged;
    /// `askers` are those who wait: without any, no new attempt is made (I11).
    pub async fn run(
        &self,
        message: &Message,
        key: &IdempotencyKey,
        until: &Until,
        askers: &Table,
    ) -> Exchanged {
        self.budget().deposit();
        let mut tries = Tries::default();
        loop {
            let number = tries.count + 1;
            let began = self.clock.now();
            let mut attempt = if seams::mistake(Mistake::NewKeyPerRetry) && number > 1 {
                let fresh = IdempotencyKey::minted(self.chance.bytes());
                self.attempt(message, &fresh, began, number).await
            } else {
                self.attempt(message, key, began, number).await
            };
            seams::point(Point::AnswerRead);
            let first = tries.add(began, &mut attempt);
            let Attempt { meaning, signals, .. } = attempt;
            self.metrics.row(meaning.row().as_str());
            self.metrics.upstream_attempt(message.host.as_str(), meaning.as_str());
            let situation = Situation {
                attempts: number,
                elapsed: self.clock.now().since(message.arrived),
                meaning,
                signals,
                indeterminate: tries.indeterminate,
                wanted: askers.wanted() || seams::mistake(Mistake::RetriedUnwanted),
                closing: self.closing.is_cancelled(),
                key_is_safe: until.safe.is_none_or(|safe| self.clock.now() < safe),
            };
            if let Err(why) = self.next(&situation, until, askers).await {
                return tries.ended(attempt, began, first, why);
            }
        }
    }

    /// Pauses before the next attempt, or says why there is none.
    async fn next(&self, situation: &Situation, until: &Until, askers: &Table) -> Result<(), Why> {
        let pause = match retry::after(&self.limits, situation, self.chance.share()) {
            Next::Stop(why) => return Err(why),
            Next::Resend(pause) => pause,
        };
        if !self.budget().withdraw(self.clock.now()) {
            self.metrics.limit_reached("retry.budget");
            return Err(Why::Budget);
        }
        tokio::select! {
            // I11: if the pause ends as the last asker leaves, nobody waits.
            biased;
            () = askers.unwanted(), if !seams::mistake(Mistake::RetriedUnwanted) => {
                return Err(Why::Unwanted);
            }
            () = self.closing.cancelled() => return Err(Why::Shutdown),
            () = self.clock.sleep(pause) => {}
        }
        if let Some(why) = until.passed(self.clock.now()) {
            return Err(why);
        }
        self.metrics.retry(situation.meaning.row().as_str());
        Ok(())
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
