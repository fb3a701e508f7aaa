//! Failures of the file that no real disk gives on demand, and the sweep.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use redb::backends::InMemoryBackend;
use redb::{Builder, StorageBackend};

use super::*;
use crate::clock::Timestamp;

const DAY: Duration = Duration::from_hours(24);

/// A disk that can be told to fail its writes or to panic.
#[derive(Debug)]
struct Disk {
    inner: InMemoryBackend,
    full: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        assert!(!self.panics.load(Ordering::SeqCst), "the disk caught fire, as this test asked");
        if self.full.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.inner.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write(offset, data)
    }
}

#[derive(Clone, Default)]
struct Faults {
    full: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
}

impl Faults {
    /// A store on this disk, which may be full.
    fn store(&self) -> Result<Database, OpenError> {
        let (full, panics) = (Arc::clone(&self.full), Arc::clone(&self.panics));
        let disk = Disk { inner: InMemoryBackend::new(), full, panics };
        let path = PathBuf::from("ledger");
        let store = Builder::new().create_with_backend(disk);
        let store = store.map_err(|why| OpenError::Damaged { path, why: why.to_string() })?;
        assert!(tables::prepare(&store).is_ok() || self.full.load(Ordering::SeqCst));
        Ok(store)
    }

    /// On a clock so fast that a second's pause before reopening is a millisecond.
    fn ledger(&self) -> Embedded {
        let clock = Clock::driven(Timestamp::from_millis(1), 1000);
        let limits = Limits { timeout: 20 * DAY, ..Limits::default() };
        let again = self.clone();
        let store = self.store().unwrap();
        Embedded::start(Path::new("ledger"), store, move || again.store(), clock, limits).unwrap()
    }
}

fn id(number: u16) -> RecordId {
    let mut id = [0; 32];
    id[..2].copy_from_slice(&number.to_be_bytes());
    RecordId(id)
}

fn entry(ttl: Duration) -> Entry {
    Entry { record: Bytes::from_static(b"{}"), ttl, open: true, keys: vec![KeyDigest([1; 16])] }
}

fn unavailable<T: std::fmt::Debug>(answer: Result<T, LedgerError>) -> String {
    match answer {
        Err(LedgerError::Unavailable(why)) => why,
        other => panic!("should be unavailable: {other:?}"),
    }
}

#[tokio::test]
async fn a_failed_commit_tells_every_caller_that_its_write_may_have_happened() {
    let faults = Faults::default();
    let ledger = faults.ledger();
    faults.full.store(true, Ordering::SeqCst);
    let (ids_a, ids_b) = ([id(1)], [id(2)]);
    let (a, b) = tokio::join!(ledger.claim(&ids_a, entry(DAY)), ledger.claim(&ids_b, entry(DAY)));
    for why in [unavailable(a), unavailable(b)] {
        assert!(why.contains("failed"), "{why}");
    }
}

