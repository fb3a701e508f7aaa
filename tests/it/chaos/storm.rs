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
use super::pods::Pods;
use super::secrets;
use super::shop::{Shop, TICK};
use super::stories::{enough, story};
use crate::proof::verdict::{Operation, verdict};
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
    /// All promises were kept; tells what happened to those that a violation names.
    #[track_caller]
    pub(crate) fn kept(&self) {
        let verdict = verdict(&self.operations, &self.effects);
        let named = |intent: &&String| verdict.violations.iter().any(|it| it.contains(*intent));
        let mut traces = String::new();
        for intent in self.traces.keys().filter(named) {
            writeln!(traces, "{intent}:\n  {}", self.traces[intent].join("\n  ")).unwrap();
        }
        assert_eq!(verdict.broken(), 0, "{:#?}\n{traces}", verdict.violations);
        assert!(verdict.mostly_succeeded(), "{verdict:?}");
        assert_eq!(self.leaks, Vec::<String>::new());
        let misused = self
            .effects
            .iter()
            .any(|it| it.intent.as_ref().is_some_and(|it| it.ends_with("-misused")));
        assert!(!misused && self.misused.iter().all(|status| *status >= 400), "{:?}", self.misused);
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

/// A sandbox that keeps what a run needs.
pub(crate) fn provider(seed: u64) -> Sandbox {
    let sandbox = Sandbox::start(sandbox::Config::local(Clock::System, seed)).unwrap();
    sandbox.set_faults(faults());
    sandbox
}

/// Plays a run through `pods` processes with an embedded store each: so there is one.
pub(crate) async fn embedded(plan: Plan) -> Came {
    let sandbox = provider(plan.seed);
    let relay = Relay::start(sandbox.addr());
    let api = relay.addr();
    let pods = tokio::task::spawn_blocking(move || Pods::start(1, api, &[])).await.unwrap();
    let world = World { dice: Dice(plan.seed), pods: Arc::new(pods), sandbox, relay };
    world.play(plan).await
}

struct World {
    dice: Dice,
    pods: Arc<Pods>,
    sandbox: Sandbox,
    relay: Relay,
}

impl World {
    async fn play(self, plan: Plan) -> Came {
        let shop = Shop::new(self.dice, self.pods.bases().to_vec(), plan.at_once);
        let shop = Arc::new(shop);
        let stories = enough(self.dice, plan.operations, story);
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
        let (said, metrics) = tokio::task::spawn_blocking(|| pods.stop()).await.unwrap();
        let refusals = std::mem::take(&mut *shop.refusals.lock().unwrap()).join("\n");
        let mut leaks = secrets::found("the log", said.as_bytes());
        leaks.extend(secrets::found("the metrics", metrics.as_bytes()));
        leaks.extend(secrets::found("a refusal", refusals.as_bytes()));
        let misused = std::mem::take(&mut *shop.misused.lock().unwrap());
        let traces = std::mem::take(&mut *shop.traces.lock().unwrap());
        Came { operations, effects: self.sandbox.effects(), faults: struck, leaks, misused, traces }
    }

    /// Events, one after the other, until all stories are told or wait for better times.
    async fn storm(&self, shop: &Shop, stories: usize) -> BTreeMap<String, u64> {
        let mut struck = BTreeMap::new();
        for n in 0.. {
            let began = tokio::time::Instant::now();
            let pause = self.dice.millis(100..500, "until", "event", n);
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
        let dice = self.dice;
        let pods = Arc::clone(&self.pods);
        let which = dice.below(pods.count() as u64, "pod", "event", n);
        let time = dice.millis(20..400, "time", "event", n);
        match dice.below(10, "kind", "event", n) {
            0..3 => {
                tokio::task::spawn_blocking(move || pods.kill(which, time)).await.unwrap();
                "payonce killed"
            }
            3 => {
                tokio::task::spawn_blocking(move || pods.freeze(which, time * 4)).await.unwrap();
                "payonce stopped for a while"
            }
            4 => {
                tokio::task::spawn_blocking(move || pods.roll(which)).await.unwrap();
                "payonce drained and started again"
            }
            5 => {
                self.pods.edit_policy(n);
                "policy edited"
            }
            _ => self.upstream(n, time).await,
        }
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
        // What is under way was begun in worse times.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
