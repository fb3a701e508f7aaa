//! The application's end: where verified events go, once each, and what is said there of them.
//!
//! Nothing is tried twice here. Stripe comes again by itself with what was not acknowledged, over
//! days; a second schedule beside that would only make duplicates.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Version};

use crate::request::Head;
use crate::respond::{DEGRADED, full};
use crate::upstream::origin::BadOrigin;
use crate::upstream::{Body, Host, Origin, SendError, Upstream, headers};

/// `Payonce-Webhook-Verified`: the endpoint whose secret signed the event. Only payonce writes it.
pub const VERIFIED: HeaderName = HeaderName::from_static("payonce-webhook-verified");

/// Where an endpoint's events go: `http://127.0.0.1:3000/webhooks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Scheme, host and port.
    pub origin: Origin,
    /// Path, and perhaps a query.
    pub target: PathAndQuery,
}

/// What is wrong with the text of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadForward {
    /// Its beginning.
    #[error("{0}")]
    Origin(#[from] BadOrigin),
    /// What follows host and port.
    #[error("must go on with a path after host and port, such as /webhooks, and have no fragment")]
    Target,
}

impl Forward {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`BadForward`] says what does not belong.
    pub fn parse(text: &str) -> Result<Self, BadForward> {
        let begins = text.find("://").map_or(0, |at| at + 3);
        let (scheme, rest) = text.split_at_checked(begins).ok_or(BadForward::Target)?;
        let path = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(path).ok_or(BadForward::Target)?;
        let origin = Origin::parse(&format!("{scheme}{authority}"))?;
        if !target.starts_with('/') || target.contains('#') {
            return Err(BadForward::Target);
        }
        let target = target.parse().map_err(|_bad: http::uri::InvalidUri| BadForward::Target)?;
        Ok(Self { origin, target })
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target)
    }
}

/// One application, as an endpoint knows it.
pub struct Application<U> {
    upstream: U,
    target: PathAndQuery,
    within: Duration,
}

impl<U: Upstream> Application<U> {
    /// Reached by `upstream`, at `target` there; its answer's head is awaited for so long.
    pub const fn new(upstream: U, target: PathAndQuery, within: Duration) -> Self {
        Self { upstream, target, within }
    }

    /// Hands over an event as it came, and says which endpoint vouches for it, and whether it could
    /// not be recorded (`degraded`), so that it may come again. The answer's fields are those that
    /// may go back.
    ///
    /// # Errors
    /// What kept the application from answering.
    pub async fn deliver(
        &self,
        endpoint: &str,
        head: &Head,
        body: Bytes,
        degraded: bool,
    ) -> Result<Response<Body>, SendError> {
        let mut request = Request::new(full(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target(head.target.query()).into();
        *request.extensions_mut() = head.extensions.clone();
        // Whatever the client said in payonce's name does not pass.
        let mut fields = headers::toward_application(&head.headers);
        if let Ok(name) = HeaderValue::from_str(endpoint) {
            fields.insert(VERIFIED, name);
        }
        if degraded {
            fields.insert(DEGRADED, HeaderValue::from_static("store"));
        }
        *request.headers_mut() = fields;
        // An application is one place; which of the provider's hosts it is called makes no matter.
        let mut answer = self.upstream.send(Host::Api, request, self.within).await?;
        *answer.headers_mut() = headers::toward_client(answer.headers());
        *answer.version_mut() = Version::HTTP_11;
        Ok(answer)
    }

    /// The path as set; the query as it came, where none is set.
    fn target(&self, query: Option<&str>) -> PathAndQuery {
        let with = |query| format!("{}?{query}", self.target.path()).parse().ok();
        match (self.target.query(), query) {
            (None, Some(query)) => with(query).unwrap_or_else(|| self.target.clone()),
            (Some(_), _) | (None, None) => self.target.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_origin_and_a_path() {
        for (text, shown) in [
            ("http://127.0.0.1:3000/hooks", "http://127.0.0.1:3000/hooks"),
            ("https://Shop.internal/a/b?c=d", "https://shop.internal/a/b?c=d"),
            ("http://app:80/", "http://app/"),
        ] {
            assert_eq!(Forward::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_has_no_path_or_more_than_that_is_refused() {
        for text in ["http://app", "http://app?x", "http://app/#x", "http://app/ü b"] {
            assert_eq!(Forward::parse(text), Err(BadForward::Target), "{text}");
        }
        for text in ["app/hooks", "ftp://app/x", "http://user:pw@app/x", "http:///x", ""] {
            assert!(matches!(Forward::parse(text), Err(BadForward::Origin(_))), "{text}");
        }
    }
}
