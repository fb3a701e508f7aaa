//! The list of clients for people: what the admin port answers and `payonce clients` prints.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Client, Clients, known};
use crate::clock::Timestamp;
use crate::decide::agent::{Day, Released};
use crate::decide::policy::Policy;

/// The clients that were seen since payonce started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// One by one, the last to ask first.
    pub clients: Vec<Seen>,
    /// Requests of clients for which the list has no room.
    pub other_requests: u64,
    /// The last date in the table of releases: it knows of nothing later.
    pub table_until: Option<String>,
    /// The policy whose rules are named.
    pub policy_version: String,
}

/// One client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The SDK as the policy spells it, or `unknown`.
    pub sdk: String,
    /// Its version as it says.
    pub version: Option<String>,
    /// When that was released: a date, `by` a date, `new` (after the table's last), or `unknown`.
    pub released: String,
    /// How many days ago that was, at least.
    pub age_days: Option<u32>,
    /// The newest release that the table has.
    pub newest: Option<String>,
    /// The version of the language.
    pub language: Option<String>,
    /// The operating system.
    pub platform: Option<String>,
    /// The application and its version.
    pub app: Option<String>,
    /// The coding agent that runs it, if the SDK says so.
    pub ai_agent: Option<String>,
    /// Who it says it is.
    pub caller: Option<String>,
    /// When it first asked, since payonce started.
    pub first_seen: Timestamp,
    /// When it last asked.
    pub last_seen: Timestamp,
    /// How often it asked.
    pub requests: u64,
    /// How often with POST.
    pub posts: u64,
    /// How many of these bore no idempotency key.
    pub keyless_posts: u64,
    /// How often it was refused for what it is.
    pub refused: u64,
    /// What its SDK is known to do wrong.
    pub known: Vec<String>,
    /// The rules of the policy that apply to it, in the policy's order.
    pub rules: Vec<Applying>,
}

/// A rule that applies to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applying {
    /// Its name.
    pub name: String,
    /// Its action.
    pub action: String,
    /// Why it applies.
    pub why: String,
}

impl Clients {
    /// All that were seen, and what `policy` says of them at `now`.
    #[must_use]
    pub fn list(&self, policy: &Policy, now: Timestamp) -> List {
        let listed = {
            let seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.listed.iter().map(Arc::clone).collect::<Vec<_>>()
        };
        let mut clients: Vec<Seen> =
            listed.iter().map(|client| self.seen(client, policy, now)).collect();
        clients.sort_by_key(|seen| std::cmp::Reverse(seen.last_seen));
        List {
            clients,
            other_requests: self.0.others.requests.load(Ordering::Relaxed),
            table_until: self.0.releases.latest().map(|day| day.to_string()),
            policy_version: policy.version().to_owned(),
        }
    }

    fn seen(&self, client: &Client, policy: &Policy, now: Timestamp) -> Seen {
        let (profile, asker, today) = (&client.profile, client.asker(), Day::of(now));
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &client.tally;
        let newest = profile.sdk.and_then(|sdk| self.0.releases.newest(sdk));
        let (released, age_days) = match client.released {
            Released::On(day) => (day.to_string(), Some(today.days_since(day))),
            Released::By(day) => (format!("by {day}"), Some(today.days_since(day))),
            Released::SinceTable => ("new".to_owned(), None),
            Released::Unknown => ("unknown".to_owned(), None),
        };
        let blamed = profile.sdk.into_iter().flat_map(|sdk| known::of(sdk, profile.version));
        let rules = policy.clients().iter().filter(|rule| rule.applies(&asker, today));
        Seen {
            sdk: profile.sdk.map_or("unknown", |sdk| sdk.as_str()).to_owned(),
            version: profile.written.clone(),
            released,
            age_days,
            newest: newest.map(|(version, _)| version.to_string()),
            language: profile.language.clone(),
            platform: profile.platform.clone(),
            app: profile.app.clone(),
            ai_agent: profile.ai_agent.clone(),
            caller: client.caller.clone(),
            first_seen: Timestamp::from_millis(count(&tally.first)),
            last_seen: Timestamp::from_millis(count(&tally.last)),
            requests: count(&tally.requests),
            posts: count(&tally.posts),
            keyless_posts: count(&tally.keyless),
            refused: count(&tally.refused),
            known: blamed.map(|known| known.what.to_owned()).collect(),
            rules: rules
                .map(|rule| Applying {
                    name: rule.name.clone(),
                    action: rule.action.as_str().to_owned(),
                    why: rule.reason(&asker),
                })
                .collect(),
        }
    }
}
