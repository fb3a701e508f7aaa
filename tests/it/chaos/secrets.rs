//! What must be seen nowhere: API keys, cards, bodies, raw keys, configured secrets (I8).
//!
//! One exception: the store's record holds the key that the provider gets (DESIGN §2), which is the
//! application's own key where it chose one. Keys that SDKs minted stand there as digests alone.

use super::shop::{API_KEYS, LIVE_KEY};
use super::store::PASSWORD;
use crate::running::TOKEN;

/// The configured secret.
pub(crate) const SECRET: &str = "canary-secret-of-the-configuration-0123456789";
/// What every key that an application chose begins with.
pub(crate) const OWN: &str = "the-shop-";
/// A card, as payers have it.
pub(crate) const CARD: &str = "4242424242424242";

const CANARIES: [&str; 10] = [
    API_KEYS[0],
    API_KEYS[1],
    LIVE_KEY,
    CARD,
    "Canary+Payer",
    "Canary Payer",
    "stripe-node-retry-",
    SECRET,
    PASSWORD,
    TOKEN,
];

/// The canaries that stand in `text`, each told with its place. `keys` are what SDKs minted.
pub(crate) fn found(place: &str, text: &[u8], keys: &[String]) -> Vec<String> {
    let stands = |secret: &&str| memchr::memmem::find(text, secret.as_bytes()).is_some();
    let canaries = CANARIES.into_iter().chain(keys.iter().map(String::as_str)).filter(stands);
    canaries.map(|secret| format!("{secret} stands in {place}")).collect()
}

/// Likewise where no key at all may stand.
pub(crate) fn found_with_own(place: &str, text: &[u8], keys: &[String]) -> Vec<String> {
    let mut all = found(place, text, keys);
    if memchr::memmem::find(text, OWN.as_bytes()).is_some() {
        all.push(format!("an own key stands in {place}"));
    }
    all
}
