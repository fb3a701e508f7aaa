//! Small policies whose difference is known, and random ones against asking for every request.

use proptest::prelude::*;

use super::super::Pattern;
use super::*;
use crate::decide::path::Target;
use http::Method;

fn policy(text: &str) -> Policy {
    Policy::parse(text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// A policy of one rule for charges with these lines in it.
fn charges(lines: &str) -> Policy {
    policy(&format!(
        "version = 1\n[[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\n{lines}\n"
    ))
}

const CONTENT: &str = "class = \"critical\"\nidentity = \"content\"\n";

/// What changes for charges: key, gravity, whether they are re-identified.
fn told(old: &str, new: &str) -> Vec<(&'static str, Gravity, bool)> {
    let diff = diff(&charges(old), &charges(new));
    assert!(diff.groups.len() <= 1, "{diff:?}");
    assert!(diff.groups.iter().all(|it| it.requests.len() == 1 && it.requests[0].is_published));
    let other_id = !diff.reidentified().is_empty();
    let changes: Vec<_> = diff.groups.iter().flat_map(|group| &group.changes).collect();
    assert_eq!(other_id, changes.iter().any(|it| it.reidentifies), "{diff:?}");
    changes.iter().map(|it| (it.what, it.gravity, it.reidentifies)).collect()
}

#[test]
fn a_policy_does_not_differ_from_itself() {
    let shipped = || policy(crate::policy_file::SHIPPED);
    let same = diff(&shipped(), &shipped());
    assert!(same.is_empty(), "{same:?}");
    assert!(same.to_string().ends_with("nothing changes for any request"), "{same}");
}

#[test]
fn every_change_of_class_says_how_grave_it_is() {
    let classes = ["critical", "pass", "refuse"];
    let changed = |old: &str, new: &str| {
        let class = |class: &str| format!("class = \"{class}\"");
        told(&class(old), &class(new)).first().map(|change| change.1)
    };
    for class in classes {
        assert_eq!(changed(class, class), None);
    }
    assert_eq!(changed("critical", "pass"), Some(Gravity::Unprotected));
    assert_eq!(changed("refuse", "pass"), Some(Gravity::Unprotected));
    assert_eq!(changed("refuse", "critical"), Some(Gravity::Weaker));
    assert_eq!(changed("critical", "refuse"), Some(Gravity::Refused));
    assert_eq!(changed("pass", "refuse"), Some(Gravity::Refused));
    assert_eq!(changed("pass", "critical"), Some(Gravity::Stronger));
    let content = format!("{CONTENT}distinguishes = [\"customer\"]");
    assert_eq!(told("class = \"pass\"", &content), [("class", Gravity::Merged, false)]);
}

#[test]
fn every_change_of_identity_says_how_grave_it_is_and_that_it_re_identifies() {
    use Gravity::{Merged, Refused, Reidentified, Weaker};
    let call = "class = \"critical\"";
    let content = format!("{CONTENT}distinguishes = [\"customer\"]");
    let by = |fields: &str, otherwise: &str| {
        format!("class = \"critical\"\nidentity = {fields}\notherwise = \"{otherwise}\"")
    };
    assert_eq!(told(call, &content), [("identity", Merged, true)]);
    assert_eq!(told(&content, call), [("identity", Weaker, true)]);
    let cases = [
        (call.to_owned(), by("[\"a\"]", "call"), vec![("identity", Merged, true)]),
        (by("[\"a\"]", "call"), call.to_owned(), vec![("identity", Weaker, true)]),
        (by("[\"a\"]", "call"), by("[\"a\", \"b\"]", "call"), vec![("identity", Weaker, true)]),
        (by("[\"a\", \"b\"]", "call"), by("[\"a\"]", "call"), vec![("identity", Merged, true)]),
        (by("[\"a\"]", "call"), by("[\"b\"]", "call"), vec![("identity", Merged, true)]),
        (
            by("[\"a\", \"b\"]", "call"),
            by("[\"b\", \"a\"]", "call"),
            vec![("identity", Reidentified, true)],
        ),
        (by("[\"a\"]", "call"), by("[\"a\"]", "refuse"), vec![("otherwise", Refused, false)]),
        (by("[\"a\"]", "refuse"), by("[\"a\"]", "call"), vec![("otherwise", Weaker, false)]),
    ];
    for (old, new, expected) in cases {
        assert_eq!(told(&old, &new), expected, "{old}\n{new}");
    }
}

#[test]
fn every_change_of_merging_says_how_grave_it_is() {
    use Gravity::{Merged, Refused, Stronger, Weaker};
    let with = |lines: &str| format!("{CONTENT}distinguishes = [\"customer\"]\n{lines}");
    let fields = |list: &str| format!("{CONTENT}distinguishes = {list}");
    let twins = |window: &str| with(&format!("merge = \"twins\"\nrepeat_window = \"{window}\""));
    let cases = [
        (fields("[\"a\"]"), fields("[\"a\", \"b\"]"), vec![("distinguishes", Merged, true)]),
        (fields("[\"a\", \"b\"]"), fields("[\"b\"]"), vec![("distinguishes", Weaker, true)]),
        (fields("[\"a\"]"), fields("[\"b\"]"), vec![("distinguishes", Weaker, true)]),
        (fields("[\"a\", \"b\"]"), fields("[\"b\", \"a\"]"), vec![]),
        (with(""), twins("0s"), vec![("merge", Merged, false)]),
        (twins("30s"), with(""), vec![("merge", Weaker, false)]),
        (twins("30s"), twins("1m"), vec![("repeat_window", Merged, false)]),
        (twins("60s"), twins("1m"), vec![]),
        (twins("1m"), twins("1500ms"), vec![("repeat_window", Weaker, false)]),
        (with(""), with("store_down = \"refuse\""), vec![("store_down", Refused, false)]),
        (with("store_down = \"refuse\""), with(""), vec![("store_down", Weaker, false)]),
        (with(""), with("indeterminate = \"next\""), vec![("indeterminate", Weaker, false)]),
        (with("indeterminate = \"next\""), with(""), vec![("indeterminate", Stronger, false)]),
        (with(""), with("finish = \"30m\""), vec![("finish", Weaker, false)]),
        (with("finish = \"5m\""), with("finish = \"30m\""), vec![("finish", Weaker, false)]),
        (with("finish = \"30m\""), with("finish = \"5m\""), vec![("finish", Stronger, false)]),
        (with("finish = \"30m\""), with(""), vec![("finish", Stronger, false)]),
        (with("finish = \"60s\""), with("finish = \"1m\""), vec![]),
    ];
    for (old, new, expected) in cases {
        assert_eq!(told(&old, &new), expected, "{old}\n{new}");
    }
    let call = "class = \"critical\"";
    let required = "class = \"critical\"\nclient_key = \"required\"";
    assert_eq!(told(call, required), [("client_key", Refused, false)]);
    assert_eq!(told(required, call), [("client_key", Weaker, false)]);
    let fields = |list: &str| format!("class = \"critical\"\nrequire_field = {list}");
    assert_eq!(told(call, &fields("[\"a\"]")), [("require_field", Refused, false)]);
    assert_eq!(told(&fields("[\"a\"]"), &fields("[\"b\"]")), [("require_field", Refused, false)]);
    assert_eq!(
        told(&fields("[\"a\", \"b\"]"), &fields("[\"a\"]")),
        [("require_field", Weaker, false)]
    );
    assert_eq!(told(&fields("[\"a\", \"b\"]"), &fields("[\"b\", \"a\"]")), []);
}

#[test]
fn what_the_file_says_as_a_whole_is_told_once_and_not_by_request() {
    let old = policy("version = 1");
    let new = policy("version = 1\nmode = \"observe\"\ndefault_writes = \"pass\"");
    let found = diff(&old, &new);
    let file: Vec<_> = found.file.iter().map(|it| (it.what, it.gravity)).collect();
    assert_eq!(file, [("mode", Gravity::Unprotected), ("default_writes", Gravity::Unprotected)]);
    assert_eq!(found.groups.len(), 1);
    assert!(found.has(Gravity::Unprotected) && !found.has(Gravity::Weaker));
}

#[test]
fn who_a_uuid_comes_from_re_identifies_everything_critical_and_nothing_else() {
    let old = policy(crate::policy_file::SHIPPED);
    let text = crate::policy_file::SHIPPED.replace("uuid4_keys = \"sdk\"", "uuid4_keys = \"own\"");
    let found = diff(&old, &policy(&text));
    assert!(found.groups.is_empty());
    let critical = |it: &&Requests| {
        let method = Method::from_bytes(it.method.as_bytes()).unwrap();
        let segments: Vec<&str> = it.path.split('/').skip(1).collect();
        old.falls_to(&method, &segments).class == Class::Critical
    };
    assert!(found.reidentified().len() > 300);
    assert!(found.reidentified().iter().all(|it| critical(&it)));
    let file: Vec<_> = found.file.iter().map(|it| (it.what, it.reidentifies)).collect();
    assert_eq!(file, [("uuid4_keys", true)]);
}

#[test]
fn keys_that_count_as_one_are_told_by_how_many_and_what_that_means() {
    let digest = |letter: &str| letter.repeat(64);
    let scope = |name: &str, keys: &[&str]| {
        let keys: Vec<String> = keys.iter().map(|key| format!("\"{}\"", digest(key))).collect();
        format!("[[scope]]\nname = \"{name}\"\nkeys = [{}]\n", keys.join(", "))
    };
    let of = |scopes: &str| policy(&format!("version = 1\n{scopes}"));
    let (two, three) = (scope("shop", &["a", "b"]), scope("shop", &["a", "b", "c"]));
    for (old, new, gravity) in [
        (String::new(), two.clone(), Gravity::Merged),
        (two.clone(), three.clone(), Gravity::Merged),
        (three, two.clone(), Gravity::Weaker),
        (two.clone(), scope("store", &["a", "b"]), Gravity::Reidentified),
        (two.clone(), scope("shop", &["a", "c"]), Gravity::Weaker),
    ] {
        let found = diff(&of(&old), &of(&new));
        let file: Vec<_> = found.file.iter().map(|it| (it.what, it.gravity)).collect();
        assert_eq!(file, [("scope", gravity)], "{old}\n{new}");
        assert!(found.reidentified().len() > 300 && !found.to_string().contains(&digest("a")));
    }
    assert!(diff(&of(&two), &of(&scope("shop", &["b", "a"]))).is_empty());
}

/// Where two templates overlap, neither of them shows what the other order does.
#[test]
fn another_order_of_rules_is_found_where_they_overlap() {
    let rule = |name: &str, path: &str, class: &str| {
        format!("[[rule]]\nname = \"{name}\"\nmatch = [\"POST {path}\"]\nclass = \"{class}\"\n")
    };
    let one = rule("one", "/v9/{x}/b", "critical");
    let two = rule("two", "/v9/a/**", "pass");
    let (old, new) = (format!("version = 1\n{one}{two}"), format!("version = 1\n{two}{one}"));
    let found = diff(&policy(&old), &policy(&new));
    assert_eq!(found.groups.len(), 1, "{found:?}");
    let group = &found.groups[0];
    assert_eq!(group.gravity, Gravity::Unprotected);
    assert_eq!(
        group.requests.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["POST /v9/a/b"]
    );
    assert!(!group.requests[0].is_published);
}

#[test]
fn the_gravest_comes_first_and_a_summary_counts() {
    let rules = |lines: [&str; 4]| {
        let names = ["charges", "refunds", "transfers", "payouts"];
        let rule = |(name, lines): (&str, &str)| {
            format!("[[rule]]\nname = \"{name}\"\nmatch = [\"POST /v1/{name}\"]\n{lines}\n")
        };
        let rules: Vec<String> = names.into_iter().zip(lines).map(rule).collect();
        policy(&format!("version = 1\n{}", rules.join("")))
    };
    let call = "class = \"critical\"";
    let content = format!("{CONTENT}distinguishes = [\"customer\"]");
    let next = "class = \"critical\"\nindeterminate = \"next\"";
    let old = rules([call, call, call, "class = \"pass\""]);
    let new = rules([&content, next, "class = \"pass\"", call]);
    let found = diff(&old, &new);
    let order: Vec<Gravity> = found.groups.iter().map(|group| group.gravity).collect();
    let gravest = [Gravity::Unprotected, Gravity::Weaker, Gravity::Merged, Gravity::Stronger];
    assert_eq!(order, gravest);
    let summary = found.to_string();
    let counts = ": 1 no longer protected, 1 weaker, 1 merged more, 1 re-identified, 1 stronger";
    assert!(summary.ends_with(counts), "{summary}");
    assert_eq!(summary.lines().count(), 1);
}

#[test]
fn more_overlaps_than_are_compared_are_told_and_not_kept_quiet() {
    // 150 templates of one kind overlap with 150 of the other, once each.
    let rules = |name: &str, path: fn(usize) -> String| {
        let patterns: Vec<String> = (0..150).map(path).collect();
        let list = patterns.join(", ");
        policy(&format!(
            "version = 1\n[[rule]]\nname = \"{name}\"\nmatch = [{list}]\nclass = \"pass\"\n"
        ))
    };
    let old = rules("a", |n| format!("\"POST /v9/{{x}}/b{n}\""));
    let new = rules("b", |n| format!("\"POST /v9/a{n}/{{x}}\""));
    let found = diff(&old, &new);
    assert!(found.cut && !found.is_empty() && found.to_string().contains("than are compared"));
}

/// A policy of rules over a few words, in any order; those that can never match are left out.
fn policies() -> impl Strategy<Value = Policy> {
    let segment = prop_oneof![Just("a"), Just("b"), Just("{x}")];
    let path = (prop::collection::vec(segment, 1..4), any::<bool>());
    let method = prop_oneof![Just("POST"), Just("DELETE"), Just("*")];
    let class = prop_oneof![Just("pass"), Just("refuse")];
    prop::collection::vec((method, path, class), 0..6).prop_map(|rules| {
        let mut text = "version = 1\n".to_owned();
        for (n, (method, (segments, tail), class)) in rules.into_iter().enumerate() {
            let tail = if tail { "/**" } else { "" };
            let rule = format!(
                "[[rule]]\nname = \"r{n}\"\nmatch = [\"{method} /{}{tail}\"]\nclass = \"{class}\"\n",
                segments.join("/")
            );
            let longer = format!("{text}{rule}");
            if Policy::parse(&longer).is_ok() {
                text = longer;
            }
        }
        Policy::parse(&text).unwrap()
    })
}

/// Every request over these words up to a length that no rule reaches.
fn requests() -> Vec<(Method, String)> {
    let mut paths = vec![String::new()];
    let mut all = Vec::new();
    for _length in 0..5 {
        let longer = |path: &String| ["a", "b", "c"].map(|word| format!("{path}/{word}"));
        paths = paths.iter().flat_map(longer).collect();
        for method in [Method::POST, Method::DELETE, Method::GET] {
            all.extend(paths.iter().map(|path| (method.clone(), path.clone())));
        }
    }
    all
}

proptest! {
    // 16, unless PROPTEST_CASES says more.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 16,
        ..ProptestConfig::default()
    })]

    /// Whatever falls to another rule is told by something that matches it; and what is told is so.
    #[test]
    fn no_request_changes_rules_without_being_told(old in policies(), new in policies()) {
        let found = diff(&old, &new);
        prop_assert!(!found.cut);
        let parsed = |requests: &Requests| Pattern::parse(&requests.to_string(), 1).unwrap();
        let told: Vec<(&Group, Vec<Pattern>)> =
            found.groups.iter().map(|it| (it, it.requests.iter().map(parsed).collect())).collect();
        for (method, path) in requests() {
            let target = Target::parse(&path).unwrap();
            let (was, is) = (old.judge(&method, &target), new.judge(&method, &target));
            let segments: Vec<&str> = path.split('/').skip(1).collect();
            let told = told.iter().any(|(group, patterns)| {
                group.old.rule == was.name
                    && group.new.rule == is.name
                    && patterns.iter().any(|it| it.matches(&method, &segments))
            });
            let differs = was.name != is.name || was.class != is.class;
            prop_assert_eq!(differs, told, "{} {}: {} → {}", method, path, was.name, is.name);
        }
        // A request that is told about is the most general of those that it stands for.
        for group in &found.groups {
            for requests in group.requests.iter().filter(|it| !it.path.ends_with("**")) {
                let method = Method::from_bytes(requests.method.as_bytes()).unwrap();
                let segments: Vec<&str> = requests.path.split('/').skip(1).collect();
                prop_assert_eq!(&old.falls_to(&method, &segments).name, &group.old.rule);
                prop_assert_eq!(&new.falls_to(&method, &segments).name, &group.new.rule);
            }
        }
    }
}

