use super::*;
use crate::decide::agent::Releases;
use crate::decide::policy::Policy;

const TABLE: &str = "python\t7.14.0\t2024-02-15\tpypi\npython\t15.3.0\t2026-06-24\tpypi\n\
                     python\t16.1.0\t2026-10-29\tpypi\nruby\t19.5.0\t-\tfacts\n";

fn rules(text: &str) -> Vec<ClientRule> {
    let text = format!("version = 1\n{text}");
    Policy::parse(&text).unwrap_or_else(|wrong| panic!("{wrong:?}")).clients().to_vec()
}

fn refused(lines: &str) -> String {
    let text = format!("version = 1\n[[client]]\n{lines}\n");
    let problems = Policy::parse(&text).expect_err("the policy has problems");
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")
}

fn asker(sdk: Option<Sdk>, version: &str) -> Asker<'static> {
    let table = Releases::parse(TABLE).unwrap();
    let version = Version::parse(version);
    let released = sdk.zip(version).map(|(sdk, version)| table.released(sdk, version));
    Asker { sdk, version, released: released.unwrap_or(Released::Unknown), caller: None }
}

fn applies(lines: &str, sdk: Option<Sdk>, version: &str) -> bool {
    let rules = rules(&format!("[[client]]\nname = \"a\"\naction = \"warn\"\n{lines}"));
    rules[0].applies(&asker(sdk, version), Day::parse("2026-11-23").unwrap())
}

#[test]
fn a_minimum_catches_what_is_below_and_what_cannot_be_read() {
    let rule = "sdk = \"python\"\nminimum = \"15.4\"";
    assert!(applies(rule, Some(Sdk::Python), "15.3.9"));
    assert!(applies(rule, Some(Sdk::Python), "15.4.0b1"));
    assert!(applies(rule, Some(Sdk::Python), "next"));
    assert!(!applies(rule, Some(Sdk::Python), "15.4.0"));
    assert!(!applies(rule, Some(Sdk::Node), "1.0"));
    assert!(!applies(rule, None, ""));
}

#[test]
fn a_range_catches_only_versions_known_to_be_in_it() {
    let rule = "sdk = \"node\"\nfrom = \"20\"\nbelow = \"22.6.0\"";
    assert!(applies(rule, Some(Sdk::Node), "20.0.0") && applies(rule, Some(Sdk::Node), "22.5.9"));
    assert!(!applies(rule, Some(Sdk::Node), "19.9") && !applies(rule, Some(Sdk::Node), "22.6.0"));
    assert!(!applies(rule, Some(Sdk::Node), "unreadable"));
}

#[test]
fn an_age_catches_only_versions_whose_age_is_known() {
    let rule = "sdk = \"*\"\nolder_than = \"12 months\"";
    for (version, old) in
        [("7.14.0", true), ("2.0.0", true), ("15.3.0", false), ("16.0.0", false), ("99.0", false)]
    {
        assert_eq!(applies(rule, Some(Sdk::Python), version), old, "{version}");
    }
    assert!(!applies(rule, Some(Sdk::Ruby), "19.5.0"), "nobody knows when that was released");
    assert!(!applies(rule, None, ""));
    assert!(applies("sdk = \"python\"\nolder_than = \"150 days\"", Some(Sdk::Python), "15.3.0"));
}

#[test]
fn a_rule_may_be_about_who_names_no_sdk_and_about_some_callers_alone() {
    assert!(applies("sdk = \"unknown\"", None, ""));
    assert!(!applies("sdk = \"unknown\"", Some(Sdk::Go), "1.0"));
    let rules = rules(
        "[[client]]\nname = \"a\"\naction = \"warn\"\nsdk = [\"go\", \"unknown\"]\ncaller = \"jobs\"",
    );
    let today = Day::parse("2026-11-23").unwrap();
    let asks = |caller| rules[0].applies(&Asker { caller, ..asker(None, "") }, today);
    assert!(asks(Some("jobs")) && !asks(Some("web")) && !asks(None));
}

#[test]
fn the_worst_action_is_taken_and_of_equals_the_first() {
    let one = |name: &str, action: &str| {
        format!("[[client]]\nname = \"{name}\"\nsdk = \"*\"\naction = \"{action}\"\n")
    };
    let taken = |rules: &[ClientRule]| worst(rules.iter()).map(|rule| rule.name.clone());
    let text = [one("a", "report"), one("b", "refuse"), one("c", "refuse"), one("d", "warn")];
    assert_eq!(taken(&rules(&text.concat())).as_deref(), Some("b"));
    assert_eq!(taken(&[]), None);
}

#[test]
fn a_reason_says_what_is_wrong_and_what_the_author_says() {
    let reason = |lines: &str, version: &str| {
        let rules = rules(&format!("[[client]]\nname = \"a\"\naction = \"warn\"\n{lines}"));
        rules[0].reason(&asker(Some(Sdk::Python), version))
    };
    insta::assert_snapshot!(
        [
            reason("sdk = \"python\"", "7.14.0"),
            reason("sdk = \"python\"\nminimum = \"15\"\nmessage = \"Ask platform.\"", "7.14.0"),
            reason("sdk = \"python\"\nminimum = \"15\"", "x"),
            reason("sdk = \"python\"\nbelow = \"15\"", "7.14.0"),
            reason("sdk = \"python\"\nfrom = \"7\"\nbelow = \"15\"", "7.14.0"),
            reason("sdk = \"python\"\nolder_than = \"1 year\"", "7.14.0"),
        ]
        .join("\n"),
        @r"
    python 7.14.0
    python 7.14.0: at least 15.0.0 is wanted; Ask platform
    python of a version that cannot be read: at least 15.0.0 is wanted
    python 7.14.0 is below 15.0.0
    python 7.14.0 is in the range from 7.0.0 below 15.0.0
    python 7.14.0, released 2024-02-15, is older than 12 months
    "
    );
}

#[test]
fn every_mistake_is_told_with_its_mend() {
    let all = [
        "",
        "name = \"A b\"\nsdk = \"pyton\"\naction = \"block\"",
        "name = \"a\"\nsdk = []\naction = \"warn\"",
        "name = \"a\"\nsdk = 1\naction = \"warn\"\nversion = \"1\"",
        "name = \"a\"\nsdk = \"node\"\naction = \"warn\"\nminimum = \"v1\"",
        "name = \"a\"\nsdk = [\"node\", \"go\"]\naction = \"warn\"\nbelow = \"3\"",
        "name = \"a\"\nsdk = \"node\"\naction = \"warn\"\nfrom = \"3\"\nbelow = \"3.0\"",
        "name = \"a\"\nsdk = \"node\"\naction = \"warn\"\nminimum = \"3\"\nolder_than = \"1 year\"",
        "name = \"a\"\nsdk = \"node\"\naction = \"warn\"\nolder_than = \"a year\"",
        "name = \"a\"\nsdk = \"node\"\naction = \"warn\"\ncaller = \"\"\nmessage = \"x\\ny\"",
        "name = \"a\"\nsdk = \"go\"\naction = \"warn\"\n[[client]]\nname = \"a\"\nsdk = \"go\"\naction = \"warn\"",
    ];
    insta::assert_snapshot!(all.map(refused).join("\n\n---\n\n"));
}
