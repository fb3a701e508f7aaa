//! Whole requests: kinds, queries, and how each SDK writes the same charge.

use super::*;

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
const JSON: Option<&str> = Some("application/json");

fn form(body: &str) -> Canonical {
    read(FORM, None, None, body.as_bytes())
}

/// One charge as each SDK writes it (FACTS §1.7): a space as `+` or `%20`, `~` or `%7E`, brackets
/// literal or encoded, Go in alphabetical order.
const CHARGE: &[(&str, &str)] = &[
    (
        "python",
        "amount=2000&currency=usd&customer=cus_1&description=Order+6735+~+Gr%C3%B6%C3%9Fe+%26+co\
         &expand[0]=customer&expand[1]=invoice&metadata[order_id]=6735&metadata[note]=a%2Bb",
    ),
    (
        "php",
        "amount=2000&currency=usd&customer=cus_1&description=Order+6735+%7E+Gr%C3%B6%C3%9Fe+%26+co\
         &expand[0]=customer&expand[1]=invoice&metadata[order_id]=6735&metadata[note]=a%2Bb",
    ),
    (
        "ruby",
        "amount=2000&currency=usd&customer=cus_1&metadata[note]=a%2Bb&metadata[order_id]=6735\
         &description=Order+6735+~+Gr%C3%B6%C3%9Fe+%26+co&expand[0]=customer&expand[1]=invoice",
    ),
    (
        "go",
        "amount=2000&currency=usd&customer=cus_1&description=Order+6735+~+Gr%C3%B6%C3%9Fe+%26+co\
         &expand[0]=customer&expand[1]=invoice&metadata[note]=a%2Bb&metadata[order_id]=6735",
    ),
    (
        "node",
        "amount=2000&currency=usd&customer=cus_1\
         &description=Order%206735%20~%20Gr%C3%B6%C3%9Fe%20%26%20co\
         &expand[0]=customer&expand[1]=invoice&metadata[order_id]=6735&metadata[note]=a%2Bb",
    ),
    (
        "brackets encoded, lower case",
        "amount=2000&currency=usd&customer=cus_1&description=Order+6735+%7e+Gr%c3%b6%c3%9fe+%26+co\
         &expand%5b0%5d=customer&expand%5B1%5D=invoice&metadata%5Border_id%5D=6735\
         &metadata%5bnote%5d=a%2bb",
    ),
];

#[test]
fn every_sdks_spelling_of_a_charge_has_the_same_form() {
    let (_, first) = CHARGE[0];
    for (sdk, body) in CHARGE {
        let read = form(body);
        assert_eq!(read.kind(), Kind::Form, "{sdk}");
        assert_eq!(read.whole(), form(first).whole(), "{sdk}");
        assert_eq!(read.fields(), form(first).fields(), "{sdk}");
        assert_eq!(read.get("metadata[order_id]"), Some(&b"6735"[..]), "{sdk}");
        assert_eq!(read.get("description"), Some("Order 6735 ~ Größe & co".as_bytes()), "{sdk}");
    }
}

#[test]
fn a_changed_value_name_or_list_order_changes_the_form() {
    let (_, sent) = CHARGE[0];
    for (from, to) in [
        ("2000", "2001"),
        ("usd", "USD"),
        ("cus_1", ""),
        ("&customer=cus_1", ""),
        ("customer=cus_1", "customers=cus_1"),
        ("a%2Bb", "a+b"),
        ("order_id", "order"),
        ("expand[0]=customer&expand[1]=invoice", "expand[0]=invoice&expand[1]=customer"),
        ("currency=usd", "currency=usd&currency=usd"),
    ] {
        let other = sent.replace(from, to);
        assert_ne!(other, sent);
        assert_ne!(form(&other).whole(), form(sent).whole(), "{from} -> {to}");
    }
}

#[test]
fn the_content_type_decides_how_a_body_is_read() {
    let kind = |content_type, body: &str| read(content_type, None, None, body.as_bytes()).kind();
    assert_eq!(kind(FORM, "a=1"), Kind::Form);
    for spelled in [
        "Application/X-WWW-Form-Urlencoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "application/x-www-form-urlencoded;charset=\"utf-8\"",
    ] {
        let read = read(Some(spelled), None, None, b"a=1");
        assert_eq!(read.kind(), Kind::Form, "{spelled}");
        assert_eq!(read.whole(), form("a=1").whole(), "{spelled}");
    }
    assert_eq!(kind(JSON, "{\"a\":1}"), Kind::Json);
    assert_eq!(kind(Some("application/merge-patch+json"), "{\"a\":1}"), Kind::Json);
    assert_eq!(kind(FORM, ""), Kind::Empty);
    assert_eq!(kind(None, ""), Kind::Empty);
    for raw in [
        None,
        Some(""),
        Some("text/plain"),
        Some("application/x-www-form-urlencoded; charset=iso-8859-1"),
        Some("application/x-www-form-urlencoded, text/plain"),
        Some("multipart/form-data"),
        JSON,
    ] {
        assert_eq!(kind(raw, "a=1"), Kind::Raw, "{raw:?}");
    }
}

