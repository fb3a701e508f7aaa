//! An operation's own task: claim, forward, tell, learn of the delivery, settle with one write.
//!
//! The client may hang up at any moment; this goes on to its end, and shutdown waits for it.
//! Nothing awaits between a claim and here, so a hang-up cannot strand a lease.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;
use tracing::{error, info, warn};

use super::claim::{Claimed, Holding};
use super::{Asked, Exchange, request_id};
use crate::decide::identity::ClientKeyDigest;
use crate::decide::identity::Kind;
use crate::decide::operation::Retention;
use crate::decide::operation::change::{self, Follows, Learnt};
use crate::decide::operation::codec::decode;
use crate::decide::operation::record::{About, Outcome, Past, Record, Settled, Standing};
use crate::decide::operation::table::Way;
use crate::decide::outcome::{Conclusion, ErrorBody, Meaning};
use crate::delivery::Delivery;
use crate::forward::Exchanged;
use crate::inflight::{Table, Turn};
use crate::ledger::{Ledger, LedgerError, Replaced};
use crate::notes::Note;
use crate::recent::Call;
use crate::refusal::Refusal;
use crate::respond::{Answer, Held, Label, SHOULD_RETRY, Told};
use crate::upstream::Upstream;

/// How often a settling write is tried before it is left to a take-over.
const WRITES: u32 = 3;
const BETWEEN_WRITES: Duration = Duration::from_millis(200);

/// A single call.
pub(super) async fn call<L: Ledger, U: Upstream>(
    exchange: Exchange<L, U>,
    turn: Turn,
    asked: Arc<Asked>,
) {
    let key = asked.call_key();
    exchange.remember_call(&asked, &key);
    let done = exchange.forwarder.run(&asked.message, &key, None, turn.table()).await;
    if done.conclusion == Conclusion::NotExecuted {
        exchange.forget_call(&asked);
    }
    if matches!(done.conclusion, Conclusion::InDoubt { .. }) {
        exchange.metrics.in_doubt(&asked.rule.name);
        exchange.notes.add(Note {
            operation: asked.identified.operation,
            request: asked.request(),
            about: asked.about.clone(),
            keyless: asked.client_key.is_none(),
            at: done.last_sent,
            attempts: done.attempts,
        });
    }
    // A replay that follows an attempt of this exchange shows what that attempt executed.
    let earlier = done.replayed && done.attempts == 1;
    let label = if earlier { Label::Replayed } else { Label::Executed };
    exchange.log(&asked, &done, label, "call", false, None);
    turn.table().tell(Arc::new(exchange.told(&asked, done, label, false)));
}

/// The key of an earlier occurrence, sent again for its saved answer; the record stays as it is.
pub(super) async fn earlier<L: Ledger, U: Upstream>(
    exchange: Exchange<L, U>,
    turn: Turn,
    asked: Arc<Asked>,
    past: Past,
) {
    let safe_until = past.first_sent.plus(Retention::of(asked.message.api).safe);
    let run =
        exchange.forwarder.run(&asked.message, &past.key, Some(safe_until), turn.table()).await;
    if run.conclusion == Conclusion::Succeeded && !run.replayed {
        exchange.metrics.alarm("fresh_on_replay");
        error!(operation_id = %asked.identified.operation, "a saved answer was asked for again and a \
            fresh one came: the provider may have executed it twice");
    }
    exchange.log(&asked, &run, Label::Replayed, "A2", false, None);
    turn.table().tell(Arc::new(exchange.told(&asked, run, Label::Replayed, false)));
}

