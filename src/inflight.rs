//! Who works on what in this process, and who waits for it.
//!
//! One [`Turn`] an operation: whoever holds it may claim and send. Others take a [`Seat`] and share
//! the answer, or wait until the turn has ended and are judged again. When every seat is left,
//! nobody waits, and no new attempt is made (I11).

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::decide::digest::ClientKeyDigest;
use crate::decide::operation::record::Record;
use crate::delivery::{Delivery, Receipt};
use crate::ledger::RecordId;
use crate::respond::Told;

type Tables = Arc<Mutex<HashMap<RecordId, Arc<Table>>>>;

/// The operations that this process works on.
#[derive(Clone, Debug)]
pub struct Inflight {
    tables: Tables,
    max_operations: usize,
    max_seats: usize,
}

/// What a request finds.
#[derive(Debug)]
pub enum Entered {
    /// Nobody works on it: it is this request's turn.
    Turn(Turn),
    /// Somebody does.
    Busy(Arc<Table>),
    /// Too many operations are in flight.
    Full,
}

impl Inflight {
    /// Room for so many operations, and so many askers at each.
    #[must_use]
    pub fn new(max_operations: usize, max_seats: usize) -> Self {
        Self { tables: Arc::default(), max_operations, max_seats }
    }

    /// Takes the turn at an operation, or says who has it.
    #[must_use]
    pub fn enter(&self, id: RecordId) -> Entered {
        let mut tables = lock(&self.tables);
        let full = tables.len() >= self.max_operations;
        match tables.entry(id) {
            Slot::Occupied(held) => Entered::Busy(Arc::clone(held.get())),
            Slot::Vacant(_) if full => Entered::Full,
            Slot::Vacant(free) => {
                let table = Table::new(self.max_seats);
                free.insert(Arc::clone(&table));
                Entered::Turn(Turn { table, place: Some((Arc::clone(&self.tables), id)) })
            }
        }
    }

    /// A turn at something that nobody can join: a call, or the replay of an earlier occurrence.
    #[must_use]
    pub fn alone(&self) -> Turn {
        Turn { table: Table::new(1), place: None }
    }

    /// Whether this process works on an operation.
    #[must_use]
    pub fn contains(&self, id: RecordId) -> bool {
        lock(&self.tables).contains_key(&id)
    }

    /// How many operations are in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.tables).len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The right to work on an operation. When it is dropped, the waiting are judged again.
#[derive(Debug)]
pub struct Turn {
    table: Arc<Table>,
    place: Option<(Tables, RecordId)>,
}

impl Turn {
    /// Where the askers sit.
    #[must_use]
    pub const fn table(&self) -> &Arc<Table> {
        &self.table
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((tables, id)) = self.place.take() {
            lock(&tables).remove(&id);
        }
        self.table.change(|state| state.phase = Phase::Over);
    }
}

/// Where those who ask for one operation wait for its answer.
#[derive(Debug)]
pub struct Table {
    state: Mutex<State>,
    /// Wakes all who wait, in the order in which they came.
    changed: Notify,
    max_seats: usize,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    record: Option<Arc<Record>>,
    told: Option<Arc<Told>>,
    /// Seats that are taken and have no answer yet.
    waiting: usize,
    seated: u64,
    /// What became of the latest asker.
    latest: Latest,
    client_keys: Vec<ClientKeyDigest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The store is asked.
    Claiming,
    /// It is claimed; an answer may be there already.
    Claimed,
    /// Nobody may join any more.
    Closed,
    /// The turn has ended.
    Over,
}

#[derive(Debug)]
enum Latest {
    Waiting,
    Handed(Receipt),
    Known(Delivery),
}

/// Why nobody can sit down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSeat {
    /// The turn is ending or over: wait until it is, and ask again.
    Ending,
    /// Too many ask for this operation.
    Full,
}

/// How an operation in flight stands, for one who comes to it.
#[derive(Debug)]
pub enum Standing {
    /// Claimed with this record.
    Claimed {
        /// The record as it was claimed.
        record: Arc<Record>,
        /// Its answer, while its delivery is not known yet.
        told: Option<Arc<Told>>,
    },
    /// The turn is ending or over: ask again when it is over.
    Ending,
}

