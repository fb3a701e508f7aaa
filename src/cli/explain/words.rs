//! Why this rule and what its class means, in words.

use std::time::Duration;

use crate::decide::path::Target;
use crate::decide::policy::{Class, Pattern, Rule};
use crate::request::Head;

/// The path as it was matched: its segments decoded.
pub(super) fn segments(target: &Target) -> String {
    let shown = |segment: &String| shown(segment);
    let path = target.segments().iter().map(shown).collect::<Vec<_>>().join("/");
    let query = if target.query().is_some_and(|query| !query.is_empty()) {
        ", and a query, which no rule looks at"
    } else {
        ""
    };
    format!("/{path}{query}")
}

/// A name that may hold anything, on one line.
pub(super) fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}

/// The pattern of `rule` that matched; none of a built-in rule.
pub(super) fn pattern<'a>(rule: &'a Rule, head: &Head) -> Option<&'a Pattern> {
    let segments: Vec<&str> = head.target.segments().iter().map(String::as_str).collect();
    rule.patterns.iter().find(|it| it.matches(&head.method, &segments))
}

/// Which rule, and why this one.
pub(super) fn rule(rule: &Rule, head: &Head, file: &str) -> String {
    match pattern(rule, head) {
        Some(pattern) => format!(
            "{}, line {} of {file}: the first that matches, by \"{pattern}\" on line {}",
            rule.name,
            rule.line,
            pattern.line(),
        ),
        None if rule.name == "not_critical" => format!(
            "{}, built in: no rule of {file} matches, and {} takes no idempotency key here",
            rule.name, head.method
        ),
        None => format!(
            "{}, built in: no rule of {file} matches, and {} is a write (default_writes = \"{}\")",
            rule.name, head.method, rule.class
        ),
    }
}

/// What becomes of the requests of a class.
pub(super) const fn class(class: Class) -> &'static str {
    match class {
        Class::Critical => {
            "critical: it never leaves without a key, and is asked for again with that key alone"
        }
        Class::Pass => "pass: streamed through unchanged; no key is added, nothing is remembered",
        Class::Refuse => "refuse: answered with an error; nothing is sent",
    }
}

/// The time that is left, to the minute.
pub(super) fn left(time: Duration) -> String {
    let minutes = time.as_secs().div_ceil(60);
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}
