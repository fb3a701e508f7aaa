//! In which ways operations are and were recognised on a store, so that an edit of the policy loses
//! none: every process finds what was recognised by another policy, and none recognises by a new one
//! before the others know it.
//!
//! A [`Way`](crate::decide::policy::Way) that is new to the store is announced there, and used after
//! a notice as long as a lease; every process reads the list three times in that time, and reads it
//! again before it serves if it could not. Where one process has the store alone, nobody waits. What
//! is then done with the ways is [`exchange`](crate::exchange)'s.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::index::Index;
use crate::clock::{Clock, Timestamp};
use crate::decide::digest::IdFormat;
use crate::decide::policy::{Policy, Way};
use crate::exchange::{CatchUp, Policies};
use crate::ledger::{Claimed, Entry, Held, Ledger, LedgerError, RecordId, Replaced};
use crate::metrics::Metrics;
use crate::seams::{self, Mistake};

mod index;

/// How long list and texts are kept: longer than any way in them.
const KEEP: Duration = Duration::from_hours(60 * 24);
/// How often it is written down that a way is still in force.
const NOTE_EVERY: Duration = Duration::from_hours(1);
/// How often a write is tried that others overtook.
const RACES: usize = 8;
/// How often an announcement is tried before the policy is used all the same.
const TRIES: u32 = 3;
/// Of so many ways that cannot be read is told; there are fewer.
const MOST_TOLD: usize = 100;
/// Between two tries, and between two looks of requests that find the list too old.
const PAUSE: Duration = Duration::from_secs(1);

/// The ways known on one store.
pub struct Ways<L> {
    ledger: L,
    clock: Clock,
    metrics: Metrics,
    /// How long a new way is announced before it is used.
    notice: Duration,
    known: ArcSwap<Vec<Arc<Way>>>,
    /// Another number whenever those have become others.
    generation: AtomicU64,
    current: ArcSwapOption<Way>,
    /// What the store held when it was last read.
    listed: ArcSwap<Index>,
    /// When the list was last read, and when that last failed.
    read: AtomicU64,
    failed: AtomicU64,
    /// Ways that could not be read, of which is told once.
    unreadable: std::sync::Mutex<BTreeSet<String>>,
    one_at_a_time: Mutex<()>,
}

impl<L: Ledger> Ways<L> {
    /// Of this store; `notice` is how long a new way is announced before it is used.
    pub fn new(ledger: L, clock: Clock, metrics: Metrics, notice: Duration) -> Self {
        Self {
            ledger,
            clock,
            metrics,
            notice,
            known: ArcSwap::default(),
            generation: AtomicU64::new(0),
            current: ArcSwapOption::empty(),
            listed: ArcSwap::from_pointee(Index::new()),
            read: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            unreadable: std::sync::Mutex::default(),
            one_at_a_time: Mutex::new(()),
        }
    }

    /// All that are known, the current one among them.
    pub fn known(&self) -> Arc<Vec<Arc<Way>>> {
        self.known.load_full()
    }

    /// Another number whenever the ways that are known have become others.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Announces the way of a policy that is to be used, and waits until it may be. A store that does
    /// not answer is no reason not to use it: the announcement is made when it is back.
    pub async fn announce(&self, policy: &Policy) {
        let way = Arc::new(Way::of(policy));
        if self.current.load().as_ref().is_some_and(|current| current.id() == way.id()) {
            return;
        }
        let mut tries = 1;
        let wait = loop {
            match self.published(&way, policy).await {
                Ok(wait) => break wait,
                Err(failed) if tries == TRIES => {
                    self.metrics.degraded("ways");
                    warn!(error = %failed, policy_version = policy.version(), "the store could not be told how this \
                        policy recognises operations; until it is, a process with another policy may \
                        take what is open here for something new");
                    break Duration::ZERO;
                }
                Err(_failed) => {
                    tries += 1;
                    self.clock.sleep(PAUSE).await;
                }
            }
        };
        self.learn(Arc::clone(&way));
        if !wait.is_zero() {
            info!(
                policy_version = policy.version(),
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "this policy recognises \
                operations otherwise than others on the store do: they are told, and it is in force \
                when they know"
            );
            self.clock.sleep(wait).await;
        }
        self.current.store(Some(way));
        if !wait.is_zero() {
            // A fail-over may have taken the announcement back meanwhile.
            self.refresh().await;
        }
    }

