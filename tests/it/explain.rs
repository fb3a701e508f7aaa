//! `payonce explain` as a process: curl commands, recordings, JSON, and what a running payonce says
//! would happen now.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "that is how a test fails")]

use std::path::Path;

use serde_json::{Value, json};

use super::running::{API_KEY, CHARGE, Running, TOKEN, effects, fault, post, run, run_in, write};

const NAMED: [(&str, &str); 1] = [("Payonce-Operation", "order-42")];

/// `payonce explain … --ask --json` against `payonce`: what it says of the one request.
fn asked(payonce: &Running, line: &[&str]) -> Value {
    let admin = payonce.admin().to_string();
    let key = format!("Authorization: Bearer {API_KEY}");
    let line = [&["explain", "--ask", "--json", "-H", &key], line].concat();
    let env = [("PAYONCE_LISTEN__ADMIN", &*admin), ("PAYONCE_ADMIN__TOKEN", TOKEN)];
    let ended = run(&line, &env);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert!(!ended.out.contains(API_KEY), "{}", ended.out);
    let mut json: Value = serde_json::from_str(&ended.out).unwrap();
    json["requests"][0].take()
}

/// The charge of order 42, with another description if there is one.
fn order(payonce: &Running, description: &str) -> Value {
    let mut line = vec!["POST /v1/charges", "-d", CHARGE, "-H", "Payonce-Operation: order-42"];
    if !description.is_empty() {
        line.extend(["-d", description]);
    }
    asked(payonce, &line)
}

fn said(request: &Value) -> (&str, &str) {
    let judgement = &request["now"]["judgement"];
    assert!(judgement.is_object(), "{request:#}");
    (judgement["row"].as_str().unwrap(), judgement["course"].as_str().unwrap())
}

#[test]
fn asking_says_what_would_happen_now_and_changes_nothing() {
    let payonce = Running::serve(&["--sandbox"], &[("PAYONCE_RETRY__MAX_ATTEMPTS", "1")]);
    for _twice in 0..2 {
        let fresh = order(&payonce, "");
        assert_eq!(said(&fresh), ("A1", "new"));
        assert_eq!(fresh["now"]["judgement"]["found"], Value::Null);
    }
    assert_eq!(effects(payonce.sandbox()), 0);

    fault(payonce.sandbox(), &json!({ "kind": "reset_after_effect" }));
    let lost = post(payonce.proxy(), "/v1/charges", &NAMED, CHARGE);
    lost.refused(504, "payonce_outcome_unknown", "is safe");
    let doubtful = order(&payonce, "");
    assert_eq!(said(&doubtful), ("A11", "take_over"));
    assert_eq!(doubtful["operation_id"], lost.field("payonce-operation-id").unwrap());
    let judgement = &doubtful["now"]["judgement"];
    assert_eq!((&judgement["live_owner"], &judgement["recalled"]), (&json!(false), &json!(false)));
    assert_eq!(judgement["found"]["state"], "in_doubt");
    assert_eq!(doubtful["now"]["key"], "derived");
    assert_eq!(doubtful["now"]["derived_key"], doubtful["upstream_key"]["key"]);

    let other = order(&payonce, "description=another");
    assert_eq!(said(&other), ("A8", "conflict"));
    assert_eq!(other["now"]["judgement"]["fields"], json!(["description"]));
    assert_eq!(other["now"]["key"], "none");

    let again = post(payonce.proxy(), "/v1/charges", &NAMED, CHARGE);
    assert_eq!((again.status, effects(payonce.sandbox())), (200, 1));
    // As long as its delivery is not known it is waited for, then replayed; it is never sent anew.
    let known = order(&payonce, "");
    assert!(["replay", "share"].contains(&said(&known).1), "{known:#}");
}

#[test]
fn what_is_open_by_another_policy_is_found_before_that_policy_is_edited() {
    let payonce = Running::serve(&["--sandbox"], &[("PAYONCE_RETRY__MAX_ATTEMPTS", "1")]);
    let charge = format!("{CHARGE}&metadata[order_id]=7");
    fault(payonce.sandbox(), &json!({ "kind": "reset_after_effect" }));
    let lost = post(payonce.proxy(), "/v1/charges", &[], &charge);
    lost.refused(504, "payonce_outcome_unknown", "is safe");

    let directory = tempfile::tempdir().unwrap();
    let edited = "version = 1\n[[rule]]\nname = \"orders\"\nmatch = [\"POST /v1/charges\"]\nclass = \
                  \"critical\"\nidentity = [\"metadata[order_id]\"]\notherwise = \"call\"\n";
    let policy = write(directory.path(), "edited.toml", edited);
    let line = ["POST /v1/charges", "-d", &charge, "--policy", policy.to_str().unwrap()];
    let found = asked(&payonce, &line);
    assert_eq!(found["identity"], "fields");
    let operation = lost.field("payonce-operation-id").unwrap();
    assert_ne!(found["operation_id"], operation);
    assert_eq!(said(&found), ("A11", "take_over"), "{found:#}");
    let judgement = &found["now"]["judgement"];
    assert_eq!((&judgement["by"], &judgement["operation"]), (&json!(1), &json!(operation)));
    assert_eq!(found["now"]["key"], "derived");
    assert_ne!(found["now"]["derived_key"], found["upstream_key"]["key"]);
}

