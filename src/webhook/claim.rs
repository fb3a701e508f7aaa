//! The turn to deliver an event: taken in the ledger, given back with what came of it.
//!
//! What it means is decided in [`once`](super::once). A ledger that does not answer never keeps an
//! event from the application: it is delivered, and marked as degraded.

use std::time::Duration;

use tracing::{error, warn};

use super::event::Event;
use super::once::{Asker, Handling, Then, decide, id};
use super::{Endpoint, Gate};
use crate::clock::Timestamp;
use crate::ledger::{Claimed, Entry, Ledger, LedgerError, RecordId, Replaced, Version};
use crate::upstream::Upstream;

/// The first pause while another delivers the same event, doubling to [`LONGEST_LOOK`].
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LONGEST_LOOK: Duration = Duration::from_millis(500);
/// How often a write is tried that lost its race or was not answered.
const WRITES: u32 = 3;
const BETWEEN_WRITES: Duration = Duration::from_millis(500);

/// Whose turn it is to deliver an event.
pub(super) enum Turn {
    /// This delivery's.
    Ours(Delivery),
    /// Nobody's: the application acknowledged it then.
    AlreadyDone(Timestamp),
    /// Another's, who did not end in time.
    InHand,
}

/// A delivery under way.
pub(super) struct Delivery {
    id: RecordId,
    handling: Handling,
    version: Option<Version>,
    /// The ledger did not take part: it may be delivered again.
    pub(super) degraded: bool,
    /// What stands in the ledger is not for this payonce to overwrite.
    foreign: bool,
}

enum Looked {
    Turn(Turn),
    /// A lost race, or another's turn: look again.
    Again,
}

impl<L: Ledger, U: Upstream> Gate<L, U> {
    /// Takes the turn to deliver `event`, or waits until it is known that nobody need.
    pub(super) async fn turn(&self, endpoint: &Endpoint<U>, event: &Event) -> Turn {
        let clock = &self.exchange.clock;
        let until = clock.now().plus(self.config.timeout);
        let mut pause = FIRST_LOOK;
        loop {
            match self.look(endpoint, event).await {
                Looked::Turn(turn) => return turn,
                Looked::Again if clock.now().plus(pause) >= until => return Turn::InHand,
                Looked::Again => {}
            }
            clock.sleep(pause.mul_f64(self.exchange.chance.share())).await;
            pause = pause.saturating_mul(2).min(LONGEST_LOOK);
        }
    }

    async fn look(&self, endpoint: &Endpoint<U>, event: &Event) -> Looked {
        let now = self.exchange.clock.now();
        let owner = self.exchange.config.owner.as_str();
        let token = hex::encode(self.exchange.chance.bytes::<16>());
        let lease = now.plus(self.config.timeout).plus(self.config.grace);
        let begun =
            |found| Handling::begun(found, &endpoint.name, event, (owner, token.as_str(), lease));
        let ours = |handling, version, degraded| {
            let id = id(&endpoint.name, endpoint.account.as_deref(), &event.id);
            Delivery { id, handling, version, degraded, foreign: false }
        };
        let fresh = begun(None);
        let mut delivery = ours(fresh.clone(), None, true);
        let claimed = match self.entry(&fresh) {
            Ok(entry) => self.exchange.ledger.claim(&[delivery.id], entry).await,
            Err(unwritable) => Err(unwritable),
        };
        let held = match claimed {
            Ok(Claimed::Fresh(version)) => {
                self.metrics.row("W1");
                return Looked::Turn(Turn::Ours(ours(fresh, Some(version), false)));
            }
            Ok(Claimed::Found(held)) => held,
            Err(failed) => return Looked::Turn(Turn::Ours(self.degraded(delivery, &failed))),
        };
        let Some(found) = Handling::decode(&held.record) else {
            delivery.foreign = true;
            let failed = LedgerError::Damaged(format!("the handling of event {}", event.id));
            return Looked::Turn(Turn::Ours(self.degraded(delivery, &failed)));
        };
        let alone = self.exchange.ledger.exclusive();
        let (row, then) = decide(Some(&found), Asker { owner, alone, now });
        match then {
            Then::AlreadyDone(at) => {
                self.metrics.row(row);
                return Looked::Turn(Turn::AlreadyDone(at));
            }
            Then::InHand(_) => return Looked::Again,
            Then::Deliver => {}
        }
        let again = begun(Some(&found));
        let replaced = match self.entry(&again) {
            Ok(entry) => self.exchange.ledger.replace(held.id, held.version, entry).await,
            Err(unwritable) => Err(unwritable),
        };
        match replaced {
            Ok(Replaced::Done(version)) => {
                self.metrics.row(row);
                Looked::Turn(Turn::Ours(ours(again, version, false)))
            }
            Ok(Replaced::Moved(_)) => Looked::Again,
            Err(failed) => {
                Looked::Turn(Turn::Ours(self.degraded(ours(again, None, true), &failed)))
            }
        }
    }

