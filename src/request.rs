//! A request on arrival: its head within the rules, its body within the limits.
//!
//! Only what has one meaning passes (DESIGN §6 "the edge is strict"). What a refusal looks like on
//! the wire is `refusal`'s business.
//!
//! **What hyper has done before** (1.12, held to account in `tests/it/server.rs`): a head that is
//! not HTTP, a bad or contradictory `Content-Length`, a `Transfer-Encoding` that does not end in
//! `chunked` or comes with HTTP/1.0: 400. `Content-Length` beside `Transfer-Encoding`: the length
//! is removed, the chunks are read, and the connection is closed after the answer, so nothing can
//! hide behind the body; what is forwarded is framed anew. `Expect: 100-continue` is answered when
//! the body is first read. A request target's bytes are kept as they came, except that a fragment
//! (`#…`, which no client may send) is cut off before anything here sees it: it is neither matched
//! nor forwarded.

use std::fmt;

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::{Extensions, Method, Version};

use crate::decide::path::{BadPath, Target};

mod body;

pub use body::{BodyError, Buffered, InFlightBytes, Share, buffer, rejoin};

/// Fields that decide who asks for what: a second one would let payonce and the provider read
/// different requests. The first five are DESIGN §6; the others frame or type the request.
static ONCE: [HeaderName; 7] = [
    header::AUTHORIZATION,
    HeaderName::from_static("stripe-account"),
    HeaderName::from_static("stripe-context"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("payonce-operation"),
    header::HOST,
    header::CONTENT_TYPE,
];

/// The checked head of a request. Its `Debug` shows no field (I8).
#[derive(Clone)]
pub struct Head {
    /// Any method but CONNECT and TRACE.
    pub method: Method,
    /// Path and query, byte for byte as sent.
    pub target: Target,
    /// The header fields as sent. None of [`Head::once`] occurs twice.
    pub headers: HeaderMap,
    /// HTTP/1.0 or 1.1.
    pub version: Version,
    /// hyper's record of how the field names were spelled; it goes upstream with the request so
    /// that the spelling survives. Without an upgrade handle: payonce upgrades nothing.
    pub extensions: Extensions,
}

/// Why a head is refused. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// CONNECT or TRACE.
    #[error("the method {0} is not supported")]
    Method(Method),
    /// `*`, `host:port` or `http://host/path`.
    #[error("the request target must be a path that begins with `/`, not a URL")]
    NotOriginForm,
    /// A path with more than one meaning.
    #[error("the request path is refused: {0}")]
    Path(#[from] BadPath),
    /// A field that may occur once.
    #[error("the header field `{0}` occurs more than once")]
    Repeated(HeaderName),
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({} with {} fields)", self.method, self.headers.len())
    }
}

impl Head {
    /// Checks the head of a request as hyper parsed it.
    ///
    /// # Errors
    /// [`BadHead`], the first that applies.
    pub fn check(parts: Parts) -> Result<Self, BadHead> {
        let Parts { method, uri, version, headers, mut extensions, .. } = parts;
        if method == Method::CONNECT || method == Method::TRACE {
            return Err(BadHead::Method(method));
        }
        if uri.scheme().is_some() || uri.authority().is_some() {
            return Err(BadHead::NotOriginForm);
        }
        let target = match uri.path_and_query() {
            Some(path) if path.as_str().starts_with('/') => Target::parse(path.as_str())?,
            Some(_) | None => return Err(BadHead::NotOriginForm),
        };
        if let Some(name) = ONCE.iter().find(|name| repeated(&headers, name)) {
            return Err(BadHead::Repeated(name.clone()));
        }
        extensions.remove::<hyper::upgrade::OnUpgrade>();
        Ok(Self { method, target, headers, version, extensions })
    }

    /// The fields that may occur once.
    #[must_use]
    pub fn once() -> &'static [HeaderName] {
        &ONCE
    }
}

fn repeated(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Head, BadHead> {
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Head::check(request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn an_ordinary_head_keeps_path_and_query_as_sent() {
        let head = check("POST", "/v1/charges/ch_1%7E?a[]=1&b=+%20", &[]).unwrap();
        assert_eq!(head.target.raw_path(), "/v1/charges/ch_1%7E");
        assert_eq!(head.target.query(), Some("a[]=1&b=+%20"));
    }

    #[test]
    fn a_bare_question_mark_is_kept_apart_from_no_query() {
        assert_eq!(check("GET", "/v1/charges?", &[]).unwrap().target.query(), Some(""));
        assert_eq!(check("GET", "/v1/charges", &[]).unwrap().target.query(), None);
    }

    #[test]
    fn connect_and_trace_are_refused() {
        for method in ["CONNECT", "TRACE"] {
            let refused = check(method, "/v1/charges", &[]).unwrap_err();
            assert_eq!(refused, BadHead::Method(method.parse().unwrap()));
        }
    }

    #[test]
    fn only_origin_form_is_accepted() {
        for target in ["*", "http://api.stripe.com/v1/charges", "api.stripe.com:443"] {
            assert_eq!(check("POST", target, &[]).unwrap_err(), BadHead::NotOriginForm);
        }
    }

    #[test]
    fn a_repeated_field_is_refused_whatever_its_values() {
        for name in Head::once() {
            let twice = [(name.as_str(), "a"), (name.as_str(), "a")];
            let refused = check("POST", "/v1/charges", &twice).unwrap_err();
            assert_eq!(refused, BadHead::Repeated(name.clone()));
        }
    }

    #[test]
    fn other_fields_may_repeat() {
        let head = check("POST", "/v1/charges", &[("via", "a"), ("via", "b")]).unwrap();
        assert_eq!(head.headers.get_all("via").iter().count(), 2);
    }
}
