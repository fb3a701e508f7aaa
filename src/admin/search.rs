//! What people look for, and whether an operation is that. Pure: who looks where is [`people`]'s.
//!
//! [`people`]: crate::people

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::operations::{Detail, State};
use crate::clock::Timestamp;

/// Operations in one answer.
pub const MOST_FOUND: usize = 1000;
/// Whole ids in one question.
pub const MOST_IDS: usize = 500;
/// Digits of a whole operation id.
pub const WHOLE_ID: usize = 64;
/// Digits with which an id begins, at least: with fewer it would be any.
const LEAST_DIGITS: usize = 8;
/// Bytes of any other text.
const MOST_TEXT: usize = 255;

/// A description of operations: all that is said of them must hold.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wanted {
    /// How the operation id begins: 8 to 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whole ids; nothing else is looked at then. At most [`MOST_IDS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// An idempotency key that it was sent or asked for with. Hashed before anything is looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Stripe's `Request-Id` of one of its answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What it made at Stripe, or what its path names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_id: Option<String>,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Its rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What is known of its outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// First sent at least so long ago, in milliseconds: the age that alerts go by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_ms: Option<u64>,
    /// Only what is open.
    pub open: bool,
    /// At most so many, 1 to [`MOST_FOUND`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, ids, key, request_id, object_id, caller, rule, state, .. } = self;
        let key = key.as_ref().map(String::len);
        let said = (id, ids.len(), request_id, object_id, caller, rule, state);
        write!(f, "Wanted({said:?}, a key of {key:?} bytes)")
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Those last sent first.
    pub operations: Vec<Detail>,
    /// Whether there may be more than that.
    pub more: bool,
    /// How many records could not be read, and may be among what was looked for.
    #[serde(default)]
    pub unreadable: usize,
}

/// What of an operation is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its whole id, in lower case.
    pub id: &'a str,
    /// Method and path.
    pub request: &'a str,
    /// Its rule.
    pub rule: &'a str,
    /// Who asked.
    pub caller: Option<&'a str>,
    /// What it made.
    pub object: Option<&'a str>,
    /// What is known of its outcome.
    pub state: State,
    /// When it was first sent; of a call, last.
    pub first_sent: Timestamp,
}

