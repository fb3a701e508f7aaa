//! JSON against `serde_json`'s own values, and RFC 8785's rules.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn reading(text: &str) -> Reading {
    super::read("application/json", text.as_bytes()).unwrap_or_else(|| panic!("not read: {text}"))
}

fn whole(text: &str) -> Option<String> {
    let whole = reading(text).whole?;
    Some(String::from_utf8(whole).unwrap().split_off(8 + "application/json".len()))
}

fn field<'a>(reading: &'a Reading, name: &str) -> (&'a str, Marker) {
    let field = reading.fields.iter().find(|field| field.name == name).unwrap();
    (std::str::from_utf8(&field.value).unwrap(), field.marker)
}

#[test]
fn members_are_sorted_by_utf16_as_in_rfc_8785() {
    // RFC 8785 §3.2.3: U+1F600 sorts before U+FB33 by its surrogates.
    let sent = r#"{ "\u20ac": "Euro", "\r": "CR", "\ufb33": "Dalet", "1": "One",
                   "\ud83d\ude00": "Smiley", "\u0080": "Control", "\u00f6": "o" }"#;
    let names: Vec<String> = serde_json::from_str::<Vec<String>>(
        r#"["\r","1","\u0080","\u00f6","\u20ac","\ud83d\ude00","\ufb33"]"#,
    )
    .unwrap();
    let written = whole(sent).unwrap();
    let at: Vec<usize> = names
        .iter()
        .map(|name| written.find(&serde_json::to_string(name).unwrap()).unwrap())
        .collect();
    assert!(at.is_sorted(), "{written}");
}

#[test]
fn texts_and_white_space_have_one_spelling() {
    assert_eq!(
        whole("\t{ \"b\" : [ true , null , { } ] ,\n \"a\" : \"\\u0041\\/\\u00e9\\u001F\\n\" }")
            .unwrap(),
        "{\"a\":\"A/é\\u001f\\n\",\"b\":[true,null,{}]}"
    );
}

#[test]
fn numbers_have_one_spelling_where_a_float_holds_them() {
    for (sent, canonical) in [
        ("0", "0"),
        ("-1", "-1"),
        ("2000", "2000"),
        ("4.50", "4.5"),
        ("1.0", "1"),
        ("10.00", "10"),
        ("0.1", "0.1"),
        ("-12.75", "-12.75"),
        ("0.000001", "0.000001"),
        ("0.0", "0"),
        ("9007199254740991", "9007199254740991"),
        ("-9007199254740991", "-9007199254740991"),
    ] {
        assert_eq!(whole(sent).as_deref(), Some(canonical), "{sent}");
    }
}

#[test]
fn numbers_that_others_may_read_otherwise_leave_the_body_as_sent() {
    for sent in [
        "-0",
        "-0.0",
        "1e2",
        "1E2",
        "1.5e-3",
        "9007199254740992",
        "9007199254740993",
        "18446744073709551616",
        "123456789012345678901234567890",
        "0.1000000000000000055",
        "333333333.33333329",
        "0.0000001",
        "9007199254740993.0",
    ] {
        let body = format!("{{\"a\":{sent},\"b\":\"x\"}}");
        let read = reading(&body);
        assert!(read.whole.is_none(), "{sent}");
        assert_eq!(field(&read, "a"), (sent, Marker::Number));
        assert_eq!(field(&read, "b"), ("x", Marker::Text));
    }
}

