//! A request target, strictly: what is matched is byte for byte what is forwarded (I10).
//!
//! A path that two servers could read in two ways is refused rather than tidied up: nothing here
//! rewrites, and nothing here matches (that is [`policy`](super::policy)'s).

#[cfg(test)]
mod tests;

/// The longest request target that is read, in bytes.
pub const TARGET_MAX_BYTES: usize = 8 * 1024;

/// An origin-form request target (RFC 9112 §3.2.1) whose path has one meaning only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    raw_path: String,
    segments: Vec<String>,
    query: Option<String>,
}

/// Which of Stripe's API generations a path belongs to; they treat keys differently (FACTS §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// `/v1/…` and everything that is not v2.
    V1,
    /// `/v2/…`.
    V2,
}

/// Why a request target is refused: it has no single meaning, or is none of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadPath {
    /// Longer than [`TARGET_MAX_BYTES`].
    #[error("the request target is longer than {TARGET_MAX_BYTES} bytes")]
    TooLong,
    /// There is nothing.
    #[error("the request target is empty; it must be a path that begins with `/`")]
    Empty,
    /// `*`, which asks about the server as a whole.
    #[error("the request target is `*`; it must be a path that begins with `/`")]
    Asterisk,
    /// `https://host/path`, as a forward proxy is asked.
    #[error("the request target is an absolute URL; it must be a path that begins with `/`")]
    AbsoluteForm,
    /// `host:port`, or anything else that does not begin with `/`.
    #[error("the request target does not begin with `/`")]
    NotAPath,
    /// A fragment, which never belongs on the wire.
    #[error("the request target contains `#`; write it as %23")]
    Fragment,
    /// A raw space.
    #[error("the request target contains a space; write it as %20")]
    Space,
    /// A control character, raw anywhere or percent-encoded in the path.
    #[error("the request target contains a control character")]
    Control,
    /// A raw byte beyond ASCII.
    #[error("the request target contains a byte that is not ASCII; percent-encode it")]
    NonAscii,
    /// A `%` that two hexadecimal digits do not follow, in the path or the query.
    #[error("a `%` in the request target is not followed by two hexadecimal digits")]
    BadPercent,
    /// A raw `\`, which some servers read as `/`.
    #[error("the path contains `\\`")]
    Backslash,
    /// `%5C`, which some servers read as `/`.
    #[error("the path contains an encoded `\\`")]
    EncodedBackslash,
    /// `%2F`, which some servers read as `/` and others do not.
    #[error("the path contains an encoded `/`")]
    EncodedSlash,
    /// `//`, or a `/` at the end.
    #[error("the path has an empty segment: `//`, or a `/` at its end")]
    EmptySegment,
    /// `.` or `..`, encoded or not.
    #[error("the path has a segment `.` or `..`, which servers resolve differently")]
    DotSegment,
    /// A segment that is not UTF-8 once it is decoded.
    #[error("the path is not UTF-8 once it is decoded")]
    NotUtf8,
}

impl Target {
    /// Reads the target of a request line, as it stood there.
    ///
    /// `;` is an ordinary character, letters keep their case, and the query is not decoded.
    ///
    /// # Errors
    /// [`BadPath`] says what about it is refused.
    pub fn parse(path_and_query: &str) -> Result<Self, BadPath> {
        check_form(path_and_query)?;
        path_and_query.bytes().try_for_each(check_byte)?;
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        check_percents(query.unwrap_or_default().as_bytes())?;
        let segments = match path.strip_prefix('/').ok_or(BadPath::NotAPath)? {
            "" => Vec::new(),
            rest => rest.split('/').map(segment).collect::<Result<_, _>>()?,
        };
        Ok(Self { raw_path: path.to_owned(), segments, query: query.map(str::to_owned) })
    }

    /// The path as it was sent.
    #[must_use]
    pub fn raw_path(&self) -> &str {
        &self.raw_path
    }

    /// What follows the first `?`, as it was sent; a bare `?` (as Ruby's SDK ends some of its
    /// URLs, FACTS §1.7) is `Some("")`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The decoded segments of the path; none for `/`. None of them is empty, `.` or `..`, or
    /// contains a `/`, a `\` or a control character.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// Whose rules about keys hold: v2 if the first segment is `v2`.
    #[must_use]
    pub fn api(&self) -> Api {
        if self.segments.first().is_some_and(|first| first == "v2") { Api::V2 } else { Api::V1 }
    }
}

/// A `%` without two hexadecimal digits.
#[derive(Debug)]
pub(super) struct BadPercent;

/// Appends `raw` to `out`, with `%XX` decoded, and `+` read as a space if `plus_is_space`.
pub(super) fn percent_decode(
    raw: &[u8],
    plus_is_space: bool,
    out: &mut Vec<u8>,
) -> Result<(), BadPercent> {
    out.reserve(raw.len());
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => hex_digit(bytes.next())? << 4 | hex_digit(bytes.next())?,
            b'+' if plus_is_space => b' ',
            literal => literal,
        });
    }
    Ok(())
}

fn hex_digit(byte: Option<u8>) -> Result<u8, BadPercent> {
    byte.and_then(|byte| char::from(byte).to_digit(16))
        .and_then(|digit| u8::try_from(digit).ok())
        .ok_or(BadPercent)
}

fn check_form(target: &str) -> Result<(), BadPath> {
    if target.len() > TARGET_MAX_BYTES {
        return Err(BadPath::TooLong);
    }
    match target {
        "" => Err(BadPath::Empty),
        "*" => Err(BadPath::Asterisk),
        path if path.starts_with('/') => Ok(()),
        url if url.contains("://") => Err(BadPath::AbsoluteForm),
        _ => Err(BadPath::NotAPath),
    }
}

fn check_byte(byte: u8) -> Result<(), BadPath> {
    match byte {
        b' ' => Err(BadPath::Space),
        b'#' => Err(BadPath::Fragment),
        byte if byte.is_ascii_control() => Err(BadPath::Control),
        byte if !byte.is_ascii() => Err(BadPath::NonAscii),
        _ => Ok(()),
    }
}

/// The query is not decoded, for its meaning is the canonical form's; but a bad `%` has none.
fn check_percents(query: &[u8]) -> Result<(), BadPath> {
    let mut bytes = query.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            hex_digit(bytes.next())?;
            hex_digit(bytes.next())?;
        }
    }
    Ok(())
}

fn segment(raw: &str) -> Result<String, BadPath> {
    if raw.is_empty() {
        return Err(BadPath::EmptySegment);
    }
    if raw.contains('\\') {
        return Err(BadPath::Backslash);
    }
    let mut decoded = Vec::new();
    percent_decode(raw.as_bytes(), false, &mut decoded)?;
    let decoded = String::from_utf8(decoded).map_err(|_bytes| BadPath::NotUtf8)?;
    if decoded == "." || decoded == ".." {
        return Err(BadPath::DotSegment);
    }
    decoded.chars().try_for_each(|char| match char {
        '/' => Err(BadPath::EncodedSlash),
        '\\' => Err(BadPath::EncodedBackslash),
        char if char.is_control() => Err(BadPath::Control),
        _ => Ok(()),
    })?;
    Ok(decoded)
}

impl From<BadPercent> for BadPath {
    fn from(BadPercent: BadPercent) -> Self {
        Self::BadPercent
    }
}
