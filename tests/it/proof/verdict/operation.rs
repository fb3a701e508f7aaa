//! One effect that an application wants, and what it hears of it, whoever answers.

use std::time::Duration;

use payonce::clock::Timestamp;
use payonce::sandbox::{Effect, Outcome};

/// What payonce is to recognise an operation by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum By {
    Header,
    Fields,
    OwnKey,
    Content,
    Call,
}

/// Whose key its requests bear, and of which shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Keys {
    None,
    Uuid4,
    PythonHex,
    Node,
    Go,
    Own,
}

impl Keys {
    pub(crate) const ALL: [Self; 6] =
        [Self::None, Self::Uuid4, Self::PythonHex, Self::Node, Self::Go, Self::Own];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "no key",
            Self::Uuid4 => "UUIDv4",
            Self::PythonHex => "Python hex",
            Self::Node => "Node",
            Self::Go => "Go",
            Self::Own => "own key",
        }
    }
}

/// What is promised of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// At most one effect, never merged with another.
    Once,
    /// At most one effect; it may be merged with a byte-identical one, as its rule says.
    OnceOrMerged,
    /// Nothing: it is measured (an answer that was read and not committed, a client without keys).
    Measured,
}

/// What the application heard for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// A 2xx that names this object.
    Succeeded { object: String },
    /// A decline: no money moved.
    Declined,
    /// A failure that says that nothing was sent.
    NothingSent,
    /// A failure that says that the outcome is not known.
    Unknown,
    /// A refusal that says that it was done before, naming the object if it is known.
    AlreadyDone { object: Option<String> },
    /// Any other refusal: a conflict, a superseded key, an elapsed window.
    Refused,
    /// Nothing: it hung up, or the connection broke.
    Silence,
}

/// A word, and when it was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) at: Timestamp,
    pub(crate) word: Word,
}

/// One effect that an application wanted, and all that it heard of it.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// Its `Sandbox-Intent`.
    pub(crate) intent: String,
    /// The same for byte-identical requests; else the intent itself.
    pub(crate) class: String,
    /// What kind of story it is part of.
    pub(crate) workload: &'static str,
    pub(crate) by: By,
    pub(crate) keys: Keys,
    pub(crate) promise: Promise,
    /// Only an effect that moved money counts.
    pub(crate) money: bool,
    /// It was asked for again after all faults had ended.
    pub(crate) healed: bool,
    pub(crate) heard: Vec<Heard>,
}

impl Operation {
    /// Whether that is what it wanted.
    pub(super) fn fulfilled_by(&self, effect: &Effect) -> bool {
        effect.outcome == Outcome::Succeeded && (effect.money || !self.money)
    }

    /// The object of the last success that it heard of.
    pub(super) fn object(&self) -> Option<&str> {
        self.heard.iter().rev().find_map(|heard| match &heard.word {
            Word::Succeeded { object } | Word::AlreadyDone { object: Some(object) } => {
                Some(object.as_str())
            }
            Word::AlreadyDone { object: None }
            | Word::Declined
            | Word::NothingSent
            | Word::Unknown
            | Word::Refused
            | Word::Silence => None,
        })
    }

    /// The last word that it heard.
    pub(super) fn last(&self) -> Option<&Word> {
        self.heard.last().map(|heard| &heard.word)
    }

    /// It was told that it succeeded, some time.
    pub(super) fn succeeded(&self) -> bool {
        let success =
            |heard: &Heard| matches!(heard.word, Word::Succeeded { .. } | Word::AlreadyDone { .. });
        self.heard.iter().any(success)
    }

    /// It knows how it ended.
    pub(super) fn ended(&self) -> bool {
        self.succeeded() || self.last() == Some(&Word::Declined)
    }

    /// It believes that no money moved.
    pub(super) fn believes_failed(&self) -> bool {
        !self.succeeded() && matches!(self.last(), Some(Word::Declined | Word::NothingSent))
    }

    /// How long the outcome was not known, from the first word that said so.
    pub(super) fn doubts(&self) -> Vec<Option<Duration>> {
        let mut doubts = Vec::new();
        let mut since = None;
        for heard in &self.heard {
            match heard.word {
                Word::Unknown | Word::Silence => since = since.or(Some(heard.at)),
                Word::Succeeded { .. } | Word::AlreadyDone { .. } | Word::Declined => {
                    doubts.extend(since.take().map(|since| Some(heard.at.since(since))));
                }
                Word::NothingSent | Word::Refused => {}
            }
        }
        doubts.extend(since.map(|_open| None));
        doubts
    }
}
