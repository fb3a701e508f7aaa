//! Which lines the source can log: read from its text, for no run of a test meets them all.

use std::collections::BTreeSet;
use std::path::Path;

/// A call of one of the macros that log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    pub(super) level: String,
    /// Absent where part of it is not written there.
    pub(super) message: Option<String>,
    pub(super) fields: BTreeSet<String>,
    pub(super) place: String,
}

/// All calls below `directory`, without those of unit tests.
pub(super) fn calls(directory: &Path) -> Vec<Call> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            found.extend(calls(&path));
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            found.extend(in_file(text, &path.display().to_string()));
        }
    }
    found
}

fn in_file(text: &str, file: &str) -> Vec<Call> {
    let mut found = Vec::new();
    for level in ["error", "warn", "info", "debug", "trace"] {
        let macro_call = format!("{level}!(");
        for (at, _) in text.match_indices(&macro_call) {
            let line = text[..at].rsplit('\n').next().unwrap();
            let word = line.chars().last().is_none_or(|c| !c.is_alphanumeric() && c != '_');
            if word && !line.trim_start().starts_with("//") {
                let place = format!("{file}:{}", text[..at].matches('\n').count() + 1);
                found.push(call(level, &arguments(&text[at + macro_call.len()..]), place));
            }
        }
    }
    found
}

/// What stands between the commas, until the parenthesis closes.
fn arguments(text: &str) -> Vec<String> {
    let (mut all, mut depth, mut quoted, mut escaped) = (vec![String::new()], 1, false, false);
    for c in text.chars() {
        let last = all.last_mut().unwrap();
        if quoted {
            quoted = c != '"' || escaped;
            escaped = c == '\\' && !escaped;
            last.push(c);
            continue;
        }
        match c {
            '"' => quoted = true,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _other => {}
        }
        if depth == 0 {
            break;
        }
        if c == ',' && depth == 1 {
            all.push(String::new());
        } else {
            last.push(c);
        }
    }
    let trimmed = all.iter().map(|argument| argument.trim().to_owned());
    trimmed.filter(|argument| !argument.is_empty()).collect()
}

fn call(level: &str, arguments: &[String], place: String) -> Call {
    let (mut message, mut fields) = (None, BTreeSet::new());
    for argument in arguments.iter().filter(|argument| !argument.starts_with("target:")) {
        if argument.starts_with('"') {
            message = Some(literal(argument)).filter(|text| !text.contains('{'));
        } else {
            let name = argument.split('=').next().unwrap().trim().trim_start_matches(['%', '?']);
            assert!(name.chars().all(|c| c.is_alphanumeric() || c == '_'), "{place}: {argument}");
            fields.insert(name.to_owned());
        }
    }
    Call { level: level.to_uppercase(), message, fields, place }
}

/// What a literal says; a backslash at the end of a line swallows the indent that follows.
fn literal(text: &str) -> String {
    let mut said = String::new();
    let mut chars = text.trim_matches('"').chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            said.push(c);
        } else if let Some(next) = chars.next() {
            if next == '\n' {
                while chars.next_if(|c| c.is_whitespace()).is_some() {}
            } else {
                said.push(next);
            }
        }
    }
    said
}
