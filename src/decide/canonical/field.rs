//! One value of a request and its name in bracket form, and the patterns by which a policy names
//! them. How names come about is the readers' matter ([`form`](super::form), [`json`](super::json),
//! [`multipart`](super::multipart)).

use std::fmt;

/// One value of a request.
///
/// *Identity* uses [`Canonical::get`](super::Canonical::get), which gives the value alone, so that
/// `"6735"` and `6735` name the same order. A *fingerprint* must take the marker along with the
/// value: together they are injective (`null`, `"null"`, `""`, `{}` and absent are five things).
#[derive(Clone, PartialEq, Eq)]
pub struct Field {
    /// Bracket form: `metadata[order_id]`, `items[0][price]`. A field of the query has a `?`
    /// before its name (`?limit`), which no field of a body has.
    pub name: String,
    /// The bytes of a text or file; the decimal text of a number; `true` or `false`; else empty.
    pub value: Vec<u8>,
    /// What kind of value it is.
    pub marker: Marker,
}

/// What kind of value a [`Field`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Marker {
    /// A text: every form value, a JSON string, a multipart value without a file name.
    Text,
    /// A JSON number.
    Number,
    /// A JSON `true` or `false`.
    Bool,
    /// A JSON `null`.
    Null,
    /// A JSON `{}`.
    EmptyObject,
    /// A JSON `[]`.
    EmptyArray,
    /// A multipart value with a file name.
    File,
}

impl Marker {
    /// A byte of its own for each marker, for digests. Never renumbered: digests are stored.
    #[must_use]
    pub const fn tag(self) -> u8 {
        match self {
            Self::Text => b't',
            Self::Number => b'n',
            Self::Bool => b'b',
            Self::Null => b'0',
            Self::EmptyObject => b'o',
            Self::EmptyArray => b'a',
            Self::File => b'f',
        }
    }

    /// Whether there is a value at all.
    #[must_use]
    pub(in crate::decide) const fn is_value(self) -> bool {
        match self {
            Self::Text | Self::Number | Self::Bool | Self::File => true,
            Self::Null | Self::EmptyObject | Self::EmptyArray => false,
        }
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({:?}, {:?}, {} bytes)", self.name, self.marker, self.value.len())
    }
}

/// Names one field or several: `customer`, `metadata[order_id]`, `items[*][price]`,
/// `payment_method_data[**]`, `?limit`.
///
/// `*` stands for one level of brackets and `**`, at the end, for one or more. A pattern that ends
/// in a name also matches what is below it: `source` matches `source[number]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldPattern {
    text: String,
    root: String,
    levels: Vec<Level>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Level {
    Named(String),
    AnyOne,
    AnyBelow,
}

/// The longest field pattern, in bytes.
pub const PATTERN_MAX_BYTES: usize = 500;

/// Why a field pattern is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFieldPattern {
    /// It is empty, or begins with a bracket.
    #[error("a field needs a name before its first bracket, such as `metadata[order_id]`")]
    NoName,
    /// Brackets that do not pair up, or something between or after them.
    #[error("the brackets do not pair up; write nested fields as `items[0][price]`")]
    Brackets,
    /// A `*` where a name must stand.
    #[error("`*` stands for a whole pair of brackets, such as `metadata[*]`")]
    Star,
    /// A `**` before the end.
    #[error("`[**]` can only stand at the end")]
    DoubleStar,
    /// A control character.
    #[error("a field name contains a control character")]
    Control,
    /// Longer than [`PATTERN_MAX_BYTES`].
    #[error("a field pattern is longer than {PATTERN_MAX_BYTES} bytes")]
    TooLong,
}

impl FieldPattern {
    /// Reads a pattern as the policy file spells it.
    ///
    /// # Errors
    /// [`BadFieldPattern`] says what is wrong and how to write it.
    pub fn parse(text: &str) -> Result<Self, BadFieldPattern> {
        if text.len() > PATTERN_MAX_BYTES {
            return Err(BadFieldPattern::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(BadFieldPattern::Control);
        }
        if text.is_empty() || text == "?" || text.starts_with(['[', ']']) || text.starts_with("?[")
        {
            return Err(BadFieldPattern::NoName);
        }
        let (root, brackets) = split(text).ok_or(BadFieldPattern::Brackets)?;
        if root.contains('*') {
            return Err(BadFieldPattern::Star);
        }
        let levels = levels(brackets).map(level).collect::<Result<Vec<_>, _>>()?;
        let last = levels.len().saturating_sub(1);
        if levels.iter().take(last).any(|level| *level == Level::AnyBelow) {
            return Err(BadFieldPattern::DoubleStar);
        }
        Ok(Self { text: text.to_owned(), root: root.to_owned(), levels })
    }

    /// Whether it names the field `name`. A name whose brackets do not pair up matches nothing.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let Some((root, brackets)) = split(name) else { return false };
        if root != self.root {
            return false;
        }
        let mut sent = levels(brackets);
        for level in &self.levels {
            match (level, sent.next()) {
                (_, None) => return false,
                (Level::Named(name), Some(level)) if name != level => return false,
                (Level::Named(_) | Level::AnyOne, Some(_)) => {}
                (Level::AnyBelow, Some(_)) => return true,
            }
        }
        self.levels.last() != Some(&Level::AnyOne) || sent.next().is_none()
    }

