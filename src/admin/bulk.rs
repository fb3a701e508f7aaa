//! A person's word on many operations at once: all open ones of one rule. The wire form.
//!
//! Nothing is ever sent for it, and no key chosen: as with one operation, only its record changes.

use serde::{Deserialize, Serialize};

use super::operations::State;
use super::routes::Outcome;
use super::search::{MOST_FOUND, Wanted};

/// The body of `POST /ops/resolve`: what became of all open operations of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bulk {
    /// Their rule.
    pub rule: String,
    /// Which of them: those in doubt, or those in flight whose owner is gone.
    pub state: State,
    /// Only those that were first sent at least so long ago, in milliseconds.
    #[serde(default)]
    pub older_ms: Option<u64>,
    /// What became of them.
    #[serde(rename = "as")]
    pub outcome: Outcome,
    /// Who says so.
    pub by: String,
    /// How they know.
    pub why: String,
    /// How many there must be; with any other number of them nothing is done.
    #[serde(default)]
    pub expect: Option<usize>,
}

impl Bulk {
    /// The operations that it is about, [`MOST_FOUND`] at most.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        Wanted {
            rule: Some(self.rule.clone()),
            state: Some(self.state),
            older_ms: self.older_ms,
            open: true,
            limit: Some(MOST_FOUND),
            ..Wanted::default()
        }
    }
}

/// What became of a person's word on many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bulked {
    /// Each was looked at.
    Done(Resolutions),
    /// There are so many, and not as many as expected: nothing was changed.
    Unexpected(usize),
}

/// What became of each operation, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolutions {
    /// The word is written.
    pub done: Vec<String>,
    /// Somebody works on it: nothing was changed.
    pub busy: Vec<String>,
    /// It is no longer what was asked for (it has an outcome, or was sent again): nothing was
    /// changed.
    pub changed: Vec<String>,
    /// The store did not take it, or did not say.
    pub failed: Vec<Failed>,
    /// There may be more of them.
    pub more: bool,
}

/// An operation for which the store did not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Its id.
    pub operation_id: String,
    /// What the store said.
    pub why: String,
}