/// An operation, from the claim to the settling write.
pub(super) async fn operation<L: Ledger, U: Upstream>(
    exchange: Exchange<L, U>,
    turn: Turn,
    asked: Arc<Asked>,
) {
    let table = Arc::clone(turn.table());
    let mut holding = match exchange.claim(&asked, &table).await {
        Claimed::Held(holding) => *holding,
        Claimed::Earlier(past) => return earlier(exchange, turn, asked, past).await,
        Claimed::Refused(refusal) => {
            return table.tell(Arc::new(exchange.refused(&asked, &refusal)));
        }
        Claimed::Unwanted => return,
    };
    if !table.wanted() {
        // I11: no attempt was made yet, and nobody waits for one.
        return exchange.put_back(&asked, &holding).await;
    }
    table.claimed(Arc::new(holding.record.clone()));
    let (done, follows) = exchange.send(&asked, &mut holding, &table).await;
    exchange.finish(&asked, holding, done, follows, &table).await;
}

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// Sends until there is an answer for an occurrence that the provider did not know.
    async fn send(
        &self,
        asked: &Asked,
        holding: &mut Holding,
        table: &Table,
    ) -> (Exchanged, Follows) {
        let mut advances = 0;
        loop {
            self.remember(asked, &holding.record);
            let key = holding.record.key.clone();
            let safe_until = safe_until(&holding.record);
            let run = self.forwarder.run(&asked.message, &key, safe_until, table);
            let run = self.while_held(asked, holding, run).await;
            let follows = change::follows(
                &holding.record,
                holding.way,
                run.conclusion,
                run.replayed,
                run.attempts == 1,
                advances,
            );
            if follows != Follows::Advance || !table.wanted() || !self.advance(asked, holding).await
            {
                return (run, follows);
            }
            advances += 1;
        }
    }

    /// Goes on to the next occurrence; false if the operation is no longer ours.
    async fn advance(&self, asked: &Asked, holding: &mut Holding) -> bool {
        let now = self.clock.now();
        let epoch = Retention::of(holding.record.api).epoch_at(&asked.identified.operation, now);
        let key = asked.key(holding.record.occurrence.next(epoch));
        let next = change::advanced(&holding.record, epoch, key, now);
        // If nothing comes of the next one, the declined one is what was found.
        let mut declined = holding.record.clone();
        declined.standing =
            Standing::Settled(Settled { result: Outcome::Declined, spent: true, delivered: true });
        if let Some(version) = holding.version {
            let written = match self.entry(asked, &next, now) {
                Ok(entry) => self.ledger.replace(asked.record(), version, entry).await,
                Err(failed) => Err(failed),
            };
            match written {
                Ok(Replaced::Done(version)) => holding.version = version,
                Ok(Replaced::Moved(_)) => {
                    self.metrics.ledger_error("taken_over");
                    return false;
                }
                Err(failed) => {
                    self.metrics.degraded("store");
                    warn!(operation_id = %asked.identified.operation, %failed,
                        "the store did not take the next occurrence; its derived key keeps it safe");
                    holding.version = None;
                }
            }
        }
        holding.found = Some(declined);
        holding.record = next;
        holding.way = Way::New { repeat: false, abandoned: false };
        true
    }

    /// Tells the askers, learns whether the latest got the answer, and settles.
    async fn finish(
        &self,
        asked: &Asked,
        mut holding: Holding,
        done: Exchanged,
        follows: Follows,
        table: &Table,
    ) {
        let degraded = holding.version.is_none();
        let label = label(holding.way, follows, done.replayed);
        self.count(asked, &holding, &done, follows);
        let learnt = Learnt {
            conclusion: done.conclusion,
            attempts: done.attempts,
            object: object(&done),
            request_id: request_id_of(&done),
            last_sent: done.last_sent,
        };
        self.log(asked, &done, label, holding.row.as_str(), degraded, learnt.object.as_deref());
        table.tell(Arc::new(self.told(asked, done, label, degraded)));
        match learnt.conclusion {
            Conclusion::NotExecuted => {
                table.close();
                self.put_back(asked, &holding).await;
            }
            Conclusion::InDoubt { .. } => {
                let joined = table.close();
                self.settle(asked, holding, &learnt, false, &joined).await;
            }
            Conclusion::Succeeded | Conclusion::Declined { .. } => {
                let delivery = table.delivery(&self.clock);
                let (delivery, joined) = self.while_held(asked, &mut holding, delivery).await;
                let delivered = delivery == Delivery::Yes;
                self.metrics.delivery(delivered);
                self.settle(asked, holding, &learnt, delivered, &joined).await;
            }
        }
    }

    async fn settle(
        &self,
        asked: &Asked,
        mut holding: Holding,
        learnt: &Learnt,
        delivered: bool,
        joined: &[ClientKeyDigest],
    ) {
        let now = self.clock.now();
        let settled = change::settled(holding.record.clone(), learnt, delivered, joined, now);
        self.remember(asked, &settled);
        std::mem::swap(&mut holding.record, &mut settled.clone());
        self.write(asked, &holding, Some(&settled)).await;
    }

    /// Puts back what the claim found: nothing of this exchange was executed.
    async fn put_back(&self, asked: &Asked, holding: &Holding) {
        self.forget_call(asked);
        let found = change::put_back(holding.found.clone());
        match &found {
            Some(found) => self.recent.wrote(asked.record(), found.clone(), self.clock.now()),
            None => self.recent.removed(asked.record()),
        }
        self.write(asked, holding, found.as_ref()).await;
    }

    /// Writes `record` over the claim, or removes it. What cannot be written is left to a
    /// take-over, which sends the same key.
    async fn write(&self, asked: &Asked, holding: &Holding, record: Option<&Record>) {
        let mut version = holding.version;
        for _ in 0..WRITES {
            match self.write_once(asked, holding, version, record).await {
                Ok(Written::Done) => return,
                Ok(Written::TakenOver) => {
                    self.metrics.ledger_error("taken_over");
                    warn!(operation_id = %asked.identified.operation,
                        "another process took the operation over; it holds the same key");
                    return;
                }
                Ok(Written::Ours(held)) => version = Some(held),
                Err(failed) => {
                    self.metrics.ledger_error("unavailable");
                    warn!(operation_id = %asked.identified.operation, %failed, "the store did not \
                        take what was learnt");
                    version = None;
                    self.clock.sleep(BETWEEN_WRITES).await;
                }
            }
        }
        self.metrics.ledger_error("unwritten");
        error!(operation_id = %asked.identified.operation, "the store did not take what was learnt; \
            the next request for this operation sends the same key and gets the same answer");
    }

    async fn write_once(
        &self,
        asked: &Asked,
        holding: &Holding,
        version: Option<crate::ledger::Version>,
        record: Option<&Record>,
    ) -> Result<Written, LedgerError> {
        let id = asked.record();
        let entry = record.map(|record| self.entry(asked, record, self.clock.now())).transpose()?;
        let moved = match (version, entry) {
            (Some(version), Some(entry)) => self.ledger.replace(id, version, entry).await?,
            (Some(version), None) => self.ledger.remove(id, version).await?,
            // A write that was not answered: did it happen?
            (None, entry) => match (self.ledger.get(id).await?, entry) {
                (Some(held), _) => Replaced::Moved(Some(held)),
                (None, None) => return Ok(Written::Done),
                (None, Some(entry)) => match self.ledger.claim(&[id], entry).await? {
                    crate::ledger::Claimed::Fresh(_) => return Ok(Written::Done),
                    crate::ledger::Claimed::Found(held) => Replaced::Moved(Some(held)),
                },
            },
        };
        let Replaced::Moved(Some(held)) = moved else {
            return Ok(match moved {
                Replaced::Done(_) => Written::Done,
                Replaced::Moved(_) => Written::TakenOver,
            });
        };
        let ours = decode(&held.record).is_ok_and(|stands| {
            let token = |record: &Record| record.claim.as_ref().map(|claim| claim.token.clone());
            let known = holding.found.as_ref().is_some_and(|found| *found == stands);
            token(&stands) == token(&holding.record) && stands.claim.is_some() || known
        });
        Ok(if ours { Written::Ours(held.version) } else { Written::TakenOver })
    }

    /// Awaits `work` while the lease is renewed, where another process might take it for ended.
    async fn while_held<T>(
        &self,
        asked: &Asked,
        holding: &mut Holding,
        work: impl Future<Output = T>,
    ) -> T {
        if self.ledger.exclusive() {
            return work.await;
        }
        tokio::select! {
            value = work => value,
            never = self.renew(asked, holding) => match never {},
        }
    }

    async fn renew(&self, asked: &Asked, holding: &mut Holding) -> std::convert::Infallible {
        loop {
            self.clock.sleep(self.config.lease / 3).await;
            let (Some(version), now) = (holding.version, self.clock.now()) else { continue };
            let mut renewed = holding.record.clone();
            if let Some(claim) = &mut renewed.claim {
                claim.lease = now.plus(self.config.lease);
            }
            let written = match self.entry(asked, &renewed, now) {
                Ok(entry) => self.ledger.replace(asked.record(), version, entry).await,
                Err(failed) => Err(failed),
            };
            match written {
                Ok(Replaced::Done(version)) => {
                    holding.version = version;
                    holding.record = renewed;
                }
                // Settling finds out whose it is; until then the key is the same for both.
                Ok(Replaced::Moved(_)) | Err(_) => self.metrics.ledger_error("not_renewed"),
            }
        }
    }

    fn remember(&self, asked: &Asked, record: &Record) {
        self.recent.wrote(asked.record(), record.clone(), self.clock.now());
        self.remember_call(asked, &record.key);
    }

    fn remember_call(&self, asked: &Asked, key: &crate::decide::key::IdempotencyKey) {
        if let Some(call) = asked.identified.call {
            let Asked { identified, .. } = asked;
            let how =
                Call { kind: identified.kind, operation: identified.operation, key: key.clone() };
            self.recent.sent(call, how, self.clock.now());
        }
    }

    fn forget_call(&self, asked: &Asked) {
        if let Some(call) = asked.identified.call {
            self.recent.not_executed(call);
        }
    }

    fn count(&self, asked: &Asked, holding: &Holding, done: &Exchanged, follows: Follows) {
        let rule = &asked.rule.name;
        match follows {
            Follows::Forgotten => {
                self.metrics.forgotten(rule);
                self.metrics.merge("forgotten");
            }
            Follows::Alarm => {
                self.metrics.alarm("fresh_on_replay");
                error!(operation_id = %asked.identified.operation, "a saved answer was asked for again \
                    and a fresh one came: the provider may have executed it twice");
            }
            Follows::Settle | Follows::Advance => {}
        }
        if done.meaning == Meaning::Conflict {
            self.metrics.alarm("conflict_at_stripe");
        }
        match holding.way {
            Way::New { repeat, abandoned } => {
                if repeat {
                    self.metrics.repeat(rule);
                }
                if abandoned {
                    self.metrics.abandoned();
                }
            }
            Way::Replay | Way::TakeOver { .. } if asked.identified.kind == Kind::Content => {
                self.metrics.merge("content");
            }
            Way::Replay | Way::TakeOver { .. } => {}
        }
        if matches!(done.conclusion, Conclusion::InDoubt { .. }) {
            self.metrics.in_doubt(rule);
        }
    }

    /// The one log line of a critical request.
    fn log(
        &self,
        asked: &Asked,
        done: &Exchanged,
        label: Label,
        row: &str,
        degraded: bool,
        object: Option<&str>,
    ) {
        let conclusion = match done.conclusion {
            Conclusion::Succeeded => "succeeded",
            Conclusion::Declined { .. } => "declined",
            Conclusion::InDoubt { .. } => "in_doubt",
            Conclusion::NotExecuted => "not_executed",
        };
        self.metrics.operation(&asked.rule.name, conclusion);
        let About { amount, currency, caller, policy, .. } = &asked.about;
        info!(
            target: "payonce::operation",
            operation_id = %asked.identified.operation,
            request = asked.request(),
            rule = asked.rule.name,
            policy_version = policy,
            identity = asked.identified.kind.as_str(),
            row,
            state = conclusion,
            outcome = label.as_str(),
            status = done.answer.as_ref().map(|answer| answer.status.as_u16()),
            attempts = done.attempts,
            stopped = done.why.as_str(),
            cause = done.cause.map(tracing::field::display),
            object_id = object,
            request_id = request_id_of(done),
            amount,
            currency,
            caller,
            degraded,
            duration_ms = u64::try_from(self.clock.now().since(asked.arrived()).as_millis())
                .unwrap_or(u64::MAX),
            "operation"
        );
    }

    /// What the askers are told.
    fn told(&self, asked: &Asked, done: Exchanged, label: Label, degraded: bool) -> Told {
        let succeeded = done.conclusion == Conclusion::Succeeded;
        let known = match done.conclusion {
            Conclusion::Succeeded | Conclusion::Declined { .. } => true,
            Conclusion::InDoubt { .. } | Conclusion::NotExecuted => false,
        };
        let attempts = done.attempts;
        let answer = match answer(done, known) {
            Ok(answer) => answer,
            Err(failed) => {
                let refusal = failed.refusal(asked);
                self.metrics.refusal(refusal.code());
                refusal.answer(&request_id())
            }
        };
        Told {
            answer,
            label: known.then_some(label),
            succeeded,
            attempts,
            degraded,
            operation: asked.identified.operation.to_string(),
        }
    }

    fn refused(&self, asked: &Asked, refusal: &Refusal) -> Told {
        self.metrics.refusal(refusal.code());
        warn!(operation_id = %asked.identified.operation, code = refusal.code(), "refused");
        Told {
            answer: refusal.answer(&request_id()),
            label: None,
            succeeded: false,
            attempts: 0,
            degraded: false,
            operation: asked.identified.operation.to_string(),
        }
    }
}

