use super::*;

fn policy(text: &str) -> Policy {
    match Policy::parse(text) {
        Ok(policy) => policy,
        Err(problems) => panic!("{}", shown(&problems)),
    }
}

fn shown(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")
}

fn refused(text: &str) -> String {
    shown(&Policy::parse(text).expect_err("the policy has problems"))
}

/// A policy of one rule with these lines in it.
fn rule(lines: &str) -> String {
    format!("version = 1\n[[rule]]\nname = \"a\"\n{lines}\n")
}

fn falls_to(policy: &Policy, method: &str, path: &str) -> String {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    policy.judge(&method, &Target::parse(path).unwrap()).name.clone()
}

mod judging {
    use super::*;

    #[test]
    fn the_first_rule_of_the_file_wins_however_specific_a_later_one_is() {
        let text = r#"
            version = 1
            [[rule]]
            name = "a"
            match = ["POST /v1/{x}/b"]
            class = "critical"
            [[rule]]
            name = "b"
            match = ["POST /v1/a/{x}"]
            class = "critical"
            [[rule]]
            name = "c"
            match = ["POST /v1/**"]
            class = "critical"
        "#;
        let policy = policy(text);
        assert_eq!(falls_to(&policy, "POST", "/v1/a/b"), "a");
        assert_eq!(falls_to(&policy, "POST", "/v1/a/c"), "b");
        assert_eq!(falls_to(&policy, "POST", "/v1/c/c"), "c");
    }

    #[test]
    fn a_trailing_double_star_matches_one_or_more_segments() {
        let policy = policy(&rule("match = [\"POST /v1/charges/**\"]\nclass = \"refuse\""));
        assert_eq!(falls_to(&policy, "POST", "/v1/charges"), "default_writes");
        assert_eq!(falls_to(&policy, "POST", "/v1/charges/ch_1"), "a");
        assert_eq!(falls_to(&policy, "POST", "/v1/charges/ch_1/refunds/re_1"), "a");
    }

    #[test]
    fn a_placeholder_matches_exactly_one_segment() {
        let policy = policy(&rule("match = [\"* /v1/charges/{id}\"]\nclass = \"refuse\""));
        assert_eq!(falls_to(&policy, "DELETE", "/v1/charges/ch_1"), "a");
        assert_eq!(falls_to(&policy, "GET", "/v1/charges"), "not_critical");
        assert_eq!(falls_to(&policy, "GET", "/v1/charges/ch_1/x"), "not_critical");
    }

    #[test]
    fn what_no_rule_names_is_told_apart_by_whether_a_key_has_an_effect() {
        let policy = policy("version = 1");
        for write in ["POST /v1/x", "PUT /v1/x", "PATCH /v1/x", "POST /v2/x", "DELETE /v2/x"] {
            let (method, path) = write.split_once(' ').unwrap();
            assert_eq!(falls_to(&policy, method, path), "default_writes", "{write}");
        }
        for read in ["GET /v1/x", "HEAD /v1/x", "OPTIONS /v2/x", "DELETE /v1/x", "GET /v2/x"] {
            let (method, path) = read.split_once(' ').unwrap();
            assert_eq!(falls_to(&policy, method, path), "not_critical", "{read}");
        }
    }

    #[test]
    fn default_writes_says_what_becomes_of_writes_that_no_rule_names() {
        let target = Target::parse("/v1/x").unwrap();
        for (text, class) in [
            ("version = 1", Class::Critical),
            ("version = 1\ndefault_writes = \"pass\"", Class::Pass),
            ("version = 1\ndefault_writes = \"refuse\"", Class::Refuse),
        ] {
            let rule = Arc::clone(policy(text).judge(&Method::POST, &target));
            assert_eq!((rule.class, &rule.identity), (class, &IdentityRule::Call));
        }
    }

