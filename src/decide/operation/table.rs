//! The table of DESIGN §4: what happens to a critical request, by what was found. First match wins.

use std::time::Duration;

use super::Occurrence;
use super::record::{Outcome, Past, Record, Settled, Standing};
use crate::clock::Timestamp;
use crate::decide::digest::ClientKeyDigest;
use crate::decide::identity::{Fingerprint, Kind};
use crate::seams::{self, Mistake};

/// The rows, by their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each row is told in DESIGN §4 and at its place in `judge`")]
pub enum Row {
    A1,
    A2,
    A3,
    A4,
    A5,
    A6,
    A7,
    A8,
    A9,
    A10,
    A11,
    A12,
    A13,
    A14,
    A15,
    A16,
}

impl Row {
    /// All of them, in order.
    pub const ALL: [Self; 16] = [
        Self::A1,
        Self::A2,
        Self::A3,
        Self::A4,
        Self::A5,
        Self::A6,
        Self::A7,
        Self::A8,
        Self::A9,
        Self::A10,
        Self::A11,
        Self::A12,
        Self::A13,
        Self::A14,
        Self::A15,
        Self::A16,
    ];

    /// The id in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A1 => "A1",
            Self::A2 => "A2",
            Self::A3 => "A3",
            Self::A4 => "A4",
            Self::A5 => "A5",
            Self::A6 => "A6",
            Self::A7 => "A7",
            Self::A8 => "A8",
            Self::A9 => "A9",
            Self::A10 => "A10",
            Self::A11 => "A11",
            Self::A12 => "A12",
            Self::A13 => "A13",
            Self::A14 => "A14",
            Self::A15 => "A15",
            Self::A16 => "A16",
        }
    }
}

/// A request for an operation, as far as the table looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What it was recognised by; never [`Kind::Call`], which has no record.
    pub kind: Kind,
    /// Its fingerprint.
    pub fingerprint: &'a Fingerprint,
    /// Its client key with its content, if it bears one.
    pub client_key: Option<ClientKeyDigest>,
    /// Whether it may share a live or freshly delivered answer.
    pub twins: bool,
    /// How long after its first delivery a success is repeated to twins.
    pub repeat_window: Duration,
    /// Whether a saved 500 is followed by the next occurrence.
    pub next_after_saved_500: bool,
    /// The current epoch of the operation.
    pub epoch: u64,
    /// When the request arrived.
    pub arrived: Timestamp,
    /// Whether it has waited for somebody who worked on the operation.
    pub waited: bool,
    /// The present.
    pub now: Timestamp,
}

impl Ask<'_> {
    /// Whether the operation has one key for ever, or is named by the application.
    const fn named(&self) -> bool {
        match self.kind {
            Kind::Header | Kind::Fields | Kind::OwnKey => true,
            Kind::Content | Kind::Call => false,
        }
    }
}

/// Whether the owner of a record still works on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Its lease holds and its process is not known to be dead.
    Alive,
    /// Nobody works on it.
    Gone,
}

/// What happens, and by which row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The row that decided.
    pub row: Row,
    /// What happens.
    pub then: Then,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is sent, under a claim.
    Send(Send),
    /// The key of an earlier occurrence is sent again; the record stays as it is.
    ReplayEarlier(Past),
    /// It waits for whoever works on the operation.
    Wait {
        /// It takes the answer that comes; else it is judged again when the operation has settled.
        share: bool,
    },
    /// It is answered without asking the provider.
    Refuse(Refused),
}

/// How a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    /// For which occurrence.
    pub occurrence: Occurrence,
    /// In which way.
    pub way: Way,
}

/// Why this key is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The first time for a new occurrence.
    New {
        /// The same was delivered as a success before: counted as a *repeat*.
        repeat: bool,
        /// An open occurrence was given up beyond safe retention: counted as *abandoned*.
        abandoned: bool,
    },
    /// Again, to learn the outcome.
    TakeOver {
        /// A declined one whose answer was delivered: a replayed decline means that the next
        /// occurrence is due (A12).
        next_if_replayed: bool,
    },
    /// Again, for a saved answer.
    Replay,
}

