//! The same purchases under the same faults with and without payonce: an HTTP client that retries
//! without keys, the real stripe-python, stripe-python with keys that the application derives, and
//! stripe-python through payonce.
//!
//! Faults are those that all of them meet: at the provider, on the way to it, and applications that
//! are killed and run their jobs again.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use payonce::clock::Clock;
use payonce::sandbox::{Effect, Fault, Kind, Sandbox, Strike};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::dice::Dice;
use super::pods::Pods;
use super::shop::{API_KEYS, Said, Shop, doubtful, word};
use super::stories::{Story, Twist, Want, enough, purchase};
use super::storm::{faults, provider};
use crate::proof::report::Column;
use crate::proof::verdict::{Heard, Keys, Operation, Word};
use crate::relay::{Direction, End, Relay, Script, Way};
use crate::sdk::app::{App, Call, Sdk};

/// A way to call the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// An HTTP client that retries, and knows nothing of keys.
    NoKeys,
    Python,
    /// The application makes a key of each purchase's name.
    PythonOwnKeys,
    PythonPayonce,
    /// The application names each purchase with `Payonce-Operation`.
    PythonPayonceNamed,
}

impl How {
    pub(crate) const ALL: [Self; 5] = [
        Self::NoKeys,
        Self::Python,
        Self::PythonOwnKeys,
        Self::PythonPayonce,
        Self::PythonPayonceNamed,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NoKeys => "HTTP retries, no keys",
            Self::Python => "stripe-python",
            Self::PythonOwnKeys => "stripe-python, derived keys",
            Self::PythonPayonce => "stripe-python, payonce",
            Self::PythonPayonceNamed => "stripe-python, payonce, jobs named",
        }
    }

    const fn payonce(self) -> bool {
        matches!(self, Self::PythonPayonce | Self::PythonPayonceNamed)
    }
}

/// Plays the purchases of a seed in one way, with so many workers.
pub(crate) async fn play(
    how: How,
    seed: u64,
    purchases: usize,
    workers: usize,
) -> (Column, BTreeMap<String, u64>) {
    let sandbox = provider(seed);
    let relay = Relay::start(sandbox.addr());
    let (api, dice) = (relay.addr(), Dice(seed));
    let pods = if how.payonce() {
        Some(tokio::task::spawn_blocking(move || Pods::start(1, api, &[])).await.unwrap())
    } else {
        None
    };
    let base = pods.as_ref().map_or(api, |pods| pods.bases()[0]);
    let stories = enough(dice, purchases, purchase);
    sandbox.set_faults(late_for_the_dying(dice, &stories).into_iter().chain(faults()).collect());
    let calm = Arc::new(AtomicBool::new(false));
    let working = if how == How::NoKeys {
        tokio::task::spawn(without_keys(dice, base, stories, Arc::clone(&calm), workers))
    } else {
        tokio::task::spawn(with_python(how, dice, base, stories, Arc::clone(&calm), workers))
    };
    let calling = Arc::clone(&calm);
    let blowing = async { blow(dice, &relay, &sandbox, &calling).await };
    let (operations, ()) = tokio::join!(working, blowing);
    let (operations, deaths) = operations.unwrap();
    if let Some(pods) = pods {
        tokio::task::spawn_blocking(move || pods.stop(&[])).await.unwrap();
    }
    let effects: Vec<Effect> = sandbox.effects();
    let mut column = Column::new(how.as_str());
    column.add(&operations, &effects);
    let mut struck: BTreeMap<String, u64> = sandbox
        .fault_counts()
        .into_iter()
        .map(|(kind, times)| (format!("provider: {kind}"), times))
        .collect();
    struck.insert("application killed".to_owned(), deaths);
    (column, struck)
}

/// Whether the worker of the first delivery dies while the provider works on it.
fn dies(dice: Dice, intent: &str) -> bool {
    dice.percent(15, "dies in the middle", intent, 0)
}

