//! What two contents are told apart by, and what of that is told to people.

use super::*;

fn fingerprint(content_type: &str, body: &str) -> Fingerprint {
    let content = canonical::read(Some(content_type), None, None, body.as_bytes());
    Fingerprint::of(&Secret::configured(b"secret"), &Scope::of(b"sk", None, None), &content)
}

fn differing(content_type: &str, one: &str, other: &str) -> Vec<String> {
    let (one, other) = (fingerprint(content_type, one), fingerprint(content_type, other));
    assert!(!one.matches(&other));
    let (there, mut back) = (one.differing(&other), other.differing(&one));
    let mut sorted = there.clone();
    sorted.sort();
    back.sort();
    assert_eq!(sorted, back, "the same fields from either side");
    there
}

#[test]
fn a_conflict_names_the_fields_that_differ_and_no_value() {
    for (one, other, names) in [
        ("amount=500&currency=usd", "amount=501&currency=usd", vec!["amount"]),
        ("amount=500", "amount=500&currency=usd", vec!["currency"]),
        ("a=1&b=2", "a=2&b=1", vec!["a", "b"]),
        ("a=", "", vec!["a"]),
        ("items[0][price]=p1", "items[0][price]=p2", vec!["items[0][price]"]),
        ("a[]=1&a[]=2", "a[]=1&a[]=2&a[]=2", vec!["a[]"]),
        ("a[]=1&a[]=1&a[]=2", "a[]=1&a[]=2&a[]=2", vec!["a[]"]),
    ] {
        assert_eq!(differing(FORM, one, other), names, "{one} / {other}");
    }
}

#[test]
fn another_order_of_a_list_is_named() {
    assert_eq!(differing(FORM, "a[]=1&a[]=2", "a[]=2&a[]=1"), ["a[]"]);
}

#[test]
fn another_type_of_a_value_is_named() {
    assert_eq!(differing("application/json", r#"{"a":5}"#, r#"{"a":"5"}"#), ["a"]);
    assert_eq!(differing("application/json", r#"{"a":null}"#, r#"{"a":""}"#), ["a"]);
}

#[test]
fn a_field_that_is_the_same_is_never_named() {
    let many: Vec<String> = (0..64).map(|n| format!("f{n:02}=1")).collect();
    let many = many.join("&");
    let one_more = format!("a=1&{many}");
    assert_eq!(differing(FORM, &many, &one_more), ["a"]);
}

#[test]
fn a_conflict_names_a_bounded_number_of_fields() {
    let many = |value| (0..50).map(|n| format!("f{n:02}={value}")).collect::<Vec<_>>().join("&");
    assert_eq!(differing_count(&many(1), &many(2)), 16);
    let long = "n".repeat(5000);
    let names = differing(FORM, &format!("{long}=1"), &format!("{long}=2"));
    assert!(names.iter().all(|name| name.len() <= 100));
}

fn differing_count(one: &str, other: &str) -> usize {
    fingerprint(FORM, one).differing(&fingerprint(FORM, other)).len()
}

#[test]
fn fingerprints_of_two_scopes_tell_nothing_of_each_other() {
    let content = canonical::read(Some(FORM), None, None, b"amount=500");
    let of = |scope: &Scope| Fingerprint::of(&Secret::configured(b"secret"), scope, &content);
    let (one, other) = (of(&Scope::of(b"sk1", None, None)), of(&Scope::of(b"sk2", None, None)));
    assert!(!one.matches(&other));
    assert_ne!(one.fields, other.fields);
}