#[tokio::test]
async fn a_file_that_failed_is_opened_again_and_serves() {
    let faults = Faults::default();
    let ledger = faults.ledger();
    faults.full.store(true, Ordering::SeqCst);
    unavailable(ledger.claim(&[id(1)], entry(DAY)).await);
    faults.full.store(false, Ordering::SeqCst);
    let wall = Clock::System;
    let began = wall.now();
    while ledger.claim(&[id(2)], entry(DAY)).await.is_err() {
        assert!(
            wall.now().since(began) < Duration::from_secs(20),
            "the file was never opened again"
        );
        wall.sleep(Duration::from_millis(1)).await;
    }
    assert!(ledger.get(id(2)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_panic_of_the_writer_makes_the_ledger_unavailable_and_hangs_nobody() {
    let faults = Faults::default();
    let ledger = faults.ledger();
    faults.panics.store(true, Ordering::SeqCst);
    let why = unavailable(ledger.claim(&[id(1)], entry(DAY)).await);
    assert!(why.contains("may have happened"), "{why}");
    unavailable(ledger.get(id(1)).await);
    faults.panics.store(false, Ordering::SeqCst);
    unavailable(ledger.get(id(1)).await);
    unavailable(ledger.close().await);
}

#[tokio::test]
async fn a_closed_ledger_refuses() {
    let ledger = Faults::default().ledger();
    ledger.close().await.unwrap();
    ledger.close().await.unwrap();
    let why = unavailable(ledger.claim(&[id(1)], entry(DAY)).await);
    assert!(why.contains("nothing was written"), "{why}");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let (jobs, _waiting) = sync_channel(1);
    let ledger = Embedded {
        path: PathBuf::from("ledger"),
        clock: Clock::System,
        timeout: Duration::from_millis(1),
        jobs: Mutex::new(Some(jobs)),
        writer: Mutex::new(None),
    };
    let late = unavailable(ledger.get(id(1)).await);
    assert!(late.contains("no answer within 1ms"), "{late}");
    let full = unavailable(ledger.get(id(1)).await);
    assert!(full.contains("queue is full"), "{full}");
}

/// Runs `work` on the tables at `millis`, and commits.
fn at<T>(store: &Database, millis: u64, work: impl FnOnce(&mut Tables<'_>) -> T) -> T {
    let txn = store.begin_write().unwrap();
    let Ok(mut tables) = Tables::new(&txn, Timestamp::from_millis(millis), 600) else {
        panic!("no tables")
    };
    let done = work(&mut tables);
    assert!(tables.finish().is_ok());
    txn.commit().unwrap();
    done
}

#[test]
fn expired_records_are_swept_in_bounded_steps_and_leave_nothing_behind() {
    let store = Faults::default().store().unwrap();
    at(&store, 0, |tables| {
        for number in 0..600 {
            let ids = [id(number)];
            assert!(tables.claim(ids[0], &ids, &entry(Duration::from_millis(5))).is_ok());
        }
    });
    let mut steps = Vec::new();
    at(&store, 5, |tables| {
        for _ in 0..4 {
            steps.push(tables.sweep(256).unwrap_or(usize::MAX));
        }
    });
    assert_eq!(steps, [256, 256, 88, 0]);
    let left = at(&store, 5, |tables| tables.rows().unwrap());
    assert_eq!(left, [0; 5]);
}

#[test]
fn a_record_whose_time_was_extended_is_not_swept_at_its_first_end() {
    let store = Faults::default().store().unwrap();
    at(&store, 0, |tables| {
        assert!(tables.claim(id(1), &[id(1)], &entry(Duration::from_millis(5))).is_ok());
        assert!(matches!(
            tables.replace(id(1), Version(1), &entry(DAY)),
            Ok(Replaced::Done(Some(Version(2))))
        ));
    });
    at(&store, 10, |tables| assert!(matches!(tables.sweep(256), Ok(0))));
    at(&store, 10, |tables| assert!(matches!(tables.get(id(1)), Ok(Some(_)))));
}

#[test]
fn the_keys_of_a_record_that_is_written_again_and_again_are_bounded_and_go_with_it() {
    let store = Faults::default().store().unwrap();
    at(&store, 0, |tables| {
        assert!(tables.claim(id(1), &[id(1)], &entry(DAY)).is_ok());
        for n in 0..200 {
            let next = Entry { keys: vec![KeyDigest([n; 16])], ..entry(DAY) };
            let seen = Version(u64::from(n) + 1);
            assert!(matches!(tables.replace(id(1), seen, &next), Ok(Replaced::Done(_))));
        }
        assert_eq!(tables.rows().unwrap(), [1, 1, 1, 1, 64]);
        assert!(tables.remove(id(1), Version(201)).is_ok());
        assert_eq!(tables.rows().unwrap(), [0; 5]);
    });
}

#[test]
fn a_full_file_refuses_a_claim_until_something_expired() {
    let store = Faults::default().store().unwrap();
    at(&store, 0, |tables| {
        for number in 0..600 {
            let ttl = if number == 0 { Duration::from_millis(5) } else { DAY };
            assert!(tables.claim(id(number), &[id(number)], &entry(ttl)).is_ok());
        }
        let refused = tables.claim(id(601), &[id(601)], &entry(DAY));
        assert!(matches!(refused, Err(Fault::Call(LedgerError::Unavailable(_)))));
    });
    at(&store, 5, |tables| assert!(tables.claim(id(601), &[id(601)], &entry(DAY)).is_ok()));
}
