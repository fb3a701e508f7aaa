//! JSON bodies, written by RFC 8785 (members sorted, no white space, one spelling for each text
//! and number).
//!
//! The crates that write RFC 8785 start from a parsed value, in which repeated names and the
//! digits beyond a float are lost already; so what is sent is read here, number by number, with
//! `serde_json` as the parser. Numbers that a float does not hold exactly, and those written with
//! an exponent, leave the body as it was sent: other readers may see more in them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::field::{Field, Marker};
use super::form::QUERY_PREFIX;
use super::{DEPTH_MAX, FIELDS_MAX, Reading, put};

/// Reads a body of media type `essence`. `None`: invalid, a repeated name, a name that the bracket
/// form cannot say, or beyond the limits.
pub(super) fn read(essence: &str, raw: &[u8]) -> Option<Reading> {
    let mut numbers = Numbers { rest: raw };
    let mut parser = serde_json::Deserializer::from_slice(raw);
    let seed = Seed { numbers: &mut numbers, depth: 0 };
    let root = seed.deserialize(&mut parser).ok()?;
    parser.end().ok()?;

    let mut whole = Vec::with_capacity(raw.len().saturating_add(essence.len()).saturating_add(8));
    put(&mut whole, essence.as_bytes());
    let exact = root.write(&mut whole)?;
    let mut fields = Vec::new();
    if root.is_container() {
        root.flatten(&mut String::new(), &mut fields)?;
    }
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    Some(Reading { fields, whole: exact.then_some(whole) })
}

enum Node<'a> {
    Null,
    Bool(bool),
    Number(Number<'a>),
    Text(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    /// Sorted by name as RFC 8785 §3.2.3 wants it: by UTF-16 code units. No name comes twice.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// A number as the document spells it, and as RFC 8785 does.
struct Number<'a> {
    sent: &'a str,
    canonical: Option<&'a str>,
}

impl<'a> Number<'a> {
    fn new(sent: &'a str) -> Self {
        Self { sent, canonical: canonical_number(sent) }
    }

    fn text(&self) -> &'a str {
        self.canonical.unwrap_or(self.sent)
    }
}

/// The largest integer up to which a float holds each one (RFC 7493 §2.2).
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// `sent` as RFC 8785 writes it, if that is just `sent` without needless zeros after the point.
fn canonical_number(sent: &str) -> Option<&str> {
    if sent.contains(['e', 'E']) {
        return None;
    }
    let text = match sent.split_once('.') {
        Some(_) => sent.trim_end_matches('0').trim_end_matches('.'),
        None => sent,
    };
    let digits = text.strip_prefix('-').unwrap_or(text);
    let exact = match digits.split_once('.') {
        None => digits.parse::<u64>().is_ok_and(|size| size <= INTEGER_MAX) && text != "-0",
        // Below 1e-6 RFC 8785 writes an exponent.
        Some(_) => text
            .parse::<f64>()
            .is_ok_and(|number| number.abs() >= 1e-6 && number.to_string() == text),
    };
    exact.then_some(text)
}

impl Node<'_> {
    fn is_container(&self) -> bool {
        match self {
            Node::Array(_) | Node::Object(_) => true,
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) => false,
        }
    }

    /// Appends the canonical text; `Some(false)` if a number has none.
    fn write(&self, out: &mut Vec<u8>) -> Option<bool> {
        let mut exact = true;
        match self {
            Node::Null => out.extend_from_slice(b"null"),
            Node::Bool(true) => out.extend_from_slice(b"true"),
            Node::Bool(false) => out.extend_from_slice(b"false"),
            Node::Number(number) => {
                exact = number.canonical.is_some();
                out.extend_from_slice(number.text().as_bytes());
            }
            Node::Text(text) => write_text(text, out)?,
            Node::Array(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    separate(at, out);
                    exact &= item.write(out)?;
                }
                out.push(b']');
            }
            Node::Object(members) => {
                out.push(b'{');
                for (at, (name, value)) in members.iter().enumerate() {
                    separate(at, out);
                    write_text(name, out)?;
                    out.push(b':');
                    exact &= value.write(out)?;
                }
                out.push(b'}');
            }
        }
        Some(exact)
    }

    /// Appends the leaves below `path`, named in bracket form. `None` beyond the limit.
    fn flatten(&self, path: &mut String, fields: &mut Vec<Field>) -> Option<()> {
        let (value, marker) = match self {
            Node::Null => (Vec::new(), Marker::Null),
            Node::Bool(true) => (b"true".to_vec(), Marker::Bool),
            Node::Bool(false) => (b"false".to_vec(), Marker::Bool),
            Node::Number(number) => (number.text().as_bytes().to_vec(), Marker::Number),
            Node::Text(text) => (text.as_bytes().to_vec(), Marker::Text),
            Node::Array(items) if items.is_empty() => (Vec::new(), Marker::EmptyArray),
            Node::Object(members) if members.is_empty() => (Vec::new(), Marker::EmptyObject),
            Node::Array(items) => {
                return items.iter().enumerate().try_for_each(|(at, item)| {
                    below(path, &at.to_string(), false, |path| item.flatten(path, fields))
                });
            }
            Node::Object(members) => {
                return members.iter().try_for_each(|(name, value)| {
                    let is_root = path.is_empty();
                    below(path, name, is_root, |path| value.flatten(path, fields))
                });
            }
        };
        if fields.len() == FIELDS_MAX {
            return None;
        }
        fields.push(Field { name: path.clone(), value, marker });
        Some(())
    }
}

