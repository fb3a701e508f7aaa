//! What the engineer on call sees and says of the ledger's open operations.
//!
//! A person can end an operation whose outcome payonce does not know; nobody but Stripe moves
//! money, so there is nothing else to do here.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use self::resolve::Said;
use self::told::{detail, noted, read, record_id, summary};
use self::work::Work;
use crate::admin::bulk::{Bulk, Bulked};
use crate::admin::judge::{self, Around, Judgement, Question, Recognition};
use crate::admin::search::{Found, Wanted};
use crate::admin::{Detail, Operations, OpsError, Resolution, Resolved, Summary};
use crate::audit::AuditLog;
use crate::clients::list::List;
use crate::clock::Timestamp;
use crate::decide::digest::{OperationId, key_digest};
use crate::decide::identity::Kind;
use crate::decide::operation::Retention;
use crate::decide::operation::record::Record;
use crate::decide::operation::table::Ask;
use crate::exchange::{Exchange, LookedUp};
use crate::ledger::{Held, Ledger};
use crate::notes::Note;
use crate::policy_file::PolicyFile;
use crate::server::Tasks;
use crate::upstream::Upstream;

mod advice;
mod many;
mod resolve;
mod search;
mod timeline;
mod told;
mod work;

/// Answers people.
pub struct People<L, U> {
    exchange: Exchange<L, U>,
    policy: Arc<PolicyFile>,
    journal: Option<Journal>,
    work: Work,
}

/// Where a person's word is written down besides the records.
#[derive(Clone, Debug)]
struct Journal {
    log: AuditLog,
    required: bool,
}

impl<L, U> Clone for People<L, U> {
    fn clone(&self) -> Self {
        Self {
            exchange: self.exchange.clone(),
            policy: Arc::clone(&self.policy),
            journal: self.journal.clone(),
            work: self.work.clone(),
        }
    }
}

impl<L: Ledger, U: Upstream> People<L, U> {
    /// Of this exchange, whose drain waits for what they say.
    pub fn new(exchange: Exchange<L, U>, policy: Arc<PolicyFile>) -> Self {
        let work = Work::among(exchange.tasks.clone(), exchange.closing.clone());
        Self { exchange, policy, journal: None, work }
    }

    /// What they say is acted on among `tasks` instead, which the end of the process waits for after
    /// `ending`, with the store still open: from then on nothing more is begun. People are heard while
    /// the exchange drains, and longer.
    #[must_use]
    pub fn heard_until(self, tasks: Tasks, ending: CancellationToken) -> Self {
        Self { work: Work::among(tasks, ending), ..self }
    }

    /// Writes what people say of operations into `log`, if there is one; `required`: or does not
    /// take their word.
    #[must_use]
    pub fn recorded_in(mut self, log: Option<AuditLog>, required: bool) -> Self {
        self.journal = log.map(|log| Journal { log, required });
        self
    }

    async fn found(&self, id: &str) -> Result<Option<(Held, Record)>, OpsError> {
        let Some(id) = record_id(id) else { return Ok(None) };
        match self.exchange.ledger.get(id).await? {
            Some(held) => Ok(Some((held.clone(), read(&held)?))),
            None => Ok(None),
        }
    }

    fn note(&self, id: &str) -> Option<Note> {
        self.exchange.notes.all().into_iter().find(|note| note.operation.to_string() == id)
    }
}

impl<L: Ledger, U: Upstream> Operations for People<L, U> {
    async fn list(&self, limit: usize) -> Result<Vec<Summary>, OpsError> {
        let held = self.exchange.ledger.open(limit).await?;
        let mut list = Vec::with_capacity(held.len());
        for held in held {
            list.push(summary(held.id, &read(&held)?));
        }
        let notes = self.exchange.notes.all();
        let room = limit.saturating_sub(list.len());
        list.extend(notes.iter().rev().take(room).map(|note| noted(note).summary));
        Ok(list)
    }

    async fn show(&self, id: &str) -> Result<Option<Detail>, OpsError> {
        if let Some((held, record)) = self.found(id).await? {
            return Ok(Some(detail(held.id, &record, self.exchange.clock.now())));
        }
        Ok(self.note(id).map(|note| noted(&note)))
    }

    async fn search(&self, wanted: &Wanted) -> Result<Found, OpsError> {
        self.look_for(wanted).await
    }

    async fn by_key(&self, key: &SecretString) -> Result<Option<Detail>, OpsError> {
        match self.exchange.ledger.by_key(key_digest(key.expose_secret())).await? {
            Some(held) => Ok(Some(detail(held.id, &read(&held)?, self.exchange.clock.now()))),
            None => Ok(None),
        }
    }

    fn clients(&self) -> List {
        let policy = self.policy.current();
        self.exchange.clients.list(&policy, self.exchange.clock.now())
    }

    fn recognition(&self) -> Recognition {
        let ways = self.exchange.policies.other_ways();
        Recognition {
            provider: self.exchange.config.provider.clone(),
            ways: ways.iter().map(|way| way.text().to_owned()).collect(),
        }
    }

    async fn judge(&self, asked: &Question) -> Result<Option<Judgement>, OpsError> {
        let now = self.exchange.clock.now();
        // I2: whatever the policy says by now, a recent call is what it was.
        let sent = asked.call.and_then(|call| self.exchange.recent.call(call, now));
        let sent = sent.filter(|sent| sent.kind != Kind::Call);
        let Some(mut today) = looked_up(asked, &asked.today, now) else { return Ok(None) };
        let others = asked.others.iter().map(|other| looked_up(asked, other, now));
        let Some(mut others) = others.collect::<Option<Vec<_>>>() else { return Ok(None) };
        if let Some(sent) = &sent {
            let epoch = Retention::of(asked.api).epoch_at(&sent.operation, now);
            let ask = Ask { kind: sent.kind, epoch, ..today.ask };
            today = LookedUp { id: sent.operation.record(), ask, same_rule: true };
            others.clear();
        }
        let seen = self.exchange.seen(&today, &others).await?;
        let policy = self.policy.current();
        let bypass = self.exchange.config.bypass;
        let around = Around {
            recalled: sent.is_some(),
            policy_version: policy.version().to_owned(),
            mode: if bypass { "bypass" } else { policy.mode().as_str() }.to_owned(),
            found: seen.record.as_ref().map(|record| detail(seen.id, record, now)),
        };
        Ok(Some(Judgement::of(&seen, around)))
    }

    async fn resolve(
        &self,
        id: &str,
        resolution: &Resolution,
        who: &str,
        why: &str,
    ) -> Result<Resolved, OpsError> {
        let said =
            Said { resolution: resolution.clone(), who: who.to_owned(), why: why.to_owned() };
        self.end(id, said).await
    }

    async fn resolve_all(&self, said: &Bulk) -> Result<Bulked, OpsError> {
        self.end_all(said).await
    }
}

/// One identity of the request that is asked about; `None` if its id is none.
fn looked_up<'a>(
    asked: &Question,
    identity: &'a judge::Identity,
    now: Timestamp,
) -> Option<LookedUp<'a>> {
    let id = record_id(&identity.operation)?;
    let ask = Ask {
        kind: identity.kind,
        fingerprint: &identity.fingerprint,
        client_key: identity.client_key,
        twins: identity.twins,
        repeat_window: Duration::from_millis(asked.repeat_window_ms),
        next_after_saved_500: asked.next_after_saved_500,
        epoch: Retention::of(asked.api).epoch_at(&OperationId(id.0), now),
        arrived: now,
        waited: false,
        now,
    };
    Some(LookedUp { id, ask, same_rule: identity.same_rule })
}
