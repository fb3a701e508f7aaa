//! The one store of all pods, and the network between: what a Redis and its cable may do.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use payonce::ledger::memory::{Memory, Snapshot};
use payonce::ledger::{
    Claimed, Entry, Held, KeyDigest, Ledger, LedgerError, RecordId, Replaced, Version,
};

use super::sky::Sky;

/// How long a pod waits for the store.
const PATIENCE: Duration = Duration::from_millis(250);

/// The store itself.
pub(crate) struct Store {
    memory: Memory,
    /// What the replica has.
    replica: Mutex<Option<Snapshot>>,
}

impl Store {
    pub(crate) fn new(sky: &Sky) -> Arc<Self> {
        let memory = Memory::new(sky.clock.clone(), 1_000_000);
        Arc::new(Self { memory, replica: Mutex::new(None) })
    }

    /// The replica catches up.
    pub(crate) fn replicate(&self) {
        *self.replica.lock().unwrap() = Some(self.memory.snapshot().unwrap());
    }

    /// The replica takes over as it is; without one that ever caught up, everything is gone.
    pub(crate) fn fail_over(&self) {
        self.memory.step_back(self.replica.lock().unwrap().as_ref()).unwrap();
    }

    /// FLUSHALL.
    pub(crate) fn flush(&self) {
        self.memory.step_back(None).unwrap();
    }

    pub(crate) async fn open(&self) -> Vec<Held> {
        self.memory.open(1_000_000).await.unwrap()
    }

    /// Writes over what was read, if it still stands.
    pub(crate) async fn replace(&self, held: &Held, entry: Entry) -> bool {
        let replaced = self.memory.replace(held.id, held.version, entry).await.unwrap();
        matches!(replaced, Replaced::Done(_))
    }
}

type Done<T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send>>;

/// What becomes of one command.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Fine,
    Refused,
    Full,
    RequestLost,
    AnswerLost,
    /// It comes when its sender has given it up.
    Late,
}

/// The store as one pod sees it.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) sky: Arc<Sky>,
    pub(crate) store: Arc<Store>,
    pub(crate) pod: usize,
}

impl Remote {
    fn fate(&self, writes: bool) -> Fate {
        let (rate, down, full, cut) = {
            let weather = self.sky.weather();
            let cut = weather.cut_off[self.pod];
            (weather.rates.store, weather.store_down, weather.store_full, cut)
        };
        let fates = [Fate::RequestLost, Fate::AnswerLost, Fate::Late];
        if down {
            Fate::Refused
        } else if cut {
            // What was under way when the cable broke may have arrived.
            *self.sky.pick(&[Fate::RequestLost, Fate::RequestLost, Fate::RequestLost, Fate::Late])
        } else if full && writes {
            Fate::Full
        } else if self.sky.chance(rate) {
            *self.sky.pick(&fates)
        } else {
            Fate::Fine
        }
    }

    /// Takes one command to the store and its answer back.
    async fn trip<T: Send + 'static>(
        &self,
        what: &'static str,
        writes: bool,
        does: impl FnOnce(Arc<Store>) -> Done<T> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (sky, store) = (&self.sky, Arc::clone(&self.store));
        let fate = self.fate(writes);
        if !matches!(fate, Fate::Fine) {
            sky.note(format_args!("pod {} store {what}: {fate:?}", self.pod));
        }
        let lost = |name| {
            sky.struck(name);
            Err(LedgerError::Unavailable(name.to_owned()))
        };
        sky.sleep(sky.between(1, 4)).await;
        match fate {
            Fate::Fine => {
                let answer = does(store).await;
                sky.sleep(sky.between(1, 4)).await;
                answer
            }
            Fate::Refused => lost("store: down"),
            Fate::Full => lost("store: full"),
            Fate::RequestLost => {
                sky.sleep(PATIENCE).await;
                lost("store: request lost")
            }
            Fate::AnswerLost => {
                drop(does(store).await);
                sky.sleep(PATIENCE).await;
                lost("store: answer lost")
            }
            Fate::Late => {
                let late = PATIENCE + sky.between(1, 5_000);
                let clock = sky.clock.clone();
                tokio::task::spawn(async move {
                    clock.sleep(late).await;
                    drop(does(store).await);
                });
                sky.sleep(PATIENCE).await;
                lost("store: command late")
            }
        }
    }
}

impl Ledger for Remote {
    async fn claim(&self, ids: &[RecordId], fresh: Entry) -> Result<Claimed, LedgerError> {
        let ids = ids.to_vec();
        self.trip("claim", true, move |store| {
            Box::pin(async move { store.memory.claim(&ids, fresh).await })
        })
        .await
    }

    async fn replace(
        &self,
        id: RecordId,
        seen: Version,
        entry: Entry,
    ) -> Result<Replaced, LedgerError> {
        self.trip("replace", true, move |store| {
            Box::pin(async move { store.memory.replace(id, seen, entry).await })
        })
        .await
    }

    async fn remove(&self, id: RecordId, seen: Version) -> Result<Replaced, LedgerError> {
        self.trip("remove", true, move |store| {
            Box::pin(async move { store.memory.remove(id, seen).await })
        })
        .await
    }

    async fn get(&self, id: RecordId) -> Result<Option<Held>, LedgerError> {
        self.trip("get", false, move |store| Box::pin(async move { store.memory.get(id).await }))
            .await
    }

    async fn open(&self, limit: usize) -> Result<Vec<Held>, LedgerError> {
        self.store.memory.open(limit).await
    }

    async fn by_key(&self, key: KeyDigest) -> Result<Option<Held>, LedgerError> {
        self.store.memory.by_key(key).await
    }

    fn exclusive(&self) -> bool {
        false
    }
}
