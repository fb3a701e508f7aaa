//! What curl sends as data: the value of an option, or the file that it names, encoded or not.

use std::fs::File;
use std::io::Read as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::BadCurl;

/// Bytes of a file that a command names.
const MOST_FILE: u64 = 16 * 1024 * 1024;

/// What `--data-urlencode` leaves as it is (RFC 3986, unreserved).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A value, or the content of the file that it names with an `@`.
pub(super) fn at(value: String) -> Result<Vec<u8>, BadCurl> {
    match value.strip_prefix('@') {
        Some(path) => file(path),
        None => Ok(value.into_bytes()),
    }
}

/// A file's content.
pub(super) fn file(path: &str) -> Result<Vec<u8>, BadCurl> {
    let bad = |why: String| BadCurl::File(path.escape_debug().to_string(), why);
    if path == "-" {
        return Err(bad("standard input is not read".to_owned()));
    }
    // Opening a FIFO would block until somebody writes to it.
    let about = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?;
    if !about.is_file() || about.len() > MOST_FILE {
        return Err(bad("it is no regular file of at most 16 MiB".to_owned()));
    }
    let mut found = Vec::new();
    let file = File::open(path).map_err(|error| bad(error.to_string()))?;
    file.take(MOST_FILE).read_to_end(&mut found).map_err(|error| bad(error.to_string()))?;
    Ok(found)
}

/// `content`, `=content`, `name=content`, `@file`, `name@file`; curl encodes the content alone.
pub(super) fn urlencoded(value: &str) -> Result<String, BadCurl> {
    let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
    let (name, content) = match value.find(['=', '@']) {
        None => ("", value.to_owned()),
        Some(at) => {
            let (name, rest) = value.split_at(at);
            let content = match rest.strip_prefix('@') {
                Some(path) => String::from_utf8_lossy(&file(path)?).into_owned(),
                None => rest.get(1..).unwrap_or_default().to_owned(),
            };
            (name, content)
        }
    };
    Ok(if name.is_empty() { encode(&content) } else { format!("{name}={}", encode(&content)) })
}
