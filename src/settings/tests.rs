//! Every way to get a setting wrong, and what is said about it.

use std::fmt::Write as _;

use super::*;

mod environment;
mod redis;
mod shipped;

const SECRET: &str = "0123456789abcdef0123456789abcdef-hush";

fn load(toml: &str, env: &[(&str, &str)]) -> Result<Settings, Vec<Problem>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), toml).unwrap();
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Settings::load(Some(file.path()), env)
}

fn said(outcome: Result<Settings, Vec<Problem>>) -> Vec<String> {
    let problems = outcome.expect_err("settings that should have been refused");
    problems.iter().map(|problem| format!("{}: {}", problem.path, problem.what)).collect()
}

#[test]
fn each_wrong_time_number_or_flag_is_named_with_what_would_be_right() {
    let table = [
        ("[retry]\nmax_attempts = 0", "retry.max_attempts: must be at least 1, is 0"),
        ("[retry]\nmax_attempts = -3", "retry.max_attempts: must be at least 1, is -3"),
        ("[retry]\nmax_attempts = 1000", "retry.max_attempts: must be at most 20, is 1000"),
        ("[retry]\nmax_attempts = \"4\"", "retry.max_attempts: must be a whole number, is \"4\""),
        ("[retry]\nmax_attempts = \"no\"", "retry.max_attempts: must be a whole number, is \"no\""),
        ("[retry]\nmax_attempts = true", "retry.max_attempts: must be a whole number, is true"),
        ("[retry]\nmax_attempts = 4.5", "retry.max_attempts: must be a whole number, is 4.5"),
        ("[retry]\nmax_attempts = [4]", "retry.max_attempts: must be a whole number, is a list"),
        ("[retry.max_attempts]\nx = 4", "retry.max_attempts: must be a whole number, is a section"),
        (
            "[retry]\ndeadline = 70",
            "retry.deadline: must be a duration in quotes, such as \"70s\", is 70",
        ),
        (
            "[retry]\ndeadline = \"70\"",
            "retry.deadline: must be a whole number and a unit (ms, s, m, h, d), such as \"70s\", is \"70\"",
        ),
        ("[retry]\ndeadline = \"79s\"", "retry.deadline: must be at most 78s, is 79s"),
        (
            "[retry]\nattempt_timeout = \"71s\"",
            "retry.attempt_timeout: must not be longer than retry.deadline (70s), is 71s",
        ),
        (
            "[retry]\nbackoff = \"6s\"",
            "retry.backoff: must not be longer than retry.backoff_max (5s), is 6s",
        ),
        (
            "[retry]\nbackoff_max = \"75s\"",
            "retry.backoff_max: must not be longer than retry.deadline (70s), is 75s",
        ),
        ("[retry]\nbudget_ratio = 1.5", "retry.budget_ratio: must be at most 1, is 1.5"),
        ("[retry]\nbudget_ratio = nan", "retry.budget_ratio: must be a number, is NaN"),
        ("[retry]\nbudget_ratio = \"a\"", "retry.budget_ratio: must be a number, is \"a\""),
        (
            "[upstream]\nconnect_timeout = \"41s\"",
            "upstream.connect_timeout: must not be longer than retry.attempt_timeout (40s), is 41s",
        ),
        ("[upstream]\nhttp2 = \"no\"", "upstream.http2: must be true or false, is \"no\""),
        ("[upstream]\nhttp2 = 1", "upstream.http2: must be true or false, is 1"),
        (
            "[upstream]\nmax_connections_per_host = 0",
            "upstream.max_connections_per_host: must be at least 1, is 0",
        ),
        (
            "[upstream]\nprovider_host = \"https://api.stripe.com\"",
            "upstream.provider_host: must be a host name without scheme and port, is \"https://api.stripe.com\"",
        ),
    ];
    each_is_told(&table);
}

