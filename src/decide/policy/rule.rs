//! One `[[rule]]`, from its table to a checked [`Rule`].
//!
//! A rule that is read with a problem is still given back, so that the problems between rules are
//! found in the same go; the report decides whether anything is used.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::code::Code;
use super::duration;
use super::problem::Report;
use super::table::{self, Table, Text};
use super::template::Pattern;
use super::{
    Class, ClientKey, IdentityRule, Indeterminate, Merge, Mode, Otherwise, Rule, StoreDown, lint,
};
use crate::decide::canonical::FieldPattern;
use crate::decide::finish as finishing;

/// The names of the rules that payonce adds itself.
pub(super) const BUILT_IN: &[&str] = &["default_writes", "not_critical"];

/// An outcome older than this may belong to an earlier epoch (DESIGN §2).
const LONGEST_REPEAT_WINDOW: Duration = Duration::from_hours(22);

/// Names go into logs and metric labels.
const LONGEST_NAME: usize = 64;

/// Every critical request is searched for each of them.
const MOST_FIELDS: usize = 64;

const ALL_KEYS: &[&str] = &[
    "name",
    "match",
    "class",
    "allow",
    "client_key",
    "require_field",
    "identity",
    "otherwise",
    "distinguishes",
    "merge",
    "repeat_window",
    "store_down",
    "indeterminate",
    "finish",
    "mode",
];

/// The keys that say something about critical requests alone.
const CRITICAL_KEYS: &[&str] = &[
    "client_key",
    "require_field",
    "identity",
    "otherwise",
    "distinguishes",
    "merge",
    "repeat_window",
    "store_down",
    "indeterminate",
    "finish",
];

/// Keys whose feature a later version has.
const LATER_KEYS: &[&str] = &["record"];

/// Reads the rule in `table`, noting whatever is wrong.
pub(super) fn read(table: &Table<'_, '_>, report: &mut Report<'_>) -> Rule {
    table.allow(report, ALL_KEYS, LATER_KEYS);
    let mut rule = Rule::call(name(table, report), Class::Critical);
    rule.line = report.line(table.span.start);
    rule.patterns = patterns(table, report);
    lint::allow::read(table, report);
    rule.mode = table.choice(report, "mode", &Mode::NAMES);
    match class(table, report) {
        Some(class @ (Class::Pass | Class::Refuse)) => {
            rule.class = class;
            no_effect(table, report, class);
            if class == Class::Pass
                && let Some(span) = table.key("mode")
            {
                let what = "`mode` has no effect on a rule whose class is \"pass\"";
                report.add(span, what, "remove it: what passes is not touched in either mode");
            }
        }
        Some(Class::Critical) => {
            keys_must_have_effect(table, report, &rule.patterns);
            critical(table, report, &mut rule);
        }
        None => critical(table, report, &mut rule),
    }
    rule
}

fn name(table: &Table<'_, '_>, report: &mut Report<'_>) -> String {
    if table.get("name").is_none() {
        table.missing(report, "name", "give it one: it is shown in logs, metrics and answers");
    }
    let Some(Text { value, span }) = table.text(report, "name") else { return String::new() };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c);
    if value.is_empty() || value.len() > LONGEST_NAME || !value.chars().all(plain) {
        let what = format!("\"{}\" is no name for a rule", value.escape_debug());
        let mend = format!("write 1 to {LONGEST_NAME} of a-z, 0-9, `_`, `-` and `.`");
        report.add(span, what, mend);
    } else if BUILT_IN.contains(&value) {
        let what = format!("`{value}` is the name of a rule that payonce adds itself");
        report.add(span, what, "choose another name");
    }
    value.to_owned()
}

fn patterns(table: &Table<'_, '_>, report: &mut Report<'_>) -> Vec<Pattern> {
    const MEND: &str = "say what it matches: match = [\"POST /v1/charges\"]";
    let Some(value) = table.get("match") else {
        table.missing(report, "match", MEND);
        return Vec::new();
    };
    if is_empty(value) {
        report.add(value.span(), "the rule matches nothing", MEND);
    }
    let mut patterns = Vec::new();
    let mut seen = HashSet::new();
    for Text { value, span } in table.texts(report, "match").unwrap_or_default() {
        if !seen.insert(value) {
            let what = format!("\"{value}\" stands in this rule twice");
            report.add(span, what, "remove one of them");
            continue;
        }
        match Pattern::parse(value, report.line(span.start)) {
            Ok(pattern) => patterns.push(pattern),
            Err(bad) => report.add(span, bad.what, bad.mend),
        }
    }
    patterns
}

/// Where in the rule's table this pattern of it stands.
pub(super) fn span_of(table: &Table<'_, '_>, pattern: &Pattern) -> Range<usize> {
    let items = table.get("match").and_then(|value| value.get_ref().as_array());
    let same = |item: &&Spanned<DeValue<'_>>| item.get_ref().as_str() == Some(pattern.as_str());
    let item = items.and_then(|items| items.iter().find(same));
    item.map_or_else(|| table.span.clone(), Spanned::span)
}

