//! What is said of a bad one.

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
        critical("identity = \"content\"\ndistinguishes = [\"customer\"]\notherwise = \"call\""),
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
        test("request = \"POST /v1/refunds\"\nexpect = { role = \"narrow\", class = \"passed\" }"),
        test("request = \"/v1/refunds\"\nexpect = { rule = \"narrow\" }"),
        test("expect = { rule = \"narrow\" }\nexpects = 1"),
    ];
    insta::assert_snapshot!(cases.join("\n\n----\n\n"));
}

#[test]
fn a_field_or_a_path_that_is_ill_formed_is_told_with_the_reason_of_whoever_reads_it() {
    let reason = FieldPattern::parse("metadata[").unwrap_err();
    let said = critical("identity = \"content\"\ndistinguishes = [\"customer\", \"metadata[\"]");
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