#[test]
fn digits_within_texts_are_no_numbers() {
    let read = reading(r#"{"1":"-2 \" 3 \\","a\"4":[5,"6",true,7.50],"\\":8}"#);
    assert_eq!(field(&read, "a\"4[0]"), ("5", Marker::Number));
    assert_eq!(field(&read, "a\"4[1]"), ("6", Marker::Text));
    assert_eq!(field(&read, "a\"4[3]"), ("7.5", Marker::Number));
    assert_eq!(field(&read, "\\"), ("8", Marker::Number));
}

#[test]
fn leaves_are_fields_in_bracket_form() {
    let read = reading(
        r#"{"metadata":{"order_id":"6735"},"items":[{"price":"p","n":2},{}],"a":null,"b":"null","c":"","d":[],"e":false}"#,
    );
    for (name, value, marker) in [
        ("metadata[order_id]", "6735", Marker::Text),
        ("items[0][price]", "p", Marker::Text),
        ("items[0][n]", "2", Marker::Number),
        ("items[1]", "", Marker::EmptyObject),
        ("a", "", Marker::Null),
        ("b", "null", Marker::Text),
        ("c", "", Marker::Text),
        ("d", "", Marker::EmptyArray),
        ("e", "false", Marker::Bool),
    ] {
        assert_eq!(field(&read, name), (value, marker), "{name}");
    }
    assert_eq!(read.fields.len(), 9);
    assert!(read.fields.is_sorted_by(|a, b| a.name <= b.name));
    assert_eq!(field(&reading("[1,[2]]"), "[1][0]"), ("2", Marker::Number));
    assert!(reading("5").fields.is_empty());
}

#[test]
fn what_has_no_single_meaning_is_not_read() {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(super::read("application/json", deep(DEPTH_MAX).as_bytes()).is_some());
    let many = |count: usize| format!("[{}1]", "1,".repeat(count - 1));
    assert!(super::read("application/json", many(FIELDS_MAX).as_bytes()).is_some());
    for bad in [
        "",
        " ",
        "{",
        "{\"a\":1}x",
        "{\"a\":1}{}",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":NaN}",
        "[1,]",
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"\\u0061\":2}",
        "{\"b\":{\"a\":1,\"c\":2,\"a\":3}}",
        "\"\\ud800\"",
        "1e999",
        "\u{feff}{}",
        "// x\n{}",
        "{\"\":1}",
        "{\"a[b]\":1}",
        "{\"?a\":1}",
        &deep(DEPTH_MAX + 1),
        &many(FIELDS_MAX + 1),
    ] {
        assert!(super::read("application/json", bad.as_bytes()).is_none(), "{bad}");
    }
    assert!(super::read("application/json", b"\"\xff\"").is_none());
}

#[test]
fn the_media_type_counts() {
    let read = |essence| super::read(essence, b"{}").unwrap().whole;
    assert_ne!(read("application/json"), read("application/merge-patch+json"));
}

/// Documents of few names and values, so that two often agree.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i64..3).prop_map(Value::from),
        (1_i32..20).prop_map(|n| Value::from(f64::from(n) / 8.0 + 0.0625)),
        "[a\"\\\\é\n]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[ab]", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn documents_have_one_form_exactly_if_they_are_equal(one in document(), other in document()) {
        let (a, b) = (one.to_string(), other.to_string());
        prop_assert_eq!(whole(&a) == whole(&b), one == other, "{} / {}", a, b);
        prop_assert_eq!(
            reading(&a).fields == reading(&b).fields && whole(&a).is_some(),
            one == other || (!one.is_object() && !one.is_array() && !other.is_object() && !other.is_array()),
            "{} / {}", a, b
        );
    }

    #[test]
    fn white_space_and_escapes_mean_nothing(document in document()) {
        let plain = document.to_string();
        let pretty = serde_json::to_string_pretty(&document).unwrap().replace('é', "\\u00E9");
        prop_assert_eq!(whole(&plain), whole(&pretty));
        let canonical = whole(&plain).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&canonical).unwrap(), document);
    }

    #[test]
    fn floats_are_written_as_they_are_read_or_left_as_sent(number in any::<f64>()) {
        prop_assume!(number.is_finite());
        if let Some(written) = whole(&number.to_string()) {
            prop_assert_eq!(written.parse::<f64>().unwrap().to_bits(), number.to_bits());
        }
    }

    #[test]
    fn any_text_is_read_or_not_without_harm(body in "[\\[\\]{}\",:0-9eE.+\\\\ atrufls-]{0,40}") {
        let read = super::read("application/json", body.as_bytes());
        if read.is_some() {
            prop_assert!(serde_json::from_str::<Value>(&body).is_ok());
        }
    }
}
