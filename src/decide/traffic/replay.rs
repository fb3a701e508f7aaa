//! Recorded requests judged anew under another policy: what would change, worst first.
//!
//! Identity comes from the digests that were recorded, so that it can be told without the values.
//! What would be merged is found by the same steps as in [`observe`](crate::decide::observe), over
//! the recorded outcomes: it says what the policy would have done with what really happened, not
//! what the application would have done after another answer.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::money::Sums;
use super::{Came, Line};
use crate::decide::digest::OperationId;
use crate::decide::observe::{Does, Finding, Opinion};
use crate::decide::policy::Policy;

mod anew;
mod merged;

use anew::{Anew, As, short};
use merged::Merged;

/// How many pairs of each kind are told one by one.
pub const MOST_PAIRS: usize = 20;

/// What changes for a request, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was critical, and would pass.
    Unprotected,
    /// It was taken for an operation that was there, and would be one of its own.
    NoLongerMerged,
    /// It was one of its own, and would be taken for one that was there.
    NowMerged,
    /// It was sent, and would be refused.
    NowRefused,
    /// It would be recognised by something else.
    Identity,
    /// It was refused, and would be sent.
    NoLongerRefused,
    /// It passed, and would be critical.
    NowProtected,
    /// Only the rule has another name.
    Rule,
}

impl Change {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unprotected => "no longer critical",
            Self::NoLongerMerged => "no longer merged",
            Self::NowMerged => "now merged",
            Self::NowRefused => "now refused",
            Self::Identity => "other identity",
            Self::NoLongerRefused => "no longer refused",
            Self::NowProtected => "now critical",
            Self::Rule => "other rule",
        }
    }
}

/// Requests for which the same changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// What changes.
    pub change: Change,
    /// `POST /v1/charges`.
    pub request: String,
    /// Rule and identity as recorded.
    pub was: String,
    /// Rule and identity under the policy.
    pub becomes: String,
    /// How many.
    pub requests: u64,
    /// What they are about.
    pub sums: Sums,
}

/// Two requests that are the same operation under one policy and not under the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// [`Change::NowMerged`] or [`Change::NoLongerMerged`].
    pub change: Change,
    /// `POST /v1/charges`.
    pub request: String,
    /// When the earlier one arrived, in milliseconds since the Unix epoch.
    pub earlier: u64,
    /// When the later one arrived.
    pub later: u64,
    /// Whether the later one was executed.
    pub executed: bool,
    /// The amount of the later one.
    pub amount: Option<i64>,
    /// Its currency.
    pub currency: Option<String>,
}

/// What would change.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Replay {
    /// How many requests were judged anew.
    pub requests: u64,
    /// For how many of them anything changes.
    pub changed: u64,
    /// What changes, worst first, then by number.
    pub groups: Vec<Group>,
    /// Up to [`MOST_PAIRS`] pairs of each kind, those that no longer merge first.
    pub pairs: Vec<Pair>,
    /// Suspected duplicates that the policy would have prevented.
    pub duplicates: u64,
    /// What they are about.
    pub duplicate_sums: Sums,
    /// Suspected duplicates that were found when the traffic was recorded.
    pub recorded_duplicates: u64,
    /// What those are about.
    pub recorded_sums: Sums,
    /// Requests that the policy wants to recognise, and of which too little was recorded.
    pub untold: u64,
}

/// Judges `lines` anew under `policy`.
#[must_use]
pub fn replay(policy: &Policy, lines: &[Line]) -> Replay {
    let (lines, anew): (Vec<&Line>, Vec<Anew>) =
        lines.iter().filter_map(|line| Some((line, Anew::of(policy, line)?))).unzip();
    let merged = Merged::under(&lines, &anew);
    let mut replay = Replay::default();
    let mut groups: BTreeMap<(Change, String, String, String), (u64, Sums)> = BTreeMap::new();
    let mut earlier = Earlier::default();
    for (n, (line, anew)) in lines.iter().zip(&anew).enumerate() {
        let found = merged.0.get(&n);
        replay.count(line, anew, found);
        let does = found.map(|(opinion, _)| opinion.does);
        let same_key = earlier.same_key(line);
        let change = change(line, anew, does, same_key);
        let (before, then) = earlier.step(line, anew);
        let Some(change) = change else { continue };
        replay.changed += 1;
        let group = (change, line.request(), was(line), anew.show());
        let entry = groups.entry(group).or_default();
        entry.0 += 1;
        entry.1.add(line.amount, line.currency.as_deref());
        match change {
            Change::NoLongerMerged => replay.pair(change, line, before),
            Change::NowMerged => replay.pair(change, line, then),
            Change::Unprotected
            | Change::NowRefused
            | Change::Identity
            | Change::NoLongerRefused
            | Change::NowProtected
            | Change::Rule => {}
        }
    }
    replay.finish(groups)
}

