//! Idempotency keys, kept as Stripe keeps them (FACTS §2).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::clock::Timestamp;

/// v1 forgets a key after this long.
pub(crate) const V1: Duration = Duration::from_hours(24);
/// v2 forgets a key after this long.
pub(crate) const V2: Duration = Duration::from_hours(30 * 24);

/// What a key was first used for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Use {
    /// Method and path.
    pub(crate) endpoint: String,
    /// Decoded and nested, so that neither order nor encoding counts.
    pub(crate) params: Value,
}

/// A saved outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    /// The object the call made or changed; v2 shows it as it is now.
    pub(crate) object: Option<String>,
    /// `request-id` of the first answer.
    pub(crate) request: String,
}

/// What is known of a key.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// Nothing: it is now running.
    Fresh(Running),
    /// A request with it is running.
    InUse,
    /// It was used with other parameters, or on another endpoint.
    Mismatch { same_endpoint: bool },
    /// Its outcome.
    Saved(Saved),
    /// The table is full.
    Full,
}

/// The right to end what was begun under a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Running {
    id: String,
    serial: u64,
}

#[derive(Debug)]
struct Entry {
    serial: u64,
    used: Use,
    outcome: Option<Saved>,
}

/// The keys of one family, of all scopes.
#[derive(Debug)]
pub(crate) struct Keys {
    keep: Duration,
    limit: usize,
    serial: u64,
    entries: HashMap<String, Entry>,
    /// Oldest first; what is gone from `entries` (another serial) is passed over.
    ages: VecDeque<(Timestamp, Running)>,
}

impl Keys {
    /// An empty table that keeps keys for `keep`, and at most `limit` of them.
    pub(crate) fn new(keep: Duration, limit: usize) -> Self {
        Self { keep, limit, serial: 0, entries: HashMap::new(), ages: VecDeque::new() }
    }

    /// Looks a key up, and begins to run under it if it is new.
    pub(crate) fn begin(&mut self, scope: &str, key: &str, used: Use, now: Timestamp) -> Found {
        self.prune(now);
        let id = format!("{scope}\n{key}");
        if let Some(entry) = self.entries.get(&id) {
            return match &entry.outcome {
                None => Found::InUse,
                Some(_) if entry.used != used => {
                    Found::Mismatch { same_endpoint: entry.used.endpoint == used.endpoint }
                }
                Some(saved) => Found::Saved(saved.clone()),
            };
        }
        if self.entries.len() >= self.limit {
            return Found::Full;
        }
        if self.ages.len() >= self.limit.saturating_mul(2) {
            let entries = &self.entries;
            self.ages.retain(|(_, r)| entries.get(&r.id).is_some_and(|e| e.serial == r.serial));
        }
        self.serial += 1;
        let serial = self.serial;
        self.entries.insert(id.clone(), Entry { serial, used, outcome: None });
        self.ages.push_back((now, Running { id: id.clone(), serial }));
        Found::Fresh(Running { id, serial })
    }

    /// Saves the outcome, or forgets the key with `None`.
    pub(crate) fn end(&mut self, running: &Running, outcome: Option<Saved>) {
        let ours = self.entries.get_mut(&running.id).filter(|e| e.serial == running.serial);
        match (ours, outcome) {
            (Some(entry), Some(saved)) => entry.outcome = Some(saved),
            (Some(_), None) => {
                self.entries.remove(&running.id);
            }
            (None, _) => {}
        }
    }

    fn prune(&mut self, now: Timestamp) {
        while let Some((at, running)) = self.ages.front() {
            let entry = self.entries.get(&running.id).filter(|e| e.serial == running.serial);
            if entry.is_some() && now.since(*at) < self.keep {
                break;
            }
            if entry.is_some() {
                self.entries.remove(&running.id);
            }
            self.ages.pop_front();
        }
    }
}
