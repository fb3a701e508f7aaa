//! What the applications wanted and heard, held against what the sandbox executed. Pure.
//!
//! payonce's own word counts for nothing here. Intents with byte-identical requests are
//! interchangeable, for nobody is harmed if one of two equal purchases was executed by the other's
//! request: they form a *class*, and there must be as many effects in it as were wanted.
#![allow(dead_code, reason = "each kind of run reads its part of the verdict")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use payonce::clock::Timestamp;
use payonce::sandbox::{Effect, Outcome};

/// Most violations that are told one by one; all are counted.
const TOLD: usize = 20;

/// What payonce is to recognise an operation by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum By {
    Header,
    Fields,
    OwnKey,
    Content,
    Call,
}

/// Whose key its requests bear, and of which shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Keys {
    None,
    Uuid4,
    PythonHex,
    Node,
    Go,
    Own,
}

impl Keys {
    pub(crate) const ALL: [Self; 6] =
        [Self::None, Self::Uuid4, Self::PythonHex, Self::Node, Self::Go, Self::Own];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "no key",
            Self::Uuid4 => "UUIDv4",
            Self::PythonHex => "Python hex",
            Self::Node => "Node",
            Self::Go => "Go",
            Self::Own => "own key",
        }
    }
}

/// What is promised of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// At most one effect, never merged with another.
    Once,
    /// At most one effect; it may be merged with a byte-identical one, as its rule says.
    OnceOrMerged,
    /// Nothing: it is measured (an answer that was read and not committed, a client without keys).
    Measured,
}

/// What the application heard for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// A 2xx that names this object.
    Succeeded { object: String },
    /// A decline: no money moved.
    Declined,
    /// A failure that says that nothing was sent.
    NothingSent,
    /// A failure that says that the outcome is not known.
    Unknown,
    /// A refusal that says that it was done before, naming the object if it is known.
    AlreadyDone { object: Option<String> },
    /// Any other refusal: a conflict, a superseded key, an elapsed window.
    Refused,
    /// Nothing: it hung up, or the connection broke.
    Silence,
}

/// A word, and when it was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) at: Timestamp,
    pub(crate) word: Word,
}

/// One effect that an application wanted, and all that it heard of it.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// Its `Sandbox-Intent`.
    pub(crate) intent: String,
    /// The same for byte-identical requests; else the intent itself.
    pub(crate) class: String,
    /// What kind of story it is part of.
    pub(crate) workload: &'static str,
    pub(crate) by: By,
    pub(crate) keys: Keys,
    pub(crate) promise: Promise,
    /// Only an effect that moved money counts.
    pub(crate) money: bool,
    /// It was asked for again after all faults had ended.
    pub(crate) healed: bool,
    pub(crate) heard: Vec<Heard>,
}

impl Operation {
    fn fulfilled_by(&self, effect: &Effect) -> bool {
        effect.outcome == Outcome::Succeeded && (effect.money || !self.money)
    }

    /// The object of the last success that it heard of.
    fn object(&self) -> Option<&str> {
        self.heard.iter().rev().find_map(|heard| match &heard.word {
            Word::Succeeded { object } | Word::AlreadyDone { object: Some(object) } => {
                Some(object.as_str())
            }
            Word::AlreadyDone { object: None }
            | Word::Declined
            | Word::NothingSent
            | Word::Unknown
            | Word::Refused
            | Word::Silence => None,
        })
    }

    fn last(&self) -> Option<&Word> {
        self.heard.last().map(|heard| &heard.word)
    }

    /// It was told that it succeeded, some time.
    fn succeeded(&self) -> bool {
        let success =
            |heard: &Heard| matches!(heard.word, Word::Succeeded { .. } | Word::AlreadyDone { .. });
        self.heard.iter().any(success)
    }

    /// It knows how it ended.
    fn ended(&self) -> bool {
        self.succeeded() || self.last() == Some(&Word::Declined)
    }

    /// It believes that no money moved.
    fn believes_failed(&self) -> bool {
        !self.succeeded() && matches!(self.last(), Some(Word::Declined | Word::NothingSent))
    }