/// Why a request is answered without asking the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its client key belongs to an earlier occurrence that cannot be replayed.
    Superseded,
    /// The outcome is not known and the key is too old to ask.
    WindowElapsed,
    /// It succeeded, and the key is too old to ask for the answer.
    AlreadyDone,
    /// It was asked for with other content: the fields that differ.
    Conflict(Vec<String>),
}

/// Judges a request by what was found.
#[must_use]
pub fn judge(found: Option<&Record>, owner: Owner, ask: &Ask<'_>) -> Verdict {
    let (row, then) = match found {
        None => (Row::A1, new(Occurrence::first(ask.epoch))),
        Some(record) => known(record, owner, ask),
    };
    Verdict { row, then }
}

fn known(record: &Record, owner: Owner, ask: &Ask<'_>) -> (Row, Then) {
    let alive = record.claim.is_some() && owner == Owner::Alive;
    let seen = seen(record, ask);
    if let Some(seen) = seen {
        if seen < record.occurrence {
            return (Row::A2, earlier(record, seen, ask.now));
        }
        let answers = provider_answers(record) && !only_told(record, true);
        if !alive && !record.beyond_retention(ask.now) && answers {
            return (Row::A3, again(record, way_again(record)));
        }
    }
    if !alive && record.beyond_retention(ask.now) {
        return beyond(record, ask);
    }
    if !alive && only_told(record, seen.is_some()) {
        return (Row::A5, Then::Refuse(Refused::AlreadyDone));
    }
    if !record.fingerprint.matches(ask.fingerprint) {
        return other_content(record, alive, ask);
    }
    if alive {
        return (Row::A9, Then::Wait { share: ask.twins || ask.named() });
    }
    if joined(record, ask) {
        return (Row::A9, again(record, way_again(record)));
    }
    match record.settled() {
        None => open(record, ask),
        Some(Settled { result: Outcome::Declined, spent, delivered }) => {
            declined(record, ask, spent, delivered)
        }
        Some(Settled { result: Outcome::Succeeded, delivered, .. }) => {
            succeeded(record, ask, delivered)
        }
    }
}

/// Whether it had arrived when the outcome was told, and shares it: with an owner in its own process
/// it takes the answer itself, with one in another process it asks for the same again.
fn joined(record: &Record, ask: &Ask<'_>) -> bool {
    // An answer from the future is that of a process whose clock runs ahead: only who has waited for
    // it surely came before it.
    let in_time = record
        .answered
        .is_some_and(|answered| ask.arrived < answered && (ask.waited || answered <= ask.now));
    in_time && (ask.twins || ask.named()) && record.settled().is_some()
}

/// The latest occurrence that this client key asked for with this content.
fn seen(record: &Record, ask: &Ask<'_>) -> Option<Occurrence> {
    let key = ask.client_key?;
    record.client_keys.iter().filter(|seen| seen.digest == key).map(|seen| seen.occurrence).max()
}

/// Why the key is sent again: what the provider does not hold is executed anew.
const fn way_again(record: &Record) -> Way {
    match record.standing {
        Standing::Settled(Settled { spent: false, .. }) => {
            Way::TakeOver { next_if_replayed: false }
        }
        Standing::Begun | Standing::InDoubt { .. } | Standing::Settled(_) => Way::Replay,
    }
}

/// Whether sending the key again brings the answer that it brought before: settled, or a saved 500.
const fn provider_answers(record: &Record) -> bool {
    match record.standing {
        Standing::Begun | Standing::InDoubt { saved_500: false } => false,
        Standing::InDoubt { saved_500: true } | Standing::Settled(_) => true,
    }
}

/// Whether it succeeded by a person's word while the provider replays a 500 for its key: the answer
/// cannot be had, only told. By content only the first who asks is told (and whoever has that key),
/// for the next may mean another.
fn only_told(record: &Record, seen: bool) -> bool {
    let told = record.settled().filter(|it| it.result == Outcome::Succeeded).map(|it| it.delivered);
    let unanswerable = record.about.resolved.as_ref().is_some_and(|word| word.unanswerable);
    unanswerable && told.is_some_and(|told| !told || seen || record.kind != Kind::Content)
}

