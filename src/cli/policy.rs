//! `payonce policy`: what helps to work on policy files, one file a subcommand. Nothing is sent.

use std::io::{self, Write};
use std::path::Path;

use clap::{Args, Subcommand};

use super::{Exit, complain};
use crate::policy_file;
use crate::settings::Settings;

pub mod audit;
pub mod coverage;
pub mod diff;
pub mod replay;
pub mod schema;

/// `payonce policy`
#[derive(Args, Clone, Debug)]
pub struct Policy {
    /// What to do.
    #[command(subcommand)]
    pub action: PolicyAction,
}

impl Policy {
    /// Shown below the help.
    pub const EXAMPLES: &str = "Examples:
  payonce policy coverage --fail-on unnamed-money-moving
  payonce policy diff main.toml branch.toml --fail-on weaker,merged
  payonce policy replay --policy new.toml /var/lib/payonce/traffic.ndjson
  payonce policy audit /var/log/payonce/audit.ndjson
  payonce policy schema > policy.schema.json";
}

/// What to do with policy files.
#[derive(Clone, Debug, Subcommand)]
pub enum PolicyAction {
    /// Look through the audit log of policy loads: print it, and say where it was tampered with.
    #[command(after_help = audit::Audit::EXAMPLES)]
    Audit(audit::Audit),
    /// List every operation that Stripe has, and which rule it falls to.
    #[command(after_help = coverage::Coverage::EXAMPLES)]
    Coverage(coverage::Coverage),
    /// Say which operations change class, identity, merging between two policies, worst first.
    #[command(after_help = diff::Diff::EXAMPLES)]
    Diff(diff::Diff),
    /// Judge recorded requests anew under another policy: what would change, worst first.
    #[command(after_help = replay::Replay::EXAMPLES)]
    Replay(replay::Replay),
    /// Print the JSON Schema of policy files, for editors.
    #[command(after_help = schema::Schema::EXAMPLES)]
    Schema(schema::Schema),
}

/// Does what `policy` asks and writes the answer to `out`.
pub fn run(policy: &Policy, settings: &Settings, out: &mut impl Write) -> Exit {
    match &policy.action {
        PolicyAction::Audit(args) => audit::run(args, out),
        PolicyAction::Coverage(args) => coverage::run(args, settings, out),
        PolicyAction::Diff(args) => diff::run(args, out),
        PolicyAction::Replay(args) => replay::run(args, settings, out),
        PolicyAction::Schema(args) => written(schema::run(args, out), Exit::Done),
    }
}

/// The policy at `path`, or the shipped one, and what it is called; what is wrong with it goes to
/// standard error.
pub(super) fn policy(path: Option<&Path>) -> Result<(crate::decide::policy::Policy, String), Exit> {
    let file = path.unwrap_or(Path::new(policy_file::SHIPPED_AS));
    let read = match path {
        Some(path) => policy_file::read(path),
        None => policy_file::parse(file, policy_file::SHIPPED.as_bytes()),
    };
    read.map(|policy| (policy, file.display().to_string())).map_err(|problems| {
        complain(&problems);
        Exit::Configuration
    })
}

/// The exit that stands for what became of writing; standard error says why it failed.
fn written(result: io::Result<()>, exit: Exit) -> Exit {
    match result {
        Ok(()) => exit,
        // A pipe that its reader closed is no failure worth words.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit,
        Err(error) => {
            complain(&error);
            Exit::Failed
        }
    }
}
