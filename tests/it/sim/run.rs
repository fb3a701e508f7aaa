//! One run of one seed, from an empty store to the verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use payonce::sandbox::{Config, Limits, Unplugged};
use tokio::task::JoinSet;

use super::app::{App, Story};
use super::chaos::{Chaos, Climate};
use super::ears::Ears;
use super::judge::{Judged, judge};
use super::pod::Pods;
use super::sky::Sky;
use super::store::Store;
use super::work::{Habit, Plan, plans};

/// How much is played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) operations: usize,
    pub(crate) pods: usize,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) seed: u64,
    pub(crate) climate: Climate,
    pub(crate) judged: Judged,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// Of the trace: what it comes to, and how many events.
    pub(crate) digest: (u64, u64),
    /// Its last events.
    pub(crate) last: Vec<String>,
    pub(crate) metrics: Vec<String>,
    /// Every idempotency key that the provider was sent.
    pub(crate) keys: BTreeSet<String>,
    /// How many requests the provider was sent.
    pub(crate) sends: u64,
    /// How many attempts were made though nobody waited.
    pub(crate) finished: u64,
}

impl Ran {
    /// The last events that name an intent, and what happened to everybody.
    pub(crate) fn told_of(&self, intent: &str) -> Vec<&str> {
        let all = |event: &&String| event.contains("chaos") || event.contains(" dies");
        let about = |event: &&String| event.contains(intent) || all(event);
        self.last.iter().filter(about).map(String::as_str).collect()
    }
}

/// Plays a seed on a runtime of its own, whose time jumps to whatever comes next.
pub(crate) fn play(seed: u64, climate: Climate, size: Size) -> Ran {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(Box::pin(run(seed, climate, size)))
}

async fn run(seed: u64, climate: Climate, size: Size) -> Ran {
    let sky = Arc::new(Sky::new(seed, climate.rates, size.pods));
    let store = Store::new(&sky);
    let mut config = Config::local(sky.clock.clone(), seed);
    config.limits =
        Limits { effects: 10_000_000, objects: 10_000_000, keys: 10_000_000, ..config.limits };
    let provider = Unplugged::new(config);
    let ears = Arc::<Mutex<Ears>>::default();
    let pods = Pods::new(&sky, &store, &provider, &ears, size.pods, seed, climate);
    let app = App {
        sky: Arc::clone(&sky),
        pods: Arc::clone(&pods),
        lossy: climate.lossy(),
        again: climate.again(),
    };
    let chaos = Chaos {
        sky: Arc::clone(&sky),
        store: Arc::clone(&store),
        pods: Arc::clone(&pods),
        provider: provider.clone(),
        climate,
    };
    // About one operation in four seconds.
    let span = Duration::from_secs(4 * u64::try_from(size.operations).unwrap());
    let plans = plans(&sky, size.operations, span);
    let stories = {
        let work = work(&app, plans);
        tokio::select! {
            biased;
            stories = work => stories,
            () = chaos.rage() => unreachable!("chaos has no end"),
        }
    };
    chaos.heal().await;
    let stories = heal(&app, stories).await;
    // The last deliveries are known, and settled.
    sky.sleep(Duration::from_secs(30)).await;
    let effects = provider.effects();
    let ears = std::mem::take(&mut *ears.lock().unwrap());
    let (sends, finished) = (ears.sends, ears.finished);
    let open = store.open().await;
    let judged = judge(&stories, &effects, &ears, &open, climate);
    Ran {
        seed,
        climate,
        judged,
        faults: sky.faults(),
        digest: sky.digest(),
        last: sky.last(),
        metrics: pods.metrics(),
        keys: ears.intents.into_values().flat_map(|(keys, _)| keys).collect(),
        sends,
        finished,
    }
}

/// All plans at once; some by two workers.
async fn work(app: &App, plans: Vec<Plan>) -> Vec<(Plan, Vec<Story>)> {
    let mut workers = JoinSet::new();
    for (n, plan) in plans.iter().enumerate() {
        let lanes = if plan.habit == Habit::Overlap { 2 } else { 1 };
        for _ in 0..lanes {
            let (app, plan) = (app.clone(), plan.clone());
            workers.spawn(async move { (n, Box::pin(app.work(&plan)).await) });
        }
    }
    let mut stories: Vec<(Plan, Vec<Story>)> =
        plans.into_iter().map(|plan| (plan, Vec::new())).collect();
    while let Some(worked) = workers.join_next().await {
        let (n, story) = worked.unwrap();
        stories[n].1.push(story);
    }
    stories
}

/// Whoever has no outcome asks again.
async fn heal(app: &App, stories: Vec<(Plan, Vec<Story>)>) -> Vec<(Plan, Vec<Story>)> {
    let mut workers = JoinSet::new();
    for (n, (plan, lanes)) in stories.into_iter().enumerate() {
        let app = app.clone();
        workers.spawn(async move {
            let mut lanes = lanes;
            app.sky.sleep(app.sky.between(1, 600_000)).await;
            let over = lanes.iter().any(|story| story.over(plan.habit));
            if let Some(story) = lanes.first_mut().filter(|_| !over) {
                Box::pin(app.heal(&plan, story)).await;
            }
            (n, (plan, lanes))
        });
    }
    let mut healed = Vec::new();
    while let Some(worked) = workers.join_next().await {
        healed.push(worked.unwrap());
    }
    healed.sort_by_key(|(n, _)| *n);
    healed.into_iter().map(|(_, story)| story).collect()
}
