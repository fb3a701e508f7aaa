//! What a request's API key and own key must not be, and which of the policy's guards say so.
//!
//! Pure: what is known of the request in, findings out. None of them holds anything of a key (I8).
//! What comes of them is the exchange's matter, and so is whether a guard may refuse at all: where
//! payonce does not act, it only warns.

use std::fmt;

use super::canonical::{Canonical, FieldPattern};
use super::policy::{Action, ApiKeyKind, Environment, Guard, Rule};

mod hygiene;

/// What is known of a request before its body is read.
#[derive(Clone, Copy, Default)]
pub struct Facts<'a> {
    /// Its API key, if it bears an `Authorization`.
    pub api_key: Option<&'a [u8]>,
    /// Only payonce's own credential may be used, and this request came with another, or with none.
    pub foreign: bool,
    /// The key that the application chose, if it did.
    pub own_key: Option<&'a str>,
    /// That key was used for another endpoint before.
    pub reused: bool,
}

/// Something that a guard looks for. Shows nothing of a key but its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// An API key that is not of a kind that may pass.
    ApiKeyKind(ApiKeyKind),
    /// An API key of the wrong environment.
    Environment {
        /// What it is for.
        found: Environment,
        /// What it must be for.
        wanted: Environment,
    },
    /// An API key beside the one that payonce holds.
    ForeignApiKey,
    /// An e-mail address in an own key.
    EmailInKey,
    /// A card number in an own key.
    CardInKey,
    /// A short own key.
    ShortKey {
        /// Its characters.
        length: usize,
        /// How many it must have.
        least: usize,
    },
    /// An own key of few different characters.
    PlainKey,
    /// An own key that was used for another endpoint.
    ReusedKey,
}

impl Finding {
    /// Its name in metrics and logs.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ApiKeyKind(_) => "api_key_kind",
            Self::Environment { .. } => "environment",
            Self::ForeignApiKey => "foreign_api_key",
            Self::EmailInKey => "key_with_email",
            Self::CardInKey => "key_with_card",
            Self::ShortKey { .. } => "key_short",
            Self::PlainKey => "key_plain",
            Self::ReusedKey => "key_reused",
        }
    }

    /// The `error.code` of its refusal.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ApiKeyKind(_) => "payonce_api_key_kind",
            Self::Environment { .. } => "payonce_environment",
            Self::ForeignApiKey => "payonce_foreign_api_key",
            Self::EmailInKey => "payonce_key_with_email",
            Self::CardInKey => "payonce_key_with_card",
            Self::ShortKey { .. } => "payonce_key_short",
            Self::PlainKey => "payonce_key_plain",
            Self::ReusedKey => "payonce_key_reused",
        }
    }

    /// Whether it is about who may ask, rather than about the key of what is asked.
    #[must_use]
    pub const fn is_about_api_key(&self) -> bool {
        match self {
            Self::ApiKeyKind(_) | Self::Environment { .. } | Self::ForeignApiKey => true,
            Self::EmailInKey
            | Self::CardInKey
            | Self::ShortKey { .. }
            | Self::PlainKey
            | Self::ReusedKey => false,
        }
    }

    /// The HTTP status of its refusal.
    #[must_use]
    pub const fn status(&self) -> u16 {
        if self.is_about_api_key() { 403 } else { 400 }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApiKeyKind(ApiKeyKind::None) => f.write_str(
                "The policy's [guard] lets no request pass that bears no API key (api_keys)",
            ),
            Self::ApiKeyKind(kind) => write!(
                f,
                "The policy's [guard] lets no API key of the kind \"{kind}\" pass (api_keys)"
            ),
            Self::Environment { found, wanted } => write!(
                f,
                "The API key is a {found} one, and the policy's [guard] says environment = \
                 \"{wanted}\""
            ),
            Self::ForeignApiKey => f.write_str(
                "Only requests with payonce's placeholder instead of an API key may pass here \
                 (credential.only)",
            ),
            Self::EmailInKey => f.write_str(
                "The Idempotency-Key holds an e-mail address; keys must hold no personal data",
            ),
            Self::CardInKey => {
                f.write_str("The Idempotency-Key holds what looks like a card number")
            }
            Self::ShortKey { length, least } => write!(
                f,
                "The Idempotency-Key has {length} characters, and the policy's [guard] wants at \
                 least {least} (shortest_key), lest two operations get the same"
            ),
            Self::PlainKey => f.write_str(
                "The Idempotency-Key repeats a few characters; two operations may get the same",
            ),
            Self::ReusedKey => f.write_str(
                "The Idempotency-Key was used for another endpoint before; Stripe takes each for \
                 one endpoint alone",
            ),
        }
    }
}

