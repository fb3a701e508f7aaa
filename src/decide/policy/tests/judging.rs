//! Which rule a request falls to.

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