/// Runs `then` with `name` added to `path`, plain at the root and in brackets below it.
fn below<T>(
    path: &mut String,
    name: &str,
    is_root: bool,
    then: impl FnOnce(&mut String) -> T,
) -> T {
    let length = path.len();
    if is_root {
        path.push_str(name);
    } else {
        path.extend(["[", name, "]"]);
    }
    let result = then(path);
    path.truncate(length);
    result
}

fn separate(at: usize, out: &mut Vec<u8>) {
    if at > 0 {
        out.push(b',');
    }
}

/// `serde_json` escapes as RFC 8785 §3.2.2.2 says: the short forms, `\u00xx` in lower case for the
/// other control characters, and nothing else.
fn write_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    serde_json::to_writer(out, text).ok()
}

/// The spelling of each number of a document, in its order.
///
/// Asked for the next one only when the parser has just read it, so all before it is valid JSON.
struct Numbers<'a> {
    rest: &'a [u8],
}

impl<'a> Numbers<'a> {
    fn next(&mut self) -> Option<&'a str> {
        loop {
            let (first, after) = self.rest.split_first()?;
            match first {
                b'"' => self.rest = after_text(after)?,
                b'-' | b'0'..=b'9' => {
                    let is_end =
                        |byte: &u8| !matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E');
                    let end = self.rest.iter().position(is_end).unwrap_or(self.rest.len());
                    let (number, after) = self.rest.split_at_checked(end)?;
                    self.rest = after;
                    return std::str::from_utf8(number).ok();
                }
                _ => self.rest = after,
            }
        }
    }
}

/// What follows the quotation mark that ends a text.
fn after_text(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        match text {
            [b'"', after @ ..] => return Some(after),
            [b'\\', _, after @ ..] | [_, after @ ..] => text = after,
            [] => return None,
        }
    }
}

struct Seed<'n, 'a> {
    numbers: &'n mut Numbers<'a>,
    depth: usize,
}

impl<'a> Seed<'_, 'a> {
    /// A seed for what stands one level below.
    fn below<E: Error>(&mut self) -> Result<Seed<'_, 'a>, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom("too deep"));
        }
        Ok(Seed { numbers: self.numbers, depth: self.depth.saturating_add(1) })
    }

    fn number<E: Error>(self) -> Result<Node<'a>, E> {
        let sent = self.numbers.next().ok_or_else(|| E::custom("a number without digits"))?;
        Ok(Node::Number(Number::new(sent)))
    }
}

impl<'a> DeserializeSeed<'a> for Seed<'_, 'a> {
    type Value = Node<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Node<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Seed<'_, 'a> {
    type Value = Node<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Node<'a>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node<'a>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E: Error>(self, _value: u64) -> Result<Node<'a>, E> {
        self.number()
    }

    fn visit_i64<E: Error>(self, _value: i64) -> Result<Node<'a>, E> {
        self.number()
    }

    fn visit_f64<E: Error>(self, _value: f64) -> Result<Node<'a>, E> {
        self.number()
    }

    fn visit_borrowed_str<E: Error>(self, value: &'a str) -> Result<Node<'a>, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node<'a>, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut items: A) -> Result<Node<'a>, A::Error> {
        let mut read = Vec::new();
        while let Some(item) = items.next_element_seed(self.below()?)? {
            read.push(item);
        }
        Ok(Node::Array(read))
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut members: A) -> Result<Node<'a>, A::Error> {
        let mut read = Vec::new();
        while let Some(name) = members.next_key_seed(Name { is_root: self.depth == 0 })? {
            read.push((name, members.next_value_seed(self.below()?)?));
        }
        read.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
        if read.iter().zip(read.iter().skip(1)).any(|((a, _), (b, _))| a == b) {
            return Err(A::Error::custom("a name comes twice"));
        }
        Ok(Node::Object(read))
    }
}

/// A member's name, if the bracket form can say it.
struct Name {
    is_root: bool,
}

impl<'a> DeserializeSeed<'a> for Name {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Cow<'a, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Name {
    fn check<E: Error>(&self, name: &str) -> Result<(), E> {
        let is_odd = name.is_empty()
            || name.contains(['[', ']'])
            || (self.is_root && name.starts_with(QUERY_PREFIX));
        if is_odd { Err(E::custom("a name that the bracket form cannot say")) } else { Ok(()) }
    }
}

impl<'a> Visitor<'a> for Name {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'a str) -> Result<Cow<'a, str>, E> {
        self.check(name).map(|()| Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Cow<'a, str>, E> {
        self.check(name).map(|()| Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests;
