//! Idempotency keys, kept as Stripe keeps them (FACTS §2).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;

/// v1 forgets a key after this long.
pub(crate) const V1: Duration = Duration::from_hours(24);
/// v2 forgets a key after this long.
pub(crate) const V2: Duration = Duration::from_hours(30 * 24);

/// What a key was first used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    endpoint: String,
    params: [u8; 32],
}

impl Use {
    /// A call of `method` on these decoded path segments with these decoded and nested parameters:
    /// neither order nor encoding counts.
    pub(crate) fn new(method: &Method, segments: &[String], params: &Value) -> Self {
        let endpoint = format!("{method}\n{}", segments.join("\n"));
        let mut digest = Sha256::new();
        absorb(params, &mut digest);
        Self { endpoint, params: digest.finalize().into() }
    }
}

/// Each value with its kind and its length, the fields of an object by name.
fn absorb(value: &Value, digest: &mut Sha256) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| name.as_str());
            digest.update(format!("o{};", fields.len()));
            for (name, value) in fields {
                digest.update(format!("{};{name}", name.len()));
                absorb(value, digest);
            }
        }
        Value::Array(items) => {
            digest.update(format!("a{};", items.len()));
            for item in items {
                absorb(item, digest);
            }
        }
        Value::String(text) => digest.update(format!("s{};{text}", text.len())),
        Value::Null | Value::Bool(_) | Value::Number(_) => digest.update(format!("v{value};")),
    }
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
#[derive(Debug, PartialEq, Eq)]
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn used(params: &Value) -> Use {
        Use::new(&Method::POST, &["v1".to_owned(), "charges".to_owned()], params)
    }

    #[test]
    fn parameters_that_mean_something_else_are_another_use() {
        let all = [
            json!({}),
            json!({"a": ""}),
            json!({"a": null}),
            json!({"a": []}),
            json!({"a": {}}),
            json!({"a": "1"}),
            json!({"a": 1}),
            json!({"a": ["1"]}),
            json!({"a": {"0": "1"}}),
            json!({"a": "1", "b": "2"}),
            json!({"a": "1;1;bs1;2"}),
            json!({"a": ["1", "2"]}),
            json!({"a": ["2", "1"]}),
            json!({"a": [["1"], "2"]}),
        ];
        for (n, one) in all.iter().enumerate() {
            for (m, other) in all.iter().enumerate() {
                assert_eq!(used(one) == used(other), n == m, "{one} {other}");
            }
        }
    }

    #[test]
    fn a_full_table_takes_keys_again_once_old_ones_are_forgotten() {
        let mut keys = Keys::new(V1, 1);
        let at = Timestamp::from_millis;
        let day = u64::try_from(V1.as_millis()).unwrap();
        assert!(matches!(keys.begin("s", "a", used(&json!({})), at(0)), Found::Fresh(_)));
        assert_eq!(keys.begin("s", "b", used(&json!({})), at(day - 1)), Found::Full);
        assert!(matches!(keys.begin("s", "b", used(&json!({})), at(day)), Found::Fresh(_)));
    }

    #[test]
    fn failed_uses_take_no_room() {
        let mut keys = Keys::new(V1, 2);
        for n in 0..100 {
            let found = keys.begin("s", &n.to_string(), used(&json!({})), Timestamp::default());
            let Found::Fresh(running) = found else { panic!("{found:?}") };
            keys.end(&running, None);
        }
        assert!(keys.ages.len() <= 4, "{}", keys.ages.len());
    }

    #[test]
    fn the_end_of_a_forgotten_use_does_not_touch_a_newer_one() {
        let mut keys = Keys::new(V1, 9);
        let begin = |keys: &mut Keys, at: u64| {
            keys.begin("s", "k", used(&json!({})), Timestamp::from_millis(at))
        };
        let Found::Fresh(old) = begin(&mut keys, 0) else { panic!() };
        let day = u64::try_from(V1.as_millis()).unwrap();
        let Found::Fresh(_) = begin(&mut keys, day) else { panic!() };
        keys.end(&old, None);
        assert_eq!(begin(&mut keys, day), Found::InUse);
    }
}
