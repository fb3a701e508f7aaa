//! `[[client]]`: which SDKs are reported, warned or refused, by version or age.
//!
//! A rule applies to a client if its `sdk`, its `caller` and its one condition do. All rules that
//! apply are counted, and the worst action of them is taken (`refuse`, `warn`, `report`; of equals
//! the first in the file), so that no order of rules can soften a refusal. Who asks is read from
//! the request by [`clients`](crate::clients); what is done is [`exchange`](crate::exchange)'s.

use std::fmt::Write as _;

use toml::de::DeValue;

use super::ClientAction;
use super::code::Code;
use super::problem::Report;
use super::table::{Table, Text, text, texts, wrong_type};
use crate::decide::agent::{Day, Released, Sdk, Span, Version};

/// Every request is held against each of them.
const MOST_RULES: usize = 100;

/// Names go into logs, metric labels and a header.
const LONGEST_NAME: usize = 64;

/// Messages go into a header.
const LONGEST_MESSAGE: usize = 300;

const KEYS: [&str; 9] =
    ["name", "sdk", "minimum", "from", "below", "older_than", "caller", "action", "message"];

/// A `[[client]]` of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRule {
    /// Its name: unique among the file's clients.
    pub name: String,
    /// The SDKs that it is about.
    pub sdks: Vec<Sdk>,
    /// Whether it is about clients that name no SDK as well.
    pub unknown: bool,
    /// About which of them it is.
    pub when: When,
    /// About whose requests; empty: everybody's.
    pub callers: Vec<String>,
    /// What is done.
    pub action: ClientAction,
    /// What its author says to the application's.
    pub message: Option<String>,
    /// The line of the file on which it begins, from 1.
    pub line: usize,
}

/// About which versions a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All.
    Always,
    /// Those that cannot show that they are at least this one.
    Minimum(Version),
    /// Those known to be in this range.
    Range {
        /// The first of them; without it, from the beginning.
        from: Option<Version>,
        /// The first that is none of them; without it, all from there.
        below: Option<Version>,
    },
    /// Those known to have been released longer ago.
    OlderThan(Span),
}

/// Who asks, as a rule looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The SDK that it names.
    pub sdk: Option<Sdk>,
    /// The SDK's version, if it could be read.
    pub version: Option<Version>,
    /// When that was released.
    pub released: Released,
    /// Who it says it is.
    pub caller: Option<&'a str>,
}

impl ClientRule {
    /// Whether the rule applies to `asker` on the day `today`. Does not allocate.
    #[must_use]
    pub fn applies(&self, asker: &Asker<'_>, today: Day) -> bool {
        let about = asker.sdk.map_or(self.unknown, |sdk| self.sdks.contains(&sdk));
        let called = |caller: &str| self.callers.iter().any(|named| named == caller);
        let whose = self.callers.is_empty() || asker.caller.is_some_and(called);
        about && whose && self.when.holds(asker, today)
    }

    /// Why it applies to `asker`, and what its author says; one line without a full stop.
    #[must_use]
    pub fn reason(&self, asker: &Asker<'_>) -> String {
        let mut text = match (asker.sdk, asker.version) {
            (Some(sdk), Some(version)) => format!("{sdk} {version}"),
            (Some(sdk), None) => format!("{sdk} of a version that cannot be read"),
            (None, _) => "a client that names no known SDK".to_owned(),
        };
        // Writing to a string cannot fail.
        match (self.when, asker.released) {
            (When::Always, _) => Ok(()),
            (When::Minimum(version), _) => write!(text, ": at least {version} is wanted"),
            (When::Range { from: None, below: Some(below) }, _) => {
                write!(text, " is below {below}")
            }
            (When::Range { from, below }, _) => {
                let from = from.map(|from| format!(" from {from}")).unwrap_or_default();
                let below = below.map(|below| format!(" below {below}")).unwrap_or_default();
                write!(text, " is in the range{from}{below}")
            }
            (When::OlderThan(span), Released::On(day) | Released::By(day)) => {
                write!(text, ", released {day}, is older than {span}")
            }
            (When::OlderThan(span), Released::SinceTable | Released::Unknown) => {
                write!(text, " is older than {span}")
            }
        }
        .unwrap_or_default();
        if let Some(message) = &self.message {
            write!(text, "; {}", message.trim_end_matches('.')).unwrap_or_default();
        }
        text
    }
}

