//! `payonce policy`: tools for whoever writes the policy. Each has a file of its own.

use clap::{Args, Subcommand};

pub mod replay;

use replay::Replay;

/// `payonce policy`
#[derive(Args, Clone, Debug)]
pub struct Policy {
    /// What to do.
    #[command(subcommand)]
    pub action: PolicyAction,
}

impl Policy {
    pub(super) const EXAMPLES: &str = "Examples:
  payonce policy replay --policy new.toml /var/lib/payonce/traffic.ndjson";
}

/// What can be done with a policy.
#[derive(Clone, Debug, Subcommand)]
pub enum PolicyAction {
    /// Judge recorded requests anew under another policy: what would change, worst first.
    #[command(after_help = Replay::EXAMPLES)]
    Replay(Replay),
}
