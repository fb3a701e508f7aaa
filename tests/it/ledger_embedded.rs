//! What the ledger in a file promises beyond the contract: to outlive its process, and to say
//! plainly why a file cannot be used.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test may fail the test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use payonce::clock::Clock;
use payonce::ledger::embedded::{Embedded, Limits, OpenError};
use payonce::ledger::{Claimed, Entry, KeyDigest, Ledger, RecordId, Replaced, Version};

const DAY: Duration = Duration::from_hours(24);
/// Tells a copy of the test binary that it is the process to be killed, and which file to write.
const VICTIM: &str = "PAYONCE_TEST_LEDGER_VICTIM";

fn open(path: &Path) -> Result<Embedded, OpenError> {
    let limits = Limits { timeout: Duration::from_secs(30), ..Limits::default() };
    Embedded::open(path, Clock::System, limits)
}

fn id(number: u64) -> RecordId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    RecordId(id)
}

fn entry(record: &str) -> Entry {
    let keys = vec![KeyDigest([1; 16])];
    Entry { record: Bytes::copy_from_slice(record.as_bytes()), ttl: DAY, open: true, keys }
}

async fn fresh(ledger: &Embedded, id: RecordId) -> Version {
    match ledger.claim(&[id], entry("claimed")).await.unwrap() {
        Claimed::Fresh(version) => version,
        Claimed::Found(held) => panic!("{id} was taken already: {held:?}"),
    }
}

#[tokio::test]
async fn all_that_was_written_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.redb");
    let ledger = open(&path).unwrap();
    fresh(&ledger, id(1)).await;
    ledger.close().await.unwrap();
    let ledger = open(&path).unwrap();
    let held = ledger.get(id(1)).await.unwrap().unwrap();
    assert_eq!(held.record, Bytes::from_static(b"claimed"));
    assert_eq!(ledger.open(9).await.unwrap(), std::slice::from_ref(&held));
    assert_eq!(ledger.by_key(KeyDigest([1; 16])).await.unwrap(), Some(held));
}

#[tokio::test]
async fn a_version_is_not_given_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.redb");
    let ledger = open(&path).unwrap();
    let before = fresh(&ledger, id(1)).await;
    assert_eq!(ledger.remove(id(1), before).await.unwrap(), Replaced::Done(None));
    drop(ledger);
    let ledger = open(&path).unwrap();
    assert!(fresh(&ledger, id(1)).await > before);
}

#[tokio::test]
async fn what_was_asked_before_a_close_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.redb");
    let ledger = open(&path).unwrap();
    let first = [id(1)];
    let (claimed, closed) = tokio::join!(ledger.claim(&first, entry("{}")), ledger.close());
    assert!(matches!(claimed, Ok(Claimed::Fresh(_))));
    closed.unwrap();
    assert!(open(&path).unwrap().get(id(1)).await.unwrap().is_some());
}

/// The process that is killed: eight writers claim and settle, and say so when they were answered.
async fn write_until_killed(path: &Path, start: u64) {
    let ledger = open(path).unwrap();
    let tasks = (start..start + 8).map(|first| {
        let ledger = &ledger;
        Box::pin(async move {
            for number in (first..).step_by(8) {
                let version = fresh(ledger, id(number)).await;
                println!("acked {number} claimed");
                ledger.replace(id(number), version, entry("settled")).await.unwrap();
                println!("acked {number} settled");
            }
        })
    });
    let mut tasks: Vec<_> = tasks.collect();
    std::future::poll_fn(|cx| {
        for task in &mut tasks {
            assert!(task.as_mut().poll(cx).is_pending(), "numbers ended");
        }
        Poll::<()>::Pending
    })
    .await;
}

