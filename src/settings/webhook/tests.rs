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
        ("", "secret_files = [\"/no/file\"]", "webhook.endpoints.orders.secret_files: /no/file"),
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
        let fields = format!("path = {path:?}\nsecret_files = [{secret:?}]\nforward = {forward:?}");
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
    assert!(both.contains("webhook.listen: must not share its port with listen.proxy"), "{both}");
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
