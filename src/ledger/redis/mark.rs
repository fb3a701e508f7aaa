//! A mark in the store by which it is seen to have forgotten. Pure.
//!
//! A value without expiry: random, so that nobody writes the same again; the history of writes
//! (`master_replid`) that it stands in; when it was written; whether that was the first time.
//! If it is gone or another, so may be the records. It also tells processes that start later what
//! those before them saw.

use std::fmt;
use std::time::Duration;

use crate::clock::Timestamp;

/// For so long after it forgot, a store is not trusted to know every operation: as long as the
/// provider remembers keys of its v2 API (FACTS §2).
const DISTRUST: Duration = Duration::from_hours(720);

/// What stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// 16 hex digits.
    pub(super) random: String,
    /// The replication id; `-` if the server does not tell it.
    pub(super) replication: String,
    /// When it was written.
    pub(super) at: Timestamp,
    /// It was written because the store forgot, or may have.
    pub(super) again: bool,
}

/// What a look at the mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Everything is as it was.
    Same,
    /// There was none, and this process knew of none: a new store, as far as anybody knows.
    New,
    /// It is gone: the store was emptied, or went back to before it was written.
    Gone,
    /// Another stands there: likewise, and somebody else saw it first.
    Other,
    /// The server's history is another one: a fail-over or a restart, which can lose the last
    /// writes.
    Handed,
}

impl Sign {
    /// Whether records may have been lost.
    pub(super) const fn lost(self) -> bool {
        match self {
            Self::Same | Self::New => false,
            Self::Gone | Self::Other | Self::Handed => true,
        }
    }

    /// As it is counted.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::New => "new",
            Self::Gone => "mark_gone",
            Self::Other => "mark_changed",
            Self::Handed => "history_changed",
        }
    }
}

impl Mark {
    /// Reads what [`fmt::Display`] writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let mark = Self {
            random: parts.next()?.to_owned(),
            replication: parts.next()?.to_owned(),
            at: Timestamp::from_millis(parts.next()?.parse().ok()?),
            again: match parts.next()? {
                "first" => false,
                "again" => true,
                _other => return None,
            },
        };
        parts.next().is_none().then_some(mark)
    }

    /// What `found` means to somebody who last saw `known`, with a server of this replication id.
    pub(super) fn sign(known: Option<&Self>, found: Option<&Self>, replication: &str) -> Sign {
        match (known, found) {
            (None, None) => Sign::New,
            (Some(_), None) => Sign::Gone,
            (Some(known), Some(found)) if known.random != found.random => Sign::Other,
            (None | Some(_), Some(found)) if found.replication != replication => Sign::Handed,
            (None | Some(_), Some(_)) => Sign::Same,
        }
    }

    /// Whether a store with this mark is trusted to know every operation, as far as marks tell.
    pub(super) fn is_trusted(&self, now: Timestamp) -> bool {
        !self.again || now.since(self.at) >= DISTRUST
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let again = if self.again { "again" } else { "first" };
        write!(f, "{} {} {} {again}", self.random, self.replication, self.at.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(random: &str, replication: &str) -> Mark {
        let at = Timestamp::from_millis(1000);
        Mark { random: random.to_owned(), replication: replication.to_owned(), at, again: false }
    }

    #[test]
    fn a_mark_reads_back_as_it_was_written_and_nothing_else_is_one() {
        for again in [false, true] {
            let mark = Mark { again, ..mark("00ff", "replid") };
            assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        }
        for text in ["", "a", "a b c first", "a b 1 perhaps", "a b 1 first more"] {
            assert_eq!(Mark::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_mark_that_is_gone_or_another_or_in_another_history_is_a_sign_of_loss() {
        let (a, b) = (mark("a", "one"), mark("b", "one"));
        for (known, found, replication, sign) in [
            (None, None, "one", Sign::New),
            (None, Some(&a), "one", Sign::Same),
            (Some(&a), Some(&a), "one", Sign::Same),
            (Some(&a), None, "one", Sign::Gone),
            (Some(&a), Some(&b), "one", Sign::Other),
            (Some(&a), Some(&a), "two", Sign::Handed),
            // Nobody was there to see it: the mark itself tells.
            (None, Some(&a), "two", Sign::Handed),
        ] {
            assert_eq!(Mark::sign(known, found, replication), sign);
            assert_eq!(sign.lost(), !matches!(sign, Sign::New | Sign::Same));
        }
    }

    #[test]
    fn a_store_that_forgot_is_trusted_again_after_the_provider_forgot_too() {
        let mark = Mark { again: true, ..mark("a", "one") };
        let day = Duration::from_hours(24);
        assert!(!mark.is_trusted(mark.at.plus(29 * day)));
        assert!(mark.is_trusted(mark.at.plus(30 * day)));
        assert!(Mark { again: false, ..mark.clone() }.is_trusted(mark.at));
    }
}
