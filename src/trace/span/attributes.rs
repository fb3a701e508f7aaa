//! What is told of a span: names of OpenTelemetry's or payonce's own, and short values.

use std::borrow::Cow;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

/// What is told of a span.
#[derive(Debug, Default)]
pub struct Attributes {
    pub(super) list: Vec<(&'static str, Value)>,
    pub(super) failed: bool,
    /// Nanoseconds since the Unix epoch; 0 while it goes on.
    pub(super) end: u64,
}

impl Attributes {
    /// Tells `value` under the name `key`, instead of what was told under it before.
    pub fn tell(&mut self, key: &'static str, value: impl Into<Value>) {
        let value = value.into();
        match self.list.iter_mut().find(|(known, _)| *known == key) {
            Some((_, told)) => *told = value,
            None => self.list.push((key, value)),
        }
    }

    /// Tells `value`, if there is one.
    pub fn tell_some(&mut self, key: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.tell(key, value);
        }
    }

    /// Says that it failed, and how, in a word.
    pub fn fail(&mut self, how: impl Into<Value>) {
        self.tell("error.type", how);
        self.failed = true;
    }

    pub(super) fn told(&self, key: &str) -> Option<&Value> {
        self.list.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}
