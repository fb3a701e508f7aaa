//! What is held to be finished: requests that ended in doubt, until each is due to be asked again.
//!
//! In memory and bounded, in number and in bytes; nothing is stored, and all of it dies with the
//! process or its drain, in doubt in the ledger as ever. When a step is due is
//! [`decide::finish`](crate::decide::finish)'s, the asking [`exchange`](crate::exchange)'s.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{Clock, Timestamp};
use crate::ledger::RecordId;
use crate::metrics::Metrics;

/// The clock is looked at at least this often while something is held: what sleeps does not see that
/// a clock leapt, or that the machine was suspended.
const LOOK: Duration = Duration::from_secs(2);

/// How much is held at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Operations.
    pub operations: usize,
    /// Bytes of their requests together.
    pub bytes: usize,
}

impl Default for Limits {
    /// As `config/payonce.toml` ships them.
    fn default() -> Self {
        Self { operations: 100, bytes: 8 << 20 }
    }
}

/// What is held, at most one request of each record.
pub struct Finishing<T> {
    state: Mutex<State<T>>,
    changed: Notify,
    limits: Limits,
    metrics: Metrics,
}

struct State<T> {
    held: BTreeMap<RecordId, Held<T>>,
    bytes: usize,
    /// Tells one that is held from another of the same record.
    number: u64,
    closed: bool,
}

struct Held<T> {
    what: T,
    bytes: usize,
    /// `None` while it is being asked for.
    due: Option<Timestamp>,
    number: u64,
}

/// One that was due and is being asked for: it is still held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    id: RecordId,
    number: u64,
}

impl<T: Clone> Finishing<T> {
    /// Nothing yet.
    #[must_use]
    pub fn new(limits: Limits, metrics: Metrics) -> Self {
        let state = State { held: BTreeMap::new(), bytes: 0, number: 0, closed: false };
        Self { state: Mutex::new(state), changed: Notify::new(), limits, metrics }
    }

    /// Holds `what`, of so many bytes, until `due`, in place of what was held of its record. Not if
    /// there is no room, which is counted, and not after the end.
    pub fn hold(&self, id: RecordId, what: T, bytes: usize, due: Timestamp) {
        self.change(|state| {
            state.remove(id);
            if state.closed {
                return;
            }
            let room = self.limits.bytes.saturating_sub(state.bytes);
            if state.held.len() >= self.limits.operations || bytes > room {
                self.metrics.finishing_dropped("full", 1);
                return self.metrics.limit_reached("finishing");
            }
            state.number = state.number.saturating_add(1);
            state.bytes = state.bytes.saturating_add(bytes);
            let number = state.number;
            state.held.insert(id, Held { what, bytes, due: Some(due), number });
        });
    }

    /// Lets go of what is held of a record: it has gone on without.
    pub fn let_go(&self, id: RecordId) {
        self.change(|state| state.remove(id));
    }

    /// Somebody has just asked for the operation and left it as it was: it is not due before `least`.
    pub fn put_off(&self, id: RecordId, least: Timestamp) {
        self.change(|state| {
            if let Some(Held { due: Some(due), .. }) = state.held.get_mut(&id) {
                *due = (*due).max(least);
            }
        });
    }

    /// Waits until one is due. It stays held until [`Self::done`], or until it is due
    /// [`Self::again`].
    pub async fn due(&self, clock: &Clock) -> (Ticket, T) {
        loop {
            let now = clock.now();
            let wait = match self.take(now) {
                Ok(due) => return due,
                Err(next) => next.map(|at| at.since(now).min(LOOK)),
            };
            match wait {
                None => self.changed.notified().await,
                Some(wait) => tokio::select! {
                    biased;
                    () = self.changed.notified() => {}
                    () = clock.sleep(wait) => {}
                },
            }
        }
    }

    /// It is due once more, as `what`; not if another has come in its place, or after the end.
    pub fn again(&self, ticket: Ticket, what: T, due: Timestamp) {
        self.change(|state| {
            if state.closed {
                self.metrics.finishing_dropped("shutdown", 1);
                return state.finish(ticket);
            }
            let held = state.held.get_mut(&ticket.id).filter(|held| held.number == ticket.number);
            if let Some(held) = held {
                (held.what, held.due) = (what, Some(due));
            }
        });
    }

    /// Nothing more is to be done for it, unless it is due again.
    pub fn done(&self, ticket: Ticket) {
        self.change(|state| state.finish(ticket));
    }

    /// [`Self::done`] with it when that is dropped, whatever happens.
    pub const fn until(&self, ticket: Ticket) -> Step<'_, T> {
        Step { room: self, ticket }
    }

    /// Holds nothing any more from now on. Says how many are let go of that were not just being
    /// asked for.
    pub fn close(&self) -> usize {
        self.change(|state| {
            state.closed = true;
            let waiting: Vec<RecordId> = state
                .held
                .iter()
                .filter(|(_, held)| held.due.is_some())
                .map(|(id, _)| *id)
                .collect();
            for id in &waiting {
                state.remove(*id);
            }
            self.metrics.finishing_dropped("shutdown", waiting.len());
            waiting.len()
        })
    }

    /// How many are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().held.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one that was due first, or when the next will be.
    fn take(&self, now: Timestamp) -> Result<(Ticket, T), Option<Timestamp>> {
        let mut state = self.lock();
        let waiting = state.held.iter_mut().filter_map(|(id, held)| Some((held.due?, *id, held)));
        let Some((due, id, held)) = waiting.min_by_key(|(due, id, _)| (*due, *id)) else {
            return Err(None);
        };
        if due > now {
            return Err(Some(due));
        }
        held.due = None;
        Ok((Ticket { id, number: held.number }, held.what.clone()))
    }

    fn change<V>(&self, how: impl FnOnce(&mut State<T>) -> V) -> V {
        let mut state = self.lock();
        let value = how(&mut state);
        self.metrics.finishing_holds(state.held.len(), state.bytes);
        drop(state);
        self.changed.notify_one();
        value
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One is being asked for.
pub struct Step<'a, T: Clone> {
    room: &'a Finishing<T>,
    ticket: Ticket,
}

