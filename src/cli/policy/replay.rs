//! `payonce policy replay`: what another policy would have made of recorded requests. What is
//! decided stands in [`traffic::replay`](crate::decide::traffic::replay); the words are here.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::cli::report::{load, print, unreadable};
use crate::cli::table::{columns, moment, plain};
use crate::cli::{Exit, complain};
use crate::decide::policy::Policy;
use crate::decide::traffic::money::{self, Sums};
use crate::decide::traffic::replay::{Change, Pair, replay};
use crate::decide::traffic::{self, Line};
use crate::policy_file;
use crate::recording::Recorded;
use crate::settings::Settings;

/// `payonce policy replay`
#[derive(Args, Clone, Debug)]
pub struct Replay {
    /// The policy to judge by.
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// The recorded requests; a file for each payonce. Otherwise the one that the settings name.
    #[arg(value_name = "RECORD")]
    pub files: Vec<PathBuf>,
    /// The settings file.
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

impl Replay {
    pub(super) const EXAMPLES: &str = "Examples:
  payonce policy replay --policy new.toml /var/lib/payonce/traffic.ndjson
  payonce policy replay --policy new.toml --settings /etc/payonce/payonce.toml --json
The file before each, traffic.ndjson.1, is read as well if it is there.";
}

/// Judges the recorded requests anew and says on `out` what would change.
pub fn run(args: &Replay, settings: &Settings, out: &mut impl Write) -> Exit {
    let policy = match policy_file::read(&args.policy) {
        Ok(policy) => policy,
        Err(problems) => {
            complain(&problems);
            return Exit::Configuration;
        }
    };
    let recorded = match load(&args.files, settings) {
        Ok(recorded) => recorded,
        Err(exit) => return exit,
    };
    let found = replay(&policy, &recorded.lines);
    let text = if args.json {
        let shown = serde_json::json!({
            "policy": policy.version(),
            "unreadable": recorded.unreadable.as_ref().map_or(0, |(lines, _)| *lines),
            "replay": found,
        });
        format!("{shown:#}\n")
    } else {
        page(args, &policy, &recorded, &found)
    };
    print(&text, out)
}

fn page(
    args: &Replay,
    policy: &Policy,
    recorded: &Recorded,
    found: &traffic::replay::Replay,
) -> String {
    let mut page = head(args, policy, &recorded.lines, found);
    if !found.groups.is_empty() {
        let mut rows = vec![
            ["CHANGE", "REQUESTS", "OPERATION", "WAS", "BECOMES", "AMOUNT"].map(str::to_owned),
        ];
        rows.extend(found.groups.iter().map(|group| {
            [
                group.change.as_str().to_owned(),
                group.requests.to_string(),
                plain(&group.request),
                plain(&group.was),
                plain(&group.becomes),
                sums(&group.sums),
            ]
        }));
        page.push('\n');
        page.push_str(&columns(&rows));
    }
    for (change, words) in [
        (Change::NoLongerMerged, "No longer one operation: the later one would be sent by itself."),
        (
            Change::NowMerged,
            "Now one operation: the later one would get the outcome of the earlier.",
        ),
    ] {
        let pairs: Vec<&Pair> = found.pairs.iter().filter(|pair| pair.change == change).collect();
        if !pairs.is_empty() {
            page.push('\n');
            page.push_str(words);
            page.push('\n');
            page.push_str(&columns(&pairs.iter().map(|pair| row(pair)).collect::<Vec<_>>()));
        }
    }
    page.push_str(&limits(recorded, found));
    page
}

fn head(args: &Replay, policy: &Policy, lines: &[Line], found: &traffic::replay::Replay) -> String {
    let mut page = String::new();
    let span = match (lines.first(), lines.last()) {
        (Some(first), Some(last)) => {
            format!(", {} to {}", moment(first.at), moment(last.at))
        }
        _ => String::new(),
    };
    let duplicates = |requests: u64, of: &Sums| match requests {
        0 => "none".to_owned(),
        _ => format!("{requests}, {}", sums(of)),
    };
    // Writing to a string cannot fail.
    writeln!(
        page,
        "{} requests{span}\njudged anew by {} (version {}): {} would change\n\n\
         suspected duplicates that it would have prevented: {}\n\
         as found when they were recorded: {}",
        found.requests,
        args.policy.display(),
        policy.version(),
        found.changed,
        duplicates(found.duplicates, &found.duplicate_sums),
        duplicates(found.recorded_duplicates, &found.recorded_sums),
    )
    .unwrap_or_default();
    page
}

fn row(pair: &Pair) -> [String; 4] {
    let amount = pair.amount.map(|it| money::show(it, pair.currency.as_deref().unwrap_or("")));
    [
        format!("  {}", plain(&pair.request)),
        format!("{} and {}", moment(pair.earlier), moment(pair.later)),
        amount.unwrap_or_else(|| "-".to_owned()),
        if pair.executed { "the later one was executed" } else { "" }.to_owned(),
    ]
}

fn sums(sums: &Sums) -> String {
    let shown = sums.show();
    if shown.is_empty() { "-".to_owned() } else { shown }
}

/// What cannot be told from a record.
fn limits(recorded: &Recorded, found: &traffic::replay::Replay) -> String {
    let mut page = String::from(
        "\nNot known: what the application would have done after another answer; rules that name a \
         single\nid, since ids are not recorded; and what ran before the record began.\n",
    );
    if found.untold > 0 {
        let words = "of these the body was not recorded, so that what they would be recognised by \
                     cannot be told";
        writeln!(page, "{} requests: {words}.", found.untold).unwrap_or_default();
    }
    page.push_str(&unreadable(recorded));
    page
}
