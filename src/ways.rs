//! In which ways operations are and were recognised on a store, so that an edit of the policy loses
//! none: every process finds what was recognised by another policy, and none recognises by a new one
//! before the others know it.
//!
//! A [`Way`](crate::decide::policy::Way) that is new to the store is announced there, and used after
//! a notice as long as a lease; every process reads the list three times in that time, and reads it
//! again before it serves if it could not. Where one process has the store alone, nobody waits. What
//! is then done with the ways is [`exchange`](crate::exchange)'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
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
    current: ArcSwap<String>,
    /// When the list was last read, and when that was last tried.
    read: AtomicU64,
    tried: AtomicU64,
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
            current: ArcSwap::default(),
            read: AtomicU64::new(0),
            tried: AtomicU64::new(0),
            one_at_a_time: Mutex::new(()),
        }
    }

    /// All that are known, the current one among them.
    pub fn known(&self) -> Arc<Vec<Arc<Way>>> {
        self.known.load_full()
    }

    /// Announces the way of a policy that is to be used, and waits until it may be. A store that does
    /// not answer is no reason not to use it: the announcement is made when it is back.
    pub async fn announce(&self, policy: &Policy) {
        let way = Arc::new(Way::of(policy));
        let mut tries = 1;
        let wait = loop {
            match self.published(&way, policy).await {
                Ok(wait) => break wait,
                Err(failed) if tries == TRIES => {
                    self.metrics.degraded("ways");
                    warn!(%failed, policy = policy.version(), "the store could not be told how this \
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
                policy = policy.version(),
                seconds = wait.as_secs(),
                "this policy recognises \
                operations otherwise than others on the store do: they are told, and it is in force \
                when they know"
            );
            self.clock.sleep(wait).await;
        }
        self.current.store(Arc::new(way.id().to_owned()));
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
        now.since(at(&self.read)) >= self.notice * 2 / 3 && now.since(at(&self.tried)) >= PAUSE
    }

    /// Reads the list.
    pub async fn refresh(&self) {
        let _one = self.one_at_a_time.lock().await;
        let now = self.clock.now();
        self.tried.store(now.as_millis(), Ordering::Relaxed);
        match self.read(now).await {
            Ok(()) => self.read.store(now.as_millis(), Ordering::Relaxed),
            Err(failed) => {
                self.metrics.ledger_error("ways");
                warn!(%failed, "the list of policies in force on the store could not be read");
            }
        }
    }

    async fn read(&self, now: Timestamp) -> Result<(), LedgerError> {
        let current = self.current.load_full();
        let index = match self.ledger.get(list()).await? {
            Some(held) => index(&held)?,
            None => Index::new(),
        };
        let known = self.known();
        let mut ways: Vec<Arc<Way>> = Vec::new();
        for id in index.ids() {
            match known.iter().find(|way| way.id() == id) {
                Some(way) => ways.push(Arc::clone(way)),
                None => ways.extend(self.fetch(id).await?),
            }
        }
        // What the store forgot is told again, first of all what is in force.
        let lost: Vec<_> =
            known.iter().filter(|way| !index.ids().any(|id| id == way.id())).collect();
        let forgot = index.ids().next().is_none();
        for way in lost.into_iter().filter(|way| forgot || way.id() == current.as_str()) {
            self.publish(way).await?;
            ways.push(Arc::clone(way));
        }
        if let Some(way) = known.iter().find(|way| way.id() == current.as_str())
            && !index.in_force(way.id(), now, NOTE_EVERY)
        {
            self.publish(way).await?;
        }
        self.known.store(Arc::new(ways));
        Ok(())
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
        self.tried.store(now.as_millis(), Ordering::Relaxed);
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
        let Some(held) = self.ledger.get(text(id)).await? else {
            self.metrics.ledger_error("ways");
            warn!(
                way = id,
                "the store has lost how a policy recognised operations: what is open by \
                it is not found"
            );
            return Ok(None);
        };
        let read = std::str::from_utf8(&held.record).ok().map(Way::read);
        match read {
            Some(Ok(way)) => Ok(Some(Arc::new(way))),
            Some(Err(unreadable)) => {
                warn!(way = id, %unreadable, "what is open by a policy of a newer payonce is not found");
                Ok(None)
            }
            None => Err(LedgerError::Damaged("a policy in the store is not text".to_owned())),
        }
    }

    fn learn(&self, way: Arc<Way>) {
        let mut known = Vec::clone(&self.known());
        if !known.iter().any(|it| it.id() == way.id()) {
            known.push(way);
            self.known.store(Arc::new(known));
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

    fn catch_up(&self) -> Option<CatchUp<'_>> {
        if !self.ways.is_stale() {
            return None;
        }
        Some(Box::pin(self.ways.refresh()))
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
