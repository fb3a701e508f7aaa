//! What a good file comes to.

use super::*;

#[test]
fn every_field_is_read() {
    let policy = policy(
        r#"
            version = 1
            mode = "observe"
            default_writes = "refuse"
            uuid4_keys = "own"
            [[rule]]
            name = "charges"
            match = ["POST /v1/charges"]
            class = "critical"
            client_key = "optional"
            identity = ["metadata[order_id]"]
            otherwise = "content"
            distinguishes = ["customer", "metadata[*]"]
            merge = "twins"
            repeat_window = "30s"
            store_down = "refuse"
            indeterminate = "next"
            "#,
    );
    assert_eq!((policy.mode(), policy.uuid4_keys()), (Mode::Observe, Uuid4Keys::Own));
    let rule = Arc::clone(&policy.rules()[0]);
    assert_eq!((rule.name.as_str(), rule.line), ("charges", 6));
    assert_eq!(rule.client_key, ClientKey::Optional);
    let IdentityRule::Fields { names, otherwise } = &rule.identity else {
        panic!("{:?}", rule.identity)
    };
    assert_eq!((names[0].as_str(), *otherwise), ("metadata[order_id]", Otherwise::Content));
    let fields: Vec<&str> = rule.distinguishes.iter().map(FieldPattern::as_str).collect();
    assert_eq!(fields, ["customer", "metadata[*]"]);
    assert_eq!((rule.merge, rule.repeat_window), (Merge::Twins, Duration::from_secs(30)));
    assert_eq!(rule.store_down, StoreDown::Refuse);
    assert_eq!(rule.indeterminate, Indeterminate::Next);
    assert_eq!((rule.patterns[0].as_str(), rule.patterns[0].line()), ("POST /v1/charges", 8));
    assert_eq!(policy.needs_one_store(), Some(&rule));
}

#[test]
fn a_rule_that_says_little_has_the_defaults() {
    let policy = policy(&rule("match = [\"POST /v1/x\"]\nclass = \"critical\""));
    let rule = &policy.rules()[0];
    let expected = Rule {
        patterns: rule.patterns.clone(),
        line: 2,
        ..Rule::call("a".to_owned(), Class::Critical)
    };
    assert_eq!(**rule, expected);
    assert_eq!((policy.mode(), policy.uuid4_keys()), (Mode::Enforce, Uuid4Keys::Sdk));
    assert_eq!(policy.needs_one_store(), None);
}

#[test]
fn a_rules_own_mode_comes_before_that_of_the_file() {
    let rules = |mode: &str| {
        let rule = |name: &str, mode: &str| {
            format!(
                "[[rule]]\nname = \"{name}\"\nmatch = [\"POST /v1/{name}\"]\nclass = \"critical\"\n{mode}"
            )
        };
        let (a, b) = (rule("a", "mode = \"observe\"\n"), rule("b", "mode = \"enforce\"\n"));
        let policy =
            policy(&format!("version = 1\n{mode}record = \"decisions\"\n{a}{b}{}", rule("c", "")));
        assert_eq!(policy.recording(), Recording::Decisions);
        policy.rules().iter().map(|rule| policy.mode_of(rule)).collect::<Vec<_>>()
    };
    assert_eq!(rules(""), [Mode::Observe, Mode::Enforce, Mode::Enforce]);
    assert_eq!(rules("mode = \"observe\"\n"), [Mode::Observe, Mode::Enforce, Mode::Observe]);
    let pass = rule("match = [\"POST /v1/x\"]\nclass = \"pass\"\nmode = \"observe\"");
    let problems = Policy::parse(&pass).unwrap_err();
    assert!(problems[0].what.starts_with("`mode` has no effect"), "{:?}", problems[0].what);
}

#[test]
fn a_guard_is_read_and_without_one_own_keys_are_warned_of() {
    let none = policy("version = 1");
    assert_eq!(*none.guard(), Guard::default());
    assert_eq!((none.guard().key_weak, none.guard().shortest_key), (Action::Warn, 8));
    let full = policy(
        "version = 1\n[guard]\napi_keys = [\"rk_live\", \"sk_org\"]\nenvironment = \"live\"\n\
         environment_action = \"warn\"\nkey_with_email = \"refuse\"\nkey_with_card = \"off\"\n\
         key_weak = \"refuse\"\nshortest_key = 16\nkey_reused = \"refuse\"",
    );
    let expected = Guard {
        api_keys: Some((vec![ApiKeyKind::RkLive, ApiKeyKind::SkOrg], Action::Refuse)),
        environment: Some((Environment::Live, Action::Warn)),
        key_with_email: Action::Refuse,
        key_with_card: Action::Off,
        key_weak: Action::Refuse,
        shortest_key: 16,
        key_reused: Action::Refuse,
    };
    assert_eq!(*full.guard(), expected);
}

#[test]
fn the_version_is_a_digest_of_the_bytes() {
    assert_eq!(policy("version = 1").version(), version_of(b"version = 1"));
    assert_ne!(policy("version = 1").version(), policy("version = 1\n").version());
    // printf 'version = 1' | sha256sum
    assert_eq!(version_of(b"version = 1"), "4eab33c0b9ba");
}

#[test]
fn durations_are_read_in_four_units() {
    let read = |text: &str| duration::parse(text).map(|d| d.as_millis());
    assert_eq!(read("500ms"), Some(500));
    assert_eq!(read("30s"), Some(30_000));
    assert_eq!(read("2m"), Some(120_000));
    assert_eq!(read("22h"), Some(79_200_000));
    for bad in ["", "30", "s", "-1s", "1.5s", "1 s", "1d", "99999999999999999999s"] {
        assert_eq!(read(bad), None, "{bad}");
    }
    assert_eq!(read("18446744073709551615h"), None);
}

#[test]
fn one_template_covers_another_only_if_it_matches_all_of_it() {
    let covers =
        |a: &str, b: &str| Pattern::parse(a, 1).unwrap().covers(&Pattern::parse(b, 1).unwrap());
    assert!(covers("POST /v1/{x}", "POST /v1/a"));
    assert!(covers("* /v1/a", "POST /v1/a"));
    assert!(covers("POST /v1/**", "POST /v1/{x}/b"));
    assert!(covers("POST /v1/**", "POST /v1/a/**"));
    assert!(covers("POST /**", "POST /v1/**"));
    assert!(!covers("POST /v1/a", "POST /v1/{x}"));
    assert!(!covers("POST /v1/a", "* /v1/a"));
    assert!(!covers("POST /v1/**", "POST /v1"));
    assert!(!covers("POST /v1/a/**", "POST /v1/**"));
    assert!(!covers("POST /v1/{x}", "POST /v1/**"));
    assert!(!covers("POST /v1/{x}", "POST /v1/a/b"));
}
