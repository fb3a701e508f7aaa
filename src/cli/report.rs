//! `payonce report`: what some days of recorded traffic add up to. What is counted stands in
//! [`traffic::report`](crate::decide::traffic::report); the words are here.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::table::{columns, moment, plain};
use super::{Exit, complain};
use crate::clock::Timestamp;
use crate::decide::observe::Finding;
use crate::decide::traffic::money::Sums;
use crate::decide::traffic::report::{self, Count};
use crate::recording::Recorded;
use crate::settings::Settings;

/// `payonce report`
#[derive(Args, Clone, Debug)]
pub struct Report {
    /// How many days back.
    #[arg(long, value_name = "NUMBER", default_value_t = 7,
          value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// The recorded requests; once for each payonce. Otherwise the file that the settings name.
    #[arg(long = "file", value_name = "RECORD")]
    pub files: Vec<PathBuf>,
    /// The settings file.
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

impl Report {
    pub(super) const EXAMPLES: &str = "Examples:
  payonce report --settings /etc/payonce/payonce.toml
  payonce report --days 30 --file pod-1/traffic.ndjson --file pod-2/traffic.ndjson --json
The policy must say record = \"decisions\", and the settings where: [record] path. With mode =
\"observe\" nothing is changed, and what payonce would have kept to once is counted.";
}

/// Adds up what was recorded in the days before `now`, and says it on `out`.
pub fn run(args: &Report, settings: &Settings, now: Timestamp, out: &mut impl Write) -> Exit {
    let recorded = match load(&args.files, settings) {
        Ok(recorded) => recorded,
        Err(exit) => return exit,
    };
    let since = now.minus(Duration::from_hours(24).saturating_mul(args.days));
    let found = report::Report::of(&recorded.lines, since);
    let text = if args.json {
        let shown = serde_json::json!({
            "days": args.days,
            "since": since,
            "unreadable": recorded.unreadable.as_ref().map_or(0, |(lines, _)| *lines),
            "report": found,
        });
        format!("{shown:#}\n")
    } else {
        page(args.days, &recorded, since, &found)
    };
    print(&text, out)
}

/// What stands in `files`, or else in the file of the settings; else what is wrong, on standard
/// error.
pub(super) fn load(files: &[PathBuf], settings: &Settings) -> Result<Recorded, Exit> {
    let named = if files.is_empty() { settings.record.path.as_slice() } else { files };
    if named.is_empty() {
        complain(&"name the recorded file, or a settings file with record.path (--settings)");
        return Err(Exit::Usage);
    }
    let mut recorded = Recorded::default();
    for path in named {
        if let Err(error) = recorded.add(path) {
            complain(&format_args!("{}: {error}", path.display()));
            return Err(Exit::Unavailable);
        }
    }
    Ok(recorded)
}

/// Writes `text` to `out`.
pub(super) fn print(text: &str, out: &mut impl Write) -> Exit {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done,
        // A pipe that its reader closed is no failure worth words.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            complain(&error);
            Exit::Failed
        }
    }
}

/// A sentence on lines that could not be read, if there are any.
pub(super) fn unreadable(recorded: &Recorded) -> String {
    match &recorded.unreadable {
        Some((lines, why)) => format!("{lines} line(s) could not be read: {why}.\n"),
        None => String::new(),
    }
}

fn page(days: u32, recorded: &Recorded, since: Timestamp, found: &report::Report) -> String {
    let mut page = format!("{}\n", headline(days, found));
    if !found.rows.is_empty() {
        let head = ["OPERATION", "RULE", "CALLER", "REQUESTS", "AMOUNT"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(found.rows.iter().map(|row| {
            [
                plain(&row.operation),
                plain(&row.rule),
                plain(row.caller.as_deref().unwrap_or("-")),
                row.count.requests.to_string(),
                amount(&row.count.sums),
            ]
        }));
        page.push('\n');
        page.push_str(&columns(&rows));
    }
    page.push('\n');
    page.push_str(&others(found));
    page.push('\n');
    page.push_str(&unknown(recorded, since, found));
    page
}

/// `last 7 days: 14 suspected duplicate charges, 3,210.00 EUR, 11 of them from payments-worker`
fn headline(days: u32, found: &report::Report) -> String {
    let last = if days == 1 { "last day".to_owned() } else { format!("last {days} days") };
    let Count { requests, sums } = &found.duplicates;
    if *requests == 0 {
        return format!("{last}: no suspected duplicates in {} critical requests", found.critical);
    }
    let mut line = format!("{last}: {requests} suspected duplicate {}", found.noun());
    if !sums.show().is_empty() {
        write!(line, ", {}", sums.show()).unwrap_or_default();
    }
    if sums.without_amount() > 0 && !sums.show().is_empty() {
        write!(line, " and {} without an amount", sums.without_amount()).unwrap_or_default();
    }
    if let Some((caller, most)) = found.callers.first() {
        write!(line, ", {most} of them from {}", plain(caller)).unwrap_or_default();
    }
    line
}

fn others(found: &report::Report) -> String {
    let count = |finding| found.findings.get(&finding).map_or(0, |count| count.requests);
    let lines = [
        (found.requests, "requests recorded"),
        (found.critical, "of them critical by the policy"),
        (found.observed, "of these observed only, and sent as they came"),
        (found.keyless, "critical requests without an Idempotency-Key"),
        (found.merged.requests, "answered with the outcome of another, where payonce acted"),
        (count(Finding::Conflict), "conflicts: a name or key used again with other content"),
        (count(Finding::Refused), "that the policy would refuse"),
        (count(Finding::Retry), "retries that the application made itself, without harm seen"),
        (count(Finding::SameKey), "asked again with the same key, which Stripe recognises"),
        (count(Finding::Repeat), "the same again after a delivered success: taken as intended"),
    ];
    let rows: Vec<[String; 2]> =
        lines.iter().map(|(count, words)| [format!("{count:>8}"), (*words).to_owned()]).collect();
    columns(&rows)
}

/// What the numbers do not say.
fn unknown(recorded: &Recorded, since: Timestamp, found: &report::Report) -> String {
    let mut text = String::from("What this cannot know:\n");
    let mut say = |words: String| {
        text.push_str("- ");
        text.push_str(&words);
        text.push('\n');
    };
    match found.first {
        None => say("anything of these days: nothing is recorded of them".to_owned()),
        Some(first) if first > since.plus(Duration::from_hours(24)).as_millis() => {
            say(format!("what was before {}, when the record begins", moment(first)));
        }
        Some(_) => {}
    }
    say("a duplicate whose first request went through another payonce, came before this one's \
         start, or\n  more than a day before: each process remembers by itself. `payonce policy \
         replay` looks across\n  the files of all that it is given"
        .to_owned());
    if found.by_call > 0 {
        say(format!(
            "duplicates among {} requests that the policy recognises by the call alone",
            found.by_call
        ));
    }
    if found.unread > 0 {
        say(format!("what {} requests said: their bodies were not read", found.unread));
    }
    if found.after_unknown > 0 {
        say(format!(
            "whether the first of {} pairs happened: its outcome was never learnt",
            found.after_unknown
        ));
    }
    say("whether a second payment was meant, or an answer that arrived was kept: ask whoever \
         called"
        .to_owned());
    text.push_str(&unreadable(recorded));
    text
}

/// `3,210.00 EUR`, or `-`.
fn amount(sums: &Sums) -> String {
    let shown = sums.show();
    if shown.is_empty() { "-".to_owned() } else { shown }
}
