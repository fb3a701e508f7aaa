//! Events close what is in doubt: one that bears the upstream key of an open operation, from the
//! same account, says that the provider executed it.
//!
//! What that means for the record is decided in
//! [`change::witnessed`](crate::decide::operation::change::witnessed). An owner that is at work is
//! left alone, and looked at again once it must have ended: it may end in doubt.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};
use uuid::Uuid;

use super::event::{Event, Proof};
use super::{Endpoint, Gate};
use crate::decide::digest::{ApiKeyDigest, OperationId, key_digest};
use crate::decide::identity::Kind;
use crate::decide::operation::change::{kept, witnessed};
use crate::decide::operation::codec::{decode, encode};
use crate::decide::operation::finding::digests;
use crate::decide::operation::record::{self, Record};
use crate::ledger::{Entry, Ledger, LedgerError, Replaced};
use crate::trace;
use crate::upstream::Upstream;

/// How often a lost race is run again.
const RACES: u32 = 5;
/// Between two looks at an operation that somebody works on.
const PAUSE: Duration = Duration::from_secs(1);

/// What an event did to the operation whose key it bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// It is closed: it succeeded.
    Closed,
    /// It is written down for people; the outcome is still open.
    Noted,
    /// No operation bears this key, or its outcome is known.
    Known,
    /// Somebody works on it.
    Busy,
    /// It is not known to be of the account that the event is of.
    OtherAccount,
}

impl<L: Ledger, U: Upstream> Gate<L, U> {
    /// Looks for the operation whose key `event` bears, and closes it if it is open.
    pub(super) async fn close(&self, endpoint: &Arc<Endpoint<U>>, event: &Event) {
        if event.request.is_none() || self.closed(endpoint, event).await {
            return;
        }
        let Ok(place) = Arc::clone(&self.later).try_acquire_owned() else {
            self.metrics.limit_reached("webhook events that wait for an operation");
            return;
        };
        let (gate, endpoint, event) = (self.clone(), Arc::clone(endpoint), event.clone());
        let span = trace::current().map(|span| span.mention());
        self.tasks.spawn(trace::within(span, async move {
            gate.close_later(&endpoint, &event).await;
            drop(place);
        }));
    }

    /// Until the longest exchange must have ended, or payonce ends.
    async fn close_later(&self, endpoint: &Endpoint<U>, event: &Event) {
        let clock = &self.exchange.clock;
        let longest = self.exchange.forwarder.limits().deadline + 2 * self.exchange.config.lease;
        let until = clock.now().plus(longest);
        while clock.now() < until {
            tokio::select! {
                () = clock.sleep(PAUSE) => {}
                () = self.exchange.closing.cancelled() => return,
            }
            if self.closed(endpoint, event).await {
                return;
            }
        }
        self.metrics.webhook_closed("late");
    }

    /// Whether there is nothing left to do.
    async fn closed(&self, endpoint: &Endpoint<U>, event: &Event) -> bool {
        let done = match self.witness(endpoint, event).await {
            Ok(done) => done,
            Err(failed) => {
                self.metrics.ledger_error("unavailable");
                warn!(event_id = event.id, error = %failed, "the store did not say whose key a webhook bears");
                return false;
            }
        };
        self.metrics.webhook_closed(match done {
            Done::Closed => "closed",
            Done::Noted => "noted",
            Done::Known => "known",
            Done::OtherAccount => "other_account",
            Done::Busy => return false,
        });
        true
    }

    async fn witness(&self, endpoint: &Endpoint<U>, event: &Event) -> Result<Done, LedgerError> {
        let Some(request) = &event.request else { return Ok(Done::Known) };
        let digest = key_digest(&request.key);
        for _ in 0..RACES {
            let Some(held) = self.exchange.ledger.by_key(digest).await? else {
                return Ok(Done::Known);
            };
            let unreadable = |why: crate::decide::operation::codec::CodecError| {
                LedgerError::Damaged(format!("{}: {why}", held.id))
            };
            let record = decode(&held.record).map_err(unreadable)?;
            // Client keys are found too, and the keys of earlier occurrences.
            if record.key.as_str() != request.key || !record.unresolved() {
                return Ok(Done::Known);
            }
            if !same_account(&record, endpoint.account.as_deref(), &endpoint.api_keys, event) {
                return Ok(Done::OtherAccount);
            }
            if self.exchange.is_worked_on(held.id, &record) {
                return Ok(Done::Busy);
            }
            let now = self.exchange.clock.now();
            let said = record::Event {
                id: event.id.clone(),
                kind: event.kind.clone(),
                object: event.object_of(&record.request),
                endpoint: endpoint.name.clone(),
                at: now,
            };
            let succeeded = event.proof(&record.request) == Proof::Succeeded;
            let Some(record) = witnessed(record, said, succeeded) else { return Ok(Done::Known) };
            let entry = Entry {
                record: encode(&record).map_err(unreadable)?,
                ttl: kept(&record, &OperationId(held.id.0), now),
                open: record.open(),
                keys: digests(&record, None),
            };
            match self.exchange.ledger.replace(held.id, held.version, entry).await? {
                Replaced::Moved(_) => {}
                Replaced::Done(_) => {
                    let (id, object_id) = (held.id, record.about.object.as_deref());
                    info!(operation_id = %id, event_id = event.id, event_type = event.kind, object_id,
                        endpoint = endpoint.name, closed = succeeded,
                        "Stripe's webhook says that it was executed");
                    self.exchange.recent.wrote(id, record, now);
                    return Ok(if succeeded { Done::Closed } else { Done::Noted });
                }
            }
        }
        Err(LedgerError::Unavailable("it moves all the time".to_owned()))
    }
}

/// Whether `event`, from an endpoint of `account`, is known to be of the account in which the
/// operation was asked for (I7).
///
/// The connected account is compared where either names one. Beyond that, a derived key is no other
/// operation's, so that bearing it is proof; a key that an application chose can be another
/// account's too, and needs the endpoint to name the API key, or the request's id to be the same.
fn same_account(
    record: &Record,
    account: Option<&str>,
    api_keys: &[ApiKeyDigest],
    event: &Event,
) -> bool {
    // A context is a path of accounts; the last one is where it happens.
    let last = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
    let asked = record.about.account.as_deref().map(last);
    let happened = event.account.as_deref().map(last);
    let own = account.map(str::to_owned);
    let connected = match (asked, happened) {
        (Some(asked), Some(happened)) => asked == happened,
        (Some(one), None) | (None, Some(one)) => own == Some(one),
        (None, None) => true,
    };
    let uuid = Uuid::parse_str(record.key.as_str()).ok();
    let derived =
        record.kind != Kind::OwnKey && uuid.is_some_and(|uuid| uuid.get_version_num() == 8);
    let request = event.request.as_ref().and_then(|request| request.id.as_ref());
    let answered = request.is_some() && request == record.about.request_id.as_ref();
    let hint = record.about.api_key;
    let listed = hint.is_some_and(|hint| api_keys.iter().any(|key| key.hint() == hint));
    connected && (derived || answered || listed)
}

#[cfg(test)]
mod tests;
