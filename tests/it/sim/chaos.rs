//! What goes wrong beside single messages: pods die, the store forgets, clocks leap, people edit.

use std::sync::Arc;
use std::time::Duration;

use payonce::sandbox::Unplugged;

use super::people;
use super::pod::{Pods, Rulebook};
use super::sky::{Rates, Sky};
use super::store::Store;

/// What a run has to bear.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "what happens, and what does not")]
pub(crate) struct Climate {
    pub(crate) name: &'static str,
    pub(crate) rates: Rates,
    /// Pods die and start again empty.
    pub(crate) crashes: bool,
    /// Pods are cut off from the store, it is down, or full.
    pub(crate) outages: bool,
    /// The store forgets: a flush, or a replica that had not caught up.
    pub(crate) amnesia: bool,
    /// The clock leaps by up to a day.
    pub(crate) leaps: bool,
    /// The pods' clocks differ.
    pub(crate) skew: bool,
    /// The policy is edited.
    pub(crate) edits: bool,
    /// `observe` and the bypass, for a while.
    pub(crate) toggles: bool,
    /// The rules say `finish`; people and webhooks say what became of what is in doubt.
    pub(crate) finishing: bool,
}

impl Climate {
    /// What payonce cannot know in this climate it cannot say.
    pub(crate) const fn lossy(&self) -> bool {
        self.outages || self.amnesia || self.rates.store > 0.0
    }

    /// How soon and how late a job is delivered again, in milliseconds. Where doubts are finished,
    /// it comes late enough for that.
    pub(crate) const fn again(&self) -> (u32, u32) {
        if self.finishing { (20_000, 2_400_000) } else { (200, 900_000) }
    }

    /// All of them, in turn.
    pub(crate) fn of(seed: u64) -> Self {
        // The seeds whose cases `sim.rs` plays again are none of these.
        let finishing = matches!(seed % 12, 1 | 3 | 5);
        let wire = if finishing { 0.5 } else { 0.25 };
        let rough = Rates { wire, store: 0.0, client: 0.15 };
        let rougher = Rates { wire, store: 0.05, client: 0.15 };
        let storms = Self { rates: rough, edits: true, finishing, ..Self::default() };
        match seed % 7 {
            0 => Self { name: "calm", finishing, ..Self::default() },
            1 => Self { name: "network", ..storms },
            2 => Self { name: "crashes", crashes: true, ..storms },
            3 => Self { name: "outages", rates: rougher, crashes: true, outages: true, ..storms },
            4 => Self {
                name: "amnesia",
                rates: rougher,
                crashes: true,
                outages: true,
                amnesia: true,
                ..storms
            },
            5 => Self { name: "leaps", crashes: true, leaps: true, skew: true, ..storms },
            _ => Self {
                name: "everything",
                rates: rougher,
                crashes: true,
                outages: true,
                amnesia: true,
                leaps: true,
                skew: true,
                edits: true,
                toggles: true,
                finishing,
            },
        }
    }
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Crash,
    CrashAll,
    CutOff,
    Down,
    Full,
    Flush,
    FailOver,
    Leap,
    Edit,
    Observe,
    Bypass,
    Word,
}

/// What makes things happen until the run is told to be calm.
pub(crate) struct Chaos {
    pub(crate) sky: Arc<Sky>,
    pub(crate) store: Arc<Store>,
    pub(crate) pods: Arc<Pods>,
    pub(crate) provider: Unplugged,
    pub(crate) climate: Climate,
}

impl Chaos {
    fn events(&self) -> Vec<Event> {
        let Climate { crashes, outages, amnesia, leaps, edits, toggles, finishing, .. } =
            self.climate;
        let groups: [(bool, &[Event]); 7] = [
            (crashes, &[Event::Crash, Event::Crash, Event::Crash, Event::CrashAll]),
            (outages, &[Event::CutOff, Event::CutOff, Event::Down, Event::Full]),
            (amnesia, &[Event::Flush, Event::FailOver]),
            (leaps, &[Event::Leap]),
            (edits, &[Event::Edit]),
            (toggles, &[Event::Observe, Event::Bypass]),
            (finishing, &[Event::Word, Event::Word]),
        ];
        let on = groups.iter().filter(|(on, _)| *on);
        on.flat_map(|(_, events)| events.iter().copied()).collect()
    }

    /// Never ends; drop it, then [`Chaos::heal`].
    pub(crate) async fn rage(&self) {
        let events = self.events();
        if events.is_empty() {
            return std::future::pending().await;
        }
        loop {
            self.sky.sleep(self.sky.between(2_000, 120_000)).await;
            if self.sky.chance(0.5) {
                self.store.replicate();
            }
            let event = *self.sky.pick(&events);
            self.sky.note(format_args!("chaos: {event:?}"));
            self.happen(event).await;
        }
    }

