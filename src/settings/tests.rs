//! Every way to get a setting wrong, and what is said about it.

use std::fmt::Write as _;

use super::*;

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
fn the_defaults_are_sound_and_are_those_of_the_shipped_file() {
    let settings = Settings::load(None, []).unwrap();
    assert_eq!(settings.listen.proxy.unwrap().to_string(), "127.0.0.1:8420");
    assert_eq!(settings.listen.admin.unwrap().to_string(), "127.0.0.1:8421");
    assert_eq!(settings.listen.health.unwrap().to_string(), "0.0.0.0:8422");
    assert_eq!(settings.upstream.api, "https://api.stripe.com");
    assert_eq!(settings.upstream.provider_host, "api.stripe.com");
    assert_eq!(settings.retry.deadline, Duration::from_secs(70));
    assert_eq!(settings.retry.attempt_timeout, Duration::from_secs(40));
    assert_eq!(settings.retry.max_attempts, 4);
    assert_eq!(settings.limits.body, 1 << 20);
    assert_eq!(settings.store.kind, StoreKind::Embedded);
    assert!(settings.secret.is_none() && settings.policy.path.is_none());
    assert_eq!(settings.warnings.len(), 1, "{:?}", settings.warnings);
}

#[test]
fn every_setting_is_read_and_is_in_the_shipped_file() {
    let (layers, problems) = layers::Layers::merge(None, []);
    assert_eq!(problems, []);
    let mut reader = reader::Reader::new(layers, problems);
    checked::read(&mut reader);
    let known: std::collections::BTreeSet<_> = layers::KNOWN.iter().copied().collect();
    assert_eq!(reader.asked, known);
    for path in known {
        let (section, name) = path.split_once('.').unwrap();
        let text = layers::DEFAULTS.split(&format!("[{section}]\n")).nth(1).expect(section);
        let text = text.split("\n[").next().unwrap();
        let written = text.lines().any(|line| {
            line.trim_start_matches("# ").split_once(" = ").is_some_and(|(left, _)| left == name)
        });
        assert!(written || text.contains(&layers::variable_of(path)), "{path}");
    }
}

#[test]
fn a_commented_out_example_of_the_shipped_file_is_a_setting_that_works() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    let pem = dir.path().join("ca.pem");
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/config/sdk-releases.tsv");
    std::fs::write(&secret, SECRET).unwrap();
    let other = dir.path().join("other");
    std::fs::write(&other, SECRET.to_uppercase()).unwrap();
    std::fs::write(&pem, "-----BEGIN CERTIFICATE-----").unwrap();
    let ranges = dir.path().join("ips.txt");
    std::fs::write(&ranges, "192.0.2.7\n").unwrap();
    let headers = dir.path().join("headers");
    std::fs::write(&headers, "api-key: 1\n").unwrap();
    let mut text = String::new();
    for line in layers::DEFAULTS.lines() {
        let example = line
            .strip_prefix("# ")
            .filter(|rest| rest.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')));
        let line = match example.map(|rest| rest.split_once(" = ").unwrap()) {
            Some(("ca_file", _)) => format!("ca_file = {pem:?}"),
            Some(("releases", _)) => format!("releases = {table:?}"),
            Some(("source_ranges_file", _)) => format!("source_ranges_file = {ranges:?}"),
            Some((
                name @ ("file" | "token_file" | "password_file" | "sentinel_password_file"),
                _,
            )) => format!("{name} = {secret:?}"),
            Some(("other_files", _)) => format!("other_files = {other:?}"),
            // Without the feature it is an error, which has a test of its own.
            Some(("otlp_endpoint" | "headers_file", _)) if !cfg!(feature = "otlp") => String::new(),
            Some(("headers_file", _)) => format!("headers_file = {headers:?}"),
            Some((name, value)) => format!("{name} = {value}"),
            None => line.to_owned(),
        };
        writeln!(text, "{line}").unwrap();
    }
    let settings = load(&text, &[]).unwrap();
    assert!(settings.secret.is_some() && settings.listen.unix_socket.is_some());
    assert!(settings.upstream.egress_proxy.is_some() && settings.policy.path.is_some());
}

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

#[test]
fn a_redis_store_is_read_with_its_password_and_its_topology() {
    let settings = load(
        "[store]\nkind = \"redis\"\nnodes = \"rediss://a:1, rediss://b\"\ntopology = \"cluster\"",
        &[("PAYONCE_STORE__USER", "me"), ("PAYONCE_STORE__PASSWORD", "weak")],
    );
    let store = settings.unwrap().store;
    let nodes: Vec<_> = store.redis.nodes.iter().map(ToString::to_string).collect();
    assert_eq!((store.kind, store.redis.topology), (StoreKind::Redis, Topology::Cluster));
    assert_eq!(nodes, ["rediss://a:1", "rediss://b:6379"]);
    assert_eq!(store.redis.login.user.as_deref(), Some("me"));
    assert_eq!(store.redis.login.password.unwrap().expose(), b"weak");
    assert_eq!((store.redis.database, store.redis.prefix.as_str()), (0, "payonce:"));
}

#[test]
fn what_does_not_go_together_in_a_redis_store_is_told_all_at_once() {
    let of = |more: &str| said(load(&format!("[store]\nkind = \"redis\"\n{more}"), &[]));
    assert_eq!(of(""), ["store.nodes: must be set for a redis store"]);
    for (more, wrong) in [
        ("nodes = \"redis://a,redis://b\"", "store.nodes: names several servers"),
        ("nodes = \"redis://a,rediss://b\"\ntopology = \"cluster\"", "store.nodes: must be all"),
        ("nodes = \"unix:///s\"\ntopology = \"cluster\"", "store.nodes: must not be a Unix"),
        ("nodes = \"redis://a\"\ntopology = \"sentinel\"", "store.master: must be set"),
        ("nodes = \"redis://a\"\nmaster = \"m\"", "store.master: must be set"),
        (
            "nodes = \"redis://a\"\ntopology = \"cluster\"\ndatabase = 2",
            "store.database: must be 0 on a Cluster, is 2",
        ),
        ("nodes = \"redis://a\"\nuser = \"u\"", "store.user: needs a password"),
        ("nodes = \"redis://a\"\nprefix = \"a{b}\"", "store.prefix: must be at most"),
        ("nodes = \"http://a\"", "store.nodes: must be \"redis://host:port\""),
        ("nodes = [\"redis://a\"]", "store.nodes: must be addresses"),
    ] {
        let problems = of(more);
        assert_eq!(problems.len(), 1, "{more}: {problems:?}");
        assert!(problems[0].starts_with(wrong), "{more}: {problems:?}");
    }
    let both = of("topology = \"sentinel\"\nconnect_timeout = \"5m\"");
    assert_eq!(both.len(), 3, "{both:?}");
}

#[test]
fn a_redis_across_the_network_without_tls_is_said_aloud() {
    let of = |nodes: &str| {
        let toml = format!("[store]\nkind = \"redis\"\nnodes = \"{nodes}\"");
        load(&toml, &[]).unwrap().warnings.join("\n").contains("plain text")
    };
    assert!(of("redis://redis.internal:6379"));
    for nodes in ["rediss://redis.internal", "redis://127.0.0.1", "redis://[::1]:1", "unix:///s"] {
        assert!(!of(nodes), "{nodes}");
    }
}
