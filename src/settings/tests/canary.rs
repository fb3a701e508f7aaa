//! A secret in every place of the settings where it does not belong, one at a time: nothing that is
//! said of it shows it (I8).

use super::super::layers::{KNOWN, variable_of};
use super::*;

/// What is written, and what of it must be seen nowhere.
const CANARIES: [(&str, &str); 6] = [
    ("sk_live_51CanaryCanary0123456789", "CanaryCanary"),
    ("rk_test_4242424242424242", "42424242"),
    ("whsec_canary0canary0canary0", "canary0canary0"),
    ("redis://canary:hunter2-canary@store:6379", "hunter2"),
    ("kX9_canaryV2-7QmZt4Rw8Lp0Nd6Hs3Jb5Gy1Fc", "7QmZt4Rw8"),
    ("c0ffee5a69788796a5b4c3d2e1f0c0ffeec0ffee5a69788796a5b4c3d2e1f0c0", "ffee5a6978"),
];

/// No secret.
const PLACEHOLDER: &str = "[credential] placeholder";

/// Variables that hold a secret, or what stands for one, which may stand in the file too: they are
/// taken without a word.
const TAKES: [&str; 7] = [
    "admin.token",
    "credential.placeholder",
    PLACEHOLDER,
    "credential.value",
    "secret.value",
    "store.password",
    "store.sentinel_password",
];

/// Nothing that is said of these settings shows the canary; what Stripe calls a secret is refused.
#[track_caller]
fn silent(place: &str, (written, secret): (&str, &str), loaded: Result<Settings, Vec<Problem>>) {
    let said = match loaded {
        Ok(settings) => {
            let key = written.contains("k_") || written.contains("whsec_");
            assert!(!key || TAKES.contains(&place), "{written} is taken as {place}");
            let whole = if key && !place.ends_with("placeholder") {
                format!("{settings:?}")
            } else {
                String::new()
            };
            format!("{:?}{whole}", settings.warnings)
        }
        Err(problems) => {
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            format!("{problems:?}\n{}", told.join("\n"))
        }
    };
    assert!(!said.contains(secret), "{place} = {written}:\n{said}");
}

fn from_file(text: &str) -> Result<Settings, Vec<Problem>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Settings::load(Some(file.path()), [])
}

#[test]
fn a_secret_in_any_variable_is_not_shown() {
    for path in KNOWN {
        for canary in CANARIES {
            let loaded = Settings::load(None, [(variable_of(path).into(), canary.0.into())]);
            silent(path, canary, loaded);
        }
    }
    for canary in CANARIES {
        for name in [format!("PAYONCE_{}", canary.0), format!("PAYONCE_STORE__{}", canary.0)] {
            silent("a variable's name", canary, Settings::load(None, [(name.into(), "1".into())]));
        }
    }
}

#[test]
fn a_secret_in_any_place_of_the_file_is_not_shown() {
    for (n, path) in KNOWN.iter().enumerate() {
        let (section, key) = path.split_once('.').unwrap();
        let canary = CANARIES[n % CANARIES.len()];
        let (written, path) = (canary.0, format!("[{section}] {key}"));
        let path = path.as_str();
        for value in [
            format!("\"{written}\""),
            format!("[\"{written}\"]"),
            format!("{{ \"{written}\" = 1 }}"),
            format!("{{ a = \"{written}\" }}"),
            // No TOML at all.
            written.to_owned(),
        ] {
            silent(path, canary, from_file(&format!("[{section}]\n{key} = {value}\n")));
        }
        silent(path, canary, from_file(&format!("{section} = \"{written}\"\n")));
        silent(path, canary, from_file(&format!("[{section}]\n\"{written}\" = 1\n")));
    }
    for canary in CANARIES {
        let written = canary.0;
        silent("a section", canary, from_file(&format!("[\"{written}\"]\na = 1\n")));
        silent("no TOML", canary, from_file(written));
        silent("no file", canary, Settings::load(Some(written.as_ref()), []));
    }
}

#[test]
fn a_secret_in_any_place_of_an_endpoint_is_not_shown() {
    const FIELDS: [(&str, &str); 5] = [
        ("path", "\"/stripe\""),
        ("secret_files", "[\"/dev/null\"]"),
        ("forward", "\"http://127.0.0.1:3000/\""),
        ("account", "\"acct_1\""),
        ("api_keys", "[]"),
    ];
    for canary in CANARIES {
        let written = canary.0;
        let one = |name: &str, fields: &str| {
            from_file(&format!("[webhook.endpoints.\"{name}\"]\n{fields}\n"))
        };
        silent("an endpoint's name", canary, one(written, "path = \"/\""));
        silent("an endpoint's name", canary, one(&written.to_lowercase(), "path = \"/\""));
        for (field, _) in FIELDS {
            let others = FIELDS.iter().filter(|(name, _)| *name != field);
            let others: Vec<String> =
                others.map(|(name, value)| format!("{name} = {value}")).collect();
            for value in [format!("\"{written}\""), format!("[\"{written}\"]")] {
                let fields = format!("{}\n{field} = {value}", others.join("\n"));
                silent(field, canary, one("orders", &fields));
            }
        }
        silent("an endpoint's field", canary, one("orders", &format!("\"{written}\" = 1")));
    }
}

#[test]
fn a_secret_that_is_written_as_a_table_is_not_overlooked() {
    for (table, setting) in [
        ("[tracing]\nheaders = { authorization = \"Bearer a\" }", "tracing.headers"),
        ("[secret.value]\na = 1", "secret.value"),
    ] {
        let said = from_file(table).unwrap_err()[0].to_string();
        assert!(said.starts_with(setting) && said.contains("must not stand in"), "{said}");
    }
}

#[test]
fn what_is_harmless_is_said_as_it_was_written() {
    let said = |name: &str, value: &str| {
        let [problem] =
            Settings::load(None, [(name.into(), value.into())]).unwrap_err().try_into().unwrap();
        problem.to_string()
    };
    let kind = said("PAYONCE_STORE__KIND", "postgres");
    assert!(kind.contains("is \"postgres\" (from PAYONCE_STORE__KIND)"), "{kind}");
    let deadline = said("PAYONCE_RETRY__DEADLINE", "1 year");
    assert!(deadline.contains("is \"1 year\""), "{deadline}");
    let key = said("PAYONCE_LISTEN__CALLER", "sk_live_4242424242424242");
    assert!(key.contains("looks like an API key") && key.contains("roll it"), "{key}");
}
