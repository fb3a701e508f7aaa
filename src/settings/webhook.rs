//! The settings of the webhook listener: `[webhook]`, and a table for each endpoint.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use config::ValueKind;

use super::checked::ca_file;
use super::reader::Reader;
use crate::decide::digest::ApiKeyDigest;
use crate::decide::path::Target;
use crate::webhook::application::Forward;
use crate::webhook::{ranges, secrets};

/// What stands before the application's webhooks. If it listens, it has an endpoint.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where Stripe's events arrive.
    pub listen: Option<SocketAddr>,
    /// How far a signature's time may be from now, either way; more than nothing.
    pub tolerance: Duration,
    /// Bytes of an event.
    pub body: usize,
    /// For the application's answer.
    pub timeout: Duration,
    /// For a connection to it, TLS included.
    pub connect_timeout: Duration,
    /// How long it is known that an event was handled; at least as long as Stripe comes again.
    pub remember: Duration,
    /// How often the files below are read again unasked.
    pub refresh: Duration,
    /// From where events may come; it could be read.
    pub source_ranges_file: Option<PathBuf>,
    /// Trusted instead of the platform's authorities. PEM; it could be read.
    pub ca_file: Option<PathBuf>,
    /// Where events go, by their path; no two have the same.
    pub endpoints: Vec<WebhookEndpoint>,
}

/// One endpoint, as it is registered with Stripe.
#[derive(Clone, Debug)]
pub struct WebhookEndpoint {
    /// What it is called; plain.
    pub name: String,
    /// The path that Stripe sends to.
    pub path: String,
    /// Files of the secrets that Stripe signs with; they could be read.
    pub secret_files: Vec<PathBuf>,
    /// The application.
    pub forward: Forward,
    /// The account that it is registered in.
    pub account: Option<String>,
    /// That account's API keys.
    pub api_keys: Vec<ApiKeyDigest>,
}

const ENDPOINTS: &str = "webhook.endpoints";
const RANGES: &str = "webhook.source_ranges_file";
const FIELDS: &str = "path, secret_files, forward, account, api_keys";
/// A name goes into a header, a log and a metric.
const LONGEST_NAME: usize = 40;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
/// Stripe comes again for so long (FACTS §4).
const REDELIVERY: Duration = Duration::from_hours(72);

/// Reads them.
pub(super) fn webhook(r: &mut Reader) -> Webhook {
    let ranges = r.path(RANGES);
    if let Some(Err(error)) = ranges.as_deref().map(ranges::read) {
        r.refuse(RANGES, error.to_string());
    }
    Webhook {
        listen: r.address("webhook.listen"),
        tolerance: r.duration("webhook.tolerance", SECOND..=DAY),
        body: r.size("webhook.body", 1024..=64 << 20),
        timeout: r.duration("webhook.timeout", Duration::from_millis(1)..=60 * SECOND),
        connect_timeout: r
            .duration("webhook.connect_timeout", Duration::from_millis(1)..=60 * SECOND),
        remember: r.duration("webhook.remember", REDELIVERY..=30 * DAY),
        refresh: r.duration("webhook.refresh", SECOND..=3600 * SECOND),
        source_ranges_file: ranges,
        ca_file: ca_file(r, "webhook.ca_file"),
        endpoints: endpoints(r),
    }
}

fn endpoints(r: &mut Reader) -> Vec<WebhookEndpoint> {
    let mut all: Vec<WebhookEndpoint> = Vec::new();
    for (name, fields) in r.tables(ENDPOINTS) {
        let plain =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(plain) {
            let what = "must be named with at most 40 of a-z, 0-9, - and _";
            r.refuse(&format!("{ENDPOINTS}.{name}"), what);
            continue;
        }
        let Some(endpoint) = Table { r: &mut *r, name, fields }.endpoint() else { continue };
        if let Some(earlier) = all.iter().find(|earlier| earlier.path == endpoint.path) {
            let what = format!("must be another than that of {ENDPOINTS}.{}", earlier.name);
            r.refuse(&format!("{ENDPOINTS}.{}.path", endpoint.name), what);
        }
        all.push(endpoint);
    }
    all
}

/// One endpoint as it stands in the file.
struct Table<'a> {
    r: &'a mut Reader,
    name: String,
    fields: BTreeMap<String, ValueKind>,
}

