//! What must be seen nowhere: API keys, cards, bodies, raw keys, the configured secret (I8).

use super::shop::API_KEYS;

/// What is searched for everywhere. Keys and names occur in the stories.
const CANARIES: [&str; 6] = [
    "canary1SecretKey",
    "canary2SecretKey",
    "Canary+Payer",
    "Canary Payer",
    "canary-secret-of-the-configuration",
    "stripe-node-retry-",
];

/// The canaries that stand in `text`, each told with its place.
pub(crate) fn found(place: &str, text: &[u8]) -> Vec<String> {
    let stands = |secret: &str| memchr::memmem::find(text, secret.as_bytes()).is_some();
    let canaries = CANARIES.iter().chain(&API_KEYS).filter(|secret| stands(secret));
    canaries.map(|secret| format!("{secret} stands in {place}")).collect()
}
