//! The applications: SDK calls with the SDK's own retries, and jobs that are delivered again until
//! there is an outcome. They know nothing of payonce.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use payonce::clock::Timestamp;
use payonce::delivery::Simulated;
use payonce::respond::full;
use payonce::server::{Connection, Peer, Serve};
use payonce::upstream::Body;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::ears::CALL;
use super::pod::{Pod, Pods};
use super::sky::Sky;
use super::work::{Habit, Plan, ROLLED, SHOPS, minted, user_agent};
use crate::proof::verdict::{Heard, Keys, Word};

/// How long an SDK waits for an answer, and how often it tries again.
const SDK_PATIENCE: Duration = Duration::from_secs(80);
const SDK_RETRIES: u32 = 2;
/// How often a job is delivered at most before it is left for better times.
const DELIVERIES: u32 = 6;

/// What the intent of a misused key ends with: it must have no effect.
pub(crate) const MISUSED: &str = "-misused";

/// All that one worker asked and heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    pub(crate) heard: Vec<Heard>,
    /// Begin of the first and of the last ask.
    pub(crate) asked: Option<(Timestamp, Timestamp)>,
    /// What payonce called the operation.
    pub(crate) ids: BTreeSet<String>,
    /// What it called it under an API key that was rolled since: nobody asks for that one again.
    pub(crate) left: BTreeSet<String>,
    /// Asks that were not answered with an outcome, or whose answer was not read.
    pub(crate) lost: u32,
    /// An answer was accepted by its connection, which then stayed, and was not read.
    pub(crate) unread: bool,
    /// Some ask was made while everything passed.
    pub(crate) unenforced: bool,
    pub(crate) healed: bool,
    deliveries: u32,
    card: usize,
}

impl Story {
    pub(crate) fn over(&self, habit: Habit) -> bool {
        match self.heard.last().map(|heard| &heard.word) {
            Some(Word::Succeeded { .. } | Word::AlreadyDone { .. }) => true,
            Some(Word::Declined) => match habit {
                Habit::OtherCard => false,
                Habit::Again => self.declines() > 1,
                _ => true,
            },
            Some(Word::NothingSent | Word::Unknown | Word::Refused | Word::Silence) | None => false,
        }
    }

    fn declines(&self) -> usize {
        self.heard.iter().filter(|heard| heard.word == Word::Declined).count()
    }

    fn doubted(&self) -> bool {
        self.lost > 0
    }
}

/// What an answer says.
struct Reply {
    word: Word,
    retry: bool,
}

/// A worker of the application.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) sky: Arc<Sky>,
    pub(crate) pods: Arc<Pods>,
    /// The store may have failed: what payonce cannot know any more it cannot say.
    pub(crate) lossy: bool,
    /// How soon and how late a job is delivered again, in milliseconds.
    pub(crate) again: (u32, u32),
}

impl App {
    /// Works on `plan` from its start until there is an outcome, or no more patience.
    pub(crate) async fn work(&self, plan: &Plan) -> Story {
        let mut story = Story::default();
        self.sky.sleep(plan.start).await;
        let mut again = plan.habit == Habit::Uncommitted;
        while story.deliveries < DELIVERIES {
            self.deliver(plan, &mut story).await;
            if story.over(plan.habit) {
                if !std::mem::take(&mut again) {
                    break;
                }
                self.sky.note(format_args!("{} is not committed", plan.intent));
            }
            self.sky.sleep(self.sky.between(self.again.0, self.again.1)).await;
        }
        if plan.habit == Habit::Misuse && story.over(plan.habit) {
            self.misuse(plan).await;
        }
        story
    }

    /// The key of an operation that is done, with other content.
    async fn misuse(&self, plan: &Plan) {
        let bodies = vec![plan.bodies[0].replacen("amount=500", "amount=501", 1)];
        let other = Plan { intent: format!("{}{MISUSED}", plan.intent), bodies, ..plan.clone() };
        for _ in 0..2 {
            self.deliver(&other, &mut Story::default()).await;
        }
    }

    /// Asks once more when nothing goes wrong any more.
    pub(crate) async fn heal(&self, plan: &Plan, story: &mut Story) {
        story.healed = true;
        for _ in 0..5 {
            if story.over(plan.habit) {
                return;
            }
            self.deliver(plan, story).await;
            self.sky.sleep(Duration::from_secs(20)).await;
        }
    }

