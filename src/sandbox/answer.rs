//! Answers in Stripe's shape, and the reasons why a call fails.

use bytes::Bytes;
use serde_json::{Value, json};

use super::effects::Draft;

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// HTTP status code.
    pub(crate) status: u16,
    /// Fields beside those that every answer has.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The body.
    pub(crate) body: Bytes,
}

impl Answer {
    /// An answer with the JSON `body`.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::from(body.to_string()) }
    }

    /// The same with one more header field.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets a header field, in place of what it was.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
    }

    /// The value of a header field.
    #[cfg(test)]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

impl From<Fail> for Answer {
    fn from(fail: Fail) -> Self {
        Self::json(fail.status, &json!({ "error": fail.error }))
    }
}

/// Whether the outcome of a failed call stays under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Execution never began (validation, conflict, limits).
    No,
    /// Execution began and was refused by the state of things: Stripe's page leaves open whether
    /// it is saved, so [`super::Rules::save_refusals`] says.
    Refusal,
    /// Saved: a decline, a 500.
    Yes,
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Fail {
    /// HTTP status code.
    pub(crate) status: u16,
    /// The inner `error` object.
    pub(crate) error: Value,
    /// Whether the key keeps it.
    pub(crate) keep: Keep,
    /// What happened all the same (a decline is recorded).
    pub(crate) effect: Option<Box<Draft>>,
}

impl Fail {
    fn new(status: u16, kind: &str, code: Option<&str>, message: &str) -> Self {
        let mut error = json!({ "type": kind, "message": message });
        if let (Some(code), Some(map)) = (code, error.as_object_mut()) {
            map.insert("code".to_owned(), json!(code));
        }
        Self { status, error, keep: Keep::No, effect: None }
    }

    fn of_param(mut self, param: &str) -> Self {
        self.put("param", json!(param));
        self
    }

    /// Adds a field to the error.
    pub(crate) fn put(&mut self, name: &str, value: Value) {
        if let Some(map) = self.error.as_object_mut() {
            map.insert(name.to_owned(), value);
        }
    }

    /// 400 for a parameter; not saved.
    pub(crate) fn invalid(param: &str, code: &str, message: &str) -> Self {
        Self::new(400, "invalid_request_error", Some(code), message).of_param(param)
    }

    /// 400: a required parameter is not there.
    pub(crate) fn missing(param: &str) -> Self {
        Self::invalid(param, "parameter_missing", &format!("Missing required param: {param}."))
    }

    /// 404: no such object.
    pub(crate) fn no_such(object: &str, id: &str, param: &str) -> Self {
        let message = format!("No such {object}: '{id}'");
        Self::new(404, "invalid_request_error", Some("resource_missing"), &message).of_param(param)
    }

    /// 400: the state of things does not allow it.
    pub(crate) fn refused(code: &str, message: &str) -> Self {
        let mut fail = Self::new(400, "invalid_request_error", Some(code), message);
        fail.keep = Keep::Refusal;
        fail
    }

    /// 402: the card was declined; saved (FACTS §2).
    pub(crate) fn declined(code: &str, decline: Option<&str>, message: &str) -> Self {
        let mut fail = Self::new(402, "card_error", Some(code), message);
        if let Some(decline) = decline {
            fail.put("decline_code", json!(decline));
        }
        fail.keep = Keep::Yes;
        fail
    }

    /// The same with what it did.
    pub(crate) fn recorded(mut self, draft: Draft) -> Self {
        self.effect = Some(Box::new(draft));
        self
    }
}

/// 400: malformed, without a parameter to name.
pub(crate) fn bad_request(message: &str) -> Fail {
    Fail::new(400, "invalid_request_error", None, message)
}

/// 401.
pub(crate) fn unauthorized(message: &str) -> Fail {
    Fail::new(401, "invalid_request_error", None, message)
}

/// 404 for a path that Stripe does not know.
pub(crate) fn unrecognized(method: &http::Method, path: &str) -> Fail {
    let message = format!("Unrecognized request URL ({method}: {path}).");
    Fail::new(404, "invalid_request_error", None, &message)
}

/// 400: the key was used with something else.
pub(crate) fn idempotency_mismatch(same_endpoint: bool) -> Fail {
    let message = if same_endpoint {
        "Keys for idempotent requests can only be used with the same parameters they were first \
         used with. Try using a key other than the one sent if you meant to execute a different \
         request."
    } else {
        "Keys for idempotent requests can only be used for the same endpoint they were first used \
         for. Try using a key other than the one sent if you meant to execute a different request."
    };
    Fail::new(400, "idempotency_error", None, message)
}

/// 409: a request with this key is still running.
pub(crate) fn key_in_use() -> Fail {
    Fail::new(
        409,
        "invalid_request_error",
        Some("idempotency_key_in_use"),
        "There is currently another in-progress request using this Idempotent Key (that probably \
         means you submitted twice, and the other request is still going through).",
    )
}

/// 429 `lock_timeout`.
pub(crate) fn lock_timeout() -> Fail {
    Fail::new(
        429,
        "invalid_request_error",
        Some("lock_timeout"),
        "This object cannot be accessed right now because another API request or Stripe process \
         is currently accessing it.",
    )
}

/// 429 of the rate limiter.
pub(crate) fn rate_limited() -> Fail {
    Fail::new(429, "invalid_request_error", Some("rate_limit"), "Request rate limit exceeded.")
}

/// 5xx of Stripe's own.
pub(crate) fn api_error(status: u16) -> Fail {
    Fail::new(status, "api_error", None, "Sorry! There was an error while talking to Stripe.")
}

/// 413.
pub(crate) fn too_large(limit: usize) -> Fail {
    let message = format!("The request body is larger than {limit} bytes.");
    Fail::new(413, "invalid_request_error", None, &message)
}

/// 503: one of the sandbox's own limits is reached. Nothing was executed.
pub(crate) fn full(what: &str) -> Fail {
    let message = format!(
        "The sandbox holds as many {what} as it may; nothing was executed. POST /_sandbox/reset \
         empties it."
    );
    Fail::new(503, "api_error", Some("sandbox_full"), &message)
}
