//! The policy file on disk: read, watched, and never replaced by a worse one (I9).
//!
//! A changed file is taken only if it parses, its tests hold and the process can serve it;
//! otherwise the policy in force stays and [`Status`] says why, to logs, metrics and readiness.
//! Where keys are trusted, one of them must have signed it ([`signature`]); a [`Witness`] hears of
//! every load before it takes effect. What a policy means is
//! [`decide::policy`](crate::decide::policy)'s.
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
use crate::decide::policy::Policy;
use crate::seams::{self, Point};

use self::read::{Look, Mark};
use self::signature::{Signed, TrustedKeys};

pub use self::load::{Event, Load, Witness};
pub use self::read::{Found, LoadError, MAX_BYTES, Sound, Why, parse, read, read_signed};

mod load;
mod read;
pub mod signature;
pub(crate) mod watching;

/// The policy that ships with payonce, `config/policy.toml`.
pub const SHIPPED: &str = include_str!("../config/policy.toml");

/// What stands where a path would, if the policy comes from no file.
pub const SHIPPED_AS: &str = "(the shipped policy)";

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
    /// Who vouches for it, where somebody must.
    pub signed: Option<Signed>,
    /// How many warnings `payonce check` has for it, without regard to the store.
    pub warnings: usize,
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
    trusted: TrustedKeys,
    witness: OnceLock<Box<dyn Witness>>,
    prepare: OnceLock<Prepare>,
    current: ArcSwap<Policy>,
    status: watch::Sender<Status>,
    /// What was found on the disk the last time; one reload at a time looks at it.
    last: Mutex<Option<Mark>>,
}

/// The policy that payonce ships, where the settings name none.
///
/// # Errors
/// [`LoadError`] if `accept` says no.
pub fn shipped(clock: Clock, accept: &Accept) -> Result<PolicyFile, LoadError> {
    let path = Path::new(SHIPPED_AS);
    let policy = parse(path, SHIPPED.as_bytes())?;
    match accept(&policy) {
        Ok(()) => Ok(PolicyFile::fixed(policy, clock)),
        Err(why) => Err(LoadError::of(path, &policy, Why::Unfit(why.into()))),
    }
}

impl PolicyFile {
    /// Reads the policy at `path`. Blocks on the file; meant for the start.
    ///
    /// # Errors
    /// [`LoadError`] if the file cannot be read, has problems, or `accept` says no.
    pub fn load(path: &Path, clock: Clock, accept: Accept) -> Result<Self, LoadError> {
        Self::load_signed(path, TrustedKeys::default(), clock, accept)
    }

    /// Likewise, and it must be signed with one of the `trusted` keys, now and ever after, if there
    /// are any.
    ///
    /// # Errors
    /// [`LoadError`], also if nobody who is trusted vouches for the file.
    pub fn load_signed(
        path: &Path,
        trusted: TrustedKeys,
        clock: Clock,
        accept: Accept,
    ) -> Result<Self, LoadError> {
        let look = Look::at(path, &trusted);
        let mark = look.mark();
        let sound = look.judge(path, &trusted)?.sound();
        if let Err(why) = accept(&sound.policy) {
            return Err(LoadError::of(path, &sound.policy, Why::Unfit(why.into())));
        }
        let file = Self::holding(sound, Some(path.to_owned()), clock);
        Ok(Self { accept, trusted, last: Mutex::new(Some(mark)), ..file })
    }

    /// A policy that comes from no file and never changes, such as [`SHIPPED`].
    #[must_use]
    pub fn fixed(policy: Policy, clock: Clock) -> Self {
        let sound = Sound { policy: Arc::new(policy), signed: None, warnings: 0 };
        Self::holding(sound, None, clock)
    }

    fn holding(sound: Sound, path: Option<PathBuf>, clock: Clock) -> Self {
        let status = Status {
            version: sound.policy.version().to_owned(),
            rules: sound.policy.rules().len(),
            signed: sound.signed,
            warnings: sound.warnings,
            loaded_at: clock.now(),
            refused: None,
            watching: false,
        };
        Self {
            path,
            clock,
            accept: Box::new(|_policy| Ok(())),
            trusted: TrustedKeys::default(),
            witness: OnceLock::new(),
            prepare: OnceLock::new(),
            current: ArcSwap::new(sound.policy),
            status: watch::Sender::new(status),
            last: Mutex::new(None),
        }
    }

