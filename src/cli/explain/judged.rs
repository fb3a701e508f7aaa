//! One critical request and what was decided about it, in words.

use http::header::USER_AGENT;

use super::words;
use crate::cli::page::Page;
use crate::clock::Timestamp;
use crate::decide::agent;
use crate::decide::canonical::{Field, FieldPattern, Kind as BodyKind, Marker};
use crate::decide::digest::Secret;
use crate::decide::identity::{Identified, Kind};
use crate::decide::key::{self, Chosen, IdempotencyKey};
use crate::decide::operation::{Occurrence, Retention};
use crate::decide::policy::{IdentityRule, Indeterminate, Merge, Rule, StoreDown, Uuid4Keys};
use crate::exchange::Reading;
use crate::request::Head;
use crate::settings::show_duration;

/// How many fields are named.
const MOST_FIELDS: usize = 50;

/// What the words are about.
pub(super) struct Judged<'a> {
    pub(super) head: &'a Head,
    pub(super) rule: &'a Rule,
    pub(super) reading: &'a Reading,
}

/// On what ids and keys hang.
pub(super) struct Keyed<'a> {
    pub(super) secret: &'a Secret,
    /// It stands in the settings, and is not made of the API key.
    pub(super) configured: bool,
    /// No API key was given.
    pub(super) placeholder: bool,
    pub(super) now: Timestamp,
}

/// For programs.
impl<'a> Judged<'a> {
    /// How the body was read, in a word.
    pub(super) fn body_kind(&self) -> &'static str {
        match self.reading.content.kind() {
            BodyKind::Empty => "empty",
            BodyKind::Form => "form",
            BodyKind::Json => "json",
            BodyKind::Multipart => "multipart",
            BodyKind::Raw => "raw",
        }
    }

    pub(super) fn named_fields(&self) -> &'a [Field] {
        self.reading.content.fields()
    }

    /// What the rule wants of the field with this name.
    pub(super) fn role_of(&self, name: &str) -> &'static str {
        let identity = self.identity_patterns().iter().any(|it| it.matches(name));
        let distinguishes =
            self.rule.uses_content() && self.rule.distinguishes.iter().any(|it| it.matches(name));
        match (identity, distinguishes) {
            (true, _) => "identity",
            (false, true) => "distinguishes",
            (false, false) => "other",
        }
    }

    /// Identity fields that are absent, empty or repeated.
    pub(super) fn identity_absent(&self) -> Vec<&'a str> {
        let names = self.identity_patterns().iter().map(FieldPattern::as_str);
        names.filter(|name| self.value(name).is_none()).collect()
    }

    /// Fields that would distinguish one such request from another, and are not there.
    pub(super) fn distinguishing_absent(&self) -> Vec<&'a str> {
        let absent = |it: &&FieldPattern| self.rule.uses_content() && !self.reading.content.has(it);
        self.rule.distinguishes.iter().filter(absent).map(FieldPattern::as_str).collect()
    }

    fn identity_patterns(&self) -> &'a [FieldPattern] {
        match &self.rule.identity {
            IdentityRule::Fields { names, .. } => names,
            IdentityRule::Call | IdentityRule::Content => &[],
        }
    }
}

