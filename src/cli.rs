//! The command line: what can be asked of payonce. What is then done stands elsewhere; of the
//! commands, only those that need nothing else of payonce live here.

pub mod check;
pub mod clients;
pub mod explain;
pub mod health;
pub mod keygen;
pub mod ops;
mod page;
pub mod policy;
pub mod report;
pub mod serve;
mod table;
pub mod webhook;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use http::{HeaderName, HeaderValue, Method};

pub use self::clients::Clients;
pub use self::ops::{Ops, OpsAction, OpsOutcome, OpsResolve, OpsShow};
pub use self::policy::Policy;
pub use self::report::Report;

const CODES: &str = "Exit codes:
  0    done
  1    not done; standard error says why
  2    the command line is wrong
  64   the settings or the policy are wrong; nothing was started
  69   what was asked is not there: no payonce answers, a port is taken
  70   payonce failed by a mistake of its own
  75   it is not known whether it was done: look before you ask for it again
  130  ended before all was answered (a second signal, or the drain's time): that is in doubt";

/// Makes every Stripe operation happen once.
///
/// payonce stands between an application and api.stripe.com. Set the SDK's API base to payonce's
/// address and change nothing else; `payonce demo` shows what that is good for.
#[derive(Debug, Parser)]
#[command(name = "payonce", version, after_help = CODES, propagate_version = true)]
pub struct Cli {
    /// What is asked.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked of payonce.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the proxy.
    #[command(after_help = Serve::EXAMPLES)]
    Serve(Serve),
    /// Run a simulated Stripe, to develop and test against.
    #[command(after_help = Sandbox::EXAMPLES)]
    Sandbox(Sandbox),
    /// Play a faulty day twice, straight to a simulated Stripe and through payonce, and compare.
    #[command(after_help = Demo::EXAMPLES)]
    Demo(Demo),
    /// Check a policy file and run the tests in it.
    #[command(after_help = Check::EXAMPLES)]
    Check(Check),
    /// Say how a request would be judged, and why. Nothing is sent.
    #[command(after_help = Explain::EXAMPLES)]
    Explain(Explain),
    /// Work on policy files: what they make of Stripe's operations and of recorded requests.
    #[command(after_help = Policy::EXAMPLES)]
    Policy(Policy),
    /// Add up what was recorded: suspected duplicates, by operation and caller, with amounts.
    #[command(after_help = Report::EXAMPLES)]
    Report(Report),
    /// Make a secret for the settings.
    #[command(after_help = Keygen::EXAMPLES)]
    Keygen(Keygen),
    /// See and resolve operations whose outcome is not known, in a running payonce.
    #[command(after_help = Ops::EXAMPLES)]
    Ops(Ops),
    /// See which SDKs a running payonce was asked by, how old they are and what they do wrong.
    #[command(after_help = Clients::EXAMPLES)]
    Clients(Clients),
    /// Ask a running payonce whether it is ready, or alive: for probes.
    #[command(after_help = health::Health::EXAMPLES)]
    Health(health::Health),
    /// Make and check the signatures of Stripe's webhooks.
    #[command(after_help = webhook::Webhook::EXAMPLES)]
    Webhook(webhook::Webhook),
}

/// `payonce serve`
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// The settings file; config/payonce.toml lists all settings. Variables such as
    /// `PAYONCE_RETRY__DEADLINE=60s` win over it.
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Send everything to a simulated Stripe inside this process instead of the real one.
    #[arg(long)]
    pub sandbox: bool,
}

impl Serve {
    const EXAMPLES: &str = "Examples:
  payonce serve --sandbox
  payonce serve --settings /etc/payonce/payonce.toml
Then, in the application: stripe.api_base = \"http://127.0.0.1:8420\"";
}

/// `payonce sandbox`
#[derive(Args, Clone, Debug)]
pub struct Sandbox {
    /// The address to listen on.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:12111")]
    pub listen: SocketAddr,
    /// Makes ids and random faults repeat.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
}

impl Sandbox {
    const EXAMPLES: &str = "Examples:
  payonce sandbox
  curl http://127.0.0.1:12111/v1/charges -u sk_test_x: -d amount=500 -d currency=usd -d source=tok_visa
  curl http://127.0.0.1:12111/_sandbox/effects";
}

/// `payonce demo`
#[derive(Args, Clone, Debug)]
pub struct Demo {
    /// The same number gives the same day.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// How many operations the application intends.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub operations: u32,
}

impl Demo {
    const EXAMPLES: &str = "Example:
  payonce demo --seed 7";
}

/// `payonce check`
#[derive(Args, Clone, Debug, Default)]
pub struct Check {
    /// The policy file; otherwise the one that the settings name, or the shipped one.
    #[arg(value_name = "POLICY")]
    pub policy: Option<PathBuf>,
    /// The settings file, which is checked too: whether its store goes with the policy.
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Exit with 1 if there is a warning that the file does not accept.
    #[arg(long)]
    pub strict: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// List what can be found, and why each matters, instead of checking.
    #[arg(long)]
    pub codes: bool,
}