    /// Reads the list again and again, until `stop`.
    pub async fn watch(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep(self.notice / 3) => {}
            }
            self.refresh().await;
        }
    }

    /// Whether a way may have come into force elsewhere that is not known here, and it is time to
    /// ask.
    pub fn is_stale(&self) -> bool {
        if self.ledger.exclusive() {
            return false;
        }
        let now = self.clock.now();
        let at = |of: &AtomicU64| Timestamp::from_millis(of.load(Ordering::Relaxed));
        now.since(at(&self.read)) >= self.notice * 2 / 3 && now.since(at(&self.failed)) >= PAUSE
    }

    /// Reads the list.
    pub async fn refresh(&self) {
        let _one = self.one_at_a_time.lock().await;
        self.look().await;
    }

    /// Reads the list, unless it was read while this waited.
    pub async fn catch_up(&self) {
        let _one = self.one_at_a_time.lock().await;
        if self.is_stale() {
            self.look().await;
        }
    }

    async fn look(&self) {
        let now = self.clock.now();
        match self.read(now).await {
            Ok(()) => self.read.store(now.as_millis(), Ordering::Relaxed),
            Err(failed) => {
                self.failed.store(now.as_millis(), Ordering::Relaxed);
                self.metrics.ledger_error("ways");
                warn!(error = %failed, "the list of policies in force on the store could not be read");
            }
        }
    }

    async fn read(&self, now: Timestamp) -> Result<(), LedgerError> {
        let listed = match self.ledger.get(list()).await? {
            Some(held) => index(&held)?,
            None => Index::new(),
        };
        let known = self.known();
        let find = |id: &str| known.iter().find(|way| way.id() == id).cloned();
        let mut ways: Vec<Arc<Way>> = Vec::new();
        for id in listed.ids() {
            match find(id) {
                Some(way) => ways.push(way),
                None => ways.extend(self.fetch(id).await?),
            }
        }
        // What the store forgot is told again.
        let before = self.listed.load_full();
        for way in listed.lost(&before, now).into_iter().filter_map(find) {
            self.publish(&way).await?;
            ways.push(way);
        }
        if let Some(way) = self.current.load_full()
            && !listed.in_force(way.id(), now, NOTE_EVERY)
        {
            self.publish(&way).await?;
            if !ways.iter().any(|it| it.id() == way.id()) {
                ways.push(Arc::clone(&way));
            }
        }
        self.listed.store(Arc::new(listed));
        self.know(ways);
        Ok(())
    }

    fn know(&self, ways: Vec<Arc<Way>>) {
        let ids = |ways: &[Arc<Way>]| {
            ways.iter().map(|way| way.id().to_owned()).collect::<BTreeSet<String>>()
        };
        let others = ids(&self.known()) != ids(&ways);
        self.known.store(Arc::new(ways));
        if others {
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn published(&self, way: &Way, policy: &Policy) -> Result<Duration, LedgerError> {
        let _one = self.one_at_a_time.lock().await;
        // A store with operations and no list: a payonce wrote them that knew one format of ids, and
        // perhaps this policy.
        let unlisted = self.ledger.get(list()).await?.is_none();
        if unlisted && !self.ledger.open(1).await?.is_empty() {
            self.publish(&Way::with(policy, IdFormat::First)).await?;
        }
        let now = self.clock.now();
        let wait = self.publish(way).await?;
        self.read(now).await?;
        self.read.store(now.as_millis(), Ordering::Relaxed);
        let at_once = self.ledger.exclusive() || seams::mistake(Mistake::EditUnannounced);
        Ok(if at_once { Duration::ZERO } else { wait })
    }

    /// Writes that `way` is in force; says how long to wait before it is used.
    async fn publish(&self, way: &Way) -> Result<Duration, LedgerError> {
        self.write_text(way).await?;
        for _ in 0..RACES {
            let now = self.clock.now();
            let held = self.ledger.get(list()).await?;
            let mut list_now = held.as_ref().map_or_else(|| Ok(Index::new()), index)?;
            let gone = list_now.note(way.id(), now);
            let entry = entry(list_now.bytes());
            let done = match held {
                None => matches!(self.ledger.claim(&[list()], entry).await?, Claimed::Fresh(_)),
                Some(held) => {
                    let replaced = self.ledger.replace(list(), held.version, entry).await?;
                    matches!(replaced, Replaced::Done(_))
                }
            };
            if done {
                for id in gone {
                    self.metrics.limit_reached("ways");
                    warn!(
                        way = id,
                        "too many edits of the policy within its retention: what was \
                        recognised by the oldest is not found any more"
                    );
                }
                return Ok(list_now.wait(way.id(), now, self.notice));
            }
        }
        Err(LedgerError::Unavailable(
            "other processes kept writing the list of policies".to_owned(),
        ))
    }

    async fn write_text(&self, way: &Way) -> Result<(), LedgerError> {
        let entry = || entry(way.text().as_bytes().to_vec());
        match self.ledger.claim(&[text(way.id())], entry()).await? {
            Claimed::Fresh(_) => {}
            // It is the same text; it is kept for longer.
            Claimed::Found(held) => {
                self.ledger.replace(held.id, held.version, entry()).await?;
            }
        }
        Ok(())
    }

    async fn fetch(&self, id: &str) -> Result<Option<Arc<Way>>, LedgerError> {
        let way = match self.ledger.get(text(id)).await? {
            None => Err("the store has lost its text".to_owned()),
            Some(held) => match std::str::from_utf8(&held.record) {
                Ok(text) => Way::read(text).map_err(|unreadable| unreadable.to_string()),
                Err(_not_text) => Err("it is not text".to_owned()),
            },
        };
        match way {
            Ok(way) => Ok(Some(Arc::new(way))),
            Err(why) => {
                let mut told = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
                if told.len() < MOST_TOLD && told.insert(id.to_owned()) {
                    self.metrics.ledger_error("ways");
                    warn!(way = id, error = why, "what is open by a former policy is not found");
                }
                Ok(None)
            }
        }
    }

    fn learn(&self, way: Arc<Way>) {
        let mut known = Vec::clone(&self.known());
        if !known.iter().any(|it| it.id() == way.id()) {
            known.insert(0, way);
            self.know(known);
        }
    }
}

/// The policy in force in this process, and those that are or were in force on the store.
pub struct InForce<P, L> {
    /// The one in force here.
    pub policy: P,
    /// The others.
    pub ways: Arc<Ways<L>>,
}

impl<P, L> Policies for InForce<P, L>
where
    P: Fn() -> Arc<Policy> + Send + Sync + 'static,
    L: Ledger,
{
    fn current(&self) -> Arc<Policy> {
        (self.policy)()
    }

    fn other_ways(&self) -> Arc<Vec<Arc<Way>>> {
        self.ways.known()
    }

    fn generation(&self) -> u64 {
        self.ways.generation()
    }

    fn catch_up(&self) -> Option<CatchUp<'_>> {
        if !self.ways.is_stale() {
            return None;
        }
        Some(Box::pin(self.ways.catch_up()))
    }
}

fn index(held: &Held) -> Result<Index, LedgerError> {
    Index::read(&held.record).map_err(|unreadable| LedgerError::Damaged(unreadable.to_string()))
}

fn entry(bytes: Vec<u8>) -> Entry {
    Entry { record: Bytes::from(bytes), ttl: KEEP, open: false, keys: Vec::new() }
}

/// Where the list stands.
fn list() -> RecordId {
    RecordId(Sha256::digest(b"payonce ways 1").into())
}

/// Where the text of one way stands.
fn text(id: &str) -> RecordId {
    let mut digest = Sha256::new();
    digest.update(b"payonce way 1 ");
    digest.update(id);
    RecordId(digest.finalize().into())
}
