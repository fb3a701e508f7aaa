//! What to do with what the ledger holds: the state machine of DESIGN §4, pure.
//!
//! [`record`] is what is remembered; [`table`] the rows A1–A16; [`change`] how a record moves on;
//! [`stands`] how it
//! stands, in a word; [`codec`] its bytes. Nothing here knows a socket, a clock or a store.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::digest::OperationId;
use super::path::Api;
use crate::clock::Timestamp;

pub mod change;
pub mod codec;
pub mod finding;
pub mod record;
pub mod stands;
pub mod table;

/// The n-th time that one operation is meant to happen, counted within an epoch.
///
/// Occurrences compare by epoch, then number. Each keeps the epoch it began in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Occurrence {
    /// The epoch it began in.
    pub epoch: u64,
    /// 0, 1, 2… within that epoch.
    pub n: u32,
}

impl Occurrence {
    /// The first of `epoch`.
    #[must_use]
    pub const fn first(epoch: u64) -> Self {
        Self { epoch, n: 0 }
    }

    /// The one after this, begun in `epoch`: number 0 of a later epoch.
    #[must_use]
    pub fn next(self, epoch: u64) -> Self {
        if epoch > self.epoch {
            Self::first(epoch)
        } else {
            Self { epoch: self.epoch, n: self.n.saturating_add(1) }
        }
    }
}

const DAY: Duration = Duration::from_hours(24);

/// How long one API generation remembers keys, and what follows from it (FACTS §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A key is never sent again when this old (I6).
    pub safe: Duration,
    /// The length of an epoch; shorter than `safe`.
    pub epoch: Duration,
    /// How long the provider remembers a key: a settled record is kept for at least that time
    /// after its last send.
    pub after_send: Duration,
}

impl Retention {
    /// What holds for `api`.
    #[must_use]
    pub const fn of(api: Api) -> Self {
        match api {
            Api::V1 => Self {
                safe: Duration::from_hours(23),
                epoch: Duration::from_hours(22),
                after_send: DAY,
            },
            Api::V2 => Self {
                safe: Duration::from_hours(696),
                epoch: Duration::from_hours(672),
                after_send: Duration::from_hours(720),
            },
        }
    }

    /// How long an open operation is kept after its first send.
    #[must_use]
    pub fn open(self) -> Duration {
        self.after_send + 7 * DAY
    }

    /// Successes by header, fields or own key are kept this long.
    #[must_use]
    pub const fn done() -> Duration {
        Duration::from_hours(720)
    }

    /// The epoch that `now` falls into for `operation`: each operation has its own offset, so that
    /// not all turn at once.
    #[must_use]
    pub fn epoch_at(self, operation: &OperationId, now: Timestamp) -> u64 {
        let length = millis(self.epoch);
        now.as_millis().saturating_add(offset(operation, length)) / length
    }

    /// When `epoch` of `operation` ends.
    #[must_use]
    pub fn epoch_end(self, operation: &OperationId, epoch: u64) -> Timestamp {
        let length = millis(self.epoch);
        let end = epoch.saturating_add(1).saturating_mul(length);
        Timestamp::from_millis(end.saturating_sub(offset(operation, length)))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn offset(operation: &OperationId, length: u64) -> u64 {
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(operation.0) {
        *to = from;
    }
    u64::from_be_bytes(first) % length
}

#[cfg(test)]
mod tests;
