//! The commands that need no running payonce, as processes.
#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

use payonce::policy_file::SHIPPED;

use super::running::{run, run_in, write};

const KEY: &str = "Authorization: Bearer sk_test_explained_to_nobody";

fn explained(line: &[&str]) -> String {
    let ended = run(&[&["explain"], line].concat(), &[]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    // What is said, whatever the width.
    ended.out.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn explain_says_how_a_charge_is_recognised_and_with_which_key_it_is_sent() {
    let line = ["POST /v1/charges", "-d", "amount=500", "-d", "customer=cus_1", "-H", KEY];
    let page = explained(&line);
    for words in [
        "rule charges, line ",
        "class critical",
        "distinguish present: customer; absent: source, card",
        "other amount (3 bytes)",
        "client key none",
        "identity content: everything it says, for it bears customer",
        "not own_key: no Idempotency-Key",
        "merged twins:",
        "answered within the last 30s",
        "derived: occurrence 0 of epoch",
        "both hang on the API key",
    ] {
        assert!(page.contains(words), "no {words:?} in\n{page}");
    }
    assert_eq!(
        page.split("operation id ").nth(1).unwrap().split(' ').next().unwrap().len(),
        64,
        "{page}"
    );
    assert!(!page.contains("explained_to_nobody"), "{page}");
}

#[test]
fn explain_says_what_an_own_key_a_header_a_call_and_a_read_come_to() {
    let own = explained(&["POST /v1/refunds", "-d", "charge=ch_1", "-H", "Idempotency-Key: o-1"]);
    assert!(own.contains("identity own_key: the application chose"), "{own}");
    assert!(own.contains("upstream key the client's, unchanged") && !own.contains("o-1"), "{own}");
    let header = explained(&["POST /v1/refunds", "-H", "Payonce-Operation: order-42"]);
    assert!(header.contains("identity header: "), "{header}");
    let call = explained(&["POST /v1/payment_intents/pi_1/capture", "-H", KEY]);
    assert!(call.contains("identity call: this call alone"), "{call}");
    assert!(call.contains("a fresh UUIDv4 for each call"), "{call}");
    let read = explained(&["GET /v1/charges/ch_1"]);
    assert!(read.contains("rule reads") && read.contains("class pass"), "{read}");
}

#[test]
fn explain_goes_by_the_policy_and_the_settings_that_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let policy = "version = 1\n[[rule]]\nname = \"orders\"\nmatch = [\"POST /v1/charges\"]\n\
                  class = \"critical\"\nidentity = [\"metadata[order_id]\"]\notherwise = \"refuse\"\n\
                  [[rule]]\nname = \"closed\"\nmatch = [\"POST /v1/transfers\"]\nclass = \"refuse\"\n";
    write(directory.path(), "policy.toml", policy);
    write(directory.path(), "payonce.toml", "[policy]\npath = \"policy.toml\"\n");
    let explain = |line: &[&str], from: &[&str]| {
        let ended = run_in(directory.path(), &[&["explain"], line, from].concat(), &[]);
        (ended.code, ended.out.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    for from in [["--policy", "policy.toml"], ["--settings", "payonce.toml"]] {
        let (code, page) = explain(&["POST /v1/charges", "-d", "metadata[order_id]=7"], &from);
        assert!(page.contains("identity fields: metadata[order_id] present"), "{page}");
        assert!(page.contains("line 2 of policy.toml"), "{page}");
        // The embedded store is the default, and nobody said that this is its only process.
        let warned = page.contains("does not start with these settings");
        assert_eq!((code, warned), (Some(0), from[0] == "--settings"), "{page}");
        let (code, page) = explain(&["POST /v1/charges", "-d", "amount=5"], &from);
        assert_eq!(code, Some(0));
        assert!(page.contains("refused 400 payonce_identity_missing"), "{page}");
        let (code, page) = explain(&["POST /v1/transfers"], &from);
        assert_eq!(code, Some(0));
        assert!(page.contains("refused 403 payonce_refused_by_policy"), "{page}");
    }
}

#[test]
fn explain_fails_on_a_request_that_no_policy_lets_through() {
    for target in ["/v1//charges", "/v1/./charges", "/v1/charges%2F1", "/v1/charges/%zz"] {
        let ended = run(&["explain", &format!("POST {target}")], &[]);
        assert_eq!(ended.code, Some(1), "{}", ended.out);
        assert!(ended.out.contains("refused       400 payonce_bad_target"), "{}", ended.out);
    }
    run(&["explain", "charges"], &[]).failed(2, &["POST /v1/charges"]);
}

#[test]
fn explain_and_check_end_with_64_on_a_broken_policy_or_setting() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "broken.toml", "version = 1\n[[rule]]\nname = \"a\"\nmath = []\n");
    let line = ["explain", "POST /v1/charges", "--policy", "broken.toml"];
    run_in(directory.path(), &line, &[]).failed(64, &["broken.toml", "math"]);
    run(&["explain", "GET /"], &[("PAYONCE_RETRY__DEADLIN", "1s")]).failed(64, &["DEADLIN"]);
    let ended = run_in(directory.path(), &["check", "broken.toml"], &[]);
    assert_eq!(ended.code, Some(64));
    for words in ["broken.toml", "4 | math = []", "^^^^", "match"] {
        assert!(ended.out.contains(words), "no {words:?} in\n{}", ended.out);
    }
    let missing = run_in(directory.path(), &["check", "not-there.toml"], &[]);
    assert_eq!(missing.code, Some(64));
    assert!(missing.out.contains("not-there.toml"), "{}", missing.out);
}

#[test]
fn check_says_what_is_in_order() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "policy.toml", SHIPPED);
    for line in [&["check"][..], &["check", "policy.toml"]] {
        let ended = run_in(directory.path(), line, &[]);
        assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
        assert!(ended.out.contains("is in order"), "{}", ended.out);
        assert!(ended.out.contains("warnings 0, and 2 accepted"), "{}", ended.out);
    }
}

