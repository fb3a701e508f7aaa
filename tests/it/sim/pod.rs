//! The pods: each a whole payonce without its listener, which may die at any moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use payonce::chance::Chance;
use payonce::clock::{Clock, Timestamp};
use payonce::decide::digest::Secret;
use payonce::decide::policy::Policy;
use payonce::decide::retry;
use payonce::exchange::Exchange;
use payonce::inflight::Inflight;
use payonce::metrics::Metrics;
use payonce::sandbox::Unplugged;
use payonce::server::Tasks;
use payonce::ways::{InForce, Ways};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::chaos::Climate;
use super::ears::{Asking, Ears};
use super::sky::Sky;
use super::store::{Remote, Store};
use super::wire::Wire;
use super::work::{ROLLED, SHOPS};
use crate::harness::Around;

/// Each kind of rule has a path of its own.
const RULES: &str = r#"
version = 1

[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source"]

[[rule]]
name = "intents"
match = ["POST /v1/payment_intents", "POST /v2/core/accounts"]
class = "critical"
identity = ["metadata[order_id]"]
otherwise = "call"

[[rule]]
name = "items"
match = ["POST /v1/invoiceitems"]
class = "critical"
identity = "content"
distinguishes = ["metadata[*]"]
merge = "twins"
repeat_window = "30s"
"#;

/// The same rules, and what ends in doubt under any of them is finished.
fn finishing(rules: &str) -> String {
    rules.replace(
        "class = \"critical\"\nidentity",
        "class = \"critical\"\nfinish = \"30m\"\nidentity",
    )
}

/// The policies between which a run goes back and forth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rulebook {
    Usual,
    /// Other bytes that mean the same.
    Edited,
    /// The same rules, and each shop's operations under other ids: its API key has a scope.
    Scoped,
    /// Everything passes.
    Observe,
}

/// The policies of one run.
struct Books {
    usual: Arc<Policy>,
    edited: Arc<Policy>,
    scoped: Arc<Policy>,
    observe: Arc<Policy>,
}

static BOOKS: LazyLock<Books> = LazyLock::new(|| Books::of(RULES, RULES));
/// Where an edit for a while takes away that anything is finished.
static FINISHING: LazyLock<Books> = LazyLock::new(|| Books::of(&finishing(RULES), RULES));

impl Books {
    fn of(rules: &str, edited: &str) -> Self {
        let refunds =
            "[[rule]]\nname = \"r\"\nmatch = [\"POST /v1/refunds\"]\nclass = \"critical\"\n";
        let scope = |key: &str| {
            let digest = hex::encode(Sha256::digest(key));
            format!("\n[[scope]]\nname = \"{}\"\nkeys = [\"{digest}\"]\n", &digest[..8])
        };
        let scopes: String = SHOPS.iter().chain(&ROLLED).map(|key| scope(key)).collect();
        let observe = rules.replacen("version = 1", "version = 1\nmode = \"observe\"", 1);
        Self {
            usual: parse(rules),
            edited: parse(&format!("{edited}\n{refunds}")),
            scoped: parse(&format!("{rules}{scopes}")),
            observe: parse(&observe),
        }
    }

    fn get(&self, book: Rulebook) -> &Arc<Policy> {
        match book {
            Rulebook::Usual => &self.usual,
            Rulebook::Edited => &self.edited,
            Rulebook::Scoped => &self.scoped,
            Rulebook::Observe => &self.observe,
        }
    }
}

fn books(climate: Climate) -> &'static Books {
    if climate.finishing { &FINISHING } else { &BOOKS }
}

fn parse(text: &str) -> Arc<Policy> {
    Arc::new(Policy::parse(text).unwrap())
}

/// The policy file of all pods, or what one of them took of it.
#[derive(Clone)]
struct File(Arc<Mutex<Arc<Policy>>>);

impl File {
    fn read(&self) -> Arc<Policy> {
        Arc::clone(&self.0.lock().unwrap())
    }

