//! What is learnt is written: settled, or put back, with one write over the claim.
//!
//! A write that was not answered is reconciled by the claim's token; one that cannot be made is left
//! to a take-over, which sends the same key. Nothing here decides what is written
//! ([`change`](crate::decide::operation::change)).

use std::convert::Infallible;
use std::time::Duration;

use tracing::{error, warn};

use super::claim::Holding;
use super::{Asked, Exchange};
use crate::decide::digest::ClientKeyDigest;
use crate::decide::identity::Kind;
use crate::decide::operation::change::{self, Learnt};
use crate::decide::operation::codec::decode;
use crate::decide::operation::record::Record;
use crate::decide::outcome::Conclusion;
use crate::delivery::Delivery;
use crate::inflight::Table;
use crate::ledger::{Claimed, Held, Ledger, LedgerError, Replaced, Version};
use crate::seams::{self, Mistake, Point};
use crate::upstream::Upstream;

/// How often a settling write is tried before it is left to a take-over.
const WRITES: u32 = 3;
const BETWEEN_WRITES: Duration = Duration::from_millis(200);

/// What a settling write came to.
enum Written {
    Done,
    TakenOver,
    /// It is still this claim's, in this version.
    Ours(Version),
}

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// Settles the operation with what was learnt.
    pub(super) async fn settle(
        &self,
        asked: &Asked,
        holding: &Holding,
        learnt: &Learnt,
        delivered: bool,
        joined: &[ClientKeyDigest],
    ) {
        let now = self.clock.now();
        let settled = change::settled(holding.record.clone(), learnt, delivered, joined, now);
        self.remember(asked, &settled);
        self.write(asked, holding, Some(&settled)).await;
    }

    /// Writes the decline of a named operation before it is told. Whoever was told tries another
    /// card under the same name: had payonce died before it settled, that would be other content for
    /// an operation in doubt, refused until a person helps. By content, another card is another
    /// operation; an own key is never asked for with other content.
    pub(super) async fn note_decline(&self, asked: &Asked, holding: &mut Holding, learnt: &Learnt) {
        let declined = matches!(learnt.conclusion, Conclusion::Declined { .. });
        let named = matches!(asked.identified.kind, Kind::Header | Kind::Fields);
        let (Some(version), true) = (holding.version, declined && named) else { return };
        let now = self.clock.now();
        let settled = change::settled(holding.record.clone(), learnt, false, &[], now);
        // Still claimed: it is settled when it is known whether the asker got the answer.
        let noted = Record { standing: settled.standing, ..holding.record.clone() };
        let written = match Self::entry(asked, &noted, now) {
            Ok(entry) => self.ledger.replace(asked.record(), version, entry).await,
            Err(failed) => Err(failed),
        };
        match written {
            Ok(Replaced::Done(version)) => {
                holding.version = version;
                holding.record = noted;
            }
            // Settling finds out whose it is.
            Ok(Replaced::Moved(_)) => {}
            Err(failed) => {
                self.metrics.ledger_error("unavailable");
                warn!(operation_id = %asked.identified.operation, %failed, "the store did not take \
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
        self.write(asked, holding, found.as_ref()).await;
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
                warn!(operation_id = %asked.identified.operation, %failed, "the store did not take \
                    that a person's word was told");
            }
        }
    }

    /// Writes `record` over the claim, or removes it. What cannot be written is left to a
    /// take-over, which sends the same key.
    async fn write(&self, asked: &Asked, holding: &Holding, record: Option<&Record>) {
        let mut version = holding.version;
        seams::point(Point::BeforeSettle);
        for _ in 0..WRITES {
            match self.write_once(asked, holding, version, record).await {
                Ok(Written::Done) => return seams::point(Point::Settled),
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
        version: Option<Version>,
        record: Option<&Record>,
    ) -> Result<Written, LedgerError> {
        let id = asked.record();
        let entry =
            record.map(|record| Self::entry(asked, record, self.clock.now())).transpose()?;
        let moved = match (version, entry) {
            (Some(version), Some(entry)) => self.ledger.replace(id, version, entry).await?,
            (Some(version), None) => self.ledger.remove(id, version).await?,
            // A write that was not answered: did it happen?
            (None, entry) => match (self.ledger.get(id).await?, entry) {
                (Some(held), _) => Replaced::Moved(Some(held)),
                (None, None) => return Ok(Written::Done),
                (None, Some(entry)) => match self.ledger.claim(&[id], entry).await? {
                    Claimed::Fresh(_) => return Ok(Written::Done),
                    Claimed::Found(held) => Replaced::Moved(Some(held)),
                },
            },
        };
        let Replaced::Moved(Some(held)) = moved else {
            return Ok(match moved {
                Replaced::Done(_) => Written::Done,
                Replaced::Moved(_) => Written::TakenOver,
            });
        };
        let Ok(stands) = decode(&held.record) else { return Ok(Written::TakenOver) };
        if record == Some(&stands) {
            return Ok(Written::Done);
        }
        let found = holding.found.as_ref() == Some(&stands);
        let ours = found
            || ours(&held.record, &holding.record)
            || seams::mistake(Mistake::SettleByNonOwner);
        Ok(if ours { Written::Ours(held.version) } else { Written::TakenOver })
    }

    /// Awaits `work` while the lease is renewed, where another process might take it for ended.
    pub(super) async fn while_held<T>(
        &self,
        asked: &Asked,
        holding: &mut Holding,
        work: impl Future<Output = T>,
    ) -> T {
        if self.ledger.exclusive() {
            return work.await;
        }
        tokio::select! {
            biased;
            value = work => value,
            never = self.renew(asked, holding) => match never {},
        }
    }

    async fn renew(&self, asked: &Asked, holding: &mut Holding) -> Infallible {
        loop {
            self.clock.sleep(self.config.lease / 3).await;
            let (Some(version), now) = (holding.version, self.clock.now()) else { continue };
            let mut renewed = holding.record.clone();
            if let Some(claim) = &mut renewed.claim {
                claim.lease = now.plus(self.config.lease);
            }
            let written = match Self::entry(asked, &renewed, now) {
                Ok(entry) => {
                    seams::point(Point::BeforeRenew);
                    self.ledger.replace(asked.record(), version, entry).await
                }
                Err(failed) => Err(failed),
            };
            seams::point(Point::Renewed);
            match written {
                Ok(Replaced::Done(version)) => {
                    holding.version = version;
                    holding.record = renewed;
                }
                // A renewal that was not answered, and happened.
                Ok(Replaced::Moved(Some(held))) if ours(&held.record, &holding.record) => {
                    holding.version = Some(held.version);
                }
                // Settling finds out whose it is; until then the key is the same for both.
                Ok(Replaced::Moved(_)) | Err(_) => self.metrics.ledger_error("not_renewed"),
            }
        }
    }
}

/// Whether what stands in the ledger bears the claim of `record`.
fn ours(stands: &[u8], record: &Record) -> bool {
    let token = |record: &Record| record.claim.as_ref().map(|claim| claim.token.clone());
    decode(stands).is_ok_and(|stands| stands.claim.is_some() && token(&stands) == token(record))
}
