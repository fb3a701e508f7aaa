//! What is wrong in a policy file: where, what, and how to mend it.
//!
//! A [`Report`] gathers every problem of one file, so that its author mends all of them at once.
//! Nothing here knows what a rule is. What a problem says is [`Shown`]: policies are printed into
//! logs, and somebody will paste a key into one.

use std::fmt;
use std::ops::Range;

use super::code::{Code, Severity};
use crate::decide::shown::Shown;

/// More problems than this help nobody; the rest are counted.
const MOST: usize = 100;

/// What is longer, in bytes, is no slip of the pen; comparing it would take long.
const LONGEST_SLIP: usize = 100;

/// The widest piece of a source line that is shown, in characters.
const WIDEST: usize = 120;

/// One thing that is wrong in a policy file. [`fmt::Display`] shows the line with a caret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of problem it is; says how grave it is and why it matters.
    pub code: Code,
    /// The line it is on, from 1.
    pub line: usize,
    /// The column it begins at, in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: Shown,
    /// How to mend it.
    pub mend: Shown,
    /// The line as it stands in the file, control characters replaced.
    pub source: Shown,
    /// How many characters of the line it concerns; at least 1.
    pub width: usize,
    /// The reason for which the file accepts it, if it does.
    pub accepted: Option<Shown>,
}

impl Problem {
    /// Whether the policy is not taken for it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.code.severity() == Severity::Error
    }

    /// Whether it is a warning that the file does not accept.
    #[must_use]
    pub fn is_open_warning(&self) -> bool {
        !self.is_error() && self.accepted.is_none()
    }

    /// All there is to tell, for `payonce check`: with its code, and why it matters.
    #[must_use]
    pub fn told(&self) -> String {
        let (line, column, code) = (self.line, self.column, self.code);
        let (severity, blank) = (code.severity(), " ".repeat(line.to_string().len()));
        format!(
            "line {line}, column {column}: {severity}[{code}]: {}\n{} {blank} = why: {}\n {blank} = \
             mend: {}",
            self.what,
            self.excerpt(),
            code.why(),
            self.mend
        )
    }

    /// The line of the file, with carets under the place.
    fn excerpt(&self) -> String {
        let gutter = self.line.to_string();
        let blank = " ".repeat(gutter.len());
        // A very long line is shown from shortly before the place.
        let skipped = if self.column > WIDEST { self.column - WIDEST / 2 } else { 0 };
        let shown: String = self.source.chars().skip(skipped).take(WIDEST).collect();
        let pad = self.column.saturating_sub(skipped + 1);
        let carets = self.width.min(WIDEST.saturating_sub(pad)).max(1);
        let (pad, carets) = (" ".repeat(pad), "^".repeat(carets));
        format!(" {blank} |\n {gutter} | {shown}\n {blank} | {pad}{carets}\n")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blank = " ".repeat(self.line.to_string().len());
        writeln!(f, "line {}, column {}: {}", self.line, self.column, self.what)?;
        write!(f, "{} {blank} = {}", self.excerpt(), self.mend)
    }
}

/// Every problem found so far in one text.
#[derive(Debug)]
pub(super) struct Report<'t> {
    text: &'t str,
    /// Where each line begins: every pattern asks for its line.
    lines: Vec<usize>,
    problems: Vec<Problem>,
    unlisted: usize,
}

impl<'t> Report<'t> {
    /// No problem yet.
    pub(super) fn new(text: &'t str) -> Self {
        let later = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(later).collect();
        Self { text, lines, problems: Vec::new(), unlisted: 0 }
    }

    /// Notes that `what` is wrong at the bytes `span`, and how to `mend` it.
    pub(super) fn add(
        &mut self,
        span: Range<usize>,
        what: impl Into<Shown>,
        mend: impl Into<Shown>,
    ) {
        self.add_as(Code::Invalid, span, what, mend);
    }

    /// Likewise, as a problem of this kind.
    pub(super) fn add_as(
        &mut self,
        code: Code,
        span: Range<usize>,
        what: impl Into<Shown>,
        mend: impl Into<Shown>,
    ) {
        self.note(code, span, what, mend, None);
    }

    /// Likewise, with the reason for which the file accepts it.
    pub(super) fn note(
        &mut self,
        code: Code,
        span: Range<usize>,
        what: impl Into<Shown>,
        mend: impl Into<Shown>,
        accepted: Option<String>,
    ) {
        if self.problems.len() >= MOST {
            self.unlisted += 1;
            return;
        }
        let (line, before, rest) = self.place(span.start);
        let column = before.chars().count() + 1;
        let end = span.end.saturating_sub(span.start).min(rest.len());
        let width = rest.char_indices().take_while(|(at, _)| *at < end).count().max(1);
        let source: String = printable(before).chain(printable(rest)).collect();
        let source = Shown::whole(&source);
        let (what, mend, accepted) = (what.into(), mend.into(), accepted.map(Shown::from));
        self.problems.push(Problem { code, line, column, what, mend, source, width, accepted });
    }

    /// The line, from 1, on which the byte at `offset` stands.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// All problems, in the order of the file; none if nothing is wrong.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| (problem.line, problem.column));
        if let (Some(last), 1..) = (self.problems.last_mut(), self.unlisted) {
            last.mend = format!("{} (and {} more problems)", last.mend, self.unlisted).into();
        }
        self.problems
    }

    /// Line number, the line before `offset`, the line from there on.
    fn place(&self, offset: usize) -> (usize, &'t str, &'t str) {
        let offset = (0..=offset.min(self.text.len()))
            .rev()
            .find(|at| self.text.is_char_boundary(*at))
            .unwrap_or(0);
        let (head, tail) = self.text.split_at(offset);
        let line = self.line(offset);
        let before = head.rsplit('\n').next().unwrap_or_default();
        let rest = tail.split('\n').next().unwrap_or_default();
        (line, before, rest.trim_end_matches('\r'))
    }
}

/// A tab would move the caret away, and a control character could rewrite the reader's terminal.
fn printable(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| match c {
        '\t' => ' ',
        control if control.is_control() => '\u{fffd}',
        other => other,
    })
}

/// ` (did you mean "critical"?)`, where one of `known` is close to `given`; `quote` is put around
/// it, as the author would write it.
pub(super) fn did_you_mean(given: &str, known: &[&str], quote: char) -> String {
    if given.len() > LONGEST_SLIP {
        return String::new();
    }
    let given = given.to_ascii_lowercase();
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&given, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 4) && *distance < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| format!(" (did you mean {quote}{name}{quote}?)"))
        .unwrap_or_default()
}

/// "a", "b" or "c", each within `quote`.
pub(super) fn one_of(names: &[&str], quote: char) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{quote}{name}{quote}")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
