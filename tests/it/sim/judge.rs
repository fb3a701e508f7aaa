//! What was promised in the run that was played, and whether it was kept: the verdict on effects,
//! and the invariants on keys and words.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use payonce::clock::Timestamp;
use payonce::decide::digest::OperationId;
use payonce::decide::operation::Retention;
use payonce::decide::path::Api;
use payonce::ledger::Held;
use payonce::sandbox::{Effect, Outcome};

use super::app::{MISUSED, Story};
use super::chaos::Climate;
use super::ears::{Ears, SKEW, class_of};
use super::work::{Habit, Plan};
use crate::proof::verdict::{By, Keys, Operation, Promise, Verdict, Word, verdict};

/// After this long a key must not be sent any more, with an hour to spare.
const HORIZON: Duration = Duration::from_hours(22);

/// What the rule of the double requests says, less the time that a request takes.
const REPEAT_WINDOW: Duration = Duration::from_secs(25);

/// What a run is found to be.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    pub(crate) by_keys: BTreeMap<Keys, Verdict>,
    pub(crate) by_workload: BTreeMap<&'static str, Verdict>,
    /// Invariants that do not hold, each with its case.
    pub(crate) broken: Vec<String>,
    /// Operations that payonce promises less of, by the reason.
    pub(crate) excused: BTreeMap<&'static str, usize>,
    /// Records that are open though their operations were asked for again.
    pub(crate) left_open: usize,
}

impl Judged {
    /// Everything that is wrong.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let mut wrong = self.broken.clone();
        wrong.extend(self.verdict.violations.iter().cloned());
        if self.verdict.broken() > 0 && self.verdict.violations.is_empty() {
            wrong.push(format!("{:?}", self.verdict));
        }
        wrong
    }
}

/// Holds what was told against what was executed and sent.
pub(crate) fn judge(
    stories: &[(Plan, Vec<Story>)],
    effects: &[Effect],
    ears: &Ears,
    open: &[Held],
    climate: Climate,
) -> Judged {
    let mut judged = Judged::default();
    let lost_classes: BTreeSet<&str> = stories
        .iter()
        .filter(|(_, lanes)| lanes.iter().any(|story| story.lost > 0))
        .map(|(plan, _)| class_of(&plan.intent))
        .collect();
    let operations: Vec<Operation> = stories
        .iter()
        .map(|(plan, lanes)| operation(plan, lanes, ears, &lost_classes, climate, &mut judged))
        .collect();
    judged.verdict = verdict(&operations, effects);
    for keys in Keys::ALL {
        let some = operations.iter().filter(|it| it.keys == keys).cloned().collect::<Vec<_>>();
        judged.by_keys.insert(keys, verdict(&some, effects));
    }
    let workloads: BTreeSet<&str> = operations.iter().map(|it| it.workload).collect();
    for workload in workloads {
        let some =
            operations.iter().filter(|it| it.workload == workload).cloned().collect::<Vec<_>>();
        judged.by_workload.insert(workload, verdict(&some, effects));
    }
    keys(stories, &operations, ears, climate, &mut judged);
    tried_again(stories, effects, climate, &mut judged);
    misuse(effects, ears, climate, &mut judged);
    scopes(stories, effects, &mut judged);
    still_open(stories, open, ears, climate, &mut judged);
    judged
}

/// What is promised of one operation, in the weather that it had.
fn operation(
    plan: &Plan,
    lanes: &[Story],
    ears: &Ears,
    lost: &BTreeSet<&str>,
    climate: Climate,
    judged: &mut Judged,
) -> Operation {
    let class = class_of(&plan.intent);
    let held = ears.held.contains(class) || shut_out(plan, ears, climate);
    let excuse = excuse(plan, lanes, climate);
    if let Some(why) = excuse {
        *judged.excused.entry(why).or_default() += 1;
    }
    let twins = plan.workload == "twins";
    let promise = match (excuse, plan.promise) {
        (Some(_), _) => Promise::Measured,
        // One of them may be answered with the other's success where an answer was lost, or where
        // payonce could not learn or remember that it was read.
        (None, Promise::Once)
            if twins && (lost.contains(class) || climate.crashes || climate.lossy()) =>
        {
            Promise::OnceOrMerged
        }
        (None, promise) => promise,
    };
    if held {
        let why = if shut_out(plan, ears, climate) {
            "another card under a key that the store forgot: held for a person"
        } else {
            "a saved 500: held for a person"
        };
        *judged.excused.entry(why).or_default() += 1;
    }
    let aged = age(lanes) >= HORIZON;
    let mut heard: Vec<_> = lanes.iter().flat_map(|story| story.heard.iter().cloned()).collect();
    heard.sort_by_key(|heard| heard.at);
    Operation {
        intent: plan.intent.clone(),
        class: class.to_owned(),
        workload: plan.workload,
        by: plan.by,
        keys: plan.keys,
        promise,
        money: plan.path == "/v1/charges" || plan.path == "/v1/payment_intents",
        healed: lanes.iter().any(|story| story.healed) && !held && !aged,
        heard,
    }
}

