//! A state of the whole: small, hashable, with records by their number at the [`Desk`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::super::world::fingerprint;
use crate::decide::identity::Fingerprint;
use crate::decide::key::IdempotencyKey;
use crate::decide::operation::codec::encode;
use crate::decide::operation::record::Record;
use crate::decide::operation::table::Way;

/// A record, by its number at the desk.
pub(super) type Rec = usize;
/// An upstream key, likewise.
pub(super) type Key = usize;
/// An effect at the provider, the n-th.
pub(super) type Effect = usize;

/// Gives equal things equal numbers, so that states are small.
#[derive(Default)]
pub(super) struct Desk {
    records: RefCell<Records>,
    keys: RefCell<Vec<IdempotencyKey>>,
}

#[derive(Default)]
struct Records {
    /// By their bytes.
    index: HashMap<Vec<u8>, Rec>,
    all: Vec<Rc<Record>>,
}

impl Desk {
    pub(super) fn put(&self, record: Record) -> Rec {
        let bytes = encode(&record).unwrap().to_vec();
        let Records { index, all } = &mut *self.records.borrow_mut();
        *index.entry(bytes).or_insert_with(|| {
            all.push(Rc::new(record));
            all.len() - 1
        })
    }

    pub(super) fn record(&self, number: Rec) -> Rc<Record> {
        Rc::clone(&self.records.borrow().all[number])
    }

    pub(super) fn key(&self, key: &IdempotencyKey) -> Key {
        let mut keys = self.keys.borrow_mut();
        keys.iter().position(|known| known == key).unwrap_or_else(|| {
            keys.push(key.clone());
            keys.len() - 1
        })
    }

    pub(super) fn key_of(&self, number: Key) -> IdempotencyKey {
        self.keys.borrow()[number].clone()
    }

    pub(super) fn fingerprint(content: u8) -> Fingerprint {
        fingerprint(content)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// Milliseconds since the beginning.
    pub(super) now: u64,
    /// How many of the configuration's steps of time were taken.
    pub(super) ticks: usize,
    /// How many faults may still happen.
    pub(super) faults: usize,
    /// How often the provider may still answer other than with a success.
    pub(super) moods: usize,
    pub(super) store: Store,
    pub(super) proxies: [Proxy; 2],
    pub(super) provider: Provider,
    pub(super) callers: [Caller; 2],
    /// The store forgot, stepped back or did not answer: some promises are weaker.
    pub(super) blind: bool,
    /// Effects whose delivery the store has acknowledged.
    pub(super) recorded: Vec<Effect>,
}

/// One place, by compare and swap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Store {
    pub(super) held: Option<Held>,
    /// What stood there before, the latest first: a replica may know no more.
    pub(super) before: Vec<Option<Held>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) record: Rec,
    pub(super) version: usize,
    pub(super) expires: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Proxy {
    /// How often it was started again.
    pub(super) life: usize,
    /// `recent`: the operation's record, and when it was remembered.
    pub(super) memory: Option<(Rec, u64)>,
    /// `recent`: the calls, by client key and content, with the key sent and when.
    pub(super) calls: Vec<Call>,
    pub(super) turn: Option<Turn>,
    /// The write that the store did not take.
    pub(super) unwritten: Option<Unwritten>,
}

/// A write that is made later, and what tells whether its claim still stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Unwritten {
    pub(super) claimed: Rec,
    pub(super) found: Option<Rec>,
    /// Nothing: what stands is removed.
    pub(super) target: Option<Rec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Call {
    pub(super) client: u16,
    pub(super) content: u8,
    pub(super) key: Key,
    pub(super) at: u64,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) caller: usize,
    pub(super) client: u16,
    pub(super) content: u8,
    pub(super) arrived: u64,
    pub(super) token: usize,
    pub(super) recalled: Option<Key>,
}