impl Check {
    const EXAMPLES: &str = "Examples:
  payonce check config/policy.toml
  payonce check --strict --settings /etc/payonce/payonce.toml
Errors (exit code 64) keep payonce from taking the policy; warnings do not. A rule accepts one of its
warnings with a reason: allow = [\"twins-on-batch: the job never sends two equal lines\"]";
}

/// `payonce explain`
#[derive(Args, Clone, Debug)]
pub struct Explain {
    /// Method and path, as in 'POST /v1/charges'.
    #[arg(value_name = "REQUEST", required_unless_present_any = ["curl", "har"],
          conflicts_with_all = ["curl", "har"])]
    pub request: Option<RequestLine>,
    /// A curl command, in quotes, as Stripe's documentation has it.
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["har", "data"])]
    pub curl: Option<CurlCommand>,
    /// A recording (HTTP Archive) of a browser or proxy: every request in it that writes.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub har: Option<PathBuf>,
    /// Also ask the payonce that runs with these settings what would happen now. Nothing is changed.
    #[arg(long)]
    pub ask: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// A form field, name=value; or one whole JSON body, for /v2 paths. As often as needed.
    #[arg(short = 'd', long = "data", value_name = "NAME=VALUE")]
    pub data: Vec<String>,
    /// A header field, 'Name: value'; it wins over one of a curl command or recording. As often as
    /// needed.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    pub headers: Vec<HeaderField>,
    /// The policy file; otherwise the one that the settings name, or the shipped one.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The settings file.
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
}

impl Explain {
    const EXAMPLES: &str = "Examples:
  payonce explain 'POST /v1/charges' -d amount=500 -d currency=usd -d customer=cus_1
  payonce explain 'POST /v1/refunds' -d charge=ch_1 -H 'Idempotency-Key: order-42-refund'
  payonce explain --curl 'curl https://api.stripe.com/v1/charges -u sk_test_x: -d amount=500'
  payonce explain --har checkout.har --json
  payonce explain 'POST /v1/charges' -d customer=cus_1 -H 'Authorization: Bearer sk_test_x' --ask
The JSON has: policy (file, version, mode); requests (request, rule, passed_over, did_you_mean, notes,
refused, body, client_key, identity, finish_ms, operation_id, upstream_key, now); left_out. No value of a field
and no key of the application's is in it.";
}

/// A curl command, as typed. `Debug` does not show it: it may hold an API key.
#[derive(Clone)]
pub struct CurlCommand(pub String);

impl FromStr for CurlCommand {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for CurlCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CurlCommand({} bytes)", self.0.len())
    }
}

/// `payonce keygen`
#[derive(Args, Clone, Debug)]
pub struct Keygen {}

impl Keygen {
    const EXAMPLES: &str = "Example:
  (umask 077; payonce keygen > /run/secrets/payonce)
  and in the settings: [secret] file = \"/run/secrets/payonce\"
Every payonce of one application needs the same secret, and keeps it: with another one, an operation
that is asked for again across the change is taken for a new one.";
}

/// Method and path, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine {
    /// The method.
    pub method: Method,
    /// Path and query, unchanged.
    pub target: String,
}

impl FromStr for RequestLine {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write method and path, as in 'POST /v1/charges'";
        let (method, target) = text.trim().split_once(' ').ok_or(FORM)?;
        let target = target.trim();
        let upper = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        match method.parse() {
            Ok(method) if upper && target.starts_with('/') && !target.contains(' ') => {
                Ok(Self { method, target: target.to_owned() })
            }
            Ok(_) | Err(_) => Err(FORM),
        }
    }
}

/// A header field, as typed. `Debug` shows no value: it may be an API key.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderField {
    /// The field's name.
    pub name: HeaderName,
    /// Its value.
    pub value: HeaderValue,
}

impl FromStr for HeaderField {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write name and value, as in 'Idempotency-Key: order-42'";
        let (name, value) = text.split_once(':').ok_or(FORM)?;
        match (name.trim().parse(), value.trim().parse()) {
            (Ok(name), Ok(value)) => Ok(Self { name, value }),
            (Err(_), _) | (_, Err(_)) => Err(FORM),
        }
    }
}

impl fmt::Debug for HeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ({} bytes)", self.name, self.value.len())
    }
}

/// How a command ended: what the process's exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked is done.
    Done,
    /// It is not, and standard error says why.
    Failed,
    /// The command line is wrong (clap exits with this by itself).
    Usage,
    /// Settings or policy are wrong; nothing was started.
    Configuration,
    /// What is needed is not there: no payonce to ask, a port that is taken.
    Unavailable,
    /// A mistake of payonce's own.
    Bug,
    /// It is not known whether what was asked is done.
    Unknown,
    /// A second signal ended it at once.
    Interrupted,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Configuration => 64,
            Self::Unavailable => 69,
            Self::Bug => 70,
            Self::Unknown => 75,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests;
