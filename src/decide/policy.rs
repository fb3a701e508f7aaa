//! The checked policy, and which of its rules a request falls to.
//!
//! Pure: text in, a [`Policy`] or every [`Problem`] out. Reading the file and watching it is
//! [`policy_file`](crate::policy_file)'s. What a rule means for an operation is not decided here
//! but by [`identity`](super::identity) and [`operation`](super::operation).

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use sha2::{Digest, Sha256};

use self::routes::Routes;
use super::canonical::FieldPattern;
use super::path::{Api, Target};

pub use self::client::{Asker, ClientRule, When, worst};
pub use self::code::{Code, Severity};
pub use self::guard::Guard;
pub use self::problem::Problem;
pub use self::scope::{ScopeAlias, Scopes};
pub use self::template::Pattern;
pub(crate) use self::template::is_write;
pub use self::way::{UnreadableWay, Way};
pub use self::words::{
    Action, ApiKeyKind, Class, ClientAction, ClientKey, Environment, Indeterminate, Merge, Mode,
    Otherwise, Recording, StoreDown, Uuid4Keys,
};

mod client;
mod code;
pub mod coverage;
pub mod diff;
mod document;
mod duration;
mod expect;
mod guard;
pub mod lint;
pub mod near;
pub mod operations;
mod problem;
mod routes;
mod rule;
mod scope;
mod secret;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod way;
mod words;

/// How much of the hash people are shown.
const VERSION_DIGITS: usize = 12;

/// A policy without a mistake that payonce can see. Shared behind an `Arc`.
#[derive(Debug)]
pub struct Policy {
    mode: Mode,
    recording: Recording,
    uuid4_keys: Uuid4Keys,
    guard: Guard,
    hash: String,
    way: String,
    scopes: Scopes,
    rules: Vec<Arc<Rule>>,
    routes: Routes,
    default_writes: Arc<Rule>,
    not_critical: Arc<Rule>,
    clients: Vec<ClientRule>,
    tests: usize,
}

impl Policy {
    /// Reads a policy file's text, checks it, and runs its tests.
    ///
    /// # Errors
    /// Every problem of the file, in its order; never an empty list.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        document::read(text)
    }

    /// The first rule of the file that matches; else `default_writes` for a write (POST and all
    /// methods but GET, HEAD, OPTIONS and, outside of v2, DELETE: FACTS §2), else `not_critical`.
    ///
    /// Does not allocate.
    #[must_use]
    pub fn judge(&self, method: &Method, target: &Target) -> &Arc<Rule> {
        self.first(method, target.segments(), matches!(target.api(), Api::V2))
    }

    /// [`Self::judge`] for a path of these segments, of which any can be the placeholder of a
    /// template: those are matched by `{id}` and `**` alone, as in [`Pattern::matches`].
    #[must_use]
    pub fn falls_to(&self, method: &Method, segments: &[&str]) -> &Arc<Rule> {
        self.first(method, segments, segments.first() == Some(&"v2"))
    }

    fn first<S: AsRef<str>>(&self, method: &Method, segments: &[S], v2: bool) -> &Arc<Rule> {
        let first = self.routes.first(method, segments);
        first.and_then(|index| self.rules.get(index)).unwrap_or_else(|| {
            if is_write(method, v2) { &self.default_writes } else { &self.not_critical }
        })
    }

    /// Whether anything is done, or only reported, where a rule does not say otherwise.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether what `rule` says is done, or only reported: its own word, else the file's.
    #[must_use]
    pub fn mode_of(&self, rule: &Rule) -> Mode {
        rule.mode.unwrap_or(self.mode)
    }

    /// Whether judged requests are written down.
    #[must_use]
    pub const fn recording(&self) -> Recording {
        self.recording
    }

    /// Who a `UUIDv4` key is taken to come from.
    #[must_use]
    pub const fn uuid4_keys(&self) -> Uuid4Keys {
        self.uuid4_keys
    }

    /// What is looked for in every request's API key and own key.
    #[must_use]
    pub const fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The first 12 hexadecimal digits of [`Self::hash`]: what logs, metrics and answers show.
    #[must_use]
    pub fn version(&self) -> &str {
        version_in(&self.hash)
    }

    /// The SHA-256 of the file's bytes, in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What becomes of writes that no rule names.
    #[must_use]
    pub fn default_writes(&self) -> Class {
        self.default_writes.class
    }

    /// Which API keys count as one.
    #[must_use]
    pub const fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// The id of its [`Way`]: another one recognises operations otherwise.
    #[must_use]
    pub fn way(&self) -> &str {
        &self.way
    }

    /// The rules of the file, in its order; without the built-in ones.
    #[must_use]
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// The `[[client]]`s of the file, in its order.
    #[must_use]
    pub fn clients(&self) -> &[ClientRule] {
        &self.clients
    }

    /// How many `[[test]]`s the file has; all of them held.
    #[must_use]
    pub const fn tests(&self) -> usize {
        self.tests
    }

    /// The first rule that recognises operations by content or fields, whose occurrences two
    /// processes with a store each would count apart (DESIGN §5).
    #[must_use]
    pub fn needs_one_store(&self) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| rule.recognises())
    }
}

