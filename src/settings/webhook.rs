//! The settings of the webhook listener: `[webhook]`, and a table for each endpoint.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use config::ValueKind;

use super::checked::ca_file;
use super::reader::Reader;
use super::{Webhook, WebhookEndpoint};
use crate::decide::digest::ApiKeyDigest;
use crate::decide::path::Target;
use crate::webhook::application::Forward;
use crate::webhook::{ranges, secrets};

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
mod tests {
    use super::super::*;

    const SECRET: &str = "whsec_of_the_settings_test";

    struct Case {
        dir: tempfile::TempDir,
    }

    impl Case {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("whsec"), SECRET).unwrap();
            Self { dir }
        }

        /// One endpoint, with these lines beside or instead.
        fn load(&self, section: &str, endpoint: &str) -> Result<Settings, Vec<String>> {
            let mut fields = vec![
                ("path", "\"/stripe\"".to_owned()),
                ("secret_files", format!("[{:?}]", self.dir.path().join("whsec"))),
                ("forward", "\"http://127.0.0.1:3000/hooks\"".to_owned()),
            ];
            let own = |line: &&str| !line.starts_with('[');
            let instead: Vec<_> = endpoint.lines().take_while(own).collect();
            fields.retain(|(name, _)| !instead.iter().any(|line| line.starts_with(name)));
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            let fields = fields.join("\n");
            let text = format!(
                "[webhook]\nlisten = \"127.0.0.1:8423\"\n{section}\n[webhook.endpoints.orders]\n{fields}\n{endpoint}\n"
            );
            let file = self.dir.path().join("payonce.toml");
            std::fs::write(&file, text).unwrap();
            Settings::load(Some(&file), []).map_err(|problems| {
                problems.iter().map(|it| format!("{}: {}", it.path, it.what)).collect()
            })
        }
    }

    #[test]
    fn an_endpoint_is_read_with_its_path_secrets_application_and_scope() {
        let digest = "00112233445566ff".repeat(4);
        let extra = format!("account = \"acct_1\"\napi_keys = [\"{digest}\"]");
        let webhook = Case::new().load("tolerance = \"10s\"", &extra).unwrap().webhook;
        let endpoint = &webhook.endpoints[0];
        assert_eq!((endpoint.name.as_str(), endpoint.path.as_str()), ("orders", "/stripe"));
        assert_eq!(endpoint.forward.to_string(), "http://127.0.0.1:3000/hooks");
        assert_eq!(endpoint.account.as_deref(), Some("acct_1"));
        assert_eq!(endpoint.api_keys[0].hint().to_string(), "00112233445566ff");
        assert_eq!(webhook.tolerance, Duration::from_secs(10));
        assert!(webhook.remember >= Duration::from_hours(72));
        assert!(webhook.listen.is_some() && !format!("{webhook:?}").contains(SECRET));
    }

    #[test]
    fn nothing_listens_for_webhooks_by_itself() {
        let settings = Settings::load(None, []).unwrap();
        assert!(settings.webhook.listen.is_none() && settings.webhook.endpoints.is_empty());
    }

    #[test]
    fn each_thing_that_is_wrong_is_named_by_its_dotted_path() {
        let case = Case::new();
        for (section, endpoint, said) in [
            ("tolerance = \"0s\"", "", "webhook.tolerance: must be at least 1s, is 0ms"),
            ("remember = \"2d\"", "", "webhook.remember: must be at least 3d, is 2d"),
            ("", "path = \"stripe\"", "webhook.endpoints.orders.path: is no path"),
            ("", "path = \"/a?b\"", "webhook.endpoints.orders.path: must have no query"),
            ("", "path = 1", "webhook.endpoints.orders.path: must be the path"),
            ("", "forward = \"app:1/x\"", "webhook.endpoints.orders.forward: must begin with"),
            ("", "secret_files = []", "webhook.endpoints.orders.secret_files: must be a list"),
            (
                "",
                "secret_files = [\"/no/file\"]",
                "webhook.endpoints.orders.secret_files: /no/file",
            ),
            ("", "api_keys = [\"sk_x\"]", "webhook.endpoints.orders.api_keys: must be a list"),
            ("", "account = \"\"", "webhook.endpoints.orders.account: must be an account"),
            ("", "secret = \"x\"", "webhook.endpoints.orders.secret: is no setting of payonce"),
            ("source_ranges_file = \"/no/ips\"", "", "webhook.source_ranges_file: /no/ips"),
        ] {
            let problems = case.load(section, endpoint).unwrap_err();
            let one = problems.iter().any(|problem| problem.starts_with(said));
            assert!(one && problems.len() == 1, "{said}: {problems:?}");
        }
    }

    #[test]
    fn two_endpoints_do_not_share_a_path_and_a_name_is_plain() {
        let case = Case::new();
        let other = |name: &str, path: &str| {
            let secret = case.dir.path().join("whsec");
            let forward = "http://127.0.0.1:1/";
            let fields =
                format!("path = {path:?}\nsecret_files = [{secret:?}]\nforward = {forward:?}");
            case.load("", &format!("[webhook.endpoints.{name}]\n{fields}"))
        };
        assert_eq!(other("ledger", "/other").unwrap().webhook.endpoints.len(), 2);
        let problems = other("zebra", "/stripe").unwrap_err();
        assert!(
            problems[0].starts_with("webhook.endpoints.zebra.path: must be another"),
            "{problems:?}"
        );
        let problems = other("\"a b\"", "/other").unwrap_err();
        assert!(problems[0].contains("must be named"), "{problems:?}");
    }

    #[test]
    fn a_listener_without_endpoints_or_on_a_taken_port_is_refused() {
        let said = |toml: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), toml).unwrap();
            let problems = Settings::load(Some(file.path()), []).unwrap_err();
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert!(said("[webhook]\nlisten = \"127.0.0.1:8423\"").contains("at least one endpoint"));
        let both = said("[webhook]\nlisten = \"127.0.0.1:8420\"\nendpoints = 1");
        assert!(
            both.contains("webhook.listen: must not share its port with listen.proxy"),
            "{both}"
        );
        assert!(both.contains("webhook.endpoints: must be tables"), "{both}");
    }

    #[test]
    fn an_application_across_the_network_without_tls_is_said_aloud() {
        let case = Case::new();
        let warnings = |forward: &str| {
            let settings = case.load("", &format!("forward = {forward:?}")).unwrap();
            settings.warnings.iter().filter(|said| said.contains("webhook")).count()
        };
        assert_eq!(warnings("http://app.internal:3000/hooks"), 1);
        assert_eq!(warnings("http://localhost:3000/hooks"), 0);
        assert_eq!(warnings("https://app.internal/hooks"), 0);
    }
}
