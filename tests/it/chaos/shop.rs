//! The applications: jobs that are delivered to workers, at any of the processes, until they know
//! how they ended. A worker calls an SDK, which retries by itself; workers die.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use payonce::clock::{Clock, Timestamp};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::client::{Got, HangUp, Post, Reply, send};
use super::dice::Dice;
use super::sdk;
use super::stories::{Story, Twist, Want};
use crate::proof::verdict::{Heard, Keys, Operation, Word};

/// So often a job is delivered before it waits for better times, and so often then.
const DELIVERIES: u64 = 14;
const DELIVERIES_IN_CALM: u32 = 5;
/// Sandbox's account `chaos`; and another key of it.
pub(crate) const API_KEYS: [&str; 2] =
    ["sk_test_chaos_canary1SecretKey", "sk_test_chaos_canary2SecretKey"];
/// Nobody takes it; the provider refuses it.
pub(crate) const LIVE_KEY: &str = "sk_live_51PayonceChaosCanary0123456789abcdefghij";
/// So often somebody who leaves it to a person asks before.
const BEFORE_LEFT: u64 = 4;
/// Minted keys that are kept for the search for secrets.
const MOST_KEYS: usize = 40;

/// Whoever has one may ask; it is given back while nothing is asked.
pub(crate) type Seat = Arc<OwnedSemaphorePermit>;

/// What all jobs share.
pub(crate) struct Shop {
    pub(crate) dice: Dice,
    /// Where its SDKs' API base may point to.
    pub(crate) bases: Vec<SocketAddr>,
    /// Whose keys are borne, where not those that the story says.
    pub(crate) keys: Option<Keys>,
    /// How often it tries again by itself, where not as the SDK does.
    pub(crate) retries: Option<u32>,
    /// How many stories are told at once.
    pub(crate) seats: Arc<Semaphore>,
    pub(crate) at_once: usize,
    /// Nothing goes wrong any more.
    pub(crate) calm: AtomicBool,
    pub(crate) calmed: Notify,
    /// When the story of each intent began.
    pub(crate) began: Mutex<HashMap<String, Timestamp>>,
    /// Keys that SDKs minted, the first few, and that applications chose.
    pub(crate) minted: Mutex<Vec<String>>,
    pub(crate) chosen: Mutex<Vec<String>>,
    /// Refusals, for the search for secrets.
    pub(crate) refusals: Mutex<Vec<String>>,
    /// Workers that died.
    pub(crate) deaths: AtomicUsize,
    /// What each intent's requests came to, for the report of a run that fails.
    pub(crate) traces: Mutex<HashMap<String, Vec<String>>>,
    /// Keys that were used for other content by mistake, and what was answered.
    pub(crate) misused: Mutex<Vec<u16>>,
}

impl Shop {
    pub(crate) fn new(dice: Dice, bases: Vec<SocketAddr>, at_once: usize) -> Self {
        Self {
            dice,
            bases,
            keys: None,
            retries: None,
            seats: Arc::new(Semaphore::new(at_once)),
            at_once,
            calm: AtomicBool::new(false),
            calmed: Notify::new(),
            began: Mutex::default(),
            minted: Mutex::default(),
            chosen: Mutex::default(),
            refusals: Mutex::default(),
            deaths: AtomicUsize::new(0),
            traces: Mutex::default(),
            misused: Mutex::default(),
        }
    }

    /// Better times have come.
    pub(crate) fn be_calm(&self) {
        self.calm.store(true, Ordering::SeqCst);
        self.calmed.notify_waiters();
    }

    fn is_calm(&self) -> bool {
        self.calm.load(Ordering::SeqCst)
    }

    /// A seat for a story, once one is free.
    pub(crate) async fn seat(&self) -> Seat {
        Arc::new(Arc::clone(&self.seats).acquire_owned().await.unwrap())
    }

    /// Whether all stories that began have ended, or wait for better times.
    pub(crate) fn is_idle(&self) -> bool {
        self.seats.available_permits() == self.at_once
    }

