//! Who vouches for a policy, what is written down of its loads, and where its version shows.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how a test fails"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use payonce::audit::{AuditLog, Entry, Event, Recorder, RuleCount, Verdict, chain};
use payonce::clock::{Clock, Timestamp};
use payonce::decide::policy::hash_of;
use payonce::ledger::memory::Memory;
use payonce::ledger::{self, Ledger, RecordId};
use payonce::metrics::Metrics;
use payonce::policy_file::signature::{BadSignature, TrustedKeys, beside};
use payonce::policy_file::{PolicyFile, Reloaded, Why};
use tempfile::TempDir;

use super::running::{CHARGE, Running, get, post, run_in, until, write};

const ONE: &str = include_str!("../fixtures/signed/one.toml");
const TWO: &str = include_str!("../fixtures/signed/two.toml");
const BROKEN: &str = "version = 1\nmode = \"watch\"\n";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/signed").join(name)
}

/// The public key of that name.
fn key(name: &str) -> String {
    fs::read_to_string(fixture(name)).unwrap().lines().nth(1).unwrap().to_owned()
}

/// Puts a signed policy where payonce reads it: the policy, then its signature.
fn put(path: &Path, name: &str) {
    fs::copy(fixture(name), path).unwrap();
    sign(path, name);
}

fn sign(path: &Path, name: &str) {
    fs::copy(beside(&fixture(name)), beside(path)).unwrap();
}

fn signed(path: &Path, keys: &[&str]) -> Result<PolicyFile, Why> {
    let keys: Vec<String> = keys.iter().map(|name| key(name)).collect();
    let trusted = TrustedKeys::parse(&keys.join(",")).unwrap();
    PolicyFile::load_signed(path, trusted, Clock::System, Box::new(|_policy| Ok(())))
        .map_err(|error| error.why)
}

fn refused(file: &PolicyFile) -> Why {
    file.status().refused.unwrap().error.why
}

#[tokio::test]
async fn a_policy_is_taken_only_with_its_signature_by_a_trusted_key() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("policy.toml");
    put(&path, "one.toml");
    let file = signed(&path, &["first.pub", "second.pub"]).unwrap();
    assert!(file.status().signed.unwrap().comment.contains("file:one.toml"));
    // The policy comes before its signature, as with a plain copy of both.
    fs::copy(fixture("two.toml"), &path).unwrap();
    assert_eq!(file.reload().await, Reloaded::Refused);
    assert!(matches!(refused(&file), Why::Signature(BadSignature::DoesNotHold(_))));
    assert_eq!(file.current().hash(), hash_of(ONE.as_bytes()));
    sign(&path, "two.toml");
    assert_eq!(file.reload().await, Reloaded::Taken);
    assert_eq!(file.current().hash(), hash_of(TWO.as_bytes()));
    assert_eq!(file.status().signed.unwrap().comment, "reviewed by two people");
    put(&path, "stranger.toml");
    assert_eq!(file.reload().await, Reloaded::Refused);
    assert!(matches!(refused(&file), Why::Signature(BadSignature::UnknownKey(_))));
    fs::remove_file(beside(&path)).unwrap();
    assert_eq!(file.reload().await, Reloaded::Refused);
    let Why::Signature(BadSignature::Missing { at, .. }) = refused(&file) else { panic!() };
    assert_eq!(at, beside(&path));
    put(&path, "two.toml");
    assert_eq!(file.reload().await, Reloaded::Mended);
    assert!(file.status().refused.is_none());
}

#[tokio::test]
async fn the_policy_in_force_is_shown_when_it_loses_its_signature() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("policy.toml");
    put(&path, "one.toml");
    let file = signed(&path, &["first.pub"]).unwrap();
    fs::remove_file(beside(&path)).unwrap();
    assert_eq!(file.reload().await, Reloaded::Refused);
    assert_eq!(file.current().hash(), hash_of(ONE.as_bytes()));
    sign(&path, "one.toml");
    assert_eq!(file.reload().await, Reloaded::Mended);
}

