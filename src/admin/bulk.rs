//! A person's word on many operations at once: all open ones of one rule. The wire form.
//!
//! Nothing is ever sent for it, and no key chosen: as with one operation, only its record changes.

use serde::{Deserialize, Serialize};

use super::operations::State;
use super::routes::Outcome;
use super::search::{Found, MOST_FOUND, Wanted};

/// The body of `POST /ops/resolve`: what became of all open operations of a rule. Without `expect` and
/// `yes` it is only shown which those are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bulk {
    /// Their rule.
    pub rule: String,
    /// Which of them: those in doubt, or those in flight whose owner is gone.
    pub state: State,
    /// Only those that were last sent at least so long ago, in milliseconds.
    #[serde(default)]
    pub older_ms: Option<u64>,
    /// What became of them.
    #[serde(rename = "as")]
    pub outcome: Outcome,
    /// Who says so.
    pub by: String,
    /// How they know.
    pub why: String,
    /// Do it to the very operations that were shown ([`Shown::set`]); if any other is meant by now, or
    /// one of them was touched since, nothing is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// Do it to whatever is meant by now.
    #[serde(default)]
    pub yes: bool,
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
    /// That is what is meant; nothing was changed.
    Shown(Shown),
    /// Each was looked at.
    Done(Resolutions),
    /// So many are meant, and not those that were expected: nothing was changed.
    Unexpected(usize),
}

/// What a word would be acted on for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The operations.
    #[serde(flatten)]
    pub found: Found,
    /// What these very ones are called, as they are: their number and a digest, `3-9f2c81d0`. To be
    /// said again to confirm.
    pub set: String,
    /// How many others somebody works on: those are left alone.
    pub busy: usize,
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
    /// The store did not say whether the word is written: show the operation to see.
    #[serde(default)]
    pub unknown: Vec<Failed>,
    /// It could not be written: nothing was changed.
    pub failed: Vec<Failed>,
    /// There may be more of them.
    pub more: bool,
}

/// An operation for which it is not written, or not known to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Its id.
    pub operation_id: String,
    /// Why.
    pub why: String,
}
