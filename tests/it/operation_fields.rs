//! The table of fields that `payonce check` judges a policy by.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::process::Command;

#[test]
fn the_table_of_fields_is_what_the_published_sdk_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = root.join("tests/.tools/python-newest");
    let made = Command::new(tools.join("bin/python"))
        .arg(root.join("config/operation-fields.py"))
        .arg(&tools)
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{why}");
    let kept = std::fs::read_to_string(root.join("config/operation-fields.tsv")).unwrap();
    // Too long to show, and what differs is easily seen by running the script.
    let same = kept == String::from_utf8_lossy(&made.stdout);
    assert!(same, "run config/operation-fields.py again: its answer is another one");
}
