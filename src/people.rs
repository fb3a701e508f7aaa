//! What the engineer on call sees and says of the ledger's open operations.
//!
//! A person can end an operation whose outcome payonce does not know; nobody but Stripe moves
//! money, so there is nothing else to do here.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::admin::judge::{self, Around, Judgement, Question, Recognition};
use crate::admin::{
    Detail, Operations, OpsError, Resolution, Resolved, State, Summary,
};
use crate::clients::list::List;
use crate::clock::Timestamp;
use crate::decide::digest::{OperationId, key_digest};
use crate::decide::identity::Kind;
use crate::decide::operation::Retention;
use crate::decide::operation::change::{self, kept};
use crate::decide::operation::codec::{decode, encode};
use crate::decide::operation::record::{self, Outcome, Record, Standing};
use crate::decide::operation::table::Ask;
use crate::exchange::{Exchange, LookedUp};
use crate::ledger::{Entry, Held, Ledger, RecordId, Replaced};
use crate::notes::Note;
use crate::policy_file::PolicyFile;
use crate::upstream::Upstream;

/// Answers people.
pub struct People<L, U> {
    exchange: Exchange<L, U>,
    policy: Arc<PolicyFile>,
}

impl<L, U> Clone for People<L, U> {
    fn clone(&self) -> Self {
        Self { exchange: self.exchange.clone(), policy: Arc::clone(&self.policy) }
    }
}

impl<L: Ledger, U: Upstream> People<L, U> {
    /// Of this exchange.
    pub const fn new(exchange: Exchange<L, U>, policy: Arc<PolicyFile>) -> Self {
        Self { exchange, policy }
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

    async fn write(
        &self,
        held: &Held,
        record: Record,
        resolution: &Resolution,
        who: &str,
        why: &str,
    ) -> Result<Resolved, OpsError> {
        let now = self.exchange.clock.now();
        let resolution = match resolution {
            Resolution::Succeeded { object_id } => change::Resolution::Succeeded(object_id.clone()),
            Resolution::Declined => change::Resolution::Declined,
        };
        let word = record::Resolved {
            by: who.to_owned(),
            why: why.to_owned(),
            at: now,
            unanswerable: false,
        };
        let record = change::resolved(record, resolution, word);
        let entry = Entry {
            record: encode(&record).map_err(|why| OpsError::Damaged(why.to_string()))?,
            ttl: kept(&record, &OperationId(held.id.0), now),
            open: false,
            keys: vec![key_digest(record.key.as_str())],
        };
        match self.exchange.ledger.replace(held.id, held.version, entry).await? {
            Replaced::Done(_) => {
                self.exchange.recent.wrote(held.id, record.clone(), now);
                Ok(Resolved::Done(Box::new(detail(held.id, &record))))
            }
            Replaced::Moved(Some(moved)) => {
                Ok(Resolved::Busy(Box::new(detail(moved.id, &read(&moved)?))))
            }
            Replaced::Moved(None) => Ok(Resolved::NotFound),
        }
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
            return Ok(Some(detail(held.id, &record)));
        }
        Ok(self.note(id).map(|note| noted(&note)))
    }

