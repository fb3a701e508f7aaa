//! Which open operations a change of the policy concerns.
//!
//! Nothing is lost of them: what is open is found under its older id as well. But whoever asks for
//! one of them again may be recognised by something else than before, and people should know.

use std::collections::BTreeMap;

use http::Method;

use super::entry::{Reidentified, RuleCount};
use crate::decide::canonical::FieldPattern;
use crate::decide::identity::Kind;
use crate::decide::operation::record::Record;
use crate::decide::path::Target;
use crate::decide::policy::{Class, IdentityRule, Policy, Rule};

/// More rules than this are not named one by one.
const MOST_RULES: usize = 20;

/// Counts those of the open `records` whose requests `after` may recognise otherwise than `before`.
pub(super) fn count<'r>(
    before: &Policy,
    after: &Policy,
    records: impl Iterator<Item = &'r Record>,
    more: bool,
) -> Reidentified {
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    let mut open = 0;
    for record in records {
        open += 1;
        if is_concerned(before, after, record) {
            *rules.entry(record.about.rule.as_str()).or_default() += 1;
        }
    }
    let mut rules: Vec<RuleCount> = rules
        .into_iter()
        .map(|(rule, operations)| RuleCount { rule: rule.to_owned(), operations })
        .collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.operations));
    if rules.len() > MOST_RULES {
        let others = rules.split_off(MOST_RULES).iter().map(|rule| rule.operations).sum();
        rules.push(RuleCount { rule: "(others)".to_owned(), operations: others });
    }
    Reidentified { open, more, rules }
}

fn is_concerned(before: &Policy, after: &Policy, record: &Record) -> bool {
    if before.scopes() != after.scopes() {
        // A scope is part of every operation's id, and the record does not say which it is in.
        return true;
    }
    let Some((method, target)) = request(&record.request) else {
        // A path that was cut short when it was recorded: perhaps.
        return true;
    };
    let (old, new) = (before.judge(&method, &target), after.judge(&method, &target));
    let keys = before.uuid4_keys() != after.uuid4_keys();
    may_differ(record.kind, old, new, keys)
}

fn request(text: &str) -> Option<(Method, Target)> {
    let (method, path) = text.split_once(' ')?;
    Some((method.parse().ok()?, Target::parse(path).ok()?))
}

/// Whether what was recognised by `kind` under `old` can be recognised by something else, or merged
/// with something else, under `new`.
fn may_differ(kind: Kind, old: &Rule, new: &Rule, keys: bool) -> bool {
    if new.class != Class::Critical {
        return old.class != new.class;
    }
    // Fields come before an own key, and an own key before the content.
    let fields = fields(old) != fields(new);
    match kind {
        Kind::Header | Kind::Call => false,
        Kind::Fields => fields,
        Kind::OwnKey => fields || keys,
        Kind::Content => {
            let content =
                old.uses_content() != new.uses_content() || old.distinguishes != new.distinguishes;
            let merging = (old.merge, old.repeat_window) != (new.merge, new.repeat_window);
            fields || keys || content || merging
        }
    }
}

fn fields(rule: &Rule) -> Vec<&str> {
    match &rule.identity {
        IdentityRule::Fields { names, .. } => names.iter().map(FieldPattern::as_str).collect(),
        IdentityRule::Call | IdentityRule::Content => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
