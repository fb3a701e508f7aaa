//! What is wrong with a setting, and where it was set. Never shows a secret's value, nor what looks
//! like one and was written elsewhere ([`Shown`]).

use std::fmt;
use std::path::PathBuf;

use crate::decide::shown::Shown;

/// Where a setting's value came from.
#[derive(Clone, PartialEq, Eq)]
pub enum Origin {
    /// The default that payonce is built with.
    Default,
    /// The settings file.
    File(PathBuf),
    /// An environment variable, by name.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(path) => f.write_str(&Shown::from(path.display().to_string())),
            Self::Variable(name) => f.write_str(&Shown::from(name.as_str())),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

/// One thing that is wrong with the settings. Prints as
/// `retry.max_attempts: must be at least 1, is 0 (from payonce.toml)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which setting, dotted; the variable's own name if there is no such setting.
    pub path: Shown,
    /// Where its value came from.
    pub origin: Origin,
    /// What is wrong, and what would be right.
    pub what: Shown,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)?;
        let origin = self.origin.to_string();
        if origin == self.path.as_str() { Ok(()) } else { write!(f, " (from {origin})") }
    }
}

impl std::error::Error for Problem {}
