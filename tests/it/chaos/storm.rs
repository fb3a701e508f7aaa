//! One run: the processes, the applications, and what goes wrong, until all is calm and everybody
//! has asked again.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use payonce::clock::Clock;
use payonce::sandbox::{self, Effect, Fault, Kind, Sandbox, Strike};
use tokio::task::JoinSet;

use super::dice::Dice;
use super::pods::{LEASE, Pods};
use super::secrets;
use super::shop::{Shop, TICK};
use super::store::{Kept, Store};
use super::stories::{ANOTHER_CARD, Story, enough, story};
use crate::proof::verdict::{By, Operation, Promise, Verdict, verdict};
use crate::redis_servers::beside;
use crate::relay::{Direction, End, Relay, Script, Way};

/// How a run is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) operations: usize,
    /// Stories at once.
    pub(crate) at_once: usize,
}

/// What a run came to.
pub(crate) struct Came {
    pub(crate) operations: Vec<Operation>,
    pub(crate) effects: Vec<Effect>,
    /// What went wrong, by kind.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Where secrets stand.
    pub(crate) leaks: Vec<String>,
    /// What was answered to keys that were used for other content.
    pub(crate) misused: Vec<u16>,
    /// What each intent's requests came to.
    pub(crate) traces: HashMap<String, Vec<String>>,
}

impl Came {
    /// What is to be said of it at the end; long runs keep no more.
    pub(crate) fn judged(&self) -> Judged {
        let verdict = verdict(&self.operations, &self.effects);
        let named = |intent: &&String| verdict.violations.iter().any(|it| it.contains(*intent));
        let mut traces = String::new();
        for intent in self.traces.keys().filter(named) {
            writeln!(traces, "{intent}:\n  {}", self.traces[intent].join("\n  ")).unwrap();
        }
        let misused = |effect: &&Effect| {
            effect.intent.as_ref().is_some_and(|intent| intent.ends_with("-misused"))
        };
        let misused = self.effects.iter().filter(misused).count()
            + self.misused.iter().filter(|status| **status < 400).count();
        Judged { verdict, traces, leaks: self.leaks.clone(), misused }
    }
}

/// What is asked of a run.
pub(crate) struct Judged {
    verdict: Verdict,
    /// What happened to the operations that violations name.
    traces: String,
    leaks: Vec<String>,
    /// Keys that worked for other content than they were first used for.
    misused: usize,
}

impl Judged {
    /// All promises were kept.
    #[track_caller]
    pub(crate) fn kept(&self) {
        let Self { verdict, traces, leaks, misused } = self;
        assert_eq!(verdict.broken(), 0, "{:#?}\n{traces}", verdict.violations);
        assert!(verdict.mostly_succeeded(), "{verdict:?}");
        assert_eq!((leaks, misused), (&Vec::new(), &0));
    }
}

/// What goes wrong at the provider, by rate: together about every sixth request.
pub(crate) fn faults() -> Vec<Fault> {
    use Strike::{After, Before};

    let stall = |effect| Kind::Stall { millis: Some(1_500), effect };
    let cut = |bytes, in_body, reset| Kind::CutAfterBytes { bytes, in_body, reset };
    let status = |code, effect| Kind::Status { code, effect };
    let rates = [
        (Kind::Refuse, 0.010),
        (Kind::ResetBeforeEffect { clean: false }, 0.010),
        (Kind::ResetAfterEffect { clean: false }, 0.015),
        (Kind::ResetAfterEffect { clean: true }, 0.010),
        (cut(20, true, true), 0.008),
        (cut(60, true, false), 0.008),
        (cut(30, false, true), 0.008),
        (stall(Before), 0.006),
        (stall(After), 0.006),
        (Kind::Delay { millis: 100, effect: After }, 0.020),
        (Kind::InUse, 0.008),
        (Kind::RateLimited { reason: None }, 0.006),
        (Kind::LockTimeout, 0.010),
        (Kind::Unsaved500 { effect: Before }, 0.008),
        (Kind::Unsaved500 { effect: After }, 0.008),
        (status(502, Before), 0.010),
        (status(502, After), 0.010),
        (status(503, Before), 0.010),
        (status(504, After), 0.010),
    ];
    let fault = |(kind, rate)| {
        // A balancer that fails speaks HTML.
        let html = matches!(kind, Kind::Status { .. });
        Fault { html, ..Fault::at_rate(kind, rate).on("POST", "/v") }
    };
    rates.into_iter().map(fault).collect()
}

