//! Of `payonce check`: whether somebody who is trusted signed the policy that the settings name.

use std::io::{self, Write};
use std::path::Path;

use crate::policy_file::signature::TrustedKeys;
use crate::policy_file::{Why, read_signed};

/// Says who signed the policy at `path`, if somebody must; `false` if nobody did. Other problems
/// are left to whoever reads the policy.
///
/// # Errors
/// Only of `out`.
pub fn run(path: &Path, trusted: &TrustedKeys, out: &mut impl Write) -> io::Result<bool> {
    if trusted.is_empty() {
        return Ok(true);
    }
    match read_signed(path, trusted) {
        Ok(sound) => {
            if let Some(signed) = sound.signed {
                writeln!(out, "signed with the key {} ({})", signed.by, signed.comment)?;
            }
            Ok(true)
        }
        Err(error) if matches!(error.why, Why::Signature(_)) => {
            writeln!(out, "{error}")?;
            Ok(false)
        }
        Err(_told_by_check) => Ok(true),
    }
}
