//! The guide for people who write policies: every policy in it is sound, and every command says
//! what the guide shows.
//!
//! In a `toml` block whose first line is `# NAME.toml`, that is the file's name for the commands
//! that follow; one without `version` is a part of a policy. In a `console` block `…` stands for
//! whatever is there, alone on its line for any number of lines.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how a test fails"
)]

use std::path::Path;
use std::sync::Arc;

use payonce::decide::policy::Policy;
use tempfile::TempDir;

use super::policy_schema::Schema;
use super::running::{Running, run_in, until, write};

const GUIDE: &str = include_str!("../../config/writing-the-policy.md");

/// The longest that is read: two pages.
const MOST_LINES: usize = 170;
const MOST_WORDS: usize = 1_500;

/// A block of the guide.
struct Block {
    language: &'static str,
    line: usize,
    text: String,
}

fn blocks() -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut within = false;
    for (index, line) in GUIDE.lines().enumerate() {
        match (line.strip_prefix("```"), within) {
            (Some(_), true) => within = false,
            (Some(language), false) => {
                within = true;
                blocks.push(Block { language, line: index + 1, text: String::new() });
            }
            (None, true) => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    blocks
}

/// The policy that a block is, or is a part of.
fn whole(text: &str) -> String {
    if text.lines().any(|line| line.starts_with("version = ")) {
        text.to_owned()
    } else {
        format!("version = 1\n{text}")
    }
}

#[test]
fn every_policy_of_the_guide_is_in_order() {
    let schema = Schema::compiled();
    let policies: Vec<Block> =
        blocks().into_iter().filter(|block| block.language == "toml").collect();
    assert!(policies.len() >= 3);
    for block in policies {
        let text = whole(&block.text);
        if let Err(problems) = Policy::parse(&text) {
            panic!("line {}: {problems:?}\n{text}", block.line);
        }
        assert_eq!(schema.refuses(&text), None, "line {}", block.line);
    }
}

#[test]
fn every_command_of_the_guide_says_what_it_shows() {
    let directory = Arc::new(TempDir::new().unwrap());
    write_files(directory.path());
    make_audit_log(&directory);
    let mut commands = 0;
    for block in blocks().into_iter().filter(|block| block.language == "console") {
        let mut parts = block.text.split("$ payonce ");
        assert_eq!(parts.next(), Some(""), "line {}: it begins with a command", block.line);
        for part in parts {
            let (command, shown) = part.split_once('\n').unwrap();
            let ended = run_in(directory.path(), &words(command), &[]);
            assert!(ended.err.is_empty(), "{command}: {}", ended.err);
            let (shown, said): (Vec<_>, Vec<_>) =
                (shown.lines().collect(), ended.out.lines().map(str::trim_end).collect());
            assert!(
                same(&shown, &said),
                "{command} says\n{}\nnot\n{}",
                ended.out,
                shown.join("\n")
            );
            commands += 1;
        }
    }
    assert!(commands >= 3);
}

#[test]
fn the_guide_is_two_pages_at_most() {
    assert!(GUIDE.lines().count() <= MOST_LINES);
    let words = GUIDE.split_whitespace().count();
    assert!(words <= MOST_WORDS, "{words} words");
    // What is in no block that is run is none of an example.
    assert!(blocks().iter().all(|block| ["toml", "console"].contains(&block.language)));
}

/// The files that the guide's commands name, from its own blocks.
fn write_files(directory: &Path) {
    for block in blocks().into_iter().filter(|block| block.language == "toml") {
        let name = block.text.lines().next().and_then(|line| line.strip_prefix("# "));
        if let Some(name) =
            name.filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "toml"))
        {
            write(directory, name, &block.text);
        }
    }
}

/// The log of a payonce that starts, and then refuses a change.
fn make_audit_log(directory: &Arc<TempDir>) {
    let live = write(directory.path(), "live.toml", "version = 1\n");
    let env = [
        ("PAYONCE_POLICY__PATH", "live.toml"),
        ("PAYONCE_POLICY__REFRESH", "1s"),
        ("PAYONCE_POLICY__AUDIT_LOG", "audit.ndjson"),
    ];
    let payonce = Running::serve_in(Arc::clone(directory), &["--sandbox"], &env);
    std::fs::write(live, "version = 1\nmode = \"watch\"\n").unwrap();
    until(payonce.health(), "/readyz", |it| it.body.contains("policy_refused"));
}

/// Splits a command as a shell does, as far as the guide needs it.
fn words(command: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (index, part) in command.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part);
        } else {
            words.extend(part.split_whitespace());
        }
    }
    words
}

/// Whether lines are as shown.
fn same(shown: &[&str], said: &[&str]) -> bool {
    match shown.split_first() {
        None => said.is_empty(),
        Some((&"…", rest)) => (0..=said.len()).any(|skipped| same(rest, &said[skipped..])),
        Some((line, rest)) => said
            .split_first()
            .is_some_and(|(first, others)| like(line, first) && same(rest, others)),
    }
}

/// Whether a line is as shown.
fn like(shown: &str, said: &str) -> bool {
    match shown.split_once('…') {
        None => shown == said,
        Some((before, after)) => said.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| like(after, &rest[at..]))
        }),
    }
}

#[test]
fn what_is_shown_must_be_said_and_nothing_else() {
    assert!(same(&["a …", "…", "z"], &["a b", "c", "d", "z"]));
    assert!(same(&["a…c"], &["abc"]) && same(&["…"], &[]));
    assert!(!same(&["a"], &["a", "b"]) && !same(&["a", "b"], &["a"]) && !same(&["a …"], &["b c"]));
}
