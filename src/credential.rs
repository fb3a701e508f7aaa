//! The API key that payonce holds for its application: read from a file, and again when it changes.
//!
//! The application sends a placeholder, and never has the key. A file that becomes bad leaves the
//! key as it is (I9): an application that can pay with yesterday's key is better off than one that
//! cannot pay. Which requests get the key, and how, is the exchange's matter.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::metrics::Metrics;
use crate::policy_file::watching::{BURST, directory_of, start};
use crate::recent::CALLS_FOR;
use crate::settings::{self, Secret, Unfit};

/// How long a changed file must stay as it is before it is taken: what is written in place is, for
/// a moment, the first half of a key.
const SETTLING: Duration = Duration::from_millis(100);

/// How often a file that keeps changing is looked at before it is left to the next event.
const LOOKS: usize = 10;

/// Keys are not rolled more often than this while their calls are remembered.
const MOST_FORMER: usize = 4;

/// A key that was in use until it was rolled.
#[derive(Clone, Debug)]
pub struct Former {
    /// It.
    pub key: Arc<Secret>,
    /// When it was rolled.
    pub rolled: Timestamp,
}

/// What is held, and what was refused since. Says nothing of the key.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whether there is a key.
    pub held: bool,
    /// When it was read.
    pub taken_at: Timestamp,
    /// What is the matter with the file, if it does not hold the key that is used.
    pub refused: Option<Refused>,
    /// Whether changes of the file are heard of at once; otherwise the timer alone finds them.
    pub watching: bool,
}

/// A file that was not taken.
#[derive(Clone, Debug)]
pub struct Refused {
    /// When that was first seen.
    pub at: Timestamp,
    /// Why.
    pub why: Why,
}

/// Why the file was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It is gone, not allowed, not a file, too large.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// It holds no API key.
    #[error("{0}")]
    Unfit(#[from] Unfit),
}

/// What reading the file again came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// It holds what it held; or it keeps changing, and the next event decides.
    Unchanged,
    /// Its new key is used from now on.
    Taken,
    /// It holds the key in use again, after something bad.
    Mended,
    /// It holds no key; the one before stays in use.
    Refused,
}

/// The API key, and the file it comes from. Its `Debug` shows neither key nor placeholder.
pub struct Credential {
    path: Option<PathBuf>,
    placeholder: String,
    only: bool,
    current: ArcSwapOption<Secret>,
    former: ArcSwap<Vec<Former>>,
    status: watch::Sender<Status>,
    one_reload: Mutex<()>,
    clock: Clock,
    metrics: Metrics,
}

impl Credential {
    /// The one that the settings name, read at start.
    #[must_use]
    pub fn new(settings: &settings::Credential, clock: Clock, metrics: Metrics) -> Self {
        let status = Status {
            held: settings.key.is_some(),
            taken_at: clock.now(),
            refused: None,
            watching: false,
        };
        Self {
            path: settings.path.clone(),
            placeholder: settings.placeholder.clone(),
            only: settings.only,
            current: ArcSwapOption::from(settings.key.clone().map(Arc::new)),
            former: ArcSwap::default(),
            status: watch::Sender::new(status),
            one_reload: Mutex::new(()),
            clock,
            metrics,
        }
    }

    /// None, for an application that sends its own key.
    #[must_use]
    pub fn none() -> Self {
        let settings = settings::Credential {
            path: None,
            key: None,
            placeholder: "sk_test_payonce_placeholder".to_owned(),
            only: false,
            refresh: Duration::from_secs(30),
        };
        Self::new(&settings, Clock::System, Metrics::new())
    }