    fn write(&self, policy: &Arc<Policy>) {
        *self.0.lock().unwrap() = Arc::clone(policy);
    }
}

/// One run of one pod.
pub(crate) struct Pod {
    pub(crate) exchange: Exchange<Remote, Wire>,
    pub(crate) tasks: Tasks,
    in_force: File,
    ways: Arc<Ways<Remote>>,
    /// It has told the others of its policy, and takes requests.
    ready: Arc<AtomicBool>,
}

impl Pod {
    /// Takes the file's policy, as a process does that finds it changed.
    fn take(&self, policy: &Arc<Policy>, file: &File, wait: Duration, sky: &Arc<Sky>) {
        if policy.way() == self.in_force.read().way() {
            return self.in_force.write(policy);
        }
        let (policy, file, in_force) = (Arc::clone(policy), file.clone(), self.in_force.clone());
        let (ways, sky) = (Arc::clone(&self.ways), Arc::clone(sky));
        self.tasks.spawn(async move {
            sky.sleep(wait).await;
            ways.announce(&policy).await;
            // The file may hold another one by now.
            if Arc::ptr_eq(&file.read(), &policy) {
                in_force.write(&policy);
            }
        });
    }
}

/// All pods, and what a new run of one is made of.
pub(crate) struct Pods {
    sky: Arc<Sky>,
    store: Arc<Store>,
    provider: Unplugged,
    ears: Arc<Mutex<Ears>>,
    file: File,
    slots: Mutex<Slots>,
    seed: u64,
    climate: Climate,
}

struct Slots {
    pods: Vec<Option<Arc<Pod>>>,
    runs: u64,
    bypass: bool,
    /// The metrics of all that ran, as they last were.
    metrics: Vec<Metrics>,
}

impl Pods {
    pub(crate) fn new(
        sky: &Arc<Sky>,
        store: &Arc<Store>,
        provider: &Unplugged,
        ears: &Arc<Mutex<Ears>>,
        count: usize,
        seed: u64,
        climate: Climate,
    ) -> Arc<Self> {
        let pods = (0..count).map(|_| None).collect();
        let pods = Self {
            sky: Arc::clone(sky),
            store: Arc::clone(store),
            provider: provider.clone(),
            ears: Arc::clone(ears),
            file: File(Arc::new(Mutex::new(Arc::clone(books(climate).get(Rulebook::Usual))))),
            slots: Mutex::new(Slots { pods, runs: 0, bypass: false, metrics: Vec::new() }),
            seed,
            climate,
        };
        (0..count).for_each(|pod| pods.start(pod));
        Arc::new(pods)
    }

    pub(crate) fn count(&self) -> usize {
        self.slots.lock().unwrap().pods.len()
    }

    /// The pod that runs there, if one does.
    pub(crate) fn at(&self, pod: usize) -> Option<Arc<Pod>> {
        let pod = self.slots.lock().unwrap().pods[pod].clone();
        pod.filter(|pod| pod.ready.load(Ordering::Relaxed))
    }

    /// A client begins to wait for an answer.
    pub(crate) fn asking(&self, intent: &str) -> Asking {
        Asking::for_intent(&self.ears, intent)
    }

    /// Ends a pod where it stands.
    pub(crate) fn crash(&self, pod: usize) {
        if let Some(running) = self.slots.lock().unwrap().pods[pod].take() {
            self.sky.note(format_args!("pod {pod} dies"));
            running.tasks.crash();
        }
    }

    /// Starts a pod that does not run.
    pub(crate) fn start(&self, pod: usize) {
        let mut slots = self.slots.lock().unwrap();
        if slots.pods[pod].is_none() {
            slots.runs += 1;
            let metrics = Metrics::new();
            let started = self.build(pod, slots.runs, slots.bypass, metrics.clone());
            slots.pods[pod] = Some(Arc::new(started));
            slots.metrics.push(metrics);
        }
    }

