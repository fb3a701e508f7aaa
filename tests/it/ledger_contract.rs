//! What every kind of ledger must do. A kind joins with one line at the end of this file.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test may fail the test"
)]

use std::collections::BTreeSet;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use payonce::chance::Chance;
use payonce::clock::{Clock, Timestamp};
use payonce::ledger::{
    AnyLedger, Claimed, Entry, Held, KeyDigest, Kind, Ledger, MAX_RECORD_BYTES, RecordId, Replaced,
    Version, embedded::Embedded, embedded::Limits, memory::Memory, redis::Redis,
};
use payonce::metrics::Metrics;
use tempfile::TempDir;

use super::redis_server::RedisServer;

mod finding;
mod races;

use finding::*;
use races::*;

const LONG: Duration = Duration::from_hours(365 * 24);
const MINUTE: Duration = Duration::from_mins(1);
/// A minute passes in 6 ms, so that an expiry can be waited for.
pub(crate) const SPEED: u32 = 10_000;

pub(crate) fn clock() -> Clock {
    Clock::driven(Timestamp::from_millis(1_800_000_000_000), SPEED)
}

fn id(number: u8) -> RecordId {
    RecordId([number; 32])
}

fn key(number: u8) -> KeyDigest {
    KeyDigest([number; 16])
}

fn entry(record: &str) -> Entry {
    Entry {
        record: Bytes::copy_from_slice(record.as_bytes()),
        ttl: LONG,
        open: false,
        keys: vec![],
    }
}

fn open_entry(record: &str) -> Entry {
    Entry { open: true, ..entry(record) }
}

fn brief(entry: Entry) -> Entry {
    Entry { ttl: MINUTE, ..entry }
}

/// The expiry of anything [`brief`].
async fn wait_for_expiry(clock: &Clock) {
    // Redis rounds to milliseconds, of which a minute is but six here.
    clock.sleep(MINUTE + MINUTE / 2).await;
}

fn with_keys(entry: Entry, keys: &[KeyDigest]) -> Entry {
    Entry { keys: keys.to_vec(), ..entry }
}

async fn fresh<L: Ledger>(ledger: &L, id: RecordId, entry: Entry) -> Version {
    match ledger.claim(&[id], entry).await.unwrap() {
        Claimed::Fresh(version) => version,
        Claimed::Found(held) => panic!("{id} was taken already: {held:?}"),
    }
}

async fn replaced<L: Ledger>(ledger: &L, id: RecordId, seen: Version, entry: Entry) -> Version {
    match ledger.replace(id, seen, entry).await.unwrap() {
        Replaced::Done(Some(version)) => version,
        other @ (Replaced::Done(None) | Replaced::Moved(_)) => {
            panic!("{id} was not replaced: {other:?}")
        }
    }
}

async fn open_ids<L: Ledger>(ledger: &L, limit: usize) -> BTreeSet<RecordId> {
    ledger.open(limit).await.unwrap().into_iter().map(|held| held.id).collect()
}

async fn found_by<L: Ledger>(ledger: &L, key: KeyDigest) -> Option<RecordId> {
    ledger.by_key(key).await.unwrap().map(|held| held.id)
}

async fn a_fresh_claim_stands_under_the_first_id<L: Ledger>(ledger: Arc<L>, _clock: Clock) {
    let Claimed::Fresh(version) = ledger.claim(&[id(1), id(2)], entry("{}")).await.unwrap() else {
        panic!("an empty ledger found something")
    };
    let held = Held { id: id(1), version, record: Bytes::from_static(b"{}") };
    assert_eq!(ledger.get(id(1)).await.unwrap(), Some(held));
    assert_eq!(ledger.get(id(2)).await.unwrap(), None);
}

