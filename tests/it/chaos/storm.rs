//! One run: the processes, the applications, and what goes wrong, until all is calm and everybody
//! has asked again.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use payonce::clock::{Clock, Timestamp};
use payonce::sandbox::{self, Effect, Fault, Kind, Sandbox, Strike};
use tokio::task::JoinSet;

use super::dice::Dice;
use super::events::{Event, Pace, decks};
use super::harm;
use super::pods::{LEASE, Pods};
use super::secrets;
use super::shop::{Shop, TICK};
use super::store::{Kept, Store};
use super::stories::{ANOTHER_CARD_FOR_AN_ORDER, HELD, OTHER_BODY, Story, Want, enough, story};
use crate::proof::verdict::{Operation, Promise, Verdict, Word, verdict};
use crate::redis_servers::beside;
use crate::relay::Relay;

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
    pub(crate) kept: Option<Kept>,
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
        let found = verdict(&self.operations, &self.effects);
        // The others of its story matter as well.
        let stem = |intent: &str| intent.trim_end_matches(|it: char| it.is_alphabetic()).to_owned();
        let named = |intent: &&String| found.violations.iter().any(|it| it.contains(&stem(intent)));
        let mut traces = format!("the store: {:?}\n", self.kept);
        for intent in self.traces.keys().filter(named) {
            writeln!(traces, "{intent}:\n  {}", self.traces[intent].join("\n  ")).unwrap();
        }
        let misused = |effect: &&Effect| {
            effect.intent.as_ref().is_some_and(|intent| intent.ends_with("-misused"))
        };
        let misused = self.effects.iter().filter(misused).count()
            + self.misused.iter().filter(|status| **status < 400).count();
        let others = self.operations.iter().filter(|operation| operation.workload != HELD);
        let others: Vec<_> = others.cloned().collect();
        let succeeded = verdict(&others, &self.effects).mostly_succeeded();
        Judged { verdict: found, succeeded, traces, leaks: self.leaks.clone(), misused }
    }
}