/// What can happen to the processes and what they stand between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Kill,
    Freeze,
    Roll,
    EditPolicy,
    Upstream,
    Store,
}

/// A round of events.
const EVENTS: [Event; 12] = [
    Event::Kill,
    Event::Kill,
    Event::Kill,
    Event::Freeze,
    Event::Roll,
    Event::EditPolicy,
    Event::Upstream,
    Event::Upstream,
    Event::Upstream,
    Event::Store,
    Event::Store,
    Event::Store,
];

/// A sandbox that keeps what a run needs.
pub(crate) fn provider(seed: u64) -> Sandbox {
    let sandbox = Sandbox::start(sandbox::Config::local(Clock::System, seed)).unwrap();
    sandbox.set_faults(faults());
    sandbox
}

/// Plays a run through one process with a store of its own.
pub(crate) async fn embedded(plan: Plan) -> Came {
    World::start(plan, 1, None).await.play(plan).await
}

/// Plays a run through processes that share a Redis.
pub(crate) async fn shared(plan: Plan, processes: usize, store: Kept) -> Came {
    let store = beside(move || Store::start(store)).await;
    World::start(plan, processes, Some(Arc::new(store))).await.play(plan).await
}

/// Where the store is down or forgets, and the process that knows of a decline dies before it could
/// write it down, nobody knows that another card may be tried for that order: its key was used for
/// the first card, the provider refuses it for the second, and a second key might pay twice. So the
/// order waits for a person, or for the first card to be asked for again.
fn measure_what_hangs_on_the_store(stories: &mut [Story]) {
    for want in stories.iter_mut().flat_map(|story| &mut story.wants) {
        if want.operation.workload == ANOTHER_CARD && want.operation.by == By::Fields {
            want.operation.workload = "declined order, then another card";
            want.operation.promise = Promise::Measured;
        }
    }
}

struct World {
    dice: Dice,
    pods: Arc<Pods>,
    sandbox: Sandbox,
    relay: Relay,
    store: Option<Arc<Store>>,
}

impl World {
    async fn start(plan: Plan, processes: usize, store: Option<Arc<Store>>) -> Self {
        let sandbox = provider(plan.seed);
        let relay = Relay::start(sandbox.addr());
        let (api, env) = (relay.addr(), store.as_ref().map_or_else(Vec::new, |store| store.env()));
        let pods = beside(move || Pods::start(processes, api, &env)).await;
        Self { dice: Dice(plan.seed), pods: Arc::new(pods), sandbox, relay, store }
    }

    async fn play(self, plan: Plan) -> Came {
        let shop = Shop::new(self.dice, self.pods.bases().to_vec(), plan.at_once);
        let shop = Arc::new(shop);
        let mut stories = enough(self.dice, plan.operations, story);
        if self.store.is_some() {
            measure_what_hangs_on_the_store(&mut stories);
        }
        let mut telling = JoinSet::new();
        let count = stories.len();
        for story in stories {
            let shop = Arc::clone(&shop);
            telling.spawn(async move {
                let told = Arc::clone(&shop).tell(story).await;
                shop.idle.fetch_add(1, Ordering::SeqCst);
                told
            });
        }
        let mut struck = self.storm(&shop, count).await;
        self.heal().await;
        shop.be_calm();
        let operations = telling.join_all().await.into_iter().flatten().collect();
        let deaths = shop.deaths.load(Ordering::SeqCst) as u64;
        struck.insert("application killed".to_owned(), deaths);
        for (kind, times) in self.sandbox.fault_counts() {
            struck.insert(format!("provider: {kind}"), times);
        }
        let pods = Arc::into_inner(self.pods).unwrap();
        let (said, metrics) = beside(|| pods.stop()).await;
        let refusals = std::mem::take(&mut *shop.refusals.lock().unwrap()).join("\n");
        let mut leaks = secrets::found("the log", said.as_bytes());
        leaks.extend(secrets::found("the metrics", metrics.as_bytes()));
        leaks.extend(secrets::found("a refusal", refusals.as_bytes()));
        if let Some(store) = self.store.clone() {
            leaks.extend(beside(move || secrets::found("Redis", store.all().as_bytes())).await);
        }
        let misused = std::mem::take(&mut *shop.misused.lock().unwrap());
        let traces = std::mem::take(&mut *shop.traces.lock().unwrap());
        Came { operations, effects: self.sandbox.effects(), faults: struck, leaks, misused, traces }
    }