#[test]
fn no_body_and_an_empty_form_are_the_same() {
    let none = read(None, None, None, b"");
    for (content_type, query, body) in
        [(FORM, None, ""), (FORM, Some(""), ""), (FORM, Some("&"), "&&"), (JSON, None, "")]
    {
        let empty = read(content_type, None, query, body.as_bytes());
        assert_eq!(empty, none);
        assert_eq!(empty.kind(), Kind::Empty);
    }
    assert_ne!(read(JSON, None, None, b"{}").whole(), none.whole());
}

#[test]
fn what_is_not_read_is_bound_to_its_bytes_and_headers() {
    let raws = [
        read(None, None, None, b"a=1"),
        read(Some(""), None, None, b"a=1"),
        read(Some("text/plain"), None, None, b"a=1"),
        read(Some("text/plain"), Some("gzip"), None, b"a=1"),
        read(Some("text/plain"), None, Some("q=1"), b"a=1"),
        read(Some("text/plain"), None, None, b"a=2"),
        read(FORM, Some("gzip"), None, b"a=1"),
        read(FORM, Some(""), None, b"a=1"),
        read(FORM, None, None, b"a=%zz"),
        read(FORM, None, None, b"a=%ff"),
        read(FORM, None, None, b"a=\xff"),
        read(JSON, None, None, b"a=1"),
    ];
    for (at, one) in raws.iter().enumerate() {
        assert_eq!(one.kind(), Kind::Raw);
        assert_eq!(one.get("a"), None);
        for other in &raws[..at] {
            assert_ne!(one.whole(), other.whole());
        }
    }
    assert_eq!(read(FORM, Some("Identity"), None, b"a=1"), form("a=1"));
}

#[test]
fn a_query_counts_but_never_as_a_field_of_the_body() {
    let queried = read(FORM, None, Some("limit=3&a=%7E"), b"a=1");
    assert_eq!(queried.get("?limit"), Some(&b"3"[..]));
    assert_eq!(queried.get("?a"), Some(&b"~"[..]));
    assert_eq!(queried.get("a"), Some(&b"1"[..]));
    assert_eq!(queried.whole(), read(FORM, None, Some("a=~&limit=3"), b"a=1").whole());
    assert_ne!(queried.whole(), form("a=1").whole());
    assert_ne!(read(None, None, Some("a=1"), b"").whole(), form("a=1").whole());
    let pretended = form("?limit=3");
    assert_eq!((pretended.kind(), pretended.get("?limit")), (Kind::Raw, None));
    assert_eq!(read(JSON, None, None, b"{\"?limit\":3}").kind(), Kind::Raw);
    let unreadable = read(FORM, None, Some("a=%ff"), b"b=1");
    assert_eq!((unreadable.kind(), unreadable.fields().len()), (Kind::Form, 1));
    assert_ne!(unreadable.whole(), read(FORM, None, Some("a=%fe"), b"b=1").whole());
}

#[test]
fn a_field_that_comes_twice_has_no_single_value() {
    let twice = form("a=1&a=2&b=3&c[]=4");
    assert_eq!(twice.get("a"), None);
    assert_eq!(twice.get("b"), Some(&b"3"[..]));
    assert_eq!(twice.get("c[]"), Some(&b"4"[..]));
}

#[test]
fn a_field_is_there_only_with_a_value() {
    let has = |body: &str, pattern: &str| form(body).has(&FieldPattern::parse(pattern).unwrap());
    assert!(has("customer=cus_1", "customer"));
    assert!(has("source[number]=4242", "source"));
    assert!(has("metadata[a]=&metadata[b]=1", "metadata[*]"));
    assert!(!has("customer=", "customer"));
    assert!(!has("customer", "customer"));
    assert!(!has("metadata=", "metadata[*]"));
    let null = read(JSON, None, None, br#"{"a":null,"b":{},"c":[],"d":false,"e":""}"#);
    let has = |pattern| null.has(&FieldPattern::parse(pattern).unwrap());
    assert!(!has("a") && !has("b") && !has("c") && has("d") && !has("e"));
}

#[test]
fn a_body_beyond_the_limits_is_not_taken_apart() {
    let fields = |count: usize| {
        let pairs: Vec<String> = (0..count).map(|at| format!("a{at}=1")).collect();
        form(&pairs.join("&")).kind()
    };
    assert_eq!((fields(FIELDS_MAX), fields(FIELDS_MAX + 1)), (Kind::Form, Kind::Raw));
    let nested = |depth: usize| form(&format!("a{}=1", "[b]".repeat(depth))).kind();
    assert_eq!((nested(DEPTH_MAX), nested(DEPTH_MAX + 1)), (Kind::Form, Kind::Raw));
}

#[test]
fn debug_shows_no_name_and_no_value() {
    let shown = format!("{:?}", form("card=4242"));
    assert_eq!(shown, "Canonical(Form, 1 fields, 34 bytes)");
}