    async fn happen(&self, event: Event) {
        let sky = &self.sky;
        let pod = sky.below(self.pods.count());
        match event {
            Event::Crash => {
                sky.struck("pod: crash");
                self.pods.crash(pod);
                sky.sleep(sky.between(50, 30_000)).await;
                self.pods.start(pod);
            }
            Event::CrashAll => {
                sky.struck("pod: all crash");
                self.restart_all().await;
            }
            Event::CutOff => {
                sky.struck("store: partition");
                sky.weather().cut_off[pod] = true;
                sky.sleep(sky.between(500, 90_000)).await;
                sky.weather().cut_off[pod] = false;
            }
            Event::Down => {
                sky.weather().store_down = true;
                sky.sleep(sky.between(500, 60_000)).await;
                sky.weather().store_down = false;
            }
            Event::Full => {
                sky.weather().store_full = true;
                sky.sleep(sky.between(500, 60_000)).await;
                sky.weather().store_full = false;
            }
            Event::Flush => {
                sky.struck("store: flush");
                self.store.flush();
            }
            Event::FailOver => {
                sky.struck("store: stale fail-over");
                self.store.fail_over();
            }
            Event::Leap if sky.chance(0.1) => {
                sky.struck("clock: leap of about a day");
                sky.leap_a_day().await;
            }
            Event::Leap => {
                sky.struck("clock: leap");
                sky.clock.advance(sky.between(10_000, 7_000_000));
            }
            Event::Edit => {
                sky.struck("policy: edit");
                // While the store cannot be asked, nobody knows what is open by another policy.
                let books = if self.climate.lossy() {
                    &[Rulebook::Usual, Rulebook::Edited][..]
                } else {
                    &[Rulebook::Usual, Rulebook::Edited, Rulebook::Scoped, Rulebook::Scoped]
                };
                self.pods.reload(*sky.pick(books));
            }
            Event::Observe => {
                sky.struck("policy: observe");
                self.pods.reload(Rulebook::Observe);
                sky.set_unenforced(true);
                sky.sleep(sky.between(500, 60_000)).await;
                self.pods.reload(Rulebook::Usual);
                sky.set_unenforced(false);
            }
            Event::Bypass => {
                sky.struck("setting: bypass");
                sky.set_unenforced(true);
                self.pods.set_bypass(true);
                self.restart_all().await;
                sky.sleep(sky.between(500, 60_000)).await;
                self.pods.set_bypass(false);
                self.restart_all().await;
                sky.set_unenforced(false);
            }
            Event::Word => {
                if let Some(pod) = self.pods.at(pod) {
                    people::speak(sky, &self.store, &pod, &self.provider).await;
                }
            }
        }
    }

    async fn restart_all(&self) {
        (0..self.pods.count()).for_each(|pod| self.pods.crash(pod));
        self.sky.sleep(self.sky.between(50, 20_000)).await;
        (0..self.pods.count()).for_each(|pod| self.pods.start(pod));
    }

    /// Everything is well again.
    pub(crate) async fn heal(&self) {
        self.sky.note(format_args!("all is well"));
        self.sky.calm();
        self.sky.set_unenforced(false);
        self.pods.reload(Rulebook::Usual);
        if self.pods.bypassed() {
            // It is a setting: who runs with it keeps it to its end.
            self.pods.set_bypass(false);
            (0..self.pods.count()).for_each(|pod| self.pods.crash(pod));
        }
        (0..self.pods.count()).for_each(|pod| self.pods.start(pod));
        // What is stalled or late comes, leases end.
        self.sky.sleep(Duration::from_mins(5)).await;
    }
}

#[cfg(test)]
mod tests {
    use payonce::sandbox::Config;

    use super::*;

    /// Seeds 888 and 2659: the work was done while the bypass was on.
    #[tokio::test(start_paused = true)]
    async fn when_all_is_well_again_no_pod_runs_with_the_bypass() {
        let climate = Climate::of(6);
        let sky = Arc::new(Sky::new(6, climate.rates, 3));
        let store = Store::new(&sky);
        let provider = Unplugged::new(Config::local(sky.clock.clone(), 6));
        let pods = Pods::new(&sky, &store, &provider, &Arc::default(), 3, 6, climate);
        let chaos = Chaos { sky, store, pods: Arc::clone(&pods), provider, climate };
        pods.set_bypass(true);
        chaos.restart_all().await;
        chaos.sky.sleep(Duration::from_secs(10)).await;
        let bypassed = || (0..3).map(|pod| pods.at(pod).unwrap().exchange.config.bypass);
        assert!(bypassed().all(|it| it));
        chaos.heal().await;
        assert!(!bypassed().any(|it| it));
    }
}
