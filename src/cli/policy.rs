//! `payonce policy`: what helps to work on policy files. One file a subcommand.

use std::io::{self, Write};

use clap::{Args, Subcommand};

use super::Exit;

pub mod audit;
pub mod diff;
pub mod schema;
pub mod signed;

/// `payonce policy`
#[derive(Args, Clone, Debug)]
pub struct Policy {
    /// What to do.
    #[command(subcommand)]
    pub action: PolicyAction,
}

impl Policy {
    pub(super) const EXAMPLES: &str = "Examples:
  payonce policy diff config/policy.toml new.toml
  payonce policy diff main.toml branch.toml --fail-on weaker,merged
  payonce policy schema > policy.schema.json
  payonce policy audit /var/log/payonce/audit.ndjson";
}

/// What to do with policy files.
#[derive(Clone, Debug, Subcommand)]
pub enum PolicyAction {
    /// Look through the audit log of policy loads: print it, and say where it was tampered with.
    #[command(after_help = audit::Audit::EXAMPLES)]
    Audit(audit::Audit),
    /// Print the JSON Schema of policy files, for editors.
    #[command(after_help = schema::Schema::EXAMPLES)]
    Schema(schema::Schema),
    /// Say which operations change class, identity, merging between two policies, worst first.
    #[command(after_help = diff::Diff::EXAMPLES)]
    Diff(diff::Diff),
}

/// Does what `policy` asks and writes the answer to `out`.
pub fn run(policy: &Policy, out: &mut impl Write) -> Exit {
    match &policy.action {
        PolicyAction::Audit(args) => audit::run(args, out),
        PolicyAction::Schema(args) => written(schema::run(args, out), Exit::Done),
        PolicyAction::Diff(args) => diff::run(args, out),
    }
}

/// The exit that stands for what became of writing; standard error says why it failed.
fn written(result: io::Result<()>, exit: Exit) -> Exit {
    match result {
        Ok(()) => exit,
        // A pipe that its reader closed is no failure worth words.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit,
        Err(error) => {
            eprintln!("{error}");
            Exit::Failed
        }
    }
}