#[test]
fn no_start_without_a_signature_and_none_is_asked_for_without_keys() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("policy.toml");
    put(&path, "one.toml");
    for keys in [&["first.pub"][..], &["second.pub", "first.pub"]] {
        assert!(signed(&path, keys).is_ok());
    }
    let by_another = signed(&path, &["second.pub"]).unwrap_err();
    assert!(matches!(by_another, Why::Signature(BadSignature::UnknownKey(_))));
    fs::remove_file(beside(&path)).unwrap();
    let missing = signed(&path, &["first.pub"]).unwrap_err();
    assert!(matches!(missing, Why::Signature(BadSignature::Missing { .. })));
    // Nothing is said of what nobody vouches for.
    fs::write(&path, BROKEN).unwrap();
    let missing = signed(&path, &["first.pub"]).unwrap_err();
    assert!(matches!(missing, Why::Signature(BadSignature::Missing { .. })));
    // A pipe in place of the signature would hold up the start.
    fs::create_dir(beside(&path)).unwrap();
    assert!(signed(&path, &["first.pub"]).is_err());
    fs::copy(fixture("one.toml"), &path).unwrap();
    assert!(PolicyFile::load(&path, Clock::System, Box::new(|_policy| Ok(()))).is_ok());
}

#[tokio::test]
async fn a_config_map_that_holds_policy_and_signature_is_followed() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    for (turn, name) in [("..1", "one.toml"), ("..2", "two.toml")] {
        fs::create_dir(at(turn)).unwrap();
        put(&at(turn).join("policy.toml"), name);
    }
    symlink("..1", at("..data")).unwrap();
    for name in ["policy.toml", "policy.toml.minisig"] {
        symlink(Path::new("..data").join(name), at(name)).unwrap();
    }
    let file = signed(&at("policy.toml"), &["first.pub", "second.pub"]).unwrap();
    symlink("..2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    assert_eq!(file.reload().await, Reloaded::Taken);
    assert_eq!(file.current().hash(), hash_of(TWO.as_bytes()));
}

/// A policy file whose loads are recorded, with a ledger beside it.
struct Audited {
    directory: TempDir,
    file: PolicyFile,
    ledger: Arc<Memory>,
    metrics: Metrics,
}

impl Audited {
    async fn start(required: bool) -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("policy.toml"), ONE).unwrap();
        let accept = Box::new(|_policy: &_| Ok(()));
        let path = directory.path().join("policy.toml");
        let file = PolicyFile::load(&path, Clock::System, accept).unwrap();
        let ledger = Arc::new(Memory::new(Clock::System, 100));
        let this = Self { directory, file, ledger, metrics: Metrics::new() };
        this.file.witnessed_by(Box::new(this.recorder(required))).await.unwrap();
        this
    }

    fn recorder(&self, required: bool) -> Recorder<Arc<Memory>> {
        Recorder {
            log: AuditLog::at(&self.log(), Clock::System),
            required,
            ledger: Arc::clone(&self.ledger),
            metrics: self.metrics.clone(),
            clock: Clock::System,
        }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("audit.ndjson")
    }

    async fn edit(&self, text: &str) -> Reloaded {
        fs::write(self.directory.path().join("policy.toml"), text).unwrap();
        self.file.reload().await
    }

    /// What the log says; its lines are in order.
    fn entries(&self) -> Vec<Entry> {
        let (sound, entries) = looked_through(&self.log());
        assert!(sound);
        entries
    }
}

fn looked_through(log: &Path) -> (bool, Vec<Entry>) {
    let mut entries = Vec::new();
    let log = fs::read(log).unwrap();
    let sound = chain::verify(&log[..], |line| {
        entries.extend(line.entry.as_deref().cloned());
        Ok(())
    });
    (sound.unwrap(), entries)
}

