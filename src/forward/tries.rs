//! What the attempts of one exchange have come to, while it goes on and when it has ended.
//!
//! The worst attempt decides (I5, [`Tally`]); what is told is the last answer, or the decline that an
//! unanswered attempt came after.

use super::attempt::Attempt;
use super::trail;
use crate::clock::Timestamp;
use crate::decide::operation::record::Tried;
use crate::decide::outcome::{Conclusion, Meaning, Tally};
use crate::decide::retry::Why;
use crate::respond::Answer;
use crate::upstream::Cause;

/// What came of all attempts.
#[derive(Debug)]
pub struct Exchanged {
    /// What became of the occurrence.
    pub conclusion: Conclusion,
    /// The last answer, if the last attempt was answered.
    pub answer: Option<Answer>,
    /// What the last attempt meant.
    pub meaning: Meaning,
    /// The last answer was marked as replayed.
    pub replayed: bool,
    /// No attempt before the last can have been executed: what is replayed is of an earlier exchange.
    pub first: bool,
    /// Why the last attempt was not answered.
    pub cause: Option<Cause>,
    /// Any byte left.
    pub sent: bool,
    /// How many attempts were made.
    pub attempts: u32,
    /// When the last one began.
    pub last_sent: Timestamp,
    /// Why there was no other.
    pub why: Why,
    /// All of them, for people.
    pub trail: Vec<Tried>,
}

/// The attempts so far.
#[derive(Default)]
pub(super) struct Tries {
    /// How many.
    pub(super) count: u32,
    /// How many of them were indeterminate.
    pub(super) indeterminate: u32,
    tally: Tally,
    declined: Option<Answer>,
    trail: Vec<Tried>,
}

impl Tries {
    /// Adds the one that `began` then, and says whether none before it can have been executed.
    pub(super) fn add(&mut self, began: Timestamp, attempt: &mut Attempt) -> bool {
        let first = !self.tally.touched();
        let Attempt { meaning, cause, answer, .. } = attempt;
        self.count += 1;
        self.tally.add(*meaning);
        self.trail.push(trail::tried(began, *meaning, *cause, answer.as_ref()));
        match meaning {
            Meaning::Indeterminate { .. } => self.indeterminate += 1,
            // Should the next attempt not be answered, this is what is known.
            Meaning::Declined { .. } => self.declined = answer.take(),
            Meaning::NotSent
            | Meaning::Unknown
            | Meaning::RateLimited
            | Meaning::Succeeded
            | Meaning::NotExecuted
            | Meaning::Conflict => {}
        }
        first
    }

    /// There is none after the `last`, which `began` then and was the `first` that can have been
    /// executed.
    pub(super) fn ended(self, last: Attempt, began: Timestamp, first: bool, why: Why) -> Exchanged {
        let conclusion = self.tally.conclusion();
        let answer = match conclusion {
            Conclusion::Declined { .. } => self.declined,
            Conclusion::Succeeded | Conclusion::InDoubt { .. } | Conclusion::NotExecuted => {
                last.answer
            }
        };
        Exchanged {
            conclusion,
            answer,
            meaning: last.meaning,
            replayed: last.signals.replayed,
            first,
            cause: last.cause,
            sent: self.tally.sent(),
            attempts: self.count,
            last_sent: began,
            why,
            trail: self.trail,
        }
    }
}
