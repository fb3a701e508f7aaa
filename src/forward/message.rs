//! What is sent, however often: the client's request, byte for byte, with the one key.

use std::fmt;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderValue};
use http::{Extensions, HeaderMap, Method, Request, Uri};

use crate::clock::Timestamp;
use crate::decide::key::IdempotencyKey;
use crate::decide::path::Api;
use crate::respond::full;
use crate::upstream::{Body, Host};

/// `Idempotency-Key`.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What is sent, however often. Its `Debug` shows neither body nor fields (I8).
#[derive(Clone)]
pub struct Message {
    /// Whither.
    pub host: Host,
    /// Its method.
    pub method: Method,
    /// Its target, byte for byte as the client sent it.
    pub uri: Uri,
    /// Its end-to-end fields. A key among them is replaced at each send.
    pub headers: HeaderMap,
    /// How the client spelled them.
    pub extensions: Extensions,
    /// Its body.
    pub body: Bytes,
    /// The API generation.
    pub api: Api,
    /// When the request arrived: the deadline counts from here.
    pub arrived: Timestamp,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, method, body, api, arrived, .. } = self;
        let body = body.len();
        write!(f, "Message({method} to {host:?}, {api:?}, {body} bytes, at {arrived})")
    }
}

impl Message {
    /// It, with `key`.
    pub(super) fn request(&self, key: &IdempotencyKey) -> Request<Body> {
        let mut request = Request::new(full(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.extensions_mut() = self.extensions.clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        // The answer's error code decides about the operation, and nothing is decompressed here.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        if let Ok(value) = HeaderValue::from_str(key.as_str()) {
            headers.insert(IDEMPOTENCY_KEY, value);
        }
        request
    }
}