#[test]
fn asking_says_why_there_is_nothing_to_be_said() {
    let payonce = Running::serve(&["--sandbox"], &[]);
    let call = asked(&payonce, &["POST /v1/payment_intents/pi_1/capture"]);
    assert!(call["now"]["unknown"].as_str().unwrap().contains("has no record"), "{call:#}");
    let line = ["explain", "--ask", "POST /v1/charges", "-d", "customer=cus_1"];
    let ended = run(&line, &[("PAYONCE_LISTEN__ADMIN", &payonce.admin().to_string())]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("now           not asked"), "{}", ended.out);
    let line = [&line[..], &["-H", "Authorization: Bearer sk_test_x"]].concat();
    let ended = run(&line, &[("PAYONCE_LISTEN__ADMIN", "off")]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("now           not known: listen.admin is off"), "{}", ended.out);
    let ended = run(&line, &[("PAYONCE_LISTEN__ADMIN", "127.0.0.1:1")]);
    assert!(ended.out.contains("no payonce answers on 127.0.0.1:1"), "{}", ended.out);
}

#[test]
fn a_page_says_in_words_what_would_happen_now() {
    let payonce = Running::serve(&["--sandbox"], &[("PAYONCE_RETRY__MAX_ATTEMPTS", "1")]);
    fault(payonce.sandbox(), &json!({ "kind": "reset_after_effect" }));
    post(payonce.proxy(), "/v1/charges", &NAMED, CHARGE);
    let admin = payonce.admin().to_string();
    let curl = format!(
        "curl https://api.stripe.com/v1/charges -u {API_KEY}: -d '{CHARGE}' -H 'Payonce-Operation: \
         order-42'"
    );
    let env = [("PAYONCE_LISTEN__ADMIN", &*admin), ("PAYONCE_ADMIN__TOKEN", TOKEN)];
    let ended = run(&["explain", "--ask", "--curl", &curl], &env);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let page = ended.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "now row A11: it would be sent with the same key again: it cannot happen twice",
        "remembered: in_doubt since",
        "sent 1 times, occurrence 0 of epoch",
        "all of this is for the provider there: sandbox",
    ] {
        assert!(page.contains(words), "no {words:?} in\n{}", ended.out);
    }
    assert!(!page.contains(API_KEY), "{page}");
}

#[test]
fn a_curl_command_is_explained_like_the_request_that_it_sends() {
    let key = ["-H", "Authorization: Bearer sk_test_x", "--json"];
    let line = ["explain", "POST /v1/charges", "-d", "amount=500", "-d", "customer=cus_1"];
    let typed: Value = serde_json::from_str(&run(&[&line[..], &key].concat(), &[]).out).unwrap();
    let curl = "curl https://api.stripe.com/v1/charges \\\n -u sk_test_x: \\\n -d customer=cus_1 -d \
                amount=500";
    let ended = run(&["explain", "--curl", curl, "--json"], &[]);
    let copied: Value = serde_json::from_str(&ended.out).unwrap();
    let id = |json: &Value| json["requests"][0]["operation_id"].as_str().unwrap().to_owned();
    assert_eq!(id(&typed), id(&copied));
    assert_eq!(copied["requests"][0]["rule"]["name"], "charges");
    run(&["explain", "--curl", "curl https://x -F a=b"], &[]).failed(2, &["-F"]);
}