impl When {
    fn holds(self, asker: &Asker<'_>, today: Day) -> bool {
        match self {
            Self::Always => true,
            Self::Minimum(least) => asker.version.is_none_or(|version| version < least),
            Self::Range { from, below } => asker.version.is_some_and(|version| {
                from.is_none_or(|from| version >= from) && below.is_none_or(|below| version < below)
            }),
            Self::OlderThan(span) => match asker.released {
                Released::On(day) | Released::By(day) => day < today.before(span),
                Released::SinceTable | Released::Unknown => false,
            },
        }
    }
}

/// Of the rules that apply, the one whose action is taken.
pub fn worst<'p>(applying: impl Iterator<Item = &'p ClientRule>) -> Option<&'p ClientRule> {
    applying.fold(None, |worst, rule| match worst {
        Some(found) if found.action.weight() >= rule.action.weight() => Some(found),
        Some(_) | None => Some(rule),
    })
}

/// Every `[[client]]` of the file.
pub(super) fn read(root: &Table<'_, '_>, report: &mut Report<'_>) -> Vec<ClientRule> {
    let tables = root.tables(report, "client", "a [[client]]");
    let mut rules: Vec<ClientRule> = Vec::with_capacity(tables.len().min(MOST_RULES));
    for table in &tables {
        if rules.len() >= MOST_RULES {
            let what = format!("the file has more than {MOST_RULES} [[client]]s");
            report.add(table.span.clone(), what, "say more with fewer: `sdk` takes an array");
            return rules;
        }
        let rule = read_one(table, report);
        let twin = rules.iter().find(|other| other.name == rule.name && !rule.name.is_empty());
        if let Some(twin) = twin {
            let at = table.key("name").unwrap_or_else(|| table.span.clone());
            let what =
                format!("a [[client]] named `{}` stands on line {} already", rule.name, twin.line);
            report.add(at, what, "give this one another name");
        }
        rules.push(rule);
    }
    rules
}

fn read_one(table: &Table<'_, '_>, report: &mut Report<'_>) -> ClientRule {
    table.allow(report, &KEYS, &[]);
    let (sdks, unknown) = sdks(table, report);
    if table.get("action").is_none() {
        let mend = "say what is done: action = \"report\", \"warn\" or \"refuse\"";
        table.missing(report, "action", mend);
    }
    ClientRule {
        name: name(table, report),
        when: when(table, report, &sdks, unknown),
        sdks,
        unknown,
        callers: strings(table, report, "caller"),
        action: table
            .choice(report, "action", &ClientAction::NAMES)
            .unwrap_or(ClientAction::Report),
        message: message(table, report),
        line: report.line(table.span.start),
    }
}

fn name(table: &Table<'_, '_>, report: &mut Report<'_>) -> String {
    if table.get("name").is_none() {
        table.missing(report, "name", "give it one: it is shown in logs, metrics and answers");
    }
    let Some(Text { value, span }) = table.text(report, "name") else { return String::new() };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c);
    if value.is_empty() || value.len() > LONGEST_NAME || !value.chars().all(plain) {
        let what = format!("\"{}\" is no name for a client rule", value.escape_debug());
        let mend = format!("write 1 to {LONGEST_NAME} of a-z, 0-9, `_`, `-` and `.`");
        report.add(span, what, mend);
    }
    value.to_owned()
}

/// `"python"`, `["python", "node"]`, `"unknown"`, `"*"`.
fn sdks(table: &Table<'_, '_>, report: &mut Report<'_>) -> (Vec<Sdk>, bool) {
    if table.get("sdk").is_none() {
        table.missing(report, "sdk", "say which: sdk = \"python\", or \"*\" for every client");
    }
    let (mut sdks, mut unknown) = (Vec::new(), false);
    for Text { value, span } in spelled(table, report, "sdk") {
        let known = Sdk::NAMES.iter().find(|(name, _)| *name == value);
        match (value, known) {
            ("*", _) => {
                sdks = Sdk::NAMES.map(|(_, sdk)| sdk).to_vec();
                unknown = true;
            }
            ("unknown", _) => unknown = true,
            (_, Some((_, sdk))) => sdks.push(*sdk),
            (_, None) => {
                let names: Vec<&str> =
                    Sdk::NAMES.iter().map(|(name, _)| *name).chain(["unknown", "*"]).collect();
                let hint = super::problem::did_you_mean(value, &names, '"');
                let what = format!("unknown `sdk` \"{}\"{hint}", value.escape_debug());
                let mend = format!("write {}", super::problem::one_of(&names, '"'));
                report.add_as(Code::UnknownValue, span, what, mend);
            }
        }
    }
    (sdks, unknown)
}

