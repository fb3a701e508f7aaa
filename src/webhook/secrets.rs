//! The secrets that an endpoint's events are signed with: from files, read again as they change.
//!
//! They are read again on a timer and when a signature matches none of them, whatever became of the
//! files' names and links meanwhile (an editor's rename, a Kubernetes symlink swap): what is
//! compared is what they hold. Files that have become worse never replace what was read before.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::Timestamp;
pub use crate::settings::Secret;

/// Fewest bytes of a secret; Stripe's have 38.
const LEAST: usize = 16;
/// Most secrets of an endpoint: each costs one HMAC over every body.
const MOST: usize = 8;
/// Between two readings for signatures that match nothing, which anybody can send.
const AGAIN: Duration = Duration::from_secs(1);

/// What keeps secrets from being used. Shows none of them.
#[derive(Debug, thiserror::Error)]
pub enum BadSecrets {
    /// A file cannot be read.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// A file holds none.
    #[error("{}: holds no secret; write one a line, such as whsec_…", .0.display())]
    Empty(PathBuf),
    /// A line is none.
    #[error(
        "{}: line {line} is no secret: at least {LEAST} visible ASCII characters without spaces",
        path.display()
    )]
    NotOne {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
    /// There are too many.
    #[error("there are {0} secrets, at most {MOST} are tried: take out what is rolled over")]
    TooMany(usize),
}

/// Reads every secret of `files`, one a line.
///
/// # Errors
/// [`BadSecrets`], the first thing that is wrong.
pub fn read(files: &[PathBuf]) -> Result<Vec<Secret>, BadSecrets> {
    let mut secrets = Vec::new();
    for path in files {
        let whole = Secret::from_file(path)
            .map_err(|why| BadSecrets::Unreadable { path: path.clone(), why })?;
        let before = secrets.len();
        for (n, line) in whole.expose().split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            if line.len() < LEAST || !line.iter().all(u8::is_ascii_graphic) {
                return Err(BadSecrets::NotOne { path: path.clone(), line: n + 1 });
            }
            secrets.push(Secret::new(line.to_vec()));
        }
        if secrets.len() == before {
            return Err(BadSecrets::Empty(path.clone()));
        }
    }
    if secrets.len() > MOST {
        return Err(BadSecrets::TooMany(secrets.len()));
    }
    Ok(secrets)
}

/// The secrets in force of one endpoint.
#[derive(Debug)]
pub struct Secrets {
    endpoint: String,
    files: Vec<PathBuf>,
    current: ArcSwap<Vec<Secret>>,
    looked: Mutex<Looked>,
}

/// The last look at the files.
#[derive(Debug, Default)]
struct Looked {
    at: Timestamp,
    /// What was wrong with them.
    wrong: Option<String>,
}

impl Secrets {
    /// Those of `files`, for the endpoint of this name.
    ///
    /// # Errors
    /// [`BadSecrets`]; later such files leave the secrets in force as they are.
    pub fn open(endpoint: &str, files: Vec<PathBuf>) -> Result<Self, BadSecrets> {
        let current = ArcSwap::from_pointee(read(&files)?);
        Ok(Self { endpoint: endpoint.to_owned(), files, current, looked: Mutex::default() })
    }

    /// The secrets in force.
    #[must_use]
    pub fn current(&self) -> Arc<Vec<Secret>> {
        self.current.load_full()
    }

    /// Whether the files hold something that cannot be used.
    #[must_use]
    pub fn stale(&self) -> bool {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner).wrong.is_some()
    }

    /// Reads the files again, for a signature that matched nothing: at most once a second. True if
    /// other secrets are in force now.
    pub fn look_again(&self, now: Timestamp) -> bool {
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            // A clock that stepped back must not put it off.
            if now >= looked.at && now.since(looked.at) < AGAIN {
                return false;
            }
            looked.at = now;
        }
        self.refresh()
    }

    /// Reads the files again. True if other secrets are in force now.
    pub fn refresh(&self) -> bool {
        let read = read(&self.files);
        let wrong = read.as_ref().err().map(ToString::to_string);
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.wrong != wrong {
            let endpoint = self.endpoint.as_str();
            if let Some(error) = &wrong {
                tracing::error!(
                    endpoint,
                    error,
                    "the webhook secrets cannot be used; those read before stay in force"
                );
            } else {
                tracing::info!(endpoint, "the files of the webhook secrets are sound again");
            }
            looked.wrong = wrong;
        }
        drop(looked);
        let Ok(read) = read else { return false };
        if same(&read, &self.current.load()) {
            return false;
        }
        tracing::info!(endpoint = self.endpoint, secrets = read.len(), "new webhook secrets");
        self.current.store(Arc::new(read));
        true
    }
}

fn same(one: &[Secret], other: &[Secret]) -> bool {
    one.iter().map(Secret::expose).eq(other.iter().map(Secret::expose))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "whsec_the_first_of_all";
    const TWO: &str = "whsec_the_second_of_all";

    fn texts(secrets: &[Secret]) -> Vec<String> {
        let text = |secret: &Secret| String::from_utf8(secret.expose().to_vec()).unwrap();
        secrets.iter().map(text).collect()
    }

    #[test]
    fn every_line_of_every_file_is_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        std::fs::write(&old, format!("{ONE}\r\n\n{TWO}\n")).unwrap();
        std::fs::write(&new, ONE).unwrap();
        assert_eq!(texts(&read(&[old, new]).unwrap()), [ONE, TWO, ONE]);
    }

    #[test]
    fn what_is_no_secret_is_named_by_file_and_line_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        for (text, said) in [
            ("\n", "holds no secret"),
            ("whsec_the_first_of_all\nwhsec_short", "line 2 is no secret"),
            ("whsec_with spaces_within", "line 1 is no secret"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = read(std::slice::from_ref(&file)).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("whsec_s"), "{error}");
        }
        std::fs::write(&file, format!("{ONE}\n").repeat(9)).unwrap();
        assert!(matches!(read(&[file]), Err(BadSecrets::TooMany(9))));
    }

    #[test]
    fn a_swapped_symlink_is_followed_and_a_worse_file_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("secret");
        let point = |text: &str, name: &str| {
            std::fs::write(dir.path().join(name), text).unwrap();
            let new = dir.path().join("new-link");
            std::os::unix::fs::symlink(name, &new).unwrap();
            std::fs::rename(new, &link).unwrap();
        };
        point(ONE, "v1");
        let secrets = Secrets::open("orders", vec![link.clone()]).unwrap();
        point(TWO, "v2");
        assert!(secrets.refresh() && !secrets.refresh());
        assert_eq!(texts(&secrets.current()), [TWO]);
        point("", "v3");
        assert!(!secrets.refresh() && secrets.stale());
        std::fs::remove_file(&link).unwrap();
        assert!(!secrets.refresh());
        assert_eq!(texts(&secrets.current()), [TWO]);
        point(TWO, "v4");
        assert!(!secrets.refresh() && !secrets.stale());
    }

    #[test]
    fn signatures_that_match_nothing_have_the_files_read_once_a_second() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), ONE).unwrap();
        let secrets = Secrets::open("orders", vec![file.path().to_owned()]).unwrap();
        std::fs::write(file.path(), TWO).unwrap();
        assert!(secrets.look_again(Timestamp::from_millis(10_000)));
        std::fs::write(file.path(), ONE).unwrap();
        assert!(!secrets.look_again(Timestamp::from_millis(10_999)));
        assert!(secrets.look_again(Timestamp::from_millis(11_000)));
    }
}
