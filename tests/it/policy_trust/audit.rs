//! What is written down of each load.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use payonce::audit::{AuditLog, Entry, Event, Recorder, RuleCount, Verdict, chain};
use payonce::clock::Clock;
use payonce::decide::policy::{Policy, hash_of};
use payonce::ledger::memory::Memory;
use payonce::ledger::{self, Ledger, RecordId};
use payonce::metrics::Metrics;
use payonce::policy_file::{PolicyFile, Reloaded, Why};
use tempfile::TempDir;

use super::{BROKEN, ONE, TWO, refused};

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
            log: Some(AuditLog::at(&self.log(), Clock::System)),
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
        assert_eq!(audited.file.current().hash(), hash_of(TWO.as_bytes()));
    }
}

#[tokio::test]
async fn nothing_is_started_with_a_policy_that_could_not_be_recorded_where_it_must_be() {
    let audited = Audited::start(true).await;
    let file = PolicyFile::fixed(Policy::parse(ONE).unwrap(), Clock::System);
    fs::write(audited.log(), "this is an application's log\n").unwrap();
    let error = file.witnessed_by(Box::new(audited.recorder(true))).await.unwrap_err();
    assert!(error.to_string().contains("is no audit log"), "{error}");
    let again = file.witnessed_by(Box::new(audited.recorder(false))).await;
    assert!(again.is_ok());
}

#[tokio::test]
async fn an_edit_says_how_many_open_operations_it_recognises_otherwise() {
    let audited = Audited::start(false).await;
    let record = include_str!("../../fixtures/record-1.json");
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
