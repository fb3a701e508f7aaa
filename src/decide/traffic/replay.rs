//! Recorded requests judged anew under another policy: what would change, worst first.
//!
//! Identity comes from the digests that were recorded, so that it can be told without the values.
//! What would be merged is found by the same steps as in [`observe`](crate::decide::observe), over
//! the recorded outcomes: it says what the policy would have done with what really happened, not
//! what the application would have done after another answer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use http::Method;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::money::Sums;
use super::{By, Came, Line, Said, template};
use crate::clock::Timestamp;
use crate::decide::canonical::FieldPattern;
use crate::decide::digest::{ClientKeyDigest, OperationId, WholeDigest};
use crate::decide::identity::{Fingerprint, Kind};
use crate::decide::observe::{self, Does, Ended, Finding, Keep, Opinion};
use crate::decide::operation::record::Record;
use crate::decide::path::{Api, Target};
use crate::decide::policy::{
    Class, ClientKey, IdentityRule, Indeterminate, Merge, Otherwise, Policy, Rule, Uuid4Keys,
};

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

/// A line as the policy judges it.
struct Anew {
    rule: Arc<Rule>,
    as_what: As,
    uuid_is_sdks: bool,
}

/// What a recorded request is recognised as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    /// Nothing: it is not critical.
    Nobody,
    /// It is refused.
    Refused,
    /// Too little of it was recorded.
    Untold,
    /// A single call.
    Call,
    /// An operation.
    Operation(Kind, OperationId),
}

impl Anew {
    /// `None` if its method or path is none.
    fn of(policy: &Policy, line: &Line) -> Option<Self> {
        let method = Method::from_bytes(line.method.as_bytes()).ok()?;
        let target = Target::parse(&template::example(&line.path)).ok()?;
        let uuid_is_sdks = policy.uuid4_keys() == Uuid4Keys::Sdk;
        let rule = policy.judge(&method, &target);
        let as_what = match (rule.class, &line.said) {
            (Class::Pass, _) => As::Nobody,
            (Class::Refuse, _) => As::Refused,
            (Class::Critical, None) => As::Untold,
            (Class::Critical, Some(said)) => recognise(line, said, rule, uuid_is_sdks),
        };
        Some(Self { rule: Arc::clone(rule), as_what, uuid_is_sdks })
    }

    fn kind(&self) -> Option<Kind> {
        match self.as_what {
            As::Nobody | As::Refused | As::Untold => None,
            As::Call => Some(Kind::Call),
            As::Operation(kind, _) => Some(kind),
        }
    }

    fn show(&self) -> String {
        let what = match self.as_what {
            As::Nobody => self.rule.class.as_str(),
            As::Refused => "refused",
            As::Untold => "not told",
            As::Call => Kind::Call.as_str(),
            As::Operation(kind, _) => kind.as_str(),
        };
        format!("{} ({what})", self.rule.name)
    }

    fn request(&self, n: usize, line: &Line) -> Option<observe::Request> {
        let (As::Operation(kind, operation), Some(said)) = (self.as_what, &line.said) else {
            return None;
        };
        let key = said.client_key.as_ref();
        let uuid = self.uuid_is_sdks && key.is_some_and(|key| key.chosen == By::Uuid);
        let whole = WholeDigest(short(&[b"whole", said.whole.as_bytes()]));
        Some(observe::Request {
            operation,
            api: if line.path.starts_with("/v2/") { Api::V2 } else { Api::V1 },
            kind,
            fingerprint: Fingerprint { whole, fields: Vec::new() },
            client_key: key.map(|key| {
                let parts = [b"client key", key.digest.as_bytes(), said.whole.as_bytes()];
                ClientKeyDigest(short(&parts))
            }),
            twins: self.rule.merge == Merge::Twins && !uuid,
            repeat_window: self.rule.repeat_window,
            next_after_saved_500: self.rule.indeterminate == Indeterminate::Next,
            arrived: Timestamp::from_millis(line.at),
            token: n.to_string(),
        })
    }
}