impl Replay {
    fn count(&mut self, line: &Line, anew: &Anew, found: Option<&(Opinion, Option<Finding>)>) {
        self.requests += 1;
        self.untold += u64::from(anew.as_what == As::Untold);
        if found.is_some_and(|(_, finding)| *finding == Some(Finding::Duplicate)) {
            self.duplicates += 1;
            self.duplicate_sums.add(line.amount, line.currency.as_deref());
        }
        if line.would.as_ref().is_some_and(|would| would.finding == Finding::Duplicate) {
            self.recorded_duplicates += 1;
            self.recorded_sums.add(line.amount, line.currency.as_deref());
        }
    }

    fn pair(&mut self, change: Change, line: &Line, earlier: Option<u64>) {
        let known = self.pairs.iter().filter(|pair| pair.change == change).count();
        let Some(earlier) = earlier.filter(|_| known < MOST_PAIRS) else { return };
        self.pairs.push(Pair {
            change,
            request: line.request(),
            earlier,
            later: line.at,
            executed: executed(line),
            amount: line.amount,
            currency: line.currency.clone(),
        });
    }

    fn finish(mut self, groups: BTreeMap<(Change, String, String, String), (u64, Sums)>) -> Self {
        let group = |((change, request, was, becomes), (requests, sums))| Group {
            change,
            request,
            was,
            becomes,
            requests,
            sums,
        };
        self.groups = groups.into_iter().map(group).collect();
        self.groups.sort_by_key(|group| (group.change, std::cmp::Reverse(group.requests)));
        self.pairs.sort_by_key(|pair| (pair.change, pair.later));
        self
    }
}

fn executed(line: &Line) -> bool {
    let shared = matches!(line.label.as_deref(), Some("joined" | "replayed"));
    line.outcome == Came::Succeeded && !line.replayed && !shared
}

fn was_merged(line: &Line) -> bool {
    let shared = matches!(line.label.as_deref(), Some("joined" | "replayed"));
    let would = line.would.as_ref().is_some_and(|would| {
        matches!(would.finding, Finding::Duplicate | Finding::Retry) && would.does.merges()
    });
    shared || would
}

fn was_refused(line: &Line) -> bool {
    let refused = [Finding::Refused, Finding::Conflict];
    let would = line.would.as_ref().is_some_and(|would| refused.contains(&would.finding));
    would || line.class == "refuse" || line.outcome == Came::Refused
}

fn was(line: &Line) -> String {
    let what = line.kind.map_or(line.class.as_str(), |kind| kind.as_str());
    format!("{} ({what})", line.rule)
}

/// The worst of what changes for a line; `does`: what the policy would have done.
fn change(line: &Line, anew: &Anew, does: Option<Does>, same_key: bool) -> Option<Change> {
    let was_critical = line.class == "critical";
    let merged = (does.is_some_and(Does::merges), was_merged(line));
    if does == Some(Does::Conflict) && !was_refused(line) {
        return Some(Change::NowRefused);
    }
    let change = match anew.as_what {
        As::Nobody if was_critical => Change::Unprotected,
        As::Refused if !was_refused(line) => Change::NowRefused,
        As::Nobody | As::Call | As::Operation(..)
            if was_refused(line) && does != Some(Does::Conflict) =>
        {
            Change::NoLongerRefused
        }
        As::Call | As::Operation(..) if merged == (false, true) && !same_key => {
            Change::NoLongerMerged
        }
        As::Operation(..) if merged == (true, false) && !same_key => Change::NowMerged,
        As::Call | As::Operation(..) | As::Untold if !was_critical => Change::NowProtected,
        As::Call | As::Operation(..) if line.kind != anew.kind() => Change::Identity,
        As::Nobody | As::Refused | As::Untold | As::Call | As::Operation(..) => {
            return (line.rule != anew.rule.name).then_some(Change::Rule);
        }
    };
    Some(change)
}

/// When each operation, old and new, and each client key was asked for last.
#[derive(Default)]
struct Earlier {
    old: HashMap<String, u64>,
    new: HashMap<OperationId, u64>,
    keys: HashSet<[u8; 16]>,
}

impl Earlier {
    /// The last time before this that the operation was asked for: as recorded, and anew.
    fn step(&mut self, line: &Line, anew: &Anew) -> (Option<u64>, Option<u64>) {
        let old = line.operation.as_ref().and_then(|id| self.old.insert(id.clone(), line.at));
        let new = match anew.as_what {
            As::Operation(_, id) => self.new.insert(id, line.at),
            As::Nobody | As::Refused | As::Untold | As::Call => None,
        };
        (old, new)
    }

    /// Whether this client key with this content was there before: Stripe knows it by itself.
    fn same_key(&mut self, line: &Line) -> bool {
        let Some(said) = &line.said else { return false };
        let Some(key) = &said.client_key else { return false };
        let all = [&said.scope, &line.method, &said.target, &key.digest, &said.whole];
        !self.keys.insert(short(&all.map(String::as_bytes)))
    }
}

#[cfg(test)]
mod tests;