    #[test]
    fn the_tree_agrees_with_trying_every_rule_in_turn() {
        let pieces = ["a", "b", "{x}", "**"];
        let mut rules = Vec::new();
        for (n, (one, two)) in
            pieces.iter().flat_map(|one| pieces.iter().map(move |two| (*one, *two))).enumerate()
        {
            let path = if one == "**" { "/**".to_owned() } else { format!("/{one}/{two}") };
            let pattern = Pattern::parse(&format!("POST {path}"), 1).unwrap();
            rules.push((n, pattern));
        }
        // Every rotation puts another rule first.
        for turn in 0..rules.len() {
            rules.rotate_left(1);
            let mut routes = Routes::default();
            for (index, (_, pattern)) in rules.iter().enumerate() {
                routes.add(pattern, index);
            }
            for path in ["a", "c", "a/a", "a/c", "b/b", "c/a", "c/c", "a/b/c", "c/c/c"] {
                let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
                let plain: Vec<&str> = path.split('/').collect();
                let linear = rules.iter().position(|(_, p)| p.matches(&Method::POST, &plain));
                assert_eq!(routes.first(&Method::POST, &segments), linear, "{path}, turn {turn}");
            }
        }
    }
}

mod reading {
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
            let policy = policy(&format!(
                "version = 1\n{mode}record = \"decisions\"\n{a}{b}{}",
                rule("c", "")
            ));
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
}

mod complaining {
    use super::*;

    fn critical(lines: &str) -> String {
        refused(&rule(&format!("match = [\"POST /v1/x\"]\nclass = \"critical\"\n{lines}")))
    }

    #[test]
    fn all_problems_are_told_at_once_in_the_order_of_the_file() {
        let problems = Policy::parse(
            "version = 2\nmode = \"enforced\"\n[[rule]]\nname = \"A\"\nmatch = []\nclass = 3\n",
        )
        .unwrap_err();
        let places: Vec<_> = problems.iter().map(|p| (p.line, p.column)).collect();
        assert_eq!(places, [(1, 11), (2, 8), (4, 8), (5, 9), (6, 9)]);
    }

    #[test]
    fn of_the_file_itself() {
        let cases = [
            "",
            "version = \"1\"",
            "version = 3",
            "version = 1\nmode = \"observing\"",
            "version = 1\nuuid4keys = \"own\"",
            "version = 1\ndefault_writes = true",
            "version = 1\nzebra = 1",
            "version = 1\n[rule]\nname = \"a\"",
            "version = 1\nrule = [1]",
            "version = 1\ntest = \"x\"",
            "version = 1\n[[signature]]\nkey = \"1\"",
            "version = 1\n[[scope]]\n[[guard]]",
            "version = 1\n[[rule]\nname = \"a\"\n[[rule]]\nname = a",
            "version = 1\nversion = 1",
            "version = 1\nmode = \"enforce",
        ];
        insta::assert_snapshot!(cases.map(refused).join("\n\n----\n\n"));
    }

    #[test]
    fn of_what_a_rule_matches() {
        let patterns = |list: &str| refused(&rule(&format!("match = {list}\nclass = \"pass\"")));
        let cases = [
            refused("version = 1\n[[rule]]\n"),
            patterns("\"POST /v1/x\""),
            patterns("[]"),
            patterns("[1]"),
            patterns("[\"/v1/x\"]"),
            patterns("[\"POST v1/x\"]"),
            patterns("[\"POST  /v1/x\"]"),
            patterns("[\"post /v1/x\"]"),
            patterns("[\"TRACE /v1/x\"]"),
            patterns("[\"POST /v1//x\"]"),
            patterns("[\"POST /\"]"),
            patterns("[\"POST /v1/../x\"]"),
            patterns("[\"POST /v1/*\"]"),
            patterns("[\"POST /v1/**/x\"]"),
            patterns("[\"POST /v1/{}\"]"),
            patterns("[\"POST /v1/x{id}\"]"),
            patterns("[\"POST /v1/%41\"]"),
            patterns("[\"POST /v1/x?a=b\"]"),
            patterns("[\"POST /v1/x\", \"POST /v1/x\"]"),
            patterns(&format!("[\"POST {}\"]", "/x".repeat(33))),
        ];
        insta::assert_snapshot!(cases.join("\n\n----\n\n"));
    }

