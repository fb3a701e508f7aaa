//! What changes for whom between two policies: worst first, with what it means for the money.
//!
//! Exact: a request that falls to another rule, or to a rule that says something else, is named by
//! an operation or a template that matches it ([`probes`]). What one rule's change means is told in
//! [`compare`]. What it means for operations that are open now only a store can say.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use super::{Class, Policy, Rule};

mod compare;
mod guards;
mod probes;
mod recognised;
#[cfg(test)]
mod tests;
mod whole;

/// How grave a change is, the gravest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gravity {
    /// Nothing happens otherwise: the rule has another name.
    Renamed,
    /// It is better protected than before.
    Stronger,
    /// What was sent before can be refused.
    Refused,
    /// The same request gets another operation id.
    Reidentified,
    /// It can be merged with what it was not merged with: of two that are meant, one may be lost.
    Merged,
    /// It is protected still, and against less: a payment may be made twice that was made once.
    Weaker,
    /// It is protected no longer.
    Unprotected,
}

impl Gravity {
    /// All of them, the gravest first.
    pub const ALL: [Self; 7] = [
        Self::Unprotected,
        Self::Weaker,
        Self::Merged,
        Self::Reidentified,
        Self::Refused,
        Self::Stronger,
        Self::Renamed,
    ];

    /// In a few words, for titles and summaries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unprotected => "no longer protected",
            Self::Weaker => "weaker",
            Self::Merged => "merged more",
            Self::Reidentified => "re-identified",
            Self::Refused => "refused more",
            Self::Stronger => "stronger",
            Self::Renamed => "renamed",
        }
    }
}

/// One thing that the two policies say differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The policy's key, such as `identity`; `rules` for how many there are.
    pub what: &'static str,
    /// What the old policy says.
    pub old: String,
    /// And the new one.
    pub new: String,
    /// How grave that is.
    pub gravity: Gravity,
    /// Whether the same request can get another operation id.
    pub reidentifies: bool,
    /// What it means for the money, in a sentence.
    pub means: &'static str,
}

/// Requests of one method and template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Requests {
    /// Whether Stripe has published such an operation; else only one of the policies names it.
    #[serde(rename = "published")]
    pub is_published: bool,
    /// The method.
    pub method: String,
    /// The path, as a rule's pattern would have it.
    pub path: String,
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// A rule, as the reader of one file finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its name.
    pub rule: String,
    /// Its line, from 1; 0 for a built-in rule.
    pub line: usize,
}

impl Place {
    fn of(rule: &Rule) -> Self {
        Self { rule: rule.name.clone(), line: rule.line }
    }
}

/// Requests that one rule had and one rule has, and what that changes for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The gravest of the changes.
    pub gravity: Gravity,
    /// Which requests; Stripe's operations first.
    pub requests: Vec<Requests>,
    /// The rule of the old policy.
    pub old: Place,
    /// The rule of the new one.
    pub new: Place,
    /// What it changes, gravest first; never empty.
    pub changes: Vec<Change>,
}

/// What changes from one policy to another. [`fmt::Display`] says it in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The old policy's version.
    pub old: String,
    /// The new policy's.
    pub new: String,
    /// What changes for the file as a whole, gravest first.
    pub file: Vec<Change>,
    /// What changes for which requests, gravest first.
    pub groups: Vec<Group>,
    /// There are more overlapping templates than are compared: something may be missing.
    pub cut: bool,
    reidentified: Vec<Requests>,
}

impl Diff {
    /// The requests that get another operation id, or can, when the new policy takes over from the
    /// old one; what is open then goes on under its older id.
    #[must_use]
    pub fn reidentified(&self) -> &[Requests] {
        &self.reidentified
    }

    /// Whether both policies do the same with every request, and call it the same.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.file.is_empty() && self.groups.is_empty() && !self.cut
    }

    /// Whether anything of this gravity changes, for the file or for some request. What re-identifies
    /// can be graver than that alone: see [`Self::reidentified`].
    #[must_use]
    pub fn has(&self, gravity: Gravity) -> bool {
        self.changes().any(|change| change.gravity == gravity)
    }

    /// How many requests' gravest change is of this gravity.
    #[must_use]
    pub fn count(&self, gravity: Gravity) -> usize {
        let such = self.groups.iter().filter(|group| group.gravity == gravity);
        such.map(|group| group.requests.len()).sum()
    }

    fn changes(&self) -> impl Iterator<Item = &Change> {
        self.file.iter().chain(self.groups.iter().flat_map(|group| &group.changes))
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}: ", self.old, self.new)?;
        let file = self.file.iter().map(|it| format!("{} {} → {}", it.what, it.old, it.new));
        let counted = Gravity::ALL.into_iter().filter_map(|gravity| {
            let count = match gravity {
                Gravity::Reidentified => self.reidentified.len(),
                Gravity::Unprotected
                | Gravity::Weaker
                | Gravity::Merged
                | Gravity::Refused
                | Gravity::Stronger
                | Gravity::Renamed => self.count(gravity),
            };
            (count > 0).then(|| format!("{count} {}", gravity.as_str()))
        });
        let mut parts: Vec<String> = file.chain(counted).collect();
        if self.cut {
            parts.push("more templates overlap than are compared".to_owned());
        }
        match parts.as_slice() {
            [] => f.write_str("nothing changes for any request"),
            parts => f.write_str(&parts.join(", ")),
        }
    }
}

/// Compares two policies.
#[must_use]
pub fn diff(old: &Policy, new: &Policy) -> Diff {
    let (probes, cut) = probes::all(old, new);
    let mut file = whole::files(old, new);
    let whole_file = file.iter().any(|change| change.reidentifies);
    let mut groups: Vec<Group> = Vec::new();
    let mut by_rules: HashMap<(&str, &str), Option<usize>> = HashMap::new();
    let mut reidentified = Vec::new();
    for probe in probes {
        let (was, is) = (probe.old, probe.new);
        let at = *by_rules.entry((was.name.as_str(), is.name.as_str())).or_insert_with(|| {
            let group = group(was, is)?;
            groups.push(group);
            Some(groups.len() - 1)
        });
        let both = was.class == Class::Critical && is.class == Class::Critical;
        let group = at.and_then(|at| groups.get_mut(at));
        let other_id = group.as_ref().is_some_and(|it| it.changes.iter().any(|it| it.reidentifies));
        if other_id || (whole_file && both) {
            reidentified.push(probe.requests.clone());
        }
        if let Some(group) = group {
            group.requests.push(probe.requests);
        }
    }
    groups.sort_by_key(|group| Reverse(group.gravity));
    file.sort_by_key(|change| Reverse(change.gravity));
    let (old, new) = (old.version().to_owned(), new.version().to_owned());
    Diff { old, new, file, groups, cut, reidentified }
}

/// `None` if nothing changes from one rule to the other.
fn group(old: &Rule, new: &Rule) -> Option<Group> {
    let mut changes = compare::rules(old, new);
    changes.sort_by_key(|change| Reverse(change.gravity));
    let gravity = changes.first()?.gravity;
    let (old, new) = (Place::of(old), Place::of(new));
    Some(Group { gravity, requests: Vec::new(), old, new, changes })
}
