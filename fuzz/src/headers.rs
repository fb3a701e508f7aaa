//! Header fields on their way through: a line each.

use std::collections::HashSet;

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use payonce::request::{BadHead, Head};
use payonce::upstream::headers::{toward_client, toward_upstream};

/// Fields that decide about money or framing, which `Connection` cannot take away.
const NEVER_NAMED: [&str; 8] = [
    "authorization",
    "idempotency-key",
    "stripe-account",
    "stripe-context",
    "stripe-version",
    "content-type",
    "content-encoding",
    "content-length",
];

/// What belongs to one connection stays there, as does what is payonce's; the rest passes
/// unchanged and in order.
pub fn check(input: &[u8]) {
    let sent = map(input);
    let named = named(&sent);
    let (up, down) = (toward_upstream(&sent), toward_client(&sent));
    for (passed, upstream) in [(&up, true), (&down, false)] {
        for name in passed.keys() {
            assert!(!stays(name, &named, upstream), "{name} passed");
        }
        let expected = sent.iter().filter(|(name, _)| passes(name, &named, upstream, passed));
        assert!(expected.eq(passed.iter()), "not the fields in their order: {passed:?}");
    }
    assert_eq!(toward_upstream(&up), up);
    assert_eq!(toward_client(&down), down);
    check_head(&sent);
}

/// No field that decides who asks for what comes twice.
fn check_head(sent: &HeaderMap) {
    let mut request = Request::post("/v1/charges").body(()).unwrap();
    *request.headers_mut() = sent.clone();
    let repeated = Head::once().iter().find(|name| sent.get_all(*name).iter().count() > 1);
    match (Head::check(request.into_parts().0), repeated) {
        (Ok(head), None) => assert_eq!(&head.headers, sent),
        (Err(BadHead::Repeated(one)), Some(other)) => assert_eq!(one, *other),
        (_, repeated) => panic!("repeated: {repeated:?}"),
    }
}

fn stays(name: &HeaderName, named: &HashSet<Vec<u8>>, upstream: bool) -> bool {
    let text = name.as_str();
    let hop = ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];
    hop.contains(&text)
        || text == "http2-settings"
        || text.starts_with("proxy-")
        || text.starts_with("payonce-")
        || upstream && (text == "host" || text == "expect")
        || named.contains(text.as_bytes()) && !NEVER_NAMED.contains(&text) && !kept_too(text)
}

/// Whether it must pass. Of an answer's own fields some may be kept though `Connection` names them.
fn passes(name: &HeaderName, named: &HashSet<Vec<u8>>, upstream: bool, passed: &HeaderMap) -> bool {
    let free = kept_too(name.as_str()) && named.contains(name.as_str().as_bytes());
    !stays(name, named, upstream) && (!free || passed.contains_key(name))
}

/// What payonce itself reads of an answer.
fn kept_too(text: &str) -> bool {
    ["host", "idempotent-replayed", "stripe-should-retry", "request-id", "retry-after"]
        .contains(&text)
}

/// What `Connection` lists (RFC 9110 §7.6.1), whatever stands beside it.
fn named(fields: &HeaderMap) -> HashSet<Vec<u8>> {
    let values = fields.get_all("connection").iter();
    let items = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    items.map(|item| item.trim_ascii().to_ascii_lowercase()).collect()
}

fn map(input: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(200) {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(value.trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
            map.append(name, value);
        }
    }
    map
}