    async fn by_key(&self, key: &SecretString) -> Result<Option<Detail>, OpsError> {
        match self.exchange.ledger.by_key(key_digest(key.expose_secret())).await? {
            Some(held) => Ok(Some(detail(held.id, &read(&held)?))),
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
            found: seen.record.as_ref().map(|record| detail(seen.id, record)),
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
        let Some((held, record)) = self.found(id).await? else {
            let Some(note) = self.note(id) else { return Ok(Resolved::NotFound) };
            self.exchange.notes.remove(note.operation);
            let resolved = Some(format!("{who}: {why}"));
            let done = Detail { resolved, advice: None, ..noted(&note) };
            return Ok(Resolved::Done(Box::new(done)));
        };
        if self.exchange.is_worked_on(held.id, &record) {
            return Ok(Resolved::Busy(Box::new(detail(held.id, &record))));
        }
        if !record.unresolved() {
            return Ok(Resolved::NotOpen(Box::new(detail(held.id, &record))));
        }
        self.write(&held, record, resolution, who, why).await
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

/// A record id as the answer header and the log show it.
fn record_id(text: &str) -> Option<RecordId> {
    let mut id = [0; 32];
    hex::decode_to_slice(text, &mut id).ok()?;
    Some(RecordId(id))
}

fn read(held: &Held) -> Result<Record, OpsError> {
    decode(&held.record).map_err(|why| OpsError::Damaged(format!("{}: {why}", held.id)))
}

const fn state(record: &Record) -> State {
    match record.standing {
        Standing::Settled(settled) if record.claim.is_none() => match settled.result {
            Outcome::Succeeded => State::Succeeded,
            Outcome::Declined => State::Declined,
        },
        Standing::InDoubt { .. } if record.claim.is_none() => State::InDoubt,
        Standing::Begun | Standing::InDoubt { .. } | Standing::Settled(_) => State::InFlight,
    }
}

fn summary(id: RecordId, record: &Record) -> Summary {
    // What is sent under a claim is counted when it is settled.
    let attempts = record.attempts.saturating_add(u32::from(record.claim.is_some()));
    summary_of(id.to_string(), &record.about, state(record), record.first_sent, attempts)
}

fn summary_of(
    operation_id: String,
    about: &record::About,
    state: State,
    since: crate::clock::Timestamp,
    attempts: u32,
) -> Summary {
    Summary {
        operation_id,
        rule: about.rule.clone(),
        state,
        since,
        attempts,
        amount: about.amount.as_ref().and_then(|amount| amount.parse().ok()),
        currency: about.currency.as_ref().map(|currency| currency.to_ascii_lowercase()),
        object_id: about.object.clone(),
        request_id: about.request_id.clone(),
        caller: about.caller.clone(),
        policy_version: about.policy.clone(),
    }
}

fn detail(id: RecordId, record: &Record) -> Detail {
    let state = state(record);
    let delivery =
        record.settled().map(|settled| if settled.delivered { "yes" } else { "lost" }.to_owned());
    Detail {
        summary: summary(id, record),
        identity: record.kind.as_str().to_owned(),
        request: Some(record.request.clone()),
        occurrence: u64::from(record.occurrence.n),
        epoch: record.occurrence.epoch,
        first_sent: Some(record.first_sent),
        last_sent: Some(record.last_sent),
        safe_until: Some(record.first_sent.plus(Retention::of(record.api).safe)),
        lease_until: record.claim.as_ref().map(|claim| claim.lease),
        delivery,
        advice: advice(state, record.kind).map(str::to_owned),
        resolved: record.about.resolved.as_ref().map(|word| format!("{}: {}", word.by, word.why)),
        api_key: record.about.api_key.map(|hint| hint.to_string()),
        event: record.about.event.as_ref().map(|event| format!("{} ({})", event.id, event.kind)),
    }
}

const fn advice(state: State, kind: Kind) -> Option<&'static str> {
    match (state, kind) {
        (State::InFlight, _) => Some(
            "Wait: it is being worked on, and has perhaps been sent. If its process is gone, the same \
             request again takes it over with the same key.",
        ),
        (State::InDoubt, Kind::Content) => Some(
            "The same request again is safe as long as its key is: it sends the same one. After that \
             it counts as a new operation; look it up at Stripe before.",
        ),
        (State::InDoubt, Kind::Header | Kind::Fields | Kind::OwnKey | Kind::Call) => Some(
            "The same request again is safe as long as its key is: it sends the same one. After that \
             it is refused until you look it up at Stripe and say what you found with \
             `payonce ops resolve`.",
        ),
        (State::Succeeded | State::Declined, _) => None,
    }
}

fn noted(note: &Note) -> Detail {
    let id = note.operation.to_string();
    Detail {
        summary: summary_of(id, &note.about, State::InDoubt, note.at, note.attempts),
        identity: Kind::Call.as_str().to_owned(),
        request: Some(note.request.clone()),
        occurrence: 0,
        epoch: 0,
        first_sent: None,
        last_sent: Some(note.at),
        safe_until: None,
        lease_until: None,
        delivery: None,
        advice: Some(
            if note.keyless {
                "A single call without a key: the same request again may be another payment. Look \
                 it up at Stripe, then resolve this note."
            } else {
                "A single call: the same request with the same key is safe while Stripe knows the \
                 key (24 hours). Look it up at Stripe, then resolve this note."
            }
            .to_owned(),
        ),
        resolved: None,
        api_key: note.about.api_key.map(|hint| hint.to_string()),
        event: None,
    }
}
