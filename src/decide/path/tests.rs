//! Paths spelled a hundred ways.

use proptest::prelude::*;

use super::*;

const GOOD: &[(&str, &[&str], Option<&str>)] = &[
    ("/", &[], None),
    ("/?", &[], Some("")),
    ("/?a", &[], Some("a")),
    ("/v1/charges", &["v1", "charges"], None),
    ("/v1/charges?", &["v1", "charges"], Some("")),
    ("/v1/charges?limit=3", &["v1", "charges"], Some("limit=3")),
    ("/v1/charges??", &["v1", "charges"], Some("?")),
    ("/v1/charges?a?b", &["v1", "charges"], Some("a?b")),
    ("/v1/charges?a=/../", &["v1", "charges"], Some("a=/../")),
    ("/v1/charges?a=//", &["v1", "charges"], Some("a=//")),
    ("/v1/charges?a=%0a%00", &["v1", "charges"], Some("a=%0a%00")),
    ("/v1/charges?a=%ff", &["v1", "charges"], Some("a=%ff")),
    ("/v1/charges?a=%2F%5c", &["v1", "charges"], Some("a=%2F%5c")),
    ("/v1/charges?a=\\", &["v1", "charges"], Some("a=\\")),
    ("/v1/charges?created[gte]=1", &["v1", "charges"], Some("created[gte]=1")),
    ("/v1/charges?a=%25", &["v1", "charges"], Some("a=%25")),
    ("/v1/%63harges", &["v1", "charges"], None),
    ("/v1/%63%68arges", &["v1", "charges"], None),
    ("/%76%31/charges", &["v1", "charges"], None),
    ("/V1/Charges", &["V1", "Charges"], None),
    ("/v1/charges;a=b", &["v1", "charges;a=b"], None),
    ("/v1;x/charges", &["v1;x", "charges"], None),
    ("/v1/..;/charges", &["v1", "..;", "charges"], None),
    ("/v1/...", &["v1", "..."], None),
    ("/v1/.well-known", &["v1", ".well-known"], None),
    ("/v1/a.b", &["v1", "a.b"], None),
    ("/v1/a..", &["v1", "a.."], None),
    ("/v1/%2e%2e%2e", &["v1", "..."], None),
    ("/v1/%252e%252e", &["v1", "%2e%2e"], None),
    ("/v1/a%252Fb", &["v1", "a%2Fb"], None),
    ("/v1/a%20b", &["v1", "a b"], None),
    ("/v1/a+b", &["v1", "a+b"], None),
    ("/v1/a%2Bb", &["v1", "a+b"], None),
    ("/v1/a%3Fb", &["v1", "a?b"], None),
    ("/v1/a%23b", &["v1", "a#b"], None),
    ("/v1/%C3%A9", &["v1", "é"], None),
    ("/v1/%c3%a9", &["v1", "é"], None),
    ("/v1/%F0%9F%92%B3", &["v1", "💳"], None),
    ("/v1/a:b", &["v1", "a:b"], None),
    ("/v1/a@b", &["v1", "a@b"], None),
    ("/v1/~", &["v1", "~"], None),
    ("/v1/%7E", &["v1", "~"], None),
    ("/v1/!$&'()*,=", &["v1", "!$&'()*,="], None),
    ("/v1/{id}", &["v1", "{id}"], None),
    ("/v1/**", &["v1", "**"], None),
    ("/*", &["*"], None),
    ("/https:", &["https:"], None),
    ("/v2/core/events", &["v2", "core", "events"], None),
];

