//! What a deployment really called, from the decisions that it recorded.
//!
//! One JSON object a line, of which `method` and `path` are read. Bounded, however large the file:
//! a counter an operation, and a list of what is no operation.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read as _};

use http::Method;
use serde::Deserialize;

use crate::decide::path::Target;
use crate::decide::policy::operations;

/// A recorded decision is a few kilobytes, unless its request had a great many fields.
const LONGEST_LINE: usize = 1024 * 1024;

/// Different requests for what is no operation; more are counted, not listed.
const MOST_UNKNOWN: usize = 1000;

/// Counts of calls.
#[derive(Debug, Default)]
pub(super) struct Observed {
    calls: Vec<u64>,
    unknown: BTreeMap<String, u64>,
    /// Calls of what is no operation, beyond the list.
    pub(super) unlisted: u64,
    /// All calls.
    pub(super) total: u64,
    /// Lines that are no recorded decision.
    pub(super) unread: u64,
}

#[derive(Deserialize)]
struct Line {
    method: String,
    path: String,
}

impl Observed {
    /// Adds what `from` tells.
    ///
    /// # Errors
    /// Those of `from`.
    pub(super) fn read(&mut self, mut from: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        while next_line(&mut from, &mut line)? {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match request(&line) {
                Some((method, target)) => self.count(&method, &target),
                None => self.unread += 1,
            }
        }
        Ok(())
    }

    /// How often the operation with this index of the table was called.
    pub(super) fn calls(&self, index: usize) -> u64 {
        self.calls.get(index).copied().unwrap_or(0)
    }

    /// Requests for what is no operation, and how often each came.
    pub(super) fn unknown(&self) -> impl Iterator<Item = (&str, u64)> {
        self.unknown.iter().map(|(request, count)| (request.as_str(), *count))
    }

    fn count(&mut self, method: &Method, target: &Target) {
        self.total += 1;
        self.calls.resize(operations::all().len(), 0);
        let found = operations::find(method, target);
        if let Some(calls) = found.and_then(|index| self.calls.get_mut(index)) {
            *calls += 1;
            return;
        }
        let request = format!("{method} {}", target.raw_path());
        let full = self.unknown.len() >= MOST_UNKNOWN;
        match self.unknown.get_mut(&request) {
            Some(count) => *count += 1,
            None if full => self.unlisted += 1,
            None => {
                self.unknown.insert(request, 1);
            }
        }
    }
}

fn request(line: &[u8]) -> Option<(Method, Target)> {
    let line: Line = serde_json::from_slice(line).ok()?;
    Some((Method::from_bytes(line.method.as_bytes()).ok()?, Target::parse(&line.path).ok()?))
}

/// Reads a line; of one that is too long only the beginning, which is no JSON. `false` at the end.
fn next_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let most = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
    if from.by_ref().take(most).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if !line.ends_with(b"\n") && line.len() >= LONGEST_LINE {
        from.skip_until(b'\n')?;
    }
    Ok(true)
}