    /// How long the outcome was not known, from the first word that said so.
    fn doubts(&self) -> Vec<Option<Duration>> {
        let mut doubts = Vec::new();
        let mut since = None;
        for heard in &self.heard {
            match heard.word {
                Word::Unknown | Word::Silence => since = since.or(Some(heard.at)),
                Word::Succeeded { .. } | Word::AlreadyDone { .. } | Word::Declined => {
                    doubts.extend(since.take().map(|since| Some(heard.at.since(since))));
                }
                Word::NothingSent | Word::Refused => {}
            }
        }
        doubts.extend(since.map(|_open| None));
        doubts
    }
}

/// The figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) operations: usize,
    /// Told that they succeeded.
    pub(crate) succeeded: usize,
    /// The last word is a decline.
    pub(crate) declined: usize,
    /// Effects beyond those wanted, where one was promised.
    pub(crate) duplicates: usize,
    /// The same, where nothing was promised.
    pub(crate) duplicates_measured: usize,
    /// Executed, and the application believes that it failed.
    pub(crate) lost_answers: usize,
    /// A success was told that names no effect of its class.
    pub(crate) hollow: usize,
    /// Intents that were told of another's effect, where that was not allowed.
    pub(crate) false_merges: usize,
    /// The same, where the rule allows it.
    pub(crate) merges_allowed: usize,
    /// Asked again when all was well, and still no outcome.
    pub(crate) locked_out: usize,
    /// Times that an outcome was not known, and how long: in milliseconds, sorted.
    pub(crate) doubts: Vec<u64>,
    /// Doubts that nobody asked about again.
    pub(crate) doubts_left: usize,
    /// The first violations, for people.
    pub(crate) violations: Vec<String>,
}

impl Verdict {
    /// How many promises were broken.
    pub(crate) const fn broken(&self) -> usize {
        self.duplicates + self.lost_answers + self.hollow + self.false_merges + self.locked_out
    }

    /// Whether at least 95 of 100 operations that were not declined succeeded.
    pub(crate) fn mostly_succeeded(&self) -> bool {
        self.succeeded * 100 >= (self.operations - self.declined) * 95
    }

    /// Adds the figures of another run.
    pub(crate) fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.succeeded += other.succeeded;
        self.declined += other.declined;
        self.duplicates += other.duplicates;
        self.duplicates_measured += other.duplicates_measured;
        self.lost_answers += other.lost_answers;
        self.hollow += other.hollow;
        self.false_merges += other.false_merges;
        self.merges_allowed += other.merges_allowed;
        self.locked_out += other.locked_out;
        self.doubts.extend(&other.doubts);
        self.doubts.sort_unstable();
        self.doubts_left += other.doubts_left;
        let room = TOLD.saturating_sub(self.violations.len());
        self.violations.extend(other.violations.iter().take(room).cloned());
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.violations.len() < TOLD {
            self.violations.push(what());
        }
    }
}

/// Counts what became of `operations`.
pub(crate) fn verdict(operations: &[Operation], effects: &[Effect]) -> Verdict {
    let mut classes: BTreeMap<&str, Class<'_>> = BTreeMap::new();
    let mut class_of = BTreeMap::new();
    for operation in operations {
        classes.entry(&operation.class).or_default().operations.push(operation);
        class_of.insert(operation.intent.as_str(), operation.class.as_str());
    }
    for effect in effects {
        let class = effect.intent.as_deref().and_then(|intent| class_of.get(intent));
        let Some(class) = class.and_then(|class| classes.get_mut(class)) else { continue };
        if class.operations.first().is_some_and(|one| one.fulfilled_by(effect)) {
            class.effects.push(effect);
        }
    }
    let mut verdict = Verdict { operations: operations.len(), ..Verdict::default() };
    for (name, class) in &classes {
        class.count(name, &mut verdict);
    }
    verdict.doubts.sort_unstable();
    verdict
}

/// Byte-identical intents, and what was executed for them.
#[derive(Default)]
struct Class<'a> {
    operations: Vec<&'a Operation>,
    effects: Vec<&'a Effect>,
}