/// A2: the key of that occurrence again, if the provider holds its outcome and still knows it.
fn earlier(record: &Record, seen: Occurrence, now: Timestamp) -> Then {
    let safe = super::Retention::of(record.api).safe;
    let past = record.past.iter().find(|past| past.occurrence == seen);
    match past.filter(|past| past.spent && now.since(past.first_sent) < safe) {
        Some(past) => Then::ReplayEarlier(past.clone()),
        None => Then::Refuse(Refused::Superseded),
    }
}

/// A4–A6. An owner that is alive is waited for instead: it sends nothing more (I6), and will say.
fn beyond(record: &Record, ask: &Ask<'_>) -> (Row, Then) {
    match record.settled() {
        None if ask.named() => (Row::A4, Then::Refuse(Refused::WindowElapsed)),
        Some(Settled { result: Outcome::Succeeded, .. }) if ask.named() => {
            (Row::A5, Then::Refuse(Refused::AlreadyDone))
        }
        settled => {
            let way = Way::New { repeat: false, abandoned: settled.is_none() };
            let current = Occurrence::first(ask.epoch);
            // An epoch is shorter than safe retention, so its own epoch is over; were it not (a
            // clock that stepped back), 0 again would be a key that was sent before.
            let occurrence = if current > record.occurrence {
                current
            } else {
                record.occurrence.next(ask.epoch)
            };
            (Row::A6, Then::Send(Send { occurrence, way }))
        }
    }
}

/// A7, A8.
fn other_content(record: &Record, alive: bool, ask: &Ask<'_>) -> (Row, Then) {
    let declined = record.settled().is_some_and(|it| it.result == Outcome::Declined)
        && !seams::mistake(Mistake::DeclineForEver);
    if declined && !alive && ask.kind != Kind::OwnKey {
        return (Row::A7, next(record, ask, false));
    }
    let fields = record.fingerprint.differing(ask.fingerprint);
    (Row::A8, Then::Refuse(Refused::Conflict(fields)))
}

/// A10, A11.
fn open(record: &Record, ask: &Ask<'_>) -> (Row, Then) {
    let saved_500 = record.standing == Standing::InDoubt { saved_500: true };
    // Had its client key been seen, A3 would have matched.
    if saved_500 && ask.next_after_saved_500 {
        return (Row::A10, next(record, ask, false));
    }
    (Row::A11, again(record, Way::TakeOver { next_if_replayed: false }))
}

/// A12, A13.
fn declined(record: &Record, ask: &Ask<'_>, spent: bool, delivered: bool) -> (Row, Then) {
    match (spent, delivered) {
        (false, delivered) => {
            (Row::A12, again(record, Way::TakeOver { next_if_replayed: delivered }))
        }
        (true, false) => (Row::A13, again(record, Way::Replay)),
        (true, true) if seams::mistake(Mistake::DeclineForEver) => {
            (Row::A13, again(record, Way::Replay))
        }
        (true, true) => (Row::A13, next(record, ask, false)),
    }
}

/// A14–A16.
fn succeeded(record: &Record, ask: &Ask<'_>, delivered: bool) -> (Row, Then) {
    let replay = again(record, Way::Replay);
    if !delivered {
        return (Row::A14, replay);
    }
    let fresh = record.first_delivered.is_some_and(|at| ask.now.since(at) < ask.repeat_window);
    match ask.kind {
        Kind::Header | Kind::Fields => (Row::A15, replay),
        Kind::Content if ask.twins && fresh || seams::mistake(Mistake::SuccessForEver) => {
            (Row::A15, replay)
        }
        Kind::Content | Kind::OwnKey | Kind::Call => (Row::A16, next(record, ask, true)),
    }
}

const fn new(occurrence: Occurrence) -> Then {
    Then::Send(Send { occurrence, way: Way::New { repeat: false, abandoned: false } })
}

const fn again(record: &Record, way: Way) -> Then {
    Then::Send(Send { occurrence: record.occurrence, way })
}

/// The next occurrence; an own key has none, so it is replayed and Stripe says what it says.
fn next(record: &Record, ask: &Ask<'_>, repeat: bool) -> Then {
    match ask.kind {
        Kind::OwnKey => again(record, Way::Replay),
        Kind::Header | Kind::Fields | Kind::Content | Kind::Call => Then::Send(Send {
            occurrence: record.occurrence.next(ask.epoch),
            way: Way::New { repeat, abandoned: false },
        }),
    }
}
