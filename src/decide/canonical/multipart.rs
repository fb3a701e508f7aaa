//! Multipart bodies (`multipart/form-data`, RFC 7578), part by part and whatever their boundary.
//!
//! The multipart crates at hand are asynchronous or lenient; a body that is held already needs
//! neither. This reader takes only what has one reading: CRLF lines, nothing before the first
//! boundary or after the last, no header but `Content-Disposition` and `Content-Type`. The rest is
//! left as it was sent.

use memchr::memmem;
use sha2::{Digest, Sha256};

use super::field::{Field, Marker};
use super::form::{self, QUERY_PREFIX};
use super::header::Header;
use super::{DEPTH_MAX, FIELDS_MAX, Reading, put, put_option};

/// The longest boundary (RFC 2046 §5.1.1).
const BOUNDARY_MAX_BYTES: usize = 70;

/// Reads a body whose parts `content_type` says how to tell apart.
pub(super) fn read(content_type: &Header, raw: &[u8]) -> Option<Reading> {
    let boundary = content_type.get("boundary")?;
    if boundary.is_empty() || boundary.len() > BOUNDARY_MAX_BYTES {
        return None;
    }
    let delimiter = format!("\r\n--{boundary}");
    let first = delimiter.strip_prefix("\r\n")?;
    let find = memmem::Finder::new(&delimiter);
    let mut rest = raw.strip_prefix(first.as_bytes())?.strip_prefix(b"\r\n")?;
    let mut parts = Vec::new();
    loop {
        let (part, after) = rest.split_at_checked(find.find(rest)?)?;
        if parts.len() == FIELDS_MAX {
            return None;
        }
        parts.push(read_part(part)?);
        let after = after.strip_prefix(delimiter.as_bytes())?;
        match after {
            b"--" | b"--\r\n" => break,
            _ => rest = after.strip_prefix(b"\r\n")?,
        }
    }
    let one_meaning = form::settle(&mut parts, |part| &part.field.name);
    let whole = one_meaning.then(|| write(&parts));
    Some(Reading { fields: parts.into_iter().map(|part| part.field).collect(), whole })
}

struct Part {
    field: Field,
    file_name: Option<String>,
    content_type: Option<String>,
}

fn write(parts: &[Part]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        put(&mut out, part.field.name.as_bytes());
        put_option(&mut out, part.file_name.as_deref());
        put_option(&mut out, part.content_type.as_deref());
        match &part.file_name {
            Some(_) => put(&mut out, &Sha256::digest(&part.field.value)),
            None => put(&mut out, &part.field.value),
        }
    }
    out
}

fn read_part(part: &[u8]) -> Option<Part> {
    let mut headers = [httparse::EMPTY_HEADER; 2];
    let Ok(httparse::Status::Complete((length, headers))) =
        httparse::parse_headers(part, &mut headers)
    else {
        return None;
    };
    let (head, value) = part.split_at_checked(length)?;
    // The parser also takes lines that end in a bare LF; not all do.
    if head.windows(2).any(|pair| matches!(pair, [before, b'\n'] if *before != b'\r')) {
        return None;
    }
    let mut disposition = None;
    let mut content_type = None;
    for header in headers {
        let text = std::str::from_utf8(header.value).ok()?;
        let slot = match header.name {
            name if name.eq_ignore_ascii_case("content-disposition") => &mut disposition,
            name if name.eq_ignore_ascii_case("content-type") => &mut content_type,
            _ => return None,
        };
        if slot.replace(text.to_owned()).is_some() {
            return None;
        }
    }
    let (name, file_name) = read_disposition(&disposition?)?;
    let marker = if file_name.is_some() { Marker::File } else { Marker::Text };
    Some(Part { field: Field { name, value: value.to_vec(), marker }, file_name, content_type })
}

/// The name of a part, and its file name. Browsers write a quotation mark in a name as `%22`, other
/// writers mean `%22` by it: a name with `%` has no single reading.
fn read_disposition(text: &str) -> Option<(String, Option<String>)> {
    let disposition = Header::parse(text)?;
    let is_known = disposition.names().all(|name| name == "name" || name == "filename");
    let name = disposition.get("name")?;
    let readable = disposition.essence == "form-data"
        && is_known
        && !name.contains('%')
        && !name.starts_with(QUERY_PREFIX)
        && name.matches('[').count() <= DEPTH_MAX;
    readable.then(|| (name.to_owned(), disposition.get("filename").map(str::to_owned)))
}

#[cfg(test)]
mod tests;
