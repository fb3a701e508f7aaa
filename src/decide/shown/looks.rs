//! What a secret looks like. Each function gives the bytes that must not be shown.

use std::ops::Range;

/// What Stripe's keys and secrets begin with.
const KINDS: [&str; 5] = ["sk_", "rk_", "ek_", "pk_", "whsec_"];

/// What messages and manuals write where a secret would stand.
const NONE: [&str; 2] = ["sk_test_payonce_placeholder", "user:password"];

/// The longest that is shown of a key: `sk_org_live_`.
const LONGEST_KIND: usize = 12;

/// A key of Stripe's, or something like one.
struct Key {
    /// Where its kind begins.
    at: usize,
    /// Behind the kind: what must not be shown.
    rest: Range<usize>,
    /// Whether it bears a sign that nothing else does: an environment, or `whsec_`.
    sure: bool,
}

/// The secret part of every key of Stripe's. Where an environment is named, whatever stands before
/// it: an escape such as `\n` ends in a letter.
pub(super) fn keys(text: &str) -> Vec<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    let secret = |key: Key| {
        let rest = lower.get(key.rest.clone()).unwrap_or_default();
        let digit = rest.contains(|c: char| c.is_ascii_digit());
        let known = key.sure && rest.len() >= 4;
        let bare = starts_word(&lower, key.at) && rest.len() >= 12 && digit;
        (known || bare).then_some(key.rest)
    };
    found(&lower).into_iter().filter_map(secret).collect()
}

/// Whether one of them is a secret, beyond doubt.
pub(super) fn holds_key(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    found(&lower).iter().any(|key| {
        let public = lower.get(key.at..).is_some_and(|from| from.starts_with("pk_"));
        !public && key.sure && key.rest.len() >= 10 && starts_word(&lower, key.at)
    })
}

/// Everything that begins as a key does, in a text in lower case.
fn found(lower: &str) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for kind in KINDS {
        let places = lower.match_indices(kind).map(|(at, _)| at);
        keys.extend(places.filter_map(|at| key(lower, at, kind)));
    }
    keys
}

fn key(lower: &str, at: usize, kind: &str) -> Option<Key> {
    let from = lower.get(at..)?;
    if NONE.iter().any(|none| from.starts_with(none)) {
        return None;
    }
    let rest = from.strip_prefix(kind)?;
    let rest = rest.strip_prefix("org_").unwrap_or(rest);
    let environment = rest.strip_prefix("live_").or_else(|| rest.strip_prefix("test_"));
    let sure = environment.is_some() || kind == "whsec_";
    let rest = environment.unwrap_or(rest);
    // Of base64, and of URLs.
    let of_key = |c: char| c.is_ascii_alphanumeric() || "_-+/=%".contains(c);
    let length = rest.find(|c| !of_key(c)).unwrap_or(rest.len());
    let start = lower.len() - rest.len();
    Some(Key { at, rest: start..start + length, sure })
}

fn starts_word(text: &str, at: usize) -> bool {
    let before = text.get(..at).and_then(|before| before.chars().next_back());
    !before.is_some_and(|c| c.is_ascii_alphanumeric())
}

/// Names and passwords before the `@` of a URL, or of what would be one with a scheme. In `prose`
/// such a URL ends with its quotes, since a password may hold blanks.
pub(super) fn logins(text: &str, prose: bool) -> Vec<Range<usize>> {
    let mut hidden = Vec::new();
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find("://")) {
        let start = from + at + "://".len();
        let rest = text.get(start..).unwrap_or_default();
        let url = rest.get(..url_end(rest, prose)).unwrap_or(rest);
        if let Some(end) = url.rfind('@').filter(|end| url.get(..*end) != Some("user:password")) {
            hidden.push(start..start + end);
        }
        // What stands within was looked at.
        from = start + url.len();
    }
    if prose {
        hidden.extend(bare_logins(text));
    }
    hidden
}

/// `name:password@host`
fn bare_logins(text: &str) -> Vec<Range<usize>> {
    let apart = |c: char| c.is_whitespace() || "\"'`".contains(c);
    let login = |(at, word): (usize, &str)| {
        let before = word.get(..word.rfind('@')?)?;
        let password = before.get(before.find(':')? + 1..)?;
        // With `//` it is a URL.
        let secret = !password.is_empty() && !password.starts_with("//");
        secret.then(|| at + before.len() - password.len()..at + before.len())
    };
    pieces(text, |c| !apart(c)).filter_map(login).collect()
}

/// Where a URL ends: at a quote that is not escaped, or at a blank.
fn url_end(text: &str, prose: bool) -> usize {
    let mut escaped = false;
    let ends = |c: char| {
        let ends = !escaped && (matches!(c, '"' | '`') || c == '\n' || (!prose && c == ' '));
        escaped = !escaped && c == '\\';
        ends
    };
    text.find(ends).unwrap_or(text.len())
}

/// Words that nobody would make up. Of `keys`, which are among them, the kind may be shown.
pub(super) fn words(text: &str, keys: &[Range<usize>]) -> Vec<Range<usize>> {
    let of_word = |c: char| c.is_ascii_alphanumeric() || "_-+=".contains(c);
    let random = |(at, word): (usize, &str)| {
        let mut parts = word.split(|c: char| !c.is_ascii_alphanumeric());
        let range = at..at + word.len();
        (parts.any(is_random) && !is_key(&range, keys)).then_some(range)
    };
    pieces(text, of_word).filter_map(random).collect()
}

/// Whether all of a word is hidden already, but for its kind.
fn is_key(word: &Range<usize>, keys: &[Range<usize>]) -> bool {
    keys.iter().any(|key| {
        (word.start..=word.start + LONGEST_KIND).contains(&key.start) && key.end >= word.end
    })
}

/// Stripe's own ids and digests are among them; the id of a minisign key, with 16 digits, is not.
fn is_random(part: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| part.as_bytes().iter().any(kind);
    let (lower, upper) = (has(u8::is_ascii_lowercase), has(u8::is_ascii_uppercase));
    let digit = has(u8::is_ascii_digit);
    (part.len() >= 12 && lower && upper && digit) || (part.len() >= 20 && (lower || upper) && digit)
}

/// The longest pieces of `text` that have these characters alone, and where each begins.
fn pieces(
    text: &str,
    of_piece: impl Fn(char) -> bool + Copy,
) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    let pieces = text.split(move |c| !of_piece(c)).map(move |piece| {
        let start = at;
        // What parts two pieces is one character, of one byte or more.
        let after = text.get(start + piece.len()..).and_then(|rest| rest.chars().next());
        at = start + piece.len() + after.map_or(0, char::len_utf8);
        (start, piece)
    });
    pieces.filter(|(_, piece)| !piece.is_empty())
}
