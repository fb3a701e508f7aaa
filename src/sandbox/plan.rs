//! When what goes wrong: scripted faults in the order they were given, then chance.
//!
//! Chance depends on the seed, on what the request is (its intent, else its key, else its path) and
//! on how often that was seen, never on the order in which parallel requests arrive.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::faults::{Fault, Kind, Only};
use super::mint::mix;

/// Most faults in one plan.
pub(crate) const FAULTS: usize = 10_000;
/// Most subjects whose requests are counted; beyond it the counting begins anew.
const SUBJECTS: usize = 200_000;

/// What a plan sees of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) intent: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
}

/// All faults to come, and how many have struck.
#[derive(Debug)]
pub(crate) struct Plan {
    seed: u64,
    faults: Vec<Fault>,
    seen: HashMap<u64, u64>,
    counts: BTreeMap<&'static str, u64>,
}

impl Plan {
    /// No faults.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, faults: Vec::new(), seen: HashMap::new(), counts: BTreeMap::new() }
    }

    /// Adds faults behind those that are there.
    pub(crate) fn add(&mut self, faults: Vec<Fault>) -> Result<(), String> {
        if self.faults.len() + faults.len() > FAULTS {
            return Err(format!("more than {FAULTS} faults"));
        }
        self.faults.extend(faults);
        Ok(())
    }

    /// Takes all faults away; what has struck stays counted.
    pub(crate) fn clear(&mut self) {
        self.faults.clear();
    }

    /// What is still to come.
    pub(crate) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// How many have struck, by kind.
    pub(crate) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Counts a fault that struck.
    pub(crate) fn struck(&mut self, kind: &Kind) {
        *self.counts.entry(kind.name()).or_default() += 1;
    }

    /// The fault that strikes this request.
    pub(crate) fn take(&mut self, seen: Seen<'_>) -> Option<Fault> {
        if self.faults.is_empty() {
            return None;
        }
        let chance = self.chance(seen);
        let scripted = self.faults.iter_mut().position(|fault| {
            fault.rate.is_none() && matches(&fault.only, seen) && passed(&mut fault.after)
        });
        let found = scripted.or_else(|| self.drawn(seen, chance))?;
        let fault = self.faults.get_mut(found)?;
        let taken = fault.clone();
        let left = fault.times.or(fault.rate.is_none().then_some(1));
        match left {
            Some(..=1) => {
                self.faults.remove(found);
            }
            Some(left) => fault.times = Some(left - 1),
            None => {}
        }
        Some(taken)
    }

    fn drawn(&mut self, seen: Seen<'_>, mut chance: f64) -> Option<usize> {
        self.faults.iter_mut().position(|fault| {
            let Some(rate) = fault.rate.filter(|_| matches(&fault.only, seen)) else {
                return false;
            };
            if !passed(&mut fault.after) {
                return false;
            }
            chance -= rate;
            chance < 0.0
        })
    }

    /// A number from 0 to 1.
    fn chance(&mut self, seen: Seen<'_>) -> f64 {
        let mut hasher = DefaultHasher::new();
        match (seen.intent, seen.key) {
            (Some(intent), _) => (0, intent).hash(&mut hasher),
            (None, Some(key)) => (1, key).hash(&mut hasher),
            (None, None) => (2, seen.method, seen.path).hash(&mut hasher),
        }
        let subject = hasher.finish();
        if self.seen.len() >= SUBJECTS && !self.seen.contains_key(&subject) {
            self.seen.clear();
        }
        let ordinal = self.seen.entry(subject).or_default();
        *ordinal += 1;
        let bits = mix(self.seed ^ mix(subject ^ mix(*ordinal)));
        let top = u32::try_from(bits >> 32).unwrap_or_default();
        f64::from(top) / (f64::from(u32::MAX) + 1.0)
    }
}

/// Whether enough matching requests went by; counts this one if not.
fn passed(after: &mut u64) -> bool {
    if *after == 0 {
        return true;
    }
    *after -= 1;
    false
}

fn matches(only: &Only, seen: Seen<'_>) -> bool {
    only.method.as_deref().is_none_or(|method| method.eq_ignore_ascii_case(seen.method))
        && only.path_prefix.as_deref().is_none_or(|prefix| seen.path.starts_with(prefix))
        && only.intent.as_deref().is_none_or(|intent| seen.intent == Some(intent))
        && only.key.as_deref().is_none_or(|key| seen.key == Some(key))
}

#[cfg(test)]
mod tests;
