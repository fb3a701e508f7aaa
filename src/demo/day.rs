//! One column: a fresh sandbox, payonce before it or not, and the application's day.
//!
//! **Time.** The column has a runtime of its own whose clock stands still while there is anything
//! to do and leaps to the next timer when there is not (tokio's paused clock). So a day passes in
//! seconds, a slow machine causes no time-out, and the same seed gives the same day. tokio does not
//! know that bytes on a loopback connection are "something to do", so a pulse keeps each leap short
//! while requests are on the wire: it is the latency of this network.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::count::{Counts, Told, Word, count};
use super::desk::Desk;
use super::dice::Dice;
use super::shop::{Calls, Shop, Tally};
use super::weather;
use super::wire::Post;
use super::work::{Job, Need, plan};
use crate::assembly::{self, Assembly};
use crate::clock::{Clock, Timestamp};
use crate::people::People;
use crate::policy_file;
use crate::sandbox::{self, Sandbox};
use crate::server::{Local, Shutdown};
use crate::settings::Settings;

/// How long faults last.
pub(super) const LENGTH: Duration = Duration::from_hours(24);
/// When the day is broken off, whatever is left.
const END: Duration = Duration::from_hours(72);
/// The longest leap while a call is on the wire, and otherwise.
const PULSE: Duration = Duration::from_millis(20);
const SLOW_PULSE: Duration = Duration::from_secs(1);
/// After so many leaps with a call on the wire the column waits for the wall clock, so long.
const PACE_LEAPS: u32 = 50;
const PACE: Duration = Duration::from_millis(1);
/// 2026-01-01T00:00:00Z
const MIDNIGHT: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Which column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Straight,
    ThroughPayonce,
}

/// What a day came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) counts: Counts,
    pub(super) tally: Tally,
    /// Faults that struck, by kind.
    pub(super) faults: Vec<(&'static str, u64)>,
}

/// Plays a day to its end, on a runtime of its own; blocks.
pub(super) fn play(
    way: Way,
    seed: u64,
    operations: u32,
    done: Box<dyn Fn() + Send + Sync>,
) -> io::Result<Day> {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(Box::pin(async {
        let clock = Clock::driven(MIDNIGHT, 1);
        let calls = Calls::default();
        tokio::select! {
            day = Box::pin(whole(way, seed, operations, &clock, &calls, done)) => day,
            never = pulse(&clock, &calls) => match never {},
        }
    }))
}

/// Keeps leaps short, and the day at no more than a thousand times the wall clock while a call is
/// on the wire: a kernel that is late with a packet by some milliseconds is then a slow network,
/// not a time-out.
async fn pulse(clock: &Clock, calls: &Calls) -> std::convert::Infallible {
    let mut leaps = 0_u32;
    loop {
        if !calls.any() {
            clock.sleep(SLOW_PULSE).await;
            continue;
        }
        clock.sleep(PULSE).await;
        leaps = leaps.wrapping_add(1);
        if leaps.is_multiple_of(PACE_LEAPS) {
            // The thread has nothing else to do just now, or this would not have been reached.
            std::thread::sleep(PACE);
        }
    }
}

async fn whole(
    way: Way,
    seed: u64,
    operations: u32,
    clock: &Clock,
    calls: &Calls,
    done: Box<dyn Fn() + Send + Sync>,
) -> io::Result<Day> {
    let dice = Dice::new(seed);
    let jobs = plan(dice, operations, LENGTH);
    let sandbox = Sandbox::start(sandbox::Config::local(clock.clone(), seed))?;
    let sandbox = Arc::new(sandbox);
    let needed = prepare(&jobs, sandbox.addr(), calls).await?;
    sandbox.set_faults(weather::faults(dice, &jobs));
    let payonce = match way {
        Way::Straight => None,
        Way::ThroughPayonce => Some(Payonce::start(sandbox.addr(), clock).await?),
    };
    let base = payonce.as_ref().map_or(sandbox.addr(), |payonce| payonce.at);
    let desk = payonce.as_ref().map(|payonce| payonce.desk(&sandbox, clock)).transpose()?;
    let shop = Shop::new(clock.clone(), dice, base, LENGTH, desk, calls.clone(), done);
    let shop = Arc::new(shop);
    work(&shop, &jobs, needed, &sandbox, clock).await?;
    if let Some(payonce) = payonce {
        payonce.stop().await?;
    }
    let (mut heard, tally) = shop.told();
    let told: Vec<Told> = jobs
        .iter()
        .flat_map(|job| &job.steps)
        .map(|step| {
            heard.remove(&step.intent.id).unwrap_or_else(|| Told {
                intent: step.intent.clone(),
                word: Word::None,
                at: MIDNIGHT,
                by_person: false,
            })
        })
        .collect();
    Ok(Day { counts: count(&told, &sandbox.effects()), tally, faults: sandbox.fault_counts() })
}