/// The one condition. Two would leave open whether one or both must hold.
fn when(table: &Table<'_, '_>, report: &mut Report<'_>, sdks: &[Sdk], unknown: bool) -> When {
    let present = |key: &str| table.get(key).is_some();
    let range = present("from") || present("below");
    let kinds = [present("minimum"), range, present("older_than")];
    if kinds.iter().filter(|there| **there).count() > 1 {
        let what =
            "a [[client]] has one condition: `minimum`, or `from` and `below`, or `older_than`";
        report.add(table.span.clone(), what, "write two [[client]]s: the worst action is taken");
        return When::Always;
    }
    if (present("minimum") || range) && (unknown || sdks.len() > 1) {
        let key = ["minimum", "from", "below"].into_iter().find_map(|key| table.key(key));
        let what = "a version says something of one SDK only";
        let mend = "name one in `sdk`, or write `older_than`, which is the same for all";
        report.add(key.unwrap_or_else(|| table.span.clone()), what, mend);
    }
    if let Some(least) = version(table, report, "minimum") {
        return When::Minimum(least);
    }
    let (from, below) = (version(table, report, "from"), version(table, report, "below"));
    if let (Some(from), Some(below)) = (from, below)
        && from >= below
    {
        let at = table.key("below").unwrap_or_else(|| table.span.clone());
        report.add(at, "no version is in this range", "write a `below` that is higher than `from`");
    }
    if range {
        return When::Range { from, below };
    }
    let Some(Text { value, span }) = table.text(report, "older_than") else { return When::Always };
    if let Some(span) = Span::parse(value) {
        return When::OlderThan(span);
    }
    let what = format!("\"{}\" is no age", value.escape_debug());
    report.add(span, what, "write a number and a unit, such as \"12 months\" or \"90 days\"");
    When::Always
}

fn version(table: &Table<'_, '_>, report: &mut Report<'_>, key: &str) -> Option<Version> {
    let Text { value, span } = table.text(report, key)?;
    let version = Version::parse(value);
    if version.is_none() {
        let what = format!("\"{}\" is no version", value.escape_debug());
        report.add(span, what, "write it as the SDK's releases are called, such as \"22.6.0\"");
    }
    version
}

fn message(table: &Table<'_, '_>, report: &mut Report<'_>) -> Option<String> {
    let Text { value, span } = table.text(report, "message")?;
    let plain = !value.trim().is_empty() && !value.contains(char::is_control);
    if !plain || value.chars().count() > LONGEST_MESSAGE {
        let what = "`message` must be one line of text";
        report.add(span, what, format!("write 1 to {LONGEST_MESSAGE} characters"));
    }
    Some(value.trim().to_owned())
}

fn strings(table: &Table<'_, '_>, report: &mut Report<'_>, key: &str) -> Vec<String> {
    let spelled = spelled(table, report, key);
    if let Some(empty) = spelled.iter().find(|text| text.value.is_empty()) {
        report.add(empty.span.clone(), format!("`{key}` is empty"), "leave it out, or name one");
    }
    spelled.into_iter().map(|text| text.value.to_owned()).collect()
}

/// A string, or an array of some.
fn spelled<'a>(table: &Table<'a, '_>, report: &mut Report<'_>, key: &str) -> Vec<Text<'a>> {
    let Some(value) = table.get(key) else { return Vec::new() };
    match value.get_ref() {
        DeValue::String(_) => text(report, &format!("`{key}`"), value).into_iter().collect(),
        DeValue::Array(items) if items.is_empty() => {
            report.add(value.span(), format!("`{key}` names nothing"), "name at least one");
            Vec::new()
        }
        DeValue::Array(_) => texts(report, key, value).unwrap_or_default(),
        DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_) => {
            wrong_type(report, &format!("`{key}`"), "a string or an array of strings", value);
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests;
