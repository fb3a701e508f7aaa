//! What can be asked of `payonce ops`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

pub use self::look::{OpsExport, OpsFilter, OpsSearch, OpsWatch};

mod look;

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
  payonce ops search --request-id req_8sNcXw1zIjVm4R
  payonce ops watch --for 10m
  payonce ops resolve 5f3a… --as succeeded --object pi_123 --why 'found in the dashboard'
A running payonce is asked: where several share a Redis store, any of them knows all operations, and
only the notes of single calls (which have no record) are each one's own. The store itself is not
asked. Nothing here sends anything to Stripe, and nobody chooses a key.";
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
    /// Tell the story of one operation, and what to do next.
    #[command(
        after_help = "Examples:\n  payonce ops show 5f3a9c01\n  payonce ops show --key order-42\n  payonce ops show --key - < key.txt"
    )]
    Show(OpsShow),
    /// Find operations by what you know of them.
    #[command(after_help = OpsSearch::EXAMPLES)]
    Search(OpsSearch),
    /// Follow what opens, ends in doubt and is resolved, one line for each.
    #[command(after_help = OpsWatch::EXAMPLES)]
    Watch(OpsWatch),
    /// Say what became of an operation, or of all open ones of a rule, once you know: look at
    /// Stripe's dashboard first.
    #[command(after_help = OpsResolve::EXAMPLES)]
    Resolve(OpsResolve),
    /// Write operations as JSON, for other programs.
    #[command(after_help = OpsExport::EXAMPLES)]
    Export(OpsExport),
}

/// `payonce ops show`
#[derive(Args, Clone)]
#[group(required = true, multiple = false)]
pub struct OpsShow {
    /// The operation id, as in the Payonce-Operation-Id header and the log; or its first 8 digits or
    /// more.
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
    /// The operation id, or its first 8 digits or more.
    #[arg(value_name = "ID", required_unless_present = "rule", conflicts_with = "rule")]
    pub id: Option<String>,
    /// All open operations of this rule, 1,000 at most; what is being worked on is left alone.
    #[arg(long, value_name = "NAME", conflicts_with = "object")]
    pub rule: Option<String>,
    /// Of those, only what was last sent at least so long ago: 90s, 10m, 2h, 1d.
    #[arg(long, value_name = "TIME", conflicts_with = "id", value_parser = look::time)]
    pub older: Option<Duration>,
    /// Of those, which: what is in doubt, or what is in flight and its process gone.
    #[arg(long, value_name = "STATE", conflicts_with = "id", default_value = "in_doubt")]
    pub state: OpsOpen,
    /// Do it to the very operations that were shown, if none was touched since. Without this it is
    /// only shown what would be resolved, and what to say here, such as 3-9f2c81d0.
    #[arg(long, value_name = "SHOWN", conflicts_with_all = ["id", "yes"], value_parser = shown)]
    pub expect: Option<String>,
    /// Do it to whatever there is by then, unseen: for scripts.
    #[arg(long, conflicts_with = "id")]
    pub yes: bool,
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
  payonce ops resolve --rule charges --older 1h --as declined --by ann --why 'Stripe incident 4711'
  … the same once more, with the --expect that this prints, to do it
Succeeded: whoever asks for it again gets Stripe's saved answer for the key that payonce sent. Do not
say so of a payment that you made by other means: the key would be sent, and might make another.
Declined: it is sent when it is asked for again, with the same key, which protects you if it did
happen after all; with another one only where Stripe answers that key with a saved error 500.";
}

/// What a look calls the operations that it showed: their number and a digest.
fn shown(text: &str) -> Result<String, &'static str> {
    let digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    let hex = |text: &str| text.len() == 8 && text.bytes().all(|it| it.is_ascii_hexdigit());
    match text.split_once('-') {
        Some((number, digest)) if digits(number) && hex(digest) => Ok(text.to_ascii_lowercase()),
        Some(_) | None => Err("say what was printed with the operations, such as 3-9f2c81d0: a \
                               number alone does not tell which they are; leave --expect out to see \
                               them"),
    }
}

/// Which of a rule's open operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum OpsOpen {
    /// Sent, and nobody knows what became of it.
    InDoubt,
    /// Begun, and not ended; those whose process lives are left alone.
    InFlight,
}

/// What became of an operation at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OpsOutcome {
    /// It happened, under the key that payonce sent: asking again brings the answer.
    Succeeded,
    /// It did not happen: asking again sends it.
    Declined,
}
