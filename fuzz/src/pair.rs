//! Two requests, apart by a line `====`; each is a line with `Content-Type`, one with
//! `Content-Encoding` (`-` for none), one with the query, and the body.

use payonce::decide::canonical::{self, Canonical, FieldPattern};
use payonce::decide::digest::{Scope, Secret};
use payonce::decide::identity::{self, Identified, Kind, Request};
use payonce::decide::path::Target;
use payonce::decide::policy::{Policy, Rule};
use payonce::policy_file::SHIPPED;
use std::sync::{Arc, LazyLock};

use super::said::{check_bounds, fingerprint};

static CHARGES: LazyLock<Arc<Rule>> = LazyLock::new(|| {
    let policy = Policy::parse(SHIPPED).unwrap();
    Arc::clone(policy.judge(&http::Method::POST, &Target::parse("/v1/charges").unwrap()))
});

/// Requests are the same operation by content only if they say the same, field by field.
pub fn check(input: &[u8]) {
    const BETWEEN: &[u8] = b"\n====\n";
    let at = input.windows(BETWEEN.len()).position(|it| it == BETWEEN);
    let halves = at.map(|at| (&input[..at], &input[at + BETWEEN.len()..]));
    let (one, other) = halves.unwrap_or((input, input));
    let (Some(one), Some(other)) = (read(one), read(other)) else { return };
    let same = one.whole() == other.whole();
    if same {
        assert_eq!(one.kind(), other.kind());
        assert!(one.fields() == other.fields(), "one whole, two meanings");
    }
    let (one_print, other_print) = (fingerprint(&one), fingerprint(&other));
    assert_eq!(one_print.matches(&other_print), same);
    assert!(!same || one_print.differing(&other_print).is_empty());
    let (one, other) = (identified(&one), identified(&other));
    if one.kind == Kind::Content || other.kind == Kind::Content {
        assert_eq!(one.operation == other.operation, same, "merged, or not recognised");
    }
}

fn read(half: &[u8]) -> Option<Canonical> {
    let mut lines = half.splitn(4, |byte| *byte == b'\n');
    let mut line = || lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let (content_type, coding, query) = (line()?, line()?, line()?);
    let body = lines.next().unwrap_or_default();
    check_pattern(query);
    let present = |text: &'static str| move |it: &&str| *it != text;
    let content_type = Some(content_type).filter(present("-"));
    let coding = Some(coding).filter(present("-"));
    let read = canonical::read(content_type, coding, Some(query), body);
    check_bounds(&read, half.len());
    Some(read)
}

/// A field pattern matches the one field that it names, if it is one.
fn check_pattern(text: &str) {
    let Ok(pattern) = FieldPattern::parse(text) else { return };
    assert_eq!(pattern.as_str(), text);
    assert!(!pattern.is_exact() || pattern.matches(text), "{text} does not match itself");
    assert!(!pattern.matches(""));
}

fn identified(content: &Canonical) -> Identified {
    let target = Target::parse("/v1/charges").unwrap();
    let request = Request {
        provider: "api.stripe.com",
        method: "POST",
        target: &target,
        header: None,
        client_key: None,
        content,
        nonce: [7; 16],
    };
    let secret = Secret::configured(b"a secret of the fuzz targets");
    let scope = Scope::of(b"sk_test_1", None, None);
    identity::identify(&secret, &scope, &request, &CHARGES).expect("charges refuse nothing")
}