async fn a_claim_finds_what_stands_and_writes_nothing<L: Ledger>(ledger: Arc<L>, _clock: Clock) {
    let version = fresh(&*ledger, id(1), entry("first")).await;
    let held = Held { id: id(1), version, record: Bytes::from_static(b"first") };
    let second = ledger.claim(&[id(1)], open_entry("second")).await.unwrap();
    assert_eq!(second, Claimed::Found(held.clone()));
    assert_eq!(ledger.get(id(1)).await.unwrap(), Some(held));
    assert_eq!(open_ids(&*ledger, 9).await, BTreeSet::new());
}

async fn a_claim_finds_a_record_under_an_older_id<L: Ledger>(ledger: Arc<L>, _clock: Clock) {
    let version = fresh(&*ledger, id(3), entry("older")).await;
    let claimed = ledger.claim(&[id(1), id(2), id(3)], entry("new")).await.unwrap();
    let held = Held { id: id(3), version, record: Bytes::from_static(b"older") };
    assert_eq!(claimed, Claimed::Found(held));
    assert_eq!(ledger.get(id(1)).await.unwrap(), None);
}

async fn of_several_records_a_claim_finds_the_first_of_its_ids<L: Ledger>(
    ledger: Arc<L>,
    _clock: Clock,
) {
    for number in [3, 2] {
        fresh(&*ledger, id(number), entry("{}")).await;
    }
    let Claimed::Found(held) = ledger.claim(&[id(1), id(2), id(3)], entry("{}")).await.unwrap()
    else {
        panic!("nothing was found")
    };
    assert_eq!(held.id, id(2));
}

async fn a_claim_without_an_id_is_an_error<L: Ledger>(ledger: Arc<L>, _clock: Clock) {
    assert!(ledger.claim(&[], entry("{}")).await.is_err());
}

async fn a_replace_with_the_version_last_seen_happens<L: Ledger>(ledger: Arc<L>, _clock: Clock) {
    let first = fresh(&*ledger, id(1), entry("one")).await;
    let second = replaced(&*ledger, id(1), first, entry("two")).await;
    assert!(second > first);
    let held = Held { id: id(1), version: second, record: Bytes::from_static(b"two") };
    assert_eq!(ledger.get(id(1)).await.unwrap(), Some(held));
}

async fn a_replace_with_an_older_version_shows_who_was_quicker<L: Ledger>(
    ledger: Arc<L>,
    _clock: Clock,
) {
    let first = fresh(&*ledger, id(1), entry("one")).await;
    let second = replaced(&*ledger, id(1), first, entry("two")).await;
    let late = ledger.replace(id(1), first, entry("late")).await.unwrap();
    let held = Held { id: id(1), version: second, record: Bytes::from_static(b"two") };
    assert_eq!(late, Replaced::Moved(Some(held.clone())));
    assert_eq!(ledger.get(id(1)).await.unwrap(), Some(held));
}

async fn a_replace_of_what_is_not_there_writes_nothing<L: Ledger>(ledger: Arc<L>, _clock: Clock) {
    let moved = ledger.replace(id(1), Version(0), entry("{}")).await.unwrap();
    assert_eq!(moved, Replaced::Moved(None));
    assert_eq!(ledger.get(id(1)).await.unwrap(), None);
}

async fn a_removal_needs_the_version_last_seen<L: Ledger>(ledger: Arc<L>, _clock: Clock) {
    let first = fresh(&*ledger, id(1), entry("one")).await;
    let second = replaced(&*ledger, id(1), first, entry("two")).await;
    assert!(matches!(ledger.remove(id(1), first).await.unwrap(), Replaced::Moved(Some(_))));
    assert_eq!(ledger.remove(id(1), second).await.unwrap(), Replaced::Done(None));
    assert_eq!(ledger.get(id(1)).await.unwrap(), None);
    assert_eq!(ledger.remove(id(1), second).await.unwrap(), Replaced::Moved(None));
}

