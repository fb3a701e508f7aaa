//! One line of the audit log. Texts are cut: a line is at most a few KiB.

use serde::{Deserialize, Serialize};

/// The form of a line that this payonce writes.
pub(super) const FORMAT: u32 = 1;

/// One load of a policy, or a person's word on operations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The form of what follows: [`FORMAT`].
    pub format: u32,
    /// The SHA-256 of the line before, without its newline; zeros in the first.
    pub prev: String,
    /// When, in RFC 3339.
    pub time: String,
    /// At the start of a process, or because the file changed.
    pub event: Event,
    /// What came of it.
    pub verdict: Verdict,
    /// The policy file.
    pub file: String,
    /// The SHA-256 of what it holds, if it could be read.
    pub hash: Option<String>,
    /// The SHA-256 of the policy in force before: in this process; at a start, as far as the log
    /// knows.
    pub previous: Option<String>,
    /// How many rules it has, if it is sound.
    pub rules: Option<usize>,
    /// The id of the key it is signed with, where it must be signed.
    pub signed_by: Option<String>,
    /// The signer's comment.
    pub signed_comment: Option<String>,
    /// How many problems it has.
    pub problems: usize,
    /// The first of them, or why else it was refused.
    pub problem: Option<String>,
    /// How many warnings `payonce check` has for it, if it is sound.
    pub warnings: Option<usize>,
    /// What the change does, worst first; absent where the policy before is not known.
    pub changes: Option<Vec<String>>,
    /// What it means for operations now open; absent likewise, or where the store did not say.
    pub reidentified: Option<Reidentified>,
    /// The machine or pod.
    pub host: Option<String>,
    /// The process's number there.
    pub pid: u32,
    /// payonce's version.
    pub payonce: String,
    /// What a person said, where the line is about that; the policy is then the one in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<Word>,
}

/// What a person said of operations whose outcome was not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// Who.
    pub by: String,
    /// How they know.
    pub why: String,
    /// What became of them: `succeeded` or `declined`.
    pub outcome: String,
    /// What the one operation made.
    pub object: Option<String>,
    /// The rule, where all of its open operations were meant.
    pub rule: Option<String>,
    /// Of which operations it is said ([`Verdict::Asked`]), was written ([`Verdict::Resolved`]), or
    /// perhaps written ([`Verdict::Unknown`]).
    pub operations: Vec<String>,
    /// For how many it was asked and surely not written.
    pub not_done: usize,
}

/// When a policy was loaded, or what else happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// With its process.
    Start,
    /// Because the file changed.
    Reload,
    /// No load: a person said what became of operations.
    Resolve,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is in force.
    Taken,
    /// It is not, and what was in force stays; at a start, payonce did not start.
    Refused,
    /// The file holds what is in force again, after something that was refused.
    Mended,
    /// No load: somebody is about to say what became of operations.
    Asked,
    /// No load: that was written into their records.
    Resolved,
    /// No load: whether it was written is not known, for the store did not answer.
    Unknown,
}

impl Verdict {
    /// As the line spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused => "refused",
            Self::Mended => "mended",
            Self::Asked => "asked",
            Self::Resolved => "resolved",
            Self::Unknown => "unknown",
        }
    }
}

impl Event {
    /// As the line spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Reload => "reload",
            Self::Resolve => "resolve",
        }
    }
}

/// Open operations whose requests are recognised otherwise by the new policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reidentified {
    /// How many open operations were looked at.
    pub open: usize,
    /// There are more than that.
    pub more: bool,
    /// How many are recognised otherwise, by the rule they were recorded under.
    pub rules: Vec<RuleCount>,
}

/// How many operations of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCount {
    /// The rule.
    pub rule: String,
    /// How many.
    pub operations: usize,
}

impl Reidentified {
    /// How many in all.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.rules.iter().map(|rule| rule.operations).sum()
    }
}

impl Entry {
    /// The hash of the policy that is in force after this load, as far as it says.
    #[must_use]
    pub fn in_force(&self) -> Option<&str> {
        match self.verdict {
            Verdict::Taken
            | Verdict::Mended
            | Verdict::Asked
            | Verdict::Resolved
            | Verdict::Unknown => self.hash.as_deref(),
            Verdict::Refused => self.previous.as_deref(),
        }
    }
}