/// What the provider takes its time over, before or after it is done.
fn late_for_the_dying(dice: Dice, stories: &[Story]) -> Vec<Fault> {
    let intents = stories.iter().flat_map(|story| &story.wants).map(|want| &want.operation.intent);
    let dying = intents.filter(|intent| dies(dice, intent));
    dying
        .map(|intent| {
            let after = dice.percent(70, "after", intent, 0);
            let effect = if after { Strike::After } else { Strike::Before };
            Fault::new(Kind::Delay { millis: 400, effect }).of_intent(intent)
        })
        .collect()
}

/// The way to the provider fails now and then, until the workers call for calm.
async fn blow(dice: Dice, relay: &Relay, sandbox: &Sandbox, calm: &AtomicBool) {
    for n in 0.. {
        if calm.load(Ordering::SeqCst) {
            break;
        }
        let script = match dice.below(4, "relay", "baseline", n) {
            0 => Script::refusing(),
            1 => Script::one(Direction::Up, Way::cut(200, End::Reset)),
            2 => Script::one(Direction::Down, Way::cut(300, End::Reset)),
            _ => Script::late(Duration::from_millis(20)),
        };
        relay.set(script);
        tokio::time::sleep(dice.millis(20..120, "time", "baseline", n)).await;
        relay.heal();
        tokio::time::sleep(dice.millis(100..600, "until", "baseline", n)).await;
    }
    sandbox.set_faults(Vec::new());
    relay.heal();
}

async fn without_keys(
    dice: Dice,
    base: SocketAddr,
    stories: Vec<Story>,
    calm: Arc<AtomicBool>,
    workers: usize,
) -> (Vec<Operation>, u64) {
    let shop =
        Shop { keys: Some(Keys::None), retries: Some(2), ..Shop::new(dice, vec![base], workers) };
    let shop = Arc::new(shop);
    let mut telling = JoinSet::new();
    for story in stories {
        let seat = shop.seat().await;
        telling.spawn(Arc::clone(&shop).tell(story, seat));
    }
    while !shop.is_idle() {
        tokio::time::sleep(super::shop::TICK).await;
    }
    calm.store(true, Ordering::SeqCst);
    shop.be_calm();
    let operations = telling.join_all().await.into_iter().flatten().collect();
    (operations, shop.deaths.load(Ordering::SeqCst) as u64)
}

async fn with_python(
    how: How,
    dice: Dice,
    base: SocketAddr,
    stories: Vec<Story>,
    calm: Arc<AtomicBool>,
    workers: usize,
) -> (Vec<Operation>, u64) {
    let mut queues: Vec<VecDeque<Story>> = vec![VecDeque::new(); workers];
    for (n, story) in stories.into_iter().enumerate() {
        queues[n % workers].push_back(story);
    }
    let home = Arc::new(tempfile::tempdir().unwrap());
    let busy = Arc::new(std::sync::atomic::AtomicUsize::new(workers));
    let mut working = JoinSet::new();
    for queue in queues {
        let (home, busy, calm) = (Arc::clone(&home), Arc::clone(&busy), Arc::clone(&calm));
        working.spawn(async move {
            let mut worker = Worker::new(how, dice, base, home.path(), calm, busy);
            worker.work(queue).await;
            (worker.done, worker.deaths)
        });
    }
    let all = working.join_all().await;
    let deaths = all.iter().map(|(_, deaths)| deaths).sum();
    (all.into_iter().flat_map(|(done, _)| done).collect(), deaths)
}

/// A pod of the application: one process at a time, which works off jobs.
struct Worker<'a> {
    how: How,
    dice: Dice,
    base: String,
    home: &'a Path,
    calm: Arc<AtomicBool>,
    /// Workers that are not through with their queues.
    busy: Arc<std::sync::atomic::AtomicUsize>,
    app: App,
    done: Vec<Operation>,
    deaths: u64,
}

/// So often a job is delivered before it waits for better times, and so often then.
const DELIVERIES: u64 = 6;
const DELIVERIES_IN_CALM: u64 = 5;

impl<'a> Worker<'a> {
    fn new(
        how: How,
        dice: Dice,
        base: SocketAddr,
        home: &'a Path,
        calm: Arc<AtomicBool>,
        busy: Arc<std::sync::atomic::AtomicUsize>,
    ) -> Self {
        let base = format!("http://{base}");
        let app = App::start_at(Sdk::PythonModule, &base, API_KEYS[0], home);
        Self { how, dice, base, home, calm, busy, app, done: Vec::new(), deaths: 0 }
    }

