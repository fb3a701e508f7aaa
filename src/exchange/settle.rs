//! What is learnt is written: settled, or put back, with one write over the claim ([`write`]).
//!
//! Nothing here decides what is written ([`change`](crate::decide::operation::change)).
//!
//! [`write`]: super::write

use tracing::warn;

use super::claim::Holding;
use super::write::Write;
use super::{Asked, Exchange};
use crate::decide::digest::ClientKeyDigest;
use crate::decide::identity::Kind;
use crate::decide::operation::change::{self, Learnt};
use crate::decide::operation::record::Record;
use crate::decide::outcome::Conclusion;
use crate::delivery::Delivery;
use crate::inflight::Table;
use crate::ledger::{Held, Ledger};
use crate::seams::{self, Mistake, Point};
use crate::upstream::Upstream;

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// Settles what the askers have been told: an outcome once it is known whether the latest got it,
    /// and what was not executed is put back. `nobodys`: nobody asked, and nobody was told.
    pub(super) async fn settle_told(
        &self,
        asked: &Asked,
        mut holding: Holding,
        mut learnt: Learnt,
        nobodys: bool,
        table: &Table,
    ) {
        match learnt.conclusion {
            Conclusion::InDoubt { .. } if seams::mistake(Mistake::PutBackAfterBytes) => {
                table.close();
                self.put_back(asked, &holding).await;
            }
            Conclusion::NotExecuted => {
                table.close();
                if !matches!(holding.record.kind, Kind::Header | Kind::Fields) {
                    self.put_back(asked, &holding).await;
                }
            }
            Conclusion::InDoubt { .. } => {
                let joined = table.close();
                let saved_500 = learnt.conclusion == Conclusion::InDoubt { saved_500: true };
                if nobodys {
                    // It opens the next occurrence (A10) for who was told of it, and nobody was: the
                    // next asker fetches it with the same key.
                    learnt.conclusion = Conclusion::InDoubt { saved_500: false };
                }
                let left = self.settle(asked, &holding, &learnt, false, &joined).await;
                self.left_in_doubt(asked, &left, saved_500);
            }
            Conclusion::Succeeded | Conclusion::Declined { .. } => {
                let delivery = table.delivery(&self.clock);
                let (delivery, joined) = self.while_held(asked, &mut holding, delivery).await;
                seams::point(Point::DeliveryKnown);
                let early = seams::mistake(Mistake::DeliveredTooEarly)
                    || asked.finishes.is_some() && seams::mistake(Mistake::FinishedAsDelivered);
                let delivered = delivery == Delivery::Yes || early;
                if delivered || !nobodys {
                    self.metrics.delivery(delivered);
                }
                self.settle(asked, &holding, &learnt, delivered, &joined).await;
            }
        }
    }

    /// Settles the operation with what was learnt; gives back what is to stand.
    pub(super) async fn settle(
        &self,
        asked: &Asked,
        holding: &Holding,
        learnt: &Learnt,
        delivered: bool,
        joined: &[ClientKeyDigest],
    ) -> Record {
        let now = self.clock.now();
        let settled = change::settled(holding.record.clone(), learnt, delivered, joined, now);
        self.remember(asked, &settled);
        self.write(Write::new(asked, holding, Some(settled.clone())), holding.version).await;
        settled
    }

    /// Writes the decline of a named operation before it is told. Whoever was told tries another
    /// card under the same name: had payonce died before it settled, that would be other content for
    /// an operation in doubt, refused until a person helps. By content, another card is another
    /// operation; an own key is never asked for with other content.
    pub(super) async fn note_decline(&self, asked: &Asked, holding: &mut Holding, learnt: &Learnt) {
        let declined = matches!(learnt.conclusion, Conclusion::Declined { .. });
        let named = matches!(asked.identified.kind, Kind::Header | Kind::Fields);
        if holding.version.is_none() || !declined || !named {
            return;
        }
        let now = self.clock.now();
        let settled = change::settled(holding.record.clone(), learnt, false, &[], now);
        // Still claimed: it is settled when it is known whether the asker got the answer.
        let noted = Record { standing: settled.standing, ..holding.record.clone() };
        match self.move_on(asked, holding, &noted).await {
            Ok(Some(version)) => {
                holding.version = Some(version);
                holding.record = noted;
            }
            // Settling finds out whose it is.
            Ok(None) => {}
            Err(failed) => {
                self.metrics.ledger_error("unavailable");
                warn!(operation_id = %asked.identified.operation, error = %failed, "the store did not take \
                    a decline before it was told");
            }
        }
    }

    /// Puts back what the claim found: nothing of this exchange was executed.
    pub(super) async fn put_back(&self, asked: &Asked, holding: &Holding) {
        if holding.first_call {
            self.forget_call(asked);
        }
        let found = change::put_back(holding.found.clone());
        match &found {
            Some(found) => self.recent.wrote(asked.record(), found.clone(), self.clock.now()),
            None => self.recent.removed(asked.record()),
        }
        self.write(Write::new(asked, holding, found), holding.version).await;
    }

    /// Notes that an asker by content was told of a person's word, once it is known that it was.
    pub(super) async fn told_by_word(
        &self,
        asked: &Asked,
        held: &Held,
        record: Record,
        table: &Table,
    ) {
        let (delivery, _joined) = table.delivery(&self.clock).await;
        if delivery == Delivery::Lost {
            return;
        }
        let now = self.clock.now();
        let told = change::told_by_word(record, asked.identified.client_key);
        let written = match Self::entry(asked, &told, now) {
            Ok(entry) => self.ledger.replace(held.id, held.version, entry).await,
            Err(failed) => Err(failed),
        };
        match written {
            Ok(_done_or_moved) => self.recent.wrote(held.id, told, now),
            // The next who asks is told the same.
            Err(failed) => {
                self.metrics.ledger_error("unavailable");
                warn!(operation_id = %asked.identified.operation, error = %failed, "the store did not take \
                    that a person's word was told");
            }
        }
    }
}