impl Table {
    fn new(max_seats: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                phase: Phase::Claiming,
                record: None,
                told: None,
                waiting: 0,
                seated: 0,
                latest: Latest::Known(Delivery::Lost),
                client_keys: Vec::new(),
            }),
            changed: Notify::new(),
            max_seats,
        })
    }

    fn change<T>(&self, how: impl FnOnce(&mut State) -> T) -> T {
        let value = how(&mut lock(&self.state));
        self.changed.notify_waiters();
        value
    }

    /// Waits until `what` gives something. Looks again at every change.
    async fn until<T>(&self, mut what: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut changed = std::pin::pin!(self.changed.notified());
        loop {
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(value) = what(&mut lock(&self.state)) {
                return value;
            }
            changed.as_mut().await;
            changed.set(self.changed.notified());
        }
    }

    /// Sits down.
    ///
    /// # Errors
    /// [`NoSeat`], if nobody may join any more, or too many have.
    pub fn sit(self: &Arc<Self>, client_key: Option<ClientKeyDigest>) -> Result<Seat, NoSeat> {
        self.change(|state| {
            match state.phase {
                Phase::Claiming | Phase::Claimed => {}
                Phase::Closed | Phase::Over => return Err(NoSeat::Ending),
            }
            if state.waiting >= self.max_seats || state.client_keys.len() >= self.max_seats {
                return Err(NoSeat::Full);
            }
            state.waiting += 1;
            state.seated += 1;
            state.latest = Latest::Waiting;
            state.client_keys.extend(client_key);
            Ok(Seat { table: Arc::clone(self), number: state.seated, done: false })
        })
    }

    /// The operation is claimed with `record`: joiners may judge by it.
    pub fn claimed(&self, record: Arc<Record>) {
        self.change(|state| {
            state.record = Some(record);
            state.phase = Phase::Claimed;
        });
    }

    /// Tells the answer to all seats.
    pub fn tell(&self, told: Arc<Told>) {
        self.change(|state| state.told = Some(told));
    }

    /// Lets nobody join any more, unless somebody has beside the first. Whether nobody had.
    pub fn close_unless_joined(&self) -> bool {
        self.change(|state| {
            let alone = state.seated <= 1;
            if alone {
                state.phase = Phase::Closed;
            }
            alone
        })
    }

    /// Lets nobody join any more. Returns the client keys of all who sat here.
    pub fn close(&self) -> Vec<ClientKeyDigest> {
        self.change(|state| {
            state.phase = Phase::Closed;
            state.client_keys.clone()
        })
    }

    /// How the operation stands, once the store was asked.
    pub async fn standing(&self) -> Standing {
        self.until(|state| match (state.phase, &state.record) {
            (Phase::Claimed, Some(record)) => {
                Some(Standing::Claimed { record: Arc::clone(record), told: state.told.clone() })
            }
            (Phase::Closed | Phase::Over, _) => Some(Standing::Ending),
            (Phase::Claiming | Phase::Claimed, _) => None,
        })
        .await
    }

    /// Waits until the turn is over.
    pub async fn over(&self) {
        self.until(|state| (state.phase == Phase::Over).then_some(())).await;
    }

    /// Whether anybody waits for an answer.
    #[must_use]
    pub fn wanted(&self) -> bool {
        lock(&self.state).waiting > 0
    }

    /// Waits until nobody waits for an answer.
    pub async fn unwanted(&self) {
        self.until(|state| (state.waiting == 0).then_some(())).await;
    }

    /// Waits until it is known whether the latest asker got the answer, and closes the table.
    ///
    /// Returns the client keys of all who sat here as well.
    pub async fn delivery(&self, clock: &Clock) -> (Delivery, Vec<ClientKeyDigest>) {
        loop {
            let (number, receipt) = self
                .until(|state| match std::mem::replace(&mut state.latest, Latest::Waiting) {
                    Latest::Waiting => None,
                    Latest::Handed(receipt) => Some((state.seated, Ok(receipt))),
                    Latest::Known(delivery) => {
                        state.latest = Latest::Known(delivery);
                        state.phase = Phase::Closed;
                        Some((state.seated, Err((delivery, state.client_keys.clone()))))
                    }
                })
                .await;
            match receipt {
                Err(known) => return known,
                Ok(receipt) => {
                    let delivery = receipt.delivery(clock).await;
                    self.change(|state| {
                        if state.seated == number {
                            state.latest = Latest::Known(delivery);
                        }
                    });
                }
            }
        }
    }
}

/// The place of one asker. Dropped without an answer handed on, its answer is lost.
#[derive(Debug)]
pub struct Seat {
    table: Arc<Table>,
    number: u64,
    done: bool,
}

impl Seat {
    /// Waits for the answer; `None` if the turn ended without one.
    pub async fn answer(&self) -> Option<Arc<Told>> {
        self.table
            .until(|state| match (&state.told, state.phase) {
                (Some(told), _) => Some(Some(Arc::clone(told))),
                (None, Phase::Over) => Some(None),
                (None, Phase::Claiming | Phase::Claimed | Phase::Closed) => None,
            })
            .await
    }

    /// The answer is on its way to the client, and `receipt` will tell whether it arrived.
    pub fn handed(mut self, receipt: Receipt) {
        self.leave(Latest::Handed(receipt));
    }

    fn leave(&mut self, with: Latest) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        self.table.change(|state| {
            state.waiting = state.waiting.saturating_sub(1);
            if state.seated == self.number {
                state.latest = with;
            }
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave(Latest::Known(Delivery::Lost));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