    /// Whether pods that start from now on let everything pass.
    pub(crate) fn set_bypass(&self, bypass: bool) {
        self.slots.lock().unwrap().bypass = bypass;
    }

    /// Whether pods that start now let everything pass.
    pub(crate) fn bypassed(&self) -> bool {
        self.slots.lock().unwrap().bypass
    }

    /// Puts another policy in force everywhere.
    pub(crate) fn reload(&self, book: Rulebook) {
        let policy = books(self.climate).get(book);
        self.file.write(policy);
        let pods = self.slots.lock().unwrap().pods.clone();
        for pod in pods.into_iter().flatten() {
            let wait = self.sky.between(1, 60_000);
            pod.take(policy, &self.file, wait, &self.sky);
        }
    }

    /// What all metrics say.
    pub(crate) fn metrics(&self) -> Vec<String> {
        self.slots.lock().unwrap().metrics.iter().map(Metrics::encode).collect()
    }

    /// The second pod's clock is fast by a little, the third one's slow by more than a lease.
    fn clock_of(&self, pod: usize) -> Clock {
        match self.sky.clock.clone() {
            Clock::Driven { base, start, speed, ahead } if self.climate.skew => {
                let base = match pod % 3 {
                    0 => base,
                    1 => base.plus(Duration::from_millis(2_500)),
                    _ => Timestamp::from_millis(base.as_millis() - 40_000),
                };
                Clock::Driven { base, start, speed, ahead }
            }
            clock => clock,
        }
    }

    fn build(&self, pod: usize, run: u64, bypass: bool, metrics: Metrics) -> Pod {
        let (sky, clock) = (Arc::clone(&self.sky), self.clock_of(pod));
        let chance = Chance::seeded(self.seed.wrapping_mul(1_000_003).wrapping_add(run));
        let closing = CancellationToken::new();
        let wire = Wire {
            sky: Arc::clone(&sky),
            provider: self.provider.clone(),
            ears: Arc::clone(&self.ears),
            sender: run,
            finishes: self.climate.finishing,
        };
        let ledger = Remote { sky: Arc::clone(&sky), store: Arc::clone(&self.store), pod };
        let lease = Duration::from_secs(15);
        let ways = Ways::new(ledger.clone(), clock.clone(), metrics.clone(), lease);
        let (ways, in_force) = (Arc::new(ways), File(Arc::new(Mutex::new(self.file.read()))));
        let taken = in_force.clone();
        let policies = InForce { policy: move || taken.read(), ways: Arc::clone(&ways) };
        let mut rooms = Around {
            chance,
            retry: retry::Limits {
                deadline: Duration::from_secs(70),
                attempt: Duration::from_secs(40),
                attempts: 4,
                backoff: Duration::from_millis(500),
                backoff_max: Duration::from_secs(5),
            },
            budget: 0.2,
            answer_bytes: 1 << 20,
            ..Around::new(ledger, wire, Box::new(policies), clock, closing.clone())
        }
        .rooms(metrics);
        rooms.inflight = Inflight::new(10_000, 64);
        rooms.config.secret = self.seed.is_multiple_of(2).then(|| Secret::configured(&[7; 32]));
        rooms.config.owner = format!("pod-{pod}-{run}");
        rooms.config.lease = lease;
        rooms.config.bypass = bypass;
        let exchange = Exchange::new(rooms);
        let tasks = exchange.tasks.clone();
        let writer = exchange.clone();
        let stop = closing.clone();
        tasks.spawn(async move { writer.write_what_is_left(stop).await });
        let finisher = exchange.clone();
        tasks.spawn(async move { finisher.finish_what_is_held().await });
        let ready = Arc::new(AtomicBool::new(false));
        let (known, policy, begins) = (Arc::clone(&ways), in_force.read(), Arc::clone(&ready));
        tasks.spawn(async move {
            known.announce(&policy).await;
            begins.store(true, Ordering::Relaxed);
            known.watch(closing).await;
        });
        Pod { exchange, tasks, in_force, ways, ready }
    }
}