/// What `guard` finds in a request, and what is to be done about each.
#[must_use]
pub fn findings(guard: &Guard, facts: &Facts<'_>) -> Vec<(Finding, Action)> {
    let mut found = Vec::new();
    if facts.foreign {
        found.push((Finding::ForeignApiKey, Action::Refuse));
    }
    let kind = kind_of(facts.api_key);
    if let Some((kinds, action)) = &guard.api_keys
        && !kinds.contains(&kind)
    {
        found.push((Finding::ApiKeyKind(kind), *action));
    }
    let environment = facts.api_key.and_then(environment_of);
    if let Some(((wanted, action), found_in)) = guard.environment.zip(environment)
        && found_in != wanted
    {
        found.push((Finding::Environment { found: found_in, wanted }, action));
    }
    if let Some(key) = facts.own_key {
        let weak = hygiene::weakness(key, guard.shortest_key);
        let looked_for = [
            (hygiene::has_email(key).then_some(Finding::EmailInKey), guard.key_with_email),
            (hygiene::has_card(key).then_some(Finding::CardInKey), guard.key_with_card),
            (weak, guard.key_weak),
            (facts.reused.then_some(Finding::ReusedKey), guard.key_reused),
        ];
        let these = looked_for.into_iter().filter_map(|(it, action)| Some((it?, action)));
        found.extend(these.filter(|(_, action)| *action != Action::Off));
    }
    found
}

/// Those of the rule's required fields that are not there with a value.
#[must_use]
pub fn missing(rule: &Rule, content: &Canonical) -> Vec<String> {
    let absent = rule.require_field.iter().filter(|field| !content.has(field));
    absent.map(FieldPattern::as_str).map(str::to_owned).collect()
}

/// What kind of API key this is, by what it begins with.
#[must_use]
pub fn kind_of(api_key: Option<&[u8]>) -> ApiKeyKind {
    let Some(api_key) = api_key else { return ApiKeyKind::None };
    let named = |kind: &ApiKeyKind| !matches!(kind, ApiKeyKind::Other | ApiKeyKind::None);
    let begins = |kind: &ApiKeyKind| {
        let rest = api_key.strip_prefix(kind.as_str().as_bytes());
        rest.is_some_and(|rest| rest.starts_with(b"_"))
    };
    let kinds = ApiKeyKind::NAMES.into_iter().map(|(_, kind)| kind).filter(named);
    kinds.into_iter().find(begins).unwrap_or(ApiKeyKind::Other)
}

/// Whose money it moves, where its beginning says so.
fn environment_of(api_key: &[u8]) -> Option<Environment> {
    match kind_of(Some(api_key)) {
        ApiKeyKind::SkLive | ApiKeyKind::RkLive | ApiKeyKind::PkLive | ApiKeyKind::EkLive => {
            Some(Environment::Live)
        }
        ApiKeyKind::SkTest | ApiKeyKind::RkTest | ApiKeyKind::PkTest | ApiKeyKind::EkTest => {
            Some(Environment::Test)
        }
        ApiKeyKind::SkOrg if api_key.starts_with(b"sk_org_live") => Some(Environment::Live),
        ApiKeyKind::SkOrg if api_key.starts_with(b"sk_org_test") => Some(Environment::Test),
        ApiKeyKind::SkOrg | ApiKeyKind::Other | ApiKeyKind::None => None,
    }
}

#[cfg(test)]
mod tests;
