//! What a record of observed traffic adds up to: suspected duplicates, by operation, rule and
//! caller, with their sums, and what else came to light.

use std::collections::BTreeMap;

use serde::Serialize;

use super::money::Sums;
use super::{Came, Line};
use crate::clock::Timestamp;
use crate::decide::identity::Kind;
use crate::decide::observe::{Before, Finding};

/// What some days of traffic come to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The first request that is counted, in milliseconds since the Unix epoch.
    pub first: Option<u64>,
    /// The last.
    pub last: Option<u64>,
    /// How many were recorded.
    pub requests: u64,
    /// Of these, how many a rule calls critical.
    pub critical: u64,
    /// Of these, how many were only observed.
    pub observed: u64,
    /// Critical ones without any client key.
    pub keyless: u64,
    /// Critical ones whose body was not read.
    pub unread: u64,
    /// Critical ones that are an operation of their own each, so that none can be a duplicate.
    pub by_call: u64,
    /// Suspected duplicates.
    pub duplicates: Count,
    /// Of these, those where the outcome of the one before was never learnt.
    pub after_unknown: u64,
    /// Suspected duplicates by operation, rule, caller and currency, the most first.
    pub rows: Vec<Row>,
    /// Suspected duplicates by caller, the most first; those without one are left out.
    pub callers: Vec<(String, u64)>,
    /// Everything else that came to light.
    pub findings: BTreeMap<Finding, Count>,
    /// Requests that payonce answered with the outcome of another.
    pub merged: Count,
}

/// How many, and how much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many requests.
    pub requests: u64,
    /// What they were about.
    pub sums: Sums,
}

impl Count {
    fn add(&mut self, line: &Line) {
        self.requests = self.requests.saturating_add(1);
        self.sums.add(line.amount, line.currency.as_deref());
    }
}

/// Suspected duplicates that have these in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// `POST /v1/charges`.
    pub operation: String,
    /// The rule.
    pub rule: String,
    /// Who asked, if that is known.
    pub caller: Option<String>,
    /// The currency, if the requests named one.
    pub currency: Option<String>,
    /// How many and how much.
    pub count: Count,
}

type Key = (String, String, Option<String>, Option<String>);

impl Report {
    /// Adds up the lines that arrived at `since` or later.
    #[must_use]
    pub fn of<'a>(lines: impl IntoIterator<Item = &'a Line>, since: Timestamp) -> Self {
        let mut report = Self::default();
        let mut rows: BTreeMap<Key, Count> = BTreeMap::new();
        let mut callers: BTreeMap<String, u64> = BTreeMap::new();
        for line in lines.into_iter().filter(|line| line.at >= since.as_millis()) {
            report.add(line);
            if finding(line) == Some(Finding::Duplicate) {
                let key =
                    (line.request(), line.rule.clone(), line.caller.clone(), line.currency.clone());
                rows.entry(key).or_default().add(line);
                if let Some(caller) = &line.caller {
                    *callers.entry(caller.clone()).or_default() += 1;
                }
            }
        }
        report.rows = rows.into_iter().map(Row::of).collect();
        report.rows.sort_by_key(|row| std::cmp::Reverse(row.count.requests));
        report.callers = callers.into_iter().collect();
        report.callers.sort_by_key(|(_, requests)| std::cmp::Reverse(*requests));
        report
    }

    fn add(&mut self, line: &Line) {
        self.requests += 1;
        self.first = Some(self.first.map_or(line.at, |first| first.min(line.at)));
        self.last = self.last.max(Some(line.at));
        if line.class == "critical" {
            self.critical += 1;
            self.observed += u64::from(line.mode != "enforce");
            self.keyless += u64::from(line.keyless());
            self.by_call += u64::from(line.kind == Some(Kind::Call));
            self.unread += u64::from(line.said.is_none() && line.outcome != Came::Refused);
        }
        if matches!(line.label.as_deref(), Some("joined" | "replayed" | "forgotten")) {
            self.merged.add(line);
        }
        match finding(line) {
            Some(Finding::Duplicate) => {
                self.duplicates.add(line);
                let before = line.would.as_ref().map(|would| would.before);
                self.after_unknown += u64::from(before == Some(Before::Unknown));
            }
            Some(other) => self.findings.entry(other).or_default().add(line),
            None => {}
        }
    }

    /// What the suspected duplicates are: `charges` if all made one kind of object, else
    /// `operations`.
    #[must_use]
    pub fn noun(&self) -> String {
        let resource = |row: &Row| {
            let mut segments = row.operation.split('/').skip(2);
            let resource = segments.next().filter(|it| !it.starts_with('{'))?;
            segments.next().is_none().then(|| resource.replace('_', " "))
        };
        let mut rows = self.rows.iter().map(resource);
        let first = rows.next().flatten();
        let one_kind = rows.all(|other| other == first);
        let plural = first.filter(|_| one_kind).unwrap_or_else(|| "operations".to_owned());
        if self.duplicates.requests == 1 {
            plural.strip_suffix('s').map_or(plural.clone(), ToOwned::to_owned)
        } else {
            plural
        }
    }
}

impl Row {
    fn of((key, count): (Key, Count)) -> Self {
        let (operation, rule, caller, currency) = key;
        Self { operation, rule, caller, currency, count }
    }
}

fn finding(line: &Line) -> Option<Finding> {
    line.would.as_ref().map(|would| would.finding)
}
