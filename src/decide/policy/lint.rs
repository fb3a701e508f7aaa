//! What a policy says that is likely not meant, or costs money in a case that is easy to miss.
//!
//! For `payonce check`, before a policy goes out: nothing here is asked while requests are judged.
//! What makes a policy unusable is not here but an error of [`Policy::parse`]. What is known of
//! operations is as old as this payonce ([`operations`](super::operations)): an operation or field
//! that Stripe has added since may be warned of, and a rule can accept that with a reason:
//! `allow = ["unknown-field new_field: Stripe has it since May"]`.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::allow::Allowed;
use super::code::Code;
use super::coverage::{Coverage, Idle};
use super::operations::Operation;
use super::problem::{Problem, Report};
use super::table::Table;
use super::{Policy, Rule};

pub(super) mod allow;
mod fields;
mod finish;
mod merging;
mod money;
mod reach;
mod store;
#[cfg(test)]
mod tests;

/// What the settings say of the store that the policy is to be served with, and of the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store {
    /// All processes for one application use the same one.
    pub one_for_all: bool,
    /// It survives the process.
    pub survives: bool,
    /// A secret is set, so that ids and keys do not hang on the API key alone.
    pub secret: bool,
}

/// What to do about a name that is not known.
const COMPARE: &str = "compare it with Stripe's API reference; if it is meant";

/// Every warning about `policy`, which was read from `text`, in the order of the file; those that
/// the file accepts among them. With the `store`, also errors: what keeps `serve` from starting.
#[must_use]
pub fn findings(text: &str, policy: &Policy, store: Option<Store>) -> Vec<Problem> {
    let (root, _errors) = DeTable::parse_recoverable(text);
    let root = Table::new("the policy file", 0..0, root.get_ref());
    let coverage = Coverage::of(policy);
    let mut ignored = Report::new(text);
    let whole = Place { allowed: allow::read(&root, &mut ignored), table: root };
    let tables = whole.table.tables(&mut ignored, "rule", "a [[rule]]");
    let rules: Vec<Ruled<'_>> = tables
        .into_iter()
        .zip(policy.rules())
        .map(|(table, rule)| Ruled {
            operations: coverage.of_rule(&rule.name).collect(),
            idle: coverage.idle.iter().filter(|idle| idle.rule.name == rule.name).collect(),
            place: Place { allowed: allow::read(&table, &mut ignored), table },
            rule,
        })
        .collect();
    let mut report = Report::new(text);
    reach::look(&rules, &whole, &mut report);
    for rule in &rules {
        money::look(rule, &mut report);
        fields::look(rule, &mut report);
        merging::look(rule, &mut report);
        store::look(rule, store, &mut report);
        finish::look(rule, &mut report);
    }
    money::of_the_file(policy, &coverage, (&whole, &rules), &mut report);
    store::of_the_file(&rules, store, &mut report);
    store::of_scopes(&whole, store, &mut report);
    // Last: what accepts nothing is known only now.
    for place in std::iter::once(&whole).chain(rules.iter().map(|rule| &rule.place)) {
        allow::unused(place, &mut report);
    }
    report.finish()
}

/// A rule, where it stands, and what falls to it.
struct Ruled<'a> {
    rule: &'a Rule,
    place: Place<'a>,
    operations: Vec<&'static Operation>,
    idle: Vec<&'a Idle>,
}

/// A table of the file, with what is accepted in it.
struct Place<'a> {
    table: Table<'a, 'a>,
    allowed: Vec<Allowed<'a>>,
}

/// Something to say of a policy.
struct Finding {
    code: Code,
    at: Range<usize>,
    what: String,
    mend: String,
}

impl Place<'_> {
    /// Notes `finding`. With a `subject`, such as a field, `allow` may accept it for that alone.
    fn note(&self, report: &mut Report<'_>, subject: Option<&str>, finding: Finding) {
        let Finding { code, at, what, mend } = finding;
        let accepting = self.allowed.iter().find(|allowed| allowed.accepts(code, subject));
        report.note(code, at, what, mend, accepting.map(Allowed::accept));
    }

    /// Where the value of `key` stands; where the table does, if it is not there.
    fn value(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or_else(|| self.table.span.clone(), Spanned::span)
    }

    /// Where `text` stands in the array at `key`.
    fn item(&self, key: &str, text: &str) -> Range<usize> {
        let items = self.table.get(key).and_then(|value| value.get_ref().as_array());
        let same = |item: &&Spanned<DeValue<'_>>| item.get_ref().as_str() == Some(text);
        let item = items.and_then(|items| items.iter().find(same));
        item.map_or_else(|| self.value(key), Spanned::span)
    }

    /// The text at `key`.
    fn text(&self, key: &str) -> Option<&str> {
        self.table.get(key).and_then(|value| value.get_ref().as_str())
    }
}

/// "POST /v1/charges, POST /v1/refunds and 3 more".
fn some(operations: &[&Operation]) -> String {
    const SHOWN: usize = 3;
    let names: Vec<String> = operations.iter().take(SHOWN).map(|each| each.name()).collect();
    match operations.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
