//! Finishing, as far as it is decided: when an operation that ended in doubt is asked for again though
//! nobody waits (`finish` of a rule, the exception to I11), and whether it stands as it was left.
//!
//! One rule keeps it from doing harm: it goes on with the very record that this process left in doubt
//! and with nothing else. Whatever anybody has done with the operation since (an asker here or
//! elsewhere, a person, a webhook) shows in the record and ends it. So nothing is begun, nobody's
//! answer is replayed to nobody, and a key that was judged again stays with whoever judged.

use std::time::Duration;

use super::key::IdempotencyKey;
use super::operation::Occurrence;
use super::operation::record::{Record, Standing};
use super::operation::table::{Row, Verdict};
use crate::clock::Timestamp;

/// The least that a rule's `finish` can be.
pub const SHORTEST: Duration = Duration::from_mins(1);
/// The most: whoever asks after this is somebody.
pub const LONGEST: Duration = Duration::from_mins(30);
/// After so long it is asked again, and once more at the end of `finish`.
const STEPS: [Duration; 2] = [Duration::from_mins(1), Duration::from_mins(5)];
/// Each step comes earlier by up to this share of it, so that what failed together does not come back
/// together, and none after its time.
const EARLIER: f64 = 0.2;
/// Between the end of one exchange of an operation and the next that nobody waits for; more than an
/// attempt's time-out and the longest back-off, so that no retry looks like it.
pub const LEAST: Duration = Duration::from_secs(48);

/// An operation whose outcome is not known, and for how long it is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// When the exchange ended that left it so.
    pub ended: Timestamp,
    /// When its key becomes too old to be sent (I6).
    pub safe: Timestamp,
    /// What the rule says.
    pub finish: Duration,
}

/// When it is asked for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Then.
    At(Timestamp),
    /// Not any more: all steps were made, or their time is over.
    Over,
    /// Not any more: its key would be too old.
    Horizon,
}

impl Doubt {
    /// When the step after `made` others is due. `random` lies in `[0, 1)`.
    #[must_use]
    pub fn next(&self, made: usize, now: Timestamp, random: f64) -> Next {
        // A step shortly before the end would be one too many.
        let before_end = |step: &Duration| *step < self.finish.mul_f64(1.0 - EARLIER);
        let mut steps = STEPS.into_iter().filter(before_end).chain([self.finish]);
        let Some(step) = steps.nth(made) else { return Next::Over };
        let planned = step.mul_f64(1.0 - EARLIER * random.clamp(0.0, 1.0));
        self.within(self.ended.plus(planned).max(now.plus(LEAST)))
    }

    /// When it is looked at again because the retry budget had nothing for it: no step is lost.
    #[must_use]
    pub fn put_off(&self, now: Timestamp, random: f64) -> Next {
        const PAUSE: Duration = Duration::from_secs(10);
        self.within(now.plus(PAUSE.mul_f64(0.5 + random.clamp(0.0, 1.0))))
    }

    fn within(&self, at: Timestamp) -> Next {
        if at >= self.safe {
            Next::Horizon
        } else if at > self.ended.plus(self.finish) {
            Next::Over
        } else {
            Next::At(at)
        }
    }
}

/// By what a record is known again that was left in doubt: every exchange since changes it, save one
/// of which nothing was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    key: IdempotencyKey,
    occurrence: Occurrence,
    last_sent: Timestamp,
    attempts: u32,
}

/// How a record stands that was left in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// As it was left: its key may be sent.
    AsLeft,
    /// Somebody has it, or had it when they died.
    Claimed,
    /// It is not there; perhaps it is still to be written.
    Missing,
    /// It has gone on: it is none of finishing's any more.
    Moved,
}

impl Left {
    /// What `record` is left as; `None` unless it is in doubt, free, and the provider keeps no error
    /// 500 for its key, which it would only say again.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let in_doubt = record.standing == Standing::InDoubt { saved_500: false };
        (in_doubt && record.claim.is_none()).then(|| Self {
            key: record.key.clone(),
            occurrence: record.occurrence,
            last_sent: record.last_sent,
            attempts: record.attempts,
        })
    }

    /// How it stands in the ledger (`stored`), by what is known beside (`found`) and by the table.
    #[must_use]
    pub fn stands(
        &self,
        stored: Option<&Record>,
        found: Option<&Record>,
        verdict: &Verdict,
    ) -> Stands {
        let as_left = |record: &Record| Self::of(record).as_ref() == Some(self);
        match stored {
            None => Stands::Missing,
            Some(stored) if stored.claim.is_some() => Stands::Claimed,
            Some(stored) if !as_left(stored) || !found.is_some_and(as_left) => Stands::Moved,
            // Beyond safe retention, other content: the table knows more reasons.
            Some(_) if verdict.row != Row::A11 => Stands::Moved,
            Some(_) => Stands::AsLeft,
        }
    }
}

#[cfg(test)]
mod tests;