    /// Tells a story to its end.
    pub(crate) async fn tell(self: Arc<Self>, story: Story, seat: Seat) -> Vec<Operation> {
        let now = Clock::System.now();
        let intents = story.wants.iter().map(|want| want.operation.intent.clone());
        self.began.lock().unwrap().extend(intents.map(|intent| (intent, now)));
        let (mut told, mut seat) = (Vec::new(), Some(seat));
        if story.at_once {
            let wants: Vec<_> = story
                .wants
                .into_iter()
                .map(|want| tokio::task::spawn(Arc::clone(&self).work(want, seat.clone())))
                .collect();
            drop(seat);
            for want in wants {
                told.push(want.await.unwrap().0);
            }
        } else {
            for want in story.wants {
                let (operation, left) = Arc::clone(&self).work(want, seat).await;
                seat = left;
                told.push(operation);
            }
        }
        told
    }

    /// One job, until its application knows how it ended.
    async fn work(
        self: Arc<Self>,
        mut want: Want,
        seat: Option<Seat>,
    ) -> (Operation, Option<Seat>) {
        let mut seat = seat;
        let (mut delivery, mut in_calm) = (0, 0);
        let mut uncommitted = want.twist == Twist::Uncommitted;
        loop {
            if delivery >= DELIVERIES && seat.is_some() && !self.is_calm() {
                seat = None;
                self.wait_for_calm().await;
            }
            let calm = self.is_calm();
            self.deliver(&mut want, delivery).await;
            delivery += 1;
            match want.operation.heard.last().map(|heard| &heard.word) {
                Some(Word::Succeeded { .. }) if uncommitted => uncommitted = false,
                Some(Word::Succeeded { .. } | Word::AlreadyDone { .. }) => break,
                Some(Word::Declined) if want.declined => break,
                Some(Word::Unknown) if want.twist == Twist::Left && delivery >= BEFORE_LEFT => {
                    break;
                }
                Some(_) | None if calm => in_calm += 1,
                Some(_) | None => {}
            }
            if in_calm >= DELIVERIES_IN_CALM {
                want.operation.healed = true;
                break;
            }
            self.pause(&want, delivery).await;
        }
        if let Twist::Misused(other) = &want.twist {
            self.misuse(&want, other).await;
        }
        (want.operation, seat)
    }

    async fn wait_for_calm(&self) {
        let calmed = self.calmed.notified();
        tokio::pin!(calmed);
        calmed.as_mut().enable();
        if !self.is_calm() {
            calmed.await;
        }
    }

    async fn pause(&self, want: &Want, delivery: u64) {
        let most = (100_u64 << delivery.min(4)).min(1_000);
        let pause = self.dice.millis(20..most, "pause", &want.operation.intent, delivery);
        tokio::time::sleep(pause).await;
    }

    /// The job is delivered to a worker, or to two by mistake.
    async fn deliver(&self, want: &mut Want, delivery: u64) {
        let other = match &want.twist {
            Twist::OtherBody(other) if doubtful(&want.operation.heard) && delivery % 2 == 1 => {
                Some(other.clone())
            }
            Twist::Nothing
            | Twist::Uncommitted
            | Twist::Doubled
            | Twist::OtherBody(_)
            | Twist::Misused(_)
            | Twist::Rolled
            | Twist::Left => None,
        };
        let heard = if want.twist == Twist::Doubled && delivery == 0 {
            let (one, other) =
                tokio::join!(self.worker(want, 0, None), self.worker(want, 1_000, None));
            vec![one, other]
        } else {
            vec![self.worker(want, delivery, other.as_deref()).await]
        };
        let mut heard: Vec<Heard> = heard.into_iter().flatten().collect();
        heard.sort_by_key(|heard| heard.at);
        want.operation.heard.extend(heard);
    }

