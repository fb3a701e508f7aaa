//! What is written down of a judged request, and what can be read from that, pure.
//!
//! A line says what was decided and what became of it. Of what the request said it holds names and
//! keyed digests: enough to judge it anew under another policy ([`replay`]) and to add up what was
//! charged twice ([`report`]), and nothing that could be looked up by guessing. The only values are
//! amount and currency. Writing and reading files is [`recording`](crate::recording)'s.

use serde::{Deserialize, Serialize};

use super::canonical::Canonical;
use super::digest::{Scope, Secret};
use super::identity::{Fingerprint, Kind};
use super::key::{self, Chosen, IdempotencyKey};
use super::observe::{Before, Does, Finding};
use super::outcome::Conclusion;
use super::policy::Uuid4Keys;

pub mod money;
pub mod replay;
pub mod report;
pub mod template;

/// The form of a line that this payonce writes.
pub const FORMAT: u32 = 1;

/// One judged request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The form of what follows: [`FORMAT`].
    pub v: u32,
    /// When it arrived, in milliseconds since the Unix epoch.
    pub at: u64,
    /// How long its answer took, in milliseconds.
    pub took: u64,
    /// The policy's version.
    pub policy: String,
    /// The method.
    pub method: String,
    /// The path's template: [`template`].
    pub path: String,
    /// The rule that it fell to.
    pub rule: String,
    /// The rule's class.
    pub class: String,
    /// `enforce`, `observe` or `bypass`.
    pub mode: String,
    /// What it was recognised by; nothing if it was not looked at closely.
    pub kind: Option<Kind>,
    /// Its operation id.
    pub operation: Option<String>,
    /// The SDK and its version, as the `User-Agent` names them.
    pub sdk: Option<String>,
    /// Who asked.
    pub caller: Option<String>,
    /// What it said, in digests; nothing if its body was not read.
    #[serde(flatten)]
    pub said: Option<Said>,
    /// The `amount` field, in the currency's smallest unit.
    pub amount: Option<i64>,
    /// The `currency` field.
    pub currency: Option<String>,
    /// What became of it.
    pub outcome: Came,
    /// The answer's status.
    pub status: Option<u16>,
    /// `Payonce-Outcome`, where payonce acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The provider marked its answer as a replay.
    #[serde(default)]
    pub replayed: bool,
    /// Whether the client got the answer; nothing if that was not learnt.
    pub delivered: Option<bool>,
    /// What payonce would have done, where it only observed and that is worth a word.
    pub would: Option<Would>,
}

/// What a request said, in keyed digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Who asks.
    pub scope: String,
    /// The whole path.
    pub target: String,
    /// Its client key.
    pub client_key: Option<KeySaid>,
    /// Its `Payonce-Operation`.
    pub header: Option<String>,
    /// Name and value of each field, up to [`Fingerprint::MAX_FIELDS`]; no value where it is empty.
    pub fields: Vec<(String, Option<String>)>,
    /// There were more fields than those.
    #[serde(default)]
    pub more: bool,
    /// Everything that it says.
    pub whole: String,
}

/// A client key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySaid {
    /// The key, digested.
    pub digest: String,
    /// Who chose it.
    pub chosen: By,
}

/// Who chose a client key, as far as its form tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The application.
    Own,
    /// The SDK.
    Sdk,
    /// The SDK, unless the policy says that the application mints UUIDs of its own.
    Uuid,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Came {
    /// It was answered as done.
    Succeeded,
    /// It was answered as not done.
    Declined,
    /// Nobody knows.
    Unknown,
    /// Nobody knows, and the provider replays a 500 for its key.
    SavedError,
    /// It was not executed.
    NotExecuted,
    /// payonce answered with an error, and sent nothing.
    Refused,
    /// Whoever asked hung up before there was an answer.
    HungUp,
}

/// What payonce would have done, and what that brought to light.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Would {
    /// What came to light.
    pub finding: Finding,
    /// What payonce would have done.
    pub does: Does,
    /// The row of the table that says so.
    pub row: String,
    /// What was known of the operation before.
    pub before: Before,
    /// How long before the operation was last asked for, in milliseconds.
    pub after: Option<u64>,
}

