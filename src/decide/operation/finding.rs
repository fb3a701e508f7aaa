//! By what people find a record: digests of its key, of Stripe's ids, of the client's key.
//!
//! A store keeps them as it keeps the digest of a key, and knows no difference; each kind is hashed
//! under a name of its own, so that a key that reads like an object's id finds no object.

use super::record::Record;
use crate::decide::digest::{key_digest, object_digest, request_digest};
use crate::ledger::KeyDigest;

/// What `record`, asked for with this `client_key`, is found by: its upstream key; and, unless it is
/// claimed, Stripe's id of what it made, and of the answers that are remembered. At most
/// [`MAX_TRAIL`] + 4.
///
/// A claim is awaited before anything is sent, so that it writes no more than it must: what is
/// claimed is on the list of what is open.
///
/// [`MAX_TRAIL`]: super::record::MAX_TRAIL
#[must_use]
pub fn digests(record: &Record, client_key: Option<KeyDigest>) -> Vec<KeyDigest> {
    let keys = client_key.into_iter().chain([key_digest(record.key.as_str())]);
    if record.claim.is_some() {
        return keys.collect();
    }
    let about = &record.about;
    let requests = about.trail.iter().filter_map(|tried| tried.request_id.as_deref());
    let mut all: Vec<KeyDigest> = keys
        .chain(about.object.as_deref().map(object_digest))
        .chain(about.request_id.as_deref().into_iter().chain(requests).map(request_digest))
        .collect();
    // The last answer's id is mostly on the trail too.
    all.sort_unstable();
    all.dedup();
    all
}