impl Table<'_> {
    /// `None` if anything is wrong, which is noted.
    fn endpoint(mut self) -> Option<WebhookEndpoint> {
        let path = self.text("path", "the path that Stripe sends to, such as \"/stripe/orders\"");
        let path = path.and_then(|path| self.path(path));
        let files = self.list("secret_files", "a list of files, each with secrets, one a line");
        let files = files.and_then(|files| self.secrets(&files));
        let forward = self
            .text("forward", "the application's URL, such as \"http://127.0.0.1:3000/webhooks\"");
        let forward = forward.and_then(|text| match Forward::parse(&text) {
            Ok(forward) => Some(forward),
            Err(why) => self.refuse("forward", &why.to_string()),
        });
        let set = |this: &Self, key: &str| this.fields.contains_key(key);
        let account = if set(&self, "account") {
            Some(self.text("account", "an account, such as \"acct_…\"")?)
        } else {
            None
        };
        let api_keys = if set(&self, "api_keys") { self.api_keys()? } else { Vec::new() };
        let strange: Vec<String> = self.fields.keys().filter(|key| !known(key)).cloned().collect();
        for key in &strange {
            let what = format!("is no setting of payonce; an endpoint has {FIELDS}");
            self.refuse::<()>(key, &what);
        }
        Some(WebhookEndpoint {
            name: self.name,
            path: path?,
            secret_files: files?,
            forward: forward?,
            account,
            api_keys,
        })
    }

    fn path(&mut self, path: String) -> Option<String> {
        match Target::parse(&path) {
            Ok(target) if target.query().is_none() => Some(path),
            Ok(_with_query) => self.refuse("path", "must have no query: it matches with any"),
            Err(why) => self.refuse("path", &format!("is no path: {why}")),
        }
    }

    fn secrets(&mut self, files: &[String]) -> Option<Vec<PathBuf>> {
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        match secrets::read(&files) {
            Ok(_secrets) => Some(files),
            Err(error) => self.refuse("secret_files", &error.to_string()),
        }
    }

    fn api_keys(&mut self) -> Option<Vec<ApiKeyDigest>> {
        const FORM: &str = "a list of the SHA-256 of API keys (printf %s \"$KEY\" | sha256sum)";
        let texts = self.list("api_keys", FORM)?;
        let digests: Result<Vec<ApiKeyDigest>, _> = texts.iter().map(|text| text.parse()).collect();
        match digests {
            Ok(digests) => Some(digests),
            // Not quoted back: somebody may have put the key itself there.
            Err(_not_hex) => self.refuse("api_keys", &format!("must be {FORM}")),
        }
    }

    fn text(&mut self, key: &str, form: &str) -> Option<String> {
        match self.fields.get(key) {
            Some(ValueKind::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(_) | None => self.refuse(key, &format!("must be {form}")),
        }
    }

    /// A list of texts that is not empty.
    fn list(&mut self, key: &str, form: &str) -> Option<Vec<String>> {
        let texts = match self.fields.get(key) {
            Some(ValueKind::Array(values)) => values
                .iter()
                .map(|value| value.clone().into_string().ok().filter(|text| !text.is_empty()))
                .collect(),
            Some(_) | None => None,
        };
        match texts {
            Some(texts) if !Vec::is_empty(&texts) => Some(texts),
            Some(_) | None => self.refuse(key, &format!("must be {form}")),
        }
    }

    fn refuse<T>(&mut self, key: &str, what: &str) -> Option<T> {
        self.r.refuse(&format!("{ENDPOINTS}.{}.{key}", self.name), what);
        None
    }
}

fn known(key: &str) -> bool {
    FIELDS.split(", ").any(|field| field == key)
}

/// What must hold between them.
pub(super) fn relations(r: &mut Reader, s: &Webhook) {
    // One that is wrong is there all the same.
    let deaf = s.listen.is_none() || r.is_table(ENDPOINTS);
    let what = "needs at least one endpoint: write [webhook.endpoints.NAME]";
    r.require("webhook.listen", &[ENDPOINTS], deaf, what.to_owned());
}

/// What should be said aloud.
pub(super) fn warnings(s: &Webhook) -> Vec<String> {
    use crate::upstream::origin::Scheme;
    let mut said = Vec::new();
    if s.listen.is_none() && !s.endpoints.is_empty() {
        said.push("webhook.endpoints are set, but webhook.listen is off".to_owned());
    }
    for WebhookEndpoint { name, forward, .. } in &s.endpoints {
        if forward.origin.scheme() == Scheme::Http && !forward.origin.is_loopback() {
            said.push(format!(
                "webhook.endpoints.{name}.forward is {}: events cross the network in plain text",
                forward.origin
            ));
        }
    }
    said
}

#[cfg(test)]
mod tests;