impl Class<'_> {
    fn count(&self, name: &str, verdict: &mut Verdict) {
        self.count_words(name, verdict);
        self.count_effects(name, verdict);
        self.count_merges(name, verdict);
        self.count_lies(name, verdict);
    }

    fn promise(&self) -> Promise {
        self.operations.iter().map(|one| one.promise).max().unwrap_or(Promise::Once)
    }

    fn count_words(&self, name: &str, verdict: &mut Verdict) {
        for one in &self.operations {
            verdict.succeeded += usize::from(one.succeeded());
            let declined = !one.succeeded() && one.last() == Some(&Word::Declined);
            verdict.declined += usize::from(declined);
            for doubt in one.doubts() {
                match doubt {
                    Some(time) => {
                        verdict.doubts.push(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
                    }
                    None => verdict.doubts_left += 1,
                }
            }
            if one.healed && !one.ended() && one.promise != Promise::Measured {
                verdict.locked_out += 1;
                verdict.tell(|| format!("locked out: {} of {name}: {:?}", one.intent, one.heard));
            }
        }
    }

    fn count_effects(&self, name: &str, verdict: &mut Verdict) {
        let wanted = self.operations.iter().filter(|one| !one.heard.is_empty()).count();
        let extra = self.effects.len().saturating_sub(wanted);
        if self.promise() == Promise::Measured {
            verdict.duplicates_measured += extra;
        } else if extra > 0 {
            verdict.duplicates += extra;
            verdict.tell(|| format!("{extra} too many: {name}: {}", self.story()));
        }
        // Whoever was told of a failure believes in it: effects that nobody knows of are theirs.
        let failed = self.operations.iter().filter(|one| one.believes_failed()).count();
        let known = self.operations.len() - failed;
        let lost = self.effects.len().saturating_sub(known + extra).min(failed);
        if lost > 0 && self.promise() != Promise::Measured {
            verdict.lost_answers += lost;
            verdict.tell(|| format!("told failed, though executed: {name}: {}", self.story()));
        }
    }

    fn count_merges(&self, name: &str, verdict: &mut Verdict) {
        let objects: Vec<&str> = self.operations.iter().filter_map(|one| one.object()).collect();
        let distinct: BTreeSet<&str> = objects.iter().copied().collect();
        let merged = objects.len() - distinct.len();
        match self.promise() {
            Promise::OnceOrMerged | Promise::Measured => verdict.merges_allowed += merged,
            Promise::Once if merged > 0 => {
                verdict.false_merges += merged;
                verdict.tell(|| format!("merged: {name}: {}", self.story()));
            }
            Promise::Once => {}
        }
    }

    fn count_lies(&self, name: &str, verdict: &mut Verdict) {
        let real: BTreeSet<&str> =
            self.effects.iter().map(|effect| effect.object.as_str()).collect();
        for one in &self.operations {
            if let Some(object) = one.object().filter(|object| !real.contains(object)) {
                verdict.hollow += 1;
                verdict.tell(|| format!("{} was told of {object}: {name}", one.intent));
            }
        }
        // "Nothing was sent" must hold of all that was asked for so far and not answered before,
        // where payonce can know that it is one operation: a call has no record that outlives its
        // process.
        let [one] = self.operations.as_slice() else { return };
        if one.promise == Promise::Measured || one.by == By::Call {
            return;
        }
        let mut told = false;
        for heard in &one.heard {
            let executed = self.effects.iter().any(|effect| effect.at <= heard.at);
            if heard.word == Word::NothingSent && executed && !told {
                verdict.lost_answers += 1;
                verdict.tell(|| format!("\"nothing was sent\": {name}: {}", self.story()));
                return;
            }
            told |= matches!(heard.word, Word::Succeeded { .. } | Word::AlreadyDone { .. });
        }
    }

    fn story(&self) -> String {
        let heard: Vec<_> =
            self.operations.iter().map(|one| (&one.intent, one.workload, &one.heard)).collect();
        let effects: Vec<_> =
            self.effects.iter().map(|it| (it.at, &it.object, &it.intent, &it.key)).collect();
        format!("heard {heard:?}; executed {effects:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn succeeded(object: &str) -> Word {
        Word::Succeeded { object: object.to_owned() }
    }

    fn operation(intent: &str, class: &str, words: &[(u64, Word)]) -> Operation {
        let heard = words.iter().map(|(when, word)| Heard { at: at(*when), word: word.clone() });
        Operation {
            intent: intent.to_owned(),
            class: class.to_owned(),
            workload: "test",
            by: By::Content,
            keys: Keys::None,
            promise: Promise::Once,
            money: true,
            healed: true,
            heard: heard.collect(),
        }
    }

    fn effect(when: u64, object: &str, intent: &str) -> Effect {
        Effect {
            n: 0,
            at: at(when),
            operation: String::new(),
            path: String::new(),
            object: object.to_owned(),
            amount: None,
            currency: None,
            key: None,
            scope: String::new(),
            intent: Some(intent.to_owned()),
            money: true,
            outcome: Outcome::Succeeded,
        }
    }

    #[test]
    fn what_happened_once_and_was_told_breaks_nothing() {
        let told = [operation("a", "a", &[(1, Word::Unknown), (9, succeeded("ch_1"))])];
        let verdict = verdict(&told, &[effect(1, "ch_1", "a")]);
        assert_eq!((verdict.broken(), verdict.succeeded, verdict.doubts), (0, 1, vec![8]));
    }

    #[test]
    fn a_second_effect_is_a_duplicate() {
        let told = [operation("a", "a", &[(9, succeeded("ch_2"))])];
        let found = verdict(&told, &[effect(1, "ch_1", "a"), effect(2, "ch_2", "a")]);
        assert_eq!((found.duplicates, found.broken()), (1, 1));
    }

    #[test]
    fn equal_purchases_may_be_executed_by_each_others_request() {
        let told = [
            operation("a", "same", &[(5, succeeded("ch_2"))]),
            operation("b", "same", &[(6, succeeded("ch_1"))]),
        ];
        let found = verdict(&told, &[effect(1, "ch_1", "a"), effect(2, "ch_2", "a")]);
        assert_eq!(found.broken(), 0);
    }

    #[test]
    fn two_who_are_told_of_one_effect_are_merged() {
        let both = [
            operation("a", "same", &[(5, succeeded("ch_1"))]),
            operation("b", "same", &[(6, succeeded("ch_1"))]),
        ];
        assert_eq!(verdict(&both, &[effect(1, "ch_1", "a")]).false_merges, 1);
        let allowed = both.map(|one| Operation { promise: Promise::OnceOrMerged, ..one });
        let found = verdict(&allowed, &[effect(1, "ch_1", "a")]);
        assert_eq!((found.merges_allowed, found.broken()), (1, 0));
    }

    #[test]
    fn executed_and_believed_to_have_failed_is_a_lost_answer() {
        for word in [Word::Declined, Word::NothingSent] {
            let told = [operation("a", "a", &[(0, word)])];
            assert_eq!(verdict(&told, &[effect(1, "ch_1", "a")]).lost_answers, 1);
        }
    }

    #[test]
    fn nothing_was_sent_is_a_lie_after_an_effect_that_was_not_told() {
        let words = [(5, Word::NothingSent), (9, succeeded("ch_1"))];
        let told = [operation("a", "a", &words)];
        assert_eq!(verdict(&told, &[effect(1, "ch_1", "a")]).lost_answers, 1);
        assert_eq!(verdict(&told, &[effect(7, "ch_1", "a")]).lost_answers, 0);
    }

    #[test]
    fn a_success_that_names_nothing_real_is_hollow() {
        let told = [operation("a", "a", &[(5, succeeded("ch_9"))])];
        assert_eq!(verdict(&told, &[effect(1, "ch_1", "a")]).hollow, 1);
    }

    #[test]
    fn who_asks_in_good_times_and_gets_no_outcome_is_locked_out() {
        for word in [Word::Unknown, Word::Refused, Word::Silence, Word::NothingSent] {
            let told = [operation("a", "a", &[(5, word)])];
            assert_eq!(verdict(&told, &[]).locked_out, 1);
        }
    }

    #[test]
    fn what_is_only_measured_breaks_no_promise() {
        let told = Operation {
            promise: Promise::Measured,
            ..operation("a", "a", &[(9, succeeded("ch_2"))])
        };
        let found = verdict(&[told], &[effect(1, "ch_1", "a"), effect(2, "ch_2", "a")]);
        assert_eq!((found.duplicates_measured, found.broken()), (1, 0));
    }

    #[test]
    fn runs_are_added_up() {
        let told = [operation("a", "a", &[(1, Word::Unknown), (9, succeeded("ch_1"))])];
        let one = verdict(&told, &[effect(1, "ch_1", "a")]);
        let mut sum = one.clone();
        sum.add(&one);
        assert_eq!((sum.operations, sum.succeeded, sum.doubts), (2, 2, vec![8, 8]));
    }
}