/// What is asked of a run.
pub(crate) struct Judged {
    verdict: Verdict,
    /// Nearly all succeeded, but for those that wait for a person.
    succeeded: bool,
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
        let Self { verdict, succeeded, traces, leaks, misused } = self;
        assert_eq!(verdict.broken(), 0, "{:#?}\n{traces}", verdict.violations);
        assert!(*succeeded, "{verdict:?}");
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

/// A sandbox that keeps what a run needs.
pub(crate) fn provider(seed: u64) -> Sandbox {
    let sandbox = Sandbox::start(sandbox::Config::local(Clock::System, seed)).unwrap();
    sandbox.set_faults(faults());
    sandbox
}

/// Plays a run through one process with a store of its own, or through three that share one.
pub(crate) async fn play(plan: Plan, store: Option<Kept>) -> Came {
    let processes = if store.is_some() { 3 } else { 1 };
    World::start(plan, processes, store).await.play(plan).await
}

/// Each kind strikes once for certain; what the stories themselves ask for comes first.
fn scripted(stories: &[Story]) -> Vec<Fault> {
    let wants = || stories.iter().flat_map(|story| &story.wants);
    let asked = wants().filter_map(|want| {
        want.fault.clone().map(|kind| Fault::new(kind).of_intent(&want.operation.intent))
    });
    let plain = |want: &&Want| want.fault.is_none();
    let once = faults().into_iter().zip(wants().filter(plain).step_by(3)).map(|(fault, want)| {
        let html = fault.html;
        Fault { html, ..Fault::new(fault.kind).of_intent(&want.operation.intent) }
    });
    asked.chain(once).collect()
}

/// So long after the store failed payonce asks it again at the latest.
const ASKED_AGAIN: Duration = Duration::from_secs(10);

/// Where the store is down or forgets, and the process that knows of a decline dies before it could
/// write it down, nobody knows that another card may be tried for that order: its key was used for
/// the first card, the provider refuses it for the second, and a second key might pay twice. So the
/// order waits for a person, or for the first card to be asked for again. The same is true of two
/// bodies under one name, of which the store forgot which one was sent. That holds where the store
/// failed between the story's begin and the operation's end, and nowhere else.
fn measure_what_hung_on_the_store(
    operations: &mut [Operation],
    began: &HashMap<String, Timestamp>,
    failures: &[(Timestamp, Timestamp)],
) {
    for operation in operations {
        let workload = match operation.workload {
            ANOTHER_CARD_FOR_AN_ORDER => "declined order, then another card, as the store failed",
            OTHER_BODY => "in doubt, asked with another body, as the store failed",
            _ => continue,
        };
        let from = began[&operation.intent];
        let to = operation.heard.last().map_or(from, |heard| heard.at);
        let failed = |(begin, end): &(Timestamp, Timestamp)| *begin <= to && from <= *end;
        if failures.iter().any(failed) {
            operation.workload = workload;
            operation.promise = Promise::Measured;
        }
    }
}

/// "Nothing was sent" is true of a request, and of its operation as far as the store knows. Where the
/// store failed between the story's begin and that word (was cut off or full as an earlier request
/// was sent, or forgot it), no process can know, so that the word says no more than "unknown".
fn take_no_word_for_the_store(
    operations: &mut [Operation],
    began: &HashMap<String, Timestamp>,
    failures: &[(Timestamp, Timestamp)],
) {
    for operation in operations {
        let from = began[&operation.intent];
        let mut doubt = false;
        for heard in &mut operation.heard {
            let failed = |(begin, end): &(Timestamp, Timestamp)| *begin <= heard.at && from <= *end;
            if doubt && heard.word == Word::NothingSent && failures.iter().any(failed) {
                heard.word = Word::Unknown;
            }
            doubt |= matches!(heard.word, Word::Unknown | Word::Silence);
        }
    }
}

struct World {
    dice: Dice,
    pods: Arc<Pods>,
    sandbox: Sandbox,
    relay: Arc<Relay>,
    store: Option<Arc<Store>>,
    kept: Option<Kept>,
    /// When the store failed, until payonce has surely asked it again.
    failures: Mutex<Vec<(Timestamp, Timestamp)>>,
}

impl World {
    async fn start(plan: Plan, processes: usize, kept: Option<Kept>) -> Self {
        let store = match kept {
            Some(kept) => Some(Arc::new(beside(move || Store::start(kept)).await)),
            None => None,
        };
        let sandbox = provider(plan.seed);
        let relay = Relay::start(sandbox.addr());
        let (api, env) = (relay.addr(), store.as_ref().map_or_else(Vec::new, |store| store.env()));
        let pods = Arc::new(beside(move || Pods::start(processes, api, &env)).await);
        let (dice, failures) = (Dice(plan.seed), Mutex::default());
        Self { dice, pods, sandbox, relay: Arc::new(relay), store, kept, failures }
    }

    async fn play(self, plan: Plan) -> Came {
        let shop = Shop::new(self.dice, self.pods.bases().to_vec(), plan.at_once);
        let shop = Arc::new(shop);
        let stories = enough(self.dice, plan.operations, story);
        let decks = decks(self.dice, plan.operations, self.kept);
        let pace = Pace::new(stories.len(), &decks);
        self.sandbox.set_faults(scripted(&stories).into_iter().chain(faults()).collect());
        let (telling, mut struck) =
            tokio::join!(tell(&shop, stories, &pace), self.storm(&decks, &pace));
        self.heal().await;
        shop.be_calm();
        let mut operations: Vec<_> = telling.join_all().await.into_iter().flatten().collect();
        {
            let (began, failures) = (shop.began.lock().unwrap(), self.failures.lock().unwrap());
            measure_what_hung_on_the_store(&mut operations, &began, &failures);
            take_no_word_for_the_store(&mut operations, &began, &failures);
        }
        shop.use_a_live_key().await;
        let deaths = shop.deaths.load(Ordering::SeqCst) as u64;
        struck.insert("application killed".to_owned(), deaths);
        for (kind, times) in self.sandbox.fault_counts() {
            struck.insert(format!("provider: {kind}"), times);
        }
        let kept = self.kept;
        let (effects, leaks) = (self.sandbox.effects(), self.leaks(&shop).await);
        let misused = std::mem::take(&mut *shop.misused.lock().unwrap());
        let traces = std::mem::take(&mut *shop.traces.lock().unwrap());
        Came { kept, operations, effects, faults: struck, leaks, misused, traces }
    }