/// One turn at the operation, as `exchange::drive::operation` runs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Turn {
    pub(super) asked: Asked,
    pub(super) seats: Vec<Seat>,
    pub(super) phase: Phase,
    pub(super) holding: Option<Holding>,
    /// The record that joiners judge by.
    pub(super) shown: Option<Rec>,
    pub(super) told: Option<Told>,
    pub(super) advances: u32,
    /// When the latest attempt began.
    pub(super) began: u64,
    /// What the attempts of this run brought.
    pub(super) answers: Vec<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Seat {
    pub(super) caller: usize,
    pub(super) client: u16,
    pub(super) content: u8,
    pub(super) is: Seated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Seated {
    Waiting,
    Handed,
    Got,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// The look at the store: a claim by memory, or a read.
    Look,
    /// The swap of a claim over what was found.
    Swap,
    /// An attempt is due.
    Ready,
    /// An attempt is on its way.
    Wire,
    /// Whether the latest asker got the answer.
    Deliver,
    /// A write over the claim.
    Write(Writing),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Writing {
    /// Nothing: what stands is removed.
    pub(super) target: Option<Rec>,
    pub(super) version: Option<usize>,
    pub(super) tries: usize,
    /// A read found nothing, and a claim follows.
    pub(super) absent: bool,
    pub(super) then: Then,
}

/// What a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Then {
    /// The next occurrence is sent; this is what is put back if nothing comes of it.
    Advance { declined: Rec },
    /// The lease begins anew before the first attempt.
    Renew,
    /// The decline that was written is told.
    Tell,
    /// The turn ends.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) found: Option<Rec>,
    pub(super) record: Rec,
    pub(super) version: Option<usize>,
    pub(super) way: Way,
    pub(super) first_call: bool,
}

impl std::hash::Hash for Holding {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let way = match self.way {
            Way::New { repeat, abandoned } => u8::from(repeat) + 2 * u8::from(abandoned),
            Way::TakeOver { next_if_replayed } => 4 + u8::from(next_if_replayed),
            Way::Replay => 6,
        };
        (self.found, self.record, self.version, way, self.first_call).hash(state);
    }
}

/// What came of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    NotSent,
    Unknown,
    Read { status: u16, conflict: bool, replayed: bool, effect: Option<Effect> },
}

/// What the askers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Told {
    pub(super) says: Says,
    pub(super) at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Says {
    Success(Effect),
    Declined,
    /// The outcome is unknown, or it is still in flight: ask again.
    Unknown,
    /// Nothing was sent or executed: ask again.
    Nothing,
    /// 409: its client key is of an earlier occurrence.
    Superseded,
    /// 400: other content.
    Conflict,
    /// 409: a person must look.
    WindowElapsed,
    /// 409: it is done.
    AlreadyDone,
}

/// The provider and the way there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Provider {
    /// Ordered by key.
    pub(super) saved: Vec<Saved>,
    pub(super) running: Vec<Sent>,
    /// Sent, given up by its sender, and not yet arrived.
    pub(super) delayed: Vec<Sent>,
    /// The truth.
    pub(super) effects: Vec<Done>,
    /// When each key was first executed or in execution.
    pub(super) first_seen: Vec<(Key, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Saved {
    pub(super) key: Key,
    pub(super) content: u8,
    pub(super) status: u16,
    pub(super) effect: Option<Effect>,
    pub(super) at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sent {
    pub(super) key: Key,
    pub(super) content: u8,
    pub(super) caller: usize,
    /// The proxy that waits for the answer.
    pub(super) from: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Done {
    pub(super) key: Key,
    pub(super) caller: usize,
    pub(super) at: u64,
}

/// One who wants an effect. Where the application names the operation both want the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Caller {
    pub(super) content: u8,
    pub(super) client: u16,
    pub(super) asks: usize,
    pub(super) arrived: u64,
    /// The key that its call was sent with before, by the memory of the proxy it came to.
    pub(super) recalled: Option<Key>,
    pub(super) place: Place,
    pub(super) last: Option<Says>,
    /// Effects known to be delivered to others when this one first asked.
    pub(super) after: Vec<Effect>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Resting,
    /// Has come to a proxy and waits to enter.
    At(usize),
    Seated(usize),
}

impl Caller {
    pub(super) const fn done(&self) -> Option<Effect> {
        match self.last {
            Some(Says::Success(effect)) => Some(effect),
            Some(
                Says::Declined
                | Says::Unknown
                | Says::Nothing
                | Says::Superseded
                | Says::Conflict
                | Says::WindowElapsed
                | Says::AlreadyDone,
            )
            | None => None,
        }
    }

    pub(super) const fn refused(&self) -> bool {
        matches!(self.last, Some(Says::WindowElapsed | Says::AlreadyDone))
    }
}

impl Turn {
    pub(super) fn wanted(&self) -> bool {
        self.seats.iter().any(|seat| seat.is == Seated::Waiting)
    }

    pub(super) fn last_seat(&self) -> Seated {
        self.seats.last().map_or(Seated::Lost, |seat| seat.is)
    }
}
