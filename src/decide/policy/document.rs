//! The whole file: what stands at its top level, and what its rules are to each other.

use std::collections::HashMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

use super::code::Code;
use super::problem::{Problem, Report};
use super::routes::Routes;
use super::table::{Table, wrong_type};
use super::{
    Class, Guard, Mode, Policy, Recording, Rule, Scopes, Uuid4Keys, Way, client, expect, guard,
    lint, rule, scope, secret,
};

/// Comparing every rule with all before it is quadratic; this keeps a reload well under a second.
const MOST_PATTERNS: usize = 5_000;

const KEYS: &[&str] = &[
    "version",
    "mode",
    "default_writes",
    "uuid4_keys",
    "record",
    "allow",
    "scope",
    "guard",
    "rule",
    "client",
    "test",
];

/// Keys and tables whose feature a later version has.
const LATER_KEYS: &[&str] = &["signature"];

/// Reads a policy file's text.
pub(super) fn read(text: &str) -> Result<Policy, Vec<Problem>> {
    let mut report = Report::new(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What else seems wrong may be wrong only because of these.
        for error in errors {
            let at = error.span().unwrap_or(0..0);
            let what = format!("this is not TOML: {}", error.message());
            report.add_as(
                Code::NotToml,
                at,
                what,
                "see https://toml.io for how tables, keys and strings are written",
            );
        }
        return Err(report.finish());
    }
    let whole = root.get_ref();
    let root = Table::new("the policy file", 0..0, whole);
    root.allow(&mut report, KEYS, LATER_KEYS);
    version(&root, &mut report);
    let mode = root.choice(&mut report, "mode", &Mode::NAMES).unwrap_or_default();
    let uuid4_keys = root.choice(&mut report, "uuid4_keys", &Uuid4Keys::NAMES).unwrap_or_default();
    let recording = root.choice(&mut report, "record", &Recording::NAMES).unwrap_or_default();
    let writes = root.choice(&mut report, "default_writes", &Class::NAMES);
    lint::allow::read(&root, &mut report);
    let scopes = scope::read(&root, &mut report);
    let rules = rules(&root, &mut report);
    let clients = client::read(&root, &mut report);
    let tests = expect::read(&root, &mut report);
    let mut policy = assemble(text, rules);
    policy.mode = mode;
    policy.recording = recording;
    policy.uuid4_keys = uuid4_keys;
    policy.scopes = scopes;
    policy.guard = guard::read(&root, &mut report);
    if let Some(class) = writes {
        policy.default_writes = Arc::new(Rule::call("default_writes".to_owned(), class));
    }
    // Where a key is no mistake of another kind: in names, messages, reasons.
    if report.is_clean() {
        secret::look(whole, &mut report);
    }
    // Of rules that are not what their author meant, no test says anything.
    if report.is_clean() {
        expect::run(&policy, &tests, &mut report);
    }
    if report.is_clean() {
        let way = Way::of(&policy).id().to_owned();
        Ok(Policy { clients, tests: tests.len(), way, ..policy })
    } else {
        Err(report.finish())
    }
}

fn version(root: &Table<'_, '_>, report: &mut Report<'_>) {
    const MEND: &str = "write version = 1";
    let Some(value) = root.get("version") else {
        return root.missing(report, "version", MEND);
    };
    match value.get_ref().as_integer().map(ToString::to_string) {
        Some(number) if number == "1" => {}
        Some(number) => {
            let what = format!("this payonce reads version 1 of the policy format, not {number}");
            report.add(value.span(), what, MEND);
        }
        None => wrong_type(report, "`version`", "the integer 1", value),
    }
}

fn rules(root: &Table<'_, '_>, report: &mut Report<'_>) -> Vec<Rule> {
    let tables = root.tables(report, "rule", "a [[rule]]");
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut rules: Vec<Rule> = Vec::with_capacity(tables.len());
    let mut patterns = 0;
    for table in &tables {
        let read = rule::read(table, report);
        patterns += read.patterns.len();
        if patterns > MOST_PATTERNS {
            let what = format!("the file matches more than {MOST_PATTERNS} templates");
            report.add(table.span.clone(), what, "use `{id}` and `/**` to say more with fewer");
            return rules;
        }
        match names.get(&read.name) {
            Some(line) if !read.name.is_empty() => {
                let at = table.get("name").map_or_else(|| table.span.clone(), Spanned::span);
                let what = format!("a rule named `{}` stands on line {line} already", read.name);
                report.add(at, what, "give this one another name");
            }
            Some(_) | None => {
                names.insert(read.name.clone(), read.line);
            }
        }
        shadowed(table, report, &rules, &read);
        rules.push(read);
    }
    rules
}

/// Notes what of `rule` can never match, because it comes after something that matches it all.
fn shadowed(table: &Table<'_, '_>, report: &mut Report<'_>, earlier: &[Rule], rule: &Rule) {
    const MEND: &str = "put the narrower rule before the wider one, or remove it";
    let covering: Vec<Option<&Rule>> = rule
        .patterns
        .iter()
        .map(|pattern| {
            let covers = |other: &&Rule| other.patterns.iter().any(|p| p.covers(pattern));
            earlier.iter().find(covers)
        })
        .collect();
    let all = covering.iter().all(Option::is_some);
    for (pattern, first) in rule.patterns.iter().zip(&covering) {
        let Some(first) = first else { continue };
        let (dead, it) = if all {
            (format!("rule `{}`", rule.name), format!("\"{pattern}\""))
        } else {
            (format!("\"{pattern}\""), "it".to_owned())
        };
        let what = format!(
            "{dead} can never match: `{}` on line {} comes first and matches {it} as well",
            first.name, first.line
        );
        report.add_as(Code::ShadowedRule, rule::span_of(table, pattern), what, MEND);
    }
}

/// A policy with these rules, and the default of everything else. Its version is that of `text`.
pub(super) fn assemble(text: &str, rules: Vec<Rule>) -> Policy {
    let mut routes = Routes::default();
    for (index, rule) in rules.iter().enumerate() {
        for pattern in &rule.patterns {
            routes.add(pattern, index);
        }
    }
    Policy {
        mode: Mode::default(),
        recording: Recording::default(),
        uuid4_keys: Uuid4Keys::default(),
        guard: Guard::default(),
        hash: super::hash_of(text.as_bytes()),
        way: String::new(),
        scopes: Scopes::default(),
        rules: rules.into_iter().map(Arc::new).collect(),
        routes,
        default_writes: Arc::new(Rule::call("default_writes".to_owned(), Class::Critical)),
        not_critical: Arc::new(Rule::call("not_critical".to_owned(), Class::Pass)),
        clients: Vec::new(),
        tests: 0,
    }
}
