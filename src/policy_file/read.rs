//! From a path to a policy, or to why not. Bounded: a policy is small, and a path may lead anywhere.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::decide::policy::{Policy, Problem, version_of};

/// The largest policy file, in bytes.
pub const MAX_BYTES: u64 = 1024 * 1024;

/// A policy file that is not used. [`fmt::Display`] tells everything there is to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// Which file.
    pub path: PathBuf,
    /// The version of what it holds, if it could be read.
    pub version: Option<String>,
    /// What is the matter.
    pub why: Why,
}

/// What is the matter with a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It cannot be read: it is gone, not allowed, not a file.
    Unreadable(String),
    /// It is larger than [`MAX_BYTES`].
    TooLarge,
    /// Its text is not UTF-8; the line, from 1, on which that shows.
    NotText(usize),
    /// It has these problems.
    Problems(Vec<Problem>),
    /// It is sound, and this process cannot serve it.
    Unfit(String),
}

impl LoadError {
    /// A sound policy that this process cannot serve.
    pub(super) fn unfit(path: &Path, version: &str, why: String) -> Self {
        let version = Some(version.to_owned());
        Self { path: path.to_owned(), version, why: Why::Unfit(why) }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::Unreadable(why) => write!(f, "the policy {path} cannot be read: {why}"),
            Why::TooLarge => write!(
                f,
                "the policy {path} is larger than 1 MiB; a policy has a few hundred lines: is this \
                 the right file?"
            ),
            Why::NotText(line) => {
                write!(f, "the policy {path} is not UTF-8 text, from line {line}")
            }
            Why::Problems(problems) => {
                for problem in problems {
                    write!(f, "{path}, {problem}\n\n")?;
                }
                let count = problems.len();
                let s = if count == 1 { "" } else { "s" };
                write!(f, "{count} problem{s} in the policy {path}")
            }
            Why::Unfit(why) => write!(f, "the policy {path} cannot be served: {why}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads and checks the policy at `path`. Blocks on the file.
///
/// # Errors
/// [`LoadError`] says what is the matter; every problem of the file at once.
pub fn read(path: &Path) -> Result<Policy, LoadError> {
    let found = bytes(path).map_err(|why| LoadError { path: path.to_owned(), version: None, why });
    parse(path, &found?)
}

/// Likewise, with the text that it was read from.
///
/// # Errors
/// As of [`read`].
pub fn read_text(path: &Path) -> Result<(Policy, String), LoadError> {
    let found =
        bytes(path).map_err(|why| LoadError { path: path.to_owned(), version: None, why })?;
    let policy = parse(path, &found)?;
    // What was parsed is UTF-8.
    Ok((policy, String::from_utf8_lossy(&found).into_owned()))
}

/// [`read`]'s first half, on a thread that may block.
pub(super) async fn bytes_aside(path: &Path) -> Result<Vec<u8>, Why> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || bytes(&path)).await;
    read.unwrap_or_else(|lost| Err(Why::Unreadable(lost.to_string())))
}

/// [`read`]'s second half, away from the requests: a policy at the limits takes a while to compare.
pub(super) async fn parse_aside(path: &Path, found: Vec<u8>) -> Result<Policy, LoadError> {
    let of = path.to_owned();
    let parsed = tokio::task::spawn_blocking(move || parse(&of, &found)).await;
    parsed.unwrap_or_else(|lost| {
        let why = Why::Unreadable(lost.to_string());
        Err(LoadError { path: path.to_owned(), version: None, why })
    })
}

fn bytes(path: &Path) -> Result<Vec<u8>, Why> {
    let unreadable = |error: std::io::Error| Why::Unreadable(error.to_string());
    // Opening a FIFO would block until somebody writes to it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Why::Unreadable("it is not a regular file".to_owned()));
    }
    let mut found = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut found).map_err(unreadable)?;
    let fits = u64::try_from(found.len()).is_ok_and(|length| length <= MAX_BYTES);
    if fits { Ok(found) } else { Err(Why::TooLarge) }
}

/// What is parsed is what is hashed: one read serves both.
/// Reads a policy from the bytes of `path`.
///
/// # Errors
/// [`LoadError`], with every problem at once.
pub fn parse(path: &Path, found: &[u8]) -> Result<Policy, LoadError> {
    let parsed = match std::str::from_utf8(found) {
        Ok(text) => Policy::parse(text).map_err(Why::Problems),
        Err(bad) => {
            let good = found.get(..bad.valid_up_to()).unwrap_or_default();
            Err(Why::NotText(good.split(|byte| *byte == b'\n').count()))
        }
    };
    let version = Some(version_of(found));
    parsed.map_err(|why| LoadError { path: path.to_owned(), version, why })
}