    /// Tells `witness` of the policy that payonce starts with, and from now on of every load.
    ///
    /// # Errors
    /// What the witness says against starting with it.
    pub async fn witnessed_by(&self, witness: Box<dyn Witness>) -> Result<(), LoadError> {
        let policy = self.current();
        let Status { signed, warnings, .. } = self.status();
        let found = Ok(Sound { policy: Arc::clone(&policy), signed, warnings });
        let load = Load { event: Event::Start, path: self.shown(), before: None, found: &found };
        witness
            .hear(&load)
            .await
            .map_err(|why| LoadError::of(self.shown(), &policy, Why::Unrecorded(why.into())))?;
        // A second witness would be a mistake in the assembly; the first one stays.
        self.witness.set(witness).unwrap_or_default();
        Ok(())
    }

    /// Where it comes from, for people.
    pub(crate) fn shown(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(SHIPPED_AS))
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
        let mut last = self.last.lock().await;
        let Some(look) = self.settled(path, last.as_ref()).await else {
            return Reloaded::Unchanged;
        };
        let mark = look.mark();
        let found = look.judge_aside(path, &self.trusted).await;
        let found = found.and_then(|sound| match (self.accept)(&sound.policy) {
            Ok(()) => Ok(sound),
            Err(why) => Err(LoadError::of(path, &sound.policy, Why::Unfit(why.into()))),
        });
        let before = self.current();
        let load = Load { event: Event::Reload, path, before: Some(&before), found: &found };
        let heard = match self.witness.get() {
            Some(witness) if load.is_news(self.status.borrow().refused.is_some()) => {
                witness.hear(&load).await
            }
            Some(_) | None => Ok(()),
        };
        let same = load.is_in_force();
        *last = Some(mark);
        match (found, heard) {
            (Ok(sound), _) if same => self.mended(sound.signed),
            (Ok(sound), Ok(())) => {
                if let Some(prepare) = self.prepare.get() {
                    prepare(Arc::clone(&sound.policy)).await;
                }
                self.take(sound)
            }
            (Ok(sound), Err(why)) => {
                // The disk may be full only for now: the next look finds the file new again.
                *last = None;
                self.refuse(LoadError::of(path, &sound.policy, Why::Unrecorded(why.into())))
            }
            (Err(error), _) => self.refuse(error),
        }
    }

    /// What stands on the disk, once two looks at it agree; `None` if that is what was found the
    /// `last` time, or they never do.
    async fn settled(&self, path: &Path, last: Option<&Mark>) -> Option<Look> {
        let mut before = Look::aside(path, &self.trusted).await;
        if last == Some(&before.mark()) {
            return None;
        }
        for _ in 0..LOOKS {
            self.clock.sleep(SETTLING).await;
            let now = Look::aside(path, &self.trusted).await;
            if now == before {
                return Some(now);
            }
            before = now;
        }
        None
    }

    fn take(&self, sound: Sound) -> Reloaded {
        let Sound { policy, signed, warnings } = sound;
        let (version, rules) = (policy.version().to_owned(), policy.rules().len());
        tracing::info!(
            policy_version = version,
            sha256 = policy.hash(),
            policy_version_before = self.status.borrow().version,
            rules,
            signed_by = signed.as_ref().map(|signed| tracing::field::display(&signed.by)),
            "the new policy is in force"
        );
        seams::point(Point::PolicyRead);
        self.current.store(policy);
        seams::point(Point::PolicyTaken);
        self.status.send_modify(|status| {
            status.version = version;
            status.rules = rules;
            status.signed = signed;
            status.warnings = warnings;
            status.loaded_at = self.clock.now();
            status.refused = None;
        });
        Reloaded::Taken
    }

    fn mended(&self, signed: Option<Signed>) -> Reloaded {
        let mended = self.status.send_if_modified(|status| {
            status.signed = signed;
            status.refused.take().is_some()
        });
        if !mended {
            return Reloaded::Unchanged;
        }
        let version = &self.status.borrow().version;
        tracing::info!(policy_version = version, "the policy file holds the policy in force again");
        Reloaded::Mended
    }

    fn refuse(&self, error: LoadError) -> Reloaded {
        let in_force = self.status.borrow().version.clone();
        tracing::error!(
            policy_version = in_force,
            policy_version_refused = error.version(),
            %error,
            "the new policy is refused, the old one stays"
        );
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