async fn a_record_that_came_again_never_matches_an_old_version<L: Ledger>(
    ledger: Arc<L>,
    _clock: Clock,
) {
    let mut seen = Vec::new();
    for _ in 0..4 {
        let first = fresh(&*ledger, id(1), entry("{}")).await;
        let last = replaced(&*ledger, id(1), first, entry("{}")).await;
        assert!(seen.iter().all(|old| *old < first), "{seen:?} {first:?}");
        for old in &seen {
            let moved = ledger.replace(id(1), *old, entry("stolen")).await.unwrap();
            assert!(matches!(moved, Replaced::Moved(Some(_))));
        }
        seen.extend([first, last]);
        ledger.remove(id(1), last).await.unwrap();
    }
}

async fn an_expired_record_is_absent_and_its_id_can_be_claimed<L: Ledger>(
    ledger: Arc<L>,
    clock: Clock,
) {
    let first = fresh(&*ledger, id(1), brief(entry("old"))).await;
    wait_for_expiry(&clock).await;
    assert_eq!(ledger.get(id(1)).await.unwrap(), None);
    let gone = ledger.replace(id(1), first, entry("late")).await.unwrap();
    assert_eq!(gone, Replaced::Moved(None));
    assert_eq!(ledger.remove(id(1), first).await.unwrap(), Replaced::Moved(None));
    assert!(fresh(&*ledger, id(1), entry("new")).await > first);
}

async fn an_expired_record_under_an_older_id_is_not_found<L: Ledger>(ledger: Arc<L>, clock: Clock) {
    fresh(&*ledger, id(2), brief(entry("old"))).await;
    wait_for_expiry(&clock).await;
    let claimed = ledger.claim(&[id(1), id(2)], entry("new")).await.unwrap();
    assert!(matches!(claimed, Claimed::Fresh(_)));
}

async fn each_write_says_anew_how_long_a_record_is_kept<L: Ledger>(ledger: Arc<L>, clock: Clock) {
    let shortened = fresh(&*ledger, id(1), entry("{}")).await;
    replaced(&*ledger, id(1), shortened, brief(entry("{}"))).await;
    wait_for_expiry(&clock).await;
    assert_eq!(ledger.get(id(1)).await.unwrap(), None);
}

async fn a_large_record_comes_back_whole<L: Ledger>(ledger: Arc<L>, _clock: Clock) {
    let record: String = ('a'..='z').cycle().take(MAX_RECORD_BYTES).collect();
    fresh(&*ledger, id(1), entry(&record)).await;
    assert!(ledger.get(id(1)).await.unwrap().unwrap().record == record.as_bytes());
}

async fn a_record_over_the_limit_is_refused_and_not_written<L: Ledger>(
    ledger: Arc<L>,
    _clock: Clock,
) {
    let record = "a".repeat(MAX_RECORD_BYTES + 1);
    let version = fresh(&*ledger, id(2), entry("{}")).await;
    assert!(ledger.claim(&[id(1)], entry(&record)).await.is_err());
    assert!(ledger.replace(id(2), version, entry(&record)).await.is_err());
    assert_eq!(ledger.get(id(1)).await.unwrap(), None);
    assert_eq!(ledger.get(id(2)).await.unwrap().unwrap().version, version);
}

