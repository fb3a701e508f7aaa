//! A provider as FACTS §2 describes it, small enough to be seen to be right: keys are remembered
//! for 24 hours, a success, a 402 and a saved 500 are replayed and marked, all else is forgotten.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use http::StatusCode;
use proptest::prelude::*;

use crate::clock::Timestamp;
use crate::decide::outcome::{self, ErrorBody, Meaning, Signals};
use crate::decide::path::Api;

/// What the provider would do with a key that it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Succeed,
    /// A 402: saved.
    DeclineCard,
    /// A 400 of validation: not saved.
    DeclineRequest,
    /// A 500 that is saved; `effect`: the money moved all the same.
    Fail {
        effect: bool,
    },
    /// A 500 before execution began: not saved.
    FailEarly,
}

/// What becomes of one attempt on the way there and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None(Mood),
    NotSent,
    LostBefore,
    LostAfter(Mood),
    RateLimited,
    Unauthorised,
}

pub(super) fn moods(effect_of_a_500: bool) -> impl Strategy<Value = Mood> {
    prop_oneof![
        6 => Just(Mood::Succeed),
        2 => Just(Mood::DeclineCard),
        2 => Just(Mood::DeclineRequest),
        1 => Just(Mood::Fail { effect: false }),
        1 => Just(Mood::Fail { effect: effect_of_a_500 }),
        1 => Just(Mood::FailEarly),
    ]
}

pub(super) fn faults(effect_of_a_500: bool) -> impl Strategy<Value = Fault> {
    prop_oneof![
        5 => moods(effect_of_a_500).prop_map(Fault::None),
        1 => Just(Fault::NotSent),
        1 => Just(Fault::LostBefore),
        3 => moods(effect_of_a_500).prop_map(Fault::LostAfter),
        1 => Just(Fault::RateLimited),
        1 => Just(Fault::Unauthorised),
    ]
}

/// Which effect at the provider; the n-th.
pub(super) type Effect = usize;

/// What the client of one attempt sees of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) meaning: Meaning,
    pub(super) replayed: bool,
    pub(super) effect: Option<Effect>,
}

#[derive(Clone, Copy, Debug)]
struct Saved {
    since: Timestamp,
    content: u8,
    status: u16,
    effect: Option<Effect>,
}

/// The simulated provider, and the truth about what it did.
#[derive(Default, Debug)]
pub(super) struct Provider {
    keys: HashMap<String, Saved>,
    /// When each key first arrived, for ever.
    pub(super) first_seen: HashMap<String, Timestamp>,
    /// The keys whose last execution was declined.
    pub(super) declined: HashSet<String>,
    /// How many effects there are.
    pub(super) effects: usize,
    /// How often a key came with other content than it was saved with.
    pub(super) conflicts: usize,
}

impl Provider {
    const REMEMBERS: Duration = Duration::from_hours(24);

    /// One attempt. A key that the provider remembers is answered by what it remembers.
    pub(super) fn attempt(
        &mut self,
        key: &str,
        content: u8,
        fault: Fault,
        now: Timestamp,
    ) -> Answer {
        let lost = |meaning| Answer { meaning, replayed: false, effect: None };
        match fault {
            Fault::NotSent => lost(Meaning::NotSent),
            Fault::LostBefore => lost(Meaning::Unknown),
            Fault::RateLimited => read(429, None, false, None),
            Fault::Unauthorised => read(401, None, false, None),
            Fault::LostAfter(mood) => {
                self.execute(key, content, mood, now);
                lost(Meaning::Unknown)
            }
            Fault::None(mood) => self.execute(key, content, mood, now),
        }
    }

    /// A key that the provider has forgotten, and under which nothing happened, is as good as new.
    pub(super) fn forget_old(&mut self, key: &str, now: Timestamp) {
        if self.keys.get(key).is_none_or(|saved| now.since(saved.since) >= Self::REMEMBERS) {
            self.first_seen.remove(key);
        }
    }

    fn execute(&mut self, key: &str, content: u8, mood: Mood, now: Timestamp) -> Answer {
        self.first_seen.entry(key.to_owned()).or_insert(now);
        self.keys.retain(|_key, saved| now.since(saved.since) < Self::REMEMBERS);
        if let Some(saved) = self.keys.get(key).copied() {
            if saved.content != content {
                self.conflicts += 1;
                return read(400, Some("idempotency_error"), false, None);
            }
            return read(saved.status, None, true, saved.effect);
        }
        let (status, saves, effect) = match mood {
            Mood::Succeed => (200, true, true),
            Mood::DeclineCard => (402, true, false),
            Mood::DeclineRequest => (400, false, false),
            Mood::Fail { effect } => (500, true, effect),
            Mood::FailEarly => (500, false, false),
        };
        if matches!(status, 400 | 402) {
            self.declined.insert(key.to_owned());
        } else {
            self.declined.remove(key);
        }
        let effect = effect.then(|| {
            self.effects += 1;
            self.effects
        });
        if saves {
            self.keys.insert(key.to_owned(), Saved { since: now, content, status, effect });
        }
        read(status, None, false, effect)
    }
}

/// The answer as payonce reads it off the wire.
fn read(status: u16, kind: Option<&str>, replayed: bool, effect: Option<Effect>) -> Answer {
    let error = ErrorBody { kind: kind.map(str::to_owned), code: None };
    let signals = Signals { replayed, ..Signals::default() };
    let status = StatusCode::from_u16(status).unwrap();
    let meaning = outcome::read(status, signals, Some(&error), Api::V1);
    Answer { meaning, replayed, effect }
}