/// For people.
impl Judged<'_> {
    /// How the body was read, and its fields by role.
    pub(super) fn fields(&self, page: &mut Page) {
        let content = &self.reading.content;
        let read = match content.kind() {
            BodyKind::Empty => "empty",
            BodyKind::Form => "a form",
            BodyKind::Json => "JSON",
            BodyKind::Multipart => "multipart",
            BodyKind::Raw => "unread: only the same bytes are the same request",
        };
        page.say("body", read);
        let identity = self.identity_names();
        if !identity.is_empty() {
            let has = |name: &&&str| self.value(name).is_some();
            let (present, absent): (Vec<&str>, Vec<&str>) = identity.iter().partition(has);
            role(page, "  identity", &present, &absent);
        }
        if self.rule.uses_content() {
            role(page, "  distinguish", &self.distinguishing(true), &self.distinguishing(false));
        }
        let patterns: Vec<&FieldPattern> = self.role_patterns().collect();
        let other = |field: &&Field| !patterns.iter().any(|role| role.matches(&field.name));
        let others: Vec<&Field> = content.fields().iter().filter(other).collect();
        if !others.is_empty() {
            let mut list: Vec<String> =
                others.iter().take(MOST_FIELDS).map(|it| field(it)).collect();
            if others.len() > MOST_FIELDS {
                list.push(format!("and {} more", others.len() - MOST_FIELDS));
            }
            page.say("  other", &list.join(", "));
        }
    }

    /// Whose the client's key is, and why.
    pub(super) fn client_key(&self, page: &mut Page) {
        let agent = self.head.headers.get(USER_AGENT).map(|agent| agent::ascii(agent.as_bytes()));
        let sdk = agent.and_then(key::sdk_named).map(words::shown);
        let Some((key, chosen)) = self.reading.client_key.as_ref().zip(self.reading.chosen) else {
            page.say("client key", "none");
            return;
        };
        let length = key.as_str().len();
        let by_sdk_alone = key::chosen(key, agent, Uuid4Keys::Sdk) != Chosen::ByApplication;
        let whose = match (chosen, sdk) {
            (Chosen::BySdk { uuid }, sdk) => {
                let sdk = sdk.unwrap_or_default();
                let also =
                    if uuid { ", though an application can make such UUIDs too" } else { "" };
                format!("the SDK's: it has the form that {sdk} mints for one call{also}")
            }
            (Chosen::ByApplication, None) => {
                "the application's own: the User-Agent names no Stripe SDK".to_owned()
            }
            (Chosen::ByApplication, Some(_)) if by_sdk_alone => {
                "the application's own: a UUID, and the policy says uuid4_keys = \"own\"".to_owned()
            }
            (Chosen::ByApplication, Some(sdk)) => {
                format!("the application's own: it has not the form that {sdk} mints")
            }
        };
        page.say("client key", &format!("{whose} ({length} characters)"));
    }

    /// The kind of identity, and why none of the kinds before it.
    pub(super) fn identity(&self, page: &mut Page, kind: Kind) {
        page.say("identity", &format!("{}: {}", kind.as_str(), self.why(kind)));
        let order = [Kind::Header, Kind::Fields, Kind::OwnKey, Kind::Content, Kind::Call];
        for earlier in order.into_iter().take_while(|earlier| *earlier != kind) {
            page.say("", &format!("not {}: {}", earlier.as_str(), self.why_not(earlier)));
        }
    }

    /// With what it is merged, and for how long.
    pub(super) fn merging(&self, page: &mut Page, identified: &Identified) {
        let rule = self.rule;
        let window = show_duration(rule.repeat_window);
        let merge = match (identified.kind, identified.twins) {
            (Kind::Header | Kind::Fields, _) => {
                "with every request of this identity: it shares an answer on its way, and a success \
                 is replayed"
                    .to_owned()
            }
            (Kind::OwnKey, _) => "with every request that bears this key".to_owned(),
            (Kind::Content, true) if rule.repeat_window.is_zero() => {
                "twins: with an equal request in flight, or whose caller never got its answer"
                    .to_owned()
            }
            (Kind::Content, true) => format!(
                "twins: with an equal request in flight, or answered within the last {window}, or \
                 whose caller never got its answer"
            ),
            (Kind::Content, false) => {
                let but = match rule.merge {
                    Merge::Lost => "",
                    Merge::Twins => " (merge = \"twins\" does not hold for a UUIDv4 key)",
                };
                format!("lost: only with an equal request whose caller never got its answer{but}")
            }
            (Kind::Call, _) => "with nothing: each call is an operation of its own".to_owned(),
        };
        page.say("merged", &merge);
    }

    /// The operation id, and the key that Stripe would get.
    pub(super) fn keys(&self, page: &mut Page, identified: &Identified, from: &Keyed<'_>) {
        let id = hidden(&identified.operation.to_string(), from.placeholder);
        match (identified.kind, &self.reading.client_key) {
            (Kind::OwnKey, _) | (Kind::Call, Some(_)) => {
                page.say("operation id", &id);
                page.say("upstream key", "the client's, unchanged");
            }
            (Kind::Call, None) => {
                page.say("operation id", "a new one for each call");
                page.say("upstream key", "a fresh UUIDv4 for each call");
            }
            (Kind::Header | Kind::Fields | Kind::Content, _) => {
                page.say("operation id", &id);
                self.derived(page, identified, from);
            }
        }
    }

    /// The key of the operation's first occurrence in this epoch, and what it is derived from.
    fn derived(&self, page: &mut Page, identified: &Identified, from: &Keyed<'_>) {
        let (operation, now) = (&identified.operation, from.now);
        let retention = Retention::of(self.head.target.api());
        let epoch = retention.epoch_at(operation, now);
        let key = IdempotencyKey::derived(from.secret, operation, Occurrence::first(epoch));
        let key = hidden(key.as_str(), from.placeholder);
        let left = words::left(retention.epoch_end(operation, epoch).since(now));
        let when = format!("occurrence 0 of epoch {epoch}, which ends in {left}");
        page.say("upstream key", &format!("{key}, derived: {when}"));
        let mut scope = if from.configured { vec!["the configured secret"] } else { Vec::new() };
        scope.push("the API key");
        let names = ["stripe-account", "stripe-context"];
        scope.extend(names.into_iter().filter(|name| self.head.headers.contains_key(*name)));
        page.say("", &format!("both hang on {}", and(&scope)));
    }

    /// What the next request for the same comes to, after each outcome.
    pub(super) fn afterwards(&self, page: &mut Page, kind: Kind) {
        let safe = show_duration(Retention::of(self.head.target.api()).safe);
        let (success, decline, unknown) = match kind {
            Kind::Header | Kind::Fields => (
                format!("asked again: replayed; after {safe}: 409 payonce_already_done"),
                "asked again: sent anew under the next key, once the decline was delivered",
                format!("asked again: the same key; after {safe}: 409 until `payonce ops resolve`"),
            ),
            Kind::OwnKey => (
                format!("the same key again: replayed; after {safe}: 409 payonce_already_done"),
                "the same key again: sent again, and Stripe's word is handed on",
                format!(
                    "the same key again is safe; after {safe}: 409 until `payonce ops resolve`"
                ),
            ),
            Kind::Content => (
                "asked again: merged as said above, else a repeat under the next key".to_owned(),
                "asked again: sent anew under the next key, once the decline was delivered",
                format!("asked again: the same key, for {safe}; after that a new operation"),
            ),
            Kind::Call if self.reading.client_key.is_some() => (
                "handed on; only Stripe knows the key".to_owned(),
                "handed on",
                "504 that says so; only the same key again is safe, and an SDK makes a new one"
                    .to_owned(),
            ),
            Kind::Call => (
                "handed on; the same request again is another operation".to_owned(),
                "handed on; the same request again is another operation",
                "504 that says \"check before repeating\"; `payonce ops list` notes it".to_owned(),
            ),
        };
        page.say("on success", &success);
        page.say("on a decline", decline);
        page.say("if unknown", &unknown);
        // A call has no record: no saved 500 is held against the next, and no store is asked.
        if kind != Kind::Call {
            page.say(
                "saved 500",
                match self.rule.indeterminate {
                    Indeterminate::Hold => "held in doubt: the same key until a person resolves it",
                    Indeterminate::Next => {
                        "the next request is sent anew, at the risk of doing it twice"
                    }
                },
            );
            if let Some(finish) = self.rule.finish {
                let finish = show_duration(finish);
                page.say(
                    "finish",
                    &format!("if unknown, asked again for {finish} though nobody waits"),
                );
            }
            page.say(
                "store down",
                match self.rule.store_down {
                    StoreDown::Derive => "sent with the same key, and marked degraded",
                    StoreDown::Refuse => "503, and nothing is sent",
                },
            );
        }
    }

    fn why(&self, kind: Kind) -> String {
        match kind {
            Kind::Header => "the application names the operation with Payonce-Operation".to_owned(),
            Kind::Fields => format!("{} present", and(&self.identity_names())),
            Kind::OwnKey => "the application chose the Idempotency-Key".to_owned(),
            Kind::Content => {
                format!("everything it says, for it bears {}", and(&self.distinguishing(true)))
            }
            Kind::Call => "this call alone".to_owned(),
        }
    }

    fn why_not(&self, kind: Kind) -> String {
        match kind {
            Kind::Header => "no Payonce-Operation".to_owned(),
            Kind::Fields => match &self.rule.identity {
                IdentityRule::Call | IdentityRule::Content => {
                    "the rule names no identity fields".to_owned()
                }
                IdentityRule::Fields { .. } => {
                    let names = self.identity_names();
                    let missing = names.into_iter().filter(|name| self.value(name).is_none());
                    let missing: Vec<&str> = missing.collect();
                    format!("{} absent, empty or repeated", and(&missing))
                }
            },
            Kind::OwnKey => match self.reading.chosen {
                None => "no Idempotency-Key".to_owned(),
                Some(Chosen::BySdk { .. } | Chosen::ByApplication) => {
                    "the key is the SDK's".to_owned()
                }
            },
            Kind::Content if self.rule.uses_content() => {
                "none of the fields that distinguish one such request from another is there"
                    .to_owned()
            }
            Kind::Content => "the rule does not go by content".to_owned(),
            // It is the last, so that nothing comes after it.
            Kind::Call => String::new(),
        }
    }

    fn identity_names(&self) -> Vec<&str> {
        self.identity_patterns().iter().map(FieldPattern::as_str).collect()
    }

    /// The fields that have a role of their own under the rule.
    fn role_patterns(&self) -> impl Iterator<Item = &FieldPattern> {
        self.identity_patterns().iter().chain(&self.rule.distinguishes)
    }

    fn value(&self, name: &str) -> Option<&[u8]> {
        self.reading.content.get(name).filter(|value| !value.is_empty())
    }

    fn distinguishing(&self, present: bool) -> Vec<&str> {
        let content = &self.reading.content;
        let those = self.rule.distinguishes.iter().filter(|it| content.has(it) == present);
        those.map(FieldPattern::as_str).collect()
    }
}

