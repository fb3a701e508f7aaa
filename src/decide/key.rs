//! Idempotency keys: parsed, told apart by who chose them, derived.
//!
//! What the key of a request *means* for its identity is [`identity`](super::identity)'s room.

use std::fmt;

use uuid::Uuid;

use super::agent::{Named, Sdk};
use super::digest::{OperationId, Secret};
use super::policy::Uuid4Keys;
use crate::seams::{self, Mistake};

/// Stripe's limit on a key, in characters (FACTS §2).
pub const MAX_KEY_LENGTH: usize = 255;

/// A well-formed `Idempotency-Key`. Its `Debug` never shows it (I8).
#[derive(Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdempotencyKey(String);

/// Why a value is no idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// It is empty.
    #[error("the Idempotency-Key is empty")]
    Empty,
    /// It is longer than Stripe takes.
    #[error("the Idempotency-Key has {0} characters; Stripe takes at most {MAX_KEY_LENGTH}")]
    TooLong(usize),
    /// It holds something else than visible ASCII characters and inner spaces.
    #[error("the Idempotency-Key holds a character that is not printable ASCII")]
    NotPrintable,
}

impl IdempotencyKey {
    /// Reads a header value.
    ///
    /// # Errors
    /// [`BadKey`] says which rule it breaks, never what it was.
    pub fn parse(value: &[u8]) -> Result<Self, BadKey> {
        if value.is_empty() {
            return Err(BadKey::Empty);
        }
        if value.len() > MAX_KEY_LENGTH {
            return Err(BadKey::TooLong(value.len()));
        }
        if !value.iter().all(|byte| (0x20..0x7f).contains(byte)) {
            return Err(BadKey::NotPrintable);
        }
        String::from_utf8(value.to_vec()).map(Self).map_err(|_bytes| BadKey::NotPrintable)
    }

    /// The key as it goes on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A key for one call that came without one, from 16 random bytes.
    #[must_use]
    pub fn minted(random: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(random).into_uuid().to_string())
    }

    /// The upstream key of one occurrence of an operation: the same for everyone who derives it.
    #[must_use]
    pub fn derived(
        secret: &Secret,
        operation: &OperationId,
        at: super::operation::Occurrence,
    ) -> Self {
        let at = if seams::mistake(Mistake::KeyWithoutOccurrence) {
            super::operation::Occurrence::first(0)
        } else {
            at
        };
        let digest = secret.digest(&[
            b"payonce upstream key 1",
            &operation.0,
            &at.n.to_be_bytes(),
            &at.epoch.to_be_bytes(),
        ]);
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(digest) {
            *to = from;
        }
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string())
    }
}

impl TryFrom<String> for IdempotencyKey {
    type Error = BadKey;

    fn try_from(text: String) -> Result<Self, BadKey> {
        Self::parse(text.as_bytes())
    }
}

impl From<IdempotencyKey> for String {
    fn from(key: IdempotencyKey) -> Self {
        key.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({} characters)", self.0.len())
    }
}

/// Who chose a client's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Chosen {
    /// The application: an own key.
    ByApplication,
    /// The SDK, for one call.
    BySdk {
        /// It is a UUID such as an application might have chosen as well.
        uuid: bool,
    },
}

/// Tells who chose `key`, from its shape and the SDK that the `User-Agent` names (DESIGN §2).
///
/// In doubt it is the application's: an own key is never merged with anything by content. A UUID
/// under an SDK that mints such keys is the SDK's, unless the policy says that the application mints
/// UUIDs of its own.
#[must_use]
pub fn chosen(key: &IdempotencyKey, user_agent: Option<&str>, uuid4_keys: Uuid4Keys) -> Chosen {
    let key = key.as_str();
    let named = user_agent.and_then(Named::of);
    let random_hex = |named: &Named<'_>| {
        named.version.is_some_and(|version| (version.major(), version.minor()) >= (15, 4))
    };
    let (minted, uuid) = match named.map(|named| named.sdk) {
        Some(Sdk::Node) => (is_node_key(key), false),
        Some(Sdk::Go) => (is_go_key(key), false),
        Some(Sdk::Python) if named.as_ref().is_some_and(random_hex) => {
            let hex = hyphenated(key);
            (hex.is_some(), hex.is_some_and(|hex| may_be_chosen(&hex)))
        }
        Some(Sdk::Python | Sdk::Ruby | Sdk::Php | Sdk::Java | Sdk::Dotnet | Sdk::Rust) => {
            (is_uuid4(key), true)
        }
        None => (false, false),
    };
    match (minted, uuid, uuid4_keys) {
        (true, true, Uuid4Keys::Own) | (false, _, _) => Chosen::ByApplication,
        (true, uuid, _) => Chosen::BySdk { uuid },
    }
}

/// The word of a `User-Agent` that names an official SDK and its version, such as
/// `PythonBindings/16.1.0`; `None` if [`chosen`] would not take it for one.
#[must_use]
pub fn sdk_named(user_agent: &str) -> Option<&str> {
    Named::of(user_agent).map(|named| named.word)
}

fn is_node_key(key: &str) -> bool {
    key.strip_prefix("stripe-node-retry-").is_some_and(is_uuid4)
}

/// `^\d{19}_[A-Za-z0-9_-]{6}$`: nanoseconds and six base64url characters.
fn is_go_key(key: &str) -> bool {
    key.split_once('_').is_some_and(|(nanos, rest)| {
        nanos.len() == 19
            && nanos.bytes().all(|byte| byte.is_ascii_digit())
            && rest.len() == 6
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    })
}

/// Lower-case hyphenated hex, as every SDK writes it. Anything else the application wrote.
fn hyphenated(key: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse(key).ok()?;
    (uuid.hyphenated().to_string() == key).then_some(uuid)
}

fn is_uuid4(key: &str) -> bool {
    hyphenated(key).is_some_and(|uuid| {
        uuid.get_variant() == uuid::Variant::RFC4122 && uuid.get_version_num() == 4
    })
}

/// Whether an application may have chosen these 16 bytes, which Python's SDK has minted at random
/// since 15.4.
///
/// One in eight looks like a valid UUID by chance: hashed (v3, v5), random (v4) or custom ones (v8),
/// and time-based ones (v1, v6, v7) whose time lies in this century, are such as programs make. They
/// are 4 in 64 of what the SDK mints, and a few in ten thousand.
fn may_be_chosen(uuid: &Uuid) -> bool {
    if uuid.get_variant() != uuid::Variant::RFC4122 {
        return false;
    }
    match uuid.get_version_num() {
        3 | 4 | 5 | 8 => true,
        1 | 6 | 7 => uuid.get_timestamp().is_some_and(|time| {
            let (seconds, _nanos) = time.to_unix();
            (946_684_800..4_102_444_800).contains(&seconds)
        }),
        _never_chosen => false,
    }
}

#[cfg(test)]
mod tests;
