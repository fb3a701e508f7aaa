//! The policy file on disk: read, watched, and never replaced by a worse one (I9).
//!
//! A changed file is taken only if it parses, its tests hold and the process can serve it;
//! otherwise the policy in force stays and [`Status`] says why, to logs, metrics and readiness.
//! What a policy means is [`decide::policy`](crate::decide::policy)'s.
//!
//! The *directory* is watched: an editor's rename and a Kubernetes `ConfigMap`'s symlink swap both
//! leave a watched file silent for ever. A timer reads again in case no event comes at all.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};

use crate::clock::{Clock, Timestamp};
use crate::decide::policy::{Policy, version_of};
use crate::seams::{self, Point};

pub use self::read::{LoadError, MAX_BYTES, Why, parse, read};

mod read;
mod watching;

/// The policy that ships with payonce, `config/policy.toml`.
pub const SHIPPED: &str = include_str!("../config/policy.toml");

/// How often the file is read again though nothing was heard of it.
pub const REREAD_EVERY: Duration = Duration::from_secs(30);

/// How long a changed file must stay as it is before it is taken: an editor that writes in place
/// leaves, for a moment, the first half of a policy, which may well parse.
const SETTLING: Duration = Duration::from_millis(100);

/// How often a file that keeps changing is looked at before it is left to the next event.
const LOOKS: usize = 10;

/// Whether this process can serve a policy, beyond its being sound; the error says why not. For
/// what lies between two files, such as content rules on a store that is not the only one.
pub type Accept = Box<dyn Fn(&Policy) -> Result<(), String> + Send + Sync>;

/// What is done with a sound new policy before it is in force.
pub type Prepare =
    Box<dyn Fn(Arc<Policy>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What is in force, and what was refused since.
#[derive(Clone, Debug)]
pub struct Status {
    /// The version of the policy in force.
    pub version: String,
    /// How many rules it has.
    pub rules: usize,
    /// When it was taken.
    pub loaded_at: Timestamp,
    /// What the file holds now, if that is not in force. `None` if all is well.
    pub refused: Option<Refused>,
    /// Whether changes of the file are heard of at once; otherwise the timer alone finds them.
    pub watching: bool,
}

/// A version of the file that was not taken.
#[derive(Clone, Debug)]
pub struct Refused {
    /// When it was first refused.
    pub at: Timestamp,
    /// Why, and its version, if it could be read at all.
    pub error: LoadError,
}

/// What reading the file again came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// It holds what it held; or it keeps changing, and the next event decides.
    Unchanged,
    /// Its new version is in force.
    Taken,
    /// It holds the version in force again, after one that was refused.
    Mended,
    /// Its new version was refused; the one before stays in force.
    Refused,
}

/// The policy in force, and the file it comes from.
pub struct PolicyFile {
    path: Option<PathBuf>,
    clock: Clock,
    accept: Accept,
    prepare: OnceLock<Prepare>,
    current: ArcSwap<Policy>,
    status: watch::Sender<Status>,
    one_reload: Mutex<()>,
}

/// The policy that payonce ships, where the settings name none.
///
/// # Errors
/// [`LoadError`] if `accept` says no.
pub fn shipped(clock: Clock, accept: &Accept) -> Result<PolicyFile, LoadError> {
    let path = Path::new("(the shipped policy)");
    let policy = parse(path, SHIPPED.as_bytes())?;
    match accept(&policy) {
        Ok(()) => Ok(PolicyFile::fixed(policy, clock)),
        Err(why) => Err(LoadError::unfit(path, policy.version(), why)),
    }
}

impl PolicyFile {
    /// Reads the policy at `path`. Blocks on the file; meant for the start.
    ///
    /// # Errors
    /// [`LoadError`] if the file cannot be read, has problems, or `accept` says no.
    pub fn load(path: &Path, clock: Clock, accept: Accept) -> Result<Self, LoadError> {
        let policy = read(path)?;
        if let Err(why) = accept(&policy) {
            return Err(LoadError::unfit(path, policy.version(), why));
        }
        Ok(Self::holding(policy, Some(path.to_owned()), clock, accept))
    }

    /// A policy that comes from no file and never changes, such as [`SHIPPED`].
    #[must_use]
    pub fn fixed(policy: Policy, clock: Clock) -> Self {
        Self::holding(policy, None, clock, Box::new(|_policy| Ok(())))
    }