    /// The key in use. A request asks once and keeps the answer for all its attempts.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Secret>> {
        self.current.load_full()
    }

    /// The keys that a call which was sent lately may have borne, the last one first.
    #[must_use]
    pub fn former(&self) -> Vec<Former> {
        let now = self.clock.now();
        let lately = |it: &&Former| now.since(it.rolled) < CALLS_FOR;
        self.former.load().iter().filter(lately).cloned().collect()
    }

    /// Whether this is what the application sends in the key's place.
    #[must_use]
    pub fn stands_for_it(&self, api_key: &[u8]) -> bool {
        api_key == self.placeholder.as_bytes()
    }

    /// Whether requests with any other key are refused.
    #[must_use]
    pub const fn only(&self) -> bool {
        self.only
    }

    /// What is held, and what was refused since.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Reads the file whenever its directory changes and every `every`, until `stop`. Begins with a
    /// look, for what changed since the start. The directory, because the swap of a mounted
    /// Secret's symlink leaves a watched file silent.
    pub async fn watch(&self, every: Duration, stop: CancellationToken) {
        let Some(path) = &self.path else { return stop.cancelled().await };
        let changed = Arc::new(Notify::new());
        let mut watcher = None;
        let mut said = false;
        loop {
            if watcher.is_none() {
                match start(path, Arc::clone(&changed)) {
                    Ok(started) => watcher = Some(started),
                    Err(why) if !said => {
                        said = true;
                        tracing::warn!(
                            directory = %directory_of(path).display(),
                            error = %why,
                            "the credential's directory cannot be watched; a timer finds its changes"
                        );
                    }
                    Err(_said_before) => {}
                }
                let watching = watcher.is_some();
                self.status.send_if_modified(|it| {
                    std::mem::replace(&mut it.watching, watching) != watching
                });
            }
            self.reload().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = changed.notified() => self.clock.sleep(BURST).await,
                () = self.clock.sleep(every) => {}
            }
        }
    }

    /// Reads the file again, and uses what it holds if that is an API key and has settled.
    pub async fn reload(&self) -> Reloaded {
        let Some(path) = &self.path else { return Reloaded::Unchanged };
        let _one_at_a_time = self.one_reload.lock().await;
        let Some(found) = self.settled(path).await else { return Reloaded::Unchanged };
        match found {
            Ok(key) if self.is_current(&key) => self.mended(),
            Ok(key) => self.take(key),
            Err(why) => self.refuse(why),
        }
    }

    /// What the file holds, once two looks at it agree; `None` if that is nothing new, or they
    /// never do.
    async fn settled(&self, path: &Path) -> Option<Result<Secret, Why>> {
        let mut before = self.read(path).await;
        if self.is_known(&before) {
            return None;
        }
        for _ in 0..LOOKS {
            self.clock.sleep(SETTLING).await;
            let now = self.read(path).await;
            let same = match (&now, &before) {
                (Ok(now), Ok(before)) => now.expose() == before.expose(),
                (Err(now), Err(before)) => now == before,
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
            };
            if same {
                return Some(now);
            }
            before = now;
        }
        None
    }

    /// Whether this is what was found the last time.
    fn is_known(&self, found: &Result<Secret, Why>) -> bool {
        let status = self.status.borrow();
        match (found, &status.refused) {
            (Ok(key), None) => self.is_current(key),
            (Err(why), Some(refused)) => refused.why == *why,
            (Ok(_), Some(_)) | (Err(_), None) => false,
        }
    }

    fn is_current(&self, key: &Secret) -> bool {
        self.current.load().as_ref().is_some_and(|held| held.expose() == key.expose())
    }

    async fn read(&self, path: &Path) -> Result<Secret, Why> {
        let path = path.to_owned();
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        let key = read.unwrap_or_else(|lost| Err(Why::Unreadable(lost.to_string())))?;
        settings::fit(&key, &self.placeholder)?;
        Ok(key)
    }

    fn take(&self, key: Secret) -> Reloaded {
        let mut former = self.former();
        // First the old one is remembered, so that no request finds neither.
        if let Some(key) = self.current() {
            former.insert(0, Former { key, rolled: self.clock.now() });
            former.truncate(MOST_FORMER);
        }
        self.former.store(Arc::new(former));
        self.current.store(Some(Arc::new(key)));
        tracing::info!("the credential was rolled: requests that begin now bear the new API key");
        self.metrics.credential("taken");
        self.status.send_modify(|status| {
            status.held = true;
            status.taken_at = self.clock.now();
            status.refused = None;
        });
        Reloaded::Taken
    }

    fn mended(&self) -> Reloaded {
        let mended = self.status.send_if_modified(|status| status.refused.take().is_some());
        if !mended {
            return Reloaded::Unchanged;
        }
        tracing::info!("the credential's file holds the API key in use again");
        self.metrics.credential("mended");
        Reloaded::Mended
    }

    fn refuse(&self, why: Why) -> Reloaded {
        tracing::error!(
            error = %why,
            "the credential's file is not taken, the API key stays as it was"
        );
        self.metrics.credential("refused");
        let at = self.clock.now();
        self.status.send_modify(|status| status.refused = Some(Refused { at, why }));
        Reloaded::Refused
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("path", &self.path)
            .field("status", &*self.status.borrow())
            .finish_non_exhaustive()
    }
}

/// Blocks on the file.
fn read(path: &Path) -> Result<Secret, Why> {
    let unreadable = |error: std::io::Error| Why::Unreadable(error.to_string());
    // Opening a FIFO would block until somebody writes to it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Why::Unreadable("it is not a regular file".to_owned()));
    }
    Secret::from_file(path).map_err(unreadable)
}
