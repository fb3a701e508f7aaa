//! `payonce policy audit`: the audit log for people, and whether it is whole.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::PathBuf;

use clap::Args;

use crate::audit::chain::{Line, verify};
use crate::audit::{Entry, Reidentified, Word};
use crate::cli::{Exit, complain};
use crate::decide::policy::version_in;

/// `payonce policy audit`
#[derive(Args, Clone, Debug)]
pub struct Audit {
    /// The log, as in the setting `policy.audit_log`.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The SHA-256 of a line that must be in it, as payonce logged it when it wrote that line:
    /// finds a log whose end was cut off.
    #[arg(long, value_name = "SHA256")]
    pub holds: Option<String>,
}

impl Audit {
    pub(super) const EXAMPLES: &str = "Examples:
  payonce policy audit /var/log/payonce/audit.ndjson
  payonce policy audit audit.ndjson --holds 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
Exit code 1 if a line was changed, removed or put in between, or the line that --holds names is not
there. The log is not secret, and not signed: who may write it can write all of it anew.";
}

/// Looks through the log and writes what it says to `out`.
pub(super) fn run(args: &Audit, out: &mut impl Write) -> Exit {
    let log = match File::open(&args.file) {
        Ok(log) => BufReader::new(log),
        Err(error) => {
            complain(&format_args!("{} cannot be read: {error}", args.file.display()));
            return Exit::Unavailable;
        }
    };
    let wanted = args.holds.as_ref().map(|wanted| wanted.trim().to_ascii_lowercase());
    let mut seen = Seen::default();
    let sound = verify(log, |line| {
        seen.lines += 1;
        seen.wrong += usize::from(line.wrong.is_some());
        seen.found |= wanted.as_ref() == Some(&line.sha256);
        seen.last.clone_from(&line.sha256);
        out.write_all(told(line).as_bytes())
    });
    let missing = wanted.is_some() && !seen.found;
    let sound = match sound {
        Ok(sound) => sound && !missing,
        Err(error) => return super::written(Err(error), Exit::Failed),
    };
    let exit = if sound { Exit::Done } else { Exit::Failed };
    super::written(out.write_all(seen.summary(missing).as_bytes()), exit)
}

/// What was seen of a log.
#[derive(Default)]
struct Seen {
    lines: usize,
    wrong: usize,
    found: bool,
    last: String,
}

impl Seen {
    fn summary(&self, missing: bool) -> String {
        let mut text = match (self.lines, self.wrong) {
            (0, _) => "the log is empty\n".to_owned(),
            (1, 0) => "1 line\n".to_owned(),
            (lines, 0) => format!("{lines} lines, each follows the one before\n"),
            (lines, wrong) => format!("{lines} lines, {wrong} out of order\n"),
        };
        if missing {
            text.push_str("no line has the SHA-256 that --holds names: the end may be cut off\n");
        }
        if self.lines > 0 {
            writeln!(text, "the last line's SHA-256 is {}", self.last).unwrap_or_default();
        }
        text
    }
}

fn told(line: &Line) -> String {
    let mut text = String::new();
    if let Some(wrong) = &line.wrong {
        writeln!(text, "line {} {wrong}", line.number).unwrap_or_default();
    }
    if let Some(entry) = &line.entry {
        told_entry(&mut text, entry).unwrap_or_default();
    }
    text
}

fn told_entry(text: &mut String, entry: &Entry) -> std::fmt::Result {
    if let Some(word) = &entry.word {
        return told_word(text, entry, word);
    }
    let version = entry.hash.as_deref().map_or("unread", version_in);
    let (event, verdict) = (entry.event.as_str(), entry.verdict.as_str());
    write!(
        text,
        "{}  {event:<6}  {verdict:<7}  {version:<12}",
        plain(&entry.time),
        version = plain(version)
    )?;
    if let Some(previous) = entry.previous.as_deref().filter(|_| entry.previous != entry.hash) {
        write!(text, "  after {}", plain(version_in(previous)))?;
    }
    if let Some(by) = &entry.signed_by {
        write!(text, "  signed by {}", plain(by))?;
    }
    if let Some(host) = &entry.host {
        write!(text, "  on {} ({})", plain(host), entry.pid)?;
    }
    writeln!(text)?;
    if let Some(problem) = &entry.problem {
        writeln!(text, "    {}", plain(problem))?;
    }
    for change in entry.changes.iter().flatten() {
        writeln!(text, "    {}", plain(change))?;
    }
    match &entry.reidentified {
        Some(found) if found.operations() > 0 => concerned(text, found),
        Some(_) | None => Ok(()),
    }
}

fn told_word(text: &mut String, entry: &Entry, word: &Word) -> std::fmt::Result {
    let (time, verdict) = (plain(&entry.time), entry.verdict.as_str());
    let (by, why, outcome) = (plain(&word.by), plain(&word.why), plain(&word.outcome));
    writeln!(text, "{time}  resolve  {verdict}  as {outcome} by {by}: {why}")?;
    if let Some(rule) = &word.rule {
        writeln!(text, "    all that was open of rule {}", plain(rule))?;
    }
    for id in &word.operations {
        writeln!(text, "    {}", plain(id))?;
    }
    if word.not_done > 0 {
        writeln!(text, "    not written for {}", word.not_done)?;
    }
    Ok(())
}

fn concerned(text: &mut String, found: &Reidentified) -> std::fmt::Result {
    let rules: Vec<String> = found
        .rules
        .iter()
        .map(|rule| format!("{} of rule {}", rule.operations, plain(&rule.rule)))
        .collect();
    let of = if found.more { "more than " } else { "" };
    let (rules, open) = (rules.join(", "), found.open);
    writeln!(text, "    recognised otherwise: {rules}; {of}{open} operations were open")
}

/// Somebody may have written to the log what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