#[test]
fn each_wrong_place_limit_or_name_is_named_with_what_would_be_right() {
    let table = [
        (
            "[listen]\nadmin = \"0.0.0.0:8421\"",
            "listen.admin: must be a loopback address, is 0.0.0.0:8421",
        ),
        (
            "[listen]\nadmin = \"127.0.0.1:8420\"",
            "listen.admin: must not share its port with listen.proxy, is 127.0.0.1:8420",
        ),
        (
            "[listen]\nhealth = \"0.0.0.0:8420\"",
            "listen.health: must not share its port with listen.proxy, is 0.0.0.0:8420",
        ),
        (
            "[listen]\nproxy = \"localhost:8420\"",
            "listen.proxy: must be an IP address and a port, such as \"127.0.0.1:8420\", or \"off\", is \"localhost:8420\"",
        ),
        (
            "[listen]\nproxy = \"off\"",
            "listen.proxy: is off, and no listen.unix_socket is set: nothing could reach payonce",
        ),
        (
            "[store]\nkind = \"etcd\"",
            "store.kind: must be one of \"embedded\", \"memory\", \"redis\", is \"etcd\"",
        ),
        ("[store]\npath = \"\"", "store.path: must be a path, is empty"),
        (
            "[limits]\nbody = \"1MB\"",
            "limits.body: must be a size, such as \"1MiB\" or a number of bytes, is \"1MB\"",
        ),
        (
            "[limits]\nbody = -1",
            "limits.body: must be a size, such as \"1MiB\" or a number of bytes, is -1",
        ),
        ("[limits]\nbody = 0", "limits.body: must be at least 1KiB, is 0B"),
        (
            "[limits]\nbytes_in_flight = \"8MiB\"",
            "limits.bytes_in_flight: must hold at least limits.body and limits.answer together (9MiB), is 8MiB",
        ),
        (
            "[log]\nlevel = \"loud\"",
            "log.level: must be one of \"error\", \"warn\", \"info\", \"debug\", \"trace\", is \"loud\"",
        ),
        (
            "[retry]\ndeadlin = \"5s\"",
            "retry.deadlin: is no setting of payonce; did you mean retry.deadline?",
        ),
        (
            "[retri]\ndeadline = \"5s\"",
            "retri.deadline: is no setting of payonce; did you mean retry.deadline?",
        ),
        ("colour = 1", "colour: is no setting of payonce; config/payonce.toml lists them all"),
        ("retry = 5", "retry: is a section of settings, written [retry], not a value"),
    ];
    each_is_told(&table);
}

fn each_is_told(table: &[(&str, &str)]) {
    for (toml, expected) in table {
        let problems = said(load(toml, &[]));
        assert!(problems.iter().any(|problem| problem == expected), "{toml}\n{problems:#?}");
        assert_eq!(problems.len(), 1, "{toml}\n{problems:#?}");
    }
}

#[test]
fn an_origin_is_scheme_and_host_and_nothing_else() {
    for good in ["https://api.stripe.com/", "HTTP://LOCALHOST:80", "http://[::1]:8080"] {
        assert!(load(&format!("[upstream]\napi = {good:?}"), &[]).is_ok(), "{good}");
    }
    let bad = [
        "api.stripe.com",
        "https://",
        "https:///v1",
        "https://api.stripe.com/v1",
        "ftp://api.stripe.com",
        "https://a b",
        "https://a?x=1",
        "https://a#x",
        "https://a:",
        "https://a:0",
        "https://a:99999",
        "https://user:pass@a",
        "/",
    ];
    for bad in bad {
        let problems = said(load(&format!("[upstream]\napi = {bad:?}"), &[]));
        assert_eq!(problems.len(), 1, "{bad}: {problems:?}");
        assert!(problems[0].starts_with("upstream.api: must be scheme, host"), "{problems:?}");
    }
}

#[test]
fn all_problems_of_file_and_environment_are_told_at_once_with_where_they_stand() {
    let env = [("PAYONCE_UPSTREAM__HTTP2", "maybe"), ("PAYONCE_UPSTREAM_API", "http://x")];
    let problems = load("[retry]\nmax_attempts = 0\nbackof = 1", &env).unwrap_err();
    let told: Vec<_> = problems.iter().map(|p| (p.path.as_str(), &p.origin)).collect();
    let Origin::File(file) = &problems[1].origin else { panic!("{problems:?}") };
    let variable = |name: &str| Origin::Variable(name.to_owned());
    assert_eq!(
        told,
        [
            ("PAYONCE_UPSTREAM_API", &variable("PAYONCE_UPSTREAM_API")),
            ("retry.backof", &Origin::File(file.clone())),
            ("retry.max_attempts", &Origin::File(file.clone())),
            ("upstream.http2", &variable("PAYONCE_UPSTREAM__HTTP2")),
        ]
    );
    assert_eq!(
        problems[0].to_string(),
        "PAYONCE_UPSTREAM_API: is no setting of payonce; did you mean PAYONCE_UPSTREAM__API?"
    );
    assert_eq!(
        problems[3].to_string(),
        "upstream.http2: must be true or false, is \"maybe\" (from PAYONCE_UPSTREAM__HTTP2)"
    );
}

#[test]
fn a_file_that_is_not_there_or_not_toml_is_told_without_quoting_it() {
    let missing = said(Settings::load(Some(Path::new("/nonexistent/payonce.toml")), []));
    assert!(missing[0].starts_with("settings file: cannot be read"), "{missing:?}");
    let broken = said(load("[secret]\nvalue = \"hunter2hunter2", &[]));
    assert_eq!(broken.len(), 1);
    assert!(broken[0].starts_with("settings file: line 2, column"), "{broken:?}");
    assert!(!broken[0].contains("hunter2"), "{broken:?}");
}