#[test]
fn every_change_of_a_guard_is_told_once_for_the_file() {
    use Gravity::{Refused, Stronger, Weaker};
    let none = "";
    for (old, new, expected) in [
        (none, "api_keys = [\"rk_live\"]", vec![("guard.api_keys", Refused)]),
        ("api_keys = [\"rk_live\"]", none, vec![("guard.api_keys", Weaker)]),
        (
            none,
            "environment = \"test\"\nenvironment_action = \"warn\"",
            vec![("guard.environment", Stronger)],
        ),
        (none, "key_weak = \"refuse\"", vec![("guard.key_weak", Refused)]),
        (
            "key_with_card = \"refuse\"",
            "key_with_card = \"warn\"",
            vec![("guard.key_with_card", Weaker)],
        ),
        ("key_reused = \"off\"", none, vec![("guard.key_reused", Stronger)]),
        (none, "shortest_key = 16", vec![("guard.shortest_key", Stronger)]),
        (none, "shortest_key = 4", vec![("guard.shortest_key", Weaker)]),
        (none, "key_with_email = \"warn\"", vec![]),
    ] {
        let of = |lines: &str| policy(&format!("version = 1\n[guard]\n{lines}"));
        let found = diff(&of(old), &of(new));
        let file: Vec<_> = found.file.iter().map(|it| (it.what, it.gravity)).collect();
        assert_eq!(file, expected, "{old}\n{new}");
    }
}
