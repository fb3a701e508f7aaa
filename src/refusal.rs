//! Every answer that payonce writes itself: Stripe-shaped, and it says what it means for the money.
//!
//! The shape is what keeps every SDK from taking it for a success (FACTS §1.9).

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Extensions, HeaderMap, StatusCode};

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::decide::key::BadKey;
use crate::decide::path::BadPath;
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
    /// No byte left.
    Unreachable(Cause),
    /// The provider's rate limit, told in another shape than Stripe's.
    RateLimited,
    /// Bytes left, and the outcome is not known.
    OutcomeUnknown {
        /// What went wrong last, if the provider did not answer.
        cause: Option<Cause>,
        /// The client sent no key, so the same request again may be another operation.
        keyless_call: bool,
    },
    /// A request that is not critical got no answer.
    PassFailed {
        /// What went wrong.
        cause: Cause,
        /// No byte left.
        never_sent: bool,
    },
    /// payonce failed inside.
    Internal,
}

/// How a refusal looks on the wire.
struct Form {
    status: u16,
    kind: &'static str,
    code: &'static str,
    message: String,
    /// Whether an SDK should try again by itself.
    retry: bool,
}

const INVALID: &str = "invalid_request_error";
const API: &str = "api_error";
const NOTHING: &str = "Nothing was sent to Stripe.";

