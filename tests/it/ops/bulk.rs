//! A person's word on all open operations of a rule.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::running::{CHARGE, Ended, Running, effects, fault, post, run};
use super::{Shared, doubtful, found, ids, ops, said, soon};

const BY: [&str; 4] = ["--by", "ann", "--why", "Stripe incident 4711"];

fn bulk<'a>(line: &[&'a str]) -> Vec<&'a str> {
    [&["resolve", "--rule", "charges", "--as", "declined"], line, &BY].concat()
}

#[test]
fn a_word_on_all_of_a_rule_is_shown_first_and_recorded_with_who_and_why() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let log = directory.path().join("audit.ndjson");
    let env = [
        ("PAYONCE_RETRY__MAX_ATTEMPTS", "1"),
        ("PAYONCE_POLICY__AUDIT_LOG", log.to_str().unwrap()),
    ];
    let payonce = Running::serve_in(directory, &["--sandbox"], &env);
    let admin = payonce.admin();
    let keys = ["order-1", "order-2", "order-3"];
    let doubtful: Vec<String> =
        keys.iter().map(|key| doubtful(&payonce, 1, &[("Idempotency-Key", key)], CHARGE)).collect();

    let shown = ops(admin, &bulk(&[]));
    shown.failed(1, &["nothing was changed: 3 operations", "--expect 3-"]);
    assert!(doubtful.iter().all(|id| shown.out.contains(id)), "{}", shown.out);
    let these = these(&shown);
    ops(admin, &bulk(&["--expect", "3-00000000"]))
        .failed(1, &["3 operations", "nothing was changed"]);
    assert_eq!(ids(admin, &["--state", "in_doubt"]).len(), 3);
    // Nothing is that old, and no other rule is meant.
    assert!(said(admin, &bulk(&["--older", "1h", "--yes"])).contains("0 resolved"));
    let other = ["resolve", "--rule", "refunds", "--as", "declined", "--yes"];
    assert!(said(admin, &[&other[..], &BY].concat()).contains("0 resolved"));

    let done = said(admin, &bulk(&["--expect", &these]));
    assert!(done.contains("3 resolved, 0 being worked on"), "{done}");
    assert!(ids(admin, &["--open"]).is_empty());
    for id in &doubtful {
        let after = found(admin, &["show", id]);
        assert_eq!(after["state"], "declined", "{after}");
        assert_eq!(after["resolved"], "ann: Stripe incident 4711", "{after}");
    }
    // One by itself is recorded as well.
    let one = super::doubtful(&payonce, 1, &[("Idempotency-Key", "order-4")], CHARGE);
    let resolve = ["resolve", &one, "--as", "succeeded", "--object", "ch_9"];
    said(admin, &[&resolve[..], &BY].concat());
    assert_eq!(effects(payonce.sandbox()), 4, "nothing was sent for a person's word");

    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            let operations = line["word"]["operations"].as_array().map_or(0, Vec::len);
            (line["event"].as_str().unwrap(), line["verdict"].as_str().unwrap(), operations)
        })
        .collect();
    let (asked, resolved) = ("asked", "resolved");
    assert_eq!(
        told,
        [
            ("start", "taken", 0),
            ("resolve", asked, 3),
            ("resolve", resolved, 3),
            ("resolve", asked, 1),
            ("resolve", resolved, 1),
        ]
    );
    assert_eq!(lines[2]["word"]["by"], "ann");
    assert_eq!(lines[2]["word"]["rule"], "charges");
    assert_eq!(lines[4]["word"]["object"], "ch_9");
    let page = run(&["policy", "audit", log.to_str().unwrap()], &[]);
    assert_eq!(page.code, Some(0), "{}", page.out);
    assert!(
        page.out.contains("resolved  as declined by ann: Stripe incident 4711"),
        "{}",
        page.out
    );

    // Asked again, it is sent again, with the same key: it happened, and Stripe says so.
    let again = post(payonce.proxy(), "/v1/charges", &[("Idempotency-Key", "order-1")], CHARGE);
    assert_eq!((again.status, effects(payonce.sandbox())), (200, 4));
}

/// What a look calls the operations that it showed.
fn these(shown: &Ended) -> String {
    let (_, these) = shown.err.trim().rsplit_once("--expect ").unwrap();
    these.to_owned()
}

#[test]
fn what_is_confirmed_is_what_was_shown_and_not_as_many_others() {
    let env = [("PAYONCE_RETRY__MAX_ATTEMPTS", "1")];
    let payonce = Running::serve(&["--sandbox"], &env);
    let admin = payonce.admin();
    let ask = |key: &str| super::doubtful(&payonce, 1, &[("Idempotency-Key", key)], CHARGE);
    ask("order-1");
    let second = ask("order-2");
    let shown = these(&ops(admin, &bulk(&[])));
    // One leaves, and another comes: two, as before.
    let one = [&["resolve", &second, "--as", "succeeded"][..], &BY].concat();
    said(admin, &one);
    ask("order-3");
    let refused = ops(admin, &bulk(&["--expect", &shown]));
    refused.failed(1, &["nothing was changed: 2 operations", "not the very ones", "look again"]);
    assert_eq!(ids(admin, &["--state", "in_doubt"]).len(), 2);
    // One is asked for once more, and is in doubt again: whoever looked has not seen that.
    let shown = these(&ops(admin, &bulk(&[])));
    ask("order-1");
    ops(admin, &bulk(&["--expect", &shown])).failed(1, &["nothing was changed: 2 operations"]);
    let shown = these(&ops(admin, &bulk(&[])));
    assert!(said(admin, &bulk(&["--expect", &shown])).contains("2 resolved"));
    assert!(ids(admin, &["--open"]).is_empty());
}

