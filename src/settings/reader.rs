//! One value at a time, from as typed to as used. Every problem is noted and a stand-in handed
//! back, so that all problems are found in one go; the stand-ins never leave `settings`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use config::ValueKind;

use super::layers::Layers;
use super::problem::{Origin, Problem};
use super::units;
use crate::decide::shown::{Shown, holds_key};

mod secrets;

/// What switches an optional address off.
const OFF: &str = "off";

/// Said of a value that holds one of Stripe's secrets and is none of the settings for them.
pub(super) const MISPLACED: &str = "holds what looks like an API key or a webhook's secret, which has \
                                    no place there; if it is a real one, roll it";

/// Reads settings by their dotted path.
pub(super) struct Reader {
    layers: Layers,
    problems: Vec<Problem>,
    /// What was read, so that a test can hold it against the list of all settings.
    pub(super) asked: BTreeSet<&'static str>,
}

impl Reader {
    /// A reader of `layers`, with the problems found so far.
    pub(super) fn new(layers: Layers, problems: Vec<Problem>) -> Self {
        Self { layers, problems, asked: BTreeSet::new() }
    }

    /// All problems, in the order of their paths.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.problems.sort_by(|a, b| a.path.cmp(&b.path));
        self.problems
    }

    /// Notes a problem of the setting at `path`.
    pub(super) fn refuse(&mut self, path: &str, what: impl Into<Shown>) {
        let origin = self.layers.origin(path);
        self.problems.push(Problem { path: path.into(), origin, what: what.into() });
    }

    /// Notes that `path` does not go with the `others`, unless `holds`, or one of them is wrong by
    /// itself: its stand-in proves nothing.
    pub(super) fn require(&mut self, path: &str, others: &[&str], holds: bool, what: String) {
        let wrong = |path: &str| self.is_refused(path) || self.is_refused(section(path));
        if !holds && !wrong(path) && !others.iter().any(|other| wrong(other)) {
            self.refuse(path, what);
        }
    }

    /// Whether somebody set `path`.
    pub(super) fn is_set(&self, path: &str) -> bool {
        self.layers.value(path).is_some()
    }

    /// Where the value of `path` came from.
    pub(super) fn origin(&self, path: &str) -> Origin {
        self.layers.origin(path)
    }

    /// A duration within `range`.
    pub(super) fn duration(
        &mut self,
        path: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let Some(text) = self.text(path, "a duration in quotes, such as \"70s\"") else {
            return Duration::ZERO;
        };
        let Some(time) = units::duration(&text) else {
            let form = "must be a whole number and a unit (ms, s, m, h, d), such as \"70s\"";
            self.refuse(path, format!("{form}, is {text:?}"));
            return Duration::ZERO;
        };
        self.within(path, time, range, units::show_duration)
    }

    /// A number of bytes within `range`.
    pub(super) fn size(&mut self, path: &'static str, range: RangeInclusive<u64>) -> usize {
        const FORM: &str = "a size, such as \"1MiB\" or a number of bytes";
        let bytes = match self.value(path) {
            Some(ValueKind::String(text)) => units::size(&text).or_else(|| text.parse().ok()),
            Some(ValueKind::I64(bytes)) => u64::try_from(bytes).ok(),
            other => return self.unfit(path, FORM, other.as_ref()),
        };
        let Some(bytes) = bytes else {
            let given = self.layers.value(path).map(shown).unwrap_or_default();
            self.refuse(path, format!("must be {FORM}, is {given}"));
            return 0;
        };
        let bytes = self.within(path, bytes, range, units::show_size);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// A whole number within `range`.
    pub(super) fn count(&mut self, path: &'static str, range: RangeInclusive<u32>) -> u32 {
        let number = match self.value(path) {
            Some(ValueKind::I64(number)) => number,
            Some(ValueKind::String(text)) if self.is_variable(path) && integer(&text) => {
                text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX })
            }
            other => return self.unfit(path, "a whole number", other.as_ref()),
        };
        let range = i64::from(*range.start())..=i64::from(*range.end());
        u32::try_from(self.within(path, number, range, |n| n.to_string())).unwrap_or(0)
    }

    /// A number within `range`.
    pub(super) fn ratio(&mut self, path: &'static str, range: RangeInclusive<f64>) -> f64 {
        let number = match self.value(path) {
            Some(ValueKind::Float(number)) => Some(number),
            Some(ValueKind::I64(number)) => i32::try_from(number).ok().map(f64::from),
            Some(ValueKind::String(text)) if self.is_variable(path) => text.parse().ok(),
            other => return self.unfit(path, "a number", other.as_ref()),
        };
        let Some(number) = number.filter(|number| number.is_finite()) else {
            let given = self.layers.value(path).map(shown).unwrap_or_default();
            self.refuse(path, format!("must be a number, is {given}"));
            return 0.0;
        };
        self.within(path, number, range, |n| n.to_string())
    }

    /// `true` or `false`, and nothing like them.
    pub(super) fn flag(&mut self, path: &'static str) -> bool {
        match self.value(path) {
            Some(ValueKind::Boolean(flag)) => flag,
            Some(ValueKind::String(text)) if self.is_variable(path) && text == "true" => true,
            Some(ValueKind::String(text)) if self.is_variable(path) && text == "false" => false,
            other => self.unfit(path, "true or false", other.as_ref()),
        }
    }

    /// One of the named choices.
    pub(super) fn choice<T: Copy + Default>(
        &mut self,
        path: &'static str,
        choices: &[(&str, T)],
    ) -> T {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        let one_of = format!("one of {}", names.join(", "));
        let Some(text) = self.text(path, &one_of) else { return T::default() };
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
            return *choice;
        }
        self.refuse(path, format!("must be {one_of}, is {text:?}"));
        T::default()
    }

    /// An IP address and a port; `None` for "off".
    pub(super) fn address(&mut self, path: &'static str) -> Option<SocketAddr> {
        const FORM: &str = "an IP address and a port, such as \"127.0.0.1:8420\", or \"off\"";
        let text = self.text(path, FORM)?;
        if text == OFF {
            return None;
        }
        let address = text.parse().ok();
        if address.is_none() {
            self.refuse(path, format!("must be {FORM}, is {text:?}"));
        }
        address
    }

    /// A path, if one is set.
    pub(super) fn path(&mut self, path: &'static str) -> Option<PathBuf> {
        self.optional(path, "a path").map(PathBuf::from)
    }

    /// Text that is not empty. It goes to logs, metrics and into other names as it is: what is a
    /// secret there is refused.
    pub(super) fn text(&mut self, path: &'static str, form: &str) -> Option<String> {
        match self.value(path) {
            Some(ValueKind::String(text)) if holds_key(&text) => {
                self.refuse(path, MISPLACED);
                None
            }
            Some(ValueKind::String(text)) if !text.is_empty() => Some(text),
            other => self.unfit(path, form, other.as_ref()),
        }
    }

    /// Text that is not empty, if any is set; what stands there instead is not shown.
    pub(super) fn hidden(&mut self, path: &'static str, form: &str) -> Option<String> {
        self.asked.insert(path);
        if !self.is_set(path) && !self.layers.is_table(path) {
            return None;
        }
        match self.value(path) {
            Some(ValueKind::String(text)) if !text.is_empty() => Some(text),
            Some(_) | None => {
                self.refuse(path, format!("must be {form}"));
                None
            }
        }
    }

    /// Text that is not empty, if any is set.
    pub(super) fn optional(&mut self, path: &'static str, form: &str) -> Option<String> {
        self.asked.insert(path);
        if self.is_set(path) || self.layers.is_table(path) { self.text(path, form) } else { None }
    }

    /// Whether anything is set below `path`.
    pub(super) fn is_table(&self, path: &str) -> bool {
        self.layers.is_table(path)
    }

    /// The tables below `path` by their names, each with its values as they stand.
    pub(super) fn tables(
        &mut self,
        path: &'static str,
    ) -> BTreeMap<String, BTreeMap<String, ValueKind>> {
        let empty = |kind: &ValueKind| matches!(kind, ValueKind::Table(table) if table.is_empty());
        if self.value(path).is_some_and(|value| !empty(&value)) {
            self.refuse(path, format!("must be tables, each written [{path}.NAME]"));
        }
        let mut tables: BTreeMap<String, BTreeMap<String, ValueKind>> = BTreeMap::new();
        let mut bare = Vec::new();
        for (key, kind) in self.layers.below(path) {
            match key.split_once('.') {
                Some((name, field)) => {
                    let table = tables.entry(name.to_owned()).or_default();
                    table.insert(field.to_owned(), kind.clone());
                }
                None if empty(kind) => {
                    tables.entry(key.to_owned()).or_default();
                }
                None => bare.push(key.to_owned()),
            }
        }
        for key in bare {
            let written = format!("must be a table, written [{path}.{key}]");
            self.refuse(&format!("{path}.{key}"), written);
        }
        tables
    }

    fn value(&mut self, path: &'static str) -> Option<ValueKind> {
        self.asked.insert(path);
        self.layers.value(path).cloned()
    }

    fn is_refused(&self, path: &str) -> bool {
        self.problems.iter().any(|problem| problem.path.as_str() == path)
    }

    fn is_variable(&self, path: &str) -> bool {
        matches!(self.layers.origin(path), Origin::Variable(_))
    }

    fn within<T: PartialOrd + Copy>(
        &mut self,
        path: &str,
        value: T,
        range: RangeInclusive<T>,
        show: impl Fn(T) -> String,
    ) -> T {
        if value < *range.start() {
            let what = format!("must be at least {}, is {}", show(*range.start()), show(value));
            self.refuse(path, what);
        } else if value > *range.end() {
            let what = format!("must be at most {}, is {}", show(*range.end()), show(value));
            self.refuse(path, what);
        }
        value
    }

    fn unfit<T: Default>(&mut self, path: &str, form: &str, found: Option<&ValueKind>) -> T {
        // A whole section that is wrong is told once, not once for each of its settings.
        if !self.is_refused(section(path)) {
            let given = found.map_or_else(|| "a section".to_owned(), shown);
            self.refuse(path, format!("must be {form}, is {given}"));
        }
        T::default()
    }
}

fn section(path: &str) -> &str {
    path.split('.').next().unwrap_or_default()
}

fn integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A value as a message shows it. Only for settings that are no secrets.
fn shown(kind: &ValueKind) -> String {
    match kind {
        ValueKind::Nil => "nothing".to_owned(),
        ValueKind::String(text) if text.is_empty() => "empty".to_owned(),
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Boolean(flag) => ToString::to_string(flag),
        ValueKind::I64(number) => ToString::to_string(number),
        ValueKind::I128(number) => ToString::to_string(number),
        ValueKind::U64(number) => ToString::to_string(number),
        ValueKind::U128(number) => ToString::to_string(number),
        ValueKind::Float(number) => ToString::to_string(number),
        ValueKind::Table(_) => "a section".to_owned(),
        ValueKind::Array(_) => "a list".to_owned(),
    }
}
