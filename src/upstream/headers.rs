//! Which header fields cross payonce, in each direction (RFC 9110 §7.6.1, DESIGN §6 "the edge").
//!
//! Pure. The maps are built anew instead of emptied in place, because `HeaderMap::remove` moves the
//! last field into the gap, and the order of fields is to survive.

use http::header::{self, HeaderMap, HeaderName};

use crate::trace::fields::is_of_a_trace;

/// Fields for one connection only, whichever way they go; `Proxy-*` besides.
const HOP_BY_HOP: [&str; 7] =
    ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"];

/// Fields that `Connection` cannot name away: each of them says which operation is asked for, by
/// whom, or what the bytes mean, so that losing one could pay twice or from the wrong account.
const KEPT: [&str; 13] = [
    "authorization",
    "idempotency-key",
    "stripe-account",
    "stripe-context",
    "stripe-version",
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "idempotent-replayed",
    "stripe-should-retry",
    "request-id",
    "retry-after",
];

/// What goes on to the provider of a client's fields: no hop-by-hop fields, no `Payonce-*`, no
/// `Host` (settings name it), no `Expect` (the server side has answered it), and nothing of a trace,
/// which is between the application and whoever watches it. Order and repeats are kept.
#[must_use]
pub fn toward_upstream(fields: &HeaderMap) -> HeaderMap {
    filter(fields, |name| {
        *name != header::HOST && *name != header::EXPECT && !is_of_a_trace(name.as_str())
    })
}

/// The same toward the application, of what whoever stands before payonce says of an event: a trace
/// that begins at an ingress is the application's too.
#[must_use]
pub fn toward_application(fields: &HeaderMap) -> HeaderMap {
    filter(fields, |name| *name != header::HOST && *name != header::EXPECT)
}

/// What goes on to the client of the provider's fields: no hop-by-hop fields, no `Payonce-*`
/// (only payonce speaks in that name). Order and repeats are kept.
#[must_use]
pub fn toward_client(fields: &HeaderMap) -> HeaderMap {
    filter(fields, |_name| true)
}

fn filter(fields: &HeaderMap, wanted: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let named = named_by_connection(fields);
    let mut kept = HeaderMap::with_capacity(fields.keys_len());
    for (name, value) in fields {
        if wanted(name) && !is_hop_by_hop(name, &named) && !name.as_str().starts_with("payonce-") {
            kept.append(name, value.clone());
        }
    }
    kept
}

fn is_hop_by_hop(name: &HeaderName, named: &[HeaderName]) -> bool {
    let text = name.as_str();
    HOP_BY_HOP.contains(&text) || text.starts_with("proxy-") || named.contains(name)
}

/// The field names that `Connection` lists and may list.
///
/// Read as bytes: what is no name in the list, such as a byte beyond ASCII, hides no other.
fn named_by_connection(fields: &HeaderMap) -> Vec<HeaderName> {
    fields
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !KEPT.contains(&name.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        map
    }

    fn lines(map: &HeaderMap) -> Vec<String> {
        map.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn fields_of_one_connection_stay_behind_both_ways() {
        let fields = map(&[
            ("accept", "*/*"),
            ("connection", "close, X-Hop"),
            ("connection", "other"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic eA=="),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-hop", "1"),
            ("other", "1"),
            ("x-end", "1"),
        ]);
        assert_eq!(lines(&toward_upstream(&fields)), ["accept: */*", "x-end: 1"]);
        assert_eq!(lines(&toward_client(&fields)), ["accept: */*", "x-end: 1"]);
    }

    #[test]
    fn a_byte_beyond_ascii_in_connection_hides_no_name_beside_it() {
        let mut fields = map(&[("x-hop", "1"), ("x-end", "1")]);
        fields.append("connection", HeaderValue::from_bytes(b"\xe9, X-Hop").unwrap());
        assert_eq!(lines(&toward_upstream(&fields)), ["x-end: 1"]);
        assert_eq!(lines(&toward_client(&fields)), ["x-end: 1"]);
    }

    #[test]
    fn connection_cannot_name_away_what_decides_about_money() {
        let fields = map(&[
            ("connection", "Idempotency-Key, Authorization, Stripe-Account, Content-Length, Host"),
            ("idempotency-key", "k"),
            ("authorization", "Bearer x"),
            ("stripe-account", "acct_1"),
            ("content-length", "3"),
        ]);
        assert_eq!(
            lines(&toward_upstream(&fields)),
            [
                "idempotency-key: k",
                "authorization: Bearer x",
                "stripe-account: acct_1",
                "content-length: 3"
            ]
        );
    }

    #[test]
    fn only_payonce_speaks_in_its_own_name() {
        let fields =
            map(&[("payonce-operation", "a"), ("payonce-outcome", "executed"), ("x", "1")]);
        assert_eq!(lines(&toward_upstream(&fields)), ["x: 1"]);
        assert_eq!(lines(&toward_client(&fields)), ["x: 1"]);
    }

    #[test]
    fn host_and_expect_of_the_client_go_no_further() {
        let fields = map(&[("host", "evil"), ("expect", "100-continue"), ("x", "1")]);
        assert_eq!(lines(&toward_upstream(&fields)), ["x: 1"]);
    }

    #[test]
    fn a_trace_of_the_clients_goes_no_further() {
        let fields = map(&[
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("tracestate", "a=1"),
            ("baggage", "user=jane"),
            ("b3", "0"),
            ("x-b3-traceid", "463ac35c9f6413ad"),
            ("x-datadog-trace-id", "1"),
            ("x-trace-of-stripes-own", "1"),
        ]);
        assert_eq!(lines(&toward_upstream(&fields)), ["x-trace-of-stripes-own: 1"]);
    }

    #[test]
    fn order_and_repeats_survive() {
        let fields = map(&[("b", "1"), ("keep-alive", "x"), ("a", "1"), ("c", "1"), ("a", "2")]);
        assert_eq!(lines(&toward_upstream(&fields)), ["b: 1", "a: 1", "a: 2", "c: 1"]);
    }
}