/// What a settling write came to.
enum Written {
    Done,
    TakenOver,
    /// It is still this claim's, in this version.
    Ours(crate::ledger::Version),
}

/// Why there is no answer of the provider's to hand on.
struct Failed {
    sent: bool,
    cause: Option<crate::upstream::Cause>,
}

impl Failed {
    fn refusal(&self, asked: &Asked) -> Refusal {
        let keyless_call = asked.identified.kind == Kind::Call && asked.client_key.is_none();
        match (self.sent, self.cause) {
            (false, Some(cause)) => Refusal::Unreachable(cause),
            (false, None) => Refusal::Closing,
            (true, cause) => Refusal::OutcomeUnknown { cause, keyless_call },
        }
    }
}

/// The provider's answer, if it may be handed on: an outcome as it is; a failure only in Stripe's
/// shape, which no SDK takes for a success (FACTS §1.9), and told not to be retried by the SDK
/// where payonce has done so.
fn answer(done: Exchanged, known: bool) -> Result<Answer, Failed> {
    let failed = Failed { sent: done.sent, cause: done.cause };
    let Some(mut answer) = done.answer else { return Err(failed) };
    if known {
        return Ok(answer);
    }
    let shaped = match &answer.body {
        Held::Whole(body) => answer.status.as_u16() >= 400 && ErrorBody::read(body).is_some(),
        Held::Stream(_) => false,
    };
    match done.meaning {
        // Not retried by payonce, and handed on unchanged.
        Meaning::NotExecuted | Meaning::Conflict => Ok(answer),
        Meaning::NotSent
        | Meaning::Unknown
        | Meaning::RateLimited
        | Meaning::Indeterminate { .. }
        | Meaning::Succeeded
        | Meaning::Declined { .. } => {
            if !shaped {
                return Err(failed);
            }
            answer.headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
            Ok(answer)
        }
    }
}

