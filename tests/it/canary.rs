//! A secret where it does not belong: in every place of a policy, in what is typed, one at a time. It is
//! looked for in everything that payonce says of it (I8).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "that is how a test fails"
)]

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use payonce::cli::{Check, check};
use payonce::decide::policy::Problem;
use payonce::policy_file::signature::TrustedKeys;
use payonce::policy_file::{self, SHIPPED, Why};
use payonce::settings::Settings;
use tempfile::TempDir;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::running::{Running, get, run, until, write};

/// What is written, and what of it must be seen nowhere.
const CANARIES: [(&str, &str); 6] = [
    ("sk_live_51CanaryCanary0123456789", "CanaryCanary"),
    ("rk_test_4242424242424242", "42424242"),
    ("whsec_canary0canary0canary0", "canary0canary0"),
    ("redis://canary:hunter2-canary@store:6379", "hunter2"),
    ("kX9_canaryV2-7QmZt4Rw8Lp0Nd6Hs3Jb5Gy1Fc", "7QmZt4Rw8"),
    ("c0ffee5a69788796a5b4c3d2e1f0c0ffeec0ffee5a69788796a5b4c3d2e1f0c0", "ffee5a6978"),
];

/// Every key that a policy can have.
const EVERYTHING: &str = r#"
version = 1
mode = "enforce"
default_writes = "critical"
uuid4_keys = "sdk"
record = "off"
allow = ["observe-mode: for a week"]

[guard]
api_keys = ["rk_live"]
api_keys_action = "warn"
environment = "live"
environment_action = "warn"
key_with_email = "warn"
key_with_card = "warn"
key_weak = "warn"
shortest_key = 16
key_reused = "warn"

[[scope]]
name = "shop"
keys = ["73475cb40a568e8da8a045ced110137e159f890ac4da883b6b17dc651b3a8049"]

