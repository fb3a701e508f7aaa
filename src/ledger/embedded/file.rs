//! The ledger's file: made whole or not at all, checked when it is opened, one process at a time.
//!
//! What stands in its tables is in [`tables`](super::tables).

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, StorageError};

use super::tables::{self, BadForm, FORMAT};

/// Why a ledger file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds its lock.
    #[error(
        "the ledger file {path} is in use by another process: stop that one, or give this one a file of its own"
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It is no ledger of payonce's, or no longer.
    #[error(
        "{path} is damaged or is not a payonce ledger ({why}): move it away, and payonce starts with an empty one; operations that it knew are then recognised by their derived keys alone"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What showed it.
        why: String,
    },
    /// A newer payonce wrote it.
    #[error(
        "the ledger file {path} has format {found}, and this payonce knows formats up to {known}: run the newer payonce, or move the file away"
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest that is known here.
        known: u64,
    },
    /// The directory that it should be made in is not there.
    #[error("the ledger file {path} cannot be made: there is no directory {directory}; make it")]
    NoDirectory {
        /// The file.
        path: PathBuf,
        /// What is missing.
        directory: PathBuf,
    },
    /// The system refused: rights, a full disk, a directory in its place.
    #[error(
        "the ledger file {path} cannot be opened: {source}; check its owner, its mode and its disk"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Opens the ledger file at `path`, or makes it.
pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Database, OpenError> {
    match fs::symlink_metadata(path) {
        Ok(_) => open_existing(path, cache_bytes),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => create(path, cache_bytes),
        Err(source) => Err(OpenError::Io { path: path.to_owned(), source }),
    }
}

/// Opens the ledger file at `path`, which must be there (an empty one is filled).
pub(super) fn open_existing(path: &Path, cache_bytes: usize) -> Result<Database, OpenError> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    database(file, path, cache_bytes)
}

/// Fills a file of another name and gives it its own name when it is whole: a kill in between
/// leaves no half file that the next start would have to call damaged.
fn create(path: &Path, cache_bytes: usize) -> Result<Database, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    if !directory.is_dir() {
        let directory = directory.to_owned();
        return Err(OpenError::NoDirectory { path: path.to_owned(), directory });
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{:08x}.new", rand::random::<u32>()));
    let unfinished = PathBuf::from(unfinished);
    let file = private(&unfinished).map_err(io)?;
    let made = database(file, path, cache_bytes).map(|store| (store, publish(&unfinished, path)));
    if let Err(left) = fs::remove_file(&unfinished)
        && left.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(file = %unfinished.display(), error = %left, "an unfinished ledger file was left behind; it can be deleted");
    }
    let (store, published) = made?;
    match published {
        Err(late) if late.kind() == io::ErrorKind::AlreadyExists => {
            drop(store);
            open_existing(path, cache_bytes)
        }
        published => {
            published.map_err(io)?;
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?;
            Ok(store)
        }
    }
}

/// A new file that its owner alone may read.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A hard link never replaces the file of another process that was quicker. Where the file system
/// knows none, a rename must do.
fn publish(unfinished: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(unfinished, path) {
        Err(refused) if refused.kind() != io::ErrorKind::AlreadyExists => {
            fs::rename(unfinished, path)
        }
        linked => linked,
    }
}

/// redb promises an error rather than a panic for a damaged file only where it checks the whole
/// file on opening; a panic on the way is taken for damage too.
fn database(file: File, path: &Path, cache_bytes: usize) -> Result<Database, OpenError> {
    let opened = catch_unwind(AssertUnwindSafe(|| -> Result<Database, OpenError> {
        let store = FileBackend::new(file)
            .and_then(|file| {
                Builder::new()
                    .set_cache_size(cache_bytes)
                    .set_check_integrity_on_open(true)
                    .create_with_backend(file)
            })
            .map_err(|error| refused(path, error))?;
        tables::prepare(&store).map_err(|form| bad_form(path, form))?;
        Ok(store)
    }));
    opened.unwrap_or_else(|_panic| Err(damaged(path, &"its pages contradict each other")))
}

fn refused(path: &Path, error: DatabaseError) -> OpenError {
    if matches!(error, DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch) {
        return OpenError::Locked { path: path.to_owned() };
    }
    if let DatabaseError::Storage(StorageError::Io(source)) = error {
        if shows_damage(&source) {
            return damaged(path, &source);
        }
        return OpenError::Io { path: path.to_owned(), source };
    }
    damaged(path, &error)
}

/// redb says so of a file without its magic number, and of one that ends too early.
fn shows_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn bad_form(path: &Path, form: BadForm) -> OpenError {
    match form {
        BadForm::Newer(found) => {
            OpenError::NewerFormat { path: path.to_owned(), found, known: FORMAT }
        }
        BadForm::Foreign => damaged(path, &"it is a redb file of another program"),
        BadForm::Unreadable(redb::Error::Io(source)) => {
            OpenError::Io { path: path.to_owned(), source }
        }
        BadForm::Unreadable(error) => damaged(path, &error),
    }
}

fn damaged(path: &Path, why: &dyn fmt::Display) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), why: why.to_string() }
}
