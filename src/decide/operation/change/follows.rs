//! What follows from an answer besides settling: the provider may know what the ledger has forgotten,
//! or have forgotten what the ledger knows.

use super::succeeded;
use crate::decide::identity::Kind;
use crate::decide::operation::record::Record;
use crate::decide::operation::table::Way;
use crate::decide::outcome::Conclusion;
use crate::decide::path::Api;

/// How many occurrences one request may pass over because the provider already holds a decline.
pub const MAX_ADVANCES: u32 = 8;

/// What follows from an answer, besides settling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// Nothing.
    Settle,
    /// The provider held a success that the ledger did not know: handed on, counted *forgotten*.
    Forgotten,
    /// The provider held a decline that is not gone on from (an own key; too many): it is older
    /// than its record.
    Older,
    /// A saved answer was asked for, and a fresh one came: the provider forgot the key early.
    Alarm,
    /// The provider held a decline of an earlier occurrence: the next one is sent.
    Advance,
}

/// Says what follows from `conclusion`. `replayed`: the answer was marked `Idempotent-Replayed`.
/// `first`: no attempt before can have been executed, so what is replayed is not of this exchange.
#[must_use]
pub fn follows(
    record: &Record,
    way: Way,
    conclusion: Conclusion,
    replayed: bool,
    first: bool,
    advances: u32,
) -> Follows {
    let may_advance = record.kind != Kind::OwnKey && advances < MAX_ADVANCES;
    let stale = replayed && first;
    match (way, conclusion) {
        (Way::New { .. }, Conclusion::Declined { .. }) if stale && may_advance => Follows::Advance,
        (Way::New { .. }, Conclusion::Declined { .. })
            if stale || replayed && record.kind == Kind::OwnKey =>
        {
            Follows::Older
        }
        (Way::New { .. }, Conclusion::Succeeded) if stale => Follows::Forgotten,
        (Way::TakeOver { next_if_replayed: true }, Conclusion::Declined { .. })
            if stale && may_advance =>
        {
            Follows::Advance
        }
        // v2 may not mark its replays.
        (Way::Replay, Conclusion::Succeeded | Conclusion::Declined { .. })
            if !replayed && record.api == Api::V1 && succeeded(record) =>
        {
            Follows::Alarm
        }
        (
            Way::New { .. } | Way::TakeOver { .. } | Way::Replay,
            Conclusion::Succeeded
            | Conclusion::Declined { .. }
            | Conclusion::InDoubt { .. }
            | Conclusion::NotExecuted,
        ) => Follows::Settle,
    }
}