[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
allow = ["unknown-field metadata[shop]: it is there"]
client_key = "optional"
require_field = ["amount"]
identity = ["metadata[order_id]"]
otherwise = "content"
distinguishes = ["customer"]
merge = "twins"
repeat_window = "30s"
store_down = "derive"
indeterminate = "hold"
finish = "5m"
mode = "enforce"

[[client]]
name = "old"
sdk = ["python"]
minimum = "12.0.0"
caller = ["batch"]
action = "warn"
message = "Please update."

[[client]]
name = "older"
sdk = "node"
from = "1.0.0"
below = "2.0.0"
action = "warn"

[[client]]
name = "oldest"
sdk = "*"
older_than = "12 months"
action = "warn"

[[test]]
request = "POST /v1/charges"
expect = { rule = "charges", class = "critical", identity = ["metadata[order_id]"] }
"#;

/// Where each name and each value of a TOML text stands.
fn places(text: &str) -> Vec<Range<usize>> {
    fn table(entries: &DeTable<'_>, found: &mut Vec<Range<usize>>) {
        for (key, value) in entries {
            found.push(key.span());
            within(value, found);
        }
    }
    fn within(value: &Spanned<DeValue<'_>>, found: &mut Vec<Range<usize>>) {
        found.push(value.span());
        match value.get_ref() {
            DeValue::Array(items) => items.iter().for_each(|item| within(item, found)),
            DeValue::Table(entries) => table(entries, found),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }
    let mut found = Vec::new();
    table(DeTable::parse(text).unwrap().get_ref(), &mut found);
    found
}

/// What is said of a policy with this text, by whatever reads one.
fn said(text: &str, canary: (&str, &str)) -> String {
    let read = policy_file::parse(Path::new("policy.toml"), text.as_bytes());
    let error = match read {
        Ok(policy) => {
            let key = canary.0.contains("k_") || canary.0.contains("whsec_");
            assert!(!key, "a policy with {} is taken:\n{text}", canary.0);
            let found = payonce::decide::policy::lint::findings(text, &policy, None);
            return told(&found);
        }
        Err(error) => error,
    };
    let Why::Problems(problems) = &error.why else { panic!("{error}") };
    format!("{error}\n{error:?}\n{}\n{}", error.summary(), told(problems))
}

fn told(problems: &[Problem]) -> String {
    let each = |it: &Problem| format!("{it}\n{it:?}\n{}\n{}\n{}", it.told(), it.what, it.mend);
    problems.iter().map(each).collect()
}

#[track_caller]
fn hidden(place: &str, (written, secret): (&str, &str), said: &str) {
    assert!(!said.contains(secret), "{written} in {place}:\n{said}");
}

#[test]
fn a_secret_in_any_place_of_a_policy_with_everything_is_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.toml");
    let settings = Settings::load(None, []).unwrap();
    policy_file::parse(&file, EVERYTHING.as_bytes()).unwrap();
    for place in places(EVERYTHING) {
        for canary in CANARIES {
            for written in [format!("\"{}\"", canary.0), canary.0.to_owned()] {
                let (before, after) = (&EVERYTHING[..place.start], &EVERYTHING[place.end..]);
                let text = format!("{before}{written}{after}");
                hidden(before, canary, &said(&text, canary));
                fs::write(&file, &text).unwrap();
                for json in [false, true] {
                    let policy = Some(file.clone());
                    let args = Check { policy, json, ..Check::default() };
                    let mut out = Vec::new();
                    check::run(&args, &settings, &mut out).unwrap();
                    hidden(before, canary, &String::from_utf8(out).unwrap());
                }
            }
        }
    }
}

#[test]
fn a_secret_in_any_place_of_the_shipped_policy_is_not_shown() {
    for (n, place) in places(SHIPPED).into_iter().enumerate() {
        let canary = CANARIES[n % CANARIES.len()];
        let (before, after) = (&SHIPPED[..place.start], &SHIPPED[place.end..]);
        let text = format!("{before}\"{}\"{after}", canary.0);
        let line = before.lines().count();
        hidden(&format!("line {line}"), canary, &said(&text, canary));
    }
}

#[test]
fn a_secret_in_the_name_of_a_policy_is_not_shown() {
    let key = include_str!("../fixtures/signed/first.pub").lines().nth(1).unwrap();
    let trusted = TrustedKeys::parse(key).unwrap();
    let directory = tempfile::tempdir().unwrap();
    for canary in CANARIES {
        let file = directory.path().join(canary.0.replace('/', "-"));
        let absent = policy_file::read(&file).unwrap_err();
        fs::write(&file, "version = 2").unwrap();
        let bad = policy_file::read(&file).unwrap_err();
        let unsigned = policy_file::read_signed(&file, &trusted).unwrap_err();
        for error in [absent, bad, unsigned] {
            let said = format!("{error}\n{error:?}\n{}", error.summary());
            // Of a URL in a path, only its slashes are left.
            if !canary.0.contains("://") {
                hidden("a path", canary, &said);
            }
        }
    }
}

#[test]
fn a_secret_on_the_command_line_is_not_said_again() {
    for canary in CANARIES {
        let written = canary.0;
        for line in [
            &[written][..],
            &["check", written],
            &["check", "--settings", written],
            &["check", "--jsonn", written],
            &["explain", written],
            &["explain", "POST /v1/charges", "--policy", written],
            &["report", "--file", written],
            &["policy", "audit", written],
            &["ops", "search", "--older", written],
            &["webhook", "sign", "--secret", written],
            &["webhook", "sign", written],
            &["webhook", "sign", "--secret-file", written],
            &["serve", written],
        ] {
            let ended = run(line, &[]);
            assert_ne!(ended.code, Some(0), "{line:?}");
            hidden(&format!("{line:?}"), canary, &format!("{}\n{}", ended.out, ended.err));
        }
    }
}

#[test]
fn a_secret_in_a_policy_that_a_running_payonce_refuses_is_in_no_answer_no_line_and_no_log() {
    let directory = Arc::new(TempDir::new().unwrap());
    write(directory.path(), "policy.toml", "version = 1\n");
    let env = [
        ("PAYONCE_POLICY__PATH", "policy.toml"),
        ("PAYONCE_POLICY__AUDIT_LOG", "audit.ndjson"),
        ("PAYONCE_POLICY__REFRESH", "1s"),
    ];
    let payonce = Running::serve_in(Arc::clone(&directory), &["--sandbox"], &env);
    let mut pages = Vec::new();
    for (written, _) in CANARIES {
        let text = format!("version = 1\n[guard]\napi_keys = [\"{written}\"]\n\"{written}\" = 1\n");
        write(directory.path(), "policy.toml", &text);
        let version = payonce::decide::policy::version_of(text.as_bytes());
        let refused = format!("policy_refused: version {version}");
        let ready = until(payonce.health(), "/readyz", |it| it.body.contains(&refused));
        assert!(ready.body.contains("is no kind of API key"), "{ready:?}");
        pages.push(ready.body);
        pages.push(get(payonce.health(), "/metrics").body);
    }
    payonce.signal("TERM");
    let (code, lines) = payonce.ended();
    assert_eq!(code, Some(0));
    let audit = fs::read_to_string(directory.path().join("audit.ndjson")).unwrap();
    assert_eq!(audit.matches("\"refused\"").count(), CANARIES.len(), "{audit}");
    let refused = lines.iter().filter(|line| line.contains("the new policy is refused"));
    assert!(refused.count() >= CANARIES.len(), "{lines:#?}");
    for canary in CANARIES {
        hidden("the answers", canary, &pages.join("\n"));
        hidden("the log", canary, &lines.join("\n"));
        hidden("the audit log", canary, &audit);
    }
}
