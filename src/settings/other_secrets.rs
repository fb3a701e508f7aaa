//! The secrets that `[secret]` names beside the one in use, so that it can be changed.

use super::reader::Reader;
use super::{Secret, Settings};

/// A secret from which keys are not derived now, and what is open by it is found.
#[derive(Clone, Debug)]
pub enum OtherSecret {
    /// One that was given, or will be.
    Given(Secret),
    /// None: that of each request's API key.
    OfApiKey,
}

const FILES: &str = "secret.other_files";
const API_KEY: &str = "secret.other_api_key";

/// Each of them makes one more look-up of every operation, so that there are few.
const MOST: usize = 4;

pub(super) fn read(r: &mut Reader) -> Vec<OtherSecret> {
    let mut others: Vec<_> = r.secrets(FILES, 32).into_iter().map(OtherSecret::Given).collect();
    if r.flag(API_KEY) {
        others.push(OtherSecret::OfApiKey);
    }
    others
}

pub(super) fn relations(r: &mut Reader, s: &Settings) {
    let count = s.other_secrets.len();
    r.require(FILES, &[API_KEY], count <= MOST, format!("must be at most {MOST}, are {count}"));
    let same = |other: &OtherSecret| match (other, &s.secret) {
        (OtherSecret::Given(other), Some(secret)) => other.expose() == secret.expose(),
        (OtherSecret::Given(_) | OtherSecret::OfApiKey, _) => false,
    };
    let differ = !s.other_secrets.iter().any(same);
    r.require(FILES, &["secret.file"], differ, "names the secret that is in use".to_owned());
    let of_key = s.other_secrets.iter().any(|other| matches!(other, OtherSecret::OfApiKey));
    let what = "is on, and no secret is set: that of the API key is in use already";
    r.require(API_KEY, &["secret.file"], !of_key || s.secret.is_some(), what.to_owned());
}
