//! From a path to a policy, or to why not. Bounded: a policy is small, and a path may lead anywhere.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::signature::{self, BadSignature, Signed, TrustedKeys};
use crate::decide::policy::{Policy, Problem, hash_of, lint, version_in};
use crate::decide::shown::{Shown, masked};

/// The largest policy file, in bytes.
pub const MAX_BYTES: u64 = 1024 * 1024;

/// The largest signature, in bytes. minisign's are some 300, most of it comments.
const MAX_SIGNATURE_BYTES: u64 = 16 * 1024;

/// The longest one-line summary, in characters.
const LONGEST_SUMMARY: usize = 400;

/// A policy file that is not used. [`fmt::Display`] tells everything there is to mend; what looks
/// like a secret is not told.
#[derive(Clone, PartialEq, Eq)]
pub struct LoadError {
    /// Which file.
    pub path: PathBuf,
    /// The hash of what it holds ([`Policy::hash`]), if it could be read.
    pub hash: Option<String>,
    /// What is the matter.
    pub why: Why,
}

/// What is the matter with a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It cannot be read: it is gone, not allowed, not a file.
    Unreadable(Shown),
    /// It is larger than [`MAX_BYTES`].
    TooLarge,
    /// Its text is not UTF-8; the line, from 1, on which that shows.
    NotText(usize),
    /// It has these problems.
    Problems(Vec<Problem>),
    /// It is sound, and this process cannot serve it.
    Unfit(Shown),
    /// Nobody who is trusted vouches for it.
    Signature(BadSignature),
    /// It is sound, and its load could not be written down where it must be.
    Unrecorded(Shown),
}

impl LoadError {
    /// A sound policy that is not taken all the same.
    pub(super) fn of(path: &Path, policy: &Policy, why: Why) -> Self {
        Self { path: path.to_owned(), hash: Some(policy.hash().to_owned()), why }
    }

    /// The version of what the file holds, if it could be read.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.hash.as_ref().map(|hash| version_in(hash))
    }

    /// What is the matter, in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        masked(&self.whole_summary()).chars().map(plain).take(LONGEST_SUMMARY).collect()
    }

    fn whole_summary(&self) -> String {
        match &self.why {
            Why::Problems(problems) => {
                let first = problems
                    .first()
                    .map(|first| format!(", the first on line {}: {}", first.line, first.what));
                format!("{}{}", counted(problems.len()), first.unwrap_or_default())
            }
            Why::Signature(why) => why.to_string(),
            Why::Unreadable(why) | Why::Unfit(why) | Why::Unrecorded(why) => why.to_string(),
            Why::TooLarge => "larger than 1 MiB".to_owned(),
            Why::NotText(line) => format!("not UTF-8 text, from line {line}"),
        }
    }
}

fn counted(problems: usize) -> String {
    format!("{problems} problem{}", if problems == 1 { "" } else { "s" })
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = Shown::from(self.path.display().to_string());
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
                write!(f, "{} in the policy {path}", counted(problems.len()))
            }
            Why::Unfit(why) => write!(f, "the policy {path} cannot be served: {why}"),
            Why::Signature(why) => {
                write!(f, "nobody vouches for the policy {path}: {}", Shown::from(why.to_string()))
            }
            Why::Unrecorded(why) => {
                write!(
                    f,
                    "the policy {path} is not taken, for its load could not be recorded: {why}"
                )
            }
        }
    }
}

impl fmt::Debug for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoadError({self})")
    }
}

impl std::error::Error for LoadError {}

/// A policy that was read, checked, and vouched for where that is asked.
#[derive(Debug)]
pub struct Found {
    /// The policy.
    pub policy: Policy,
    /// Who vouches for it, where somebody must.
    pub signed: Option<Signed>,
    /// What it was read from.
    pub text: String,
}

/// Likewise, to be put in force.
#[derive(Clone, Debug)]
pub struct Sound {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Who vouches for it, where somebody must.
    pub signed: Option<Signed>,
    /// How many warnings `payonce check` has for it, without regard to the store.
    pub warnings: usize,
}

impl Found {
    /// Counts its warnings too.
    pub(super) fn sound(self) -> Sound {
        let findings = lint::findings(&self.text, &self.policy, None);
        let warnings = findings.iter().filter(|finding| finding.is_open_warning()).count();
        Sound { policy: Arc::new(self.policy), signed: self.signed, warnings }
    }
}

/// Reads and checks the policy at `path`, whoever wrote it. Blocks on the file.
///
/// # Errors
/// [`LoadError`] says what is the matter; every problem of the file at once.
pub fn read(path: &Path) -> Result<Policy, LoadError> {
    let found = bytes(path, MAX_BYTES);
    parse(path, &found.map_err(|why| LoadError { path: path.to_owned(), hash: None, why })?)
}

