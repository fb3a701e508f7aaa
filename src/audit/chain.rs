//! Lines chained by their hashes: written one after another, and looked through again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::NotWritten;
use super::entry::{Entry, Event};
use crate::decide::shown::without_keys;

/// The `prev` of a log's first line.
pub const NOTHING_BEFORE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Longer than any entry, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;

/// How every entry begins.
const BEGINNING: &[u8] = b"{\"format\":";

/// Appends `entry` to the log at `path`, chained to its last line, and syncs it to the disk; its
/// own SHA-256. Blocks, but not for another writer.
///
/// # Errors
/// [`NotWritten`].
pub(super) fn append(path: &Path, mut entry: Entry) -> Result<String, NotWritten> {
    let failed = |why| NotWritten::Failed { at: path.to_owned(), why };
    let new = match std::fs::metadata(path) {
        // Opening a FIFO would block until somebody reads from it.
        Ok(found) if !found.is_file() => {
            let why = "it is not a regular file";
            return Err(NotWritten::NoAuditLog { at: path.to_owned(), why });
        }
        Ok(_regular) => false,
        Err(_not_there) => true,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(NotWritten::Locked(path.to_owned())),
        Err(TryLockError::Error(why)) => return Err(failed(why)),
    }
    let tail = tail(&mut file).map_err(failed)?;
    let Last { line, broken_off } =
        last(&tail).map_err(|why| NotWritten::NoAuditLog { at: path.to_owned(), why })?;
    entry.prev = line.map_or_else(|| NOTHING_BEFORE.to_owned(), sha256);
    if entry.event == Event::Start {
        let before = line.and_then(|line| serde_json::from_slice::<Entry>(line).ok());
        entry.previous = before.and_then(|before| before.in_force().map(str::to_owned));
    }
    let written = serde_json::to_string(&entry).map_err(|why| failed(why.into()))?;
    // Whatever people wrote into it: a line is for ever.
    let written = without_keys(&written).into_owned().into_bytes();
    let mut bytes = Vec::with_capacity(written.len() + 2);
    if broken_off {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(&written);
    bytes.push(b'\n');
    // One call, so that no reader sees half a line; a short write is a full disk.
    let count = file.write(&bytes).map_err(failed)?;
    if count < bytes.len() {
        return Err(failed(io::ErrorKind::StorageFull.into()));
    }
    file.sync_all().map_err(failed)?;
    if new {
        sync_directory(path).map_err(failed)?;
    }
    Ok(sha256(&written))
}

/// The end of the file, of which one line is looked at.
fn tail(file: &mut File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LONGEST_LINE)))?;
    let mut tail = Vec::new();
    file.take(LONGEST_LINE).read_to_end(&mut tail)?;
    Ok(tail)
}

/// The last line of a log.
struct Last<'a> {
    line: Option<&'a [u8]>,
    /// Its writer did not get to its end.
    broken_off: bool,
}

/// The last line in `tail`, if what stands there is an audit log: not every file is to be written
/// to because its name was mistaken for another's.
fn last(tail: &[u8]) -> Result<Last<'_>, &'static str> {
    let whole = tail.strip_suffix(b"\n");
    let broken_off = whole.is_none() && !tail.is_empty();
    let text = whole.unwrap_or(tail);
    if text.is_empty() && !broken_off && whole.is_none() {
        return Ok(Last { line: None, broken_off });
    }
    let line = text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let begins = line.starts_with(BEGINNING) || (broken_off && BEGINNING.starts_with(line));
    if !begins {
        return Err("its last line is no entry of one");
    }
    Ok(Last { line: Some(line), broken_off })
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// The SHA-256 of a line without its newline, in hexadecimal.
fn sha256(line: &[u8]) -> String {
    hex::encode(Sha256::digest(line))
}

/// One line, looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which, from 1.
    pub number: usize,
    /// Its SHA-256.
    pub sha256: String,
    /// What it says, if it is an entry.
    pub entry: Option<Box<Entry>>,
    /// What is wrong at this place.
    pub wrong: Option<Wrong>,
}

/// What is wrong in a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It does not follow the line before.
    #[error(
        "does not follow the line before it: lines were removed, changed or put in between, or two \
         machines wrote at once"
    )]
    DoesNotFollow,
    /// The log's first line says that there was one before.
    #[error("is not the log's first line: what stood before is missing, or in an older file")]
    NotTheFirst,
    /// It is no entry.
    #[error("is no entry: it was changed, or its writer did not get to its end")]
    NoEntry,
    /// It is longer than any entry.
    #[error("is longer than any entry; nothing after it was looked at")]
    TooLong,
}

/// Looks through a log, handing each line to `see`; whether nothing is wrong.
///
/// # Errors
/// Of reading, and of `see`.
pub fn verify(log: impl BufRead, mut see: impl FnMut(&Line) -> io::Result<()>) -> io::Result<bool> {
    let mut log = log;
    let (mut number, mut before, mut sound) = (0, None::<String>, true);
    loop {
        let mut bytes = Vec::new();
        if log.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(sound);
        }
        number += 1;
        let too_long = u64::try_from(bytes.len()).is_ok_and(|length| length > LONGEST_LINE);
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let entry = serde_json::from_slice::<Entry>(bytes).ok().map(Box::new);
        let wrong = match (&entry, &before) {
            _ if too_long => Some(Wrong::TooLong),
            (None, _) => Some(Wrong::NoEntry),
            (Some(entry), None) if entry.prev != NOTHING_BEFORE => Some(Wrong::NotTheFirst),
            (Some(entry), Some(before)) if entry.prev != *before => Some(Wrong::DoesNotFollow),
            (Some(_), _) => None,
        };
        sound &= wrong.is_none();
        let line = Line { number, sha256: sha256(bytes), entry, wrong };
        see(&line)?;
        if too_long {
            return Ok(false);
        }
        before = Some(line.sha256);
    }
}

#[cfg(test)]
mod tests;
