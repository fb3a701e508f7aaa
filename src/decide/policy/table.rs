//! A TOML table read key by key, with every wrong key and every wrong type noted where it stands.
//!
//! Derived deserialization stops at the first error; the author of a policy wants them all.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::code::Code;
use super::problem::{Report, did_you_mean, one_of};

const TABLES: &str = "an array of tables";

/// A string and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Text<'a> {
    pub(super) value: &'a str,
    pub(super) span: Range<usize>,
}

/// One table of the file.
#[derive(Clone, Debug)]
pub(super) struct Table<'a, 'i> {
    /// What it is called in messages: "a [[rule]]".
    pub(super) called: &'static str,
    /// Where it stands: its header, or its braces.
    pub(super) span: Range<usize>,
    entries: &'a DeTable<'i>,
}

impl<'a, 'i> Table<'a, 'i> {
    /// The table `entries` at `span`.
    pub(super) fn new(called: &'static str, span: Range<usize>, entries: &'a DeTable<'i>) -> Self {
        Self { called, span, entries }
    }

    /// Notes every key that is not among `keys`; `later` are those that a later version will have.
    pub(super) fn allow(&self, report: &mut Report<'_>, keys: &[&str], later: &[&str]) {
        for key in self.entries.keys() {
            let name = key.get_ref().as_ref();
            if later.contains(&name) {
                let what = format!("`{name}` is not available in this version of payonce");
                report.add_as(Code::UnknownKey, key.span(), what, "remove it");
            } else if !keys.contains(&name) {
                let hint = did_you_mean(name, keys, '`');
                let what = format!("unknown key `{name}` in {}{hint}", self.called);
                let mend = format!("the keys here are {}", one_of(keys, '`'));
                report.add_as(Code::UnknownKey, key.span(), what, mend);
            }
        }
    }

    /// Where the key itself stands, if it is there.
    pub(super) fn key(&self, key: &str) -> Option<Range<usize>> {
        self.entries.get_key_value(key).map(|(key, _)| key.span())
    }

    /// The value of `key`, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.entries.get(key)
    }

    /// Notes that `key` is missing, and how to `mend` that.
    pub(super) fn missing(&self, report: &mut Report<'_>, key: &str, mend: &str) {
        let what = format!("{} without `{key}`", self.called);
        report.add_as(Code::MissingKey, self.span.clone(), what, mend);
    }

    /// The string at `key`; `None` if it is absent, or noted because it is no string.
    pub(super) fn text(&self, report: &mut Report<'_>, key: &str) -> Option<Text<'a>> {
        text(report, &format!("`{key}`"), self.get(key)?)
    }

    /// The strings in the array at `key`; those that are none are noted and left out.
    pub(super) fn texts(&self, report: &mut Report<'_>, key: &str) -> Option<Vec<Text<'a>>> {
        texts(report, key, self.get(key)?)
    }

    /// The one of `choices` that `key` names; `None` if it is absent or noted as wrong.
    pub(super) fn choice<T: Copy>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let value = self.get(key)?;
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let wanted = one_of(&names, '"');
        let DeValue::String(given) = value.get_ref() else {
            wrong_type(report, &format!("`{key}`"), &wanted, value);
            return None;
        };
        let found = choices.iter().find(|(name, _)| *name == given.as_ref());
        if found.is_none() {
            let hint = did_you_mean(given, &names, '"');
            let what = format!("unknown `{key}` \"{}\"{hint}", given.escape_debug());
            report.add_as(Code::UnknownValue, value.span(), what, format!("write {wanted}"));
        }
        found.map(|(_, choice)| *choice)
    }

    /// The tables of the array of tables `key`; whatever else stands there is noted.
    pub(super) fn tables(
        &self,
        report: &mut Report<'_>,
        key: &str,
        called: &'static str,
    ) -> Vec<Table<'a, 'i>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        if value.get_ref().is_table() {
            let what = format!("`{key}` is a single table, and there may be several");
            report.add(value.span(), what, format!("write `[[{key}]]`"));
            return Vec::new();
        }
        let Some(items) = value.get_ref().as_array() else {
            wrong_type(report, &format!("`{key}`"), TABLES, value);
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref().as_table() {
                Some(entries) => tables.push(Table::new(called, item.span(), entries)),
                None => wrong_type(report, &format!("an item of `{key}`"), "a table", item),
            }
        }
        tables
    }
}

/// The string that `value` is, or a note that it is none.
pub(super) fn text<'a>(
    report: &mut Report<'_>,
    name: &str,
    value: &'a Spanned<DeValue<'_>>,
) -> Option<Text<'a>> {
    let DeValue::String(string) = value.get_ref() else {
        wrong_type(report, name, "a string", value);
        return None;
    };
    Some(Text { value: string.as_ref(), span: value.span() })
}

/// The strings of the array that `value` is.
pub(super) fn texts<'a>(
    report: &mut Report<'_>,
    key: &str,
    value: &'a Spanned<DeValue<'_>>,
) -> Option<Vec<Text<'a>>> {
    let DeValue::Array(items) = value.get_ref() else {
        wrong_type(report, &format!("`{key}`"), "an array of strings", value);
        return None;
    };
    let name = format!("an item of `{key}`");
    Some(items.iter().filter_map(|item| text(report, &name, item)).collect())
}

/// Notes that `value` is not `wanted`.
pub(super) fn wrong_type(
    report: &mut Report<'_>,
    name: &str,
    wanted: &str,
    value: &Spanned<DeValue<'_>>,
) {
    let given = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    let mend = match wanted {
        "a string" => "put it in double quotes".to_owned(),
        "an array of strings" => "write it as `[\"…\", \"…\"]`".to_owned(),
        TABLES => "write each as a table of its own, under a `[[…]]`".to_owned(),
        other => format!("write {other}"),
    };
    let what = format!("{name} must be {wanted}, and is {given}");
    report.add_as(Code::WrongType, value.span(), what, mend);
}