    /// Gives the turn back: the application answered with `status`, or not at all. False if the
    /// ledger did not take that yet.
    pub(super) async fn ended(&self, delivery: &mut Delivery, status: Option<u16>) -> bool {
        if delivery.foreign {
            return true;
        }
        let ended = delivery.handling.clone().ended(status, self.exchange.clock.now());
        match self.write(delivery, &ended).await {
            Ok(()) => true,
            Err(failed) => {
                self.metrics.ledger_error("unavailable");
                let event = &ended.event;
                warn!(event_id = event, error = %failed, "the store did not take what became of the webhook event");
                delivery.version = None;
                false
            }
        }
    }

    /// Tries again what [`Self::ended`] could not write.
    pub(super) async fn ended_later(&self, mut delivery: Delivery, status: Option<u16>) {
        for _ in 1..WRITES {
            self.exchange.clock.sleep(BETWEEN_WRITES).await;
            if self.ended(&mut delivery, status).await {
                return;
            }
        }
        self.metrics.ledger_error("unwritten");
        let event = &delivery.handling.event;
        error!(
            event_id = event,
            "what became of the webhook event is not recorded: should Stripe send it \
            again, the application gets it again"
        );
    }

    async fn write(&self, delivery: &mut Delivery, ended: &Handling) -> Result<(), LedgerError> {
        let (ledger, id) = (&self.exchange.ledger, delivery.id);
        for _ in 0..WRITES {
            let held = match delivery.version {
                Some(version) => match ledger.replace(id, version, self.entry(ended)?).await? {
                    Replaced::Done(_) => return Ok(()),
                    Replaced::Moved(held) => held,
                },
                // The claim was not answered: does it stand?
                None => ledger.get(id).await?,
            };
            let held = match held {
                Some(held) => held,
                None => match ledger.claim(&[id], self.entry(ended)?).await? {
                    Claimed::Fresh(_) => return Ok(()),
                    Claimed::Found(held) => held,
                },
            };
            let stands = Handling::decode(&held.record);
            if !stands.is_some_and(|stands| stands.same_delivery(&delivery.handling)) {
                let event = &ended.event;
                warn!(event_id = event, "the webhook event was delivered elsewhere meanwhile");
                return Ok(());
            }
            delivery.version = Some(held.version);
        }
        Err(LedgerError::Unavailable("it moves all the time".to_owned()))
    }

    fn entry(&self, handling: &Handling) -> Result<Entry, LedgerError> {
        let record = handling.encode();
        let record = record.ok_or_else(|| LedgerError::Damaged("no JSON".to_owned()))?;
        Ok(Entry { record, ttl: self.config.remember, open: false, keys: Vec::new() })
    }

    fn degraded(&self, delivery: Delivery, failed: &LedgerError) -> Delivery {
        self.metrics.degraded("webhook_store");
        self.metrics.ledger_error(match failed {
            LedgerError::Unavailable(_) => "unavailable",
            LedgerError::Damaged(_) => "damaged",
        });
        let event = &delivery.handling.event;
        warn!(event_id = event, error = %failed, "the webhook event is delivered without the store: perhaps again");
        delivery
    }
}
