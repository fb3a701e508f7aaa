//! An operation's own task: claim, forward, tell, learn of the delivery, settle with one write.
//!
//! The client may hang up at any moment; this goes on to its end, and shutdown waits for it. The
//! claim is made here as well, so a hang-up cannot strand one.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

use super::claim::{Claimed, Holding};
use super::tell::{self, Before, Telling};
use super::{Asked, Exchange};
use crate::clock::Timestamp;
use crate::decide::identity::Kind;
use crate::decide::operation::change::{self, Follows, Learnt};
use crate::decide::operation::record::{About, Outcome, Past, Record, Standing};
use crate::decide::operation::table::Way;
use crate::decide::operation::{Occurrence, Retention};
use crate::decide::outcome::{Conclusion, Meaning};
use crate::forward::{Exchanged, Until};
use crate::inflight::{Table, Turn};
use crate::ledger::Ledger;
use crate::notes::Note;
use crate::recent::Call;
use crate::refusal::Refusal;
use crate::respond::Label;
use crate::seams::{self, Mistake, Point};
use crate::upstream::Upstream;

/// With less time left than this, or a tenth of the deadline if that is shorter, nothing is begun:
/// an attempt that cannot be awaited only makes a doubt.
const LEAST_TIME: Duration = Duration::from_secs(2);

/// A single call.
pub(super) async fn call<L: Ledger, U: Upstream>(
    exchange: Exchange<L, U>,
    turn: Turn,
    asked: Arc<Asked>,
) {
    let table = turn.table();
    if !table.wanted() {
        return;
    }
    let key = asked.call_key();
    let first = exchange.remember_call(&asked, &key);
    let done = exchange.forwarder.run(&asked.message, &key, &Until::default(), table).await;
    if done.conclusion == Conclusion::NotExecuted && first {
        exchange.forget_call(&asked);
    }
    if done.conclusion != Conclusion::NotExecuted {
        // This retry of the call says more than the note of an earlier one.
        exchange.notes.remove(asked.identified.operation);
    }
    if matches!(done.conclusion, Conclusion::InDoubt { .. }) {
        exchange.metrics.in_doubt(&asked.rule.name);
        exchange.notes.add(Note {
            operation: asked.identified.operation,
            request: asked.request(),
            about: About { trail: done.trail.clone(), ..asked.about.clone() },
            keyless: asked.client_key.is_none(),
            at: done.last_sent,
            attempts: done.attempts,
        });
    }
    let own = done.replayed && done.first;
    let label = if own { Label::Replayed } else { Label::Executed };
    // An exchange of this call that is remembered may have executed it, and so may one that passed.
    let again = asked.recalled.is_some() || asked.identified.call.is_some() && !first;
    let before = if again { Before::Perhaps } else { Before::Nothing };
    let telling = Telling { label, row: "call", degraded: false, before, nobodys: false };
    exchange.log(&asked, &done, telling, None);
    table.tell(Arc::new(exchange.told(&asked, done, telling)));
}

/// The key of an earlier occurrence, sent again for its saved answer; the record stays as it is.
pub(super) async fn earlier<L: Ledger, U: Upstream>(
    exchange: Exchange<L, U>,
    turn: Turn,
    asked: Arc<Asked>,
    past: Past,
) {
    let table = turn.table();
    if !table.wanted() {
        return;
    }
    let safe = past.first_sent.plus(Retention::of(asked.message.api).safe);
    let until = Until { safe: Some(safe), lease: None };
    let done = exchange.forwarder.run(&asked.message, &past.key, &until, table).await;
    if done.conclusion == Conclusion::Succeeded && !done.replayed {
        exchange.metrics.alarm("fresh_on_replay");
        error!(operation_id = %asked.identified.operation, "a saved answer was asked for again and \
            a fresh one came: the provider may have executed it twice");
    }
    let telling = Telling {
        label: Label::Replayed,
        row: "A2",
        degraded: false,
        before: Before::Perhaps,
        nobodys: false,
    };
    exchange.log(&asked, &done, telling, None);
    table.tell(Arc::new(exchange.told(&asked, done, telling)));
}

