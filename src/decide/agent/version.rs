//! The version of an SDK, ordered as its release was.
//!
//! A type of our own, because each registry has a grammar of its own and one order must serve all:
//! `29.1-beta`, `16.1.0b2`, `1.0.0-rc.10`, `29.1.0-beta.1`. The `semver` crate takes none of the
//! first two. What is lost is told apart by nobody: further numbers and build metadata.

use std::fmt;

/// Longest text that is taken for a version, in bytes.
const LONGEST: usize = 40;

/// Three numbers, and how near a release it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    numbers: [u32; 3],
    stage: Stage,
    /// The number of the pre-release: 2 in `b2`.
    step: u32,
}

/// In the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Stage {
    /// `dev`, `preview` and whatever else is no release.
    Other,
    Alpha,
    Beta,
    Candidate,
    Release,
}

impl Version {
    /// The release of these numbers.
    #[must_use]
    pub const fn of(major: u32, minor: u32, patch: u32) -> Self {
        Self { numbers: [major, minor, patch], stage: Stage::Release, step: 0 }
    }

    /// Reads one to three numbers (more are ignored) and perhaps a pre-release; `None` if there is
    /// no number at the beginning, one is over 32 bits, or the text is over 40 bytes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let text = text.split('+').next()?;
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        let mut numbers = [0; 3];
        for (index, part) in digits.trim_end_matches('.').split('.').enumerate() {
            let number: u32 = part.parse().ok()?;
            if let Some(place) = numbers.get_mut(index) {
                *place = number;
            }
        }
        let (stage, step) = pre_release(rest)?;
        Some(Self { numbers, stage, step })
    }

    /// The first number.
    #[must_use]
    pub const fn major(self) -> u32 {
        let [major, _, _] = self.numbers;
        major
    }

    /// The second number.
    #[must_use]
    pub const fn minor(self) -> u32 {
        let [_, minor, _] = self.numbers;
        minor
    }

    /// The release that this is, or comes before.
    #[must_use]
    pub const fn release(self) -> Self {
        Self { numbers: self.numbers, stage: Stage::Release, step: 0 }
    }
}

/// What follows the numbers: nothing, `-beta`, `b2`, `.post1`, `-rc.10`.
fn pre_release(rest: &str) -> Option<(Stage, u32)> {
    let rest = rest.trim_start_matches(['-', '.', '_']);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !rest.chars().all(plain) {
        return None;
    }
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (word, number) = rest.split_at(end);
    let digits = number.trim_start_matches(['.', '-', '_']);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let step = digits.get(..end)?.parse().unwrap_or(0);
    let stage = match word.to_ascii_lowercase().as_str() {
        "" if rest.is_empty() => Stage::Release,
        // Python's name for a release that changed nothing in the code.
        "post" => Stage::Release,
        "a" | "alpha" => Stage::Alpha,
        "b" | "beta" => Stage::Beta,
        "c" | "rc" => Stage::Candidate,
        _no_release => Stage::Other,
    };
    Some((stage, step))
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        let stage = match self.stage {
            Stage::Release => return Ok(()),
            Stage::Other => "dev",
            Stage::Alpha => "alpha",
            Stage::Beta => "beta",
            Stage::Candidate => "rc",
        };
        write!(f, "-{stage}.{}", self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|| panic!("{text} is a version"))
    }

    #[test]
    fn versions_are_ordered_as_they_were_released() {
        let order = [
            "0.41.0",
            "1.0.0-preview.1",
            "1.0.0-alpha.2",
            "1.0.0-alpha.10",
            "1.0.0-rc.6",
            "1.0.0-rc.10",
            "1.0.0",
            "15.3.9",
            "15.4",
            "16.1.0a1",
            "16.1.0b2",
            "16.1.0b10",
            "16.1.0rc1",
            "16.1.0",
            "29.1-beta",
            "29.1.0-beta.1",
            "29.1.0",
            "29.1.1",
        ];
        for pair in order.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn spellings_of_one_version_are_equal() {
        assert_eq!(version("15"), version("15.0.0"));
        assert_eq!(version("15.0+build.7"), version("15.0.0"));
        assert_eq!(version("16.1.0b2"), version("16.1.0-beta.2"));
        assert_eq!(version("16.1.0b2").release(), version("16.1"));
        assert_eq!(version("1.2.3.4"), version("1.2.3"));
        assert_eq!(version("1.0.0-rc.6").to_string(), "1.0.0-rc.6");
        assert_eq!(version("29.1-beta").to_string(), "29.1.0-beta.0");
    }

    #[test]
    fn what_begins_with_no_number_is_none() {
        for text in ["", "x", "v1.0", ".1", "1..2", "99999999999", "1.0 ", "1.0/2", "1.0-ä"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        assert_eq!(Version::parse(&"1".repeat(41)), None);
    }
}
