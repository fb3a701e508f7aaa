//! Asks the store now and then what is open, for the metrics: how much, how old, and how long a key
//! may still be sent again. Decides nothing about any operation.
//!
//! Bounded in what it reads and how long it waits. A store that does not answer leaves the numbers
//! as they were; the time of the last survey then stands still.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::clock::Timestamp;
use crate::decide::operation::Retention;
use crate::decide::operation::codec::decode;
use crate::decide::operation::record::Record;
use crate::decide::operation::stands::Stands;
use crate::decide::path::Api;
use crate::decide::policy::{Class, Policy};
use crate::exchange::Exchange;
use crate::ledger::Ledger;
use crate::metrics::{Group, MOST_RULES, Open};
use crate::notes::Note;
use crate::upstream::Upstream;

/// Most operations that are looked at.
pub const MOST: usize = 1_000;

/// How long the store may take to list them.
const LISTING: Duration = Duration::from_secs(5);

/// The name under which rules beyond [`MOST_RULES`] are added up.
const OTHERS: &str = "other";

/// Surveys about `every` so often, until `stop`. Processes that were started together do not ask
/// together for long.
pub async fn watch<L: Ledger, U: Upstream>(
    exchange: Exchange<L, U>,
    every: Duration,
    stop: CancellationToken,
) {
    let again = async {
        loop {
            survey(&exchange).await;
            let pause = every.mul_f64(0.9 + exchange.chance.share() / 5.0);
            exchange.clock.sleep(pause).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = again => {}
    }
}

/// Looks once.
pub async fn survey<L: Ledger, U: Upstream>(exchange: &Exchange<L, U>) {
    let listed = exchange.clock.timeout(LISTING, exchange.ledger.open(MOST)).await;
    let held = match listed.map_err(|elapsed| elapsed.to_string()) {
        Ok(Ok(held)) => held,
        Ok(Err(failed)) => return unknown(exchange, &failed.to_string()),
        Err(elapsed) => return unknown(exchange, &elapsed),
    };
    let now = exchange.clock.now();
    let mut complete = held.len() < MOST;
    let mut found = Found::among(&exchange.policies.current());
    for held in &held {
        match decode(&held.record) {
            Ok(record) => {
                found.record(&record, exchange.stands(held.id, &record), now);
            }
            // Another version's, perhaps: it is open all the same.
            Err(_unreadable) => complete = false,
        }
    }
    for note in exchange.notes.all() {
        found.note(&note, now);
    }
    exchange.metrics.open_operations(&found.rules, now, complete);
}

fn unknown<L, U>(exchange: &Exchange<L, U>, why: &str) {
    exchange.metrics.ledger_error("survey");
    debug!(why, "what is open could not be found out; the metrics show what was found before");
}

/// What is open, by rule.
#[derive(Debug, Default)]
struct Found {
    rules: BTreeMap<String, Open>,
}

impl Found {
    /// Nothing yet, of each critical rule of `policy`.
    fn among(policy: &Policy) -> Self {
        let mut found = Self::default();
        for rule in policy.rules().iter().filter(|rule| rule.class == Class::Critical) {
            // Its numbers stand at nothing from now on.
            found.rule(&rule.name);
        }
        found
    }

    fn rule(&mut self, name: &str) -> &mut Open {
        let known = self.rules.contains_key(name) || self.rules.len() < MOST_RULES;
        self.rules.entry(if known { name } else { OTHERS }.to_owned()).or_default()
    }

    /// An operation of the store. One whose outcome is known is not open, though the store still
    /// lists it.
    fn record(&mut self, record: &Record, stands: Stands, now: Timestamp) {
        let age = now.since(record.first_sent);
        let open = self.rule(&record.about.rule);
        match stands {
            Stands::InFlight => add(&mut open.in_flight, age),
            Stands::InDoubt { .. } => {
                add(&mut open.in_doubt, age);
                nearer(open, Retention::of(record.api).safe.saturating_sub(age));
            }
            Stands::Succeeded | Stands::Declined => {}
        }
    }

    /// A single call of this process. Without a key it cannot be asked for again at all, and has no
    /// horizon.
    fn note(&mut self, note: &Note, now: Timestamp) {
        let age = now.since(note.at);
        let open = self.rule(&note.about.rule);
        add(&mut open.in_doubt, age);
        if !note.keyless {
            // The shorter of the two, whichever it was sent to.
            nearer(open, Retention::of(Api::V1).safe.saturating_sub(age));
        }
    }
}

fn add(group: &mut Group, age: Duration) {
    group.count = group.count.saturating_add(1);
    group.oldest = group.oldest.max(age);
}

fn nearer(open: &mut Open, left: Duration) {
    open.horizon = Some(open.horizon.map_or(left, |horizon| horizon.min(left)));
}

#[cfg(test)]
mod tests;
