//! The last requests that came in: what was forwarded, as it arrived.

use std::collections::VecDeque;

use serde::Serialize;

use crate::clock::Timestamp;

/// One request that came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Its number, from 0.
    pub n: u64,
    /// When its head was read, on the sandbox's clock.
    pub at: Timestamp,
    /// The method.
    pub method: String,
    /// Path and query, byte for byte.
    pub target: String,
    /// The idempotency key.
    pub key: Option<String>,
    /// The names of its header fields in lower case, a repeated one as often as it came.
    pub headers: Vec<String>,
    /// The request header `Sandbox-Intent`.
    pub intent: Option<String>,
    /// The length of its body, once that was read whole.
    pub body_bytes: Option<usize>,
    /// The SHA-256 of its body in hex, once that was read whole.
    pub body_sha256: Option<String>,
    /// The kind of fault that was chosen for it.
    pub fault: Option<&'static str>,
    /// The status that it was answered with; nothing while it runs, and after a connection that
    /// was broken instead.
    pub status: Option<u16>,
}

/// A bounded log.
#[derive(Debug)]
pub(crate) struct Log {
    limit: usize,
    next: u64,
    last: VecDeque<Seen>,
}

impl Log {
    /// An empty log of at most `limit` requests.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, next: 0, last: VecDeque::new() }
    }

    /// Writes a request down, and gives its number.
    pub(crate) fn add(&mut self, mut seen: Seen) -> u64 {
        seen.n = self.next;
        self.next += 1;
        if self.last.len() >= self.limit {
            self.last.pop_front();
        }
        self.last.push_back(seen);
        self.next - 1
    }

    /// The request with this number, if it is still there.
    pub(crate) fn get(&mut self, n: u64) -> Option<&mut Seen> {
        let first = self.last.front()?.n;
        self.last.get_mut(usize::try_from(n.checked_sub(first)?).ok()?)
    }

    /// All that are still there, oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Seen> {
        self.last.iter()
    }

    /// Forgets them.
    pub(crate) fn clear(&mut self) {
        self.last.clear();
    }
}
