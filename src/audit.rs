//! The audit log of policy loads: which policy was in force when, by whom it was signed, and what
//! was refused. One JSON line for every load, whether taken or not; and for each word of a person on
//! operations, one before it is written into their records and one after, with what came of it.
//!
//! The file is only ever appended to, one write and one `fsync` a line, under a lock that all
//! payonces of a machine share. Each line bears the SHA-256 of the line before, whoever wrote that,
//! so that a line that was changed or removed shows ([`chain::verify`]). Lines cut off at the end do
//! not; for that, payonce logs the SHA-256 of each line it writes. Who may write the file can also
//! write it anew: ship its lines elsewhere, or hold it against those logs.
//!
//! Not in here: what a policy change means ([`decide::policy`](crate::decide::policy)).

use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::info;

use crate::clock::Clock;

pub use self::entry::{Entry, Event, Reidentified, RuleCount, Verdict, Word};
pub use self::recorder::Recorder;
pub(crate) use self::recorder::refused_at_start;
pub(crate) use self::word::{MOST_OPERATIONS, entry_of};

pub mod chain;
mod changes;
mod entry;
mod recorder;
mod reidentified;
mod word;

/// Between two tries for the lock.
const BETWEEN: Duration = Duration::from_millis(10);

/// How often the lock is tried: whoever holds it for two seconds stands still.
const TRIES: usize = 200;

/// Why an entry was not written.
#[derive(Debug, thiserror::Error)]
pub enum NotWritten {
    /// Another process writes to it just now.
    #[error("another process holds the lock on {}", .0.display())]
    Locked(PathBuf),
    /// It is something else.
    #[error("{} is no audit log: {why}", at.display())]
    NoAuditLog {
        /// The file.
        at: PathBuf,
        /// What shows it.
        why: &'static str,
    },
    /// The system says no.
    #[error("{} cannot be written: {why}", at.display())]
    Failed {
        /// The file.
        at: PathBuf,
        /// What it says.
        why: std::io::Error,
    },
}

/// An audit log that is written.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
    clock: Clock,
}

impl AuditLog {
    /// The log at `path`, which is made with its first line.
    #[must_use]
    pub fn at(path: &Path, clock: Clock) -> Self {
        Self { path: path.to_owned(), clock }
    }

    /// Writes `entry` as the last line and logs that line's SHA-256.
    ///
    /// # Errors
    /// [`NotWritten`]; at most a part of the line stands, which the next entry leaves behind it.
    pub async fn append(&self, entry: Entry) -> Result<(), NotWritten> {
        let mut tries = 0;
        loop {
            let (path, entry) = (self.path.clone(), entry.clone());
            let written = tokio::task::spawn_blocking(move || chain::append(&path, entry)).await;
            let written = written.unwrap_or_else(|lost| {
                let why = std::io::Error::other(lost);
                Err(NotWritten::Failed { at: self.path.clone(), why })
            });
            match written {
                Ok(sha256) => {
                    info!(file = %self.path.display(), sha256, "the audit log has a new line");
                    return Ok(());
                }
                Err(NotWritten::Locked(_)) if tries < TRIES => {
                    tries += 1;
                    self.clock.sleep(BETWEEN).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
