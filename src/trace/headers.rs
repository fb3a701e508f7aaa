//! The header fields that a collector asks for, such as `authorization`, and the file they stand in.
//!
//! They are secrets: no message quotes a line. When they are read again is the exporter's matter.

use std::fmt;
use std::path::Path;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::settings::Secret;

/// Most fields, and most bytes of one's value: tokens with claims in them are long.
const MOST: usize = 16;
const LONGEST: usize = 8 * 1024;

/// What HTTP itself or the exporter says, and a file does not.
const OURS: [&str; 13] = [
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "content-type",
    "content-length",
    "content-encoding",
    "user-agent",
];

/// Header fields for a collector. Their `Debug` shows how many there are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

/// Why a text holds no such fields. Quotes nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHeaders {
    /// It is gone, not allowed, not a file, too large.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// There is none.
    #[error("it holds no header: write one a line, such as `authorization: Bearer …`")]
    Empty,
    /// There are more than anybody needs.
    #[error("it holds more than {MOST} headers")]
    TooMany,
    /// A line is wrong.
    #[error("line {line} {what}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What it is.
        what: &'static str,
    },
}

impl Headers {
    /// Reads lines of `name: value`. Empty lines do not count, nor those that begin with `#`.
    ///
    /// # Errors
    /// [`BadHeaders`], the first thing that is wrong.
    pub fn parse(text: &Secret) -> Result<Self, BadHeaders> {
        let mut fields: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for (n, line) in text.expose().split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let wrong = |what| BadHeaders::Line { line: n + 1, what };
            let (name, value) = field(line).map_err(wrong)?;
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(wrong("has the name of a line before it"));
            }
            fields.push((name, value));
        }
        match fields.len() {
            0 => Err(BadHeaders::Empty),
            1..=MOST => Ok(Self(fields)),
            _more => Err(BadHeaders::TooMany),
        }
    }

    /// Reads a file of them. Blocks on it.
    ///
    /// # Errors
    /// [`BadHeaders`], the first thing that is wrong.
    pub fn read(path: &Path) -> Result<Self, BadHeaders> {
        let unreadable = |error: std::io::Error| BadHeaders::Unreadable(error.to_string());
        // Opening a FIFO would block until somebody writes to it.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(BadHeaders::Unreadable("it is not a regular file".to_owned()));
        }
        Self::parse(&Secret::from_file(path).map_err(unreadable)?)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts them among the fields of a request.
    pub fn put(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            headers.insert(name, value.clone());
        }
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Headers({})", self.0.len())
    }
}

fn field(line: &[u8]) -> Result<(HeaderName, HeaderValue), &'static str> {
    const FORM: &str = "is no `name: value`";
    let mut parts = line.splitn(2, |byte| *byte == b':');
    let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return Err(FORM) };
    let name = HeaderName::from_bytes(name).map_err(|_bad| FORM)?;
    if OURS.contains(&name.as_str()) {
        return Err("names a header that payonce or HTTP itself sets");
    }
    let value = value.trim_ascii();
    if value.is_empty() {
        return Err("has no value");
    }
    if value.len() > LONGEST {
        return Err("is longer than 8 KiB");
    }
    if !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err("holds a character other than visible ASCII and spaces");
    }
    let mut value = HeaderValue::from_bytes(value).map_err(|_bad| FORM)?;
    // Then no `Debug` shows it, and HTTP/2 keeps it in no table.
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Headers, BadHeaders> {
        Headers::parse(&Secret::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn each_line_is_a_field_but_for_empty_ones_and_comments() {
        let text = "# of team a\r\nAuthorization: Bearer a:b==\r\n\r\nx-team:  payments \n";
        let mut headers = HeaderMap::new();
        parse(text).unwrap().put(&mut headers);
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["authorization"], "Bearer a:b==");
        assert_eq!(headers["x-team"], "payments");
    }

    #[test]
    fn what_is_no_field_is_told_by_its_line_and_never_shown() {
        let many: Vec<_> = (0..17).map(|n| format!("x-{n}: canary")).collect();
        let many = many.join("\n");
        let long = format!("a: {}", "canary".repeat(2_000));
        for (text, said) in [
            ("", "holds no header"),
            ("# canary\n\n", "holds no header"),
            ("canary", "line 1 is no `name: value`"),
            ("a: b\napi-key=canary", "line 2 is no `name: value`"),
            ("api key: canary", "line 1 is no `name: value`"),
            ("api-key : canary", "line 1 is no `name: value`"),
            (": canary", "line 1 is no `name: value`"),
            ("canary:", "line 1 has no value"),
            ("a: canary\nA: canary", "line 2 has the name of a line before it"),
            ("Content-Type: canary", "line 1 names a header that payonce or HTTP itself sets"),
            ("host: canary", "line 1 names a header"),
            ("a: canary\u{e9}", "line 1 holds a character"),
            ("a: canary\u{7f}", "line 1 holds a character"),
            ("a: canary\rb: canary", "line 1 holds a character"),
            (&long, "line 1 is longer than 8 KiB"),
            (&many, "more than 16 headers"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("canary"), "{text:?}: {error}");
        }
    }

    #[test]
    fn no_debug_shows_a_value() {
        let headers = parse("authorization: canary\napi-key: canary").unwrap();
        let mut sent = HeaderMap::new();
        headers.put(&mut sent);
        assert_eq!(format!("{headers:?}"), "Headers(2)");
        assert!(!format!("{sent:?}").contains("canary"), "{sent:?}");
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Headers::read(dir.path()), Err(BadHeaders::Unreadable(_))));
        let missing = Headers::read(&dir.path().join("missing")).unwrap_err();
        assert!(missing.to_string().starts_with("it cannot be read: "), "{missing}");
    }
}