    /// Events, one after the other, until all stories are told or wait for better times.
    async fn storm(&self, shop: &Shop, stories: usize) -> BTreeMap<String, u64> {
        let mut struck = BTreeMap::new();
        for n in 0.. {
            let began = tokio::time::Instant::now();
            let pause = self.dice.millis(30..250, "until", "event", n);
            while began.elapsed() < pause {
                if shop.idle.load(Ordering::SeqCst) >= stories {
                    return struck;
                }
                tokio::time::sleep(TICK).await;
            }
            let what = self.event(n).await;
            *struck.entry(what.to_owned()).or_default() += 1;
        }
        struck
    }

    async fn event(&self, n: u64) -> &'static str {
        let (dice, pods) = (self.dice, Arc::clone(&self.pods));
        let which = dice.below(pods.count() as u64, "pod", "event", n);
        let time = dice.millis(20..400, "time", "event", n);
        let store = self.store.clone();
        match (self.kind(n), store) {
            (Event::Kill, _) => {
                beside(move || pods.kill(which, time)).await;
                "payonce killed"
            }
            (Event::Freeze, None) => {
                beside(move || pods.freeze(which, time * 4)).await;
                "payonce stopped for a while"
            }
            (Event::Freeze, Some(_)) => {
                beside(move || pods.freeze(which, LEASE + time)).await;
                "payonce stopped past its lease"
            }
            (Event::Roll, _) => {
                beside(move || pods.roll(which)).await;
                "payonce drained and started again"
            }
            (Event::EditPolicy, _) => {
                self.pods.edit_policy(n);
                "policy edited"
            }
            (Event::Store, Some(store)) => beside(move || store.harm(dice, n, time)).await,
            (Event::Upstream, _) | (Event::Store, None) => self.upstream(n, time).await,
        }
    }

    /// Events come in rounds, each in an order of its own, so that all kinds come early.
    fn kind(&self, n: u64) -> Event {
        let mut round = EVENTS.to_vec();
        let (which, at) = (n / EVENTS.len() as u64, usize::try_from(n).unwrap() % EVENTS.len());
        for place in (1..round.len()).rev() {
            let from =
                self.dice.below(place as u64 + 1, "round", "event", which * 100 + place as u64);
            round.swap(place, from);
        }
        round[at]
    }

    /// The way to the provider fails for a while.
    async fn upstream(&self, n: u64, time: Duration) -> &'static str {
        let cut = self.dice.below(3_000, "cut", "event", n);
        let late = Duration::from_millis(30);
        let (script, what) = match self.dice.below(8, "relay", "event", n) {
            0 => (Script::refusing(), "upstream refused"),
            1 => (Script::black_hole(), "upstream swallowed"),
            2 => (Script::held(), "upstream held"),
            3 => (Script::late(late), "upstream late"),
            4 => (
                Script::one(Direction::Down, Way::dripping(16, Duration::from_millis(2))),
                "upstream dripped",
            ),
            5 => {
                (Script::one(Direction::Up, Way::cut(cut, End::Reset)), "upstream cut in a request")
            }
            6 => (
                Script::one(Direction::Down, Way::cut(cut, End::Reset)),
                "upstream cut in an answer",
            ),
            _ => {
                self.relay.half_close(Direction::Down);
                return "upstream half-closed";
            }
        };
        self.relay.set(script);
        tokio::time::sleep(time).await;
        self.relay.heal();
        what
    }

    async fn heal(&self) {
        self.sandbox.set_faults(Vec::new());
        self.relay.heal();
        if let Some(store) = self.store.clone() {
            beside(move || store.heal()).await;
        }
        // What is under way was begun in worse times.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
