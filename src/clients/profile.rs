//! What a client says of itself: its `User-Agent`, and the JSON in `X-Stripe-Client-User-Agent`.
//!
//! Pure and bounded: whatever the bytes are, a profile comes of them. Of the JSON only what helps
//! people is kept; `uname` and `hostname` name a machine, `telemetry_id` a home directory, and are
//! not.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::decide::agent::{Named, Sdk, Version, ascii};

/// Bytes of each header field that are looked at. What real SDKs send is under 600.
const MOST_BYTES: usize = 4096;

/// Characters that are kept of anything.
const LONGEST: usize = 64;

/// Who asks, as it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The SDK; `None` if it names none that is known.
    pub sdk: Option<Sdk>,
    /// Its version, if that can be read.
    pub version: Option<Version>,
    /// Its version as written.
    pub written: Option<String>,
    /// The version of the language's runtime.
    pub language: Option<String>,
    /// The operating system.
    pub platform: Option<String>,
    /// The application, as `name/version`; of an unknown client the first words of its `User-Agent`.
    pub app: Option<String>,
    /// The coding agent that runs it, where the SDK found one.
    pub ai_agent: Option<String>,
}

impl Profile {
    /// Reads both fields; an absent one is empty.
    #[must_use]
    pub fn read(user_agent: &[u8], client: &[u8]) -> Self {
        let user_agent = user_agent.get(..MOST_BYTES).unwrap_or(user_agent);
        let said = Said::read(client);
        match Named::of(ascii(user_agent)) {
            Some(named) => Self::named(&named, user_agent, &said),
            None => Self::unnamed(user_agent, &said),
        }
    }

    /// The application's name without its version.
    #[must_use]
    pub fn app_name(&self) -> Option<&str> {
        let app = self.app.as_deref()?;
        Some(app.rsplit_once('/').map_or(app, |(name, _version)| name))
    }

    /// Whether both are to be one line of a list.
    #[must_use]
    pub fn is_same_client(&self, other: &Self) -> bool {
        (self.sdk, &self.written, &self.language, &self.app)
            == (other.sdk, &other.written, &other.language, &other.app)
    }

    fn named(named: &Named<'_>, user_agent: &[u8], said: &Said) -> Self {
        // An application's name may hold more than ASCII: it is taken from the whole field.
        let rest = user_agent.len().min(ascii(user_agent).len().saturating_sub(named.rest.len()));
        let rest = String::from_utf8_lossy(user_agent.get(rest..).unwrap_or_default());
        let (app, ai_agent) = suffixes(&rest);
        Self {
            sdk: Some(named.sdk),
            version: named.version,
            written: tidy(named.written),
            language: said.language(),
            platform: said.platform(),
            app: said.app().or(app),
            ai_agent: said.text("ai_agent").or(ai_agent),
        }
    }

    /// An SDK whose `User-Agent` somebody replaced is known by its JSON; a program that only speaks
    /// like one has no `bindings_version` in it.
    fn unnamed(user_agent: &[u8], said: &Said) -> Self {
        let written = said.text("bindings_version").or_else(|| said.text("bindings.version"));
        let sdk = said.text("lang").and_then(|lang| Sdk::of_language(&lang));
        let sdk = sdk.filter(|_| written.is_some());
        let product = String::from_utf8_lossy(user_agent);
        let product = product.split(" (").next().and_then(tidy);
        Self {
            version: sdk.and(written.as_deref()).and_then(Version::parse),
            written: written.filter(|_| sdk.is_some()),
            sdk,
            language: said.language(),
            platform: said.platform(),
            app: said.app().or(product),
            ai_agent: said.text("ai_agent"),
        }
    }
}

/// ` App/1.2 (url) AIAgent/slug`, each where it is there.
fn suffixes(rest: &str) -> (Option<String>, Option<String>) {
    let (app, agent) = match rest.rsplit_once("AIAgent/") {
        Some((app, agent)) => (app, tidy(agent)),
        None => (rest, None),
    };
    (app.split(" (").next().and_then(tidy), agent)
}

/// The JSON's members.
struct Said(Map<String, Value>);

impl Said {
    /// Nothing, if it is too long or no JSON object. (`serde_json` bounds its depth.)
    fn read(json: &[u8]) -> Self {
        let short = Some(json).filter(|json| json.len() <= MOST_BYTES);
        Self(short.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default())
    }

    fn text(&self, name: &str) -> Option<String> {
        let text = self.0.get(name)?.as_str()?;
        // Node writes its values percent-encoded.
        if self.0.get("lang").and_then(Value::as_str) == Some("node") {
            return tidy(&percent_decode_str(text).decode_utf8_lossy());
        }
        tidy(text)
    }

    fn language(&self) -> Option<String> {
        let names = ["lang_version", "language_version", "java.version"];
        names.iter().find_map(|name| self.text(name))
    }

    fn platform(&self) -> Option<String> {
        let whole = self.text("platform").or_else(|| self.text("os_version"));
        whole.or_else(|| {
            let (name, version) = (self.text("os.name")?, self.text("os.version"));
            tidy(&format!("{name} {}", version.unwrap_or_default()))
        })
    }

    /// Java writes it as JSON within a string.
    fn app(&self) -> Option<String> {
        let inner = match self.0.get("application")? {
            Value::Object(members) => members.clone(),
            Value::String(json) => serde_json::from_str(json).ok()?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => return None,
        };
        let text = |name: &str| inner.get(name).and_then(Value::as_str).and_then(tidy);
        match (text("name")?, text("version")) {
            (name, Some(version)) => tidy(&format!("{name}/{version}")),
            (name, None) => Some(name),
        }
    }
}

/// At most 64 characters, none of which a terminal obeys; `None` if nothing is left.
fn tidy(text: &str) -> Option<String> {
    let text: String =
        text.trim().chars().map(|c| if c.is_control() { '?' } else { c }).take(LONGEST).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
