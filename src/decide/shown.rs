//! Text that people are shown, without what looks like a secret in it (I8).
//!
//! Messages say what somebody wrote, and somebody will write an API key, a webhook secret or a
//! password where a name belongs. A message is therefore a [`Shown`]: whoever makes one has masked
//! it, whatever was quoted. Harmless words stay: ``unknown key `modde` `` is to be read.
//!
//! What is masked is what can be told by its looks: Stripe's keys by what they begin with, logins in
//! URLs, long words of mixed letters and digits. A password that is a plain short word cannot be told
//! from a misspelt setting; settings that are secrets are never quoted at all.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::{Deref, Range};

use self::looks::{keys, logins, words};

mod looks;

/// Stands for each character that is not shown.
const MASK: char = '•';

/// The longest word that a message shows whole, in characters.
const LONGEST_WORD: usize = 200;

/// The longest message, in characters.
const LONGEST: usize = 2_000;

/// A text in which nothing looks like a secret. There is no other way to make one.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shown(String);

impl Shown {
    /// `text` as long as it is: each character that is not shown has another in its place.
    #[must_use]
    pub fn whole(text: &str) -> Self {
        Self(masked(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A message: of words and texts beyond all measure, the beginning and the end.
impl From<&str> for Shown {
    fn from(text: &str) -> Self {
        let words = masked(text);
        let words = words.split_inclusive(char::is_whitespace);
        let words: String = words.map(|word| shortened(word, LONGEST_WORD)).collect();
        Self(shortened(&words, LONGEST).into_owned())
    }
}

impl From<String> for Shown {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Shown> for String {
    fn from(shown: Shown) -> Self {
        shown.0
    }
}

impl Deref for Shown {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Shown {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// `text` without whatever looks like a secret, character for character.
#[must_use]
pub fn masked(text: &str) -> String {
    let keys = keys(text);
    let mut hidden = words(text, &keys);
    hidden.extend(keys);
    hidden.extend(logins(text, true));
    hide(text, hidden)
}

/// `text` without what can be nothing but a secret: Stripe's keys, and logins in URLs. For what also
/// says ids, which look like long random words: log lines, answers.
#[must_use]
pub fn without_keys(text: &str) -> Cow<'_, str> {
    // Most lines have nothing of the kind.
    if !["k_", "K_", "whsec_", "://"].iter().any(|sign| text.contains(sign)) {
        return Cow::Borrowed(text);
    }
    let mut hidden = keys(text);
    hidden.extend(logins(text, false));
    if hidden.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(hide(text, hidden)) }
}

/// Whether a secret of Stripe's stands in `text`, which therefore must not go anywhere. Publishable
/// keys are none.
#[must_use]
pub fn holds_key(text: &str) -> bool {
    looks::holds_key(text)
}

/// `text` with a mask for each character in the `hidden` bytes.
fn hide(text: &str, mut hidden: Vec<Range<usize>>) -> String {
    hidden.sort_by_key(|range| (range.start, range.end));
    let mut hidden = hidden.into_iter().peekable();
    let shown = text.char_indices().map(|(at, char)| {
        while hidden.next_if(|range| range.end <= at).is_some() {}
        if hidden.peek().is_some_and(|range| range.start <= at) { MASK } else { char }
    });
    shown.collect()
}

/// The beginning and the end of `text`, if it has more than `most` characters.
fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= most {
        return Cow::Borrowed(text);
    }
    let (head, tail) = (most * 3 / 4, most / 4);
    let begins = text.chars().take(head);
    Cow::Owned(begins.chain(['…']).chain(text.chars().skip(length - tail)).collect())
}

#[cfg(test)]
mod tests;