fn is_empty(value: &Spanned<DeValue<'_>>) -> bool {
    value.get_ref().as_array().is_some_and(|items| items.is_empty())
}

fn class(table: &Table<'_, '_>, report: &mut Report<'_>) -> Option<Class> {
    if table.get("class").is_none() {
        let mend = "say what becomes of its requests: class = \"critical\", \"pass\" or \"refuse\"";
        table.missing(report, "class", mend);
    }
    table.choice(report, "class", &Class::NAMES)
}

fn no_effect(table: &Table<'_, '_>, report: &mut Report<'_>, class: Class) {
    for key in CRITICAL_KEYS {
        if let Some(span) = table.key(key) {
            let what = format!("`{key}` has no effect on a rule whose class is \"{class}\"");
            report.add_as(Code::NoEffect, span, what, "remove it, or write class = \"critical\"");
        }
    }
}

fn keys_must_have_effect(table: &Table<'_, '_>, report: &mut Report<'_>, patterns: &[Pattern]) {
    for pattern in patterns.iter().filter(|pattern| pattern.reaches_keyless()) {
        let what = format!(
            "\"{pattern}\" cannot be critical: it can match a request on which an idempotency key \
             has no effect (GET, HEAD, OPTIONS, or DELETE outside of v2)"
        );
        let mend = "name a method that takes keys, such as POST, or pass it";
        report.add_as(Code::KeylessMethod, span_of(table, pattern), what, mend);
    }
}

fn critical(table: &Table<'_, '_>, report: &mut Report<'_>, rule: &mut Rule) {
    rule.client_key = table.choice(report, "client_key", &ClientKey::NAMES).unwrap_or_default();
    rule.merge = table.choice(report, "merge", &Merge::NAMES).unwrap_or_default();
    rule.store_down = table.choice(report, "store_down", &StoreDown::NAMES).unwrap_or_default();
    rule.indeterminate =
        table.choice(report, "indeterminate", &Indeterminate::NAMES).unwrap_or_default();
    rule.require_field = require_field(table, report);
    rule.distinguishes = distinguishes(table, report);
    rule.repeat_window = repeat_window(table, report);
    rule.finish = finish(table, report);
    // What belongs to an identity that is not known cannot be judged.
    let Some(identity) = identity(table, report) else { return };
    rule.identity = identity;
    content_or_not(table, report, rule);
    if rule.uses_content()
        && rule.merge == Merge::Lost
        && let Some(span) = table.key("repeat_window")
    {
        let what = "`repeat_window` has no effect without merge = \"twins\"";
        report.add_as(Code::NoEffect, span, what, "remove it, or write merge = \"twins\"");
    }
}

/// What must stand, and what must not, beside an identity that can come to be the content.
fn content_or_not(table: &Table<'_, '_>, report: &mut Report<'_>, rule: &Rule) {
    if !rule.uses_content() {
        for key in ["distinguishes", "merge", "repeat_window"] {
            if let Some(span) = table.key(key) {
                let what = format!("`{key}` has no effect where the content is no identity");
                let mend = "remove it, or write identity = \"content\"";
                report.add_as(Code::NoEffect, span, what, mend);
            }
        }
        return;
    }
    let at = table.get("identity").map_or_else(|| table.span.clone(), Spanned::span);
    if table.get("distinguishes").is_none() {
        let mend = "name fields whose presence tells two intended requests apart: \
                    distinguishes = [\"customer\", \"metadata[order_id]\"]";
        let what = "the content is an identity, and `distinguishes` is missing";
        report.add_as(Code::MissingDistinguishes, at.clone(), what, mend);
    }
    if rule.client_key == ClientKey::Required {
        let what = "the content is never an identity where client_key = \"required\"";
        report.add(at, what, "write client_key = \"optional\", or leave the content out");
    }
}

/// `None` if something is wrong with it.
fn identity(table: &Table<'_, '_>, report: &mut Report<'_>) -> Option<IdentityRule> {
    let Some(value) = table.get("identity") else {
        no_otherwise(table, report);
        return Some(IdentityRule::Call);
    };
    if value.get_ref().is_array() {
        return identity_fields(table, report, value);
    }
    if !value.get_ref().is_str() {
        let wanted = "\"call\", \"content\" or an array of field names";
        table::wrong_type(report, "`identity`", wanted, value);
        return None;
    }
    no_otherwise(table, report);
    let choices = [("call", false), ("content", true)];
    let content = table.choice(report, "identity", &choices)?;
    Some(if content { IdentityRule::Content } else { IdentityRule::Call })
}

fn no_otherwise(table: &Table<'_, '_>, report: &mut Report<'_>) {
    if let Some(span) = table.key("otherwise") {
        let what = "`otherwise` has no effect without identity fields";
        let mend = "remove it, or write identity = [\"metadata[order_id]\"]";
        report.add_as(Code::NoEffect, span, what, mend);
    }
}