    /// A worker calls its SDK; `None` if it could not even connect.
    async fn worker(&self, want: &Want, delivery: u64, other: Option<&str>) -> Option<Heard> {
        let (intent, dice) = (&want.operation.intent, self.dice);
        let to = self.bases[dice.below(self.bases.len() as u64, "base", intent, delivery)];
        let keys = self.keys.unwrap_or(want.operation.keys);
        let call = if want.one_call { 0 } else { delivery };
        let key = sdk::key(keys, &want.own, dice, intent, call);
        self.remember(keys, key.as_deref());
        let rolled = want.twist == Twist::Rolled;
        let post = Post {
            path: want.path,
            body: other.unwrap_or(&want.body),
            api_key: API_KEYS[usize::from(rolled && delivery > 0)],
            user_agent: sdk::user_agent(keys),
            key: key.as_deref(),
            name: want.name.as_deref(),
            intent,
        };
        let dying = if rolled && delivery == 0 {
            HangUp::InAnswer(dice.below(200, "byte", intent, 0))
        } else {
            self.dying(intent, delivery)
        };
        let mut doubt = doubtful(&want.operation.heard);
        let mut word = None;
        for attempt in 0..=u64::from(self.retries.unwrap_or_else(|| sdk::retries(keys))) {
            let hang_up = if attempt == 0 { dying } else { HangUp::Never };
            let got = send(to, &post, hang_up).await;
            self.trace(&post, to, &got);
            let (said, again) = self.heard(got, doubt);
            let said = match said {
                // Another scope (DESIGN §2): it says nothing of what the former API key asked for.
                Some(Word::NothingSent) if rolled && doubt => Some(Word::Unknown),
                said => said,
            };
            doubt |= matches!(said, Some(Word::Unknown | Word::Silence));
            word = said.or(word);
            if !again {
                break;
            }
            let back_off = dice.millis(20..120, "back-off", intent, delivery * 8 + attempt);
            tokio::time::sleep(back_off).await;
        }
        word.map(|word| Heard { at: Clock::System.now(), word })
    }

    /// For the search for secrets.
    fn remember(&self, keys: Keys, key: Option<&str>) {
        let Some(key) = key else { return };
        let known = if keys == Keys::Own { &self.chosen } else { &self.minted };
        let mut known = known.lock().unwrap();
        if known.len() < MOST_KEYS {
            known.push(key.to_owned());
        }
    }

    /// Somebody takes the wrong API key.
    pub(crate) async fn use_a_live_key(&self) {
        let post = Post {
            path: "/v1/charges",
            body: "amount=1&currency=usd&source=tok_visa",
            api_key: LIVE_KEY,
            user_agent: sdk::user_agent(Keys::Node),
            key: None,
            name: None,
            intent: "live",
        };
        for base in &self.bases {
            if let Got::Answer(reply) = send(*base, &post, HangUp::Never).await {
                assert!(reply.status >= 400, "{}", reply.text());
                self.refusals.lock().unwrap().push(reply.text());
            }
        }
    }

    fn trace(&self, post: &Post<'_>, to: SocketAddr, got: &Got) {
        let at = Clock::System.now().as_millis() % 1_000_000;
        let (to, key) = (to.port(), post.key.unwrap_or("-"));
        let what = match got {
            Got::Answer(reply) => {
                let (json, outcome) = (reply.json(), reply.field("payonce-outcome"));
                let code = json["error"]["code"].as_str().or(json["id"].as_str());
                format!("{} {} {}", reply.status, code.unwrap_or("-"), outcome.unwrap_or("-"))
            }
            Got::NotConnected | Got::Broken | Got::Died => format!("{got:?}"),
        };
        let line = format!("{at} {to} {key}: {what}");
        self.traces.lock().unwrap().entry(post.intent.to_owned()).or_default().push(line);
    }

    /// When this worker dies, if it does.
    fn dying(&self, intent: &str, delivery: u64) -> HangUp {
        let dice = self.dice;
        if self.is_calm() || !dice.percent(15, "dies", intent, delivery) {
            return HangUp::Never;
        }
        let byte = |most| dice.below(most, "byte", intent, delivery);
        match dice.below(4, "death", intent, delivery) {
            0 => HangUp::InRequest(byte(500)),
            1 | 2 => HangUp::InAnswer(byte(1_500)),
            _ => HangUp::After(dice.millis(1..400, "time", intent, delivery)),
        }
    }

