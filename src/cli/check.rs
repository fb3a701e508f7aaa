//! `payonce check`: is this policy in order, and if not, everything that is to mend.

use std::io::{self, Write};
use std::path::Path;

use http::Method;

use crate::decide::policy::{Pattern, Policy};
use crate::policy_file;

/// Every operation that Stripe has published, a line each: method, path template, and what is not
/// needed here.
const OPERATIONS: &str = include_str!("../../config/operations.tsv");

/// Checks the policy at `path` and writes to `out` that it is in order, or every problem. `true`
/// if payonce would take it; warnings do not count.
///
/// # Errors
/// Only of `out`.
pub fn run(path: &Path, out: &mut impl Write) -> io::Result<bool> {
    match policy_file::read(path) {
        Ok(policy) => {
            summary(path, &policy, out)?;
            warnings(path, &policy, out)?;
            Ok(true)
        }
        Err(error) => {
            writeln!(out, "{error}")?;
            Ok(false)
        }
    }
}

/// Likewise the policy that payonce ships.
///
/// # Errors
/// Only of `out`.
pub fn shipped(out: &mut impl Write) -> io::Result<bool> {
    let path = Path::new("(the shipped policy)");
    match policy_file::parse(path, policy_file::SHIPPED.as_bytes()) {
        Ok(policy) => {
            summary(path, &policy, out)?;
            Ok(true)
        }
        Err(error) => {
            writeln!(out, "{error}")?;
            Ok(false)
        }
    }
}

fn summary(path: &Path, policy: &Policy, out: &mut impl Write) -> io::Result<()> {
    let passed = match policy.tests() {
        0 => "none: add a [[test]] for what must never change".to_owned(),
        count => format!("{count} passed"),
    };
    writeln!(out, "the policy {} is in order", path.display())?;
    writeln!(out, "  version  {}", policy.version())?;
    writeln!(out, "  mode     {}", policy.mode())?;
    writeln!(out, "  rules    {}", policy.rules().len())?;
    writeln!(out, "  tests    {passed}")
}

/// A misspelt path matches nothing and protects nothing. It may also be an operation that is newer
/// than payonce, so that it is no error.
fn warnings(path: &Path, policy: &Policy, out: &mut impl Write) -> io::Result<()> {
    let operations: Vec<(Method, Vec<&str>)> = operations().collect();
    let known = |pattern: &Pattern| {
        operations.iter().any(|(method, segments)| pattern.matches(method, segments))
    };
    for rule in policy.rules() {
        for pattern in rule.patterns.iter().filter(|pattern| !known(pattern)) {
            writeln!(
                out,
                "warning: {}, line {}: \"{pattern}\" of rule `{}` matches none of the {} operations \
                 that this payonce knows",
                path.display(),
                pattern.line(),
                rule.name,
                operations.len(),
            )?;
        }
    }
    Ok(())
}

fn operations() -> impl Iterator<Item = (Method, Vec<&'static str>)> {
    OPERATIONS.lines().skip(1).filter_map(|line| {
        let mut columns = line.split('\t');
        let method = Method::from_bytes(columns.next()?.as_bytes()).ok()?;
        let path = columns.next()?.strip_prefix('/')?;
        Some((method, path.split('/').collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_an_operation() {
        assert_eq!(operations().count(), OPERATIONS.lines().count() - 1);
        assert_eq!(operations().count(), 705);
    }
}
