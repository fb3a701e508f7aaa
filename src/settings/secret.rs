//! Secret values: read once, wiped when dropped, never printed.

use std::fmt;
use std::io;
use std::path::Path;

use secrecy::{ExposeSecret, SecretSlice};

use super::files;

/// Most bytes of a file that holds a secret.
const MAX_FILE: u64 = 64 * 1024;

/// A secret's bytes. `Debug` shows their number alone.
#[derive(Clone)]
pub struct Secret(SecretSlice<u8>);

impl Secret {
    /// Takes the bytes over; they are wiped when this is dropped.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for the computation at hand; never to be kept or shown.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.expose().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// Reads a file that holds one secret. One newline at its end is not part of it: editors and
    /// `echo` put it there.
    ///
    /// # Errors
    /// What kept the file from being read, or that it is larger than 64 KiB.
    pub fn from_file(path: &Path) -> io::Result<Self> {
        let bytes = files::read(path, MAX_FILE)?;
        Ok(Self::new(trimmed(&bytes).to_vec()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.len())
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_how_long_a_secret_is_and_nothing_else() {
        let secret = Secret::new(b"whisper it softly".to_vec());
        assert_eq!(format!("{secret:?}"), "Secret(17 bytes)");
    }

    #[test]
    fn one_newline_at_the_end_of_a_file_is_not_part_of_its_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, secret) in [("ab\n", "ab"), ("ab\r\n", "ab"), ("ab\n\n", "ab\n"), ("ab", "ab")] {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(Secret::from_file(file.path()).unwrap().expose(), secret.as_bytes());
        }
    }
}