    #[test]
    fn of_names_and_classes() {
        let cases = [
            refused(
                "version = 1\n[[rule]]\nname = \"a\"\nmatch = [\"POST /v1/a\"]\nclass = \"pass\"\n\
                 [[rule]]\nname = \"a\"\nmatch = [\"POST /v1/b\"]\nclass = \"pass\"",
            ),
            refused(
                "version = 1\n[[rule]]\nname = \"not_critical\"\nmatch = [\"POST /v1/a\"]\nclass = \"pass\"",
            ),
            refused(
                "version = 1\n[[rule]]\nname = \"Großes\"\nmatch = [\"POST /v1/a\"]\nclass = \"pass\"",
            ),
            refused(&rule("match = [\"POST /v1/x\"]")),
            refused(&rule("match = [\"POST /v1/x\"]\nclass = \"critcal\"")),
            refused(&rule(
                "match = [\"POST /v1/x\"]\nclass = \"refuse\"\nidentity = \"content\"\nmerge = \"twins\"",
            )),
            refused(&rule("match = [\"GET /v1/x\"]\nclass = \"critical\"")),
            refused(&rule("match = [\"DELETE /v1/x\"]\nclass = \"critical\"")),
            refused(&rule("match = [\"DELETE /{api}/x\"]\nclass = \"critical\"")),
            refused(&rule("match = [\"* /v2/x\"]\nclass = \"critical\"")),
        ];
        insta::assert_snapshot!(cases.join("\n\n----\n\n"));
    }

    #[test]
    fn of_identity_and_what_goes_with_it() {
        let cases = [
            critical("identity = \"contents\""),
            critical("identity = 1"),
            critical("identity = \"content\""),
            critical("identity = \"content\"\ndistinguishes = []"),
            critical("identity = \"content\"\ndistinguishes = [\"customer\", \"customer\"]"),
            critical(
                "identity = \"content\"\ndistinguishes = [\"customer\"]\nclient_key = \"required\"",
            ),
            critical(
                "identity = \"content\"\ndistinguishes = [\"customer\"]\notherwise = \"call\"",
            ),
            critical("identity = []\notherwise = \"call\""),
            critical("identity = [\"metadata[order_id]\"]"),
            critical("identity = [\"metadata[*]\"]\notherwise = \"refuse\""),
            critical("identity = [\"a\"]\notherwise = \"no\""),
            critical("identity = [\"a\"]\notherwise = \"content\""),
            critical("identity = [\"a\"]\notherwise = \"call\"\ndistinguishes = [\"customer\"]"),
            critical("otherwise = \"call\""),
        ];
        insta::assert_snapshot!(cases.join("\n\n----\n\n"));
    }

    #[test]
    fn of_merging_and_later_features() {
        let content = "identity = \"content\"\ndistinguishes = [\"customer\"]";
        let cases = [
            critical("merge = \"twins\"\nrepeat_window = \"30s\""),
            critical(&format!("{content}\nrepeat_window = \"30s\"")),
            critical(&format!("{content}\nmerge = \"twins\"\nrepeat_window = \"1 minute\"")),
            critical(&format!("{content}\nmerge = \"twins\"\nrepeat_window = 30")),
            critical(&format!("{content}\nmerge = \"twins\"\nrepeat_window = \"23h\"")),
            critical("store_down = \"drive\"\nindeterminate = \"skip\""),
            critical("finish = true\nrecord = \"decisions\""),
            critical("finish = \"soon\""),
            critical("finish = \"59s\""),
            critical("finish = \"31m\""),
            critical("identify = \"content\""),
        ];
        insta::assert_snapshot!(cases.join("\n\n----\n\n"));
    }

    #[test]
    fn of_the_guard_and_required_fields() {
        let guard = |lines: &str| refused(&format!("version = 1\n[guard]\n{lines}"));
        let cases = [
            refused("version = 1\nguard = \"strict\""),
            guard("api_keys = [\"rk_lives\", \"sk_live\", \"sk_live\"]"),
            guard("api_keys = []\napi_keys_action = \"off\""),
            guard("api_keys_action = \"warn\"\nenvironment_action = \"warn\""),
            guard("environment = \"production\"\nkey_with_email = true\nkey_with_phone = \"warn\""),
            guard("shortest_key = 0\nkey_reused = \"deny\""),
            guard("shortest_key = \"16\""),
            guard("shortest_key = 16\nkey_weak = \"off\""),
            critical("require_field = \"customer\""),
            critical("require_field = []"),
            critical("require_field = [\"metadata[order_id\", \"amount\", \"amount\"]"),
        ];
        insta::assert_snapshot!(cases.join("\n\n----\n\n"));
    }

    const TWO: &str = "version = 1\n\
        [[rule]]\nname = \"wide\"\nmatch = [\"POST /v1/charges/**\"]\nclass = \"critical\"\n\
        [[rule]]\nname = \"narrow\"\nclass = \"pass\"\n";

