//! The table's figures, counted from what the sandbox executed. Pure.
//!
//! Byte-identical intents (twins) are interchangeable: nobody is harmed if one of two equal
//! purchases of a customer was executed by the other's request. So effects are counted by *class*:
//! there must be as many as were intended. A swap is counted in a row of its own.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::work::{Intent, Kind, Wanted};
use crate::clock::Timestamp;
use crate::sandbox::{Effect, Outcome};

/// The window in which the shipped policy takes equal charges and refunds for a double click.
const TWINS: Duration = Duration::from_secs(30);

/// The last word of the application to its user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Word {
    /// None: the job is still tried.
    #[default]
    None,
    Succeeded,
    Declined,
    Failed,
}

/// One intent and what the application saw of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) intent: Intent,
    pub(super) word: Word,
    /// When the last word fell.
    pub(super) at: Timestamp,
    /// A person looked its outcome up.
    pub(super) by_person: bool,
}

/// The figures of one column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) operations: usize,
    pub(super) charged_twice: usize,
    /// Twice, refunds.
    pub(super) refunded_twice: usize,
    pub(super) charged_told_failed: usize,
    pub(super) merged: usize,
    /// A twin was handed the other's answer within the policy's window.
    pub(super) merged_by_policy: usize,
    pub(super) locked_out: usize,
    /// Twins that were executed by each other's requests.
    pub(super) swapped: usize,
    pub(super) made_twice: usize,
    pub(super) by_person: usize,
    /// Money that moved too often, by currency, in its smallest unit.
    pub(super) over_charged: BTreeMap<String, i64>,
    pub(super) over_refunded: BTreeMap<String, i64>,
}

impl Counts {
    /// How many intents came to harm.
    pub(super) const fn harm(&self) -> usize {
        self.charged_twice
            + self.refunded_twice
            + self.made_twice
            + self.charged_told_failed
            + self.merged
            + self.locked_out
    }

    /// Whether what payonce promises was kept.
    pub(super) const fn kept(&self) -> bool {
        self.harm() == 0
    }
}

/// Whether this is what the intent was for.
pub(super) fn fulfils(kind: Kind, effect: &Effect) -> bool {
    let moved = match kind {
        Kind::Charge | Kind::PaymentIntent | Kind::Refund => effect.money,
        Kind::Customer | Kind::Update => true,
    };
    moved && effect.outcome == Outcome::Succeeded
}

/// Counts a column.
pub(super) fn count(told: &[Told], effects: &[Effect]) -> Counts {
    let mut classes: BTreeMap<&str, Class<'_>> = BTreeMap::new();
    let mut class_of: HashMap<&str, &str> = HashMap::new();
    for one in told {
        classes
            .entry(&one.intent.class)
            .or_insert_with(|| Class::new(one.intent.kind))
            .told
            .push(one);
        class_of.insert(&one.intent.id, &one.intent.class);
    }
    for effect in effects {
        let class = effect.intent.as_deref().and_then(|id| class_of.get(id));
        if let Some(class) = class.and_then(|class| classes.get_mut(class))
            && fulfils(class.kind, effect)
        {
            class.effects.push(effect);
        }
    }
    let mut counts = Counts { operations: told.len(), ..Counts::default() };
    for class in classes.values() {
        class.add_to(&mut counts);
    }
    counts
}

/// Byte-identical intents, and what was executed for them.
#[derive(Debug)]
struct Class<'a> {
    kind: Kind,
    told: Vec<&'a Told>,
    effects: Vec<&'a Effect>,
}

impl Class<'_> {
    const fn new(kind: Kind) -> Self {
        Self { kind, told: Vec::new(), effects: Vec::new() }
    }

    fn words(&self, word: Word) -> usize {
        self.told.iter().filter(|told| told.word == word).count()
    }

    fn add_to(&self, counts: &mut Counts) {
        let wanted = self.told.iter().filter(|told| told.intent.wanted == Wanted::Done).count();
        let (executed, succeeded) = (self.effects.len(), self.words(Word::Succeeded));
        let surplus = executed.saturating_sub(wanted);
        self.surplus(surplus.min(self.told.len()), surplus, counts);
        let short = succeeded.saturating_sub(executed);
        let close = short.min(self.close_twins());
        counts.merged_by_policy += close;
        counts.merged += short - close;
        let refused = self.told.iter().filter(|told| refused(told)).count();
        let charged = match self.kind {
            Kind::Charge | Kind::PaymentIntent | Kind::Refund | Kind::Customer => {
                refused.min(executed.saturating_sub(succeeded))
            }
            Kind::Update => 0,
        };
        counts.charged_told_failed += charged;
        counts.locked_out += self.words(Word::None) + refused - charged;
        if surplus == 0 {
            let own = |told: &&&Told| self.of(told) == 0 && told.word == Word::Succeeded;
            counts.swapped += self.told.iter().filter(own).count().saturating_sub(short);
        }
        counts.by_person += self.told.iter().filter(|told| told.by_person).count();
    }

    fn surplus(&self, intents: usize, surplus: usize, counts: &mut Counts) {
        let money = match self.kind {
            Kind::Charge | Kind::PaymentIntent => {
                counts.charged_twice += intents;
                &mut counts.over_charged
            }
            Kind::Refund => {
                counts.refunded_twice += intents;
                &mut counts.over_refunded
            }
            Kind::Customer => {
                counts.made_twice += intents;
                return;
            }
            Kind::Update => return,
        };
        for effect in self.effects.iter().rev().take(surplus) {
            if let (Some(amount), Some(currency)) = (effect.amount, &effect.currency) {
                *money.entry(currency.clone()).or_default() += amount;
            }
        }
    }

    /// How many effects bear this intent's name.
    fn of(&self, told: &Told) -> usize {
        let name = Some(told.intent.id.as_str());
        self.effects.iter().filter(|effect| effect.intent.as_deref() == name).count()
    }

    /// How many twins came within the window of another's answer, under a rule that merges them.
    fn close_twins(&self) -> usize {
        match self.kind {
            Kind::Charge | Kind::Refund => {}
            Kind::PaymentIntent | Kind::Customer | Kind::Update => return 0,
        }
        let mut at: Vec<Timestamp> = self
            .told
            .iter()
            .filter(|told| told.word == Word::Succeeded)
            .map(|told| told.at)
            .collect();
        at.sort_unstable();
        at.windows(2).filter(|pair| matches!(pair, [a, b] if b.since(*a) < TWINS)).count()
    }
}

/// Told that it failed, though there was no reason for it.
fn refused(told: &Told) -> bool {
    match told.word {
        Word::Failed => true,
        Word::Declined => told.intent.wanted == Wanted::Done,
        Word::Succeeded | Word::None => false,
    }
}

#[cfg(test)]
mod tests;