/// Likewise, if one of `trusted` signed it, where there are any.
///
/// # Errors
/// [`LoadError`] says what is the matter. Nothing is said of a file that nobody vouches for.
pub fn read_signed(path: &Path, trusted: &TrustedKeys) -> Result<Found, LoadError> {
    Look::at(path, trusted).judge(path, trusted)
}

/// What stands on the disk: the policy and, where keys are trusted, its signature. Two files are
/// not read at one instant; they are what they say once two looks agree.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Look {
    policy: Result<Vec<u8>, Why>,
    signature: Option<Result<Vec<u8>, Why>>,
}

/// What tells one look from another, in fewer bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    policy: Result<String, Why>,
    signature: Option<Result<String, Why>>,
}

impl Look {
    /// Reads the files. Blocks.
    pub(super) fn at(path: &Path, trusted: &TrustedKeys) -> Self {
        let beside = || bytes(&signature::beside(path), MAX_SIGNATURE_BYTES);
        let signature = (!trusted.is_empty()).then(beside);
        Self { policy: bytes(path, MAX_BYTES), signature }
    }

    /// Likewise, on a thread that may block.
    pub(super) async fn aside(path: &Path, trusted: &TrustedKeys) -> Self {
        let (path, trusted) = (path.to_owned(), trusted.clone());
        let look = tokio::task::spawn_blocking(move || Self::at(&path, &trusted)).await;
        look.unwrap_or_else(|lost| Self {
            policy: Err(Why::Unreadable(lost.to_string().into())),
            signature: None,
        })
    }

    pub(super) fn mark(&self) -> Mark {
        let of = |found: &Result<Vec<u8>, Why>| match found {
            Ok(bytes) => Ok(hash_of(bytes)),
            Err(why) => Err(why.clone()),
        };
        Mark { policy: of(&self.policy), signature: self.signature.as_ref().map(of) }
    }

    /// What was found, if it is sound and vouched for.
    pub(super) fn judge(&self, path: &Path, trusted: &TrustedKeys) -> Result<Found, LoadError> {
        let failed = |hash, why| LoadError { path: path.to_owned(), hash, why };
        let found = self.policy.as_ref().map_err(|why| failed(None, why.clone()))?;
        let signed = if trusted.is_empty() {
            None
        } else {
            let vouched = vouched(path, found, self.signature.as_ref(), trusted);
            Some(vouched.map_err(|why| failed(Some(hash_of(found)), Why::Signature(why)))?)
        };
        let policy = parse(path, found)?;
        // What was parsed is UTF-8.
        Ok(Found { policy, signed, text: String::from_utf8_lossy(found).into_owned() })
    }

    /// Likewise, away from the requests: a policy at the limits takes a while to compare.
    pub(super) async fn judge_aside(
        self,
        path: &Path,
        trusted: &TrustedKeys,
    ) -> Result<Sound, LoadError> {
        let (of, trusted) = (path.to_owned(), trusted.clone());
        let judge = move || self.judge(&of, &trusted).map(Found::sound);
        let judged = tokio::task::spawn_blocking(judge).await;
        judged.unwrap_or_else(|lost| {
            let why = Why::Unreadable(lost.to_string().into());
            Err(LoadError { path: path.to_owned(), hash: None, why })
        })
    }
}

fn vouched(
    path: &Path,
    policy: &[u8],
    signature: Option<&Result<Vec<u8>, Why>>,
    trusted: &TrustedKeys,
) -> Result<Signed, BadSignature> {
    let missing = |why| Err(BadSignature::Missing { at: signature::beside(path), why });
    match signature {
        Some(Ok(signature)) => trusted.verify(policy, signature),
        Some(Err(Why::Unreadable(why))) => missing(why.to_string()),
        Some(Err(_too_large)) => Err(BadSignature::Damaged),
        None => missing("it was not looked for".to_owned()),
    }
}

fn bytes(path: &Path, most: u64) -> Result<Vec<u8>, Why> {
    let unreadable = |error: std::io::Error| Why::Unreadable(error.to_string().into());
    // Opening a FIFO would block until somebody writes to it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Why::Unreadable("it is not a regular file".into()));
    }
    let mut found = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(most + 1).read_to_end(&mut found).map_err(unreadable)?;
    let fits = u64::try_from(found.len()).is_ok_and(|length| length <= most);
    if fits { Ok(found) } else { Err(Why::TooLarge) }
}

/// Reads a policy from the bytes of `path`. What is parsed is what is hashed: one read serves both.
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
    let hash = Some(hash_of(found));
    parsed.map_err(|why| LoadError { path: path.to_owned(), hash, why })
}
