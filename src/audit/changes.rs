//! What a change of the policy does, in a few lines: worst first.

use crate::decide::policy::Policy;
use crate::decide::policy::diff::{Change, Gravity, Group, diff};

/// More lines than this are counted.
const MOST_LINES: usize = 20;

/// The longest line, in characters.
const LONGEST_LINE: usize = 300;

/// What changes from one policy to the other; empty if nothing does.
pub(super) fn lines(before: &Policy, after: &Policy) -> Vec<String> {
    let diff = diff(before, after);
    let file = diff.file.iter().map(|change| (change.gravity, told(change)));
    let groups = diff.groups.iter().map(|group| (group.gravity, of_group(group)));
    let mut all: Vec<(Gravity, String)> = file.chain(groups).collect();
    all.sort_by_key(|(gravity, _)| std::cmp::Reverse(*gravity));
    let left_out = all.len().saturating_sub(MOST_LINES);
    let mut lines: Vec<String> = all
        .into_iter()
        .take(MOST_LINES)
        .map(|(gravity, text)| cut(&format!("{}: {text}", gravity.as_str())))
        .collect();
    if left_out > 0 {
        lines.push(format!("and {left_out} more"));
    }
    if diff.cut {
        lines.push("more templates overlap than are compared".to_owned());
    }
    lines
}

fn of_group(group: &Group) -> String {
    let requests = match group.requests.as_slice() {
        [] => group.new.rule.clone(),
        [one] => one.to_string(),
        [first, others @ ..] => format!("{first} and {} more", others.len()),
    };
    let changes: Vec<String> = group.changes.iter().map(told).collect();
    format!("{requests}: {}", changes.join("; "))
}

fn told(change: &Change) -> String {
    format!("{} {} → {}", change.what, change.old, change.new)
}

fn cut(line: &str) -> String {
    line.chars().take(LONGEST_LINE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &str) -> Policy {
        Policy::parse(&format!("version = 1\n{rules}")).unwrap()
    }

    fn rule(name: &str, lines: &str) -> String {
        format!("[[rule]]\nname = \"{name}\"\nmatch = [\"POST /v1/{name}\"]\n{lines}\n")
    }

    #[test]
    fn the_worst_change_comes_first_and_nothing_is_said_of_none() {
        let critical = "class = \"critical\"";
        let content = format!("{critical}\nidentity = \"content\"\ndistinguishes = [\"customer\"]");
        let before = policy(&(rule("charges", critical) + &rule("refunds", &content)));
        let after = policy(&(rule("charges", "class = \"pass\"") + &rule("refunds", critical)));
        let lines = lines(&before, &after);
        let first = &lines[0];
        assert!(first.starts_with("no longer protected: POST /v1/charges: class"), "{lines:?}");
        assert!(lines[1].contains("POST /v1/refunds"), "{lines:?}");
        assert_eq!(super::lines(&before, &before), Vec::<String>::new());
    }

    #[test]
    fn a_whole_new_file_is_told_in_a_bounded_number_of_lines() {
        let shipped = Policy::parse(crate::policy_file::SHIPPED).unwrap();
        let lines = lines(&shipped, &policy("default_writes = \"pass\""));
        assert_eq!(lines.len(), MOST_LINES + 1, "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= LONGEST_LINE));
    }
}
