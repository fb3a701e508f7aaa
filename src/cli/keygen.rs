//! `payonce keygen`: a secret from the system's random numbers. Nothing keeps a copy.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng as _;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

/// How to use it. Goes to standard error, so that a file gets the secret alone.
const ADVICE: &str = "\
A fresh secret of 32 random bytes stands on standard output; nothing keeps a copy.
Give every payonce of one application the same one, in a file that [secret] file names
or in the variable PAYONCE_SECRET__VALUE, never in the settings file.
";

/// Writes a fresh secret of 32 bytes, as 43 characters of base64 (URL form), to `out`, and how to
/// use it to `advice`.
///
/// # Errors
/// What kept it from being written, or the system from giving random bytes.
pub fn run(out: &mut impl Write, advice: &mut impl Write) -> io::Result<()> {
    let mut bytes = Zeroizing::new([0; 32]);
    SysRng.try_fill_bytes(bytes.as_mut_slice()).map_err(io::Error::other)?;
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
    writeln!(out, "{}", text.as_str())?;
    out.flush()?;
    advice.write_all(ADVICE.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::settings::Settings;

    #[test]
    fn every_secret_is_another_and_each_is_one_that_settings_take() {
        let mut made = std::collections::HashSet::new();
        for _ in 0..50 {
            let (mut out, mut advice) = (Vec::new(), Vec::new());
            run(&mut out, &mut advice).unwrap();
            let text = String::from_utf8(out).unwrap();
            let secret = text.strip_suffix('\n').unwrap().to_owned();
            assert_eq!(secret.len(), 43);
            assert!(!String::from_utf8(advice).unwrap().contains(&secret));
            let env = [(OsString::from("PAYONCE_SECRET__VALUE"), OsString::from(&secret))];
            let settings = Settings::load(None, env).unwrap();
            assert_eq!(settings.secret.unwrap().expose(), secret.as_bytes());
            assert!(made.insert(secret));
        }
    }
}
