//! What was truly sent: every key, with what, when and for whom. The invariants about keys (I1, I2,
//! I4, I6) are held against this, not against what payonce says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use payonce::clock::Timestamp;

use super::sky::Sky;
use super::wire::{Map, TURNED_AWAY, field};

/// The header field that names one call of an SDK; all its retries bear it.
pub(crate) const CALL: &str = "x-call";

/// What was sent with one key.
struct Key {
    /// The first send that may have been executed.
    first: Option<Timestamp>,
    /// What the provider may have bound it to: nothing, if it only turned it away.
    content: Option<u64>,
}

impl Key {
    fn age(&self, now: Timestamp) -> Duration {
        self.first.map_or(Duration::ZERO, |first| now.since(first))
    }
}

/// A call that bore another key than before.
pub(crate) struct Changed {
    pub(crate) intent: String,
    /// Another process had sent it with that key before.
    pub(crate) elsewhere: bool,
}

/// What is finished is asked for no sooner after the same process last asked with its key; a retry
/// comes sooner (40 s for an attempt, 5 s of back-off).
const FINISHING: Duration = Duration::from_secs(47);

/// More than the pods' clocks differ by.
pub(crate) const SKEW: Duration = Duration::from_mins(1);

/// All that was heard.
#[derive(Default)]
pub(crate) struct Ears {
    keys: Map<(String, String), Key>,
    calls: Map<(String, u64), String>,
    /// Who sent a call with a key first.
    firsts: Map<(String, String), u64>,
    /// The keys that bore each intent, with the number of sends.
    pub(crate) intents: BTreeMap<String, (BTreeSet<String>, u32)>,
    /// Those of them that the provider did not turn away each time.
    pub(crate) taken: BTreeMap<String, BTreeSet<String>>,
    /// Classes whose key the provider may hold a 500 under.
    pub(crate) held: BTreeSet<String>,
    /// I4: a key that was sent with two contents, by intent.
    pub(crate) two_contents: Vec<String>,
    /// I6: a key that was sent when it was too old, by intent.
    pub(crate) too_old: Vec<(String, Duration)>,
    /// I2: a call whose retry bore another key at the same process, by intent.
    pub(crate) call_changed: Vec<Changed>,
    /// The same at whichever process, by intent.
    pub(crate) call_anywhere: BTreeSet<String>,
    call_keys: Map<String, String>,
    /// I3: a critical request without a key, by intent.
    pub(crate) keyless: Vec<String>,
    /// I11: an attempt that was begun when nobody awaited it, by intent.
    pub(crate) unwanted: Vec<String>,
    /// The same where a rule says `finish`, and it may be that.
    pub(crate) finished: u64,
    /// When each process last began an attempt with a key.
    begun: Map<(u64, String, String), Timestamp>,
    pub(crate) sends: u64,
    /// How many requests of each class await an answer.
    asking: Map<String, u32>,
}

/// A request that awaits its answer.
pub(crate) struct Asking {
    ears: Arc<Mutex<Ears>>,
    class: String,
}

impl Asking {
    pub(crate) fn for_intent(ears: &Arc<Mutex<Ears>>, intent: &str) -> Self {
        let class = class_of(intent).to_owned();
        *ears.lock().unwrap().asking.entry(class.clone()).or_default() += 1;
        Self { ears: Arc::clone(ears), class }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut ears = self.ears.lock().unwrap();
        let left = ears.asking.remove(&self.class).unwrap_or(1) - 1;
        if left > 0 {
            ears.asking.insert(self.class.clone(), left);
        }
    }
}

impl Ears {
    /// An attempt begins, by a process that `finishes` or not.
    pub(crate) fn begin(&mut self, now: Timestamp, sender: u64, head: &Parts, finishes: bool) {
        let intent = field(head, "sandbox-intent");
        let (scope, key) = (field(head, "authorization"), field(head, "idempotency-key"));
        let before = self.begun.insert((sender, scope.to_owned(), key.to_owned()), now);
        if self.asking.contains_key(class_of(intent)) {
            return;
        }
        // Nobody awaits it. It is finished only with a key that this process has left in doubt.
        let late = before.is_some_and(|before| now.since(before) >= FINISHING);
        if finishes && late {
            self.finished += 1;
        } else {
            self.unwanted.push(intent.to_owned());
        }
    }

