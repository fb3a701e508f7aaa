//! Who vouches for a policy file: a detached minisign signature beside it, `policy.toml.minisig`.
//!
//! Made with `minisign -Sm policy.toml`. Where the settings name trusted keys, nothing of a file is
//! looked at before its signature held. What a signature does not say is when: an older policy with
//! its own signature is as good as on its first day, until its key is trusted no more.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{Error, PublicKey, Signature};

use crate::decide::shown::masked;

/// More keys than this are no rotation.
const MOST_KEYS: usize = 16;

/// The most that is shown of the comment that a signer wrote, in characters.
const LONGEST_COMMENT: usize = 200;

/// The keys that a policy may be signed with. Without any, none need be signed.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys(Vec<(KeyId, PublicKey)>);

/// The id of a minisign key, as `minisign` shows it: 16 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyId(String);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A signature that held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The key it was made with.
    pub by: KeyId,
    /// The signer's comment, which is signed too. By default minisign writes time and file name.
    pub comment: String,
}

/// Text that is no list of public keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// One of them is none; which, from 1.
    #[error("key {0} is no minisign public key: it is the second line of minisign.pub, \"RW…\"")]
    NotAKey(usize),
    /// There are more than 16.
    #[error("names more than {MOST_KEYS} keys")]
    TooMany,
}

/// Why a policy is not vouched for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// There is no signature.
    #[error("{} cannot be read: {why}; sign the policy with `minisign -Sm`", at.display())]
    Missing {
        /// Where it was looked for.
        at: PathBuf,
        /// What the system says.
        why: String,
    },
    /// It is no signature of minisign's.
    #[error("the signature is damaged, or none of minisign's")]
    Damaged,
    /// It is in a form that signs the file itself, where all but the oldest sign its hash.
    #[error("the signature is in minisign's old form; sign the policy with a newer minisign")]
    OldForm,
    /// Its key is not trusted.
    #[error("it is signed with the key {0}, which policy.trusted_keys does not name")]
    UnknownKey(KeyId),
    /// It is a trusted key's, for other bytes or another comment.
    #[error(
        "the signature with the key {0} does not hold: the policy or the signature was changed \
         after it was signed; sign the policy as it stands"
    )]
    DoesNotHold(KeyId),
}

impl TrustedKeys {
    /// Public keys with commas between them.
    ///
    /// # Errors
    /// [`BadKeys`] says which is none.
    pub fn parse(text: &str) -> Result<Self, BadKeys> {
        let keys: Vec<&str> = text.split(',').map(str::trim).collect();
        if keys.len() > MOST_KEYS {
            return Err(BadKeys::TooMany);
        }
        let read = |(index, text): (usize, &&str)| {
            let bad = BadKeys::NotAKey(index + 1);
            let key = PublicKey::from_base64(text).map_err(|_whatever| bad.clone())?;
            Ok((key_id(text).ok_or(bad)?, key))
        };
        keys.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether no policy need be signed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `signature` is one of `policy`'s bytes by one of these keys.
    ///
    /// # Errors
    /// [`BadSignature`] says why not.
    pub fn verify(&self, policy: &[u8], signature: &[u8]) -> Result<Signed, BadSignature> {
        let text = std::str::from_utf8(signature).map_err(|_not_text| BadSignature::Damaged)?;
        let by = text.lines().nth(1).and_then(key_id).ok_or(BadSignature::Damaged)?;
        let signature = Signature::decode(text).map_err(|_whatever| BadSignature::Damaged)?;
        let mut why = BadSignature::UnknownKey(by.clone());
        // Two keys may have one id: it is but eight bytes that their maker chose.
        for (_, key) in self.0.iter().filter(|(id, _)| *id == by) {
            match key.verify(policy, &signature, false) {
                Ok(()) => return Ok(Signed { by, comment: shown(signature.trusted_comment()) }),
                Err(Error::UnexpectedAlgorithm) => why = BadSignature::OldForm,
                Err(_does_not_hold) => why = BadSignature::DoesNotHold(by.clone()),
            }
        }
        Err(why)
    }
}

/// Where the signature of the policy at `path` stands: `policy.toml.minisig`.
#[must_use]
pub fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".minisig");
    PathBuf::from(name)
}

/// The key id in a line of base64: two bytes that name the algorithm, then eight of the id, which
/// minisign shows as a little-endian number.
fn key_id(line: &str) -> Option<KeyId> {
    let bytes = STANDARD.decode(line.trim()).ok()?;
    let id: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
    Some(KeyId(format!("{:016X}", u64::from_le_bytes(id))))
}

/// A comment goes to logs and terminals.
fn shown(comment: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    masked(&comment.chars().map(plain).collect::<String>()).chars().take(LONGEST_COMMENT).collect()
}

#[cfg(test)]
mod tests;