/// Hands the names of all tests to another macro, after what it is given.
macro_rules! all {
    ($then:ident! $($given:tt)*) => {
        $then! { $($given)*
            a_fresh_claim_stands_under_the_first_id
            a_claim_finds_what_stands_and_writes_nothing
            a_claim_finds_a_record_under_an_older_id
            of_several_records_a_claim_finds_the_first_of_its_ids
            a_claim_without_an_id_is_an_error
            a_replace_with_the_version_last_seen_happens
            a_replace_with_an_older_version_shows_who_was_quicker
            a_replace_of_what_is_not_there_writes_nothing
            a_removal_needs_the_version_last_seen
            a_record_that_came_again_never_matches_an_old_version
            an_expired_record_is_absent_and_its_id_can_be_claimed
            an_expired_record_under_an_older_id_is_not_found
            each_write_says_anew_how_long_a_record_is_kept
            the_open_list_follows_the_last_write
            the_open_list_is_as_long_as_asked_for
            an_expired_record_is_not_on_the_open_list
            a_key_finds_the_record_last_written_with_it
            each_of_many_digests_finds_the_record_that_was_written_with_it
            a_key_finds_its_record_also_after_writes_that_do_not_name_it
            a_record_is_found_by_the_last_64_of_its_keys_at_least
            a_key_finds_nothing_once_its_record_is_gone
            removing_a_record_leaves_a_key_that_another_took_over
            of_64_claims_of_one_id_one_is_fresh
            of_64_increments_by_compare_and_swap_none_is_lost
            a_large_record_comes_back_whole
            a_record_over_the_limit_is_refused_and_not_written
        }
    };
}

/// One module of tests for each kind; `$make` makes an empty ledger on a clock, and what must
/// outlive it.
macro_rules! contract {
    ($($kind:ident => $make:expr;)*) => {
        $(all! { kind! $kind, $make, })*
    };
}

macro_rules! kind {
    ($kind:ident, $make:expr, $($test:ident)*) => {
        mod $kind {
            $(#[tokio::test]
            async fn $test() {
                let clock = super::clock();
                let (ledger, _kept) = $make(clock.clone()).await;
                super::$test(std::sync::Arc::new(ledger), clock).await;
            })*
        }
    };
}

/// How many tests there are.
macro_rules! count {
    ($($test:ident)*) => {
        pub(crate) const TESTS: usize = [$(stringify!($test)),*].len();
    };
}

/// All of them in turn.
macro_rules! in_turn {
    ($($test:ident)*) => {
        /// Every test, each on a ledger of its own: for ledgers that were prepared together.
        pub(crate) async fn hold<L: Ledger>(ledgers: Vec<Arc<L>>, clock: &Clock) {
            assert_eq!(ledgers.len(), TESTS);
            let mut ledgers = ledgers.into_iter();
            $(
                println!("{}", stringify!($test));
                $test(ledgers.next().unwrap(), clock.clone()).await;
            )*
        }
    };
}

all! { count! }
all! { in_turn! }

fn memory(clock: Clock) -> Ready<(AnyLedger, ())> {
    let kind = Kind::Memory(Memory::new(clock.clone(), 1000));
    ready((AnyLedger::new(kind, clock, Metrics::new()), ()))
}

fn embedded(clock: Clock) -> Ready<(AnyLedger, TempDir)> {
    let directory = tempfile::tempdir().unwrap();
    // A disk is not faster on a fast clock: half a real minute.
    let limits = Limits { timeout: Duration::from_secs(30) * SPEED, ..Limits::default() };
    let path = directory.path().join("ledger.redb");
    let kind = Kind::Embedded(Embedded::open(&path, clock.clone(), limits).unwrap());
    ready((AnyLedger::new(kind, clock, Metrics::new()), directory))
}

async fn redis(clock: Clock) -> (AnyLedger, RedisServer) {
    let server = RedisServer::start(&[]);
    let config = server.config(SPEED);
    let metrics = Metrics::new();
    let ledger = Redis::open(config, clock.clone(), Chance::System, metrics.clone()).await.unwrap();
    (AnyLedger::new(Kind::Redis(ledger), clock, metrics), server)
}

contract! {
    in_memory => super::memory;
    in_a_file => super::embedded;
    in_redis => super::redis;
    in_redis_over_tcp => crate::ledger_redis::contract::over_tcp;
    in_redis_over_tls_as_a_user_with_few_rights => crate::ledger_redis::contract::over_tls;
    in_redis_over_a_socket => crate::ledger_redis::contract::over_a_socket;
    in_redis_behind_sentinel => crate::ledger_redis::contract::behind_sentinel;
    in_a_redis_cluster => crate::ledger_redis::contract::in_a_cluster;
}
