//! `payonce check`: is this policy in order, and if not, everything that is to mend or to think of.

use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use super::{Check, Exit, complain};
use crate::decide::policy::lint::{self, Store};
use crate::decide::policy::{Code, Policy, Problem, Severity};
use crate::decide::shown::masked;
use crate::policy_file::signature::{Signed, TrustedKeys};
use crate::policy_file::{self, Found, LoadError, Why};
use crate::settings::{Settings, StoreKind};

mod page;

/// What was found in a policy file.
#[derive(Debug)]
struct Checked {
    file: String,
    policy: Result<Policy, LoadError>,
    /// Who vouches for it, where somebody must.
    signed: Option<Signed>,
    /// In the order of the file: errors, open warnings and accepted ones.
    findings: Vec<Problem>,
}

/// Checks the policy that `args` or `settings` name, or the shipped one, and writes to `out` what
/// was found: [`Exit::Configuration`] for an error, [`Exit::Failed`] for a warning that the file
/// does not accept if they are to count, else [`Exit::Done`].
///
/// # Errors
/// Only of `out`.
pub fn run(args: &Check, settings: &Settings, out: &mut impl Write) -> io::Result<Exit> {
    if args.codes {
        page::codes(out)?;
        return Ok(Exit::Done);
    }
    let path = args.policy.as_deref().or(settings.policy.path.as_deref());
    // Without a settings file nobody means to serve with these settings.
    let store = args.settings.is_some().then(|| store_of(settings));
    // A draft, named on the command line, need not be signed yet.
    let trusted = args.policy.is_none().then(|| settings.policy.trusted.clone());
    let checked = Checked::of(path, &trusted.unwrap_or_default(), store);
    if args.json {
        writeln!(out, "{:#}", checked.json())?;
    } else {
        page::write(&checked, out)?;
    }
    let exit = checked.exit(args.strict);
    if exit == Exit::Failed {
        let open = checked.count(Problem::is_open_warning);
        complain(&format_args!(
            "--strict: {open} warning(s) that the policy {} does not accept",
            checked.file
        ));
    }
    Ok(exit)
}

impl Checked {
    fn of(path: Option<&Path>, trusted: &TrustedKeys, store: Option<Store>) -> Self {
        let file = path.unwrap_or(Path::new(policy_file::SHIPPED_AS));
        let read =
            match path {
                Some(path) => policy_file::read_signed(path, trusted),
                None => policy_file::parse(file, policy_file::SHIPPED.as_bytes()).map(|policy| {
                    Found { policy, signed: None, text: policy_file::SHIPPED.to_owned() }
                }),
            };
        let file = masked(&file.display().to_string());
        match read {
            Ok(Found { policy, signed, text }) => {
                let findings = lint::findings(&text, &policy, store);
                Self { file, policy: Ok(policy), signed, findings }
            }
            Err(error) => {
                let findings = match &error.why {
                    Why::Problems(problems) => problems.clone(),
                    Why::Unreadable(_)
                    | Why::TooLarge
                    | Why::NotText(_)
                    | Why::Unfit(_)
                    | Why::Signature(_)
                    | Why::Unrecorded(_) => Vec::new(),
                };
                Self { file, policy: Err(error), signed: None, findings }
            }
        }
    }

    fn exit(&self, strict: bool) -> Exit {
        let error = self.policy.is_err() || self.findings.iter().any(Problem::is_error);
        let warned = self.findings.iter().any(Problem::is_open_warning);
        match (error, warned && strict) {
            (true, _) => Exit::Configuration,
            (false, true) => Exit::Failed,
            (false, false) => Exit::Done,
        }
    }

    fn count(&self, which: impl Fn(&Problem) -> bool) -> usize {
        self.findings.iter().filter(|finding| which(finding)).count()
    }

    fn json(&self) -> serde_json::Value {
        let findings: Vec<_> = self.findings.iter().map(finding_json).collect();
        let policy = self.policy.as_ref().ok();
        let unread = self.policy.as_ref().err().filter(|_| findings.is_empty());
        json!({
            "policy": self.file,
            "version": policy.map(Policy::version),
            "signed_by": self.signed.as_ref().map(|signed| signed.by.to_string()),
            "mode": policy.map(|policy| policy.mode().as_str()),
            "rules": policy.map(|policy| policy.rules().len()),
            "tests": policy.map(Policy::tests),
            "error": unread.map(ToString::to_string),
            "errors": self.count(Problem::is_error),
            "warnings": self.count(Problem::is_open_warning),
            "accepted": self.count(|finding| finding.accepted.is_some()),
            "findings": findings,
        })
    }
}

fn finding_json(finding: &Problem) -> serde_json::Value {
    json!({
        "code": finding.code.as_str(),
        "severity": finding.code.severity().as_str(),
        "line": finding.line,
        "column": finding.column,
        "width": finding.width,
        "what": finding.what.as_str(),
        "why": finding.code.why(),
        "mend": finding.mend.as_str(),
        "source": finding.source.as_str(),
        "accepted": finding.accepted.as_deref(),
    })
}

/// What `serve` would make of the settings' store and secret ([`assembly::acceptable`](crate::assembly)).
fn store_of(settings: &Settings) -> Store {
    let store = &settings.store;
    Store {
        one_for_all: store.kind != StoreKind::Embedded || store.single_instance,
        survives: store.kind != StoreKind::Memory,
        secret: settings.secret.is_some(),
    }
}