    /// Whether it has no wildcard, so that it can be the name of one field.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.levels.iter().all(|level| matches!(level, Level::Named(_)))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for FieldPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn level(text: &str) -> Result<Level, BadFieldPattern> {
    match text {
        "*" => Ok(Level::AnyOne),
        "**" => Ok(Level::AnyBelow),
        name if name.contains('*') => Err(BadFieldPattern::Star),
        name => Ok(Level::Named(name.to_owned())),
    }
}

/// The name before the brackets, and the brackets; `None` if they do not pair up, or if no name
/// stands before them.
pub(super) fn split(name: &str) -> Option<(&str, &str)> {
    let (root, brackets) = name.split_at_checked(name.find('[').unwrap_or(name.len()))?;
    let mut rest = brackets;
    while !rest.is_empty() {
        let (level, after) = rest.strip_prefix('[')?.split_once(']')?;
        if level.contains('[') {
            return None;
        }
        rest = after;
    }
    (!root.is_empty() && !root.contains(']')).then_some((root, brackets))
}

/// What stands in each pair of `brackets`, which [`split`] found to pair up.
fn levels(brackets: &str) -> impl Iterator<Item = &str> {
    let within = brackets.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    within.into_iter().flat_map(|within| within.split("]["))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        FieldPattern::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn a_plain_name_matches_itself_and_what_is_below_it() {
        assert!(matches("source", "source"));
        assert!(matches("source", "source[number]"));
        assert!(matches("source", "source[]"));
        assert!(matches("a[b]", "a[b][c][d]"));
        assert!(matches("?limit", "?limit"));
        for other in ["sources", "Source", "?source", "a[source]", "source]", "source[", "source[a"]
        {
            assert!(!matches("source", other), "{other}");
        }
    }

    #[test]
    fn a_star_matches_exactly_one_pair_of_brackets() {
        assert!(matches("metadata[*]", "metadata[order_id]"));
        assert!(matches("metadata[*]", "metadata[]"));
        assert!(matches("items[*][price]", "items[0][price]"));
        assert!(matches("items[*][price]", "items[0][price][id]"));
        for other in ["metadata", "metadata[a][b]", "items[0]", "other[a]"] {
            assert!(!matches("metadata[*]", other), "{other}");
        }
    }

    #[test]
    fn two_stars_match_everything_below() {
        assert!(matches("data[**]", "data[a]"));
        assert!(matches("data[**]", "data[a][b][]"));
        assert!(!matches("data[**]", "data"));
    }

    #[test]
    fn only_a_pattern_without_stars_is_exact() {
        let exact = |text| FieldPattern::parse(text).unwrap().is_exact();
        assert!(exact("customer") && exact("metadata[order_id]") && exact("expand[]"));
        assert!(!exact("metadata[*]") && !exact("data[**]") && !exact("a[*][b]"));
    }

    #[test]
    fn a_pattern_that_could_not_match_as_meant_is_refused() {
        use BadFieldPattern as Bad;
        for (text, bad) in [
            ("", Bad::NoName),
            ("?", Bad::NoName),
            ("[a]", Bad::NoName),
            ("a[", Bad::Brackets),
            ("a]", Bad::Brackets),
            ("a[b", Bad::Brackets),
            ("a[b]c", Bad::Brackets),
            ("a[b[c]]", Bad::Brackets),
            ("*", Bad::Star),
            ("meta*", Bad::Star),
            ("metadata[a*]", Bad::Star),
            ("a[***]", Bad::Star),
            ("a[**][b]", Bad::DoubleStar),
            ("a\n", Bad::Control),
        ] {
            assert_eq!(FieldPattern::parse(text), Err(bad), "{text:?}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let field = Field { name: "a".into(), value: b"secret".to_vec(), marker: Marker::Text };
        assert_eq!(format!("{field:?}"), "Field(\"a\", Text, 6 bytes)");
    }
}
