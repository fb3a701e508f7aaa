//! What everything in one simulated run stands under: the time, the dice, the weather, and the trace
//! by which two runs of a seed are compared.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use payonce::clock::{Clock, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How many of the last events are kept for people.
const KEPT: usize = 200_000;

/// How often what goes wrong, of one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    /// A request to the provider.
    pub(crate) wire: f64,
    /// A command to the store.
    pub(crate) store: f64,
    /// A client: it hangs up, or loses its answer.
    pub(crate) client: f64,
}

/// What the weather is now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) rates: Rates,
    pub(crate) store_down: bool,
    pub(crate) store_full: bool,
    /// Which pods do not reach the store.
    pub(crate) cut_off: Vec<bool>,
}

/// Time, dice, weather, trace.
pub(crate) struct Sky {
    pub(crate) clock: Clock,
    dice: Mutex<StdRng>,
    weather: Mutex<Weather>,
    trace: Mutex<Trace>,
    struck: Mutex<BTreeMap<&'static str, u64>>,
    /// Requests that are still to come to the provider, or to be executed there.
    abroad: AtomicUsize,
    /// The policy or a setting lets everything pass.
    unenforced: AtomicBool,
}

impl Sky {
    pub(crate) fn new(seed: u64, rates: Rates, pods: usize) -> Self {
        // A time of day that depends on the seed: operations are at all places of their epochs.
        let base = 1_790_000_000_000 + (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 36);
        let cut_off = vec![false; pods];
        Self {
            clock: Clock::driven(Timestamp::from_millis(base), 1),
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
            weather: Mutex::new(Weather { rates, cut_off, ..Weather::default() }),
            trace: Mutex::default(),
            struck: Mutex::default(),
            abroad: AtomicUsize::new(0),
            unenforced: AtomicBool::new(false),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    /// A number below `end`.
    pub(crate) fn below(&self, end: usize) -> usize {
        self.dice.lock().unwrap().random_range(0..end.max(1))
    }

    pub(crate) fn chance(&self, share: f64) -> bool {
        share > 0.0 && self.dice.lock().unwrap().random_bool(share.min(1.0))
    }

    pub(crate) fn bytes(&self) -> [u8; 16] {
        self.dice.lock().unwrap().random()
    }

    pub(crate) fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A time between these milliseconds, each order of magnitude as likely as the other.
    pub(crate) fn between(&self, least: u32, most: u32) -> Duration {
        let share: f64 = self.dice.lock().unwrap().random();
        let least = f64::from(least.max(1));
        Duration::from_secs_f64(least * (f64::from(most) / least).powf(share) / 1000.0)
    }

    pub(crate) fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap()
    }

    /// From now on nothing goes wrong.
    pub(crate) fn calm(&self) {
        let mut weather = self.weather();
        let cut_off = vec![false; weather.cut_off.len()];
        *weather = Weather { cut_off, ..Weather::default() };
    }

    /// A request is late, or stalled, for at most so long.
    pub(crate) fn send_abroad(self: &Arc<Self>, time: Duration) {
        self.abroad.fetch_add(1, Ordering::Relaxed);
        let sky = Arc::clone(self);
        tokio::task::spawn(async move {
            sky.sleep(time + Duration::from_secs(1)).await;
            sky.abroad.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Moves all clocks on by about a day: not while a request is under way, for none takes so long.
    pub(crate) async fn leap_a_day(&self) {
        let wire = std::mem::take(&mut self.weather().rates.wire);
        while self.abroad.load(Ordering::Relaxed) > 0 {
            self.sleep(Duration::from_secs(1)).await;
        }
        self.clock.advance(self.between(80_000_000, 90_000_000));
        self.weather().rates.wire = wire;
    }

    pub(crate) fn unenforced(&self) -> bool {
        self.unenforced.load(Ordering::Relaxed)
    }

    pub(crate) fn set_unenforced(&self, passes: bool) {
        self.unenforced.store(passes, Ordering::Relaxed);
    }

    /// Writes an event down.
    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        let at = self.now();
        self.trace.lock().unwrap().add(format!("{at} {what}"));
    }

    /// Counts a fault.
    pub(crate) fn struck(&self, kind: &'static str) {
        *self.struck.lock().unwrap().entry(kind).or_default() += 1;
    }

    pub(crate) fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.struck.lock().unwrap().clone()
    }

    /// What all events come to, and how many they were.
    pub(crate) fn digest(&self) -> (u64, u64) {
        let trace = self.trace.lock().unwrap();
        (trace.digest, trace.events)
    }

    /// The last events, the oldest first.
    pub(crate) fn last(&self) -> Vec<String> {
        self.trace.lock().unwrap().last.iter().cloned().collect()
    }
}

/// All events as one number (FNV-1a), and the last of them as they are.
struct Trace {
    digest: u64,
    events: u64,
    last: VecDeque<String>,
}

impl Default for Trace {
    fn default() -> Self {
        Self { digest: 0xcbf2_9ce4_8422_2325, events: 0, last: VecDeque::new() }
    }
}

impl Trace {
    fn add(&mut self, event: String) {
        for byte in event.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.events += 1;
        if self.last.len() >= KEPT {
            self.last.pop_front();
        }
        self.last.push_back(event);
    }
}