const BAD: &[(&str, BadPath)] = &[
    ("", BadPath::Empty),
    ("*", BadPath::Asterisk),
    ("**", BadPath::NotAPath),
    ("*/v1", BadPath::NotAPath),
    ("v1/charges", BadPath::NotAPath),
    ("?a=b", BadPath::NotAPath),
    (" /v1/charges", BadPath::NotAPath),
    ("\\v1\\charges", BadPath::NotAPath),
    ("%2Fv1/charges", BadPath::NotAPath),
    ("api.stripe.com:443", BadPath::NotAPath),
    ("api.stripe.com", BadPath::NotAPath),
    ("https://api.stripe.com/v1/charges", BadPath::AbsoluteForm),
    ("HTTP://api.stripe.com", BadPath::AbsoluteForm),
    ("https://", BadPath::AbsoluteForm),
    ("//", BadPath::EmptySegment),
    ("//api.stripe.com/v1/charges", BadPath::EmptySegment),
    ("/v1//charges", BadPath::EmptySegment),
    ("/v1/charges/", BadPath::EmptySegment),
    ("/v1/charges/?limit=1", BadPath::EmptySegment),
    ("/v1/charges//", BadPath::EmptySegment),
    ("/.", BadPath::DotSegment),
    ("/..", BadPath::DotSegment),
    ("/v1/./charges", BadPath::DotSegment),
    ("/v1/../charges", BadPath::DotSegment),
    ("/v1/charges/.", BadPath::DotSegment),
    ("/v1/charges/..", BadPath::DotSegment),
    ("/v1/charges/..?a", BadPath::DotSegment),
    ("/v1/%2e/charges", BadPath::DotSegment),
    ("/v1/%2E%2E/charges", BadPath::DotSegment),
    ("/v1/.%2e/charges", BadPath::DotSegment),
    ("/v1/%2e./charges", BadPath::DotSegment),
    ("/v1%2Fcharges", BadPath::EncodedSlash),
    ("/v1%2fcharges", BadPath::EncodedSlash),
    ("/v1/..%2Fcharges", BadPath::EncodedSlash),
    ("/%2f", BadPath::EncodedSlash),
    ("/v1%5Ccharges", BadPath::EncodedBackslash),
    ("/v1%5ccharges", BadPath::EncodedBackslash),
    ("/v1/..%5c", BadPath::EncodedBackslash),
    ("/v1\\charges", BadPath::Backslash),
    ("/v1/\\..\\", BadPath::Backslash),
    ("/\\evil.example/", BadPath::Backslash),
    ("/v1/charges\n", BadPath::Control),
    ("/v1/charges\r\nHost: evil", BadPath::Control),
    ("/v1/\tcharges", BadPath::Control),
    ("/v1/charges\0", BadPath::Control),
    ("/v1/charges\u{7f}", BadPath::Control),
    ("/v1/charges?a=\n", BadPath::Control),
    ("/v1/%00", BadPath::Control),
    ("/v1/charges%0d%0aX:1", BadPath::Control),
    ("/v1/%7F", BadPath::Control),
    ("/v1/%C2%85", BadPath::Control),
    ("/v1/a b", BadPath::Space),
    ("/v1/charges ", BadPath::Space),
    ("/v1/charges?a=b c", BadPath::Space),
    ("/v1/charges#", BadPath::Fragment),
    ("/v1/charges#top", BadPath::Fragment),
    ("/v1/charges?a=b#c", BadPath::Fragment),
    ("/v1/%", BadPath::BadPercent),
    ("/v1/%4", BadPath::BadPercent),
    ("/v1/%4/x", BadPath::BadPercent),
    ("/v1/%zz", BadPath::BadPercent),
    ("/v1/%+1", BadPath::BadPercent),
    ("/v1/%u0041", BadPath::BadPercent),
    ("/v1/100%", BadPath::BadPercent),
    ("/v1/%%41", BadPath::BadPercent),
    ("/v1/charges?a=%", BadPath::BadPercent),
    ("/v1/charges?a=%4", BadPath::BadPercent),
    ("/v1/charges?a=%g1", BadPath::BadPercent),
    ("/v1/é", BadPath::NonAscii),
    ("/v1/charges?a=é", BadPath::NonAscii),
    ("/v1/％2e", BadPath::NonAscii),
    ("/v1/%ff", BadPath::NotUtf8),
    ("/v1/%C3", BadPath::NotUtf8),
    ("/v1/%c0%ae%c0%ae", BadPath::NotUtf8),
    ("/v1/%C0%AF", BadPath::NotUtf8),
    ("/v1/%ED%A0%80", BadPath::NotUtf8),
];

#[test]
fn a_path_with_one_meaning_is_read_and_kept_as_it_was_sent() {
    for (sent, segments, query) in GOOD {
        let target = Target::parse(sent).unwrap_or_else(|bad| panic!("{sent}: {bad}"));
        assert_eq!(target.segments(), *segments, "{sent}");
        assert_eq!(target.query(), *query, "{sent}");
        assert_eq!(rejoined(&target), *sent);
    }
}

#[test]
fn a_path_without_one_meaning_is_refused_with_its_own_reason() {
    for (sent, reason) in BAD {
        assert_eq!(Target::parse(sent), Err(*reason), "{sent:?}");
    }
}

#[test]
fn a_path_is_bounded() {
    let longest = format!("/{}", "a".repeat(TARGET_MAX_BYTES - 1));
    assert!(Target::parse(&longest).is_ok());
    assert_eq!(Target::parse(&format!("{longest}a")), Err(BadPath::TooLong));
}

#[test]
fn only_a_first_segment_v2_is_v2() {
    let api = |path| Target::parse(path).unwrap().api();
    assert_eq!(api("/v2/core/accounts"), Api::V2);
    assert_eq!(api("/%762/core"), Api::V2);
    for v1 in ["/v1/v2", "/", "/V2/core", "/v20", "/oauth/token"] {
        assert_eq!(api(v1), Api::V1, "{v1}");
    }
}

fn rejoined(target: &Target) -> String {
    match target.query() {
        Some(query) => format!("{}?{query}", target.raw_path()),
        None => target.raw_path().to_owned(),
    }
}

/// Encodes every byte: a spelling that decodes to the same segments.
fn spelled_out(target: &Target) -> String {
    let encode = |segment: &String| {
        segment.bytes().fold(String::from("/"), |text, byte| format!("{text}%{byte:02x}"))
    };
    target.segments().iter().map(encode).collect()
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_never_changed(sent in "\\PC*|[/.%?#a2fFe\\\\;\\x00-\\x7f]{0,40}") {
        if let Ok(target) = Target::parse(&sent) {
            prop_assert_eq!(rejoined(&target), sent);
        }
    }

    #[test]
    fn what_is_accepted_has_only_whole_segments(sent in "(/[a-z.%2eEfF5cC;~+]{0,6}){1,4}(\\?[a-z%20]{0,5})?") {
        if let Ok(target) = Target::parse(&sent) {
            for segment in target.segments() {
                prop_assert!(!segment.is_empty() && segment != "." && segment != "..");
                prop_assert!(!segment.contains(['/', '\\']) && !segment.contains(char::is_control));
            }
            if !target.segments().is_empty() && spelled_out(&target).len() < TARGET_MAX_BYTES {
                let again = Target::parse(&spelled_out(&target)).unwrap();
                prop_assert_eq!(again.segments(), target.segments());
            }
        }
    }
}
