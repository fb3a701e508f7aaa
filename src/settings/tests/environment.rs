//! What comes from the environment.

use super::*;

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let toml = "[retry]\ndeadline = \"60s\"\nmax_attempts = 3\n[limits]\nbody = 2048";
    let settings = load(toml, &[("PAYONCE_RETRY__DEADLINE", "50s")]).unwrap();
    assert_eq!(settings.retry.deadline, Duration::from_secs(50));
    assert_eq!(settings.retry.max_attempts, 3);
    assert_eq!(settings.retry.backoff, Duration::from_millis(500));
    assert_eq!(settings.limits.body, 2048);
}

#[test]
fn every_kind_of_setting_can_come_from_the_environment() {
    let settings = load(
        "",
        &[
            ("PAYONCE_UPSTREAM__API", "http://127.0.0.1:12111/"),
            ("PAYONCE_UPSTREAM__HTTP2", "false"),
            ("PAYONCE_RETRY__MAX_ATTEMPTS", "7"),
            ("PAYONCE_RETRY__BUDGET_RATIO", "0.5"),
            ("PAYONCE_LIMITS__BODY", "65536"),
            ("PAYONCE_LIMITS__ANSWER", "2MiB"),
            ("PAYONCE_LISTEN__HEALTH", "off"),
            ("PAYONCE_STORE__KIND", "memory"),
            ("PAYONCE_SECRET__VALUE", SECRET),
        ],
    )
    .unwrap();
    assert_eq!(settings.upstream.api, "http://127.0.0.1:12111");
    assert_eq!(settings.upstream.provider_host, "127.0.0.1");
    assert!(!settings.upstream.http2 && settings.listen.health.is_none());
    assert_eq!(settings.retry.max_attempts, 7);
    assert_eq!((settings.limits.body, settings.limits.answer), (65_536, 2 << 20));
    assert_eq!(settings.store.kind, StoreKind::Memory);
    assert_eq!(settings.secret.unwrap().expose(), SECRET.as_bytes());
    let text = settings.warnings.join("\n");
    assert!(text.contains("degraded, forgets on restart"), "{text}");
    assert!(text.contains("upstream.api is http://127.0.0.1:12111"), "{text}");
}

#[test]
fn a_misspelt_variable_is_an_error_that_names_the_right_one() {
    for wrong in [
        "PAYONCE_UPSTREAM_API",
        "PAYONCE_UPSTREAM__APi",
        "PAYONCE_UPSTRAEM__API",
        "PAYONCE_UPSTREAM__API_",
    ] {
        let problems = said(load("", &[(wrong, "http://localhost")]));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].ends_with("did you mean PAYONCE_UPSTREAM__API?"), "{problems:?}");
    }
}

#[test]
fn an_empty_variable_is_a_wrong_value_and_not_an_absent_one() {
    let env = [("PAYONCE_RETRY__MAX_ATTEMPTS", ""), ("PAYONCE_SECRET__VALUE", "")];
    let expected =
        ["retry.max_attempts: must be a whole number, is empty", "secret.value: is empty"];
    assert_eq!(said(load("", &env)), expected);
}

#[test]
fn numbers_from_the_environment_keep_their_range() {
    for (value, expected) in [
        ("0", "must be at least 1, is 0"),
        ("-99999999999999999999", "must be at least 1"),
        ("99999999999999999999", "must be at most 20"),
        ("no", "must be a whole number, is \"no\""),
        ("+1", "must be a whole number, is \"+1\""),
    ] {
        let problems = said(load("", &[("PAYONCE_RETRY__MAX_ATTEMPTS", value)]));
        assert!(problems[0].contains(expected), "{problems:?}");
    }
}

#[test]
fn a_variable_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = OsString::from_vec(vec![0xff, 0xfe]);
    let env = [("PAYONCE_STORE__PATH", bytes.clone()), ("OTHER", bytes)];
    let outcome = Settings::load(None, env.map(|(name, value)| (name.into(), value)));
    assert_eq!(said(outcome), ["store.path: must be UTF-8 text"]);
}

#[test]
fn what_kubernetes_puts_beside_a_service_named_payonce_is_no_mistake() {
    let env = [
        ("PAYONCE_SERVICE_HOST", "10.0.0.1"),
        ("PAYONCE_SERVICE_PORT", "8420"),
        ("PAYONCE_SERVICE_PORT_PROXY", "8420"),
        ("PAYONCE_PORT", "tcp://10.0.0.1:8420"),
        ("PAYONCE_PORT_8420_TCP", "tcp://10.0.0.1:8420"),
        ("PAYONCE_PORT_8420_TCP_ADDR", "10.0.0.1"),
        ("PAYONCE_PROXY_SERVICE_HOST", "10.0.0.1"),
        ("PAYONCE_PROXY_PORT_8420_TCP_PROTO", "tcp"),
        ("OTHER_THING", "x"),
    ];
    assert!(load("", &env).is_ok());
    assert!(load("", &[("PAYONCE_PORT", "8420")]).is_err());
}
