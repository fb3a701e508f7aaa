//! Calls that ended in doubt: they have no record, so a note tells people to check them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::decide::digest::OperationId;
use crate::decide::operation::record::About;

/// How many notes are kept; the oldest goes first.
const MOST: usize = 1_000;

/// A call whose outcome is not known.
#[derive(Clone, Debug)]
pub struct Note {
    /// The call's id, as its answer bore it.
    pub operation: OperationId,
    /// What was asked.
    pub request: String,
    /// What people want to know.
    pub about: About,
    /// The client sent no key, so the same request again may be another payment.
    pub keyless: bool,
    /// When it was last sent.
    pub at: Timestamp,
    /// How many times it was sent.
    pub attempts: u32,
}

/// The notes of this process.
#[derive(Debug, Default)]
pub struct Notes(Mutex<VecDeque<Note>>);

impl Notes {
    /// Adds one.
    pub fn add(&self, note: Note) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() >= MOST {
            notes.pop_front();
        }
        notes.push_back(note);
    }

    /// All of them, the oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Note> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Takes one away: a person has looked. False if it is not there.
    pub fn remove(&self, operation: OperationId) -> bool {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = notes.len();
        notes.retain(|note| note.operation != operation);
        notes.len() < before
    }
}
