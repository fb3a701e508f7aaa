//! One API call, read out of a request: who asks, under which key, for what.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, Method, header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::answer::{Fail, bad_request, unauthorized};
use super::form;

/// Longest idempotency key (FACTS §2), in characters.
const KEY: usize = 255;
/// Longest account name in an API key that is shown as it is, in bytes.
const NAME: usize = 20;

/// The two families of the API; their keys work differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    V1,
    V2,
}

/// An API call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// As sent, without the query.
    pub(crate) path: String,
    /// Decoded.
    pub(crate) segments: Vec<String>,
    /// Query and body, decoded and nested.
    pub(crate) params: Value,
    pub(crate) key: Option<String>,
    pub(crate) scope: String,
    pub(crate) intent: Option<String>,
    pub(crate) version: Option<String>,
}

impl Call {
    /// Reads a request whose whole body is here.
    pub(crate) fn read(head: &Parts, body: &[u8]) -> Result<Self, Fail> {
        let scope = scope(&head.headers)?;
        let path = head.uri.path().to_owned();
        let segments = path.split('/').skip(1).map(decode).collect();
        let key = one(&head.headers, "idempotency-key")?.filter(|key| !key.is_empty());
        if key.as_ref().is_some_and(|key| key.chars().count() > KEY) {
            return Err(bad_request("Idempotency keys may be up to 255 characters long."));
        }
        Ok(Self {
            method: head.method.clone(),
            segments,
            params: params(head, body)?,
            key,
            scope,
            intent: one(&head.headers, "sandbox-intent")?,
            version: one(&head.headers, "stripe-version")?,
            path,
        })
    }

    /// v1 or v2, by the path.
    pub(crate) fn family(&self) -> Family {
        match self.segments.first().map(String::as_str) {
            Some("v2") => Family::V2,
            Some(_) | None => Family::V1,
        }
    }

    /// Whether the call changes state.
    pub(crate) fn writes(&self) -> bool {
        self.method == Method::POST || self.method == Method::DELETE
    }

    /// The key, where one has an effect: v1 POST; v2 POST and DELETE.
    pub(crate) fn effective_key(&self) -> Option<&str> {
        let takes = match self.family() {
            Family::V1 => self.method == Method::POST,
            Family::V2 => self.writes(),
        };
        self.key.as_deref().filter(|_| takes)
    }
}

/// The only value of a header; a repeated one is an error rather than a guess.
pub(crate) fn one(headers: &HeaderMap, name: &str) -> Result<Option<String>, Fail> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    if values.next().is_some() {
        return Err(bad_request(&format!("The header {name} was sent more than once.")));
    }
    Ok(first)
}

fn decode(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

fn scope(headers: &HeaderMap) -> Result<String, Fail> {
    let account = account(headers)?;
    let part = |name| Ok(one(headers, name)?.unwrap_or_else(|| "-".to_owned()));
    Ok(format!("{account}|{}|{}", part("stripe-account")?, part("stripe-context")?))
}

/// The account of the API key: what stands between `sk_test_` and the next underscore, so that
/// `sk_test_shop_1` and `rk_test_shop_2` are two keys of one account. What is too long for a name is
/// a real test key, which no list of effects may show: a digest stands for it.
fn account(headers: &HeaderMap) -> Result<String, Fail> {
    let absent = "You did not provide an API key. Provide it in the Authorization header, using \
                  Bearer auth or HTTP Basic auth.";
    let header = one(headers, header::AUTHORIZATION.as_str())?.ok_or(unauthorized(absent))?;
    let (scheme, rest) = header.split_once(' ').unwrap_or((header.as_str(), ""));
    let key = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => rest.trim().to_owned(),
        "basic" => basic(rest.trim()).ok_or(unauthorized("Malformed Basic credentials."))?,
        _ => return Err(unauthorized(absent)),
    };
    if key.starts_with("sk_live_") || key.starts_with("rk_live_") {
        return Err(unauthorized(
            "This is the payonce sandbox, not Stripe: a live key must never be used here. Nothing \
             was executed.",
        ));
    }
    let rest = key.strip_prefix("sk_test_").or_else(|| key.strip_prefix("rk_test_"));
    let account = rest.and_then(|rest| rest.split('_').next()).filter(|name| !name.is_empty());
    let account = account.ok_or(unauthorized("Invalid API Key provided."))?;
    if account.len() <= NAME {
        return Ok(account.to_owned());
    }
    Ok(hex::encode(Sha256::digest(account)).chars().take(16).collect())
}