#[test]
fn every_request_of_a_recording_that_writes_has_a_page() {
    let directory = tempfile::tempdir().unwrap();
    let request = |method: &str, path: &str| {
        let url = format!("https://api.stripe.com{path}");
        json!({ "request": { "method": method, "url": url, "headers": [],
            "postData": { "mimeType": "application/x-www-form-urlencoded", "text": "customer=cus_1" } } })
    };
    let entries = [
        request("POST", "/v1/charges"),
        request("GET", "/v1/charges"),
        request("DELETE", "/v1/customers/cus_1"),
    ];
    let har = json!({ "log": { "version": "1.2", "entries": entries } }).to_string();
    write(directory.path(), "shop.har", &har);
    let explain = |path: &Path, line: &[&str]| run_in(path, &[&["explain"], line].concat(), &[]);
    let ended = explain(directory.path(), &["--har", "shop.har"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let titles: Vec<&str> =
        ended.out.lines().filter(|it| it.starts_with("POST") || it.starts_with("DELETE")).collect();
    assert_eq!(titles, ["POST /v1/charges", "DELETE /v1/customers/cus_1"]);
    let ended = explain(directory.path(), &["--har", "shop.har", "--json"]);
    let json: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(json["requests"].as_array().unwrap().len(), 2);
    assert_eq!(json["requests"][1]["rule"]["class"], "pass");
    let missing = explain(directory.path(), &["--har", "not-there.har"]);
    missing.failed(1, &["not-there.har", "cannot be read"]);
}

#[test]
fn the_json_of_every_request_has_the_keys_that_the_help_names() {
    let help = run(&["explain", "--help"], &[]).out;
    let lines = ["POST /v1/charges", "GET /v1/charges", "POST /v1//charges"];
    for line in lines {
        let ended = run(&["explain", "--json", line, "-d", "customer=cus_1"], &[]);
        let json: Value = serde_json::from_str(&ended.out).unwrap();
        for key in [
            "rule",
            "passed_over",
            "did_you_mean",
            "notes",
            "refused",
            "body",
            "client_key",
            "identity",
            "finish_ms",
            "operation_id",
            "upstream_key",
            "now",
        ] {
            assert!(json["requests"][0].get(key).is_some(), "{key} in {}", ended.out);
            assert!(help.contains(key), "{key} in {help}");
        }
        let refused = json["requests"][0]["refused"]["code"].as_str();
        assert_eq!(refused.is_some(), ended.code == Some(1), "{}", ended.out);
    }
    let misspelt = run(&["explain", "--json", "POST /v1/chages"], &[]).out;
    assert!(misspelt.contains("\"did_you_mean\": \"POST /v1/charges\""), "{misspelt}");
}

#[test]
fn the_json_says_for_how_long_it_is_asked_again_though_nobody_waits() {
    let directory = tempfile::TempDir::new().unwrap();
    let rule = |name: &str, more: &str| {
        format!(
            "[[rule]]\nname = \"{name}\"\nmatch = [\"POST /v1/{name}\"]\nclass = \"critical\"\n{more}"
        )
    };
    let content = "identity = \"content\"\ndistinguishes = [\"customer\"]\n";
    let rules = [
        rule("charges", &format!("{content}finish = \"5m\"\n")),
        rule("refunds", content),
        rule("payouts", "finish = \"5m\"\n"),
    ];
    write(directory.path(), "policy.toml", &format!("version = 1\n{}", rules.concat()));
    for (name, finish, page_says) in [
        ("charges", json!(300_000), true),
        ("refunds", Value::Null, false),
        // A single call is nobody's to be finished.
        ("payouts", Value::Null, false),
    ] {
        let request = format!("POST /v1/{name}");
        let line = ["explain", "--policy", "policy.toml", &request, "-d", "customer=cus_1"];
        let ended = run_in(directory.path(), &[&line[..], &["--json"]].concat(), &[]);
        let json: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(json["requests"][0].get("finish_ms"), Some(&finish), "{name}: {json:#}");
        let page = run_in(directory.path(), &line, &[]).out;
        assert_eq!(page.contains("asked again for 5m though nobody waits"), page_says, "{page}");
    }
}

#[test]
fn a_placeholder_is_explained_by_the_api_key_that_payonce_holds() {
    const PLACEHOLDER: &str = "sk_test_payonce_placeholder";
    let directory = tempfile::TempDir::new().unwrap();
    let policy = "version = 1\n[guard]\napi_keys = [\"rk_test\"]\n[[rule]]\nname = \"charges\"\n\
                  match = [\"POST /v1/charges\"]\nclass = \"critical\"\nidentity = \"content\"\n\
                  distinguishes = [\"customer\"]\n";
    write(directory.path(), "policy.toml", policy);
    let operation = |key: &str, held: &[(&str, &str)]| {
        let key = format!("Authorization: Bearer {key}");
        let line = ["explain", "--json", "--policy", "policy.toml", "-H", &key];
        let line =
            [&line[..], &["POST /v1/charges", "-d", "amount=500", "-d", "customer=c"]].concat();
        let ended = run_in(directory.path(), &line, held);
        assert!(!ended.out.contains("rk_test_real"), "{}", ended.out);
        let json: Value = serde_json::from_str(&ended.out).unwrap();
        json["requests"][0].clone()
    };
    let held = [("PAYONCE_CREDENTIAL__VALUE", "rk_test_real")];
    let placeholder = operation(PLACEHOLDER, &held);
    assert_eq!(placeholder["operation_id"], operation("rk_test_real", &[])["operation_id"]);
    assert!(placeholder["operation_id"].is_string(), "{placeholder:#}");
    let notes = placeholder["notes"].to_string();
    assert!(notes.contains("the one that it holds") && !notes.contains("a guard"), "{notes}");
    let none = operation(PLACEHOLDER, &[])["notes"].to_string();
    assert!(none.contains("payonce_no_credential"), "{none}");
}