impl Wanted {
    /// Says what is wrong with the question.
    ///
    /// # Errors
    /// A sentence about it.
    pub fn check(&self) -> Result<(), &'static str> {
        let digits = |id: &String| id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let whole = |id: &String| id.len() == WHOLE_ID && digits(id);
        if self
            .id
            .as_ref()
            .is_some_and(|id| !digits(id) || !(LEAST_DIGITS..=WHOLE_ID).contains(&id.len()))
        {
            return Err("an operation id, or its beginning, has 8 to 64 hexadecimal digits");
        }
        if self.ids.len() > MOST_IDS || !self.ids.iter().all(whole) {
            return Err("\"ids\" must be at most 500 whole ids, of 64 hexadecimal digits each");
        }
        let texts = [&self.key, &self.request_id, &self.object_id, &self.caller, &self.rule];
        let sound = |text: &str| (1..=MOST_TEXT).contains(&text.len());
        if !texts.into_iter().flatten().all(|text| sound(text)) {
            return Err("what is looked for has 1 to 255 bytes");
        }
        if !self.limit.is_none_or(|limit| (1..=MOST_FOUND).contains(&limit)) {
            return Err("limit must be 1 to 1000");
        }
        if self.open && self.state.is_some_and(|state| !state.is_open()) {
            return Err("what succeeded or was declined is not open");
        }
        Ok(())
    }

    /// At most so many.
    #[must_use]
    pub fn most(&self) -> usize {
        self.limit.unwrap_or(MOST_FOUND)
    }

    /// Whether an operation is meant, as far as its `facts` say; `answered` tells whether one of its
    /// answers bore this `Request-Id`. Keys are no fact: an operation is found by its key, or not.
    pub fn is(
        &self,
        facts: &Facts<'_>,
        answered: impl FnOnce(&str) -> bool,
        now: Timestamp,
    ) -> bool {
        let same = |wanted: &Option<String>, is: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| is == Some(wanted))
        };
        let begins = |id: &String| facts.id.starts_with(&id.to_ascii_lowercase());
        let object = |wanted: &String| {
            let (_, path) = facts.request.split_once(' ').unwrap_or_default();
            facts.object == Some(wanted) || path.split('/').any(|segment| segment == wanted)
        };
        let age = now.since(facts.first_sent);
        self.id.as_ref().is_none_or(begins)
            && (self.ids.is_empty() || self.ids.iter().any(begins))
            && same(&self.caller, facts.caller)
            && same(&self.rule, Some(facts.rule))
            && self.object_id.as_ref().is_none_or(object)
            && self.state.is_none_or(|state| state == facts.state)
            && (!self.open || facts.state.is_open())
            && self.older_ms.is_none_or(|older| age >= Duration::from_millis(older))
            && self.request_id.as_deref().is_none_or(answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(10_000_000);
    const ID: &str = "5f3a9c0100000000000000000000000000000000000000000000000000000000";

    fn facts() -> Facts<'static> {
        Facts {
            id: ID,
            request: "POST /v1/payment_intents/pi_1/confirm",
            rule: "confirm",
            caller: Some("shop"),
            object: Some("pi_1"),
            state: State::InDoubt,
            first_sent: NOW.minus(Duration::from_mins(10)),
        }
    }

    fn is(wanted: &Wanted) -> bool {
        wanted.is(&facts(), |id| id == "req_1", NOW)
    }

    fn said(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn all_that_is_said_of_an_operation_must_hold() {
        let all = Wanted {
            id: Some(said("5F3A9C01")),
            request_id: Some(said("req_1")),
            object_id: Some(said("pi_1")),
            caller: Some(said("shop")),
            rule: Some(said("confirm")),
            state: Some(State::InDoubt),
            older_ms: Some(600_000),
            open: true,
            ..Wanted::default()
        };
        assert!(is(&Wanted::default()) && is(&all));
        for wrong in [
            Wanted { id: Some(said("5f3a9c02")), ..all.clone() },
            Wanted { request_id: Some(said("req_2")), ..all.clone() },
            Wanted { object_id: Some(said("pi")), ..all.clone() },
            Wanted { caller: Some(said("sho")), ..all.clone() },
            Wanted { rule: Some(said("charges")), ..all.clone() },
            Wanted { state: Some(State::InFlight), ..all.clone() },
            Wanted { older_ms: Some(600_001), ..all.clone() },
        ] {
            assert!(!is(&wrong), "{wrong:?}");
        }
    }

    #[test]
    fn what_a_path_names_is_found_before_an_answer_named_it() {
        let facts = Facts { object: None, ..facts() };
        let wanted = |id: &str| Wanted { object_id: Some(said(id)), ..Wanted::default() };
        assert!(wanted("pi_1").is(&facts, |_| false, NOW));
        assert!(!wanted("pi_").is(&facts, |_| false, NOW));
    }

    #[test]
    fn a_question_that_makes_no_sense_is_refused() {
        for wrong in [
            Wanted { id: Some(said("5f3a9c0")), ..Wanted::default() },
            Wanted { id: Some(said("5f3a9c0x")), ..Wanted::default() },
            Wanted { ids: vec!["5f3a9c01".to_owned()], ..Wanted::default() },
            Wanted { ids: vec![ID.to_owned(); 501], ..Wanted::default() },
            Wanted { key: Some(said("")), ..Wanted::default() },
            Wanted { rule: Some(said(&"x".repeat(256))), ..Wanted::default() },
            Wanted { limit: Some(0), ..Wanted::default() },
            Wanted { limit: Some(1001), ..Wanted::default() },
            Wanted { open: true, state: Some(State::Declined), ..Wanted::default() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
        assert_eq!(Wanted { id: Some(said(ID)), ..Wanted::default() }.check(), Ok(()));
    }

    #[test]
    fn nobody_reads_a_key_off_a_printed_question() {
        let wanted = Wanted { key: Some(said("order-42")), ..Wanted::default() };
        assert!(!format!("{wanted:?}").contains("order-42"));
    }
}
