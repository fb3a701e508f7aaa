//! Keyed digests: what of a request may be remembered, and tells nobody what was asked.
//!
//! Which of them makes an operation's identity is [`identity`](super::identity)'s matter.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::ledger::{KeyDigest, RecordId};

/// Serialises a digest as hex text, so that a person can read a record.
macro_rules! hex_serde {
    ($name:ident, $size:literal) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&hex::encode(self.0))
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                let mut bytes = [0; $size];
                hex::decode_to_slice(text, &mut bytes).map_err(serde::de::Error::custom)?;
                Ok(Self(bytes))
            }
        }
    };
}

/// The SHA-256 of an API key, as `sha256sum` prints it: how a policy names one without holding it.
/// Such keys are long and random, so that nobody finds one by guessing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiKeyDigest(pub [u8; 32]);

impl ApiKeyDigest {
    /// The digest of a key.
    #[must_use]
    pub fn of(api_key: &[u8]) -> Self {
        Self(Sha256::digest(api_key).into())
    }

    /// Its beginning.
    #[must_use]
    pub fn hint(&self) -> ApiKeyHint {
        let mut hint = [0; 8];
        for (to, from) in hint.iter_mut().zip(self.0) {
            *to = from;
        }
        ApiKeyHint(hint)
    }
}

impl std::str::FromStr for ApiKeyDigest {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest)?;
        Ok(Self(digest))
    }
}

impl fmt::Debug for ApiKeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyDigest(…)")
    }
}

/// Who asks: a digest of the API key, `Stripe-Account` and `Stripe-Context`. Absent is not empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scope(pub(super) [u8; 32]);

impl Scope {
    /// The scope of a request that bears these.
    #[must_use]
    pub fn of(api_key: &[u8], account: Option<&[u8]>, context: Option<&[u8]>) -> Self {
        Self::of_digest(&ApiKeyDigest::of(api_key), account, context)
    }

    /// The same, of a key that is known by its digest alone.
    #[must_use]
    pub fn of_digest(
        api_key: &ApiKeyDigest,
        account: Option<&[u8]>,
        context: Option<&[u8]>,
    ) -> Self {
        Self::within(b"payonce scope 2", &api_key.0, account, context)
    }

    /// The scope in the first format of ids, for which the key itself had to be known.
    #[must_use]
    pub fn first_format(api_key: &[u8], account: Option<&[u8]>, context: Option<&[u8]>) -> Self {
        Self::within(b"payonce scope 1", api_key, account, context)
    }

    /// The scope of all API keys that a policy's `[[scope]]` of this name lists.
    #[must_use]
    pub fn named(name: &str, account: Option<&[u8]>, context: Option<&[u8]>) -> Self {
        Self::within(b"payonce named scope 1", name.as_bytes(), account, context)
    }

    fn within(kind: &[u8], who: &[u8], account: Option<&[u8]>, context: Option<&[u8]>) -> Self {
        let mut digest = Sha256::new();
        absorb(&mut digest, kind);
        absorb(&mut digest, who);
        for part in [account, context] {
            digest.update([u8::from(part.is_some())]);
            absorb(&mut digest, part.unwrap_or_default());
        }
        Self(digest.finalize().into())
    }
}

/// In which format an operation's id is made. A new one is added here, and never replaces one:
/// operations that were recorded by the last are found for as long as they are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdFormat {
    /// The scope was made of the API key itself.
    First,
    /// The scope is made of the key's digest, so that a policy can name keys.
    #[default]
    Second,
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scope(…)")
    }
}

/// The beginning of an [`ApiKeyDigest`], for records: tells whose key it was from others', and
/// nobody what the key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ApiKeyHint(pub [u8; 8]);
hex_serde!(ApiKeyHint, 8);

impl fmt::Display for ApiKeyHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// What keys the digests: the configured secret, or one made of the request's API key.
///
/// Never generated, so there is nothing to lose.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 64]>);

impl Secret {
    /// From what the settings hold.
    #[must_use]
    pub fn configured(bytes: &[u8]) -> Self {
        Self::expand(b"payonce configured secret 1", bytes)
    }

    /// From the API key of a request, where no secret is configured.
    #[must_use]
    pub fn of_api_key(api_key: &[u8]) -> Self {
        Self::expand(b"payonce api key secret 1", api_key)
    }

    fn expand(salt: &[u8], from: &[u8]) -> Self {
        let mut key = Zeroizing::new([0; 64]); // one block of SHA-256, so HMAC takes it as it is
        let expanded = Hkdf::<Sha256>::new(Some(salt), from).expand(b"payonce", key.as_mut_slice());
        debug_assert!(expanded.is_ok(), "64 bytes is a valid length for HKDF-SHA256");
        Self(key)
    }

    /// HMAC-SHA256 over `parts`, each length-prefixed.
    #[must_use]
    pub fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new(&(*self.0).into());
        for part in parts {
            mac.update(&length(part));
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The first `N` bytes of [`Self::digest`].
    #[must_use]
    pub(super) fn short<const N: usize>(&self, parts: &[&[u8]]) -> [u8; N] {
        let mut short = [0; N];
        for (to, from) in short.iter_mut().zip(self.digest(parts)) {
            *to = from;
        }
        short
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn length(part: &[u8]) -> [u8; 8] {
    u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes()
}

fn absorb(digest: &mut Sha256, part: &[u8]) {
    digest.update(length(part));
    digest.update(part);
}

/// HMAC-SHA256 of what an operation *is*.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OperationId(pub [u8; 32]);

impl OperationId {
    /// The id under which the ledger keeps it.
    #[must_use]
    pub const fn record(self) -> RecordId {
        RecordId(self.0)
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperationId({self})")
    }
}

/// A client key together with the content that it bore, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKeyDigest(pub [u8; 16]);
hex_serde!(ClientKeyDigest, 16);

/// A client key together with its scope, method, path and content, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallDigest(pub [u8; 16]);
hex_serde!(CallDigest, 16);

/// A client key together with its scope, method and path, hashed: what is known of a call before its
/// body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallHint([u8; 32]);

impl CallHint {
    /// Of a request that bears this key.
    #[must_use]
    pub fn of(scope: &Scope, method: &str, path: &str, client_key: &[u8]) -> Self {
        let mut digest = Sha256::new();
        for part in [b"payonce call hint 1", &scope.0[..], method.as_bytes(), path.as_bytes()] {
            absorb(&mut digest, part);
        }
        absorb(&mut digest, client_key);
        Self(digest.finalize().into())
    }
}

/// A digest of a whole request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WholeDigest(pub [u8; 16]);
hex_serde!(WholeDigest, 16);

/// A digest of one field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FieldDigest(pub [u8; 8]);
hex_serde!(FieldDigest, 8);

/// The digest by which people look an operation up by its key.
#[must_use]
pub fn key_digest(key: &str) -> KeyDigest {
    look_up(b"payonce key look-up 1", key)
}

/// Likewise, by a `Request-Id` of Stripe's.
#[must_use]
pub fn request_digest(id: &str) -> KeyDigest {
    look_up(b"payonce request look-up 1", id)
}

/// Likewise, by the id of what it made at Stripe.
#[must_use]
pub fn object_digest(id: &str) -> KeyDigest {
    look_up(b"payonce object look-up 1", id)
}

fn look_up(what: &[u8], text: &str) -> KeyDigest {
    let mut digest = Sha256::new();
    absorb(&mut digest, what);
    absorb(&mut digest, text.as_bytes());
    let mut short = [0; 16];
    for (to, from) in short.iter_mut().zip(digest.finalize()) {
        *to = from;
    }
    KeyDigest(short)
}
