//! `payonce policy`: what helps to work on policy files. One file a subcommand.

use std::io::{self, Write};
use std::path::Path;

use clap::{Args, Subcommand};

use super::Exit;
use crate::settings::Settings;

pub mod diff;
pub mod replay;

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
  payonce policy replay --policy new.toml /var/lib/payonce/traffic.ndjson";
}

/// What to do with policy files.
#[derive(Clone, Debug, Subcommand)]
pub enum PolicyAction {
    /// Say which operations change class, identity, merging between two policies, worst first.
    #[command(after_help = diff::Diff::EXAMPLES)]
    Diff(diff::Diff),
    /// Judge recorded requests anew under another policy: what would change, worst first.
    #[command(after_help = replay::Replay::EXAMPLES)]
    Replay(replay::Replay),
}

/// Does what `policy` asks and writes the answer to `out`; `load` reads the settings, where they are
/// needed.
pub fn run(
    policy: &Policy,
    load: impl FnOnce(Option<&Path>) -> Result<Settings, Exit>,
    out: &mut impl Write,
) -> Exit {
    match &policy.action {
        PolicyAction::Diff(args) => diff::run(args, out),
        PolicyAction::Replay(args) => match load(args.settings.as_deref()) {
            Ok(settings) => replay::run(args, &settings, out),
            Err(exit) => exit,
        },
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