/// The hash of a policy file with these bytes: see [`Policy::hash`].
#[must_use]
pub fn hash_of(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The version of a policy file with these bytes: see [`Policy::version`].
#[must_use]
pub fn version_of(bytes: &[u8]) -> String {
    version_in(&hash_of(bytes)).to_owned()
}

/// The version of a policy file with this hash: see [`Policy::version`].
#[must_use]
pub fn version_in(hash: &str) -> &str {
    hash.get(..VERSION_DIGITS).unwrap_or(hash)
}

/// What becomes of the requests that a rule matches, and how their operations are recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name: unique in the file, fit for logs and metric labels.
    pub name: String,
    /// What becomes of the requests. Whatever follows is for [`Class::Critical`] alone, but `mode`.
    pub class: Class,
    /// Whether it is done, or only reported; `None`: as the file says.
    pub mode: Option<Mode>,
    /// Whether the application must choose a key.
    pub client_key: ClientKey,
    /// Each of these must be there with a value; else it is answered with an error.
    pub require_field: Vec<FieldPattern>,
    /// What makes two requests the same operation, beside header and own key.
    pub identity: IdentityRule,
    /// Content is an identity only where one of these fields is present.
    pub distinguishes: Vec<FieldPattern>,
    /// With whom a request may be merged by content.
    pub merge: Merge,
    /// How long after the first delivery a twin is still the same operation; at most 22 hours.
    pub repeat_window: Duration,
    /// What to do while the store does not answer.
    pub store_down: StoreDown,
    /// What to do after a saved 500.
    pub indeterminate: Indeterminate,
    /// How long after an end in doubt it is asked for again though nobody waits; `None`: not at all.
    pub finish: Option<Duration>,
    /// What it matches; empty for a built-in rule.
    pub patterns: Vec<Pattern>,
    /// The line of the file on which it begins, from 1; 0 for a built-in rule.
    pub line: usize,
}

impl Rule {
    /// A rule by call, with every default.
    fn call(name: String, class: Class) -> Self {
        Self {
            name,
            class,
            mode: None,
            client_key: ClientKey::Optional,
            require_field: Vec::new(),
            identity: IdentityRule::Call,
            distinguishes: Vec::new(),
            merge: Merge::Lost,
            repeat_window: Duration::ZERO,
            store_down: StoreDown::Derive,
            indeterminate: Indeterminate::Hold,
            finish: None,
            patterns: Vec::new(),
            line: 0,
        }
    }

    /// The same rule, were it by call and without demands.
    #[must_use]
    pub fn by_call(&self) -> Self {
        let (identity, client_key) = (IdentityRule::Call, ClientKey::Optional);
        Self { client_key, identity, require_field: Vec::new(), ..self.clone() }
    }

    /// Whether an operation can come to be recognised by its content.
    #[must_use]
    pub const fn uses_content(&self) -> bool {
        match &self.identity {
            IdentityRule::Content | IdentityRule::Fields { otherwise: Otherwise::Content, .. } => {
                true
            }
            IdentityRule::Call
            | IdentityRule::Fields { otherwise: Otherwise::Call | Otherwise::Refuse, .. } => false,
        }
    }

    /// Whether it recognises operations without the application's help: by content or fields.
    #[must_use]
    pub const fn recognises(&self) -> bool {
        match &self.identity {
            IdentityRule::Content | IdentityRule::Fields { .. } => true,
            IdentityRule::Call => false,
        }
    }
}

/// What makes two requests the same operation, where neither header nor own key says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityRule {
    /// Nothing: every call is an operation of its own.
    Call,
    /// The content, where one of the rule's `distinguishes` is present.
    Content,
    /// The values of these fields.
    Fields {
        /// Their exact names.
        names: Vec<FieldPattern>,
        /// What a request without all of them is judged by.
        otherwise: Otherwise,
    },
}
