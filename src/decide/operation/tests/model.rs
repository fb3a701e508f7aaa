//! All interleavings, up to a bound, of two proxies, a store, a provider and an application.
//!
//! The random histories beside this run one process and one exchange at a time. Here every order of
//! steps is tried: two proxies with a memory each, which crash and come again under another name; a
//! store that swaps, and may lose all, step back, not answer, or expire; a provider that executes
//! for a while, remembers for 24 hours, and gets requests late; two callers who retry with the same
//! key or a fresh one, hang up, lose answers and take another card; leases, windows, epochs and
//! retentions that end between any two steps.
//!
//! What decides is the product's own code ([`judge`](super::super::table::judge) and all of
//! [`change`](super::super::change), [`outcome`](crate::decide::outcome) and
//! [`retry`](crate::decide::retry)). The wiring of `src/exchange` is told again here step by step,
//! one step for each operation of the store and each attempt: [`claim`], [`drive`], [`finish`],
//! [`write`].
//!
//! Bounds, so that nobody takes this for more than it is: two proxies, two callers (two intents
//! where content decides; two deliveries of one where the application names it), a number of asks
//! a caller, attempts a run (2), faults a trace and answers other than a success a trace, as each
//! configuration says; one operation; API v1; clocks agree; hours pass only while nobody is about
//! to send. A lease begins anew only before the first attempt, so it ends while its owner lives,
//! which is worse than what happens. A write that is kept for later is made as one step. Each family of
//! faults ([`runs`]) is explored by itself, to its end: in the common run with two requests and one
//! fault, and where twins add something to named operations. `PAYONCE_MODEL_DEPTH=n` looks at every
//! family of every kind, with n more requests (four in all), and one more fault for every second n;
//! a search ends at three million states and says so.
//!
//! What is promised, with its limits, is [`promises`]: a store that forgot, stepped back or did not
//! answer weakens P1 to one epoch, and lets a request take the answer of one that was delivered
//! (P4); a record of an open operation is kept for eight days, and nothing is promised after.
//!
//! Left out: renewals while an exchange runs (the model is the more pessimistic), a process that
//! stands still between the look at its lease and the first byte, a person's word, and
//! `store_down = "refuse"`. `PAYONCE_MODEL_DEPTH=1` (three requests) ends without a violation.
//!
//! The search is our own, not `stateright`'s (0.31): that always brings a web server, an older
//! `rand` and a concurrent map; and its properties look at states, where most of ours look at a
//! step. A breadth-first search is short.

use std::cell::RefCell;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::decide::digest::OperationId;
use crate::decide::identity::Kind;
use crate::decide::operation::Retention;
use crate::decide::path::Api;

mod application;
mod claim;
mod drive;
mod finish;
mod left;
mod promises;
mod provider;
mod runs;
mod search;
mod state;
mod steps;
mod store;
mod write;

use provider::Mood;
use state::{Caller, Desk, Place, Provider, Proxy, State, Store};
use store::Heard;

/// A step is taken, or breaks a promise.
type Outcome = Result<(), String>;

/// What one exploration is of.
#[derive(Clone, Debug)]
struct Config {
    name: &'static str,
    kind: Kind,
    twins: bool,
    window: Duration,
    next_after_saved_500: bool,
    may: &'static [Fault],
    moods: &'static [Mood],
    other_card: bool,
    faults: usize,
    other_moods: usize,
    /// How often they ask, both together; each at most twice.
    asks: usize,
    /// The steps of time, in order.
    ticks: &'static [Duration],
    mistake: Option<Mistake>,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The store loses all.
    Forget,
    /// It steps back by up to two writes.
    StepBack,
    /// It does not answer.
    Silence,
    Crash,
    /// Callers hang up, answers are lost, and attempts take too long.
    People,
    /// The other ways for a request to be lost, late or refused.
    Roads,
}

/// A mistake in the wiring, made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    NewKeyPerAttempt,
    SettleWithoutCompare,
    ClaimOverAll,
    DeliveredTooEarly,
    TakeOverTheNext,
    ReleaseAfterBytes,
    LeaseNotLookedAt,
}

/// How an attempt fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Road {
    Arrives,
    NotSent,
    Lost,
    /// It arrives when nobody waits for it any more.
    Delayed,
    Unauthorised,
}

/// One step of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ask {
        caller: usize,
        proxy: usize,
        fresh: bool,
    },
    OtherCard {
        caller: usize,
    },
    Enter {
        caller: usize,
    },
    /// It waited too long to enter.
    Overdue {
        caller: usize,
    },
    HangUp {
        caller: usize,
    },
    Deliver {
        caller: usize,
        got: bool,
    },
    /// The operation of the store that a proxy waits for.
    Store {
        proxy: usize,
        heard: Heard,
    },
    /// What the store did not take is written.
    WriteLeft {
        proxy: usize,
    },
    Attempt {
        proxy: usize,
        road: Road,
    },
    TimeOut {
        proxy: usize,
    },
    Finish {
        running: usize,
        mood: Mood,
    },
    Late {
        delayed: usize,
    },
    Crash {
        proxy: usize,
    },
    /// The store loses all.
    Forget,
    /// It steps back.
    Restore {
        writes: usize,
    },
    Pass {
        by: Duration,
    },
}

struct Model {
    config: Config,
    desk: Desk,
    operation: OperationId,
    begin: Timestamp,
    notes: RefCell<Option<Vec<String>>>,
}

impl Model {
    fn new(config: Config) -> Self {
        let operation = OperationId([0x5a; 32]);
        let retention = Retention::of(Api::V1);
        let some_day = Timestamp::from_millis(1_800_000_000_000);
        let epoch = retention.epoch_at(&operation, some_day);
        // An hour into an epoch, so that it ends after 21 hours.
        let begin = retention.epoch_end(&operation, epoch).plus(Duration::from_hours(1));
        Self { config, desk: Desk::default(), operation, begin, notes: RefCell::default() }
    }

    fn may(&self, fault: Fault) -> bool {
        self.config.may.contains(&fault)
    }

    /// Said in a trace.
    fn note(&self, what: &str) {
        if let Some(notes) = self.notes.borrow_mut().as_mut() {
            notes.push(what.to_owned());
        }
    }

    fn initial(&self) -> State {
        let caller = Caller {
            content: 0,
            client: 0,
            asks: 0,
            arrived: 0,
            recalled: None,
            place: Place::Resting,
            last: None,
            after: Vec::new(),
        };
        State {
            now: 0,
            ticks: 0,
            faults: self.config.faults,
            moods: self.config.other_moods,
            store: Store::default(),
            proxies: [Proxy::default(), Proxy::default()],
            provider: Provider::default(),
            callers: [caller.clone(), caller],
            blind: false,
            recorded: Vec::new(),
        }
    }
}
