//! What never comes to anything: patterns that no operation falls to, tests that prove nothing.

use std::collections::HashMap;

use toml::Spanned;
use toml::de::DeValue;

use super::super::code::Code;
use super::super::coverage::Idle;
use super::super::operations;
use super::super::problem::{Report, did_you_mean};
use super::super::rule::BUILT_IN;
use super::super::table::Table;
use super::super::template::{parse_method, split_request};
use super::{COMPARE, Finding, Place, Ruled};
use crate::decide::path::Target;

pub(super) fn look(rules: &[Ruled<'_>], whole: &Place<'_>, report: &mut Report<'_>) {
    for rule in rules {
        for idle in &rule.idle {
            let finding = if idle.matches == 0 { unknown(rule, idle) } else { taken(rule, idle) };
            rule.place.note(report, Some(idle.pattern.as_str()), finding);
        }
    }
    tests(whole, report);
}

fn unknown(rule: &Ruled<'_>, idle: &Idle) -> Finding {
    let (pattern, count) = (idle.pattern.as_str(), operations::all().len());
    let hint = match asked(pattern).filter(|_| !pattern.contains("**")) {
        Some(name) => format!("; it would be `{name}` with an id of its own"),
        None => close_to(pattern),
    };
    Finding {
        code: Code::UnknownOperation,
        at: rule.place.item("match", pattern),
        what: format!(
            "\"{pattern}\" of rule `{}` matches none of the {count} operations that this payonce \
             knows{hint}",
            rule.rule.name
        ),
        mend: format!("{COMPARE}, allow = [\"{} {pattern}: why\"]", Code::UnknownOperation),
    }
}

fn taken(rule: &Ruled<'_>, idle: &Idle) -> Finding {
    let (pattern, count) = (idle.pattern.as_str(), idle.matches);
    let them = if count == 1 { "one operation, which falls" } else { "operations that all fall" };
    let earlier: Vec<String> = idle.taken_by.iter().map(|name| format!("`{name}`")).collect();
    Finding {
        code: Code::NothingLeft,
        at: rule.place.item("match", pattern),
        what: format!("\"{pattern}\" matches {them} to earlier rules: {}", earlier.join(", ")),
        mend: "put the rule before them, or remove the pattern".to_owned(),
    }
}

/// What a request written like this asks for.
fn asked(request: &str) -> Option<String> {
    let (method, path) = split_request(request).ok()?;
    let found = operations::find(&parse_method(method).ok()?, &Target::parse(path).ok()?)?;
    operations::all().get(found).map(operations::Operation::name)
}

fn close_to(pattern: &str) -> String {
    let names: Vec<String> = operations::all().iter().map(operations::Operation::name).collect();
    // A few letters are a slip; more are another operation.
    let near: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| strsim::damerau_levenshtein(name, pattern) <= 3)
        .collect();
    did_you_mean(pattern, &near, '"')
}

fn tests(whole: &Place<'_>, report: &mut Report<'_>) {
    let mut ignored = Report::new("");
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for test in whole.table.tables(&mut ignored, "test", "a [[test]]") {
        let Some(request) = test.text(&mut ignored, "request") else { continue };
        let line = report.line(request.span.start);
        if let Some(earlier) = seen.insert(request.value, line) {
            let finding = Finding {
                code: Code::DuplicateTest,
                at: request.span.clone(),
                what: format!("{} is tested on line {earlier} already", request.value),
                mend: "make one test of the two".to_owned(),
            };
            whole.note(report, Some(request.value), finding);
        }
        if asked(request.value).is_none() && !expects_built_in(&test) {
            let count = operations::all().len();
            let finding = Finding {
                code: Code::TestOfUnknownOperation,
                at: request.span,
                what: format!(
                    "{} is none of the {count} operations that this payonce knows{}",
                    request.value,
                    close_to(request.value)
                ),
                mend: format!(
                    "{COMPARE}, before all rules: allow = [\"{} {}: why\"]",
                    Code::TestOfUnknownOperation,
                    request.value
                ),
            };
            whole.note(report, Some(request.value), finding);
        }
    }
}

/// What no rule names may well be what Stripe does not have.
fn expects_built_in(test: &Table<'_, '_>) -> bool {
    let Some(DeValue::Table(expect)) = test.get("expect").map(Spanned::get_ref) else {
        return false;
    };
    let rule = expect.get("rule").and_then(|rule| rule.get_ref().as_str());
    rule.is_some_and(|rule| BUILT_IN.contains(&rule))
}
