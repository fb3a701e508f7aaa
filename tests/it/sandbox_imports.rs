//! The oracle must not agree with payonce by construction: it shares no code with what decides.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// What a source file takes from the crate beyond `crate::clock`, and where it names `decide`.
fn foreign(text: &str) -> Vec<String> {
    let clock = |rest: &str| rest.starts_with("clock::") || rest.starts_with("clock;");
    let shares = |line: &str| {
        let imports = line.split("crate::").skip(1).any(|rest| !clock(rest));
        let payonce = line.contains("payonce::");
        let decides = line.contains("decide::") || line.contains("decide;");
        imports || payonce || decides
    };
    text.lines().filter(|line| shares(line)).map(str::to_owned).collect()
}

#[test]
fn the_sandbox_takes_nothing_from_payonce_but_the_clock() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![src.join("sandbox.rs")];
    sources(&src.join("sandbox"), &mut files);
    assert!(files.len() > 20, "only {} files were found", files.len());
    for file in files {
        let found = foreign(&fs::read_to_string(&file).unwrap());
        assert!(found.is_empty(), "{}: {found:?}", file.display());
    }
}

#[test]
fn an_import_from_the_deciding_code_would_be_seen() {
    for line in [
        "use crate::decide::canonical::read;",
        "use crate::{clock::Clock, decide};",
        "use super::super::decide::key;",
        "use payonce::decide::key;",
        "let id = crate::ledger::RecordId::default();",
    ] {
        assert_eq!(foreign(line).len(), 1, "{line}");
    }
    assert!(foreign("use crate::clock::{Clock, Timestamp};").is_empty());
}