/// The order of identities is that of [`identity`](crate::decide::identity), over digests.
fn recognise(line: &Line, said: &Said, rule: &Rule, uuid_is_sdks: bool) -> As {
    let own = said.client_key.as_ref().filter(|key| match key.chosen {
        By::Own => true,
        By::Sdk => false,
        By::Uuid => !uuid_is_sdks,
    });
    if own.is_none() && rule.client_key == ClientKey::Required {
        return As::Refused;
    }
    let operation = |kind: Kind, identity: &[&str]| {
        let fixed = [&said.scope, &line.method, &said.target].map(String::as_bytes);
        let mut parts = vec![kind.as_str().as_bytes()];
        parts.extend(fixed);
        parts.extend(identity.iter().map(|part| part.as_bytes()));
        As::Operation(kind, OperationId(long(&parts)))
    };
    if let Some(header) = &said.header {
        return operation(Kind::Header, &[header]);
    }
    let mut by_content = false;
    match &rule.identity {
        IdentityRule::Call => {}
        IdentityRule::Content => by_content = true,
        IdentityRule::Fields { names, otherwise } => {
            let names: Vec<&str> = names.iter().map(FieldPattern::as_str).collect();
            let pairs: Option<Vec<[&str; 2]>> =
                names.iter().map(|name| Some([*name, value(said, name)?])).collect();
            match (pairs, otherwise) {
                (Some(pairs), _) => return operation(Kind::Fields, pairs.as_flattened()),
                (None, _) if said.more => return As::Untold,
                (None, Otherwise::Content) => by_content = true,
                (None, Otherwise::Call) => {}
                (None, Otherwise::Refuse) if own.is_some() => {}
                (None, Otherwise::Refuse) => return As::Refused,
            }
        }
    }
    if let Some(key) = own {
        return operation(Kind::OwnKey, &[&key.digest]);
    }
    let distinguishes = |name: &str| rule.distinguishes.iter().any(|field| field.matches(name));
    if by_content && said.fields.iter().any(|(name, value)| value.is_some() && distinguishes(name))
    {
        return operation(Kind::Content, &[&said.whole]);
    }
    if by_content && said.more { As::Untold } else { As::Call }
}

/// The digest of a field that is there once and says something.
fn value<'a>(said: &'a Said, name: &str) -> Option<&'a str> {
    let mut named = said.fields.iter().filter(|(known, _)| known == name);
    let (_, value) = named.next()?;
    named.next().is_none().then_some(value.as_deref()?)
}

/// What the policy would have made of each operation's requests, by the number of their line.
struct Merged(HashMap<usize, (Opinion, Option<Finding>)>);

impl Merged {
    fn under(lines: &[&Line], anew: &[Anew]) -> Self {
        let mut events: Vec<(u64, bool, usize)> = Vec::new();
        for (n, line) in lines.iter().enumerate() {
            events.push((line.at, false, n));
            events.push((line.at.saturating_add(line.took), true, n));
        }
        events.sort_unstable();
        let mut memory: HashMap<OperationId, Record> = HashMap::new();
        let mut open: HashMap<usize, (observe::Request, Opinion)> = HashMap::new();
        let mut found = HashMap::new();
        for (at, ends, n) in events {
            let (Some(line), Some(anew)) = (lines.get(n), anew.get(n)) else { continue };
            let now = Timestamp::from_millis(at);
            if !ends {
                let Some(request) = anew.request(n, line) else { continue };
                let (opinion, keep) =
                    observe::arrive(memory.get(&request.operation), &request, now);
                remember(&mut memory, request.operation, keep);
                open.insert(n, (request, opinion));
            } else if let Some((request, opinion)) = open.remove(&n) {
                let (ended, record) = (ended(line, now), memory.get(&request.operation));
                let (opinion, finding, keep) = observe::end(record, &request, opinion, &ended, now);
                remember(&mut memory, request.operation, keep);
                found.insert(n, (opinion, finding));
            }
        }
        Self(found)
    }
}

fn remember(memory: &mut HashMap<OperationId, Record>, operation: OperationId, keep: Keep) {
    match keep {
        Keep::Same => {}
        Keep::This(record) => {
            memory.insert(operation, *record);
        }
        Keep::Nothing => {
            memory.remove(&operation);
        }
    }
}

fn ended(line: &Line, now: Timestamp) -> Ended {
    let shared = matches!(line.label.as_deref(), Some("joined" | "replayed"));
    let conclusion = super::conclusion(line.outcome, line.status, line.replayed);
    let delivered = line.delivered.unwrap_or(true);
    Ended { conclusion, replayed: line.replayed || shared, delivered, answered: now }
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

/// A name for `parts` within this replay: what goes in is digested with a key already.
fn long(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

fn short(parts: &[&[u8]]) -> [u8; 16] {
    let mut short = [0; 16];
    for (to, from) in short.iter_mut().zip(long(parts)) {
        *to = from;
    }
    short
}

#[cfg(test)]
mod tests;