    async fn work(&mut self, stories: VecDeque<Story>) {
        let mut later = Vec::new();
        for story in stories {
            let mut wants = VecDeque::from(story.wants);
            while let Some(mut want) = wants.pop_front() {
                if !self.job(&mut want, 0, DELIVERIES).await {
                    wants.push_front(want);
                    later.push(wants);
                    break;
                }
                self.done.push(want.operation);
            }
        }
        if self.busy.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.calm.store(true, Ordering::SeqCst);
        }
        while self.busy.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(super::shop::TICK).await;
        }
        // What the last fault did is over by then.
        tokio::time::sleep(Duration::from_millis(800)).await;
        for mut want in later.into_iter().flatten() {
            want.operation.healed = !self.job(&mut want, 1_000, DELIVERIES_IN_CALM).await;
            self.done.push(want.operation);
        }
    }

    /// Delivers a job until its application knows how it ended; false if it does not come to know.
    async fn job(&mut self, want: &mut Want, first: u64, times: u64) -> bool {
        let mut uncommitted = want.twist == Twist::Uncommitted && first == 0;
        for delivery in first..first + times {
            let word = self.deliver(want, delivery, first == 0).await;
            let at = Clock::System.now();
            want.operation.heard.push(Heard { at, word: word.clone() });
            match word {
                Word::Succeeded { .. } if uncommitted => {
                    uncommitted = false;
                    self.die().await;
                }
                Word::Succeeded { .. } | Word::AlreadyDone { .. } => return true,
                Word::Declined if want.declined => return true,
                Word::Declined
                | Word::NothingSent
                | Word::Unknown
                | Word::Refused
                | Word::Silence => {}
            }
        }
        false
    }

    async fn deliver(&mut self, want: &Want, delivery: u64, storm: bool) -> Word {
        let (intent, dice) = (&want.operation.intent, self.dice);
        let call = self.call(want);
        let doubt = doubtful(&want.operation.heard);
        self.app.begin(&call).await;
        let result = if storm && delivery == 0 && dies(dice, intent) {
            // Well before the answer, which is late: what was read is not known otherwise.
            let time = dice.millis(40..120, "time", intent, delivery);
            match tokio::time::timeout(time, self.app.result()).await {
                Ok(result) => result,
                Err(_dead) => {
                    self.die().await;
                    return Word::Silence;
                }
            }
        } else {
            self.app.result().await
        };
        match result {
            Ok(done) => Word::Succeeded { object: done["id"].as_str().unwrap().to_owned() },
            Err(raised) => {
                let kind =
                    if raised.class == "IdempotencyError" { "idempotency_error" } else { "" };
                let (code, message) = (raised.code.as_str(), raised.message.as_str());
                word(Said { status: raised.status, id: "", kind, code, message }, doubt)
            }
        }
    }

    /// SIGKILL, and another process in its place.
    async fn die(&mut self) {
        let next = App::start_at(Sdk::PythonModule, &self.base, API_KEYS[0], self.home);
        std::mem::replace(&mut self.app, next).kill().await;
        self.deaths += 1;
    }

    fn call(&self, want: &Want) -> Call {
        let method =
            if want.path == "/v1/charges" { "charges.create" } else { "payment_intents.create" };
        let call = Call::new(method, params(&want.body)).intent(&want.operation.intent);
        match self.how {
            How::NoKeys | How::Python | How::PythonPayonce => call,
            How::PythonOwnKeys => call.own_key(&want.own),
            How::PythonPayonceNamed => call.named(&want.operation.intent),
        }
    }
}

/// A form as an SDK takes it. One level of nesting is all that purchases have.
fn params(form: &str) -> Value {
    let mut params = Map::new();
    for (name, value) in form_urlencoded::parse(form.as_bytes()) {
        match name.split_once('[') {
            None => {
                params.insert(name.into_owned(), json!(value));
            }
            Some((outer, inner)) => {
                let inner = inner.trim_end_matches(']').to_owned();
                params.entry(outer).or_insert_with(|| json!({}))[inner] = json!(value);
            }
        }
    }
    Value::Object(params)
}