    #[test]
    fn of_rules_that_come_too_late() {
        let cases = [
            refused(&format!("{TWO}match = [\"POST /v1/charges/{{id}}/capture\"]")),
            refused(&format!("{TWO}match = [\"POST /v1/charges\", \"POST /v1/charges/{{id}}\"]")),
        ];
        insta::assert_snapshot!(cases.join("\n\n----\n\n"));
    }

    #[test]
    fn of_tests_that_fail_or_test_nothing() {
        let test = |lines: &str| {
            let narrow = format!("{TWO}match = [\"POST /v1/refunds\"]");
            refused(&format!("{narrow}\n[[test]]\n{lines}"))
        };
        let cases = [
            test("request = \"POST /v1/charges/ch_1\"\nexpect = { rule = \"narrow\" }"),
            test("request = \"POST /v1/charges/ch_1\"\nexpect = { rule = \"wider\" }"),
            test(
                "request = \"POST /v1/charges/ch_1\"\nexpect = { class = \"pass\", identity = \"content\" }",
            ),
            test("request = \"POST /v1/refunds\"\nexpect = { identity = [\"charge\"] }"),
            test("request = \"POST /v1/other\"\nexpect = { rule = \"not_critical\" }"),
            test("request = \"POST /v1/refunds\""),
            test("request = \"POST /v1/refunds\"\nexpect = {}"),
            test("request = \"POST /v1/refunds\"\nexpect = \"pass\""),
            test(
                "request = \"POST /v1/refunds\"\nexpect = { role = \"narrow\", class = \"passed\" }",
            ),
            test("request = \"/v1/refunds\"\nexpect = { rule = \"narrow\" }"),
            test("expect = { rule = \"narrow\" }\nexpects = 1"),
        ];
        insta::assert_snapshot!(cases.join("\n\n----\n\n"));
    }

    #[test]
    fn a_field_or_a_path_that_is_ill_formed_is_told_with_the_reason_of_whoever_reads_it() {
        let reason = FieldPattern::parse("metadata[").unwrap_err();
        let said =
            critical("identity = \"content\"\ndistinguishes = [\"customer\", \"metadata[\"]");
        let expected = format!("line 7, column 30: \"metadata[\" is no field: {reason}\n");
        assert!(said.starts_with(&expected), "{said}");
        let reason = Target::parse("/v1//refunds").unwrap_err();
        let test = "[[test]]\nrequest = \"POST /v1//refunds\"\nexpect = { class = \"pass\" }";
        let said = refused(&format!("version = 1\n{test}"));
        let expected = format!("line 3, column 11: \"/v1//refunds\" would be refused: {reason}\n");
        assert!(said.starts_with(&expected), "{said}");
    }

    #[test]
    fn the_caret_stands_under_the_place_in_characters_and_no_control_character_is_shown() {
        let text = "version = 1\nmode =\t\"äöü\" # \u{1b}[31m\r\n";
        let problems = Policy::parse("version = 1\nmode =\t\"äöü\" # ü\r\n").unwrap_err();
        assert_eq!((problems[0].column, problems[0].width), (8, 5));
        assert!(!refused(text).contains('\u{1b}'));
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let text = format!("version = 1\nmode = {}\"x\"", " ".repeat(5_000));
        let shown = refused(&text);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines.iter().all(|line| line.len() < 200), "{shown}");
        let caret = lines[3].find('^').unwrap();
        assert_eq!(&lines[2][caret..caret + 3], "\"x\"");
    }

    #[test]
    fn no_more_than_a_hundred_problems_are_listed() {
        let text = format!("version = 1\n{}", "[[rule]]\n".repeat(200));
        let problems = Policy::parse(&text).unwrap_err();
        assert_eq!(problems.len(), 100);
        assert!(problems[99].mend.ends_with("(and 500 more problems)"));
    }

    #[test]
    fn more_templates_than_can_be_compared_are_refused() {
        let patterns: Vec<String> = (0..5_001).map(|n| format!("\"POST /v1/{n}\"")).collect();
        let text = rule(&format!("match = [{}]\nclass = \"pass\"", patterns.join(",")));
        assert!(refused(&text).contains("more than 5000 templates"));
    }
}
