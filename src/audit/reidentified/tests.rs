use super::*;
use crate::decide::operation::codec::decode;

/// A record of that kind for `POST /v1/charges`.
fn record(kind: Kind) -> Record {
    let fixture = include_bytes!("../../../tests/fixtures/record-1.json");
    Record { kind, ..decode(fixture).unwrap() }
}

fn policy(top: &str, rule: &str) -> Policy {
    let text = format!(
        "version = 1\n{top}\n[[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\n{rule}\n"
    );
    Policy::parse(&text).unwrap()
}

const CALL: &str = "class = \"critical\"";
const CONTENT: &str =
    "class = \"critical\"\nidentity = \"content\"\ndistinguishes = [\"customer\"]";
const FIELDS: &str =
    "class = \"critical\"\nidentity = [\"metadata[order_id]\"]\notherwise = \"call\"";

#[test]
fn an_edit_concerns_what_can_be_recognised_otherwise_after_it_and_nothing_else() {
    let twins = format!("{CONTENT}\nmerge = \"twins\"");
    let wider = CONTENT.replace("\"customer\"", "\"customer\", \"source\"");
    let held = format!("{CONTENT}\nstore_down = \"refuse\"");
    let edits = [
        // What is edited; whether that concerns fields, own keys, content.
        (CONTENT, FIELDS, [true, true, true]),
        (FIELDS, CALL, [true, true, true]),
        (CONTENT, CALL, [false, false, true]),
        (CALL, CONTENT, [false, false, true]),
        (CONTENT, &twins, [false, false, true]),
        (CONTENT, &wider, [false, false, true]),
        (CONTENT, &held, [false, false, false]),
        (CONTENT, "class = \"pass\"", [true, true, true]),
        (CONTENT, CONTENT, [false, false, false]),
    ];
    for (old, new, concerned) in edits {
        let (before, after) = (policy("", old), policy("", new));
        let kinds = [Kind::Fields, Kind::OwnKey, Kind::Content];
        let found = kinds.map(|kind| is_concerned(&before, &after, &record(kind)));
        assert_eq!(found, concerned, "{old}\nto\n{new}");
        let header = is_concerned(&before, &after, &record(Kind::Header));
        assert_eq!(header, new.contains("pass"), "{new}");
    }
    let (sdk, own) = (policy("", CONTENT), policy("uuid4_keys = \"own\"", CONTENT));
    assert!(is_concerned(&sdk, &own, &record(Kind::OwnKey)));
    assert!(!is_concerned(&sdk, &own, &record(Kind::Header)));
}

#[test]
fn what_is_concerned_is_counted_by_the_rule_it_was_recorded_under() {
    let (before, after) = (policy("", CONTENT), policy("", CALL));
    let mut records = vec![record(Kind::Content), record(Kind::Content), record(Kind::Header)];
    records[1].request = "POST /v1/refunds".to_owned();
    let mut renamed = record(Kind::Content);
    renamed.about.rule = "old_name".to_owned();
    // What was cut short when it was recorded is counted, to be sure.
    let mut cut = renamed.clone();
    cut.request = "POST /v1/%4".to_owned();
    records.extend([renamed, cut]);
    let found = count(&before, &after, records.iter(), true);
    let of = |rule: &str, operations| RuleCount { rule: rule.to_owned(), operations };
    assert_eq!((found.open, found.more, found.operations()), (5, true, 3));
    assert_eq!(found.rules, [of("old_name", 2), of("charges", 1)]);
}

#[test]
fn more_rules_than_a_line_should_hold_are_counted_together() {
    let (before, after) = (policy("", CONTENT), policy("", CALL));
    let records: Vec<Record> = (0..30)
        .map(|n| {
            let mut record = record(Kind::Content);
            record.about.rule = format!("rule_{n}");
            record
        })
        .collect();
    let found = count(&before, &after, records.iter(), false);
    assert_eq!((found.rules.len(), found.operations()), (MOST_RULES + 1, 30));
}
