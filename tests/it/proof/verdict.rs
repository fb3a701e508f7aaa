//! What the applications wanted and heard, held against what the sandbox executed. Pure.
//!
//! payonce's own word counts for nothing here. Intents with byte-identical requests are
//! interchangeable, for nobody is harmed if one of two equal purchases was executed by the other's
//! request: they form a *class*, and there must be as many effects in it as were wanted.
#![allow(dead_code, reason = "each kind of run reads its part of the verdict")]

use std::collections::{BTreeMap, BTreeSet};

use payonce::sandbox::Effect;

mod operation;
#[cfg(test)]
mod tests;

pub(crate) use operation::{By, Heard, Keys, Operation, Promise, Word};

/// Most violations that are told one by one; all are counted.
const TOLD: usize = 20;

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
