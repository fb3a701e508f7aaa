//! What can be asked of `payonce ops` without changing anything: search, watch, export.

use std::fmt;
use std::time::Duration;

use clap::Args;

use crate::admin::State;
use crate::settings::{read_duration, show_duration};

/// What is known of operations.
#[derive(Args, Clone, Default)]
pub struct OpsFilter {
    /// The first digits of the operation id, 8 at least; all 64 find it whether it is open or not.
    #[arg(long, value_name = "DIGITS")]
    pub id: Option<String>,
    /// The idempotency key it was asked for or sent with; "-" reads it from standard input, so
    /// that no other user of the machine sees it.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Stripe's `Request-Id` of one of its answers.
    #[arg(long, value_name = "REQ")]
    pub request_id: Option<String>,
    /// What it made, or is about: `pi_123`.
    #[arg(long, value_name = "OBJECT")]
    pub object: Option<String>,
    /// Who asked: Payonce-Caller, or the application that its SDK names.
    #[arg(long, value_name = "NAME")]
    pub caller: Option<String>,
    /// The policy's rule.
    #[arg(long, value_name = "NAME")]
    pub rule: Option<String>,
    /// What is known of its outcome: `in_flight`, `in_doubt`, `succeeded` or `declined`.
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub state: Option<State>,
    /// First sent at least so long ago, the age that alerts go by: 90s, 10m, 2h, 1d.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub older: Option<Duration>,
    /// Only what is open.
    #[arg(long)]
    pub open: bool,
}

impl fmt::Debug for OpsFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, key, request_id, object, caller, rule, state, older, open } = self;
        let key = key.as_ref().map(String::len);
        let said = (id, request_id, object, caller, rule, state, older, open);
        write!(f, "OpsFilter({said:?}, a key of {key:?} bytes)")
    }
}

/// `payonce ops list`
#[derive(Args, Clone, Debug)]
pub struct OpsList {
    /// At most so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Only what is in this state: `in_flight` or `in_doubt`.
    #[arg(long, value_name = "STATE", value_parser = open_state)]
    pub state: Option<State>,
    /// Only what is of this rule of the policy.
    #[arg(long, value_name = "NAME")]
    pub rule: Option<String>,
}

/// `payonce ops search`
#[derive(Args, Clone, Debug)]
pub struct OpsSearch {
    /// What is known of them: all of it must be so.
    #[command(flatten)]
    pub filter: OpsFilter,
    /// At most so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

impl OpsSearch {
    pub(super) const EXAMPLES: &str = "Examples:
  payonce ops search --object pi_123
  payonce ops search --key - < key.txt
  payonce ops search --rule charges --state in_doubt --older 10m
Any operation of the store is found by its whole id, a key, and a Request-Id or object (of several,
the one last written). By anything else, what is open is found (1,000 at most are looked through),
and what this payonce handled lately (8,192 at most, for a day).";
}

/// `payonce ops watch`
#[derive(Args, Clone, Debug)]
pub struct OpsWatch {
    /// Stop after this time; otherwise at Ctrl-C.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub time: Option<Duration>,
    /// How often payonce is asked.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = pause)]
    pub every: Duration,
    /// Tell of operations in flight at once, and not only after 10 seconds: most end by then.
    #[arg(long)]
    pub all: bool,
}

impl OpsWatch {
    pub(super) const EXAMPLES: &str = "Examples:
  payonce ops watch
  payonce ops watch --for 10m --json | jq -c 'select(.change == \"in_doubt\") | .operation'
With --json one object a line: at (ms), change (already, in_flight, in_doubt, succeeded, declined,
gone, unreachable, reachable), operation or operation_id, why. What opens and ends between two looks
is not seen; 1,000 operations at most are followed.";
}

/// `payonce ops export`
#[derive(Args, Clone, Debug)]
pub struct OpsExport {
    /// What is known of them: all of it must be so.
    #[command(flatten)]
    pub filter: OpsFilter,
    /// One operation a line, without anything around.
    #[arg(long, conflicts_with = "schema")]
    pub lines: bool,
    /// Print the JSON Schema of what is exported instead.
    #[arg(long)]
    pub schema: bool,
}

impl OpsExport {
    pub(super) const EXAMPLES: &str = "Examples:
  payonce ops export --open > open.json
  payonce ops export --rule charges --state in_doubt --lines | jq -r .operation_id
  payonce ops export --schema
What is found as by `payonce ops search`, 1,000 at most. No key, no body and no secret is in it; times
are milliseconds since 1970.";
}

/// `90s`, `10m`, `2h`, `1d`
pub(super) fn time(text: &str) -> Result<Duration, String> {
    read_duration(text).ok_or_else(|| "write a number and a unit: 90s, 10m, 2h, 1d".to_owned())
}

/// Between two questions.
fn pause(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_millis(100);
    time(text).and_then(|pause| {
        if pause >= LEAST { Ok(pause) } else { Err(format!("at least {}", show_duration(LEAST))) }
    })
}

fn state(text: &str) -> Result<State, String> {
    let found = State::ALL.into_iter().find(|state| state.name() == text);
    found.ok_or_else(|| format!("one of {}", State::ALL.map(State::name).join(", ")))
}

fn open_state(text: &str) -> Result<State, String> {
    let open = || State::ALL.into_iter().filter(|state| state.is_open());
    let found = open().find(|state| state.name() == text);
    found
        .ok_or_else(|| format!("one of {}", open().map(State::name).collect::<Vec<_>>().join(", ")))
}
