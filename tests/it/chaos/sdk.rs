//! How an application's SDK presents itself: its User-Agent and the key of one call (FACTS §1).

use uuid::Builder;

use super::dice::Dice;
use crate::proof::verdict::Keys;

/// The User-Agent that goes with such keys.
pub(crate) const fn user_agent(keys: Keys) -> &'static str {
    match keys {
        // PHP's default; it mints UUIDv4 once it is told to retry.
        Keys::None => "Stripe/v1 PhpBindings/21.0.0",
        Keys::Uuid4 => "Stripe/v1 RubyBindings/19.5.0",
        Keys::PythonHex | Keys::Own => "Stripe/v1 PythonBindings/16.1.0",
        Keys::Node => "Stripe/v1 NodeBindings/23.1.0",
        Keys::Go => "Stripe/v1 GoBindings/86.2.0",
    }
}

/// The key of the `call`-th call for `intent`; `own` is what the application chose.
pub(crate) fn key(keys: Keys, own: &str, dice: Dice, intent: &str, call: u64) -> Option<String> {
    let random = || {
        let halves = [dice.roll("key", intent, call), dice.roll("yek", intent, call)];
        let bytes: Vec<u8> = halves.into_iter().flat_map(u64::to_be_bytes).collect();
        <[u8; 16]>::try_from(bytes).unwrap()
    };
    let uuid4 = || Builder::from_random_bytes(random()).into_uuid().to_string();
    match keys {
        Keys::None => None,
        Keys::Uuid4 => Some(uuid4()),
        // 16 random bytes: no version, no variant.
        Keys::PythonHex => Some(Builder::from_bytes(random()).into_uuid().to_string()),
        Keys::Node => Some(format!("stripe-node-retry-{}", uuid4())),
        Keys::Go => {
            let word = dice.roll("key", intent, call);
            Some(format!("{:019}_{:06x}", word % 10_u64.pow(18), word >> 40))
        }
        Keys::Own => Some(own.to_owned()),
    }
}

/// Whether SDKs with such keys retry by themselves, and so bear one key over it.
pub(crate) const fn retries(keys: Keys) -> u32 {
    match keys {
        Keys::None => 0,
        Keys::Uuid4 | Keys::PythonHex | Keys::Node | Keys::Go | Keys::Own => 2,
    }
}