/// An operation, from the claim to the settling write.
pub(super) async fn operation<L: Ledger, U: Upstream>(
    exchange: Exchange<L, U>,
    turn: Turn,
    asked: Arc<Asked>,
) {
    let table = Arc::clone(turn.table());
    if seams::mistake(Mistake::SendBeforeClaim) {
        let key = asked.key(Occurrence::first(exchange.ask(&asked).epoch));
        drop(exchange.forwarder.run(&asked.message, &key, &Until::default(), &table).await);
    }
    let mut holding = loop {
        let mut holding = match exchange.claim(&asked, &table).await {
            Claimed::Held(holding) => *holding,
            Claimed::Earlier(past) => return earlier(exchange, turn, asked, past).await,
            Claimed::Refused(refusal) => {
                return table.tell(Arc::new(exchange.refused(&asked, &refusal)));
            }
            Claimed::Told(refusal, held, record) => {
                table.tell(Arc::new(exchange.refused(&asked, &refusal)));
                return exchange.told_by_word(&asked, &held, *record, &table).await;
            }
            Claimed::Down(holding) => {
                table.tell(Arc::new(exchange.refused(&asked, &Refusal::StoreDown)));
                table.close();
                // A claim that was not answered may stand, and would keep others waiting.
                return exchange.put_back(&asked, &holding).await;
            }
            Claimed::Unwanted => return,
            // The asker goes on with that: this turn ends without an answer.
            Claimed::Otherwise(n) if asked.turn(n) => return,
            Claimed::Over if asked.finishes.is_some() || asked.turn_to_today() => return,
            Claimed::Otherwise(_) | Claimed::Over => {
                return table.tell(Arc::new(exchange.refused(&asked, &Refusal::StillInFlight)));
            }
        };
        if !exchange.still_ours(&asked, &mut holding).await {
            continue;
        }
        if !table.wanted() {
            // I11: no attempt was made yet, and nobody waits for one.
            return exchange.put_back(&asked, &holding).await;
        }
        if let Some(refusal) = exchange.too_late(&asked, &holding) {
            table.tell(Arc::new(exchange.refused(&asked, &refusal)));
            table.close();
            return exchange.put_back(&asked, &holding).await;
        }
        break holding;
    };
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
            holding.first_call |= self.remember(asked, &holding.record);
            let mut key = holding.record.key.clone();
            if seams::mistake(Mistake::EpochFromNow) {
                key = asked
                    .key(Occurrence { epoch: self.ask(asked).epoch, ..holding.record.occurrence });
            }
            let until = Until { safe: safe_until(&holding.record), lease: holding.lease.clone() };
            let run = self.forwarder.run(&asked.message, &key, &until, table);
            let run = self.while_held(asked, holding, run).await;
            let follows = change::follows(
                &holding.record,
                holding.way,
                run.conclusion,
                run.replayed,
                run.first,
                advances,
            );
            // A call that was sent before keeps its key, and a key wants time to be answered.
            let goes_on = follows == Follows::Advance
                && !asked.begins_nothing()
                && asked.recalled.is_none()
                && table.wanted()
                && self.has_time(asked);
            if !goes_on || !self.goes_on(asked, holding, table).await {
                return (run, follows);
            }
            table.claimed(Arc::new(holding.record.clone()));
            advances += 1;
        }
    }

    /// Goes on to the next occurrence. False if the operation is no longer ours, or if nobody waits
    /// any more once that is written (I11): what is held is then the declined one, as before, for of
    /// the next nothing was sent.
    async fn goes_on(&self, asked: &Asked, holding: &mut Holding, table: &Table) -> bool {
        let before = (holding.found.clone(), holding.record.clone(), holding.way);
        if !self.advance(asked, holding).await {
            return false;
        }
        let goes_on = self.still_ours(asked, holding).await
            && self.has_time(asked)
            && (table.wanted() || seams::mistake(Mistake::RetriedUnwanted));
        if !goes_on {
            (holding.found, holding.record, holding.way) = before;
        }
        goes_on
    }

    /// Goes on to the next occurrence; false if the operation is no longer ours.
    async fn advance(&self, asked: &Asked, holding: &mut Holding) -> bool {
        let now = self.clock.now();
        let epoch = Retention::of(holding.record.api).epoch_at(&asked.identified.operation, now);
        let key = asked.key(holding.record.occurrence.next(epoch));
        let next = change::advanced(&holding.record, epoch, key, now);
        // If nothing comes of the next one, the declined one is what was found; this asker's key
        // does not point at it, for its retry is to ask for the next one again.
        let mut declined = change::passed_over(&holding.record);
        declined.client_keys.retain(|seen| Some(seen.digest) != asked.identified.client_key);
        seams::point(Point::BeforeAdvance);
        match self.move_on(asked, holding, &next).await {
            Ok(Some(version)) => holding.version = Some(version),
            Ok(None) => {
                self.metrics.ledger_error("taken_over");
                return false;
            }
            Err(failed) => {
                self.metrics.degraded("store");
                warn!(operation_id = %asked.identified.operation, error = %failed,
                    "the store did not take the next occurrence; its derived key keeps it safe");
                holding.version = None;
            }
        }
        seams::point(Point::Advanced);
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
        mut done: Exchanged,
        follows: Follows,
        table: &Table,
    ) {
        // What nobody has joined by now is nobody's request: whoever comes is answered by what stands
        // when it is settled. What somebody joined is theirs, and told as any other.
        let nobodys = asked.finishes.is_some() && table.close_unless_joined();
        let joined = asked.finishes.is_some() && !nobodys;
        let label = tell::label(holding.way, follows, &done);
        let telling = Telling {
            label: if joined { Label::Joined } else { label },
            row: holding.row.as_str(),
            degraded: holding.version.is_none(),
            before: before(&holding),
            nobodys,
        };
        if matches!(follows, Follows::Forgotten | Follows::Older) {
            holding.record = change::forgotten(holding.record, &asked.identified.operation);
        }
        if let Some(made) = tell::made_before(asked, &done) {
            holding.record = change::aged(holding.record, &asked.identified.operation, made);
        }
        self.count(asked, &holding, &done, follows, nobodys);
        let mut learnt = Learnt {
            conclusion: done.conclusion,
            attempts: done.attempts,
            object: tell::object(&done),
            request_id: tell::request_id_of(&done),
            last_sent: done.last_sent,
            answered: self.clock.now(),
            trail: std::mem::take(&mut done.trail),
        };
        if nobodys {
            Self::log_finished(asked, &done, learnt.object.as_deref());
        } else {
            self.log(asked, &done, telling, learnt.object.as_deref());
        }
        self.note_decline(asked, &mut holding, &learnt).await;
        let nothing_happened = learnt.conclusion == Conclusion::NotExecuted;
        if nothing_happened && matches!(holding.record.kind, Kind::Header | Kind::Fields) {
            // Whoever is told that nothing was sent may try another card under the same name.
            self.put_back(asked, &holding).await;
        }
        seams::point(Point::BeforeAnswer);
        learnt.answered = self.clock.now();
        let turned_away = matches!(done.meaning, Meaning::NotExecuted | Meaning::Conflict);
        table.tell(Arc::new(self.told(asked, done, telling)));
        self.finishing_learns(asked, learnt.conclusion, turned_away);
        self.settle_told(asked, holding, learnt, nobodys, table).await;
    }

    /// Why a claim is not used: no time is left for an attempt, for this request or for its key, or
    /// the call was sent with another key, which the record has forgotten (I2).
    fn too_late(&self, asked: &Asked, holding: &Holding) -> Option<Refusal> {
        // I6: the key may have become too old since it was judged.
        let old = safe_until(&holding.record).is_some_and(|until| self.clock.now() >= until);
        if old || !self.has_time(asked) {
            return Some(Refusal::StillInFlight);
        }
        let other = asked.recalled.as_ref().is_some_and(|sent| *sent != holding.record.key);
        let known = holding.found.as_ref().is_some_and(|found| {
            found.occurrence == holding.record.occurrence
                && found.client_keys.iter().any(|seen| {
                    Some(seen.digest) == asked.identified.client_key
                        && seen.occurrence == found.occurrence
                })
        });
        (other && !known).then_some(Refusal::Superseded)
    }

    /// Whether there is time for an attempt.
    fn has_time(&self, asked: &Asked) -> bool {
        let deadline = self.forwarder.limits().deadline;
        let left = deadline.saturating_sub(self.clock.now().since(asked.arrived()));
        left >= LEAST_TIME.min(deadline / 10)
    }

    /// Remembers what is sent or was learnt. True if the call was not known before.
    pub(super) fn remember(&self, asked: &Asked, record: &Record) -> bool {
        self.recent.wrote(asked.record(), record.clone(), self.clock.now());
        self.remember_call(asked, &record.key)
    }

    /// Remembers the key of a call (I2). True if it was not known before.
    pub(super) fn remember_call(
        &self,
        asked: &Asked,
        key: &crate::decide::key::IdempotencyKey,
    ) -> bool {
        let Some((call, hint)) = asked.identified.call.zip(asked.hint) else { return false };
        let Asked { identified, .. } = asked;
        let how = Call { kind: identified.kind, operation: identified.operation, key: key.clone() };
        self.recent.sent(call, hint, how, self.clock.now())
    }

    /// Forgets a call of which nothing was executed.
    pub(super) fn forget_call(&self, asked: &Asked) {
        if let Some(call) = asked.identified.call {
            self.recent.not_executed(call);
        }
    }
}

fn before(holding: &Holding) -> Before {
    match holding.found.as_ref().map(|found| found.settled().map(|settled| settled.result)) {
        // What this process remembers of a decline may be followed by what another has sent.
        None | Some(Some(Outcome::Declined)) if holding.version.is_none() => Before::Untold,
        None | Some(Some(Outcome::Declined)) => Before::Nothing,
        Some(None) => Before::Perhaps,
        Some(Some(Outcome::Succeeded)) => Before::Success,
    }
}

/// When the key of `record` becomes too old (I6); an own key that was declined may be sent again.
fn safe_until(record: &Record) -> Option<Timestamp> {
    let declined = match record.standing {
        Standing::Settled(settled) => settled.result == Outcome::Declined,
        Standing::Begun | Standing::InDoubt { .. } => false,
    };
    if record.kind == Kind::OwnKey && declined || seams::mistake(Mistake::SentPastHorizon) {
        return None;
    }
    Some(record.first_sent.plus(Retention::of(record.api).safe))
}
