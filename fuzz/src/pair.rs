//! Two requests, apart by a line `====`; each is a line with `Content-Type`, one with
//! `Content-Encoding` (`-` for none), one with the query, and the body.

use payonce::decide::canonical::{self, Canonical, FieldPattern};
use payonce::decide::digest::{Scope, Secret};
use payonce::decide::identity::{self, Identified, Kind, Request};
use payonce::decide::path::Target;
use payonce::decide::policy::{Policy, Rule};
use payonce::policy_file::SHIPPED;
use std::sync::{Arc, LazyLock};

use super::said::{self, check_bounds, fingerprint};

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
    let (Some(one), Some(other)) = (Sent::read(one), Sent::read(other)) else { return };
    let as_sent = (one.content_type, one.coding, one.body);
    let is_sent_alike = as_sent == (other.content_type, other.coding, other.body);
    let (one, other) = (one.canonical(), other.canonical());
    let same = one.whole() == other.whole();
    assert!(!same || !said::as_sent(&one) || is_sent_alike, "unread, and taken for the same");
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

/// What decides about a request's content.
struct Sent<'a> {
    content_type: Option<&'a str>,
    coding: Option<&'a str>,
    query: &'a str,
    body: &'a [u8],
}

impl<'a> Sent<'a> {
    fn read(half: &'a [u8]) -> Option<Self> {
        let mut lines = half.splitn(4, |byte| *byte == b'\n');
        let mut line = || lines.next().and_then(|line| std::str::from_utf8(line).ok());
        let (content_type, coding, query) = (line()?, line()?, line()?);
        check_pattern(query);
        let present = |it: &&str| *it != "-";
        Some(Self {
            content_type: Some(content_type).filter(present),
            coding: Some(coding).filter(present),
            query,
            body: lines.next().unwrap_or_default(),
        })
    }

    fn canonical(&self) -> Canonical {
        let read = canonical::read(self.content_type, self.coding, Some(self.query), self.body);
        let header = self.content_type.map_or(0, str::len) + self.coding.map_or(0, str::len);
        check_bounds(&read, header + self.query.len() + self.body.len());
        read
    }
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
    let secret = Secret::configured(b"a secret of the fuzz targets");
    let scope = Scope::of(b"sk_test_1", None, None);
    let request = Request {
        provider: "api.stripe.com",
        method: "POST",
        target: &target,
        header: None,
        client_key: None,
        content,
        nonce: [7; 16],
        own_scope: &scope,
    };
    identity::identify(&secret, &scope, &request, &CHARGES).expect("charges refuse nothing")
}
