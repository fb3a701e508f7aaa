//! What goes wrong, how often, and at which operation. Pure: the seed decides.
//!
//! Events lie in decks. All decks are played at the same time, and each to its end; the operations
//! of a run are spread over its longest deck, so that events strike among operations.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::dice::Dice;
use super::store::Kept;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// SIGKILL of a process.
    Kill,
    /// SIGSTOP of a process, for longer than its leases.
    Freeze,
    /// All processes, one after the other: drained, ended and started again.
    Roll,
    /// A new policy file.
    EditPolicy,
    /// The way to the provider.
    Upstream(Harm),
    /// The way to the store.
    Way(Harm),
    /// The store itself.
    Store(Mishap),
}

/// What a relay does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    Refuse,
    Swallow,
    Hold,
    Delay,
    Drip,
    CutUp,
    CutDown,
    HalfCloseUp,
    HalfCloseDown,
}

impl Harm {
    pub(crate) const ALL: [Self; 9] = [
        Self::Refuse,
        Self::Swallow,
        Self::Hold,
        Self::Delay,
        Self::Drip,
        Self::CutUp,
        Self::CutDown,
        Self::HalfCloseUp,
        Self::HalfCloseDown,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refused",
            Self::Swallow => "swallowed",
            Self::Hold => "held",
            Self::Delay => "late",
            Self::Drip => "dripped",
            Self::CutUp => "cut in a request",
            Self::CutDown => "cut in an answer",
            Self::HalfCloseUp => "half-closed for requests",
            Self::HalfCloseDown => "half-closed for answers",
        }
    }
}

/// What becomes of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    StandStill,
    Flush,
    Kill,
    Fill,
    FailOver,
    FailOverStale,
}

/// Of so many operations [`some`] speaks.
const OF: usize = 500;

/// So many of 500 operations; at least one.
fn some(event: Event, times: usize, operations: usize) -> impl Iterator<Item = Event> {
    std::iter::repeat_n(event, (operations * times / OF).max(1))
}

/// The decks of a run.
pub(crate) fn decks(dice: Dice, operations: usize, store: Option<Kept>) -> Vec<Vec<Event>> {
    let some = |event, times| some(event, times, operations);
    let processes =
        [(Event::Kill, 9), (Event::Freeze, 3), (Event::Roll, 1), (Event::EditPolicy, 4)];
    let processes = processes.into_iter().flat_map(|(event, times)| some(event, times)).collect();
    let upstream = Harm::ALL.into_iter().flat_map(|harm| some(Event::Upstream(harm), 2)).collect();
    let ways = || Harm::ALL.into_iter().flat_map(|harm| some(Event::Way(harm), 1));
    let store: Vec<Event> = match store {
        None | Some(Kept::Calm) => Vec::new(),
        Some(Kept::Alone) => ways().chain(some(Event::Store(Mishap::StandStill), 2)).collect(),
        Some(Kept::Forgetful) => [(Mishap::Flush, 4), (Mishap::Kill, 2), (Mishap::Fill, 2)]
            .into_iter()
            .flat_map(|(mishap, times)| some(Event::Store(mishap), times))
            .chain(some(Event::Way(Harm::Swallow), 1))
            .collect(),
        Some(Kept::Replicated) => {
            [(Mishap::FailOver, 1), (Mishap::FailOverStale, 2), (Mishap::StandStill, 2)]
                .into_iter()
                .flat_map(|(mishap, times)| some(Event::Store(mishap), times))
                .collect()
        }
    };
    let mut decks = vec![processes, upstream, store];
    for (which, deck) in decks.iter_mut().enumerate() {
        shuffle(dice, which as u64, deck);
    }
    decks
}

fn shuffle(dice: Dice, which: u64, deck: &mut [Event]) {
    for place in (1..deck.len()).rev() {
        let from = dice.below(place as u64 + 1, "deck", "event", which * 10_000 + place as u64);
        deck.swap(place, from);
    }
}

/// How far a run has come: stories wait for events, and events for stories.
#[derive(Debug)]
pub(crate) struct Pace {
    stories: usize,
    begun: AtomicUsize,
    /// The length of each deck, and how many of its events have begun.
    decks: Vec<(usize, AtomicUsize)>,
}

impl Pace {
    pub(crate) fn new(stories: usize, decks: &[Vec<Event>]) -> Self {
        let decks = decks.iter().map(|deck| (deck.len(), AtomicUsize::new(0))).collect();
        Self { stories, begun: AtomicUsize::new(0), decks }
    }

    /// Whether the next story may begin.
    pub(crate) fn admits(&self) -> bool {
        let next = self.begun.load(Ordering::SeqCst);
        let behind = |(length, struck): &(usize, AtomicUsize)| {
            struck.load(Ordering::SeqCst) < next * length / self.stories
        };
        !self.decks.iter().any(behind)
    }

    pub(crate) fn begin_story(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether the next event of a deck is due.
    pub(crate) fn is_due(&self, deck: usize) -> bool {
        let (length, struck) = &self.decks[deck];
        let next = struck.load(Ordering::SeqCst);
        self.begun.load(Ordering::SeqCst) * length >= next * self.stories
    }

    pub(crate) fn begin_event(&self, deck: usize) {
        self.decks[deck].1.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stories_and_events_take_turns_to_the_end_of_both() {
        for (stories, lengths) in [(100, [7, 0, 40]), (5, [20, 3, 1]), (1, [1, 1, 9])] {
            let decks = lengths.map(|length| vec![Event::Kill; length]);
            let pace = Pace::new(stories, &decks);
            for story in 0..stories {
                while !pace.admits() {
                    let due = (0..3).find(|deck| pace.decks[*deck].0 > 0 && pace.is_due(*deck));
                    pace.begin_event(due.expect("a story waits for an event that never comes"));
                }
                pace.begin_story();
                assert!(story + 1 == stories || pace.begun.load(Ordering::SeqCst) <= story + 1);
            }
            for (deck, length) in lengths.into_iter().enumerate() {
                for _ in pace.decks[deck].1.load(Ordering::SeqCst)..length {
                    assert!(pace.is_due(deck));
                    pace.begin_event(deck);
                }
            }
        }
    }
}