/// Why less is promised than the plan says, if it is.
fn excuse(plan: &Plan, lanes: &[Story], climate: Climate) -> Option<&'static str> {
    if lanes.iter().any(|story| story.unenforced) {
        return Some("asked while everything passed");
    }
    if plan.workload == "double" && age(lanes) >= REPEAT_WINDOW {
        return Some("asked again after the repeat window");
    }
    if plan.workload == "double" && climate.skew {
        return Some("the pods' clocks differ by more than the repeat window");
    }
    if plan.by == By::Content && lanes.iter().any(|story| story.unread && story.heard.len() > 1) {
        return Some("an answer counted as delivered, was not read, and the job came again");
    }
    let aged = age(lanes) >= HORIZON;
    if aged && (matches!(plan.by, By::Content | By::Call) || plan.habit == Habit::Roll) {
        return Some("asked again beyond safe retention");
    }
    if climate.lossy() && (aged || turns(plan, lanes)) {
        return Some("the epoch turned while the store failed");
    }
    None
}

/// The store forgot a declined attempt, and another card was sent with its key and not answered at
/// once: the provider refuses it for ever, which payonce takes for no outcome.
fn shut_out(plan: &Plan, ears: &Ears, climate: Climate) -> bool {
    climate.lossy() && plan.habit == Habit::OtherCard && ears.two_contents.contains(&plan.intent)
}

fn age(lanes: &[Story]) -> Duration {
    let first = lanes.iter().filter_map(|story| story.asked).map(|(first, _)| first).min();
    let last = lanes.iter().filter_map(|story| story.asked).map(|(_, last)| last).max();
    first.zip(last).map_or(Duration::ZERO, |(first, last)| last.since(first))
}

/// Whether an epoch of the operation ended between its first and its last ask.
fn turns(plan: &Plan, lanes: &[Story]) -> bool {
    let api = if plan.path.starts_with("/v2/") { Api::V2 } else { Api::V1 };
    let retention = Retention::of(api);
    let ids = lanes.iter().flat_map(|story| &story.ids);
    let asked: Vec<_> = lanes.iter().filter_map(|story| story.asked).collect();
    let (Some(first), Some(last)) =
        (asked.iter().map(|it| it.0).min(), asked.iter().map(|it| it.1).max())
    else {
        return false;
    };
    ids.filter_map(|id| hex::decode(id).ok()?.try_into().ok()).any(|id| {
        let id = OperationId(id);
        // The pods' clocks may differ by less than a minute.
        let minute = Duration::from_mins(1);
        let first = Timestamp::from_millis(first.as_millis().saturating_sub(60_000));
        retention.epoch_at(&id, first) != retention.epoch_at(&id, last.plus(minute))
    })
}

/// I1, I2, I3, I4, I6, I11.
fn keys(
    stories: &[(Plan, Vec<Story>)],
    operations: &[Operation],
    ears: &Ears,
    climate: Climate,
    judged: &mut Judged,
) {
    for ((plan, lanes), operation) in stories.iter().zip(operations) {
        let alone = class_of(&plan.intent) == plan.intent;
        let declines = may_be_declined(plan);
        let promised = operation.promise == Promise::Once && plan.by != By::Call;
        let sent = ears.taken.get(&plan.intent);
        if let Some(keys) = sent.filter(|_| alone && promised && !declines)
            && keys.len() > 1
            && age(lanes) < HORIZON
        {
            judged.broken.push(format!("I1: {} bore {} keys", plan.intent, keys.len()));
        }
    }
    let torn = climate.lossy() || climate.toggles || climate.crashes;
    for (plan, _) in stories.iter().filter(|(plan, _)| !torn && !may_be_declined(plan)) {
        if ears.call_anywhere.contains(&plan.intent) {
            judged.broken.push(format!("I2: a call of {} bore two keys", plan.intent));
        }
    }
    judged.broken.extend(
        ears.unwanted.iter().map(|it| format!("I11: an attempt for {it}, which nobody awaits")),
    );
    // Where the store fails, another process may have gone on with the same call meanwhile.
    if !climate.toggles && !climate.lossy() {
        let declined = ["content-declined", "cards", "again"];
        let same = ears
            .call_changed
            .iter()
            .filter(|it| !it.intent.ends_with(MISUSED))
            .filter(|it| !declined.iter().any(|workload| it.intent.starts_with(workload)))
            // Nor does a lease hold between pods whose clocks differ by more than it.
            .filter(|it| !(climate.skew && it.elsewhere));
        judged.broken.extend(
            same.map(|it| format!("I2: a call of {} bore two keys at one process", it.intent)),
        );
    }
    if !climate.toggles {
        judged.broken.extend(ears.keyless.iter().map(|it| format!("I3: {it} bore no key")));
    }
    if !climate.lossy() && !climate.toggles {
        judged.broken.extend(ears.two_contents.iter().map(|it| format!("I4: two contents, {it}")));
        judged.broken.extend(
            ears.too_old
                .iter()
                .filter(|(intent, _)| !intent.starts_with("call"))
                // Each pod judges by its own clock; safe retention has an hour to spare.
                .filter(|(_, age)| !climate.skew || *age >= Duration::from_hours(23) + SKEW)
                .map(|(intent, age)| format!("I6: {intent} sent a key of {age:?}")),
        );
    }
}

