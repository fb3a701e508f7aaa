//! Who asks: the SDKs that this process has seen, with what they are known to do wrong.
//!
//! A request costs one look-up of its header bytes here, and no allocation once they were seen; what
//! they say is read once ([`profile`]). Everything is bounded: a client beyond the limits is judged
//! like any other and counted among the others. Which rule of the policy applies is decided in
//! [`policy`](crate::decide::policy), what is then done in [`exchange`](crate::exchange).

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, USER_AGENT};
use http::{HeaderValue, Method};

use crate::clock::Timestamp;
use crate::decide::agent::{BadTable, Released, Releases};
use crate::decide::policy::Asker;
use crate::metrics::{Count, Major, Metrics};

pub mod known;
pub mod list;
pub mod profile;

use profile::Profile;

/// Clients that are listed one by one.
const MOST_LISTED: usize = 256;

/// Header bytes that are remembered. One client has as many as it has machines: they name those.
const MOST_HEADS: usize = 1024;

/// Between two log lines about one client.
const SILENCE: Duration = Duration::from_hours(1);

/// How many major versions after the newest of the table are taken for real: SDKs have two a year.
const MAJORS_TO_COME: u32 = 16;

const CLIENT_USER_AGENT: HeaderName = HeaderName::from_static("x-stripe-client-user-agent");
const CALLER: HeaderName = HeaderName::from_static("payonce-caller");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The table of releases that payonce is shipped with.
pub const SHIPPED: &str = include_str!("../config/sdk-releases.tsv");

/// The clients of this process. Clones share them.
#[derive(Clone)]
pub struct Clients(Arc<Inner>);

struct Inner {
    releases: Releases,
    metrics: Metrics,
    /// Keyed at random, so that nobody can choose header bytes that share a place.
    hasher: RandomState,
    seen: Mutex<Heads>,
    others: Arc<Tally>,
}

#[derive(Default)]
struct Heads {
    by_bytes: HashMap<u64, Arc<Client>>,
    listed: Vec<Arc<Client>>,
}

/// One client: an SDK of one version, under one language version, in one application.
pub struct Client {
    profile: Profile,
    caller: Option<String>,
    released: Released,
    tally: Arc<Tally>,
    count: Count,
}

/// What is counted of a client. Times in milliseconds of the Unix epoch; 0 for never.
#[derive(Debug, Default)]
struct Tally {
    first: AtomicU64,
    last: AtomicU64,
    requests: AtomicU64,
    posts: AtomicU64,
    keyless: AtomicU64,
    refused: AtomicU64,
    said: AtomicU64,
}

impl Clients {
    /// No client yet, and what is known of releases.
    #[must_use]
    pub fn new(releases: Releases, metrics: Metrics) -> Self {
        let seen = Mutex::default();
        let others = Arc::default();
        Self(Arc::new(Inner { releases, metrics, hasher: RandomState::new(), seen, others }))
    }

    /// Likewise, by the table that payonce is shipped with.
    ///
    /// # Errors
    /// [`BadTable`], which a test rules out.
    pub fn shipped(metrics: Metrics) -> Result<Self, BadTable> {
        Ok(Self::new(Releases::parse(SHIPPED)?, metrics))
    }

    /// Notes a request with these header fields. `caller` says who asks, if that can be known; it is
    /// asked only where the fields were not seen before, and may depend on nothing else.
    pub fn meet(
        &self,
        method: &Method,
        headers: &HeaderMap,
        caller: impl FnOnce() -> Option<String>,
        now: Timestamp,
    ) -> Arc<Client> {
        let client = self.known(headers, caller);
        let tally = &client.tally;
        tally.requests.fetch_add(1, Ordering::Relaxed);
        if method == Method::POST {
            tally.posts.fetch_add(1, Ordering::Relaxed);
            if !headers.contains_key(IDEMPOTENCY_KEY) {
                tally.keyless.fetch_add(1, Ordering::Relaxed);
            }
        }
        let millis = now.as_millis();
        // Only the first to come finds a zero; that the clock reads 0 is no worse than a later first.
        if tally.first.load(Ordering::Relaxed) == 0 {
            tally.first.fetch_max(millis, Ordering::Relaxed);
        }
        tally.last.fetch_max(millis, Ordering::Relaxed);
        client.count.one();
        client
    }

    fn known(&self, headers: &HeaderMap, caller: impl FnOnce() -> Option<String>) -> Arc<Client> {
        let bytes = |name: &HeaderName| headers.get(name).map(HeaderValue::as_bytes);
        let (agent, said) = (bytes(&USER_AGENT), bytes(&CLIENT_USER_AGENT));
        let place = self.0.hasher.hash_one((agent, said, bytes(&CALLER)));
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = seen.by_bytes.get(&place) {
            return Arc::clone(client);
        }
        let profile = Profile::read(agent.unwrap_or_default(), said.unwrap_or_default());
        let caller = caller().or_else(|| profile.app_name().map(str::to_owned));
        let client = self.listed(&mut seen, profile, caller);
        if seen.by_bytes.len() >= MOST_HEADS {
            // They are read again when they come again.
            seen.by_bytes.clear();
            self.0.metrics.limit_reached("client_heads");
        }
        seen.by_bytes.insert(place, Arc::clone(&client));
        client
    }

    /// The client of the list that this is, or a new one.
    fn listed(&self, seen: &mut Heads, profile: Profile, caller: Option<String>) -> Arc<Client> {
        let same = |client: &&Arc<Client>| {
            client.caller == caller && client.profile.is_same_client(&profile)
        };
        if let Some(client) = seen.listed.iter().find(same) {
            return Arc::clone(client);
        }
        let room = seen.listed.len() < MOST_LISTED;
        let tally = if room { Arc::default() } else { Arc::clone(&self.0.others) };
        let released = match (profile.sdk, profile.version) {
            (Some(sdk), Some(version)) => self.0.releases.released(sdk, version),
            (Some(_), None) | (None, _) => Released::Unknown,
        };
        let count = self.0.metrics.sdk(profile.sdk, self.major(&profile));
        let client = Arc::new(Client { profile, caller, released, tally, count });
        if room {
            seen.listed.push(Arc::clone(&client));
        } else {
            self.0.metrics.limit_reached("clients");
        }
        client
    }

    /// The major version to count it under. A client may claim any number, and the table is only as
    /// new as its last refresh.
    fn major(&self, profile: &Profile) -> Major {
        let (Some(sdk), Some(version)) = (profile.sdk, profile.version) else {
            return Major::Unknown;
        };
        let newest = self.0.releases.newest(sdk).map_or(0, |(newest, _)| newest.major());
        if version.major() <= newest.saturating_add(MAJORS_TO_COME) {
            Major::Known(version.major())
        } else {
            Major::Other
        }
    }
}

impl Client {
    /// As a rule of the policy looks at it.
    #[must_use]
    pub fn asker(&self) -> Asker<'_> {
        Asker {
            sdk: self.profile.sdk,
            version: self.profile.version,
            released: self.released,
            caller: self.caller.as_deref(),
        }
    }

    /// Counts that one of its requests was refused for what it is.
    pub fn refused(&self) {
        self.tally.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a log line about it is due; if so, the next is in an hour.
    #[must_use]
    pub fn may_be_logged(&self, now: Timestamp) -> bool {
        let said = self.tally.said.load(Ordering::Relaxed);
        let due = said == 0 || now.since(Timestamp::from_millis(said)) >= SILENCE;
        let now = now.as_millis().max(1);
        due && self
            .tally
            .said
            .compare_exchange(said, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("profile", &self.profile).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
