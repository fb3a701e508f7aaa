//! `payonce policy`: what a policy makes of all that Stripe has. Nothing is sent.

use std::path::Path;

use clap::{Args, Subcommand};

use super::Exit;
use crate::policy_file;

pub mod coverage;

use coverage::Coverage;

/// `payonce policy`
#[derive(Args, Clone, Debug)]
pub struct Policy {
    /// What is asked.
    #[command(subcommand)]
    pub action: PolicyAction,
}

impl Policy {
    /// Shown below the help.
    pub const EXAMPLES: &str = "Example:
  payonce policy coverage --fail-on unnamed-money-moving";
}

/// What can be asked of a policy.
#[derive(Clone, Debug, Subcommand)]
pub enum PolicyAction {
    /// List every operation that Stripe has, and which rule it falls to.
    #[command(after_help = Coverage::EXAMPLES)]
    Coverage(Coverage),
}

/// The policy at `path`, or the shipped one, and what it is called; what is wrong with it goes to
/// standard error.
pub(super) fn policy(path: Option<&Path>) -> Result<(crate::decide::policy::Policy, String), Exit> {
    let file = path.unwrap_or(Path::new(policy_file::SHIPPED_NAME));
    let read = match path {
        Some(path) => policy_file::read(path),
        None => policy_file::parse(file, policy_file::SHIPPED.as_bytes()),
    };
    read.map(|policy| (policy, file.display().to_string())).map_err(|problems| {
        eprintln!("{problems}");
        Exit::Configuration
    })
}
