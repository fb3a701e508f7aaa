//! A record's bytes: JSON that a person can read, with the version of its form.

use bytes::Bytes;
use serde::Deserialize;

use super::record::{FORMAT, Record};

/// Why bytes are no record. They are left as they are, and nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A newer payonce wrote it: it is never overwritten by this one.
    #[error("a newer payonce wrote this record (form {0}, this one knows {FORMAT})")]
    Newer(u32),
    /// It is damaged, or of somebody else.
    #[error("this is not a record of payonce")]
    Unreadable,
}

/// The bytes of `record`.
///
/// # Errors
/// [`CodecError::Unreadable`] if it has no JSON form, which no record is known to lack.
pub fn encode(record: &Record) -> Result<Bytes, CodecError> {
    serde_json::to_vec(record).map(Bytes::from).map_err(|_error| CodecError::Unreadable)
}

/// Reads a record.
///
/// # Errors
/// [`CodecError`] says why it cannot be read.
pub fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
    #[derive(Deserialize)]
    struct Form {
        format: u32,
    }
    let form: Form = serde_json::from_slice(bytes).map_err(|_error| CodecError::Unreadable)?;
    if form.format > FORMAT {
        return Err(CodecError::Newer(form.format));
    }
    if form.format == 0 {
        return Err(CodecError::Unreadable);
    }
    serde_json::from_slice(bytes).map_err(|_error| CodecError::Unreadable)
}
