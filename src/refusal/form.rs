//! What a refusal is to a program: its status, Stripe's `error.type`, payonce's `error.code`, and
//! whether an SDK is to try again by itself. One row a refusal, so that none is forgotten.

use super::Refusal;

const INVALID: &str = "invalid_request_error";
const IDEMPOTENCY: &str = "idempotency_error";
const API: &str = "api_error";

/// payonce could not try, and may do better then.
const YES: Option<&str> = Some("true");
/// payonce has tried, or trying again brings the same.
const NO: Option<&str> = Some("false");
/// A request that was only handed on is the SDK's to judge, as it would be without payonce.
const AS_EVER: Option<&str> = None;

impl Refusal {
    /// Status, `error.type`, `error.code`, `Stripe-Should-Retry`.
    pub(super) const fn form(&self) -> (u16, &'static str, &'static str, Option<&'static str>) {
        match self {
            Self::BadTarget(_) => (400, INVALID, "payonce_bad_target", NO),
            Self::BadRequest(_) => (400, INVALID, "payonce_bad_request", NO),
            Self::RepeatedHeader(_) => (400, INVALID, "payonce_repeated_header", NO),
            Self::BadKey(_) => (400, INVALID, "payonce_bad_idempotency_key", NO),
            Self::BadOperation => (400, INVALID, "payonce_bad_operation", NO),
            Self::ByPolicy { .. } => (403, INVALID, "payonce_refused_by_policy", NO),
            Self::Client { .. } => (403, INVALID, "payonce_client_refused", NO),
            Self::Guarded(finding) => (finding.status(), INVALID, finding.code(), NO),
            Self::NoCredential => (403, INVALID, "payonce_no_credential", NO),
            Self::RequiredFields { .. } => (400, INVALID, "payonce_field_required", NO),
            Self::OwnKeyRequired { .. } => (400, INVALID, "payonce_key_required", NO),
            Self::FieldsMissing { .. } => (400, INVALID, "payonce_identity_missing", NO),
            Self::BodyTooLarge { .. } => (413, INVALID, "payonce_body_too_large", NO),
            Self::BodyTooSlow => (408, API, "payonce_body_too_slow", YES),
            Self::BodyBroken => (400, INVALID, "payonce_body_broken", NO),
            Self::Busy(_) => (503, API, "payonce_busy", YES),
            Self::Closing => (503, API, "payonce_closing", YES),
            Self::Conflict { .. } => (400, IDEMPOTENCY, "payonce_conflict", NO),
            Self::Superseded => (409, API, "payonce_superseded", NO),
            Self::WindowElapsed => (409, API, "payonce_window_elapsed", NO),
            Self::AlreadyDone { .. } => (409, API, "payonce_already_done", NO),
            Self::StillInFlight => (409, API, "payonce_in_flight", NO),
            Self::StoreDown => (503, API, "payonce_store_down", YES),
            Self::StoreUnreadable => (503, API, "payonce_store_unreadable", NO),
            Self::StoreForgets => (503, API, "payonce_store_forgets", NO),
            Self::Unreachable { .. } => (502, API, "payonce_upstream_unreachable", NO),
            Self::RateLimited => (429, INVALID, "payonce_rate_limited", NO),
            Self::OutcomeUnknown { .. } => (504, API, "payonce_outcome_unknown", NO),
            Self::AnswerUnavailable => (504, API, "payonce_answer_unavailable", NO),
            Self::PassFailed { retried: true, .. } => (502, API, "payonce_no_answer", NO),
            Self::PassFailed { retried: false, .. } => (502, API, "payonce_no_answer", AS_EVER),
            Self::Internal => (500, API, "payonce_internal", NO),
        }
    }
}
