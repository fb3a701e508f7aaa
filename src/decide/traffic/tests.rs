//! What a line holds, and what it does not.

use super::*;
use crate::decide::canonical;

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
const NODE: &str = "Stripe/v1 NodeBindings/23.1.0";

fn said(body: &str, key: Option<&str>, header: Option<&str>) -> Said {
    let (secret, scope) = (Secret::of_api_key(b"sk_test_1"), Scope::of(b"sk_test_1", None, None));
    let content = canonical::read(FORM, None, None, body.as_bytes());
    let key = key.map(|key| IdempotencyKey::parse(key.as_bytes()).unwrap());
    Said::of(&Heard {
        secret: &secret,
        scope: &scope,
        path: "/v1/charges",
        client_key: key.as_ref(),
        agent: Some(NODE),
        header,
        content: &content,
        fingerprint: &Fingerprint::of(&secret, &scope, &content),
    })
}

#[test]
fn names_are_there_and_no_value_is() {
    let said = said("source=tok_canary&metadata[a]=canary&description=", Some("canary"), None);
    let text = serde_json::to_string(&said).unwrap();
    assert!(!text.contains("canary"), "{text}");
    let names: Vec<&str> = said.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["description", "metadata[a]", "source"]);
    assert_eq!(said.fields[0].1, None, "an empty value is told as that");
    assert!(said.fields[1].1.is_some());
}

#[test]
fn the_same_value_has_another_digest_under_another_name_key_or_api_key() {
    let said = said("a=1&b=1", None, Some("1"));
    let mut digests: Vec<&str> = said.fields.iter().filter_map(|it| it.1.as_deref()).collect();
    digests.push(said.header.as_deref().unwrap());
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 3);
}

#[test]
fn who_chose_a_key_is_told_by_its_form() {
    let chosen = |key| said("a=1", Some(key), None).client_key.unwrap().chosen;
    assert_eq!(chosen("order-1"), By::Own);
    assert_eq!(chosen("stripe-node-retry-00000000-0000-4000-8000-000000000001"), By::Sdk);
}

#[test]
fn more_fields_than_are_told_apart_are_said_to_be_there() {
    let body = |fields: usize| (0..fields).map(|n| format!("f{n}=1")).collect::<Vec<_>>().join("&");
    assert!(!said(&body(Fingerprint::MAX_FIELDS), None, None).more);
    let said = said(&body(Fingerprint::MAX_FIELDS + 1), None, None);
    assert!(said.more && said.fields.len() == Fingerprint::MAX_FIELDS);
}

#[test]
fn only_what_has_the_form_of_an_amount_or_a_currency_is_written_down() {
    assert_eq!(amount(Some("500")), Some(500));
    assert_eq!(amount(Some("-5")), Some(-5));
    for text in ["", "4242424242424242", "jane", "5.00"] {
        assert_eq!(amount(Some(text)), None, "{text}");
    }
    assert_eq!(currency(Some("EUR")).as_deref(), Some("eur"));
    for text in ["", "euro", "e1r"] {
        assert_eq!(currency(Some(text)), None, "{text}");
    }
}

#[test]
fn a_line_of_another_form_is_refused_by_its_number() {
    assert_eq!(Line::read("{}"), Err(BadLine::Form(1)));
    assert_eq!(Line::read("canary").unwrap_err().to_string(), "it is no line that payonce wrote");
}
