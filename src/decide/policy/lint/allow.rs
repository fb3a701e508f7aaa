//! `allow`: warnings that the author of a policy accepts, each with a reason.
//!
//! ```toml
//! allow = ["twins-on-batch: this job never sends two equal lines", "unknown-field card: …"]
//! ```
//!
//! A code, perhaps what it is about, a colon and the reason. It accepts in its own rule, or at the
//! top of the file what is found of no single rule. A code that this payonce does not know is no
//! error: pods of two versions may share a policy.

use std::cell::Cell;
use std::ops::Range;

use super::super::code::{Code, Severity};
use super::super::problem::{Report, did_you_mean};
use super::super::table::Table;
use super::{Finding, Place};

/// An item of `allow`.
#[derive(Debug)]
pub(in crate::decide::policy) struct Allowed<'a> {
    code: &'a str,
    subject: Option<&'a str>,
    reason: &'a str,
    span: Range<usize>,
    used: Cell<bool>,
}

impl Allowed<'_> {
    /// Whether it accepts a finding of this kind, about this.
    pub(super) fn accepts(&self, code: Code, subject: Option<&str>) -> bool {
        code.severity() == Severity::Warning
            && self.code == code.as_str()
            && (self.subject.is_none() || self.subject == subject)
    }

    /// The reason, once it has accepted something.
    pub(super) fn accept(&self) -> String {
        self.used.set(true);
        self.reason.to_owned()
    }
}

/// Reads the `allow` of a table, noting what is none.
pub(in crate::decide::policy) fn read<'a>(
    table: &Table<'a, '_>,
    report: &mut Report<'_>,
) -> Vec<Allowed<'a>> {
    const MEND: &str = "write a code of `payonce check --codes`, a colon and the reason: \
                        \"twins-on-batch: the job never sends two equal lines\"";
    let mut allowed = Vec::new();
    for text in table.texts(report, "allow").unwrap_or_default() {
        let (named, reason) = text.value.split_once(": ").unwrap_or((text.value, ""));
        let (code, subject) = match named.split_once(' ') {
            Some((code, subject)) => (code, Some(subject.trim())),
            None => (named, None),
        };
        let reason = reason.trim();
        if code.is_empty() || reason.is_empty() {
            let what = format!("\"{}\" accepts nothing", text.value.escape_debug());
            report.add(text.span, format!("{what}: a code and a reason belong there"), MEND);
            continue;
        }
        allowed.push(Allowed { code, subject, reason, span: text.span, used: Cell::new(false) });
    }
    allowed
}

/// Notes what accepts nothing.
pub(super) fn unused(place: &Place<'_>, report: &mut Report<'_>) {
    for allowed in place.allowed.iter().filter(|allowed| !allowed.used.get()) {
        let shown = allowed.code.escape_debug();
        let what = match Code::named(allowed.code) {
            None => {
                let names = Code::ALL.map(Code::as_str);
                format!(
                    "there is no `{shown}` to accept{}",
                    did_you_mean(allowed.code, &names, '`')
                )
            }
            Some(code) if code.severity() == Severity::Error => {
                format!("`{shown}` is an error, which nothing accepts")
            }
            Some(_) => format!("nothing is found here that `{shown}` accepts"),
        };
        let mend = "remove it, or write it where the finding is: in its rule, or before all rules"
            .to_owned();
        let at = allowed.span.clone();
        place.note(report, None, Finding { code: Code::UnusedAllow, at, what, mend });
    }
}
