//! The `[guard]` of a policy: what is looked for in every request's API key and own key.
//!
//! What is found, and how, is [`decide::guard`](crate::decide::guard)'s.

use super::code::Code;
use super::problem::{Report, did_you_mean, one_of};
use super::table::{Table, Text, wrong_type};
use super::{Action, ApiKeyKind, Environment};

const KEYS: [&str; 9] = [
    "api_keys",
    "api_keys_action",
    "environment",
    "environment_action",
    "key_with_email",
    "key_with_card",
    "key_weak",
    "shortest_key",
    "key_reused",
];

/// What makes sense of a guard that its author wrote down: silence is to leave it out.
const ACTIONS: [(&str, Action); 2] = [("warn", Action::Warn), ("refuse", Action::Refuse)];

/// Stripe's limit on a key, in characters (FACTS §2).
const LONGEST_KEY: i64 = 255;

/// What is looked for in every request, whatever its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Which API keys may pass, and what is done with others; `None`: all may.
    pub api_keys: Option<(Vec<ApiKeyKind>, Action)>,
    /// What the API keys must be for, and what is done with others; `None`: either.
    pub environment: Option<(Environment, Action)>,
    /// An own key that holds an e-mail address.
    pub key_with_email: Action,
    /// An own key that holds a card number.
    pub key_with_card: Action,
    /// An own key that another operation may well come to have too.
    pub key_weak: Action,
    /// An own key with fewer characters than these is weak.
    pub shortest_key: usize,
    /// An own key that was used for another endpoint before.
    pub key_reused: Action,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            api_keys: None,
            environment: None,
            key_with_email: Action::Warn,
            key_with_card: Action::Warn,
            key_weak: Action::Warn,
            shortest_key: 8,
            key_reused: Action::Warn,
        }
    }
}

/// Reads it, noting whatever is wrong; without one, what holds then.
pub(super) fn read(root: &Table<'_, '_>, report: &mut Report<'_>) -> Guard {
    let mut guard = Guard::default();
    let Some(value) = root.get("guard") else { return guard };
    let Some(entries) = value.get_ref().as_table() else {
        let mend = "write [guard] on a line of its own, once";
        report.add(value.span(), "`guard` must be a single table", mend);
        return guard;
    };
    let table = Table::new("[guard]", value.span(), entries);
    table.allow(report, &KEYS, &[]);
    guard.api_keys = api_keys(&table, report).zip(action(&table, report, "api_keys"));
    let names = Environment::NAMES;
    let environment = table.choice(report, "environment", &names);
    guard.environment = environment.zip(action(&table, report, "environment"));
    for (key, held) in [
        ("key_with_email", &mut guard.key_with_email),
        ("key_with_card", &mut guard.key_with_card),
        ("key_weak", &mut guard.key_weak),
        ("key_reused", &mut guard.key_reused),
    ] {
        *held = table.choice(report, key, &Action::NAMES).unwrap_or(*held);
    }
    shortest_key(&table, report, &mut guard);
    guard
}

fn api_keys(table: &Table<'_, '_>, report: &mut Report<'_>) -> Option<Vec<ApiKeyKind>> {
    let value = table.get("api_keys")?;
    let names = ApiKeyKind::NAMES.map(|(name, _)| name);
    if value.get_ref().as_array().is_some_and(|items| items.is_empty()) {
        report.add(
            value.span(),
            "`api_keys` lets no request pass",
            "name the kinds that may, or remove it",
        );
    }
    let mut kinds = Vec::new();
    for Text { value, span } in table.texts(report, "api_keys")? {
        let found = ApiKeyKind::NAMES.iter().find(|(name, _)| *name == value);
        match found {
            Some((_, kind)) if kinds.contains(kind) => {
                report.add(
                    span,
                    format!("\"{value}\" stands in `api_keys` twice"),
                    "remove one of them",
                );
            }
            Some((_, kind)) => kinds.push(*kind),
            None => {
                let hint = did_you_mean(value, &names, '"');
                let what = format!("\"{}\" is no kind of API key{hint}", value.escape_debug());
                let mend = format!("the kinds are {}", one_of(&names, '"'));
                report.add_as(Code::UnknownValue, span, what, mend);
            }
        }
    }
    Some(kinds)
}

/// What to do where `guard` finds something: refuse, unless its author says otherwise.
fn action(table: &Table<'_, '_>, report: &mut Report<'_>, guard: &str) -> Option<Action> {
    let key = format!("{guard}_action");
    if table.get(guard).is_none()
        && let Some(span) = table.key(&key)
    {
        let what = format!("`{key}` has no effect without `{guard}`");
        report.add_as(Code::NoEffect, span, what, format!("remove it, or add `{guard}`"));
    }
    match table.get(&key) {
        Some(_) => table.choice(report, &key, &ACTIONS),
        None => Some(Action::Refuse),
    }
}

fn shortest_key(table: &Table<'_, '_>, report: &mut Report<'_>, guard: &mut Guard) {
    let Some(value) = table.get("shortest_key") else { return };
    let Some(number) = value.get_ref().as_integer() else {
        return wrong_type(report, "`shortest_key`", "a whole number", value);
    };
    let length =
        number.to_string().parse().ok().filter(|length| (1..=LONGEST_KEY).contains(length));
    if let Some(length) = length.and_then(|length| usize::try_from(length).ok()) {
        guard.shortest_key = length;
    } else {
        let what = format!("`shortest_key` is {number}, and a key has 1 to 255 characters");
        report.add(value.span(), what, "write a number of characters, such as 16");
    }
    if guard.key_weak == Action::Off {
        let what = "`shortest_key` has no effect where key_weak = \"off\"";
        let at = table.key("shortest_key").unwrap_or_else(|| value.span());
        report.add_as(Code::NoEffect, at, what, "remove one of them");
    }
}
