//! What `payonce check` writes for people.

use std::io::{self, Write};

use super::{Checked, Code, Policy, Problem, Severity};

/// Findings first, in the order of the file; the verdict last, where the eye ends.
pub(super) fn write(checked: &Checked, out: &mut impl Write) -> io::Result<()> {
    let file = &checked.file;
    for finding in checked.findings.iter().filter(|finding| finding.accepted.is_none()) {
        writeln!(out, "{file}, {}\n", finding.told())?;
    }
    let errors = checked.count(Problem::is_error);
    match &checked.policy {
        // Each problem is told already.
        Err(_) if errors > 0 => {
            writeln!(out, "{} in the policy {file}", counted(errors, "problem"))
        }
        Err(error) => writeln!(out, "{error}"),
        Ok(policy) if errors == 0 => {
            writeln!(out, "the policy {file} is in order")?;
            summary(checked, policy, out)
        }
        Ok(policy) => {
            writeln!(out, "the policy {file} cannot be served with these settings")?;
            summary(checked, policy, out)
        }
    }
}

fn summary(checked: &Checked, policy: &Policy, out: &mut impl Write) -> io::Result<()> {
    let passed = match policy.tests() {
        0 => "none: add a [[test]] for what must never change".to_owned(),
        count => format!("{count} passed"),
    };
    let open = checked.count(Problem::is_open_warning);
    let accepted: Vec<&Problem> =
        checked.findings.iter().filter(|finding| finding.accepted.is_some()).collect();
    writeln!(out, "  version  {}", policy.version())?;
    if let Some(signed) = &checked.signed {
        writeln!(out, "  signed   with the key {} ({})", signed.by, signed.comment)?;
    }
    writeln!(out, "  mode     {}", policy.mode())?;
    writeln!(out, "  rules    {}", policy.rules().len())?;
    writeln!(out, "  tests    {passed}")?;
    writeln!(out, "  warnings {open}, and {} accepted", accepted.len())?;
    for finding in accepted {
        let reason = finding.accepted.as_deref().unwrap_or_default();
        let reason: String = reason.chars().filter(|char| !char.is_control()).collect();
        writeln!(out, "    line {}, {}: {reason}", finding.line, finding.code)?;
    }
    Ok(())
}

/// `payonce check --codes`
pub(super) fn codes(out: &mut impl Write) -> io::Result<()> {
    for severity in [Severity::Error, Severity::Warning] {
        let count = Code::ALL.iter().filter(|code| code.severity() == severity).count();
        writeln!(out, "{}", counted(count, severity.as_str()))?;
        for code in Code::ALL.into_iter().filter(|code| code.severity() == severity) {
            writeln!(out, "  {:<26} {}", code.as_str(), code.why())?;
        }
    }
    Ok(())
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