#[test]
fn a_secret_is_long_random_and_not_in_the_settings_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display();
    let with_file = |text: &str| {
        std::fs::write(file.path(), text).unwrap();
        load(&format!("[secret]\nfile = \"{path}\""), &[])
    };
    assert_eq!(with_file(&format!("{SECRET}\n")).unwrap().secret.unwrap().len(), SECRET.len());
    assert_eq!(said(with_file("\n")), ["secret.file: is empty"]);
    assert_eq!(said(with_file("short")), ["secret.file: must be at least 32 bytes, is 5"]);
    let repeated = said(with_file(&"ab".repeat(40)));
    assert_eq!(repeated, ["secret.file: repeats a few characters: make one with `payonce keygen`"]);
    let inline = said(load(&format!("[secret]\nvalue = \"{SECRET}\""), &[]));
    let expected = "secret.value: must not stand in the settings file: set secret.file or PAYONCE_SECRET__VALUE";
    assert_eq!(inline, [expected]);
    let both = [("PAYONCE_SECRET__VALUE", SECRET), ("PAYONCE_SECRET__FILE", "/x")];
    let expected = "secret.value: is set, and secret.file too: one of them must go";
    assert_eq!(said(load("", &both)), [expected]);
    let missing = said(load("[secret]\nfile = \"/nonexistent\"", &[]));
    assert!(missing[0].starts_with("secret.file: names a file that cannot be read"), "{missing:?}");
}

#[test]
fn no_secret_shows_in_debug_or_in_any_problem() {
    let proxy = "http://me:hunter2@proxy:3128";
    let env = [
        ("PAYONCE_SECRET__VALUE", SECRET),
        ("PAYONCE_ADMIN__TOKEN", "a-token-of-some-length"),
        ("PAYONCE_UPSTREAM__EGRESS_PROXY", proxy),
        ("PAYONCE_STORE__PASSWORD", "hunter2"),
        ("PAYONCE_STORE__SENTINEL_PASSWORD", "hunter2"),
    ];
    let shown = format!("{:?}", load("", &env).unwrap());
    for secret in ["hush", "hunter2", "a-token"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("Secret(37 bytes)"), "{shown}");
    let wrong = [
        ("PAYONCE_SECRET__VALUE", "hunter2"),
        ("PAYONCE_ADMIN__TOKEN", "hunter2 hunter2 hunter2 abc"),
        ("PAYONCE_UPSTREAM__EGRESS_PROXY", "me:hunter2@proxy"),
        ("PAYONCE_UPSTREAM__API", "https://me:hunter2@api.stripe.com"),
        ("PAYONCE_STORE__NODES", "redis://:hunter2@redis:6379"),
    ];
    let problems = said(load("", &wrong));
    assert_eq!(problems.len(), 5, "{problems:?}");
    assert!(!problems.join("\n").contains("hunter2"), "{problems:?}");
}

#[test]
fn who_must_sign_a_policy_and_where_its_loads_are_recorded_must_make_sense() {
    let key = "RWRvL4gJPXHYw9HDCqEWDGHgEZV94BmhINWpjAhrbeMfCnf1aj8QyDrs";
    let policy = |lines: &str| load(&format!("[policy]\n{lines}"), &[]);
    let good = format!("path = \"a.toml\"\ntrusted_keys = \"{key}, {key}\"\naudit_log = \"a.log\"");
    let settings = policy(&format!("{good}\naudit_required = true")).unwrap().policy;
    assert!(!settings.trusted.is_empty() && settings.audit_required);
    assert!(policy("").unwrap().policy.trusted.is_empty());
    let cases = [
        (format!("trusted_keys = \"{key}\""), "policy.trusted_keys: is set, and policy.path"),
        (good.replace(", RW", ", XX"), "policy.trusted_keys: key 2 is no minisign public key"),
        (good.replace(key, ""), "policy.trusted_keys: key 1 is no minisign public key"),
        (
            "audit_required = true".to_owned(),
            "policy.audit_required: is true, and policy.audit_log",
        ),
    ];
    for (lines, words) in cases {
        let said = said(policy(&lines));
        assert!(said.len() == 1 && said[0].starts_with(words), "{said:?}");
    }
}

#[test]
fn a_ca_file_must_hold_a_certificate() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hello").unwrap();
    let problems = said(load(&format!("[upstream]\nca_file = {:?}", file.path()), &[]));
    assert!(problems[0].starts_with("upstream.ca_file: holds no PEM certificate"), "{problems:?}");
    let problems = said(load("[upstream]\nca_file = \"/nonexistent\"", &[]));
    assert!(problems[0].starts_with("upstream.ca_file: cannot be read"), "{problems:?}");
}

#[test]
fn without_a_token_one_is_made_beside_the_store() {
    let settings = load("[store]\npath = \"/var/lib/payonce/p.redb\"", &[]).unwrap();
    let Token::Made(path) = settings.admin.token else { panic!("a token was given") };
    assert_eq!(path, Path::new("/var/lib/payonce/payonce-admin-8421.token"));
}

#[test]
fn a_socket_path_that_the_system_cannot_hold_is_refused() {
    let long = format!("/{}", "x".repeat(107));
    let problems = said(load(&format!("[listen]\nunix_socket = \"{long}\""), &[]));
    assert_eq!(problems, ["listen.unix_socket: must be at most 107 bytes, is 108"]);
}
