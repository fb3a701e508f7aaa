//! Every answer that payonce writes itself: Stripe-shaped, and it says what it means for the money.
//!
//! The shape ([`form`]) is what keeps every SDK from taking it for a success (FACTS §1.9); the words
//! ([`words`]) are for people.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Extensions, HeaderMap, StatusCode};

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::decide::guard::Finding;
use crate::decide::key::BadKey;
use crate::decide::path::BadPath;
use crate::request::Share;
use crate::respond::{Answer, Held, SHOULD_RETRY};
use crate::upstream::Cause;

mod form;
mod words;

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Why payonce answers itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request target has no single meaning.
    BadTarget(BadPath),
    /// Not origin-form, CONNECT or TRACE.
    BadRequest(&'static str),
    /// A field that decides about money stands twice.
    RepeatedHeader(String),
    /// The `Idempotency-Key` is ill-formed.
    BadKey(BadKey),
    /// The `Payonce-Operation` is ill-formed.
    BadOperation,
    /// The policy refuses such requests.
    ByPolicy {
        /// The rule that says so.
        rule: String,
    },
    /// The policy refuses the client.
    Client {
        /// The `[[client]]` that says so.
        rule: String,
        /// Why it applies, without a full stop.
        why: String,
    },
    /// A guard of the policy refuses it.
    Guarded(Finding),
    /// It bears the placeholder, and payonce holds no API key.
    NoCredential,
    /// The rule requires these fields.
    RequiredFields {
        /// The rule that says so.
        rule: String,
        /// The fields that are not there with a value.
        fields: Vec<String>,
    },
    /// The rule wants an own key.
    OwnKeyRequired {
        /// The rule that says so.
        rule: String,
    },
    /// The rule wants these fields.
    FieldsMissing {
        /// The rule that says so.
        rule: String,
        /// The fields that are not there, or stand twice.
        fields: Vec<String>,
    },
    /// The body is over the limit.
    BodyTooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The body came too slowly.
    BodyTooSlow,
    /// The body broke off.
    BodyBroken,
    /// A limit of this payonce is reached.
    Busy(&'static str),
    /// payonce is shutting down.
    Closing,
    /// The same operation was asked for with other content.
    Conflict {
        /// The fields that differ.
        fields: Vec<String>,
    },
    /// The key belongs to an earlier occurrence.
    Superseded,
    /// In doubt, beyond the window in which asking again is safe.
    WindowElapsed,
    /// Done, beyond that window.
    AlreadyDone {
        /// What was made, if known.
        object: Option<String>,
        /// When it was first sent.
        at: Timestamp,
    },
    /// Another request works on it, and did not finish in time.
    StillInFlight,
    /// The ledger did not answer, and the rule says `refuse`.
    StoreDown,
    /// The ledger holds what this payonce cannot read.
    StoreUnreadable,
    /// The ledger may have forgotten, where a v2 content rule needs one that has not.
    StoreForgets,
    /// Stripe could not be reached, and nothing was executed.
    Unreachable {
        /// What went wrong last.
        cause: Cause,
        /// An earlier attempt was sent, and answered with that nothing was executed.
        sent: bool,
        /// The store did not answer, so that nobody knows of earlier requests for the operation.
        alone: bool,
    },
    /// Stripe's rate limit, said in a form that no SDK reads.
    RateLimited,
    /// Bytes left, and the outcome is not known.
    OutcomeUnknown {
        /// What went wrong last, if the provider did not answer.
        cause: Option<Cause>,
        /// The status of its last answer, which does not tell the outcome.
        last: Option<u16>,
        /// What the same request would be, asked again.
        again: Again,
    },
    /// It succeeded, and the saved answer could not be fetched again.
    AnswerUnavailable,
    /// A request that is not critical got no answer.
    PassFailed {
        /// What went wrong.
        cause: Cause,
        /// No byte left.
        never_sent: bool,
        /// payonce has tried again by itself, as it does for what only reads.
        retried: bool,
    },
    /// payonce failed inside before anything was sent.
    Internal,
}

/// What the same request would be, asked again while its outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// The same operation: its name, its content or the key that the application chose says so.
    Same,
    /// The same only with the same key: a single call. What an application does again bears another,
    /// for an SDK makes one for each call.
    SameByKey,
    /// Another operation: a single call that bore no key.
    Another,
}