fn role(page: &mut Page, label: &str, present: &[&str], absent: &[&str]) {
    let text = match (present, absent) {
        (present, []) => format!("present: {}", present.join(", ")),
        ([], absent) => format!("absent: {}", absent.join(", ")),
        (present, absent) => {
            format!("present: {}; absent: {}", present.join(", "), absent.join(", "))
        }
    };
    page.say(label, &text);
}

/// Name and length; never the value.
fn field(field: &Field) -> String {
    let value = match field.marker {
        Marker::Text | Marker::File if field.value.is_empty() => "empty".to_owned(),
        Marker::Text | Marker::File => format!("{} bytes", field.value.len()),
        Marker::Number => "a number".to_owned(),
        Marker::Bool => "true or false".to_owned(),
        Marker::Null => "null".to_owned(),
        Marker::EmptyObject => "{}".to_owned(),
        Marker::EmptyArray => "[]".to_owned(),
    };
    format!("{} ({value})", words::shown(&field.name))
}

fn and(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A placeholder's id or key is nobody's: enough of it to see that it stays the same.
fn hidden(text: &str, placeholder: bool) -> String {
    if placeholder {
        let some: String = text.chars().take(8).collect();
        format!("{some}… (the placeholder's)")
    } else {
        text.to_owned()
    }
}