/// Whether its key advances: declines end an occurrence.
fn may_be_declined(plan: &Plan) -> bool {
    matches!(plan.habit, Habit::OtherCard | Habit::Again) || plan.workload == "content-declined"
}

/// Where nothing goes wrong, a declined card that is tried again is truly tried again.
fn tried_again(
    stories: &[(Plan, Vec<Story>)],
    effects: &[Effect],
    climate: Climate,
    judged: &mut Judged,
) {
    let calm = climate.rates.client == 0.0 && !climate.crashes;
    for (plan, _) in stories.iter().filter(|(plan, _)| calm && plan.habit == Habit::Again) {
        let tried = effects.iter().filter(|it| it.intent.as_deref() == Some(&plan.intent)).count();
        if tried < 2 {
            judged.broken.push(format!("{} was tried {tried} times, not twice", plan.intent));
        }
    }
}

/// A key that is used for other content has no effect with it.
fn misuse(effects: &[Effect], ears: &Ears, climate: Climate, judged: &mut Judged) {
    for effect in effects {
        let intent = effect.intent.as_deref().unwrap_or_default();
        if intent.ends_with(MISUSED) && !climate.leaps {
            judged.broken.push(format!("I4: {intent} was executed as {}", effect.object));
        }
    }
    let sent = ears.intents.keys().filter(|intent| intent.ends_with(MISUSED)).count();
    if sent > 0 && !climate.lossy() && !climate.toggles && !climate.leaps {
        judged.broken.push(format!("I4: {sent} misused keys left payonce"));
    }
}

/// I7: a success that is told was executed for who is told.
fn scopes(stories: &[(Plan, Vec<Story>)], effects: &[Effect], judged: &mut Judged) {
    let whose: BTreeMap<&str, &str> = effects
        .iter()
        .filter(|effect| effect.outcome == Outcome::Succeeded)
        .map(|effect| (effect.object.as_str(), effect.scope.split('|').next().unwrap_or_default()))
        .collect();
    for (plan, lanes) in stories {
        let shop = super::work::SHOPS[plan.shop].split('_').nth(2).unwrap_or_default();
        for heard in lanes.iter().flat_map(|story| &story.heard) {
            let Word::Succeeded { object } = &heard.word else { continue };
            match whose.get(object.as_str()) {
                Some(scope) if *scope == shop => {}
                Some(_) | None => {
                    judged.broken.push(format!("I7: {} was told of {object}", plan.intent));
                }
            }
        }
    }
}

/// Whatever was in doubt and asked for again is closed.
fn still_open(
    stories: &[(Plan, Vec<Story>)],
    open: &[Held],
    ears: &Ears,
    climate: Climate,
    judged: &mut Judged,
) {
    let open: BTreeSet<String> = open.iter().map(|held| held.id.to_string()).collect();
    for (plan, lanes) in stories {
        let excused = ears.held.contains(class_of(&plan.intent))
            || shut_out(plan, ears, climate)
            || excuse(plan, lanes, climate).is_some()
            || age(lanes) >= HORIZON;
        let asked = lanes.iter().any(|story| story.healed);
        // A rolled API key is another scope (README): what was left in doubt under the one before
        // stays open until a person resolves it, for nobody can ask for it again.
        let asked_again = lanes.iter().flat_map(|story| story.ids.difference(&story.left));
        let ids: Vec<_> = asked_again.filter(|id| open.contains(*id)).collect();
        if asked && !excused && !ids.is_empty() {
            judged.left_open += 1;
            judged.broken.push(format!("{} is still open: {ids:?}", plan.intent));
        }
    }
}