#[tokio::test]
async fn every_load_leaves_a_line_whether_it_was_taken_or_not() {
    let audited = Audited::start(false).await;
    assert_eq!(audited.edit(TWO).await, Reloaded::Taken);
    assert_eq!(audited.edit(BROKEN).await, Reloaded::Refused);
    assert_eq!(audited.edit(TWO).await, Reloaded::Mended);
    // What is found again is no load.
    assert_eq!(audited.edit(TWO).await, Reloaded::Unchanged);
    let entries = audited.entries();
    let hash = |text: &str| Some(hash_of(text.as_bytes()));
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (entry.event, entry.verdict, entry.hash.clone(), entry.previous.clone()))
        .collect();
    assert_eq!(
        told,
        [
            (Event::Start, Verdict::Taken, hash(ONE), None),
            (Event::Reload, Verdict::Taken, hash(TWO), hash(ONE)),
            (Event::Reload, Verdict::Refused, hash(BROKEN), hash(TWO)),
            (Event::Reload, Verdict::Mended, hash(TWO), hash(TWO)),
        ]
    );
    assert_eq!((entries[2].problems, entries[1].rules), (1, Some(1)));
    let problem = entries[2].problem.clone().unwrap();
    assert!(problem.contains("line 2") && problem.contains("unknown `mode`"), "{problem}");
    for entry in &entries {
        assert_eq!(entry.payonce, env!("CARGO_PKG_VERSION"));
        assert_eq!(entry.pid, std::process::id());
        assert!(entry.time.starts_with("20") && entry.time.ends_with('Z'), "{}", entry.time);
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_a_load_only_where_the_settings_say_so() {
    for required in [false, true] {
        let audited = Audited::start(required).await;
        fs::rename(audited.log(), audited.directory.path().join("kept")).unwrap();
        fs::create_dir(audited.log()).unwrap();
        let taken = if required { Reloaded::Refused } else { Reloaded::Taken };
        assert_eq!(audited.edit(TWO).await, taken);
        let page = audited.metrics.encode();
        assert!(page.contains("payonce_policy_audit_failed_total 1"), "{page}");
        if required {
            assert!(matches!(refused(&audited.file), Why::Unrecorded(_)));
            assert_eq!(audited.file.current().hash(), hash_of(ONE.as_bytes()));
            // Once it can be written, the next look takes what the file holds.
            fs::remove_dir(audited.log()).unwrap();
            assert_eq!(audited.file.reload().await, Reloaded::Taken);
            assert_eq!(audited.entries().len(), 1);
        }
        let elsewhere = audited.recorder(required).log;
        drop(elsewhere);
        assert_eq!(audited.file.current().hash(), hash_of(TWO.as_bytes()));
    }
}

#[tokio::test]
async fn nothing_is_started_with_a_policy_that_could_not_be_recorded_where_it_must_be() {
    let audited = Audited::start(true).await;
    let file =
        PolicyFile::fixed(payonce::decide::policy::Policy::parse(ONE).unwrap(), Clock::System);
    fs::write(audited.log(), "this is an application's log\n").unwrap();
    let error = file.witnessed_by(Box::new(audited.recorder(true))).await.unwrap_err();
    assert!(error.to_string().contains("is no audit log"), "{error}");
    let again = file.witnessed_by(Box::new(audited.recorder(false))).await;
    assert!(again.is_ok());
}

#[tokio::test]
async fn an_edit_says_how_many_open_operations_it_recognises_otherwise() {
    let audited = Audited::start(false).await;
    let record = include_str!("../fixtures/record-1.json");
    let of_kind = |kind: &str| record.replace("\"own_key\"", &format!("{kind:?}"));
    for (id, text) in [(1, of_kind("content")), (2, of_kind("content")), (3, of_kind("header"))] {
        let fresh = ledger::Entry {
            record: Bytes::from(text),
            ttl: Duration::from_hours(1),
            open: true,
            keys: Vec::new(),
        };
        audited.ledger.claim(&[RecordId([id; 32])], fresh).await.unwrap();
    }
    audited.edit(TWO).await;
    let found = audited.entries()[1].reidentified.clone().unwrap();
    assert_eq!((found.open, found.more), (3, false));
    assert_eq!(found.rules, [RuleCount { rule: "charges".to_owned(), operations: 2 }]);
}

#[tokio::test]
async fn several_writers_of_one_log_leave_one_chain() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("audit.ndjson");
    let line: Entry = {
        let audited = Audited::start(false).await;
        audited.entries().remove(0)
    };
    let writers = (0..4).map(|_| {
        let (log, line) = (AuditLog::at(&path, Clock::System), line.clone());
        async move {
            for _ in 0..5 {
                log.append(line.clone()).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(writers).await;
    let (sound, entries) = looked_through(&path);
    assert!(sound);
    assert_eq!(entries.len(), 20);
}

#[test]
fn a_start_with_a_policy_that_nobody_vouches_for_ends_with_64_and_is_recorded() {
    let directory = Arc::new(TempDir::new().unwrap());
    let path = directory.path().join("policy.toml");
    put(&path, "one.toml");
    fs::copy(fixture("two.toml"), &path).unwrap();
    let keys = format!("{},{}", key("first.pub"), key("second.pub"));
    let env = [
        ("PAYONCE_POLICY__PATH", "policy.toml"),
        ("PAYONCE_POLICY__TRUSTED_KEYS", &keys),
        ("PAYONCE_POLICY__AUDIT_LOG", "audit.ndjson"),
        ("PAYONCE_POLICY__AUDIT_REQUIRED", "true"),
        ("PAYONCE_POLICY__REFRESH", "1s"),
    ];
    let ended = run_in(directory.path(), &["serve", "--sandbox"], &env);
    ended.failed(64, &["nobody vouches for the policy", "does not hold"]);
    assert!(!ended.err.contains("listens"), "{}", ended.err);
    run_in(directory.path(), &["check"], &env);
    let checked = run_in(directory.path(), &["check"], &env);
    assert_eq!(checked.code, Some(64), "{}", checked.out);
    sign(&path, "two.toml");
    let checked = run_in(directory.path(), &["check"], &env);
    assert_eq!(checked.code, Some(0), "{}", checked.out);
    assert!(checked.out.contains("(reviewed by two people)"), "{}", checked.out);

    let payonce = Running::serve_in(Arc::clone(&directory), &["--sandbox"], &env);
    let in_force = payonce.line("policy is in force");
    assert!(in_force.contains(&hash_of(TWO.as_bytes())) && in_force.contains("signed_by"));
    put(&path, "one.toml");
    let ready =
        until(payonce.health(), "/readyz", |it| it.body.contains(&hash_of(ONE.as_bytes())[..12]));
    assert!(!ready.body.contains("policy_refused"), "{ready:?}");
    payonce.signal("TERM");
    assert_eq!(payonce.ended().0, Some(0));

    let log = run_in(directory.path(), &["policy", "audit", "audit.ndjson"], &[]);
    assert_eq!(log.code, Some(0), "{}{}", log.out, log.err);
    for words in [
        "start   refused",
        "does not hold",
        "start   taken",
        "reload  taken",
        "signed by",
        "3 lines, each follows",
    ] {
        assert!(log.out.contains(words), "no {words:?} in\n{}", log.out);
    }
    let last = log.out.trim_end().rsplit(' ').next().unwrap();
    let text = fs::read_to_string(directory.path().join("audit.ndjson")).unwrap();
    let audit = |text: &str, line: &[&str]| {
        write(directory.path(), "copy.ndjson", text);
        run_in(directory.path(), &[&["policy", "audit", "copy.ndjson"], line].concat(), &[])
    };
    assert_eq!(audit(&text, &["--holds", last]).code, Some(0));
    // Without its first line; without its last.
    let without_first = audit(text.split_once('\n').unwrap().1, &[]);
    assert_eq!(without_first.code, Some(1));
    assert!(without_first.out.contains("line 1 is not the log's first line"));
    let cut = text.trim_end().rsplit_once('\n').unwrap().0;
    assert_eq!(audit(cut, &[]).code, Some(0));
    let cut = audit(cut, &["--holds", last]);
    assert!(cut.code == Some(1) && cut.out.contains("may be cut off"), "{}", cut.out);
    run_in(directory.path(), &["policy", "audit", "not-there"], &[]).failed(69, &["not-there"]);
}

#[test]
fn the_version_shows_in_answers_refusals_logs_and_metrics() {
    let directory = Arc::new(TempDir::new().unwrap());
    let text = "version = 1\n[[rule]]\nname = \"closed\"\nmatch = [\"POST /v1/transfers\"]\n\
                class = \"refuse\"\n[[rule]]\nname = \"open\"\nmatch = [\"POST /v1/files\"]\n\
                class = \"pass\"\n";
    write(directory.path(), "policy.toml", text);
    let version = &hash_of(text.as_bytes())[..12];
    let env = [("PAYONCE_POLICY__PATH", "policy.toml")];
    let payonce = Running::serve_in(directory, &["--sandbox"], &env);
    let policy = |path: &str| {
        let answer = post(payonce.proxy(), path, &[], CHARGE);
        answer.field("payonce-policy").map(str::to_owned)
    };
    assert_eq!(policy("/v1/charges").as_deref(), Some(version));
    assert_eq!(policy("/v1/transfers").as_deref(), Some(version));
    assert_eq!(policy("/v1//charges").as_deref(), Some(version));
    // What only passes through is not payonce's to mark.
    assert_eq!(policy("/v1/files"), None);
    assert_eq!(get(payonce.proxy(), "/v1/charges").field("payonce-policy"), None);
    for line in [payonce.line("\"operation\""), payonce.line("\"refused\"")] {
        assert!(line.contains(&format!("\"policy_version\":\"{version}\"")), "{line}");
    }
    let page = get(payonce.health(), "/metrics").body;
    assert!(page.contains(&format!("payonce_policy{{version=\"{version}\"}} 1")), "{page}");
}

#[test]
fn a_time_of_the_log_is_of_today() {
    let now = Clock::System.now();
    let text = now.rfc3339();
    assert_eq!(text.len(), "2026-01-02T03:04:05.678Z".len());
    assert!(text > Timestamp::from_millis(1_767_225_600_000).rfc3339());
}
