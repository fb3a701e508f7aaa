//! `payonce policy diff`: what changes for whom between two policy files. What it finds is
//! [`decide::policy::diff`](crate::decide::policy::diff)'s.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::page::Page;
use crate::cli::{Exit, complain};
use crate::decide::policy::Policy;
use crate::decide::policy::diff::{self, Change, Gravity, Group, Place};
use crate::policy_file;

/// Requests of one group that are listed without `--all`.
const FEW: usize = 12;
/// Columns of a change's name.
const LABEL: usize = 15;

/// `payonce policy diff`
#[derive(Args, Clone, Debug)]
pub struct Diff {
    /// The policy file as it was.
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The policy file as it would be.
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// List all requests of a change, and not only the first few.
    #[arg(long)]
    pub all: bool,
    /// End with 1 if there is such a change.
    #[arg(long, value_name = "CHANGE", value_delimiter = ',')]
    pub fail_on: Vec<FailOn>,
}

impl Diff {
    pub(super) const EXAMPLES: &str = "Examples:
  payonce policy diff config/policy.toml new.toml
  git show main:policy.toml > was.toml; payonce policy diff was.toml policy.toml --fail-on weaker,reidentified
The JSON has: old, new (file, version); summary; file (changes for all requests); groups, worst first
(gravity, requests, old and new rule, changes); reidentified (requests); cut (more overlaps than are
compared). A change has: what, old, new, gravity, reidentifies, means.";
}

/// Changes that a check can be made to fail on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Something is protected no longer.
    Unprotected,
    /// Likewise, or is protected against less.
    Weaker,
    /// Something can be merged that could not.
    Merged,
    /// Requests get another operation id.
    Reidentified,
    /// Something can be refused that could not.
    Refused,
    /// Anything changes at all.
    Any,
}

impl FailOn {
    fn applies(self, diff: &diff::Diff) -> bool {
        // What could not be compared to the end may hide it.
        diff.cut
            || match self {
                Self::Unprotected => diff.has(Gravity::Unprotected),
                Self::Weaker => diff.has(Gravity::Unprotected) || diff.has(Gravity::Weaker),
                Self::Merged => diff.has(Gravity::Merged),
                Self::Reidentified => !diff.reidentified().is_empty(),
                Self::Refused => diff.has(Gravity::Refused),
                Self::Any => !diff.is_empty(),
            }
    }
}

/// Says on `out` what changes from one file to the other; on standard error what is wrong with
/// either. [`Exit::Failed`] if `--fail-on` says so.
pub fn run(args: &Diff, out: &mut impl Write) -> Exit {
    let (old, new) = match (policy_file::read(&args.old), policy_file::read(&args.new)) {
        (Ok(old), Ok(new)) => (old, new),
        (old, new) => {
            for problems in [old.err(), new.err()].into_iter().flatten() {
                complain(&problems);
            }
            return Exit::Configuration;
        }
    };
    let diff = diff::diff(&old, &new);
    let text = if args.json { json(args, &old, &new, &diff) } else { page(args, &diff) };
    let failed = args.fail_on.iter().any(|it| it.applies(&diff));
    let exit = if failed { Exit::Failed } else { Exit::Done };
    super::written(out.write_all(text.as_bytes()).and_then(|()| out.flush()), exit)
}

#[derive(Serialize)]
struct File<'a> {
    file: &'a Path,
    version: &'a str,
}

#[derive(Serialize)]
struct Json<'a> {
    old: File<'a>,
    new: File<'a>,
    summary: String,
    file: &'a [Change],
    groups: &'a [Group],
    reidentified: &'a [diff::Requests],
    cut: bool,
}

fn json(args: &Diff, old: &Policy, new: &Policy, diff: &diff::Diff) -> String {
    let shape = Json {
        old: File { file: &args.old, version: old.version() },
        new: File { file: &args.new, version: new.version() },
        summary: diff.to_string(),
        file: &diff.file,
        groups: &diff.groups,
        reidentified: diff.reidentified(),
        cut: diff.cut,
    };
    // Texts, numbers and lists have a JSON form; a path that is no text has none.
    let text = serde_json::to_string_pretty(&shape);
    text.unwrap_or_else(|why| serde_json::json!({ "error": why.to_string() }).to_string()) + "\n"
}

fn page(args: &Diff, diff: &diff::Diff) -> String {
    let mut page = Page::default();
    for change in &diff.file {
        tell(&mut page, "", change, None);
    }
    let mut title = None;
    for group in &diff.groups {
        if title != Some(group.gravity) {
            set_apart(&mut page);
            page.line(heading(group.gravity));
            title = Some(group.gravity);
        }
        requests(&mut page, group, args.all);
        page.line(&format!("    by {} → {}", place(&group.old), place(&group.new)));
        // The line above names the rules already.
        let told = group.changes.iter().filter(|it| it.what != "rule" || group.changes.len() == 1);
        for change in told {
            tell(&mut page, "    ", change, Some(group.gravity));
        }
    }
    set_apart(&mut page);
    page.put("", 0, &diff.to_string());
    if !diff.reidentified().is_empty() {
        page.put(
            "",
            0,
            "Re-identified: what is open when the new policy takes over goes on under its older id; \
             `payonce ops list` shows what that is.",
        );
    }
    page.into_text()
}

fn set_apart(page: &mut Page) {
    if !page.is_empty() {
        page.line("");
    }
}