impl<T: Clone> Drop for Step<'_, T> {
    fn drop(&mut self) {
        self.room.done(self.ticket);
    }
}

impl<T> State<T> {
    fn remove(&mut self, id: RecordId) {
        if let Some(held) = self.held.remove(&id) {
            self.bytes = self.bytes.saturating_sub(held.bytes);
        }
    }

    fn finish(&mut self, ticket: Ticket) {
        let it = |held: &Held<T>| held.number == ticket.number && held.due.is_none();
        if self.held.get(&ticket.id).is_some_and(it) {
            self.remove(ticket.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(n: u8) -> RecordId {
        RecordId([n; 32])
    }

    fn clock() -> Clock {
        Clock::driven(Timestamp::from_millis(1_000_000), 1)
    }

    fn room(operations: usize, bytes: usize) -> Finishing<&'static str> {
        Finishing::new(Limits { operations, bytes }, Metrics::new())
    }

    fn counted(room: &Finishing<&'static str>, line: &str) -> bool {
        room.metrics.encode().lines().any(|it| it == line)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_first_comes_first_and_not_before_its_time() {
        let (clock, room) = (clock(), room(9, 900));
        let began = clock.now();
        room.hold(id(1), "later", 1, began.plus(Duration::from_mins(5)));
        room.hold(id(2), "sooner", 1, began.plus(Duration::from_mins(1)));
        let (sooner, what) = room.due(&clock).await;
        assert_eq!((what, clock.now().since(began)), ("sooner", Duration::from_mins(1)));
        room.again(sooner, "once more", began.plus(Duration::from_mins(30)));
        let (later, what) = room.due(&clock).await;
        assert_eq!((what, clock.now().since(began)), ("later", Duration::from_mins(5)));
        room.done(later);
        let (_, what) = room.due(&clock).await;
        assert_eq!((what, clock.now().since(began)), ("once more", Duration::from_mins(30)));
        assert_eq!(room.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leap_of_the_clock_is_noticed() {
        let (clock, room) = (clock(), room(9, 900));
        room.hold(id(1), "one", 1, clock.now().plus(Duration::from_hours(1)));
        let leap = async {
            clock.sleep(Duration::from_secs(1)).await;
            clock.advance(Duration::from_hours(1));
        };
        let waited = clock
            .timeout(Duration::from_secs(5), async { tokio::join!(room.due(&clock), leap).0.1 });
        assert_eq!(waited.await, Ok("one"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_of_a_record_is_held_and_an_earlier_one_has_no_say_any_more() {
        let (clock, room) = (clock(), room(9, 900));
        let due = clock.now();
        room.hold(id(1), "first", 7, due);
        let (first, _) = room.due(&clock).await;
        room.hold(id(1), "second", 5, due);
        room.again(first, "first again", due);
        room.done(first);
        assert_eq!((room.due(&clock).await.1, room.len()), ("second", 1));
        assert!(counted(&room, "payonce_finishing_held 1"));
        assert!(counted(&room, "payonce_finishing_bytes 5"));
        room.let_go(id(1));
        assert!(room.is_empty() && counted(&room, "payonce_finishing_bytes 0"));
    }

    #[test]
    fn number_and_bytes_are_bounded_and_what_finds_no_room_is_counted() {
        let room = room(2, 100);
        let due = Timestamp::from_millis(5);
        room.hold(id(1), "one", 60, due);
        room.hold(id(2), "too large", 41, due);
        room.hold(id(3), "another", 40, due);
        room.hold(id(4), "too many", 0, due);
        assert_eq!(room.len(), 2);
        assert!(counted(&room, "payonce_finishing_dropped_total{reason=\"full\"} 2"));
        // In place of its own record there is room.
        room.hold(id(1), "one again", 60, due);
        assert_eq!((room.len(), room.lock().bytes), (2, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_end_nothing_is_held_and_how_many_were_is_said() {
        let (clock, room) = (clock(), room(9, 900));
        for n in 1..=3 {
            room.hold(id(n), "one", 1, clock.now());
        }
        let (busy, _) = room.due(&clock).await;
        assert_eq!((room.close(), room.len()), (2, 1));
        room.again(busy, "one", clock.now());
        room.hold(id(9), "late", 1, clock.now());
        assert!(room.is_empty());
        assert!(counted(&room, "payonce_finishing_dropped_total{reason=\"shutdown\"} 3"));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_meanwhile_puts_it_off() {
        let (clock, room) = (clock(), room(9, 900));
        let began = clock.now();
        room.hold(id(1), "one", 1, began.plus(Duration::from_secs(10)));
        room.put_off(id(1), began.plus(Duration::from_secs(40)));
        room.put_off(id(1), began.plus(Duration::from_secs(20)));
        room.due(&clock).await;
        assert_eq!(clock.now().since(began), Duration::from_secs(40));
    }
}
