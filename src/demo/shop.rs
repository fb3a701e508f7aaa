//! The application: a queue of jobs, run by processes that die, and redelivered until they are
//! done. It knows nothing of payonce; what a person on call does for it stands apart
//! ([`Desk`]).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;

use super::count::{Told, Word};
use super::desk::{Desk, Found};
use super::dice::Dice;
use super::sdk::{self, Sdk};
use super::weather;
use super::wire::{Failed, Post, Reply};
use super::work::{Job, Step, Value};
use crate::clock::{Clock, Timestamp};

/// When a job is delivered again at the latest.
const LONGEST_WAIT: Duration = Duration::from_mins(30);
/// And at the soonest.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// After so many runs that came to nothing a person looks.
const PERSON_AFTER: u32 = 6;
/// So often a job is run at all, and after the faults have stopped.
const RUNS: u32 = 80;
const RUNS_AFTER: u32 = 4;

/// What all jobs share.
pub(super) struct Shop {
    clock: Clock,
    dice: Dice,
    /// Where the SDKs' API base points to.
    base: SocketAddr,
    /// When the faults stop.
    calm: Timestamp,
    desk: Option<Desk>,
    calls: Calls,
    done: Box<dyn Fn() + Send + Sync>,
    told: Mutex<HashMap<String, Told>>,
    tally: Mutex<Tally>,
}

/// What happened besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Jobs that were delivered again.
    pub(super) redelivered: u64,
    /// Pods that died in the middle of a call.
    pub(super) deaths: u64,
}

/// How many calls are on the wire.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls(Arc<AtomicUsize>);

impl Calls {
    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// One more, until this is dropped.
    pub(super) fn one(&self) -> OnTheWire {
        self.0.fetch_add(1, Ordering::Relaxed);
        OnTheWire(self.clone())
    }
}

pub(super) struct OnTheWire(Calls);

impl Drop for OnTheWire {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one run of a step came to.
enum Run {
    Succeeded {
        object: Option<String>,
    },
    Declined,
    Failed,
    /// To be delivered again; what payonce calls the operation, if payonce said.
    Again {
        operation: Option<String>,
    },
}

impl Shop {
    pub(super) fn new(
        clock: Clock,
        dice: Dice,
        base: SocketAddr,
        length: Duration,
        desk: Option<Desk>,
        calls: Calls,
        done: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self {
            calm: clock.now().plus(length),
            clock,
            dice,
            base,
            desk,
            calls,
            done,
            told: Mutex::default(),
            tally: Mutex::default(),
        }
    }

    /// What the application says of each intent that it came to, and what happened besides.
    pub(super) fn told(&self) -> (HashMap<String, Told>, Tally) {
        (lock(&self.told).clone(), *lock(&self.tally))
    }

    /// Works a job off, step by step.
    pub(super) async fn work(&self, job: &Job, needed: &str) {
        self.clock.sleep(job.due).await;
        let mut first: Option<String> = None;
        for step in &job.steps {
            self.clock.sleep(step.wait).await;
            let object = self.step(job.sdk, step, needed, first.as_deref()).await;
            first = first.or(object);
            (self.done)();
        }
    }

    async fn step(
        &self,
        sdk: Sdk,
        step: &Step,
        needed: &str,
        first: Option<&str>,
    ) -> Option<String> {
        let intent = &step.intent.id;
        self.note(step, Word::None, false);
        let body = body(step, needed, first);
        let mut after = 0;
        for run in 0..RUNS {
            if self.clock.now() > self.calm {
                after += 1;
            }
            let came = self.run(sdk, step, needed, &body, run).await;
            let operation = match came {
                Run::Succeeded { object } => {
                    self.note(step, Word::Succeeded, false);
                    return object;
                }
                Run::Declined => {
                    self.note(step, Word::Declined, false);
                    return None;
                }
                Run::Failed => {
                    self.note(step, Word::Failed, false);
                    return None;
                }
                Run::Again { operation } => operation,
            };
            if let (Some(desk), Some(operation)) = (&self.desk, operation)
                && (run + 1).is_multiple_of(PERSON_AFTER)
            {
                match desk.look(&self.told().0, step, &operation).await {
                    Found::Happened { object } => {
                        self.note(step, Word::Succeeded, true);
                        return object;
                    }
                    Found::DidNot => self.note(step, Word::None, true),
                    Found::Nothing => {}
                }
            }
            if after >= RUNS_AFTER {
                break;
            }
            lock(&self.tally).redelivered += 1;
            self.clock.sleep(self.pause(intent, run)).await;
        }
        None
    }

    /// Queues back off: the shortest wait grows.
    fn pause(&self, intent: &str, run: u32) -> Duration {
        let grown = SHORTEST_WAIT.saturating_mul(4_u32.saturating_pow(run.min(8)));
        self.dice.time(grown.min(LONGEST_WAIT / 2), LONGEST_WAIT, "again", intent, run)
    }

    /// One delivery of the job, to a process that may die in the middle of the call.
    async fn run(&self, sdk: Sdk, step: &Step, needed: &str, body: &[u8], run: u32) -> Run {
        let intent = &step.intent.id;
        let key = sdk.key(self.dice, intent, run);
        let path = step.path.replace("{}", needed);
        let post = Post {
            path: &path,
            body: bytes::Bytes::copy_from_slice(body),
            user_agent: sdk.user_agent(),
            key: key.as_deref(),
            intent: Some(intent),
        };
        let _wire = self.calls.one();
        let call = self.call(sdk, &post, intent);
        let reply = if u64::from(run) < weather::deaths(self.dice, intent) {
            let Ok(reply) = self.clock.timeout(weather::DEATH, call).await else {
                lock(&self.tally).deaths += 1;
                return Run::Again { operation: None };
            };
            reply
        } else {
            call.await
        };
        judge(reply)
    }

    /// A call of the SDK, with its retries.
    async fn call(&self, sdk: Sdk, post: &Post<'_>, intent: &str) -> Result<Reply, Failed> {
        let mut attempts = 0;
        loop {
            let sent = self.clock.timeout(sdk::TIMEOUT, post.send(self.base)).await;
            let reply = sent.unwrap_or(Err(Failed));
            attempts += 1;
            let random = self.dice.unit("back-off", intent, attempts);
            match sdk.retry(reply.as_ref(), attempts, random) {
                Some(pause) => self.clock.sleep(pause).await,
                None => return reply,
            }
        }
    }

    fn note(&self, step: &Step, word: Word, by_person: bool) {
        let now = self.clock.now();
        let mut all = lock(&self.told);
        let told = all.entry(step.intent.id.clone()).or_insert_with(|| Told {
            intent: step.intent.clone(),
            word,
            at: now,
            by_person,
        });
        (told.word, told.at) = (word, now);
        told.by_person |= by_person;
    }
}

fn judge(reply: Result<Reply, Failed>) -> Run {
    let Ok(reply) = reply else { return Run::Again { operation: None } };
    match reply.status {
        status if status.is_success() => Run::Succeeded { object: reply.object },
        StatusCode::PAYMENT_REQUIRED => Run::Declined,
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            Run::Again { operation: reply.operation }
        }
        status if status.is_client_error() => Run::Failed,
        _server_error => Run::Again { operation: reply.operation },
    }
}

fn body(step: &Step, needed: &str, first: Option<&str>) -> Vec<u8> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in &step.form {
        let value = match value {
            Value::Text(text) => text,
            Value::Needed => needed,
            Value::First => first.unwrap_or_default(),
        };
        form.append_pair(name, value);
    }
    form.finish().into_bytes()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
