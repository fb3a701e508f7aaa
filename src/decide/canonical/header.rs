//! A header value with parameters (`text/plain; charset=utf-8`), strictly. What cannot be read in
//! one way only is not read: the body it speaks of is then taken as it was sent.

/// `Content-Type` or `Content-Disposition`, read.
pub(super) struct Header {
    /// The media type or disposition, in lower case.
    pub(super) essence: String,
    /// Names in lower case, each at most once; values unquoted.
    parameters: Vec<(String, String)>,
}

impl Header {
    /// Reads `essence *( ";" name "=" value )`; `None` for anything odd, such as a repeated
    /// parameter or a backslash (some readers take it for an escape, some do not).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (essence, mut rest) = text.split_at_checked(text.find(';').unwrap_or(text.len()))?;
        let essence = essence.trim_matches(SPACE).to_ascii_lowercase();
        let plain = |part: &str| !part.is_empty() && part.bytes().all(is_token);
        if !essence.split('/').all(plain) {
            return None;
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        while let Some(next) = rest.strip_prefix(';') {
            let (name, after) = next.trim_start_matches(SPACE).split_once('=')?;
            let name = name.to_ascii_lowercase();
            let (value, after) = value(after)?;
            if !plain(&name) || parameters.iter().any(|(known, _)| *known == name) {
                return None;
            }
            parameters.push((name, value.to_owned()));
            rest = after.trim_start_matches(SPACE);
        }
        rest.is_empty().then_some(Self { essence, parameters })
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The names of its parameters.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|(name, _)| name.as_str())
    }

    /// Whether the text it speaks of is UTF-8, as it is unless a charset says otherwise.
    pub(super) fn is_utf8(&self) -> bool {
        self.get("charset").is_none_or(|charset| {
            ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
        })
    }
}

const SPACE: [char; 2] = [' ', '\t'];

/// A token or quoted string at the start of `text`, and what follows it.
fn value(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (value, after) = quoted.split_once('"')?;
        return (!value.contains('\\')).then_some((value, after));
    }
    let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(value, _)| !value.is_empty())
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_quoted_or_not() {
        let header =
            Header::parse("Multipart/Form-Data ; Boundary=\"a b;c\";charset=UTF-8").unwrap();
        assert_eq!(header.essence, "multipart/form-data");
        assert_eq!(header.get("boundary"), Some("a b;c"));
        assert_eq!(header.names().collect::<Vec<_>>(), ["boundary", "charset"]);
        assert!(header.is_utf8());
        assert!(!Header::parse("text/plain; charset=latin1").unwrap().is_utf8());
    }

    #[test]
    fn anything_odd_is_not_read() {
        for odd in [
            "",
            ";",
            "a b",
            "a/",
            "a;",
            "a; b",
            "a; b=",
            "a; =b",
            "a; b=\"c",
            "a; b=\"c\\\"\"",
            "a; b=c d",
            "a; b=c; B=d",
            "a, b",
            "a; b=\"c\"d",
            "é/x",
        ] {
            assert!(Header::parse(odd).is_none(), "{odd}");
        }
    }
}
