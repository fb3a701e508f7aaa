//! The defaults, and the file that ships with payonce, which explains each setting.

use super::*;

#[test]
fn the_defaults_are_sound_and_are_those_of_the_shipped_file() {
    let settings = Settings::load(None, []).unwrap();
    assert_eq!(settings.listen.proxy.unwrap().to_string(), "127.0.0.1:8420");
    assert_eq!(settings.listen.admin.unwrap().to_string(), "127.0.0.1:8421");
    assert_eq!(settings.listen.health.unwrap().to_string(), "0.0.0.0:8422");
    assert_eq!(settings.upstream.api, "https://api.stripe.com");
    assert_eq!(settings.upstream.provider_host, "api.stripe.com");
    assert_eq!(settings.retry.deadline, Duration::from_secs(70));
    assert_eq!(settings.retry.attempt_timeout, Duration::from_secs(40));
    assert_eq!(settings.retry.max_attempts, 4);
    assert_eq!(settings.limits.body, 1 << 20);
    assert_eq!(settings.store.kind, StoreKind::Embedded);
    assert!(settings.secret.is_none() && settings.policy.path.is_none());
    assert_eq!(settings.warnings.len(), 1, "{:?}", settings.warnings);
}

#[test]
fn every_setting_is_read_and_is_in_the_shipped_file() {
    let (layers, problems) = layers::Layers::merge(None, []);
    assert_eq!(problems, []);
    let mut reader = reader::Reader::new(layers, problems);
    checked::read(&mut reader);
    let known: std::collections::BTreeSet<_> = layers::KNOWN.iter().copied().collect();
    assert_eq!(reader.asked, known);
    for path in known {
        let (section, name) = path.split_once('.').unwrap();
        let text = layers::DEFAULTS.split(&format!("[{section}]\n")).nth(1).expect(section);
        let text = text.split("\n[").next().unwrap();
        let written = text.lines().any(|line| {
            line.trim_start_matches("# ").split_once(" = ").is_some_and(|(left, _)| left == name)
        });
        assert!(written || text.contains(&layers::variable_of(path)), "{path}");
    }
}

#[test]
fn a_commented_out_example_of_the_shipped_file_is_a_setting_that_works() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    let pem = dir.path().join("ca.pem");
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/config/sdk-releases.tsv");
    std::fs::write(&secret, SECRET).unwrap();
    let other = dir.path().join("other");
    std::fs::write(&other, SECRET.to_uppercase()).unwrap();
    std::fs::write(&pem, "-----BEGIN CERTIFICATE-----").unwrap();
    let ranges = dir.path().join("ips.txt");
    std::fs::write(&ranges, "192.0.2.7\n").unwrap();
    let headers = dir.path().join("headers");
    std::fs::write(&headers, "api-key: 1\n").unwrap();
    let mut text = String::new();
    for line in layers::DEFAULTS.lines() {
        let example = line
            .strip_prefix("# ")
            .filter(|rest| rest.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')));
        let line = match example.map(|rest| rest.split_once(" = ").unwrap()) {
            Some(("ca_file", _)) => format!("ca_file = {pem:?}"),
            Some(("releases", _)) => format!("releases = {table:?}"),
            Some(("source_ranges_file", _)) => format!("source_ranges_file = {ranges:?}"),
            Some((
                name @ ("file" | "token_file" | "password_file" | "sentinel_password_file"),
                _,
            )) => format!("{name} = {secret:?}"),
            Some(("other_files", _)) => format!("other_files = {other:?}"),
            // Without the feature it is an error, which has a test of its own.
            Some(("otlp_endpoint" | "headers_file", _)) if !cfg!(feature = "otlp") => String::new(),
            Some(("headers_file", _)) => format!("headers_file = {headers:?}"),
            Some((name, value)) => format!("{name} = {value}"),
            None => line.to_owned(),
        };
        writeln!(text, "{line}").unwrap();
    }
    let settings = load(&text, &[]).unwrap();
    assert!(settings.secret.is_some() && settings.listen.unix_socket.is_some());
    assert!(settings.upstream.egress_proxy.is_some() && settings.policy.path.is_some());
}
