//! Every answer that payonce writes itself: Stripe-shaped, and it says what it means for the money.
//!
//! The shape is what keeps every SDK from taking it for a success (FACTS §1.9).

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
        /// The client sent no key, so the same request again may be another operation.
        keyless_call: bool,
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

const INVALID: &str = "invalid_request_error";
const IDEMPOTENCY: &str = "idempotency_error";
const API: &str = "api_error";

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
        let (_, kind, code) = self.form();
        let body =
            serde_json::json!({"error": {"type": kind, "code": code, "message": self.message()}});
        let body = Bytes::from(body.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        if let Some(retry) = self.should_retry() {
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

    /// Status, `error.type`, `error.code`.
    const fn form(&self) -> (u16, &'static str, &'static str) {
        match self {
            Self::BadTarget(_) => (400, INVALID, "payonce_bad_target"),
            Self::BadRequest(_) => (400, INVALID, "payonce_bad_request"),
            Self::RepeatedHeader(_) => (400, INVALID, "payonce_repeated_header"),
            Self::BadKey(_) => (400, INVALID, "payonce_bad_idempotency_key"),
            Self::BadOperation => (400, INVALID, "payonce_bad_operation"),
            Self::ByPolicy { .. } => (403, INVALID, "payonce_refused_by_policy"),
            Self::Client { .. } => (403, INVALID, "payonce_client_refused"),
            Self::Guarded(finding) => (finding.status(), INVALID, finding.code()),
            Self::NoCredential => (403, INVALID, "payonce_no_credential"),
            Self::RequiredFields { .. } => (400, INVALID, "payonce_field_required"),
            Self::OwnKeyRequired { .. } => (400, INVALID, "payonce_key_required"),
            Self::FieldsMissing { .. } => (400, INVALID, "payonce_identity_missing"),
            Self::BodyTooLarge { .. } => (413, INVALID, "payonce_body_too_large"),
            Self::BodyTooSlow => (408, API, "payonce_body_too_slow"),
            Self::BodyBroken => (400, INVALID, "payonce_body_broken"),
            Self::Busy(_) => (503, API, "payonce_busy"),
            Self::Closing => (503, API, "payonce_closing"),
            Self::Conflict { .. } => (400, IDEMPOTENCY, "payonce_conflict"),
            Self::Superseded => (409, API, "payonce_superseded"),
            Self::WindowElapsed => (409, API, "payonce_window_elapsed"),
            Self::AlreadyDone { .. } => (409, API, "payonce_already_done"),
            Self::StillInFlight => (409, API, "payonce_in_flight"),
            Self::StoreDown => (503, API, "payonce_store_down"),
            Self::StoreUnreadable => (503, API, "payonce_store_unreadable"),
            Self::StoreForgets => (503, API, "payonce_store_forgets"),
            Self::Unreachable { .. } => (502, API, "payonce_upstream_unreachable"),
            Self::RateLimited => (429, INVALID, "payonce_rate_limited"),
            Self::OutcomeUnknown { .. } => (504, API, "payonce_outcome_unknown"),
            Self::AnswerUnavailable => (504, API, "payonce_answer_unavailable"),
            Self::PassFailed { .. } => (502, API, "payonce_no_answer"),
            Self::Internal => (500, API, "payonce_internal"),
        }
    }

    /// What an SDK is told about trying again by itself. Not where payonce has tried; where it could
    /// not, and may do better then. A request that it only handed on is the SDK's to judge, as it
    /// would be without payonce.
    const fn should_retry(&self) -> Option<&'static str> {
        match self {
            Self::PassFailed { retried: false, .. } => None,
            Self::BodyTooSlow | Self::Busy(_) | Self::Closing | Self::StoreDown => Some("true"),
            Self::BadTarget(_)
            | Self::BadRequest(_)
            | Self::RepeatedHeader(_)
            | Self::BadKey(_)
            | Self::BadOperation
            | Self::ByPolicy { .. }
            | Self::Client { .. }
            | Self::Guarded(_)
            | Self::NoCredential
            | Self::RequiredFields { .. }
            | Self::OwnKeyRequired { .. }
            | Self::FieldsMissing { .. }
            | Self::BodyTooLarge { .. }
            | Self::BodyBroken
            | Self::Conflict { .. }
            | Self::Superseded
            | Self::WindowElapsed
            | Self::AlreadyDone { .. }
            | Self::StillInFlight
            | Self::StoreUnreadable
            | Self::StoreForgets
            | Self::Unreachable { .. }
            | Self::RateLimited
            | Self::OutcomeUnknown { .. }
            | Self::AnswerUnavailable
            | Self::PassFailed { retried: true, .. }
            | Self::Internal => Some("false"),
        }
    }

    /// What happened, without a full stop.
    fn what(&self) -> String {
        match self {
            Self::BadTarget(why) => why.to_string(),
            Self::BadRequest(why) => (*why).to_owned(),
            Self::RepeatedHeader(name) => format!("The request bears {name} more than once"),
            Self::BadKey(why) => why.to_string(),
            Self::BadOperation => {
                "Payonce-Operation must be 1 to 255 printable ASCII characters".to_owned()
            }
            Self::ByPolicy { rule } => format!("The policy's rule {rule:?} refuses this request"),
            Self::Client { rule, why } => {
                format!("The policy's [[client]] {rule:?} refuses this client: {why}")
            }
            Self::Guarded(finding) => finding.to_string(),
            Self::NoCredential => {
                "This request bears payonce's placeholder instead of an API key, \
                                   and payonce holds no key to put in its place (credential.file)"
                    .to_owned()
            }
            Self::RequiredFields { rule, fields } => {
                format!("The policy's rule {rule:?} requires {} in this request", fields.join(", "))
            }
            Self::OwnKeyRequired { rule } => format!(
                "The policy's rule {rule:?} wants an Idempotency-Key that the application chose \
                 (a UUID with an SDK's User-Agent counts as the SDK's, unless the policy says \
                 uuid4_keys = \"own\")"
            ),
            Self::FieldsMissing { rule, fields } => format!(
                "The policy's rule {rule:?} wants {} in this request, each with one value",
                fields.join(", ")
            ),
            Self::BodyTooLarge { limit } => format!("The body is over {limit} bytes (limits.body)"),
            Self::BodyTooSlow => "The request's body did not come in time".to_owned(),
            Self::BodyBroken => "The request's body broke off or was ill-formed".to_owned(),
            Self::Busy(limit) => format!("payonce has reached its limit on {limit}"),
            Self::Closing => "payonce is shutting down".to_owned(),
            Self::Conflict { fields } => format!(
                "This operation was asked for before with other content; what differs: {}",
                if fields.is_empty() { "the body".to_owned() } else { fields.join(", ") }
            ),
            Self::Superseded => "This Idempotency-Key belongs to an earlier attempt of the \
                                 operation, which has been followed by another"
                .to_owned(),
            Self::WindowElapsed => "The outcome of this operation is unknown, and it is too old \
                                    for Stripe to recognise its key"
                .to_owned(),
            Self::AlreadyDone { object, at } => format!(
                "This operation has succeeded already{}, first sent at {at} (Unix time)",
                object.as_ref().map(|id| format!(" as {id}")).unwrap_or_default()
            ),
            Self::StillInFlight => {
                "Another request for the same operation has not been answered in time".to_owned()
            }
            Self::StoreDown => {
                "The store does not answer, and the policy says to refuse".to_owned()
            }
            Self::StoreUnreadable => {
                "The store's record of this operation cannot be read by this payonce".to_owned()
            }
            Self::StoreForgets => "Recognising a v2 request by its content needs a store that \
                                   does not forget"
                .to_owned(),
            Self::Unreachable { cause, .. } => format!("Stripe could not be reached: {cause}"),
            Self::RateLimited => "Stripe's rate limit was reached".to_owned(),
            Self::OutcomeUnknown { cause: Some(cause), .. } => {
                format!("The request was sent, but {cause}")
            }
            Self::OutcomeUnknown { cause: None, last: Some(last), .. } => format!(
                "The request was sent, but the answers, the last with status {last}, did not tell \
                 the outcome"
            ),
            Self::OutcomeUnknown { cause: None, last: None, .. } => {
                "The request may have been sent, but there is no answer".to_owned()
            }
            Self::AnswerUnavailable => {
                "This operation has succeeded already, but its answer could not be fetched again"
                    .to_owned()
            }
            Self::PassFailed { cause, .. } => format!("Stripe did not answer: {cause}"),
            Self::Internal => "payonce failed inside".to_owned(),
        }
    }

    /// What it means for the money.
    const fn for_the_money(&self) -> &'static str {
        const NOTHING: &str = "Nothing was sent to Stripe.";
        match self {
            Self::BadTarget(_)
            | Self::BadRequest(_)
            | Self::RepeatedHeader(_)
            | Self::BadKey(_)
            | Self::BadOperation
            | Self::ByPolicy { .. }
            | Self::Client { .. }
            | Self::Guarded(_)
            | Self::NoCredential
            | Self::RequiredFields { .. }
            | Self::OwnKeyRequired { .. }
            | Self::FieldsMissing { .. }
            | Self::BodyTooLarge { .. }
            | Self::BodyTooSlow
            | Self::BodyBroken
            | Self::Busy(_)
            | Self::Closing
            | Self::Superseded
            | Self::StoreDown
            | Self::StoreUnreadable
            | Self::StoreForgets
            | Self::Unreachable { sent: false, alone: false, .. }
            | Self::Internal
            | Self::PassFailed { never_sent: true, .. } => NOTHING,
            Self::Conflict { .. } => {
                "Nothing was sent to Stripe. Another operation needs another key, \
                 Payonce-Operation or identity."
            }
            Self::WindowElapsed => {
                "Nothing was sent to Stripe. Look it up there, then say what you found with \
                 `payonce ops resolve`."
            }
            Self::AlreadyDone { .. } => "Nothing was sent to Stripe; it happened once.",
            Self::Unreachable { alone: true, .. } => {
                "This request moved no money. Whether an earlier one for the same operation was sent is \
                 unknown, for the store does not answer; the same request again is safe."
            }
            Self::Unreachable { sent: true, alone: false, .. } => "Nothing was executed by Stripe.",
            Self::RateLimited => {
                "Nothing was executed; the same request again, a little later, is safe."
            }
            Self::StillInFlight => {
                "This request sent nothing to Stripe; the same request again is safe."
            }
            Self::OutcomeUnknown { keyless_call: true, .. } => {
                "The outcome is unknown. Check before repeating: the request bore no key, so the \
                 same request again may be another payment."
            }
            Self::OutcomeUnknown { keyless_call: false, .. } => {
                "The outcome is unknown; the same request again, with the same key if it bears \
                 one, is safe."
            }
            Self::AnswerUnavailable => "It happened once; the same request again is safe.",
            Self::PassFailed { never_sent: false, .. } => "Whether Stripe got it is unknown.",
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
            Refusal::OutcomeUnknown { cause: None, last: Some(500), keyless_call: true },
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
    fn a_call_without_a_key_is_told_to_be_checked_first() {
        let unknown =
            |keyless_call| Refusal::OutcomeUnknown { cause: None, last: None, keyless_call };
        assert!(unknown(true).for_the_money().contains("Check before repeating"));
        assert!(!unknown(false).for_the_money().contains("Check"));
    }
}