impl Refusal {
    /// The `error.code`, also for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.form().code
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.form().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The answer; `request_id` is payonce's own.
    #[must_use]
    pub fn answer(&self, request_id: &str) -> Answer {
        let Form { kind, code, message, retry, .. } = self.form();
        let body = serde_json::json!({"error": {"type": kind, "code": code, "message": message}});
        let body = Bytes::from(body.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers
            .insert(SHOULD_RETRY, HeaderValue::from_static(if retry { "true" } else { "false" }));
        if let Ok(id) = HeaderValue::from_str(request_id) {
            headers.insert(REQUEST_ID, id);
        }
        let extensions = Extensions::new();
        Answer { status: self.status(), headers, extensions, body: Held::Whole(body) }
    }

    fn form(&self) -> Form {
        let form = |status, kind, code, message| Form { status, kind, code, message, retry: false };
        let again = |status, code, message| Form { status, kind: API, code, message, retry: true };
        match self {
            Self::BadTarget(why) => {
                form(400, INVALID, "payonce_bad_target", format!("{why}. {NOTHING}"))
            }
            Self::BadRequest(why) => {
                form(400, INVALID, "payonce_bad_request", format!("{why}. {NOTHING}"))
            }
            Self::RepeatedHeader(name) => form(
                400,
                INVALID,
                "payonce_repeated_header",
                format!("The request bears {name} more than once. {NOTHING}"),
            ),
            Self::BadKey(why) => {
                form(400, INVALID, "payonce_bad_idempotency_key", format!("{why}. {NOTHING}"))
            }
            Self::BadOperation => form(
                400,
                INVALID,
                "payonce_bad_operation",
                format!("Payonce-Operation must be 1 to 255 printable ASCII characters. {NOTHING}"),
            ),
            Self::ByPolicy { rule } => form(
                403,
                INVALID,
                "payonce_refused_by_policy",
                format!("The policy's rule {rule:?} refuses this request. {NOTHING}"),
            ),
            Self::OwnKeyRequired { rule } => form(
                400,
                INVALID,
                "payonce_key_required",
                format!(
                    "The policy's rule {rule:?} wants an Idempotency-Key that the application \
                     chose. {NOTHING}"
                ),
            ),
            Self::FieldsMissing { rule, fields } => form(
                400,
                INVALID,
                "payonce_identity_missing",
                format!(
                    "The policy's rule {rule:?} wants {} in this request, each with one value. \
                     {NOTHING}",
                    fields.join(", ")
                ),
            ),
            Self::BodyTooLarge { limit } => form(
                413,
                INVALID,
                "payonce_body_too_large",
                format!("The body is over {limit} bytes (limits.body). {NOTHING}"),
            ),
            Self::BodyTooSlow => again(
                408,
                "payonce_body_too_slow",
                format!("The request's body did not come in time. {NOTHING}"),
            ),
            Self::BodyBroken => form(
                400,
                INVALID,
                "payonce_body_broken",
                format!("The request's body broke off or was ill-formed. {NOTHING}"),
            ),
            Self::Busy(limit) => again(
                503,
                "payonce_busy",
                format!("payonce has reached its limit on {limit}. {NOTHING}"),
            ),
            Self::Closing => {
                again(503, "payonce_closing", format!("payonce is shutting down. {NOTHING}"))
            }
            Self::Conflict { fields } => form(
                400,
                "idempotency_error",
                "payonce_conflict",
                format!(
                    "This operation was asked for before with other content; what differs: {}. \
                     {NOTHING} Another operation needs another key, Payonce-Operation or identity.",
                    if fields.is_empty() { "the body".to_owned() } else { fields.join(", ") }
                ),
            ),
            Self::Superseded => form(
                409,
                API,
                "payonce_superseded",
                format!(
                    "This Idempotency-Key belongs to an earlier attempt of the operation, which \
                     has been followed by another. {NOTHING}"
                ),
            ),
            Self::WindowElapsed => form(
                409,
                API,
                "payonce_window_elapsed",
                format!(
                    "The outcome of this operation is unknown, and it is too old for Stripe to \
                     recognise its key. {NOTHING} Look it up at Stripe, then say what you found \
                     with `payonce ops resolve`."
                ),
            ),
            Self::AlreadyDone { object, at } => form(
                409,
                API,
                "payonce_already_done",
                format!(
                    "This operation has succeeded already{}, first sent at {at} (Unix time). \
                     {NOTHING}",
                    object.as_ref().map(|id| format!(" as {id}")).unwrap_or_default()
                ),
            ),
            Self::StillInFlight => form(
                409,
                API,
                "payonce_in_flight",
                "Another request for the same operation has not been answered in time. This one \
                 sent nothing; the same request again is safe."
                    .to_owned(),
            ),
            Self::StoreDown => again(
                503,
                "payonce_store_down",
                format!("The store does not answer, and the policy says to refuse. {NOTHING}"),
            ),
            Self::StoreUnreadable => form(
                503,
                API,
                "payonce_store_unreadable",
                format!(
                    "The store's record of this operation cannot be read by this payonce. {NOTHING}"
                ),
            ),
            Self::StoreForgets => form(
                503,
                API,
                "payonce_store_forgets",
                format!(
                    "Recognising a v2 request by its content needs a store that does not forget. \
                     {NOTHING}"
                ),
            ),
            Self::Unreachable(cause) => form(
                502,
                API,
                "payonce_upstream_unreachable",
                format!("Stripe could not be reached: {cause}. {NOTHING}"),
            ),
            Self::RateLimited => form(
                429,
                INVALID,
                "payonce_rate_limited",
                "Stripe's rate limit was reached, and nothing was executed. The same request \
                 again, a little later, is safe."
                    .to_owned(),
            ),
            Self::OutcomeUnknown { cause, keyless_call } => form(
                504,
                API,
                "payonce_outcome_unknown",
                format!(
                    "{} The outcome is unknown. {}",
                    cause.map_or_else(
                        || "Stripe's answers did not tell the outcome.".to_owned(),
                        |cause| format!("The request was sent, but {cause}.")
                    ),
                    if *keyless_call {
                        "Check before repeating: the request bore no key, so the same request \
                         again may be another payment."
                    } else {
                        "The same request again, with the same key, is safe."
                    }
                ),
            ),
            Self::PassFailed { cause, never_sent } => form(
                502,
                API,
                "payonce_no_answer",
                format!(
                    "{cause}. {}",
                    if *never_sent {
                        NOTHING
                    } else {
                        "Whether Stripe got the request is unknown."
                    }
                ),
            ),
            Self::Internal => form(
                500,
                API,
                "payonce_internal",
                "payonce failed inside. The outcome is unknown; the same request again, with the \
                 same key, is safe."
                    .to_owned(),
            ),
        }
    }
}
