//! Who vouches for a policy, what is written down of its loads, and where its version shows.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how a test fails"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use payonce::decide::policy::hash_of;
use payonce::policy_file::signature::beside;
use payonce::policy_file::{PolicyFile, Why};
use tempfile::TempDir;

use super::running::{CHARGE, Running, get, post, run_in, until, write};

mod audit;
mod signature;

const ONE: &str = include_str!("../fixtures/signed/one.toml");
const TWO: &str = include_str!("../fixtures/signed/two.toml");
const BROKEN: &str = "version = 1\nmode = \"watch\"\n";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/signed").join(name)
}

/// The public key of that name.
fn key(name: &str) -> String {
    fs::read_to_string(fixture(name)).unwrap().lines().nth(1).unwrap().to_owned()
}

/// Puts a signed policy where payonce reads it: the policy, then its signature.
fn put(path: &Path, name: &str) {
    fs::copy(fixture(name), path).unwrap();
    sign(path, name);
}

fn sign(path: &Path, name: &str) {
    fs::copy(beside(&fixture(name)), beside(path)).unwrap();
}

fn refused(file: &PolicyFile) -> Why {
    file.status().refused.unwrap().error.why
}

#[test]
fn a_start_with_a_policy_that_nobody_vouches_for_ends_with_64_and_is_recorded() {
    let directory = Arc::new(TempDir::new().unwrap());
    let path = directory.path().join("policy.toml");
    put(&path, "one.toml");
    fs::copy(fixture("two.toml"), &path).unwrap();
    let keys = format!("{},{}", key("first.pub"), key("second.pub"));
    let env = [
        ("PAYONCE_POLICY__PATH", "policy.toml"),
        ("PAYONCE_POLICY__TRUSTED_KEYS", &keys),
        ("PAYONCE_POLICY__AUDIT_LOG", "audit.ndjson"),
        ("PAYONCE_POLICY__AUDIT_REQUIRED", "true"),
        ("PAYONCE_POLICY__REFRESH", "1s"),
    ];
    let ended = run_in(directory.path(), &["serve", "--sandbox"], &env);
    ended.failed(64, &["nobody vouches for the policy", "does not hold"]);
    assert!(!ended.err.contains("listens"), "{}", ended.err);
    let checked = run_in(directory.path(), &["check"], &env);
    assert_eq!(checked.code, Some(64), "{}", checked.out);
    sign(&path, "two.toml");
    let checked = run_in(directory.path(), &["check"], &env);
    assert_eq!(checked.code, Some(0), "{}", checked.out);
    assert!(checked.out.contains("(reviewed by two people)"), "{}", checked.out);

    let payonce = Running::serve_in(Arc::clone(&directory), &["--sandbox"], &env);
    let in_force = payonce.line("policy is in force");
    assert!(in_force.contains(&hash_of(TWO.as_bytes())) && in_force.contains("signed_by"));
    // It stands still meanwhile: on a busy machine a file can stay half written for longer than
    // payonce waits for it to settle.
    payonce.signal("STOP");
    put(&path, "one.toml");
    payonce.signal("CONT");
    let taken = format!("policy: version {}", &hash_of(ONE.as_bytes())[..12]);
    let ready = until(payonce.health(), "/readyz", |it| it.body.contains(&taken));
    assert!(!ready.body.contains("policy_refused"), "{ready:?}");
    payonce.line("the new policy recognises requests otherwise");
    payonce.signal("TERM");
    assert_eq!(payonce.ended().0, Some(0));

    let log = run_in(directory.path(), &["policy", "audit", "audit.ndjson"], &[]);
    assert_eq!(log.code, Some(0), "{}{}", log.out, log.err);
    for words in [
        "start   refused",
        "does not hold",
        "start   taken",
        "reload  taken",
        "signed by",
        "3 lines, each follows",
    ] {
        assert!(log.out.contains(words), "no {words:?} in\n{}", log.out);
    }
    let last = log.out.trim_end().rsplit(' ').next().unwrap();
    let text = fs::read_to_string(directory.path().join("audit.ndjson")).unwrap();
    let audit = |text: &str, line: &[&str]| {
        write(directory.path(), "copy.ndjson", text);
        run_in(directory.path(), &[&["policy", "audit", "copy.ndjson"], line].concat(), &[])
    };
    assert_eq!(audit(&text, &["--holds", last]).code, Some(0));
    // Without its first line; without its last.
    let without_first = audit(text.split_once('\n').unwrap().1, &[]);
    assert_eq!(without_first.code, Some(1));
    assert!(without_first.out.contains("line 1 is not the log's first line"));
    let cut = text.trim_end().rsplit_once('\n').unwrap().0;
    assert_eq!(audit(cut, &[]).code, Some(0));
    let cut = audit(cut, &["--holds", last]);
    assert!(cut.code == Some(1) && cut.out.contains("may be cut off"), "{}", cut.out);
    run_in(directory.path(), &["policy", "audit", "not-there"], &[]).failed(69, &["not-there"]);
}

#[test]
fn the_version_shows_in_answers_refusals_logs_and_metrics() {
    let directory = Arc::new(TempDir::new().unwrap());
    let text = "version = 1\n[[rule]]\nname = \"closed\"\nmatch = [\"POST /v1/transfers\"]\n\
                class = \"refuse\"\n[[rule]]\nname = \"open\"\nmatch = [\"POST /v1/files\"]\n\
                class = \"pass\"\n";
    write(directory.path(), "policy.toml", text);
    let version = &hash_of(text.as_bytes())[..12];
    let env = [("PAYONCE_POLICY__PATH", "policy.toml")];
    let payonce = Running::serve_in(directory, &["--sandbox"], &env);
    let policy = |path: &str| {
        let answer = post(payonce.proxy(), path, &[], CHARGE);
        answer.field("payonce-policy").map(str::to_owned)
    };
    assert_eq!(policy("/v1/charges").as_deref(), Some(version));
    assert_eq!(policy("/v1/transfers").as_deref(), Some(version));
    assert_eq!(policy("/v1//charges").as_deref(), Some(version));
    // What only passes through is not payonce's to mark.
    assert_eq!(policy("/v1/files"), None);
    assert_eq!(get(payonce.proxy(), "/v1/charges").field("payonce-policy"), None);
    for line in [payonce.line("\"operation\""), payonce.line("\"refused\"")] {
        assert!(line.contains(&format!("\"policy_version\":\"{version}\"")), "{line}");
    }
    let page = get(payonce.health(), "/metrics").body;
    assert!(page.contains(&format!("payonce_policy_info{{version=\"{version}\"}} 1")), "{page}");
}
