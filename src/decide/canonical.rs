//! What a request says, in one form for all spellings of the same thing.
//!
//! Two promises, unequal on purpose. Requests that mean different things never get the same form:
//! a payment would be merged into another. Requests that mean the same get the same form as far as
//! that is certain; where it is not, the form is what was sent, and at worst a repetition is not
//! recognised. Nothing here knows which fields matter: that is [`identity`](super::identity)'s.

use std::fmt;

mod field;
mod form;
mod header;
mod json;
mod multipart;

pub use field::{BadFieldPattern, Field, FieldPattern, Marker, PATTERN_MAX_BYTES};

use header::Header;

/// The most fields that a body or a query is taken apart into.
pub const FIELDS_MAX: usize = 1000;

/// How deep fields may be nested.
pub const DEPTH_MAX: usize = 64;

/// How a body was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// There is no body, or a form without a field, which means the same.
    Empty,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `application/json`, or a type that ends in `+json`.
    Json,
    /// `multipart/form-data`.
    Multipart,
    /// Anything else, compressed, or beyond what can be read with one meaning: no fields, and only
    /// the same bytes are the same.
    Raw,
}

/// A request's query and body, read.
#[derive(Clone, PartialEq, Eq)]
pub struct Canonical {
    kind: Kind,
    fields: Vec<Field>,
    whole: Vec<u8>,
}

/// Reads what a request says. Never fails: what cannot be read is [`Kind::Raw`].
///
/// `query` is what stands after the `?`, undecoded; an empty one is none.
#[must_use]
pub fn read(
    content_type: Option<&str>,
    content_encoding: Option<&str>,
    query: Option<&str>,
    body: &[u8],
) -> Canonical {
    let Query { mut fields, whole: query } = read_query(query.unwrap_or_default());
    let (kind, reading) = read_body(content_type, content_encoding, body);
    let mut whole = Vec::with_capacity(query.len().saturating_add(body.len()).saturating_add(64));
    whole.push(if reading.whole.is_some() { kind.tag() } else { Kind::Raw.tag() });
    put(&mut whole, &query);
    if let Some(body) = reading.whole {
        whole.extend_from_slice(&body);
    } else {
        put_option(&mut whole, content_type);
        put_option(&mut whole, content_encoding);
        whole.extend_from_slice(body);
    }
    fields.extend(reading.fields);
    Canonical { kind, fields, whole }
}

impl Canonical {
    /// How the body was read.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The fields of the query, then those of the body, each sorted by name; fields of one name, and
    /// all whose names share a prefix up to `[]`, in the order sent.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The value of the field `name`, if the name occurs exactly once and is no `null`, `{}` or
    /// `[]`: the bytes of a text, the decimal text of a number.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut named = self.fields.iter().filter(|field| field.name == name);
        let field = named.next().filter(|field| field.marker.is_value())?;
        named.next().is_none().then_some(field.value.as_slice())
    }

    /// Whether a field that `pattern` names is there with a value that is not empty.
    #[must_use]
    pub fn has(&self, pattern: &FieldPattern) -> bool {
        let is_there = |field: &Field| field.marker.is_value() && !field.value.is_empty();
        self.fields.iter().any(|field| is_there(field) && pattern.matches(&field.name))
    }

    /// Everything that the request says, in bytes: different for different meanings, and the same
    /// for the same meaning as far as that is certain. Holds what the body holds: digest it, never
    /// keep or print it.
    #[must_use]
    pub fn whole(&self) -> &[u8] {
        &self.whole
    }
}

impl fmt::Debug for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (fields, bytes) = (self.fields.len(), self.whole.len());
        write!(f, "Canonical({:?}, {fields} fields, {bytes} bytes)", self.kind)
    }
}

impl Kind {
    /// The first byte of the whole. Never renumbered: digests of it are stored.
    const fn tag(self) -> u8 {
        match self {
            Self::Empty => b'E',
            Self::Form => b'F',
            Self::Json => b'J',
            Self::Multipart => b'M',
            Self::Raw => b'R',
        }
    }
}

/// What a reader made of a query or body.
struct Reading {
    fields: Vec<Field>,
    /// `None` if only what was sent says all that is meant.
    whole: Option<Vec<u8>>,
}

struct Query {
    fields: Vec<Field>,
    whole: Vec<u8>,
}

fn read_query(raw: &str) -> Query {
    let reading = form::read(raw.as_bytes(), true);
    let reading = reading.unwrap_or(Reading { fields: Vec::new(), whole: None });
    let (tag, bytes) = match &reading.whole {
        Some(whole) => (Kind::Form.tag(), whole.as_slice()),
        None => (Kind::Raw.tag(), raw.as_bytes()),
    };
    let mut whole = Vec::with_capacity(bytes.len().saturating_add(1));
    whole.push(tag);
    whole.extend_from_slice(bytes);
    Query { fields: reading.fields, whole }
}

fn read_body(
    content_type: Option<&str>,
    content_encoding: Option<&str>,
    body: &[u8],
) -> (Kind, Reading) {
    if body.is_empty() {
        return (Kind::Empty, Reading { fields: Vec::new(), whole: Some(Vec::new()) });
    }
    let is_plain = content_encoding.is_none_or(|coding| coding.eq_ignore_ascii_case("identity"));
    let header = content_type.and_then(Header::parse).filter(|header| is_plain && header.is_utf8());
    match header.and_then(|header| read_typed(&header, body)) {
        Some((Kind::Form, reading)) if reading.fields.is_empty() => (Kind::Empty, reading),
        Some(read) => read,
        None => (Kind::Raw, Reading { fields: Vec::new(), whole: None }),
    }
}

fn read_typed(header: &Header, body: &[u8]) -> Option<(Kind, Reading)> {
    match header.essence.as_str() {
        "application/x-www-form-urlencoded" => Some((Kind::Form, form::read(body, false)?)),
        "multipart/form-data" => Some((Kind::Multipart, multipart::read(header, body)?)),
        json if json == "application/json" || json.ends_with("+json") => {
            Some((Kind::Json, json::read(json, body)?))
        }
        _ => None,
    }
}

/// Appends `bytes` after their length, so that what follows cannot be taken for a part of them.
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Like [`put`], with absent told from empty.
fn put_option(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(u8::from(text.is_some()));
    put(out, text.unwrap_or_default().as_bytes());
}

#[cfg(test)]
mod tests;