const fn heading(gravity: Gravity) -> &'static str {
    match gravity {
        Gravity::Unprotected => "NO LONGER PROTECTED",
        Gravity::Weaker => "WEAKER: may be done twice where it was done once",
        Gravity::Merged => "MERGED MORE: of two that are meant, one may be lost",
        Gravity::Reidentified => "RE-IDENTIFIED: the same request is another operation",
        Gravity::Refused => "REFUSED MORE",
        Gravity::Stronger => "STRONGER",
        Gravity::Renamed => "RENAMED: nothing else changes",
    }
}

fn requests(page: &mut Page, group: &Group, all: bool) {
    let shown = if all { group.requests.len() } else { FEW };
    for request in group.requests.iter().take(shown) {
        let whose =
            if request.is_published { "" } else { "   (none of Stripe's that payonce knows)" };
        page.line(&format!("  {request}{whose}"));
    }
    match group.requests.len().saturating_sub(shown) {
        0 => {}
        more => page.line(&format!("  and {more} more (--all lists them)")),
    }
}

fn place(place: &Place) -> String {
    match place.line {
        0 => format!("{} (built in)", place.rule),
        line => format!("{} (line {line})", place.rule),
    }
}

/// A change; its gravity too, where it is not that of the `title` it stands under.
fn tell(page: &mut Page, indent: &str, change: &Change, title: Option<Gravity>) {
    let width = indent.len() + LABEL;
    let label = format!("{indent}{}", change.what);
    page.put(&label, width, &format!("{} → {}", change.old, change.new));
    let known = change.gravity == Gravity::Renamed || title == Some(change.gravity);
    let gravity = if known { String::new() } else { format!("{}: ", change.gravity.as_str()) };
    page.put("", width, &format!("{gravity}{}", change.means));
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::policy::PolicyAction;
    use crate::cli::{Cli, Command};

    const OLD: &str = r#"
version = 1
[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["customer", "source"]
[[rule]]
name = "payouts"
match = ["POST /v1/payouts", "POST /v1/payouts/**", "POST /v1/transfers"]
class = "critical"
[[rule]]
name = "files"
match = ["POST /v1/files"]
class = "pass"
"#;

    const NEW: &str = r#"
version = 1
mode = "observe"
[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = ["metadata[order_id]"]
otherwise = "content"
distinguishes = ["customer"]
merge = "twins"
[[rule]]
name = "payouts"
match = ["POST /v1/payouts", "POST /v1/payouts/**"]
class = "pass"
"#;

    fn answered(old: &str, new: &str, line: &[&str]) -> (String, Exit) {
        let directory = tempfile::tempdir().unwrap();
        let (was, is) = (directory.path().join("old.toml"), directory.path().join("new.toml"));
        std::fs::write(&was, old).unwrap();
        std::fs::write(&is, new).unwrap();
        let files = [was.to_str().unwrap(), is.to_str().unwrap()];
        let line = [&["payonce", "policy", "diff"], &files[..], line].concat();
        let Command::Policy(policy) = Cli::try_parse_from(line).unwrap().command else {
            panic!("not policy")
        };
        let PolicyAction::Diff(args) = policy.action else { panic!("it is no diff") };
        let mut out = Vec::new();
        let exit = run(&args, &mut out);
        (String::from_utf8(out).unwrap(), exit)
    }

    #[test]
    fn what_is_protected_no_longer_comes_first_and_every_change_says_what_it_means() {
        let (page, exit) = answered(OLD, NEW, &[]);
        assert_eq!(exit, Exit::Done);
        insta::assert_snapshot!(page);
    }

    #[test]
    fn json_has_the_shape_that_the_help_tells() {
        let (text, exit) = answered(OLD, NEW, &["--json"]);
        assert_eq!(exit, Exit::Done);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        for key in ["old", "new", "summary", "file", "groups", "reidentified", "cut"] {
            assert!(keys.contains(&key) && Diff::EXAMPLES.contains(key), "{key} in {text}");
        }
        let group = &json["groups"][0];
        assert_eq!(group["gravity"], "unprotected");
        assert_eq!(group["requests"][0]["path"], "/v1/payouts");
        assert_eq!(group["changes"][0]["what"], "class");
        assert_eq!(group["new"]["line"], 12);
        assert_eq!(json["reidentified"][0]["path"], "/v1/charges");
    }

    #[test]
    fn it_ends_with_1_where_it_is_told_to_fail_on_what_changes() {
        let stronger = NEW.replace("mode = \"observe\"", "default_writes = \"refuse\"");
        for (old, new, fail_on, exit) in [
            (OLD, NEW, "unprotected", Exit::Failed),
            (OLD, NEW, "weaker", Exit::Failed),
            (OLD, NEW, "merged", Exit::Failed),
            (OLD, NEW, "reidentified", Exit::Failed),
            (OLD, NEW, "refused", Exit::Done),
            (OLD, &stronger, "reidentified,refused", Exit::Failed),
            (OLD, OLD, "any,weaker,reidentified", Exit::Done),
        ] {
            let (page, found) = answered(old, new, &["--fail-on", fail_on]);
            assert_eq!(found, exit, "{fail_on}\n{page}");
        }
        assert_eq!(answered(OLD, "version = 2", &[]), (String::new(), Exit::Configuration));
    }
}