impl Refusal {
    /// The `error.code`, also for logs and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.form().2
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.form().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The `error.message`.
    #[must_use]
    pub fn message(&self) -> String {
        format!("{}. {}", self.what(), self.for_the_money())
    }

    /// The answer; `request_id` is payonce's own.
    #[must_use]
    pub fn answer(&self, request_id: &str) -> Answer {
        let (_, kind, code, should_retry) = self.form();
        let body =
            serde_json::json!({"error": {"type": kind, "code": code, "message": self.message()}});
        let body = Bytes::from(body.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        if let Some(retry) = should_retry {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static(retry));
        }
        if let Ok(id) = HeaderValue::from_str(request_id) {
            headers.insert(REQUEST_ID, id);
        }
        Answer {
            status: self.status(),
            headers,
            extensions: Extensions::new(),
            body: Held::Whole(body),
            share: Share::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_a_shape_that_no_sdk_takes_for_a_success() {
        for refusal in [
            Refusal::Busy("connections"),
            Refusal::Conflict { fields: vec!["amount".to_owned()] },
            Refusal::OutcomeUnknown { cause: None, last: Some(500), again: Again::Another },
            Refusal::Unreachable { cause: Cause::Tls, sent: false, alone: false },
        ] {
            let answer = refusal.answer("req_1");
            let Held::Whole(body) = &answer.body else { panic!("held whole") };
            let body: serde_json::Value = serde_json::from_slice(body).unwrap();
            assert!(answer.status.as_u16() >= 400, "{refusal:?}");
            assert!(body["error"]["message"].is_string() && body["error"]["type"].is_string());
            assert_eq!(answer.headers["request-id"], "req_1");
            assert!(answer.headers.contains_key("stripe-should-retry"));
        }
    }

    #[test]
    fn an_sdk_is_told_not_to_retry_only_what_payonce_has_retried() {
        let told = |retried| {
            let refusal = Refusal::PassFailed { cause: Cause::Closed, never_sent: false, retried };
            refusal.answer("req_1").headers.get(SHOULD_RETRY).cloned()
        };
        assert_eq!((told(false), told(true)), (None, Some(HeaderValue::from_static("false"))));
    }

    #[test]
    fn a_conflict_is_mapped_like_stripes_own() {
        let answer = Refusal::Conflict { fields: vec!["amount".to_owned()] }.answer("req_1");
        let Held::Whole(body) = &answer.body else { panic!("held whole") };
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["error"]["type"], "idempotency_error");
        assert!(body["error"]["message"].as_str().unwrap().contains("amount"));
    }

    #[test]
    fn nothing_was_sent_is_said_of_one_request_alone_while_the_store_is_silent() {
        let money = |alone| {
            Refusal::Unreachable { cause: Cause::Connect, sent: false, alone }.for_the_money()
        };
        assert_eq!(money(false), "Nothing was sent to Stripe.");
        assert!(!money(true).contains("Nothing was sent"), "{}", money(true));
    }

    #[test]
    fn a_call_that_nothing_tells_from_another_is_told_to_be_checked_first() {
        let unknown =
            |again| Refusal::OutcomeUnknown { cause: None, last: None, again }.for_the_money();
        for again in [Again::Another, Again::SameByKey] {
            assert!(unknown(again).contains("Check before repeating"));
            assert!(!unknown(again).contains("safe"));
        }
        assert!(!unknown(Again::Same).contains("Check"));
    }
}
