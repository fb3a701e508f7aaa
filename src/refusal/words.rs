//! What a refusal says to people: what happened, and what that means for the money.

use super::{Again, Refusal};
use crate::clock::Timestamp;
use crate::upstream::Cause;

impl Refusal {
    /// What happened, without a full stop.
    pub(super) fn what(&self) -> String {
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
            Self::NoCredential => NO_CREDENTIAL.to_owned(),
            Self::RequiredFields { rule, fields } => {
                format!("The policy's rule {rule:?} requires {} in this request", fields.join(", "))
            }
            Self::OwnKeyRequired { rule } => own_key_required(rule),
            Self::FieldsMissing { rule, fields } => format!(
                "The policy's rule {rule:?} wants {} in this request, each with one value",
                fields.join(", ")
            ),
            Self::BodyTooLarge { limit } => format!("The body is over {limit} bytes (limits.body)"),
            Self::BodyTooSlow => "The request's body did not come in time".to_owned(),
            Self::BodyBroken => "The request's body broke off or was ill-formed".to_owned(),
            Self::Busy(limit) => format!("payonce has reached its limit on {limit}"),
            Self::Closing => "payonce is shutting down".to_owned(),
            Self::Conflict { fields } => conflict(fields),
            Self::Superseded => "This Idempotency-Key belongs to an earlier attempt of the \
                                 operation, which has been followed by another"
                .to_owned(),
            Self::WindowElapsed => "The outcome of this operation is unknown, and it is too old \
                                    for Stripe to recognise its key"
                .to_owned(),
            Self::AlreadyDone { object, at } => already_done(object.as_deref(), *at),
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
            Self::OutcomeUnknown { cause, last, .. } => outcome_unknown(*cause, *last),
            Self::AnswerUnavailable => {
                "This operation has succeeded already, but its answer could not be fetched again"
                    .to_owned()
            }
            Self::PassFailed { cause, .. } => format!("Stripe did not answer: {cause}"),
            Self::Internal => "payonce failed inside".to_owned(),
        }
    }

    /// What it means for the money.
    pub(super) const fn for_the_money(&self) -> &'static str {
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
            Self::OutcomeUnknown { again: Again::Another, .. } => {
                "The outcome is unknown. Check before repeating: the request bore no key, so the \
                 same request again may be another payment."
            }
            Self::OutcomeUnknown { again: Again::SameByKey, .. } => {
                "The outcome is unknown. Check before repeating: only with the same \
                 Idempotency-Key is the same request the same payment, and an SDK makes a new key \
                 for each call."
            }
            Self::OutcomeUnknown { again: Again::Same, .. } => {
                "The outcome is unknown; the same request again, with the same key if it bears \
                 one, is safe."
            }
            Self::AnswerUnavailable => "It happened once; the same request again is safe.",
            Self::PassFailed { never_sent: false, .. } => "Whether Stripe got it is unknown.",
        }
    }
}

const NO_CREDENTIAL: &str = "This request bears payonce's placeholder instead of an API key, \
                             and payonce holds no key to put in its place (credential.file)";

fn own_key_required(rule: &str) -> String {
    format!(
        "The policy's rule {rule:?} wants an Idempotency-Key that the application chose \
         (a UUID with an SDK's User-Agent counts as the SDK's, unless the policy says \
         uuid4_keys = \"own\")"
    )
}

fn conflict(fields: &[String]) -> String {
    let fields = if fields.is_empty() { "the body".to_owned() } else { fields.join(", ") };
    format!("This operation was asked for before with other content; what differs: {fields}")
}

fn already_done(object: Option<&str>, at: Timestamp) -> String {
    let made = object.map(|id| format!(" as {id}")).unwrap_or_default();
    format!("This operation has succeeded already{made}, first sent at {at} (Unix time)")
}

fn outcome_unknown(cause: Option<Cause>, last: Option<u16>) -> String {
    match (cause, last) {
        (Some(cause), _) => format!("The request was sent, but {cause}"),
        (None, Some(last)) => format!(
            "The request was sent, but the answers, the last with status {last}, did not tell \
             the outcome"
        ),
        (None, None) => "The request may have been sent, but there is no answer".to_owned(),
    }
}
