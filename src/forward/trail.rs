//! What people are told of one attempt.

use crate::clock::Timestamp;
use crate::decide::operation::record::Tried;
use crate::decide::outcome::Meaning;
use crate::respond::Answer;
use crate::upstream::Cause;

/// Of a `Request-Id`, in characters: Stripe's have 18.
const LONGEST_ID: usize = 64;

/// The attempt that began then.
pub(super) fn tried(
    at: Timestamp,
    meaning: Meaning,
    cause: Option<Cause>,
    answer: Option<&Answer>,
) -> Tried {
    Tried {
        at,
        came: meaning.as_str().into(),
        status: answer.map(|answer| answer.status.as_u16()),
        cause: cause.map(|cause| cause.to_string()),
        request_id: answer.and_then(request_id),
    }
}

/// Stripe's id of an answer.
pub(crate) fn request_id(answer: &Answer) -> Option<String> {
    let id = answer.headers.get("request-id")?.to_str().ok()?;
    Some(id.chars().take(LONGEST_ID).collect())
}
