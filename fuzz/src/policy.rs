//! Policy files: any text.

use std::collections::HashSet;

use payonce::decide::policy::{Policy, Problem, version_of};

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
    }
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