    pub(crate) fn hear(
        &mut self,
        sky: &Sky,
        sender: u64,
        head: &Parts,
        body: &Bytes,
        fate: &'static str,
    ) {
        let (intent, key) = (field(head, "sandbox-intent"), field(head, "idempotency-key"));
        let (call, scope) = (field(head, CALL), field(head, "authorization"));
        let now = sky.now();
        self.sends += 1;
        sky.note(format_args!("{sender} sends {intent} {key} {call}: {fate}"));
        if key.is_empty() {
            if !sky.unenforced() {
                self.keyless.push(intent.to_owned());
            }
            return;
        }
        let sent = self.intents.entry(intent.to_owned()).or_default();
        sent.0.insert(key.to_owned());
        sent.1 += 1;
        let content = digest(head.uri.path(), body);
        let known = self.keys.entry((scope.to_owned(), key.to_owned()));
        let known = known.or_insert(Key { first: None, content: None });
        if known.content.is_some_and(|first| first != content) {
            self.two_contents.push(intent.to_owned());
        }
        // A rate limit executes nothing and binds no key (FACTS §2), so that what the claim found is
        // put back (DESIGN §4): no occurrence has begun under that key (I1, I4).
        if fate != TURNED_AWAY {
            known.content.get_or_insert(content);
            self.taken.entry(intent.to_owned()).or_default().insert(key.to_owned());
        }
        let safe = Duration::from_hours(if head.uri.path().starts_with("/v2/") { 696 } else { 23 });
        if known.age(now) >= safe {
            self.too_old.push((intent.to_owned(), known.age(now)));
        }
        if fate == TURNED_AWAY {
            // It was not executed, so the provider keeps nothing for the key, and I2 says that it
            // leaves no entry.
            return;
        }
        known.first.get_or_insert(now);
        self.hear_call(sender, (scope, key), call, intent, (now, safe));
    }

    /// The same call is to bear the same key, until that is too old (A6: another is sent).
    fn hear_call(
        &mut self,
        sender: u64,
        (scope, key): (&str, &str),
        call: &str,
        intent: &str,
        (now, safe): (Timestamp, Duration),
    ) {
        let first = *self.firsts.entry((call.to_owned(), key.to_owned())).or_insert(sender);
        let too_old = |before: &str| {
            let before = self.keys.get(&(scope.to_owned(), before.to_owned()));
            before.is_some_and(|before| before.age(now) + SKEW >= safe)
        };
        let anywhere = self.call_keys.entry(call.to_owned()).or_insert_with(|| key.to_owned());
        if anywhere != key {
            if too_old(anywhere) {
                key.clone_into(anywhere);
            } else {
                self.call_anywhere.insert(intent.to_owned());
            }
        }
        let before = self.calls.entry((call.to_owned(), sender)).or_insert_with(|| key.to_owned());
        if before != key {
            if too_old(before) {
                key.clone_into(before);
            } else {
                let elsewhere = first != sender;
                self.call_changed.push(Changed { intent: intent.to_owned(), elsewhere });
            }
        }
    }

    /// The provider may hold a 500 under the key of this request.
    pub(crate) fn held(&mut self, head: &Parts) {
        self.held.insert(class_of(field(head, "sandbox-intent")).to_owned());
    }
}

/// Intents of one class share what stands before the dot.
pub(crate) fn class_of(intent: &str) -> &str {
    intent.split('.').next().unwrap_or(intent)
}

fn digest(path: &str, body: &Bytes) -> u64 {
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for byte in path.bytes().chain([0]).chain(body.iter().copied()) {
        digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::super::sky::Rates;
    use super::*;

    /// What is heard of one key that is sent with these contents, each with what becomes of it.
    fn heard(sends: &[(&'static str, &'static str)]) -> Ears {
        let (sky, mut ears) = (Sky::new(0, Rates::default(), 1), Ears::default());
        for (body, fate) in sends {
            let request = http::Request::post("/v1/charges").header("sandbox-intent", "a");
            let (head, ()) = request.header("idempotency-key", "k").body(()).unwrap().into_parts();
            ears.hear(&sky, 1, &head, &Bytes::from_static(body.as_bytes()), fate);
        }
        ears
    }

    #[test]
    fn a_key_that_was_only_rate_limited_is_bound_to_no_content() {
        let ears = heard(&[("card 1", TURNED_AWAY), ("card 2", "fine")]);
        assert_eq!((ears.two_contents.len(), ears.taken["a"].len()), (0, 1));
        assert!(heard(&[("card 1", TURNED_AWAY)]).taken.is_empty());
    }

    #[test]
    fn a_key_that_was_taken_may_not_even_be_turned_away_with_other_content() {
        for fate in ["fine", "wire: reset before the effect", TURNED_AWAY] {
            assert_eq!(heard(&[("card 1", "fine"), ("card 2", fate)]).two_contents, ["a"]);
        }
    }
}
