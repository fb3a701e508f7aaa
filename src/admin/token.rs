//! The admin port's bearer token: chosen by somebody, or made at each start and left in a file
//! that only the same user can read, where `payonce ops` finds it.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rand::TryRng as _;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use crate::settings::{Secret, Token};

/// For the server: the chosen token, or a new one, written for [`find`].
///
/// # Errors
/// What kept the file from being written, or the system from giving random bytes.
pub fn make(token: &Token) -> io::Result<Secret> {
    let path = match token {
        Token::Given(token) => return Ok(token.clone()),
        Token::Made(path) => path,
    };
    let mut bytes = Zeroizing::new([0; 32]);
    SysRng.try_fill_bytes(bytes.as_mut_slice()).map_err(io::Error::other)?;
    let text = Zeroizing::new(hex::encode(bytes.as_slice()));
    write(path, &text)?;
    Ok(Secret::new(text.as_bytes().to_vec()))
}

/// For a client: the chosen token, or the one that the server made.
///
/// # Errors
/// What kept the file from being read: most likely no server was started with these settings.
pub fn find(token: &Token) -> io::Result<Secret> {
    match token {
        Token::Given(token) => Ok(token.clone()),
        Token::Made(path) => Secret::from_file(path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

/// Writes beside and renames: a reader sees a whole token or the one before, and a link or a file
/// that somebody else put there is not written through.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let beside = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
    // One that was left by a crash. Process ids come back, in containers at every start; if it
    // cannot be removed, the next line says so.
    std::fs::remove_file(&beside).unwrap_or_default();
    let written = (|| {
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        writeln!(file, "{text}")?;
        std::fs::rename(&beside, path)
    })();
    if written.is_err() {
        // Best effort: the error that matters is the one at hand.
        std::fs::remove_file(&beside).unwrap_or_default();
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_anew_at_each_start_for_its_owner_alone_and_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let token = Token::Made(dir.path().join("payonce-admin-8421.token"));
        let first = make(&token).unwrap();
        let second = make(&token).unwrap();
        assert_eq!(second.len(), 64);
        assert_ne!(first.expose(), second.expose());
        assert_eq!(find(&token).unwrap().expose(), second.expose());
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error() {
        assert!(make(&Token::Made("/nonexistent/token".into())).is_err());
        assert!(find(&Token::Made("/nonexistent/token".into())).is_err());
    }

    #[test]
    fn a_chosen_token_is_taken_as_it_is() {
        let token = Token::Given(Secret::new(b"chosen".to_vec()));
        assert_eq!(make(&token).unwrap().expose(), b"chosen");
        assert_eq!(find(&token).unwrap().expose(), b"chosen");
    }
}