#[test]
fn check_counts_warnings_only_if_it_is_asked_to() {
    let directory = tempfile::tempdir().unwrap();
    let policy = "version = 1\n[[rule]]\nname = \"a\"\nmatch = [\"POST /v1/payouts\"]\n\
                  class = \"critical\"\nidentity = \"content\"\n\
                  distinguishes = [\"destination\"]\nmerge = \"twins\"\n";
    write(directory.path(), "loose.toml", policy);
    let accepted = format!("{policy}allow = [\"twins-on-batch: one payout a day\"]\n");
    write(directory.path(), "accepted.toml", &accepted);
    write(directory.path(), "payonce.toml", "");
    let check = |line: &[&str]| run_in(directory.path(), &[&["check"], line].concat(), &[]);
    assert_eq!(check(&["loose.toml"]).code, Some(0));
    let strict = check(&["loose.toml", "--strict"]);
    assert_eq!(strict.code, Some(1));
    assert!(strict.out.contains("line 8, column 9: warning[twins-on-batch]"), "{}", strict.out);
    assert!(strict.err.contains("--strict: 1 warning"), "{}", strict.err);
    let reason = check(&["accepted.toml", "--strict"]);
    assert_eq!(reason.code, Some(0), "{}", reason.out);
    assert!(reason.out.contains("line 8, twins-on-batch: one payout a day"), "{}", reason.out);
    // The default store is one process's own until somebody says that there is only one.
    let store = check(&["accepted.toml", "--json", "--settings", "payonce.toml"]);
    assert_eq!(store.code, Some(64));
    let page: serde_json::Value = serde_json::from_str(&store.out).unwrap();
    assert_eq!([&page["errors"], &page["warnings"], &page["accepted"]], [1, 0, 1]);
    assert_eq!(page["findings"][0]["code"], "one-store-needed");
    assert_eq!(page["findings"][1]["accepted"], "one payout a day");
}

#[test]
fn check_tells_what_it_can_find() {
    let ended = run(&["check", "--codes"], &[]);
    assert_eq!(ended.code, Some(0));
    assert!(ended.out.contains("\n  twins-on-batch             a batch sends"), "{}", ended.out);
}

#[test]
fn coverage_fails_on_what_it_is_told_to_fail_on() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "none.toml", "version = 1\n");
    let coverage = ["policy", "coverage", "--fail-on", "unnamed-money-moving"];
    let shipped = run(&coverage, &[]);
    assert_eq!(shipped.code, Some(0), "{}", shipped.err);
    let none = run_in(directory.path(), &[&coverage[..], &["--policy", "none.toml"]].concat(), &[]);
    none.failed(1, &["--fail-on unnamed-money-moving", "POST /v1/"]);
    let blind = ["policy", "coverage", "--fail-on", "called-unnamed"];
    run(&blind, &[]).failed(2, &["needs --observed"]);
}

#[test]
fn keygen_writes_a_secret_alone_to_standard_output() {
    let made = [run(&["keygen"], &[]), run(&["keygen"], &[])];
    for ended in &made {
        assert_eq!(ended.code, Some(0));
        assert_eq!(ended.out.trim_end().len(), 43, "{}", ended.out);
        assert!(ended.err.contains("secret") && !ended.err.contains(ended.out.trim_end()));
    }
    assert_ne!(made[0].out, made[1].out);
}

#[test]
fn every_command_has_help_with_an_example() {
    let commands: [&[&str]; 19] = [
        &[],
        &["serve"],
        &["sandbox"],
        &["demo"],
        &["check"],
        &["explain"],
        &["policy"],
        &["policy", "audit"],
        &["policy", "coverage"],
        &["policy", "diff"],
        &["policy", "schema"],
        &["keygen"],
        &["ops"],
        &["ops", "list"],
        &["ops", "show"],
        &["ops", "search"],
        &["ops", "watch"],
        &["ops", "resolve"],
        &["ops", "export"],
    ];
    for command in commands {
        let ended = run(&[command, &["--help"]].concat(), &[]);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let example = command.is_empty() || ended.out.contains("Example");
        assert!(example && ended.out.contains("Usage: payonce"), "{}", ended.out);
    }
    run(&["serv"], &[]).failed(2, &["serve"]);
    let version = run(&["--version"], &[]);
    assert_eq!(version.out.trim_end(), concat!("payonce ", env!("CARGO_PKG_VERSION")));
}
