//! What a relay does for a while, before the provider or before the store.

use std::time::Duration;

use payonce::clock::Clock;

use super::dice::Dice;
use super::events::Harm;
use super::shop::TICK;
use crate::relay::{Direction, End, Relay, Script, Way};

/// So long it waits for somebody whom it can strike.
pub(crate) const LONGEST: Duration = Duration::from_secs(2);
/// Every request and every answer that matters is longer.
const SHORTEST: u64 = 100;

/// Strikes for so long; blocks. False if nobody was there to be struck.
pub(crate) fn strike(relay: &Relay, harm: Harm, dice: Dice, n: u64, time: Duration) -> bool {
    let cut = Way::cut(dice.below(SHORTEST, "cut", harm.as_str(), n), End::Reset);
    let drip = Way::dripping(16, Duration::from_millis(2));
    let script = match harm {
        Harm::Refuse => Script::refusing(),
        Harm::Swallow => Script::black_hole(),
        Harm::Hold => Script::held(),
        Harm::Delay => Script::late(Duration::from_millis(30)),
        Harm::Drip => Script::one(Direction::Down, drip),
        Harm::CutUp => return cuts(relay, Script::one(Direction::Up, cut)),
        Harm::CutDown => return cuts(relay, Script::one(Direction::Down, cut)),
        Harm::HalfCloseUp => return half_closes(relay, Direction::Up),
        Harm::HalfCloseDown => return half_closes(relay, Direction::Down),
    };
    relay.set(script);
    if matches!(harm, Harm::Refuse | Harm::Swallow) {
        // Whoever is connected must connect again.
        relay.end_all(End::Reset);
    }
    std::thread::sleep(time);
    relay.heal();
    true
}

fn cuts(relay: &Relay, script: Script) -> bool {
    let before = relay.cuts();
    relay.set(script);
    let struck = until(|| relay.cuts() > before);
    relay.heal();
    struck
}

fn half_closes(relay: &Relay, direction: Direction) -> bool {
    let struck = until(|| relay.live() > 0);
    relay.half_close(direction);
    struck
}

fn until(holds: impl Fn() -> bool) -> bool {
    let end = Clock::System.now().plus(LONGEST);
    while !holds() {
        if Clock::System.now() >= end {
            return false;
        }
        std::thread::sleep(TICK);
    }
    true
}
