//! A person's word on operations, as a line of the log.

use super::chain;
use super::entry::{Entry, Event, Verdict, Word};
use super::recorder::host;
use crate::clock::Timestamp;

/// The form of these lines: one that knows only loads of policies cannot read them.
const FORMAT: u32 = 2;

/// Operations on one line, which has 64 KiB at most.
pub(crate) const MOST_OPERATIONS: usize = 500;

/// The line for `word`, while the policy with this file and hash is in force.
pub(crate) fn entry_of(
    word: Word,
    verdict: Verdict,
    (file, hash): (&str, &str),
    now: Timestamp,
) -> Entry {
    Entry {
        format: FORMAT,
        prev: chain::NOTHING_BEFORE.to_owned(),
        time: now.rfc3339(),
        event: Event::Resolve,
        verdict,
        file: file.to_owned(),
        hash: Some(hash.to_owned()),
        previous: Some(hash.to_owned()),
        rules: None,
        signed_by: None,
        signed_comment: None,
        problems: 0,
        problem: None,
        warnings: None,
        changes: None,
        reidentified: None,
        host: host(),
        pid: std::process::id(),
        payonce: env!("CARGO_PKG_VERSION").to_owned(),
        word: Some(word),
    }
}