/// Runs this test in a process of its own and kills it after 300 answered writes; what it said.
fn kill_while_writing(path: &Path, start: u64) -> BTreeMap<u64, String> {
    const NAME: &str = "ledger_embedded::every_answered_write_is_there_after_a_sigkill";
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
        .env(VICTIM, format!("{start}:{}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let mut answered = BTreeMap::new();
    let mut seen = 0;
    // Up to the end of the pipe: what it said before the kill took hold counts too.
    for line in lines.map(Result::unwrap) {
        let Some((number, state @ ("claimed" | "settled"))) =
            line.strip_prefix("acked ").and_then(|ack| ack.split_once(' '))
        else {
            continue;
        };
        answered.insert(number.parse().unwrap(), state.to_owned());
        seen += 1;
        if seen == 300 {
            victim.kill().unwrap();
        }
    }
    victim.wait().unwrap();
    assert!(seen >= 300, "the process ended by itself after {seen} writes");
    answered
}

#[tokio::test]
async fn every_answered_write_is_there_after_a_sigkill() {
    if let Ok(order) = std::env::var(VICTIM) {
        let (start, path) = order.split_once(':').unwrap();
        return write_until_killed(Path::new(path), start.parse().unwrap()).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.redb");
    // Twice, so that a file that was repaired once is written, and killed, again.
    let mut answered = kill_while_writing(&path, 0);
    answered.extend(kill_while_writing(&path, 1_000_000));
    check(&path, &answered).await;
}

/// Each answered write, or the one that its record's owner had asked for next, is in the file.
async fn check(path: &Path, answered: &BTreeMap<u64, String>) {
    let ledger = open(path).unwrap();
    for (number, state) in answered {
        let held = ledger.get(id(*number)).await.unwrap();
        let held = held.unwrap_or_else(|| panic!("{number} was {state}, and is gone"));
        assert!(held.record == state.as_bytes() || held.record == b"settled"[..], "{number}");
    }
}

fn refused(path: &Path) -> OpenError {
    match open(path) {
        Err(why) => {
            assert!(why.to_string().contains(&path.display().to_string()), "{why}");
            why
        }
        Ok(_) => panic!("{} was opened", path.display()),
    }
}

#[tokio::test]
async fn a_file_in_use_is_refused_until_it_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.redb");
    let first = open(&path).unwrap();
    let why = refused(&path);
    assert!(matches!(why, OpenError::Locked { .. }), "{why}");
    assert!(why.to_string().contains("in use by another process"), "{why}");
    first.close().await.unwrap();
    open(&path).unwrap();
}

#[test]
fn a_file_of_something_else_is_called_damaged_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.redb");
    for garbage in [&b"x"[..], &vec![0; 100_000], "hello, world\n".repeat(50_000).as_bytes()] {
        fs::write(&path, garbage).unwrap();
        let why = refused(&path);
        assert!(matches!(why, OpenError::Damaged { .. }), "{why}");
        assert!(why.to_string().contains("move it away"), "{why}");
        assert_eq!(fs::read(&path).unwrap(), garbage);
    }
}

/// The bytes of a ledger with 200 records.
async fn filled(path: &Path) -> Vec<u8> {
    let ledger = open(path).unwrap();
    for number in 0..200 {
        fresh(&ledger, id(number)).await;
    }
    ledger.close().await.unwrap();
    fs::read(path).unwrap()
}

#[tokio::test]
async fn a_truncated_file_is_called_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.redb");
    let whole = filled(&path).await;
    for length in [5, 64, 300, 4096, whole.len() / 2, whole.len() - 4096] {
        fs::write(&path, &whole[..length]).unwrap();
        let why = refused(&path);
        assert!(matches!(why, OpenError::Damaged { .. }), "{length}: {why}");
    }
}

#[tokio::test]
async fn garbage_within_the_file_is_called_damaged_or_does_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.redb");
    let whole = filled(&path).await;
    let mut damaged = 0;
    for page in (0..whole.len()).step_by(4096) {
        let mut bytes = whole.clone();
        let end = bytes.len().min(page + 4096);
        bytes[page..end].fill(0xa5);
        fs::write(&path, &bytes).unwrap();
        match open(&path) {
            Err(OpenError::Damaged { .. }) => damaged += 1,
            Err(other) => panic!("page {page}: {other}"),
            // A page that nothing was in.
            Ok(ledger) => {
                for number in 0..200 {
                    assert!(ledger.get(id(number)).await.unwrap().is_some(), "{page} {number}");
                }
            }
        }
    }
    assert!(damaged > 3, "{damaged}");
}

#[test]
fn a_file_of_a_newer_payonce_is_refused_by_its_format() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.redb");
    drop(open(&path).unwrap());
    let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("payonce_meta");
    set(&path, meta, 2);
    let why = refused(&path);
    assert!(matches!(why, OpenError::NewerFormat { found: 2, known: 1, .. }), "{why}");
    assert!(why.to_string().contains("run the newer payonce"), "{why}");
}

#[test]
fn a_redb_file_of_another_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.redb");
    set(&path, redb::TableDefinition::new("theirs"), 1);
    let why = refused(&path);
    assert!(why.to_string().contains("another program"), "{why}");
}

fn set(path: &Path, table: redb::TableDefinition<'_, &str, u64>, format: u64) {
    let store = redb::Database::create(path).unwrap();
    let writing = store.begin_write().unwrap();
    writing.open_table(table).unwrap().insert("format", format).unwrap();
    writing.commit().unwrap();
}

#[test]
fn a_missing_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("not").join("there");
    let why = refused(&missing.join("ledger.redb"));
    assert!(matches!(why, OpenError::NoDirectory { .. }), "{why}");
    assert!(why.to_string().contains(&format!("no directory {}", missing.display())), "{why}");
}

#[test]
fn a_directory_in_the_place_of_the_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let why = refused(directory.path());
    assert!(matches!(why, OpenError::Io { .. }), "{why}");
}

#[cfg(unix)]
#[test]
fn a_new_file_is_its_owners_alone_and_nothing_is_left_beside_it() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.redb");
    drop(open(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn an_empty_file_becomes_a_ledger() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.redb");
    fs::write(&path, b"").unwrap();
    drop(open(&path).unwrap());
    assert!(fs::metadata(&path).unwrap().len() > 0);
}