fn identity_fields(
    table: &Table<'_, '_>,
    report: &mut Report<'_>,
    value: &Spanned<DeValue<'_>>,
) -> Option<IdentityRule> {
    if is_empty(value) {
        report.add(value.span(), "`identity` names no field", "name one, or write \"call\"");
    }
    let texts = table.texts(report, "identity").unwrap_or_default();
    let fields = field_patterns(report, "identity", &texts);
    for (field, text) in fields.iter().filter(|(field, _)| !field.is_exact()) {
        let what = format!("\"{}\" could be several fields", field.as_str().escape_debug());
        report.add(text.span.clone(), what, "an identity field has one exact name: no `*`");
    }
    if table.get("otherwise").is_none() {
        let mend = "say what a request without all these fields is judged by: \
                    otherwise = \"content\", \"call\" or \"refuse\"";
        report.add(value.span(), "identity fields without `otherwise`", mend);
    }
    let otherwise = table.choice(report, "otherwise", &Otherwise::NAMES)?;
    let names = fields.into_iter().map(|(field, _)| field).collect();
    Some(IdentityRule::Fields { names, otherwise })
}

fn distinguishes(table: &Table<'_, '_>, report: &mut Report<'_>) -> Vec<FieldPattern> {
    let Some(texts) = table.texts(report, "distinguishes") else { return Vec::new() };
    if let Some(value) = table.get("distinguishes").filter(|value| is_empty(value)) {
        let mend = "name at least one, or leave the content out of the identity";
        report.add(value.span(), "`distinguishes` names no field", mend);
    }
    let fields = field_patterns(report, "distinguishes", &texts);
    fields.into_iter().map(|(field, _)| field).collect()
}

fn require_field(table: &Table<'_, '_>, report: &mut Report<'_>) -> Vec<FieldPattern> {
    let Some(texts) = table.texts(report, "require_field") else { return Vec::new() };
    if let Some(value) = table.get("require_field").filter(|value| is_empty(value)) {
        report.add(value.span(), "`require_field` names no field", "name one, or remove it");
    }
    let fields = field_patterns(report, "require_field", &texts);
    fields.into_iter().map(|(field, _)| field).collect()
}

fn field_patterns<'t>(
    report: &mut Report<'_>,
    key: &str,
    texts: &'t [Text<'t>],
) -> Vec<(FieldPattern, &'t Text<'t>)> {
    let mut fields = Vec::new();
    let mut seen = HashSet::new();
    for text in texts {
        let shown = text.value.escape_debug();
        if !seen.insert(text.value) {
            let what = format!("\"{shown}\" stands in `{key}` twice");
            report.add(text.span.clone(), what, "remove one of them");
            continue;
        }
        if fields.len() == MOST_FIELDS {
            let what = format!("`{key}` names more than {MOST_FIELDS} fields");
            report.add(text.span.clone(), what, "use `*`, as in `metadata[*]`, or name fewer");
            break;
        }
        match FieldPattern::parse(text.value) {
            Ok(field) => fields.push((field, text)),
            Err(bad) => report.add(
                text.span.clone(),
                format!("\"{shown}\" is no field: {bad}"),
                "write it as the form does: `customer`, `metadata[order_id]`, `metadata[*]`",
            ),
        }
    }
    fields
}

fn repeat_window(table: &Table<'_, '_>, report: &mut Report<'_>) -> Duration {
    let Some(Text { value, span }) = table.text(report, "repeat_window") else {
        return Duration::ZERO;
    };
    match duration::parse(value) {
        Some(window) if window <= LONGEST_REPEAT_WINDOW => window,
        Some(_) => {
            let what = "`repeat_window` is longer than 22h, after which a key may be forgotten";
            report.add_as(Code::WindowBeyondRetention, span, what, "write at most \"22h\"");
            Duration::ZERO
        }
        None => {
            let what = format!("\"{}\" is no duration", value.escape_debug());
            report.add(
                span,
                what,
                "write a number and a unit: \"500ms\", \"30s\", \"2m\", \"22h\"",
            );
            Duration::ZERO
        }
    }
}

fn finish(table: &Table<'_, '_>, report: &mut Report<'_>) -> Option<Duration> {
    let Text { value, span } = table.text(report, "finish")?;
    let time = duration::parse(value);
    let fits = time.filter(|time| (finishing::SHORTEST..=finishing::LONGEST).contains(time));
    if fits.is_none() {
        let what = if time.is_some() {
            "`finish` is shorter than 1m or longer than 30m".to_owned()
        } else {
            format!("\"{}\" is no duration", value.escape_debug())
        };
        report.add(
            span,
            what,
            "write \"1m\" to \"30m\", or leave it out: nothing is finished then",
        );
    }
    fits
}