impl Line {
    /// Reads one line of a recorded file.
    ///
    /// # Errors
    /// What is wrong with it, without a word of it.
    pub fn read(text: &str) -> Result<Self, BadLine> {
        let line: Self = serde_json::from_str(text).map_err(|error| BadLine::Form(error.line()))?;
        if line.v == FORMAT { Ok(line) } else { Err(BadLine::Version(line.v)) }
    }

    /// `POST /v1/charges`.
    #[must_use]
    pub fn request(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether the client sent no key where one has an effect.
    #[must_use]
    pub fn keyless(&self) -> bool {
        self.said.as_ref().is_some_and(|said| said.client_key.is_none())
    }
}

/// Why a line cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// It is no line of a record.
    #[error("it is no line that payonce wrote")]
    Form(usize),
    /// Another payonce wrote it.
    #[error("it has form {0}, and this payonce reads form {FORMAT}")]
    Version(u32),
}

/// How [`Came`] is called in the table of outcomes. Who hung up has not learnt what became of it.
#[must_use]
pub fn conclusion(came: Came, status: Option<u16>, replayed: bool) -> Conclusion {
    match came {
        Came::Succeeded => Conclusion::Succeeded,
        Came::Declined => Conclusion::Declined { spent: status == Some(402) || replayed },
        Came::Unknown | Came::HungUp => Conclusion::InDoubt { saved_500: false },
        Came::SavedError => Conclusion::InDoubt { saved_500: true },
        Came::NotExecuted | Came::Refused => Conclusion::NotExecuted,
    }
}

/// The rule would have refused it.
#[must_use]
pub fn would_refuse() -> Would {
    let (finding, does, before) = (Finding::Refused, Does::Refuse, Before::Nothing);
    Would { finding, does, row: String::new(), before, after: None }
}

/// A call with this key was sent before.
#[must_use]
pub fn would_know() -> Would {
    let (finding, does, before) = (Finding::SameKey, Does::Send, Before::Nothing);
    Would { finding, does, row: String::new(), before, after: None }
}

/// What [`Said`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// Keys the digests.
    pub secret: &'a Secret,
    /// Who asks.
    pub scope: &'a Scope,
    /// The path as it was sent.
    pub path: &'a str,
    /// The client's key.
    pub client_key: Option<&'a IdempotencyKey>,
    /// The `User-Agent`.
    pub agent: Option<&'a str>,
    /// `Payonce-Operation`.
    pub header: Option<&'a str>,
    /// What it says.
    pub content: &'a Canonical,
    /// The same, digested.
    pub fingerprint: &'a Fingerprint,
}

impl Said {
    /// Digests what was heard.
    #[must_use]
    pub fn of(heard: &Heard<'_>) -> Self {
        let Heard { secret, scope, content, fingerprint, .. } = heard;
        let digest = |what: &[u8], value: &[u8]| {
            let short: [u8; 16] = secret.short(&[b"payonce record 1", what, &scope.0, value]);
            hex::encode(short)
        };
        let client_key = heard.client_key.map(|key| KeySaid {
            digest: digest(b"client key", key.as_str().as_bytes()),
            chosen: match key::chosen(key, heard.agent, Uuid4Keys::Sdk) {
                Chosen::ByApplication => By::Own,
                Chosen::BySdk { uuid: true } => By::Uuid,
                Chosen::BySdk { uuid: false } => By::Sdk,
            },
        });
        let values = content.fields().iter().zip(&fingerprint.fields);
        let mut scope_said = digest(b"scope", &[]);
        scope_said.truncate(16);
        Self {
            scope: scope_said,
            target: digest(b"path", heard.path.as_bytes()),
            client_key,
            header: heard.header.map(|value| digest(b"header", value.as_bytes())),
            fields: values
                .map(|(field, (name, digest))| {
                    let says = !field.value.is_empty() && field.marker.is_value();
                    (name.clone(), says.then(|| hex::encode(digest.0)))
                })
                .collect(),
            more: content.fields().len() > fingerprint.fields.len(),
            whole: hex::encode(fingerprint.whole.0),
        }
    }
}

/// An amount as a request said it, if it is one: any other text is not written down.
#[must_use]
pub fn amount(text: Option<&str>) -> Option<i64> {
    text.filter(|text| text.len() <= 15)?.parse().ok()
}

/// A currency as a request said it, if it has the form of one.
#[must_use]
pub fn currency(text: Option<&str>) -> Option<String> {
    let form = |text: &&str| text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic());
    text.filter(form).map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests;