/// The customers and card tokens that are there before the day begins. Twins share theirs.
async fn prepare(jobs: &[Job], sandbox: SocketAddr, calls: &Calls) -> io::Result<Vec<String>> {
    let mut all: Vec<String> = Vec::with_capacity(jobs.len());
    let mut before: Option<&Job> = None;
    let _wire = calls.one();
    for job in jobs {
        let shared = before.filter(|before| before.group == job.group);
        let object = match (shared, job.need) {
            (Some(_), _) => all.last().cloned().unwrap_or_default(),
            (None, Need::Nothing) => String::new(),
            (None, Need::Customer(card)) => {
                make(sandbox, "/v1/customers", &format!("source={card}")).await?
            }
            (None, Need::Token) => {
                make(sandbox, "/v1/tokens", "card[number]=4242424242424242").await?
            }
        };
        all.push(object);
        before = Some(job);
    }
    Ok(all)
}

async fn make(sandbox: SocketAddr, path: &str, form: &str) -> io::Result<String> {
    let post = Post {
        path,
        body: form.to_owned().into(),
        user_agent: "payonce-demo",
        key: None,
        intent: None,
    };
    let reply = post.send(sandbox).await;
    let object = reply.ok().filter(|reply| reply.status.is_success()).and_then(|it| it.object);
    object.ok_or_else(|| io::Error::other(format!("the sandbox refused {path} before the day")))
}

/// Works all jobs off; the faults stop when the day is over.
async fn work(
    shop: &Arc<Shop>,
    jobs: &[Job],
    needed: Vec<String>,
    sandbox: &Sandbox,
    clock: &Clock,
) -> io::Result<()> {
    let mut running = JoinSet::new();
    for (job, needed) in jobs.iter().cloned().zip(needed) {
        let shop = Arc::clone(shop);
        running.spawn(async move { shop.work(&job, &needed).await });
    }
    let calm = async {
        clock.sleep(LENGTH).await;
        sandbox.set_faults(Vec::new());
    };
    let all = async {
        while let Some(ended) = running.join_next().await {
            ended.map_err(io::Error::other)?;
        }
        Ok(())
    };
    let both = async {
        let ((), all) = tokio::join!(calm, all);
        all
    };
    // What is not done by then has no last word, and counts as locked out.
    clock.timeout(END, both).await.unwrap_or(Ok(()))
}

/// payonce as it is shipped, in this process.
struct Payonce {
    at: SocketAddr,
    exchange: crate::exchange::Exchange<Arc<crate::ledger::AnyLedger>, crate::upstream::Direct>,
    settings: Settings,
    shutdown: Shutdown,
    running: JoinSet<()>,
}

impl Payonce {
    async fn start(sandbox: SocketAddr, clock: &Clock) -> io::Result<Self> {
        let settings = settings(sandbox)?;
        let assembly =
            Assembly::build(settings.clone(), clock.clone()).await.map_err(io::Error::other)?;
        let at = match assembly.local().first() {
            Some(Local::Tcp(at)) => *at,
            Some(Local::Unix(_)) | None => return Err(io::Error::other("payonce has no port")),
        };
        let exchange = assembly.exchange().clone();
        let shutdown = assembly.shutdown().clone();
        let mut running = JoinSet::new();
        running.spawn(async move {
            // What was left at the end is in the table.
            let _summary = assembly.run().await;
        });
        Ok(Self { at, exchange, settings, shutdown, running })
    }

    fn desk(&self, sandbox: &Arc<Sandbox>, clock: &Clock) -> io::Result<Desk> {
        let accept = assembly::acceptable(&self.settings);
        let policy = policy_file::shipped(clock.clone(), &accept).map_err(io::Error::other)?;
        let people = People::new(self.exchange.clone(), Arc::new(policy));
        Ok(Desk::new(people, Arc::clone(sandbox)))
    }

    async fn stop(mut self) -> io::Result<()> {
        self.shutdown.first.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// The shipped settings and policy, pointed at the sandbox.
fn settings(sandbox: SocketAddr) -> io::Result<Settings> {
    let origin = format!("http://{sandbox}");
    let set = [
        ("PAYONCE_LISTEN__PROXY", "127.0.0.1:0"),
        ("PAYONCE_LISTEN__ADMIN", "off"),
        ("PAYONCE_LISTEN__HEALTH", "off"),
        ("PAYONCE_STORE__KIND", "memory"),
        ("PAYONCE_STORE__MAX_RECORDS", "1000000"),
        ("PAYONCE_STORE__SINGLE_INSTANCE", "true"),
        // Nobody reads it, and the day is short.
        ("PAYONCE_METRICS__SURVEY_INTERVAL", "10m"),
        ("PAYONCE_UPSTREAM__PROVIDER_HOST", "demo"),
        ("PAYONCE_UPSTREAM__API", &origin),
        ("PAYONCE_UPSTREAM__FILES", &origin),
        ("PAYONCE_UPSTREAM__CONNECT", &origin),
        ("PAYONCE_UPSTREAM__METER_EVENTS", &origin),
    ];
    let set = set.map(|(name, value)| (name.into(), value.into()));
    Settings::load(None, set).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        io::Error::other(all.join("; "))
    })
}