    /// One delivery of the job: one call of the SDK, with its retries.
    async fn deliver(&self, plan: &Plan, story: &mut Story) {
        let sky = &self.sky;
        story.deliveries += 1;
        let delivery = story.deliveries;
        let same = plan.habit == Habit::SameKey;
        let random = if same { digest(&plan.intent) } else { sky.bytes() };
        // A key that is used again bears the time of its first use.
        let minted_at =
            if same { plan.start.as_millis().try_into().unwrap() } else { sky.now().as_millis() };
        let key = plan.own.clone().or_else(|| minted(plan.keys, random, minted_at));
        let call =
            if same || plan.own.is_some() { plan.intent.clone() } else { hex::encode(random) };
        let card = story.card % plan.bodies.len();
        let retries = if plan.keys == Keys::None { 0 } else { SDK_RETRIES };
        let mut word = Word::Silence;
        for attempt in 0..=retries {
            let now = sky.now();
            story.asked = Some((story.asked.map_or(now, |(first, _)| first), now));
            story.unenforced |= sky.unenforced();
            let rolled = plan.habit == Habit::Roll && delivery > 1;
            let shops = if rolled { &ROLLED } else { &SHOPS };
            let request =
                request(plan, card, shops[plan.shop], key.as_deref(), &format!("{call}/{card}"));
            let reply = self.ask(plan, request, story).await;
            story.unenforced |= sky.unenforced();
            sky.note(format_args!("{} #{delivery}.{attempt} hears {:?}", plan.intent, reply.word));
            word = reply.word;
            if !matches!(word, Word::Succeeded { .. } | Word::Declined | Word::AlreadyDone { .. }) {
                story.lost += 1;
            }
            if !reply.retry || attempt == retries {
                break;
            }
            sky.sleep(sky.between(500, 5_000)).await;
        }
        if word == Word::NothingSent && self.lossy && story.doubted() {
            // It is true of this request, and no process knows of the others.
            word = Word::Refused;
        }
        if plan.habit == Habit::OtherCard
            && !matches!(word, Word::Succeeded { .. } | Word::AlreadyDone { .. })
            && (word != Word::Silence || sky.chance(0.3))
        {
            story.card += 1;
        }
        story.heard.push(Heard { at: sky.now(), word });
    }

    /// One request on a connection of its own, and what the client does meanwhile.
    async fn ask(&self, plan: &Plan, request: Request<Body>, story: &mut Story) -> Reply {
        let sky = &self.sky;
        let silence = Reply { word: Word::Silence, retry: true };
        sky.sleep(sky.between(1, 3)).await;
        let Some(pod) = self.pods.at(sky.below(self.pods.count())) else { return silence };
        let rate = sky.weather().rates.client;
        let hangs_up = if sky.chance(rate) { sky.between(1, 30_000) } else { SDK_PATIENCE };
        let loses = sky.chance(rate);
        let request = if sky.chance(rate * 0.3) {
            sky.struck("client: request cut");
            sky.note(format_args!("{} is cut short", plan.intent));
            request.map(|body| cut(body, sky.below(60)))
        } else {
            request
        };
        let (watch, line) = Simulated::connect();
        let connection = Connection { peer: Peer::Unix, watch };
        let asking = self.pods.asking(&plan.intent);
        let answer = tokio::select! {
            biased;
            () = pod.tasks.crashed() => None,
            () = sky.sleep(hangs_up) => None,
            answer = Box::pin(pod.exchange.call(request, connection)) => Some(answer),
        };
        drop(asking);
        let Some(answer) = answer else {
            let hung_up = hangs_up < SDK_PATIENCE;
            sky.struck(if hung_up { "client: hangs up" } else { "client: connection gone" });
            line.over(false);
            return silence;
        };
        self.glance(plan, answer.headers(), story);
        if loses && sky.chance(0.3) {
            self.ignore(&pod, answer, &line, story).await;
            return silence;
        }
        if let Some(answer) = self.take(&pod, answer, loses, &line).await {
            self.leave(line);
            return read(&answer, plan);
        }
        line.over(false);
        silence
    }

    /// Notes what payonce says of an answer.
    fn glance(&self, plan: &Plan, headers: &HeaderMap, story: &mut Story) {
        let field = |name| headers.get(name).and_then(|it| it.to_str().ok());
        let (label, attempts) = (field("payonce-outcome"), field("payonce-attempts"));
        self.sky.note(format_args!("{} is {label:?} after {attempts:?}", plan.intent));
        let id = field("payonce-operation-id").map(str::to_owned);
        let rolled_since = plan.habit == Habit::Roll && story.deliveries == 1;
        story.left.extend(id.clone().filter(|_| rolled_since));
        story.ids.extend(id);
    }