#[test]
fn an_operation_is_found_by_the_applications_key_after_a_persons_word_too() {
    let payonce = Running::serve(&["--sandbox"], &[("PAYONCE_RETRY__MAX_ATTEMPTS", "1")]);
    let admin = payonce.admin();
    // Its upstream key is derived from its name, so that this key is known by the index alone.
    let fields = [("Payonce-Operation", "order-7"), ("Idempotency-Key", "job-7-run-1")];
    let id = super::doubtful(&payonce, 1, &fields, CHARGE);
    let by_key = || found(admin, &["show", "--key", "job-7-run-1"]);
    assert_eq!((&by_key()["operation_id"], &by_key()["state"]), (&json!(id), &json!("in_doubt")));
    // The beginning of an id does, as with `show`.
    said(admin, &[&["resolve", &id[..8], "--as", "declined"][..], &BY].concat());
    assert_eq!((&by_key()["operation_id"], &by_key()["state"]), (&json!(id), &json!("declined")));
    ops(admin, &[&["resolve", &id[..8], "--as", "declined"][..], &BY].concat())
        .failed(1, &["nothing was changed: no open operation begins with"]);
}

#[test]
fn where_the_audit_log_is_required_nobody_is_taken_at_their_word_without_it() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let log = directory.path().join("audit.ndjson");
    let env = [
        ("PAYONCE_RETRY__MAX_ATTEMPTS", "1"),
        ("PAYONCE_POLICY__AUDIT_LOG", log.to_str().unwrap()),
        ("PAYONCE_POLICY__AUDIT_REQUIRED", "true"),
    ];
    let payonce = Running::serve_in(Arc::clone(&directory), &["--sandbox"], &env);
    let admin = payonce.admin();
    let id = doubtful(&payonce, 1, &[("Idempotency-Key", "order-1")], CHARGE);
    std::fs::rename(&log, directory.path().join("kept")).unwrap();
    std::fs::create_dir(&log).unwrap();
    ops(admin, &bulk(&["--yes"])).failed(1, &["nothing was changed", "audit log"]);
    let one = [&["resolve", &id, "--as", "declined"][..], &BY].concat();
    ops(admin, &one).failed(1, &["nothing was changed", "audit log"]);
    assert_eq!(ids(admin, &["--state", "in_doubt"]), [id.as_str()]);
    std::fs::remove_dir(&log).unwrap();
    assert!(said(admin, &bulk(&["--yes"])).contains("1 resolved"));
}

#[test]
fn what_a_living_process_works_on_is_left_alone_until_its_lease_ends() {
    let Shared { sandbox, pods: [one, two], .. } =
        &Shared::start(&[("PAYONCE_STORE__LEASE", "2s")]);
    fault(*sandbox, &json!({ "kind": "stall" }));
    let proxy = one.proxy();
    let client = std::thread::spawn(move || {
        // The connection breaks off with its process.
        std::panic::catch_unwind(|| post(proxy, "/v1/charges", &[], CHARGE)).is_err()
    });
    let admin = two.admin();
    soon(|| !ids(admin, &["--state", "in_flight"]).is_empty());
    let word = bulk(&["--state", "in_flight", "--yes"]);
    // Others of its rule are not meant by the usual word either.
    assert!(said(admin, &bulk(&["--yes"])).contains("0 resolved"));
    let busy = ops(admin, &word);
    busy.failed(1, &["1 of them were not resolved"]);
    assert!(busy.out.contains("0 resolved, 1 being worked on"), "{}", busy.out);
    assert_eq!(ids(admin, &["--state", "in_flight"]).len(), 1);
    one.signal("KILL");
    assert!(client.join().unwrap());
    soon(|| ops(admin, &word).out.contains("1 resolved"));
    assert!(ids(admin, &["--open"]).is_empty());
}

#[test]
fn a_word_on_many_must_make_sense() {
    for wrong in [
        &["resolve", "--as", "declined", "--why", "x"][..],
        &["resolve", "5f3a", "--rule", "charges", "--as", "declined", "--why", "x"],
        &["resolve", "5f3a", "--as", "declined", "--why", "x", "--yes"],
        &["resolve", "5f3a", "--as", "declined", "--why", "x", "--older", "1h"],
        &[
            "resolve",
            "--rule",
            "charges",
            "--as",
            "declined",
            "--why",
            "x",
            "--yes",
            "--expect",
            "1-9f2c81d0",
        ],
        // A number alone does not tell which operations.
        &["resolve", "--rule", "charges", "--as", "declined", "--why", "x", "--expect", "1"],
        &["resolve", "--rule", "charges", "--as", "succeeded", "--object", "ch_1", "--why", "x"],
        &["resolve", "--rule", "charges", "--as", "declined", "--state", "declined", "--why", "x"],
    ] {
        let ended = run(&[&["ops"], wrong].concat(), &[]);
        assert_eq!(ended.code, Some(2), "{wrong:?}: {}", ended.err);
    }
}