fn basic(encoded: &str) -> Option<String> {
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    Some(decoded.split(':').next().unwrap_or_default().to_owned())
}

fn params(head: &Parts, body: &[u8]) -> Result<Value, Fail> {
    let query = head.uri.query().unwrap_or_default().as_bytes();
    let kind = one(&head.headers, header::CONTENT_TYPE.as_str())?.unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" if !body.is_empty() => {
            let mut value: Value = serde_json::from_slice(body)
                .map_err(|error| bad_request(&format!("Invalid JSON: {error}.")))?;
            let Value::Object(fields) = &mut value else {
                return Err(bad_request("The JSON body must be an object."));
            };
            if let Value::Object(more) = nested(&[query])? {
                fields.extend(more);
            }
            Ok(value)
        }
        "multipart/form-data" => Ok(multipart(&kind, body)),
        _ => nested(&[query, body]),
    }
}

fn nested(parts: &[&[u8]]) -> Result<Value, Fail> {
    form::read(parts).map_err(|bad| bad_request(&format!("Invalid parameters: {bad}.")))
}

/// The plain fields of an upload, and a digest of all of it in which the boundary does not count.
fn multipart(kind: &str, body: &[u8]) -> Value {
    let boundary = kind.split_once("boundary=").map_or("", |(_, rest)| rest.trim_matches('"'));
    let text = String::from_utf8_lossy(body);
    let mut fields = Map::new();
    let mut digest = Sha256::new();
    for part in text.split(&format!("--{boundary}")) {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
        let Some((head, value)) = part.split_once("\r\n\r\n") else { continue };
        let Some((_, name)) = head.split_once("name=\"") else { continue };
        let name = name.split('"').next().unwrap_or_default().to_owned();
        let value = match head.split_once("filename=\"") {
            Some((_, file)) => json!(file.split('"').next()),
            None => json!(value.trim_end()),
        };
        fields.insert(name, value);
    }
    fields.insert("content_sha256".to_owned(), json!(hex::encode(digest.finalize())));
    fields.insert("size".to_owned(), json!(body.len()));
    Value::Object(fields)
}

#[cfg(test)]
pub(crate) mod tests {
    use http::Request;

    use super::*;

    fn scope_of(authorization: &str) -> Result<String, u16> {
        let head = Request::post("/v1/charges")
            .header("authorization", authorization)
            .body(())
            .unwrap()
            .into_parts()
            .0;
        Call::read(&head, b"").map(|call| call.scope).map_err(|fail| fail.status)
    }

    #[test]
    fn basic_and_bearer_name_the_same_account() {
        let basic = format!("Basic {}", STANDARD.encode("sk_test_shop_1:"));
        assert_eq!(scope_of(&basic), Ok("shop|-|-".to_owned()));
        assert_eq!(scope_of("Bearer rk_test_shop_2"), Ok("shop|-|-".to_owned()));
    }

    #[test]
    fn a_real_test_key_is_shown_as_a_digest() {
        let secret = "51HabcdefghijklmnopqrstuvwxyzABCDEFGH";
        let scope = scope_of(&format!("Bearer sk_test_{secret}")).unwrap();
        assert_eq!(scope.len(), "0123456789abcdef|-|-".len());
        assert!(!secret.contains(scope.split('|').next().unwrap()));
        assert_ne!(Ok(scope), scope_of(&format!("Bearer sk_test_{secret}I")));
    }

    #[test]
    fn live_unknown_and_absent_keys_are_refused() {
        for bad in ["Bearer sk_live_x", "Bearer rk_live_x", "Bearer nonsense", "Basic !", ""] {
            assert_eq!(scope_of(bad), Err(401), "{bad}");
        }
    }

    #[test]
    fn a_key_of_256_characters_is_refused_and_one_of_255_is_not() {
        for (length, fine) in [(255, true), (256, false)] {
            let head = Request::post("/v1/charges")
                .header("authorization", "Bearer sk_test_a")
                .header("idempotency-key", "k".repeat(length))
                .body(())
                .unwrap()
                .into_parts()
                .0;
            assert_eq!(Call::read(&head, b"").is_ok(), fine);
        }
    }

    #[test]
    fn the_boundary_of_an_upload_does_not_count() {
        let body = |b: &str| {
            format!(
                "--{b}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nlogo\r\n--{b}--"
            )
        };
        let one = multipart("multipart/form-data; boundary=aaa", body("aaa").as_bytes());
        let two = multipart("multipart/form-data; boundary=bbb", body("bbb").as_bytes());
        assert_eq!(one, two);
        assert_eq!(one.get("purpose"), Some(&json!("logo")));
    }
}
