//! Policies as people write them.

use super::*;

mod complaining;
mod judging;
mod reading;

fn policy(text: &str) -> Policy {
    match Policy::parse(text) {
        Ok(policy) => policy,
        Err(problems) => panic!("{}", shown(&problems)),
    }
}

fn shown(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")
}

fn refused(text: &str) -> String {
    shown(&Policy::parse(text).expect_err("the policy has problems"))
}

/// A policy of one rule with these lines in it.
fn rule(lines: &str) -> String {
    format!("version = 1\n[[rule]]\nname = \"a\"\n{lines}\n")
}

fn falls_to(policy: &Policy, method: &str, path: &str) -> String {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    policy.judge(&method, &Target::parse(path).unwrap()).name.clone()
}
