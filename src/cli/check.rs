//! `payonce check`: is this policy in order, and if not, everything that is to mend.

use std::io::{self, Write};
use std::path::Path;

use crate::decide::operations::{self, Operation};
use crate::decide::policy::{Pattern, Policy};
use crate::policy_file;

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
    let operations: Vec<Operation> = operations::published().collect();
    let known =
        |pattern: &Pattern| operations.iter().any(|it| pattern.matches(&it.method, &it.segments()));
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
