//! What a rule matches: a method and a path template.
//!
//! Literal segments are compared with decoded ones. `{id}` stands for exactly one segment; a
//! trailing `**` for one or more, so that `/v1/charges/**` is what lies below `/v1/charges/` and
//! not the collection itself, which has other operations and wants a line of its own.

use std::fmt;

use http::Method;

use super::problem::did_you_mean;

/// The methods that a rule can name. CONNECT and TRACE are refused before the policy is asked.
pub(super) const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The longest template, in segments.
const SEGMENTS: usize = 32;

/// Which methods a pattern matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Methods {
    Any,
    One(Method),
}

impl Methods {
    pub(super) fn matches(&self, method: &Method) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => one == method,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match self {
            Self::Any => true,
            Self::One(_) => self == other,
        }
    }
}

/// One segment of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(Box<str>),
    One,
}

impl Segment {
    pub(super) fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Literal(literal) => **literal == *segment,
            Self::One => true,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match self {
            Self::Literal(_) => self == other,
            Self::One => true,
        }
    }
}

/// `POST /v1/charges/{id}/capture`: one item of a rule's `match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    line: usize,
    pub(super) methods: Methods,
    pub(super) segments: Vec<Segment>,
    pub(super) tail: bool,
}

/// Why a text is no pattern: what is wrong, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadPattern {
    pub(super) what: String,
    pub(super) mend: String,
}

impl BadPattern {
    fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: mend.into() }
    }
}

impl Pattern {
    /// Reads `METHOD /path`; `line` is where it stands in the file.
    pub(super) fn parse(text: &str, line: usize) -> Result<Self, BadPattern> {
        let (method, path) = split_request(text)?;
        let methods =
            if method == "*" { Methods::Any } else { Methods::One(parse_method(method)?) };
        let (segments, tail) = parse_path(path)?;
        Ok(Self { text: text.into(), line, methods, segments, tail })
    }

    /// As it is written in the file.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The line of the file on which it stands, from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// Whether it matches. A segment may be the placeholder of another template: `{…}` is matched
    /// by `{id}` and `**` alone, since no literal segment holds a brace.
    #[must_use]
    pub fn matches(&self, method: &Method, segments: &[&str]) -> bool {
        let long_enough = if self.tail {
            segments.len() > self.segments.len()
        } else {
            segments.len() == self.segments.len()
        };
        let mut pairs = self.segments.iter().zip(segments);
        long_enough
            && self.methods.matches(method)
            && pairs.all(|(template, segment)| template.matches(segment))
    }

    /// Whether every request that `other` matches is matched by this one too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let long_enough = match (self.tail, other.tail) {
            (false, false) => other.segments.len() == self.segments.len(),
            (false, true) => false,
            (true, false) => other.segments.len() > self.segments.len(),
            (true, true) => other.segments.len() >= self.segments.len(),
        };
        let mut pairs = self.segments.iter().zip(&other.segments);
        long_enough
            && self.methods.covers(&other.methods)
            && pairs.all(|(mine, theirs)| mine.covers(theirs))
    }

    /// Whether it can match something on which an idempotency key has no effect: anything but a
    /// write, and DELETE outside of v2 (FACTS §2).
    pub(super) fn reaches_keyless(&self) -> bool {
        let v2 = matches!(self.segments.first(), Some(Segment::Literal(first)) if **first == *"v2");
        match &self.methods {
            Methods::Any => true,
            Methods::One(method) => !is_write(method, v2),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a key has an effect on this method: v1 takes one on every POST, v2 on DELETE as well
/// (FACTS §2). A method that nobody has documented counts as a write.
pub(crate) fn is_write(method: &Method, v2: bool) -> bool {
    match method.as_str() {
        "GET" | "HEAD" | "OPTIONS" => false,
        "DELETE" => v2,
        _ => true,
    }
}

/// The method and the path of `POST /v1/charges`.
pub(super) fn split_request(text: &str) -> Result<(&str, &str), BadPattern> {
    match text.split_once(' ') {
        Some((method, path)) if path.starts_with('/') => Ok((method, path)),
        _ => Err(BadPattern::new(
            format!("\"{}\" is not a method, one space and a path", text.escape_debug()),
            "write it like \"POST /v1/charges\"",
        )),
    }
}

/// A method that can reach the policy.
pub(super) fn parse_method(text: &str) -> Result<Method, BadPattern> {
    let known = METHODS.contains(&text);
    Method::from_bytes(text.as_bytes()).ok().filter(|_| known).ok_or_else(|| {
        BadPattern::new(
            format!(
                "unknown method \"{}\"{}",
                text.escape_debug(),
                did_you_mean(text, &METHODS, '"')
            ),
            format!("write one of {}, or `*` for all", METHODS.join(", ")),
        )
    })
}

fn parse_path(path: &str) -> Result<(Vec<Segment>, bool), BadPattern> {
    let mut parts: Vec<&str> = path.split('/').skip(1).collect();
    let tail = parts.last() == Some(&"**");
    if tail {
        parts.pop();
    }
    if parts.len() > SEGMENTS {
        return Err(BadPattern::new(
            format!("the path has more than {SEGMENTS} segments"),
            "no Stripe path is that long; end it with `/**`",
        ));
    }
    let segments = parts.into_iter().map(parse_segment).collect::<Result<_, _>>()?;
    Ok((segments, tail))
}

fn parse_segment(text: &str) -> Result<Segment, BadPattern> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.~:@!$&'()+,;=".contains(c);
    if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        return if named {
            Ok(Segment::One)
        } else {
            Err(BadPattern::new(
                format!("`{}` is not a placeholder", text.escape_debug()),
                "write `{id}`: letters, digits and `_` between braces",
            ))
        };
    }
    let (what, mend) = match text {
        "" => ("the path has an empty segment", "remove the surplus `/`"),
        "." | ".." => ("a path with a `.` or `..` segment is refused", "write the path it means"),
        "*" => ("`*` is not a segment", "write `{id}` for any one segment"),
        "**" => ("`**` stands before the end", "`**` can only be the last segment"),
        bad if !bad.chars().all(plain) => (
            "the path has a character that no template takes",
            "write letters, digits, `{id}` for one segment, `**` at the end; no query, no `%`",
        ),
        good => return Ok(Segment::Literal(good.into())),
    };
    Err(BadPattern::new(what, mend))
}