    /// What the application makes of it, and whether its SDK tries again.
    fn heard(&self, got: Got, doubt: bool) -> (Option<Word>, bool) {
        let reply = match got {
            Got::Died => {
                self.deaths.fetch_add(1, Ordering::SeqCst);
                return (Some(Word::Silence), false);
            }
            Got::Broken => return (Some(Word::Unknown), true),
            // Nothing was said.
            Got::NotConnected => return (None, true),
            Got::Answer(reply) => reply,
        };
        // What the provider says is its own matter; what payonce writes is searched for secrets.
        if reply.field("request-id").is_some_and(|id| id.starts_with("req_payonce_")) {
            let mut refusals = self.refusals.lock().unwrap();
            if refusals.len() < 20_000 {
                refusals.push(reply.text());
            }
        }
        let again = match reply.field("stripe-should-retry") {
            Some(retry) => retry == "true",
            None => reply.status == 409 || reply.status >= 500,
        };
        (Some(word_of(&reply, doubt)), again && reply.status >= 300)
    }

    async fn misuse(&self, want: &Want, other: &str) {
        if self.keys.is_some() {
            return;
        }
        let intent = format!("{}-misused", want.operation.intent);
        let post = Post {
            path: want.path,
            body: other,
            api_key: API_KEYS[0],
            user_agent: sdk::user_agent(Keys::Own),
            key: Some(&want.own),
            name: None,
            intent: &intent,
        };
        if let Got::Answer(reply) = send(self.bases[0], &post, HangUp::Never).await {
            self.misused.lock().unwrap().push(reply.status);
        }
    }
}

/// Whether the last that was heard of the outcome is that it is not known.
pub(crate) fn doubtful(heard: &[Heard]) -> bool {
    let last = heard.iter().rev().find(|heard| !matches!(heard.word, Word::Refused));
    last.is_some_and(|heard| matches!(heard.word, Word::Unknown | Word::Silence))
}

/// An answer as far as an application looks at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    pub(crate) status: u64,
    pub(crate) id: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
}

fn word_of(reply: &Reply, doubt: bool) -> Word {
    let json = reply.json();
    let text = |value: &'_ serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let error = &json["error"];
    let (id, kind) = (text(&json["id"]), text(&error["type"]));
    let (code, message) = (text(&error["code"]), text(&error["message"]));
    let status = reply.status.into();
    word(Said { status, id: &id, kind: &kind, code: &code, message: &message }, doubt)
}

/// What an answer says. `doubt`: an earlier request's outcome is not known, of which a refusal
/// before anything is looked up says nothing.
pub(crate) fn word(said: Said<'_>, doubt: bool) -> Word {
    let message = said.message;
    match (said.status, said.code) {
        (200..=299, _) => Word::Succeeded { object: said.id.to_owned() },
        (402, _) => Word::Declined,
        (_, "payonce_already_done") => {
            let object = message.split(" as ").nth(1).and_then(|rest| rest.split(',').next());
            Word::AlreadyDone { object: object.map(str::to_owned) }
        }
        (_, "payonce_busy" | "payonce_closing" | "payonce_store_down" | "payonce_body_broken")
            if doubt =>
        {
            Word::Unknown
        }
        (_, "payonce_conflict" | "payonce_superseded" | "payonce_window_elapsed") => Word::Refused,
        (429, _) if doubt => Word::Unknown,
        (429, _) => Word::NothingSent,
        _ if message.contains("Nothing was sent") || message.contains("Nothing was executed") => {
            Word::NothingSent
        }
        _ if said.kind == "idempotency_error" && said.status == 400 => Word::Refused,
        // 0: the SDK had no answer.
        (0 | 409 | 408 | 424 | 500..=599, _) => Word::Unknown,
        _ => Word::Refused,
    }
}

/// Pauses of the run itself.
pub(crate) const TICK: Duration = Duration::from_millis(10);
