//! What can be seen.

use std::sync::Arc;

use boon::{Compiler, Schemas};
use serde_json::Value;

use super::super::running::{CHARGE, Running, post};
use super::{
    Shared, doubtful, doubtful_at, found, id, ids, is_clean, is_known_as, ops, said, with_key,
};

const OTHER: &str = "amount=700&currency=eur&source=tok_visa";

#[test]
fn the_story_of_an_operation_has_its_attempts_and_what_to_do_next() {
    let payonce = Running::serve(&["--sandbox"], &[("PAYONCE_RETRY__MAX_ATTEMPTS", "2")]);
    let id = doubtful(&payonce, 2, &[("Idempotency-Key", "order-42")], CHARGE);
    let admin = payonce.admin();
    let text = said(admin, &["show", &id]);
    let attempts = text.matches("sent, and nobody knows what came of it: the connection closed");
    assert_eq!(attempts.count(), 2, "{text}");
    for words in [
        "advice      The outcome is unknown (500 usd may have moved): asking again with the same \
         request is safe until 20",
        " UTC  ",
        "claimed as occurrence 0",
        "whoever asked was told that the outcome is not known",
        "the horizon: its key is sent again until then, and never after",
        "asked by    1 idempotency key",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    is_clean(&text, &["order-42"]);
    assert_eq!(found(admin, &["show", &id[..8]]), found(admin, &["show", &id]));
    let story = found(admin, &["show", &id[..12]])["timeline"].clone();
    assert_eq!(story[0]["what"], "claimed", "{story}");
    ops(admin, &["show", "00000000"]).failed(1, &["whole id"]);

    // Asked again, it brings the answer, and the story goes on.
    let again = post(payonce.proxy(), "/v1/charges", &[("Idempotency-Key", "order-42")], CHARGE);
    assert_eq!(again.field("payonce-outcome"), Some("replayed"), "{again:?}");
    let request = again.field("request-id").unwrap();
    is_known_as(admin, &id, "succeeded");
    let text = said(admin, &["show", &id]);
    assert!(text.contains(&format!("succeeded: answered 200 ({request})")), "{text}");
    assert!(text.contains("whoever asked was told that it succeeded"), "{text}");
}

#[test]
fn operations_are_found_by_all_that_people_know_of_them() {
    let payonce = Running::serve(&["--sandbox"], &[("PAYONCE_RETRY__MAX_ATTEMPTS", "1")]);
    let (admin, proxy) = (payonce.admin(), payonce.proxy());
    let settled = post(
        proxy,
        "/v1/charges",
        &[("Idempotency-Key", "order-1"), ("Payonce-Caller", "shop")],
        CHARGE,
    );
    let (known, charge) = (id(&settled), settled.json()["id"].as_str().unwrap().to_owned());
    let request = settled.field("request-id").unwrap();
    is_known_as(admin, &known, "succeeded");
    let open = doubtful(&payonce, 1, &[("Idempotency-Key", "order-2")], OTHER);
    let hour = ["--older", "1h"];
    for (line, expected) in [
        (&["--id", &known[..8]][..], vec![&known]),
        (&["--id", &known], vec![&known]),
        (&["--key", "order-1"], vec![&known]),
        (&["--request-id", request], vec![&known]),
        (&["--object", &charge], vec![&known]),
        (&["--caller", "shop"], vec![&known]),
        (&["--state", "succeeded"], vec![&known]),
        (&["--rule", "charges"], vec![&open, &known]),
        (&["--rule", "charges", "--open"], vec![&open]),
        (&["--state", "in_doubt"], vec![&open]),
        (&["--key", "order-2", "--state", "in_doubt"], vec![&open]),
        (&["--key", "order-1", "--state", "in_doubt"], vec![]),
        (&["--key", "order-3"], vec![]),
        (&["--request-id", "req_nobody"], vec![]),
        // A Request-Id is no object, nor a key.
        (&["--object", request], vec![]),
        (&["--key", request], vec![]),
        (&["--caller", "sho"], vec![]),
        (&hour, vec![]),
    ] {
        let expected: Vec<String> = expected.into_iter().cloned().collect();
        assert_eq!(ids(admin, line), expected, "{line:?}");
    }
    assert!(said(admin, &["search", hour[0], hour[1]]).starts_with("Nothing was found"));
    let text = with_key(admin, &["search", "--key", "-"], "order-1");
    assert!(text.contains(&known), "{text}");
    is_clean(&text, &["order-1"]);
    ops(admin, &["search", "--id", "5f3a"]).failed(1, &["8 to 64"]);
    ops(admin, &["search", "--open", "--state", "declined"]).failed(1, &["not open"]);
}

#[test]
fn any_payonce_of_a_redis_finds_what_another_handled() {
    let Shared { redis, sandbox, pods: [one, two], .. } =
        &Shared::start(&[("PAYONCE_RETRY__MAX_ATTEMPTS", "1")]);
    let settled = post(one.proxy(), "/v1/charges", &[("Idempotency-Key", "order-1")], CHARGE);
    let (known, charge) = (id(&settled), settled.json()["id"].as_str().unwrap().to_owned());
    let key = [("Idempotency-Key", "order-2")];
    let open = doubtful_at(*sandbox, one, 1, &key, OTHER);
    let admin = two.admin();
    let request = settled.field("request-id").unwrap();
    is_known_as(admin, &known, "succeeded");
    assert_eq!(ids(admin, &["--request-id", request]), [known.as_str()]);
    assert_eq!(ids(admin, &["--object", &charge]), [known.as_str()]);
    assert_eq!(ids(admin, &["--id", &known]), [known.as_str()]);
    assert_eq!(ids(admin, &["--id", &open[..8]]), [open.as_str()]);
    assert_eq!(ids(admin, &["--key", "order-2"]), [open.as_str()]);
    // Nothing in the store reads like what was looked for.
    let mut connection = redis.connection();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    let indexed = keys.iter().filter(|key| key.contains("k:")).count();
    assert!(indexed >= 4 && !keys.concat().contains(&charge), "{keys:?}");
}

#[test]
fn watch_tells_what_ends_in_doubt_and_what_becomes_of_it() {
    let payonce = Running::serve(&["--sandbox"], &[("PAYONCE_RETRY__MAX_ATTEMPTS", "1")]);
    let admin = payonce.admin();
    let address = admin.to_string();
    let before = doubtful(&payonce, 1, &[("Idempotency-Key", "order-1")], CHARGE);
    let watch = |line: &[&str]| {
        let line = [&["ops", "watch", "--every", "100ms"], line].concat();
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Running::start(directory, &line, &[("PAYONCE_LISTEN__ADMIN", &address)])
    };
    let (people, programs) = (watch(&[]), watch(&["--json"]));
    assert!(people.line("already").contains(&before));
    programs.line(&before);
    let then = doubtful(&payonce, 1, &[("Idempotency-Key", "order-2")], OTHER);
    let line = people.line(&then);
    assert!(line.contains("in_doubt") && line.contains("700 eur"), "{line}");
    let change: Value = serde_json::from_str(&programs.line(&then)).unwrap();
    assert_eq!(change["change"], "in_doubt", "{change}");
    assert_eq!(change["operation"]["operation_id"], then.as_str(), "{change}");
    said(admin, &["resolve", &then, "--as", "declined", "--by", "ann", "--why", "looked"]);
    assert!(people.line("declined").contains("by ann: looked"));
    programs.line("\"change\":\"declined\"");
    payonce.signal("KILL");
    people.line("unreachable");
    people.signal("INT");
    let (code, lines) = people.ended();
    assert_eq!(code, Some(0), "{lines:?}");
    is_clean(&lines.concat(), &["order-1", "order-2"]);
}

#[test]
fn watch_ends_with_its_time_and_says_where_nobody_is_to_begin_with() {
    let payonce = Running::serve(&["--sandbox"], &[]);
    assert_eq!(said(payonce.admin(), &["watch", "--for", "300ms", "--every", "100ms"]), "");
    let admin = payonce.admin();
    payonce.signal("KILL");
    payonce.ended();
    ops(admin, &["watch", "--for", "300ms"]).failed(69, &["is it running"]);
}

#[test]
fn an_export_is_as_its_schema_says_and_holds_no_key() {
    let payonce = Running::serve(&["--sandbox"], &[("PAYONCE_RETRY__MAX_ATTEMPTS", "1")]);
    let (admin, proxy) = (payonce.admin(), payonce.proxy());
    let first = post(proxy, "/v1/charges", &[("Idempotency-Key", "order-1")], CHARGE);
    is_known_as(admin, &id(&first), "succeeded");
    let open = doubtful(&payonce, 1, &[("Idempotency-Key", "order-2")], OTHER);
    // A call that has no record, only a note.
    let call = doubtful(&payonce, 1, &[], "amount=900&currency=usd");
    let schema: Value = serde_json::from_str(&said(admin, &["export", "--schema"])).unwrap();
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("ops.json", schema).unwrap();
    let index = compiler.compile("ops.json", &mut schemas).unwrap();
    for line in [&["export"][..], &["export", "--open"], &["export", "--key", "order-2"]] {
        let text = said(admin, line);
        is_clean(&text, &["order-1", "order-2"]);
        let export: Value = serde_json::from_str(&text).unwrap();
        if let Err(error) = schemas.validate(&export, index) {
            panic!("{error:#}\n{text}");
        }
        let all = export["operations"].as_array().unwrap();
        assert_eq!(all.len(), if line.len() == 1 { 3 } else { 4 - line.len() }, "{text}");
    }
    let lines = said(admin, &["export", "--open", "--lines"]);
    assert_eq!(lines.lines().count(), 2, "{lines}");
    for (line, id) in lines.lines().zip([call, open]) {
        let operation: Value = serde_json::from_str(line).unwrap();
        assert_eq!(operation["operation_id"], id.as_str(), "{lines}");
    }
}