fn label(way: Way, follows: Follows, replayed: bool) -> Label {
    match (way, follows) {
        (_, Follows::Forgotten) => Label::Forgotten,
        (Way::Replay, _) => Label::Replayed,
        (Way::TakeOver { .. }, _) if replayed => Label::Replayed,
        (Way::New { repeat: true, .. }, _) => Label::Repeated,
        (Way::New { .. } | Way::TakeOver { .. }, _) => Label::Executed,
    }
}

/// When the key of `record` becomes too old (I6); an own key that was declined may be sent again.
fn safe_until(record: &Record) -> Option<crate::clock::Timestamp> {
    let declined = match record.standing {
        Standing::Settled(settled) => settled.result == Outcome::Declined,
        Standing::Begun | Standing::InDoubt { .. } => false,
    };
    if record.kind == Kind::OwnKey && declined {
        return None;
    }
    Some(record.first_sent.plus(Retention::of(record.api).safe))
}

/// Stripe's id of what was made.
fn object(done: &Exchanged) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Object {
        id: Option<String>,
    }
    const LONGEST: usize = 255;
    let Some(Answer { body: Held::Whole(body), .. }) = &done.answer else { return None };
    if done.conclusion != Conclusion::Succeeded {
        return None;
    }
    let id = serde_json::from_slice::<Object>(body).ok()?.id?;
    (id.len() <= LONGEST).then_some(id)
}

/// Stripe's id of the answer.
fn request_id_of(done: &Exchanged) -> Option<String> {
    const LONGEST: usize = 64;
    let id = done.answer.as_ref()?.headers.get("request-id")?.to_str().ok()?;
    Some(id.chars().take(LONGEST).collect())
}
