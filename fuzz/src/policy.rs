//! Policy files: any text.

use std::collections::HashSet;

use http::Method;
use payonce::decide::path::{TARGET_MAX_BYTES, Target};
use payonce::decide::policy::{Pattern, Policy, Problem, version_of};

use super::path::judged;

/// A policy is taken as a whole or refused with places that its author can find.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match (Policy::parse(text), Policy::parse(text)) {
        (Ok(policy), Ok(again)) => check_policy(&policy, &again, text),
        (Err(problems), Err(again)) => {
            assert_eq!(problems, again);
            check_problems(&problems, text);
        }
        (one, _) => panic!("read in two ways, once well: {}", one.is_ok()),
    }
}

fn check_policy(policy: &Policy, again: &Policy, text: &str) {
    assert_eq!(policy.version(), version_of(text.as_bytes()));
    assert_eq!(policy.rules(), again.rules());
    let names: HashSet<&str> = policy.rules().iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names.len(), policy.rules().len(), "two rules of one name");
    let lines = text.split('\n').count();
    for rule in policy.rules() {
        assert!((1..=lines).contains(&rule.line));
        assert!(!rule.patterns.is_empty(), "{} matches nothing", rule.name);
        assert!(rule.patterns.iter().all(|it| (rule.line..=lines).contains(&it.line())));
        rule.patterns.iter().take(20).for_each(|pattern| check_route(policy, pattern));
    }
}

/// What a pattern is made for falls to the first rule that matches, and to some rule.
fn check_route(policy: &Policy, pattern: &Pattern) {
    let (method, path) = pattern.as_str().split_once(' ').unwrap();
    let method = Method::from_bytes(method.replace('*', "POST").as_bytes()).unwrap();
    let sample = |segment: &str| match segment {
        "**" => "/x/y".to_owned(),
        one if one.starts_with('{') => "/x".to_owned(),
        literal => format!("/{literal}"),
    };
    let path: String = path.split('/').skip(1).map(sample).collect();
    if path.len() > TARGET_MAX_BYTES {
        return;
    }
    let target = Target::parse(&path).expect("a path that a pattern can match");
    assert!(!judged(policy, &method, &target).patterns.is_empty(), "{pattern} matches nothing");
}

fn check_problems(problems: &[Problem], text: &str) {
    assert!(!problems.is_empty(), "refused without a reason");
    assert!(problems.is_sorted_by_key(|problem| (problem.line, problem.column)));
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in problems {
        assert!((1..=lines.len()).contains(&problem.line), "{problem:?}");
        let line = lines[problem.line - 1];
        assert!((1..=line.chars().count() + 1).contains(&problem.column), "{problem:?}");
        assert!(problem.width >= 1 && !problem.what.is_empty() && !problem.mend.is_empty());
        let shown = problem.to_string();
        let place = format!("line {}, column {}: ", problem.line, problem.column);
        assert!(shown.starts_with(&place) && shown.lines().count() >= 5, "{shown}");
        assert!(!problem.source.chars().any(char::is_control), "{:?}", problem.source);
    }
}
