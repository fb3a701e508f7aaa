//! What a person must have seen before an operation with a saved error 500 is called declined. Pure.
//!
//! Stripe saves an error 500 for a key also where the payment had happened by then. `declined` gives
//! that key up, for nothing but the error ever comes for it; whoever asks again is sent with the next
//! key, and if the word was wrong, pays twice. So the word alone is not taken: it must be said that
//! the next key is meant. For any other operation `declined` sends the same key again, which protects
//! also from a wrong word.

use crate::admin::Resolution;
use crate::decide::operation::record::{Record, Standing};

/// Whether Stripe keeps answering the key of `record` with an error 500.
pub(super) const fn saved_500(record: &Record) -> bool {
    matches!(record.standing, Standing::InDoubt { saved_500: true })
}

/// Whether `resolution` gives the key of `record` up without saying so.
pub(super) const fn frees_next_key(record: &Record, resolution: &Resolution) -> bool {
    match resolution {
        Resolution::Declined { next_key } => saved_500(record) && !*next_key,
        Resolution::Succeeded { .. } => false,
    }
}
