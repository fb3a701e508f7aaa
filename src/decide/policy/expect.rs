//! The file's own tests: what a `[[test]]` says, and whether it holds.

use std::fmt;
use std::ops::Range;

use http::Method;
use toml::de::DeValue;

use super::code::Code;
use super::problem::{Report, did_you_mean};
use super::table::{Table, Text, texts, wrong_type};
use super::template::{parse_method, split_request};
use super::{Class, IdentityRule, Policy, Rule};
use crate::decide::path::Target;

/// One `[[test]]`.
#[derive(Debug)]
pub(super) struct Test {
    method: Method,
    target: Target,
    rule: Option<String>,
    class: Option<Class>,
    identity: Option<Identity>,
    span: Range<usize>,
}

/// What `expect.identity` can say.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    Call,
    Content,
    Fields(Vec<String>),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call => f.write_str("\"call\""),
            Self::Content => f.write_str("\"content\""),
            Self::Fields(names) => write!(f, "{names:?}"),
        }
    }
}

impl Identity {
    fn of(rule: &Rule) -> Self {
        match &rule.identity {
            IdentityRule::Call => Self::Call,
            IdentityRule::Content => Self::Content,
            IdentityRule::Fields { names, .. } => {
                Self::Fields(names.iter().map(|name| name.as_str().to_owned()).collect())
            }
        }
    }
}

/// Every `[[test]]` of the file that can be run; what is wrong with the others is noted.
pub(super) fn read(root: &Table<'_, '_>, report: &mut Report<'_>) -> Vec<Test> {
    let tables = root.tables(report, "test", "a [[test]]");
    tables.iter().filter_map(|table| read_one(table, report)).collect()
}

fn read_one(table: &Table<'_, '_>, report: &mut Report<'_>) -> Option<Test> {
    table.allow(report, &["request", "expect"], &[]);
    let request = request(table, report);
    let Some(value) = table.get("expect") else {
        let mend = "say what it expects: expect = { rule = \"charges\", class = \"critical\" }";
        table.missing(report, "expect", mend);
        return None;
    };
    let DeValue::Table(entries) = value.get_ref() else {
        wrong_type(report, "`expect`", "a table", value);
        return None;
    };
    let expect = Table::new("`expect`", value.span(), entries);
    expect.allow(report, &["rule", "class", "identity"], &["key", "outcome"]);
    if entries.is_empty() {
        let mend = "name a rule, a class or an identity: a test that expects nothing cannot fail";
        report.add(value.span(), "`expect` is empty", mend);
    }
    let rule = expect.text(report, "rule").map(|text| text.value.to_owned());
    let class = expect.choice(report, "class", &Class::NAMES);
    let identity = identity(&expect, report);
    let (method, target) = request?;
    Some(Test { method, target, rule, class, identity, span: value.span() })
}

fn request(table: &Table<'_, '_>, report: &mut Report<'_>) -> Option<(Method, Target)> {
    if table.get("request").is_none() {
        table.missing(report, "request", "say which: request = \"POST /v1/charges\"");
    }
    let Text { value, span } = table.text(report, "request")?;
    let split = split_request(value)
        .and_then(|(method, path)| parse_method(method).map(|method| (method, path)));
    let (method, path) = match split {
        Ok(split) => split,
        Err(bad) => {
            report.add(span, bad.what, bad.mend);
            return None;
        }
    };
    match Target::parse(path) {
        Ok(target) => Some((method, target)),
        Err(bad) => {
            let what = format!("\"{}\" would be refused: {bad}", path.escape_debug());
            report.add(span, what, "write a path as an application would send it");
            None
        }
    }
}

fn identity(expect: &Table<'_, '_>, report: &mut Report<'_>) -> Option<Identity> {
    let value = expect.get("identity")?;
    if value.get_ref().is_array() {
        let names = texts(report, "identity", value)?;
        return Some(Identity::Fields(names.iter().map(|text| text.value.to_owned()).collect()));
    }
    let choices = [("call", false), ("content", true)];
    let content = expect.choice(report, "identity", &choices)?;
    Some(if content { Identity::Content } else { Identity::Call })
}

/// Notes every test that fails.
pub(super) fn run(policy: &Policy, tests: &[Test], report: &mut Report<'_>) {
    for test in tests {
        let rule = policy.judge(&test.method, &test.target);
        let wrong = differences(test, rule);
        if wrong.is_empty() {
            continue;
        }
        let found = match rule.line {
            0 => format!("payonce's own rule `{}`", rule.name),
            line => format!("rule `{}` on line {line}", rule.name),
        };
        let request = format!("{} {}", test.method, test.target.raw_path());
        let what = format!("{request} falls to {found}; {}", wrong.join("; "));
        report.add_as(Code::FailingTest, test.span.clone(), what, mend(policy, test));
    }
}

fn differences(test: &Test, rule: &Rule) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(expected) = test.rule.as_ref().filter(|name| **name != rule.name) {
        wrong.push(format!("the test expects rule `{expected}`"));
    }
    if let Some(expected) = test.class.filter(|class| *class != rule.class) {
        wrong.push(format!("its class is \"{}\", the test expects \"{expected}\"", rule.class));
    }
    if let Some(expected) = &test.identity {
        match rule.class {
            Class::Pass | Class::Refuse => {
                wrong.push(format!("it has no identity, the test expects {expected}"));
            }
            Class::Critical => {
                let found = Identity::of(rule);
                if found != *expected {
                    wrong.push(format!("its identity is {found}, the test expects {expected}"));
                }
            }
        }
    }
    wrong
}

fn mend(policy: &Policy, test: &Test) -> String {
    let names: Vec<&str> = policy.rules().iter().map(|rule| rule.name.as_str()).collect();
    let known = |name: &str| names.contains(&name) || super::rule::BUILT_IN.contains(&name);
    match &test.rule {
        Some(name) if !known(name) => {
            let hint = did_you_mean(name, &names, '`');
            format!("there is no rule `{name}`{hint}: name one of the file's, or mend the rules")
        }
        Some(_) | None => "mend the rules, or the test if it is what is wrong".to_owned(),
    }
}