    /// Leaves an answer unread for so long that it counts as delivered, then breaks off.
    async fn ignore(&self, pod: &Pod, answer: Response<Body>, line: &Simulated, story: &mut Story) {
        self.sky.struck("client: answer ignored");
        story.unread = true;
        if let Ok(body) = answer.into_body().collect().await {
            line.accepted(200 + body.to_bytes().len());
        }
        tokio::select! {
            biased;
            () = pod.tasks.crashed() => {}
            () = self.sky.sleep(Duration::from_secs(4)) => {}
        }
        line.over(false);
    }

    /// Reads an answer whole, unless it is lost.
    async fn take(
        &self,
        pod: &Pod,
        answer: Response<Body>,
        loses: bool,
        line: &Simulated,
    ) -> Option<Response<Bytes>> {
        let sky = &self.sky;
        if loses && sky.chance(0.5) {
            sky.struck("client: answer unread");
            return None;
        }
        let (head, body) = answer.into_parts();
        let announced = head.headers.get("content-length").and_then(|it| it.to_str().ok());
        let announced: Option<usize> = announced.and_then(|it| it.parse().ok());
        let body = body.collect().await.ok()?.to_bytes();
        if announced.is_some_and(|announced| announced != body.len()) {
            return None;
        }
        line.accepted(200 + body.len());
        let arrives = tokio::select! {
            biased;
            () = pod.tasks.crashed() => false,
            () = sky.sleep(sky.between(1, 5)) => !loses,
        };
        if !arrives {
            sky.struck("client: answer reset");
            return None;
        }
        Some(Response::from_parts(head, body))
    }

    /// What the client does with its connection when it has its answer.
    fn leave(&self, line: Simulated) {
        match self.sky.below(3) {
            0 => line.over(true),
            1 => line.went_on(),
            // It keeps the connection and is silent.
            _ => {
                let clock = self.sky.clock.clone();
                tokio::task::spawn(async move {
                    clock.sleep(Duration::from_secs(5)).await;
                    line.over(true);
                });
            }
        }
    }
}

/// A body that breaks off after so many bytes.
fn cut(body: Body, bytes: usize) -> Body {
    Body::new(
        http_body_util::Limited::new(body, bytes).map_err(|_over| "the client is gone".into()),
    )
}

fn request(
    plan: &Plan,
    card: usize,
    api_key: &str,
    key: Option<&str>,
    call: &str,
) -> Request<Body> {
    let body = &plan.bodies[card];
    let kind = if plan.json { "application/json" } else { "application/x-www-form-urlencoded" };
    let mut request = Request::post(plan.path)
        .header("authorization", format!("Bearer {api_key}"))
        .header("user-agent", user_agent(plan.keys))
        .header("content-type", kind)
        .header("content-length", body.len())
        .header("sandbox-intent", &plan.intent)
        .header(CALL, call);
    for (name, value) in [("idempotency-key", key), ("payonce-operation", plan.header.as_deref())] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    request.body(full(Bytes::from(body.clone()))).unwrap()
}

fn read(answer: &Response<Bytes>, plan: &Plan) -> Reply {
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (code, message) = (text(&body["error"]["code"]), text(&body["error"]["message"]));
    let advice = answer.headers().get("stripe-should-retry").and_then(|it| it.to_str().ok());
    let by_status = status == 409 || status >= 500;
    let retry = advice.map_or(by_status, |advice| advice == "true") && plan.keys != Keys::None;
    let word = match (status, code.as_str()) {
        (200..300, _) => Word::Succeeded { object: text(&body["id"]) },
        (_, "payonce_already_done") => {
            let object = message.split(" as ").nth(1).and_then(|rest| rest.split(',').next());
            Word::AlreadyDone { object: object.map(str::to_owned) }
        }
        (
            _,
            "payonce_upstream_unreachable"
            | "payonce_rate_limited"
            | "payonce_store_down"
            | "payonce_busy"
            | "payonce_closing"
            | "payonce_internal",
        )
        | (429, _) => Word::NothingSent,
        (_, "payonce_body_broken") => Word::Silence,
        (402, _) => Word::Declined,
        (_, "payonce_outcome_unknown" | "payonce_answer_unavailable" | "payonce_no_answer") => {
            Word::Unknown
        }
        (500.., _) | (409, "idempotency_key_in_use") => Word::Unknown,
        (_, _) => Word::Refused,
    };
    Reply { word, retry }
}

/// What stands for a text alone. A UUID of its letters would not: six bits of it are fixed.
fn digest(text: &str) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    std::array::from_fn(|n| digest[n])
}