    fn holding(policy: Policy, path: Option<PathBuf>, clock: Clock, accept: Accept) -> Self {
        let status = Status {
            version: policy.version().to_owned(),
            rules: policy.rules().len(),
            loaded_at: clock.now(),
            refused: None,
            watching: false,
        };
        Self {
            path,
            clock,
            accept,
            prepare: OnceLock::new(),
            current: ArcSwap::from_pointee(policy),
            status: watch::Sender::new(status),
            one_reload: Mutex::new(()),
        }
    }

    /// Has `prepare` done with every new policy before it is in force. To be said once.
    pub fn before_taking(&self, prepare: Prepare) {
        let first = self.prepare.set(prepare).is_ok();
        debug_assert!(first, "it is prepared in one way");
    }

    /// The policy in force. A request asks once and keeps the answer until it is done.
    #[must_use]
    pub fn current(&self) -> Arc<Policy> {
        self.current.load_full()
    }

    /// What is in force, and what was refused since.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Hears of every policy taken and every one refused.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Reads the file again, takes it if it is sound and has settled, and announces what it did.
    pub async fn reload(&self) -> Reloaded {
        let Some(path) = &self.path else { return Reloaded::Unchanged };
        let _one_at_a_time = self.one_reload.lock().await;
        let Some(found) = self.settled(path).await else { return Reloaded::Unchanged };
        let version = found.as_ref().ok().map(|bytes| version_of(bytes));
        if version.as_deref() == Some(self.status.borrow().version.as_str()) {
            return self.mended();
        }
        let parsed = match found {
            Ok(bytes) => read::parse_aside(path, bytes).await,
            Err(why) => Err(LoadError { path: path.clone(), version, why }),
        };
        let taken = parsed.and_then(|policy| match (self.accept)(&policy) {
            Ok(()) => Ok(policy),
            Err(why) => Err(LoadError::unfit(path, policy.version(), why)),
        });
        match taken {
            Ok(policy) => {
                let policy = Arc::new(policy);
                if let Some(prepare) = self.prepare.get() {
                    prepare(Arc::clone(&policy)).await;
                }
                self.take(policy)
            }
            Err(error) => self.refuse(error),
        }
    }

    /// What the file holds, once two looks at it agree; `None` if that is nothing new, or they
    /// never do.
    async fn settled(&self, path: &Path) -> Option<Result<Vec<u8>, Why>> {
        let mut before = read::bytes_aside(path).await;
        if self.is_known(&before) {
            return None;
        }
        for _ in 0..LOOKS {
            self.clock.sleep(SETTLING).await;
            let now = read::bytes_aside(path).await;
            if now == before {
                return Some(now);
            }
            before = now;
        }
        None
    }

    /// Whether this is what was found the last time.
    fn is_known(&self, found: &Result<Vec<u8>, Why>) -> bool {
        let status = self.status.borrow();
        match (found, &status.refused) {
            (Ok(bytes), None) => version_of(bytes) == status.version,
            (Ok(bytes), Some(refused)) => refused.error.version == Some(version_of(bytes)),
            (Err(why), Some(refused)) => refused.error.why == *why,
            (Err(_), None) => false,
        }
    }

    fn take(&self, policy: Arc<Policy>) -> Reloaded {
        let (version, rules) = (policy.version().to_owned(), policy.rules().len());
        tracing::info!(policy = version, rules, "the new policy is in force");
        seams::point(Point::PolicyRead);
        self.current.store(policy);
        seams::point(Point::PolicyTaken);
        self.status.send_modify(|status| {
            status.version = version;
            status.rules = rules;
            status.loaded_at = self.clock.now();
            status.refused = None;
        });
        Reloaded::Taken
    }

    fn mended(&self) -> Reloaded {
        let mended = self.status.send_if_modified(|status| status.refused.take().is_some());
        if !mended {
            return Reloaded::Unchanged;
        }
        tracing::info!("the policy file holds the policy in force again");
        Reloaded::Mended
    }

    fn refuse(&self, error: LoadError) -> Reloaded {
        let in_force = self.status.borrow().version.clone();
        tracing::error!(policy = in_force, "the new policy is refused, the old one stays: {error}");
        let at = self.clock.now();
        self.status.send_modify(|status| status.refused = Some(Refused { at, error }));
        Reloaded::Refused
    }
}

impl std::fmt::Debug for PolicyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyFile")
            .field("path", &self.path)
            .field("status", &*self.status.borrow())
            .finish_non_exhaustive()
    }
}
