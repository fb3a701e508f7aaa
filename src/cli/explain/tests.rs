//! Pages as people see them. The decisions themselves are tested where they are made.

use clap::Parser as _;

use super::super::{Cli, Command};
use super::*;

/// A moment in November 2026.
const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);
const KEY: [&str; 2] = ["-H", "Authorization: Bearer sk_test_explained_to_nobody"];

fn settings(env: &[(&str, &str)]) -> Settings {
    Settings::load(None, env.iter().map(|(name, value)| ((*name).into(), (*value).into()))).unwrap()
}

fn told(policy: &str, settings: &Settings, line: &[&str], json: bool) -> (String, Exit) {
    let line = [&["payonce", "explain"], line].concat();
    let Command::Explain(args) = Cli::try_parse_from(line).unwrap().command else {
        panic!("not explain")
    };
    let policy = Policy::parse(policy).unwrap();
    let file = "policy.toml".to_owned();
    let all = asked::all(&args).unwrap();
    let config = assembly::exchange_config(settings);
    let mut question = Question {
        settings,
        policy: &policy,
        file,
        serves: false,
        config,
        ways: Vec::new(),
        now: NOW,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(question.answer(&all, args.ask, json))
}

fn explained(policy: &str, line: &[&str]) -> (String, Exit) {
    told(policy, &settings(&[("PAYONCE_STORE__KIND", "memory")]), line, false)
}

fn shipped(line: &[&str]) -> String {
    let (page, exit) = explained(policy_file::SHIPPED, line);
    assert_eq!(exit, Exit::Done, "{page}");
    page
}

const ORDERS: &str = r#"
version = 1
mode = "observe"
uuid4_keys = "own"

[[rule]]
name = "orders"
match = ["POST /v1/charges"]
class = "critical"
identity = ["metadata[order_id]"]
otherwise = "refuse"
indeterminate = "next"
store_down = "refuse"
finish = "10m"

[[rule]]
name = "closed"
match = ["POST /v1/transfers"]
class = "refuse"
"#;

#[test]
fn a_charge_of_a_customer_is_recognised_by_its_content() {
    let line =
        ["POST /v1/charges", "-d", "amount=500", "-d", "currency=usd", "-d", "customer=cus_1"];
    insta::assert_snapshot!(shipped(&[&line[..], &KEY].concat()));
}

#[test]
fn without_an_api_key_a_placeholder_stands_in_and_no_whole_key_is_shown() {
    insta::assert_snapshot!(shipped(&["POST /v1/charges", "-d", "customer=cus_1"]));
}

#[test]
fn a_refund_with_a_key_of_the_application_goes_by_that_key() {
    let line = ["POST /v1/refunds", "-d", "charge=ch_1", "-H", "Idempotency-Key: order-42-refund"];
    insta::assert_snapshot!(shipped(&[&line[..], &KEY].concat()));
}

#[test]
fn a_key_of_the_sdk_does_not_hide_the_content() {
    let line = [
        "POST /v1/transfers",
        "-d",
        "destination=acct_1&metadata[order_id]=7&amount=5",
        "-H",
        "User-Agent: Stripe/v1 NodeBindings/20.1.0",
        "-H",
        "Idempotency-Key: stripe-node-retry-2b1c4ca0-4b4d-4d4e-8a4f-5a4b4c4d4e4f",
    ];
    insta::assert_snapshot!(shipped(&[&line[..], &KEY].concat()));
}

#[test]
fn a_payonce_operation_beats_everything() {
    let line = ["POST /v1/charges", "-d", "customer=cus_1", "-H", "Payonce-Operation: order-42"];
    let account = ["-H", "Stripe-Account: acct_1"];
    insta::assert_snapshot!(shipped(&[&line[..], &KEY, &account].concat()));
}

#[test]
fn a_confirmation_goes_by_the_call() {
    let line = ["POST /v1/payment_intents/pi_1/confirm"];
    insta::assert_snapshot!(shipped(&[&line[..], &KEY].concat()));
}

#[test]
fn what_is_not_critical_is_told_shortly() {
    insta::assert_snapshot!(shipped(&["GET /v1/charges?limit=3"]));
}

#[test]
fn json_is_read_as_such_on_v2() {
    let line = ["POST /v2/core/accounts", "-d", r#"{"display_name":"x","n":[1,null]}"#];
    insta::assert_snapshot!(shipped(&[&line[..], &KEY].concat()));
}

#[test]
fn identity_fields_that_are_there_are_the_identity() {
    let line = ["POST /v1/charges", "-d", "amount=500", "-d", "metadata[order_id]=42"];
    let agent = [
        "-H",
        "User-Agent: Stripe/v1 RubyBindings/15.0.0",
        "-H",
        "Idempotency-Key: 2b1c4ca0-4b4d-4d4e-8a4f-5a4b4c4d4e4f",
    ];
    let (page, exit) = explained(ORDERS, &[&line[..], &KEY, &agent].concat());
    assert_eq!(exit, Exit::Done);
    insta::assert_snapshot!(page);
}

#[test]
fn what_the_policy_refuses_is_explained_and_no_failure() {
    let (page, exit) = explained(ORDERS, &["POST /v1/charges", "-d", "amount=500"]);
    assert_eq!(exit, Exit::Done);
    assert!(page.contains("400 payonce_identity_missing"), "{page}");
    assert!(page.contains("absent: metadata[order_id]"), "{page}");
    let (page, exit) = explained(ORDERS, &["POST /v1/transfers"]);
    assert_eq!(exit, Exit::Done);
    assert!(page.contains("403 payonce_refused_by_policy"), "{page}");
    let (page, _) = explained(ORDERS, &["POST /v1/other"]);
    assert!(page.contains("default_writes, built in"), "{page}");
}

#[test]
fn a_request_that_no_policy_lets_through_is_a_failure_that_says_why() {
    for (target, headers, code) in [
        ("/v1//charges", &[][..], "payonce_bad_target"),
        ("/v1/../charges", &[][..], "payonce_bad_target"),
        ("/v1/charges%2fx", &[][..], "payonce_bad_target"),
        ("/v1/chargés", &[][..], "payonce_bad_target"),
        ("/v1/charges", &["-H", "Idempotency-Key: a", "-H", "Idempotency-Key: a"][..], "repeated"),
        ("/v1/charges", &["-H", "Idempotency-Key:"][..], "payonce_bad_idempotency_key"),
        ("/v1/charges", &["-H", "Payonce-Operation:"][..], "payonce_bad_operation"),
    ] {
        let line = format!("POST {target}");
        let (page, exit) = explained(policy_file::SHIPPED, &[&[&*line], headers].concat());
        assert_eq!(exit, Exit::Failed, "{page}");
        let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(page.contains(code) && page.contains("Nothing was sent to Stripe."), "{page}");
    }
}

#[test]
fn settings_that_change_the_picture_are_told() {
    let large = format!("description={}", "x".repeat(1024));
    let line = ["POST /v1/charges", "-d", "customer=cus_1", "-d", &large];
    let env = [
        ("PAYONCE_POLICY__BYPASS", "true"),
        ("PAYONCE_LIMITS__BODY", "1KiB"),
        ("PAYONCE_SECRET__VALUE", "a-secret-of-at-least-thirty-two-bytes"),
    ];
    let line = [&line[..], &KEY].concat();
    let (page, _) = told(policy_file::SHIPPED, &settings(&env), &line, false);
    for words in ["policy.bypass is on", "over limits.body", "the configured secret and the API"] {
        assert!(page.contains(words), "no {words:?} in\n{page}");
    }
}

#[test]
fn no_value_is_shown() {
    let page = shipped(&[
        "POST /v1/charges",
        "-d",
        "source[number]=4242424242424242",
        "-d",
        "a\u{1b}[1m=b",
        "-H",
        "Authorization: Basic c2tfdGVzdF9zZWNyZXQ6",
        "-H",
        "Idempotency-Key: order-4711",
        "-H",
        "User-Agent: Stripe/v1 PythonBindings/16.1.0",
    ]);
    for secret in ["4242", "c2tfdGVzdF9zZWNyZXQ6", "sk_test_secret", "4711", "\u{1b}"] {
        assert!(!page.contains(secret), "{secret:?} in\n{page}");
    }
    assert!(page.contains("present: source;") && page.contains("(1 bytes)"), "{page}");
}
