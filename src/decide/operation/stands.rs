//! How an operation stands, in one word: for metrics, lists, searches and what a person may say of
//! it. One function, so that an alert and the command that looks into it mean the same. Pure.

use super::record::{Outcome, Record, Standing};
use super::table::Owner;

/// What is known of an operation's outcome just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Somebody works on it.
    InFlight,
    /// It was perhaps sent, nobody works on it, and nobody knows what became of it.
    InDoubt {
        /// The provider replays a 500 for its key.
        saved_500: bool,
    },
    /// It happened.
    Succeeded,
    /// It did not happen.
    Declined,
}

impl Stands {
    /// How the operation of `record` stands while its owner is `owner`. A claim whose owner is gone
    /// says nothing: what it had begun is in doubt, and an outcome that was known stays known.
    #[must_use]
    pub const fn of(record: &Record, owner: Owner) -> Self {
        match (owner, record.standing) {
            (Owner::Alive, _) => Self::InFlight,
            (Owner::Gone, Standing::Begun) => Self::InDoubt { saved_500: false },
            (Owner::Gone, Standing::InDoubt { saved_500 }) => Self::InDoubt { saved_500 },
            (Owner::Gone, Standing::Settled(settled)) => match settled.result {
                Outcome::Succeeded => Self::Succeeded,
                Outcome::Declined => Self::Declined,
            },
        }
    }

    /// Whether its outcome is not known.
    #[must_use]
    pub const fn is_open(self) -> bool {
        match self {
            Self::InFlight | Self::InDoubt { .. } => true,
            Self::Succeeded | Self::Declined => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::operation::codec::decode;
    use crate::decide::operation::record::Settled;

    #[test]
    fn what_nobody_works_on_any_more_is_in_doubt_and_a_known_outcome_stays_known() {
        let record = decode(include_bytes!("../../../tests/fixtures/record-1.json")).unwrap();
        let stands = |standing, owner| Stands::of(&Record { standing, ..record.clone() }, owner);
        let doubt = |saved_500| Standing::InDoubt { saved_500 };
        let known = |result| Standing::Settled(Settled { result, spent: true, delivered: false });
        assert_eq!(stands(Standing::Begun, Owner::Gone), Stands::InDoubt { saved_500: false });
        assert_eq!(stands(doubt(true), Owner::Gone), Stands::InDoubt { saved_500: true });
        assert_eq!(stands(known(Outcome::Succeeded), Owner::Gone), Stands::Succeeded);
        assert_eq!(stands(known(Outcome::Declined), Owner::Gone), Stands::Declined);
        for standing in [Standing::Begun, doubt(true), known(Outcome::Succeeded)] {
            assert_eq!(stands(standing, Owner::Alive), Stands::InFlight);
        }
    }
}
