//! What can be asked of `payonce ops`.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `payonce ops`
#[derive(Args, Clone, Debug)]
pub struct Ops {
    /// The settings file of the payonce to ask: its port and token are found there.
    #[arg(long, value_name = "FILE", global = true)]
    pub settings: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub action: OpsAction,
}

impl Ops {
    pub(crate) const EXAMPLES: &str = "Examples:
  payonce ops list
  payonce ops show --key order-42
  payonce ops resolve 5f3a… --as succeeded --object pi_123 --why 'found in the dashboard'";
}

/// What to do with operations.
#[derive(Clone, Debug, Subcommand)]
pub enum OpsAction {
    /// List what is open: in flight, or sent with an outcome that is not known.
    #[command(after_help = "Example:\n  payonce ops list --limit 20")]
    List {
        /// At most so many.
        #[arg(long, value_name = "NUMBER", default_value_t = 100,
              value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show all that is known of one operation.
    #[command(
        after_help = "Examples:\n  payonce ops show 5f3a…\n  payonce ops show --key order-42\n  payonce ops show --key - < key.txt"
    )]
    Show(OpsShow),
    /// Say what became of an operation, once you know: look at Stripe's dashboard first.
    #[command(after_help = OpsResolve::EXAMPLES)]
    Resolve(OpsResolve),
}

/// `payonce ops show`
#[derive(Args, Clone)]
#[group(required = true, multiple = false)]
pub struct OpsShow {
    /// The operation id, as in the Payonce-Operation-Id header and the log.
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// The idempotency key it was asked for or sent with; "-" reads it from standard input, so
    /// that no other user of the machine sees it.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
}

impl fmt::Debug for OpsShow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map(String::len);
        f.debug_struct("OpsShow").field("id", &self.id).field("key_bytes", &key).finish()
    }
}

/// `payonce ops resolve`
#[derive(Args, Clone, Debug)]
pub struct OpsResolve {
    /// The operation id.
    #[arg(value_name = "ID")]
    pub id: String,
    /// What became of it at the provider.
    #[arg(long = "as", value_name = "OUTCOME")]
    pub outcome: OpsOutcome,
    /// The object that it made, such as `pi_123`.
    #[arg(long, value_name = "OBJECT")]
    pub object: Option<String>,
    /// How you know. Kept with the operation and logged.
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// Who you are; otherwise the name that you are logged in by.
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

impl OpsResolve {
    pub(crate) const EXAMPLES: &str = "Examples:
  payonce ops resolve 5f3a… --as succeeded --object pi_123 --why 'found in the dashboard'
  payonce ops resolve 5f3a… --as declined --why 'no payment of that amount, asked Stripe support'
Succeeded: whoever asks for it again gets Stripe's saved answer for the key that payonce sent. Do not
say so of a payment that you made by other means: the key would be sent, and might make another.
Declined: it is sent when it is asked for again, with the same key, which protects you if it did
happen after all; with another one only where Stripe answers that key with a saved error 500.";
}

/// What became of an operation at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OpsOutcome {
    /// It happened, under the key that payonce sent: asking again brings the answer.
    Succeeded,
    /// It did not happen: asking again sends it.
    Declined,
}
