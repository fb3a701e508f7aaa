//! A request's head as each version of HTTP wants it, for an authority that settings name.
//!
//! Pure. Both forms keep path, query, order and repeats byte for byte, and either can be made from
//! the other: a request that one connection hands back may be offered to another kind.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use http_body::Body as HttpBody;

/// What the head says of where it goes.
pub(super) struct Destination {
    authority: Authority,
    host: HeaderValue,
}

impl Destination {
    /// `None` if `authority` is none.
    pub(super) fn new(authority: &str) -> Option<Self> {
        Some(Self { authority: authority.parse().ok()?, host: authority.parse().ok()? })
    }

    /// Origin-form, `Host` first (RFC 9110 §7.2), framed so that exactly the body is sent.
    pub(super) fn http1<B: HttpBody>(&self, request: &mut Request<B>) {
        let length = request.body().size_hint().exact();
        let mut fields = HeaderMap::with_capacity(request.headers().keys_len() + 2);
        fields.insert(HOST, self.host.clone());
        copy(request.headers(), &mut fields);
        frame(&mut fields, request.method(), length);
        *request.headers_mut() = fields;
        *request.version_mut() = Version::HTTP_11;
        if let Some(path) = request.uri().path_and_query() {
            *request.uri_mut() = Uri::from(path.clone());
        }
    }

    /// With `:scheme` and `:authority` instead of `Host` (RFC 9113 §8.3.1).
    pub(super) fn http2<B: HttpBody>(&self, request: &mut Request<B>) {
        let length = request.body().size_hint().exact();
        let mut fields = HeaderMap::with_capacity(request.headers().keys_len() + 1);
        copy(request.headers(), &mut fields);
        frame(&mut fields, request.method(), length);
        fields.remove(TRANSFER_ENCODING);
        *request.headers_mut() = fields;
        *request.version_mut() = Version::HTTP_2;
        if let Some(uri) = request.uri().path_and_query().and_then(|path| self.absolute(path)) {
            *request.uri_mut() = uri;
        }
    }

    fn absolute(&self, path: &PathAndQuery) -> Option<Uri> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path.clone());
        Uri::from_parts(parts).ok()
    }
}

fn copy(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, value) in from.iter().filter(|(name, _)| *name != HOST && *name != TRANSFER_ENCODING)
    {
        to.append(name, value.clone());
    }
}

/// Says the body's length where it is known, even if the client said another or none. Where it is
/// not, it is chunked, said aloud: hyper would send a GET or HEAD without its body otherwise.
fn frame(fields: &mut HeaderMap, method: &Method, length: Option<u64>) {
    match length {
        Some(length) => {
            let customary = *method == Method::POST || *method == Method::PUT;
            if length > 0 || customary || fields.contains_key(CONTENT_LENGTH) {
                fields.insert(CONTENT_LENGTH, length.into());
            }
        }
        None if fields.contains_key(CONTENT_LENGTH) => {}
        None => {
            fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    struct Unsized;

    impl HttpBody for Unsized {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            Poll::Ready(None)
        }
    }

    fn destination() -> Destination {
        Destination::new("api.stripe.com").unwrap()
    }

    fn post(body: &'static str) -> Request<Full<Bytes>> {
        let request = Request::post("/v1/charges?expand[]=a&b=%7E?").header("b", "1");
        let request = request.header("host", "evil").header("a", "1").header("a", "2");
        request.body(Full::from(body)).unwrap()
    }

    fn lines<B>(request: &Request<B>) -> Vec<String> {
        let line =
            |(name, value): (_, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        request.headers().iter().map(line).collect()
    }

    #[test]
    fn host_comes_from_settings_and_first_and_the_path_is_untouched() {
        let mut request = post("x=1");
        destination().http1(&mut request);
        assert_eq!(request.uri().to_string(), "/v1/charges?expand[]=a&b=%7E?");
        let expected = ["host: api.stripe.com", "b: 1", "a: 1", "a: 2", "content-length: 3"];
        assert_eq!(lines(&request), expected);
    }

    #[test]
    fn either_form_can_be_made_from_the_other() {
        let mut request = post("x=1");
        destination().http1(&mut request);
        destination().http2(&mut request);
        assert_eq!(
            request.uri().to_string(),
            "https://api.stripe.com/v1/charges?expand[]=a&b=%7E?"
        );
        assert_eq!(lines(&request), ["b: 1", "a: 1", "a: 2", "content-length: 3"]);
        destination().http1(&mut request);
        assert_eq!(request.uri().to_string(), "/v1/charges?expand[]=a&b=%7E?");
        assert_eq!(lines(&request)[0], "host: api.stripe.com");
    }

    #[test]
    fn a_wrong_length_is_put_right_and_an_empty_post_says_so() {
        let mut request = post("");
        destination().http1(&mut request);
        assert_eq!(request.headers()[CONTENT_LENGTH], "0");
        let mut request = post("x=1");
        request.headers_mut().insert(CONTENT_LENGTH, 9.into());
        destination().http1(&mut request);
        assert_eq!(request.headers()[CONTENT_LENGTH], "3");
    }

    #[test]
    fn a_bare_question_mark_survives() {
        let mut request = Request::get("/v1/customers?").body(Full::<Bytes>::default()).unwrap();
        destination().http1(&mut request);
        assert_eq!(request.uri().to_string(), "/v1/customers?");
        assert!(!request.headers().contains_key(CONTENT_LENGTH));
    }

    #[test]
    fn a_body_of_unknown_length_is_chunked_whatever_the_method() {
        let mut request = Request::get("/v1/x").body(Unsized).unwrap();
        destination().http1(&mut request);
        assert_eq!(request.headers()[TRANSFER_ENCODING], "chunked");
    }
}