    /// Ends all processes, and looks for secrets wherever somebody could see them.
    async fn leaks(self, shop: &Shop) -> Vec<String> {
        let pods = Arc::into_inner(self.pods).unwrap();
        let minted = std::mem::take(&mut *shop.minted.lock().unwrap());
        let mut keys = std::mem::take(&mut *shop.chosen.lock().unwrap());
        keys.extend_from_slice(&minted);
        let seen = beside(move || pods.stop(&keys)).await;
        let refusals = std::mem::take(&mut *shop.refusals.lock().unwrap()).join("\n");
        let mut leaks = Vec::new();
        let places = [
            ("the log", &seen.log),
            ("the metrics", &seen.metrics),
            ("the admin port's answers", &seen.admin),
            ("a refusal", &refusals),
        ];
        for (place, text) in places {
            leaks.extend(secrets::found_with_own(place, text.as_bytes(), &minted));
        }
        if let Some(store) = self.store {
            let all = beside(move || store.all()).await;
            leaks.extend(secrets::found("Redis", all.as_bytes(), &minted));
        }
        leaks
    }

    /// All decks, at the same time, each to its end.
    async fn storm(&self, decks: &[Vec<Event>], pace: &Pace) -> BTreeMap<String, u64> {
        let played = decks.iter().enumerate().map(|(which, deck)| self.deck(which, deck, pace));
        let mut struck = BTreeMap::new();
        for what in futures_util::future::join_all(played).await.into_iter().flatten() {
            *struck.entry(what).or_default() += 1;
        }
        struck
    }

    /// What struck.
    async fn deck(&self, which: usize, deck: &[Event], pace: &Pace) -> Vec<String> {
        let mut struck = Vec::new();
        for (n, event) in (0_u64..).zip(deck) {
            while !pace.is_due(which) {
                tokio::time::sleep(TICK).await;
            }
            pace.begin_event(which);
            let whom = format!("deck {which}");
            let time = self.dice.millis(20..400, "time", &whom, n);
            struck.extend(self.strike(*event, n, time).await);
            tokio::time::sleep(self.dice.millis(10..100, "until", &whom, n)).await;
        }
        struck
    }

    async fn strike(&self, event: Event, n: u64, time: Duration) -> Option<String> {
        let (dice, pods) = (self.dice, Arc::clone(&self.pods));
        let which = dice.below(pods.count() as u64, "pod", "event", n);
        match event {
            Event::Kill => {
                beside(move || pods.kill(which, time)).await;
                Some("payonce killed".to_owned())
            }
            Event::Freeze => {
                beside(move || pods.freeze(which, LEASE + time)).await;
                Some("payonce stopped past its lease".to_owned())
            }
            Event::Roll => {
                beside(move || pods.roll()).await;
                Some("rolling restart with drain".to_owned())
            }
            Event::EditPolicy => {
                pods.edit_policy(n);
                Some("policy edited".to_owned())
            }
            Event::Upstream(what) => {
                let relay = Arc::clone(&self.relay);
                let struck = beside(move || harm::strike(&relay, what, dice, n, time)).await;
                struck.then(|| format!("upstream {}", what.as_str()))
            }
            Event::Way(what) => {
                let harm = move |store: &Store| store.harm(what, dice, n, time);
                let struck = self.fail_the_store(harm).await;
                struck.then(|| format!("store {}", what.as_str()))
            }
            Event::Store(what) => {
                let befall = move |store: &Store| store.befall(what, time);
                self.fail_the_store(befall).await.map(str::to_owned)
            }
        }
    }

    async fn fail_the_store<T: Send + 'static>(
        &self,
        how: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> T {
        let begin = Clock::System.now();
        let place = {
            let mut failures = self.failures.lock().unwrap();
            failures.push((begin, Timestamp::from_millis(u64::MAX)));
            failures.len() - 1
        };
        let store = Arc::clone(self.store.as_ref().unwrap());
        let came = beside(move || how(&store)).await;
        self.failures.lock().unwrap()[place].1 = Clock::System.now().plus(ASKED_AGAIN);
        came
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

/// Begins all stories, each when it is its turn, and waits until they have ended or wait for better
/// times.
async fn tell(shop: &Arc<Shop>, stories: Vec<Story>, pace: &Pace) -> JoinSet<Vec<Operation>> {
    let mut telling = JoinSet::new();
    for story in stories {
        let seat = shop.seat().await;
        while !pace.admits() {
            tokio::time::sleep(TICK).await;
        }
        pace.begin_story();
        telling.spawn(Arc::clone(shop).tell(story, seat));
    }
    while !shop.is_idle() {
        tokio::time::sleep(TICK).await;
    }
    telling
}
