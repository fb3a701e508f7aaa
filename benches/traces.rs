//! What traces and metrics cost a request: `cargo bench --features otlp --bench traces`.
//!
//! Three payonces stand side by side in one run: one that exports no traces, one whose traces are not
//! sampled, one that exports all of them to a collector. Each works on a thread of its own, with a
//! memory store, before a provider that answers at once; a client asks them in turns, each time for
//! another charge. What counts is the processor time of each one's thread, as the system counts it,
//! and of that the ratio: a machine that is busy with other things slows down the wall clock, not
//! this. Log lines are not written. Without the feature only the first of the three can be had.
//!
//! Metrics cannot be switched off. So the events that a request leaves in them are counted, and
//! timed one by one.
#![allow(missing_docs, reason = "nobody calls a benchmark")]

use std::error::Error;
use std::ffi::OsString;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use payonce::assembly::Assembly;
use payonce::clock::Clock;
use payonce::metrics::Metrics;
use payonce::server::{Local, Shutdown};
use payonce::settings::Settings;

type Failure = Box<dyn Error + Send + Sync>;

/// Turns of the comparison, and requests to each payonce in one of them.
const TURNS: u32 = 200;
const REQUESTS: u32 = 50;

/// Metric events that are timed.
const EVENTS: u32 = 1_000_000;

const POLICY: &str = "version = 1\n[[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\n\
    class = \"critical\"\nidentity = \"content\"\ndistinguishes = [\"source\"]\n";

const CHARGED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
    request-id: req_1\r\ncontent-length: 31\r\n\r\n{\"id\":\"ch_1\",\"object\":\"charge\"}";
/// An answer of nothing is one that took all.
const TAKEN: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";

fn main() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let policy = directory.path().join("policy.toml");
    std::fs::write(&policy, POLICY)?;
    let provider = serve(CHARGED)?;
    let settings = |more: &[(&str, &str)]| settings(&policy, provider, more);
    let mut ways = vec![Way::start("no traces", settings(&[])?)?];
    if cfg!(feature = "otlp") {
        let endpoint = format!("http://{}", serve(TAKEN)?);
        let collector = ("TRACING__OTLP_ENDPOINT", endpoint.as_str());
        let none = settings(&[collector, ("TRACING__SAMPLE_RATIO", "0.0")])?;
        ways.push(Way::start("not sampled", none)?);
        ways.push(Way::start("exported", settings(&[collector])?)?);
    } else {
        println!("built without the feature otlp: traces are not compared");
    }
    for way in &mut ways {
        way.ask(REQUESTS)?;
        way.begin()?;
    }
    for _ in 0..TURNS {
        for way in &mut ways {
            way.turn()?;
        }
        // Whoever comes first in a turn comes last in the next.
        ways.rotate_left(1);
    }
    // The last batch is on its way for a second.
    thread::sleep(Duration::from_secs(2));
    ways.sort_by_key(|way| way.started);
    show(ways)
}

/// Prints what was measured, the first of the ways being that which the others are compared with.
fn show(ways: Vec<Way>) -> Result<(), Failure> {
    let mut base: Option<Measured> = None;
    println!("a charge, {} of each, processor time and median on the wall:", TURNS * REQUESTS);
    for way in ways {
        let now = way.measured()?;
        let name = way.name;
        let (cpu, wall) = (micros(now.cpu), micros(now.wall));
        let than = base.unwrap_or(now);
        let (more, slower) = (ratio(now.cpu, than.cpu), ratio(now.wall, than.wall));
        println!("  {name:<12} {cpu:>8.1} µs {more:>5.2}x  {wall:>8.1} µs {slower:>5.2}x");
        if base.is_none() {
            let events = metrics_of_a_request(now.events);
            let (count, took, share) = (now.events, micros(events), 100.0 * ratio(events, now.cpu));
            println!("  {count:.1} metric events of it: {took:.1} µs, {share:.1} % of that time");
            base = Some(now);
        }
        if now.spans > 0.0 {
            println!("  {:.1} spans each; {} dropped in all", now.spans, now.dropped);
        }
        way.stop()?;
    }
    Ok(())
}

/// A payonce on a thread of its own, and a connection to it.
struct Way {
    name: &'static str,
    started: Instant,
    metrics: Metrics,
    task: PathBuf,
    shutdown: Shutdown,
    thread: JoinHandle<()>,
    client: BufReader<TcpStream>,
    asked: u32,
    before: Counted,
    turns: Vec<Duration>,
}

/// What a payonce has used and counted so far.
#[derive(Clone, Copy, Default)]
struct Counted {
    cpu: Duration,
    events: f64,
    spans: f64,
    dropped: f64,
}

/// For one request.
#[derive(Clone, Copy)]
struct Measured {
    cpu: Duration,
    wall: Duration,
    events: f64,
    spans: f64,
    /// In all.
    dropped: f64,
}

/// What a payonce that runs tells of itself.
struct Up {
    address: SocketAddr,
    metrics: Metrics,
    shutdown: Shutdown,
    task: PathBuf,
}

impl Way {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]
    fn start(name: &'static str, settings: Settings) -> Result<Self, Failure> {
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            let told = tell.clone();
            if let Err(failed) = run(settings, move |up| told.send(Ok(up)).is_ok()) {
                // Nobody hears of it only if the benchmark is over.
                tell.send(Err(failed)).unwrap_or_default();
            }
        });
        let up: Up = told.recv()??;
        let stream = TcpStream::connect(up.address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            name,
            started: Instant::now(),
            metrics: up.metrics,
            task: up.task,
            shutdown: up.shutdown,
            thread,
            client: BufReader::new(stream),
            asked: 0,
            before: Counted::default(),
            turns: Vec::new(),
        })
    }

    /// Charges so many times.
    fn ask(&mut self, times: u32) -> Result<(), Failure> {
        for _ in 0..times {
            self.asked += 1;
            let body = format!("amount=500&currency=usd&source=tok_{}", self.asked);
            let request = format!(
                "POST /v1/charges HTTP/1.1\r\nhost: api.stripe.com\r\nauthorization: Bearer \
                 sk_test_1\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
            self.client.get_mut().write_all(request.as_bytes())?;
            let status = message(&mut self.client)?.unwrap_or_default();
            if !status.contains(" 200 ") {
                return Err(format!("a charge was answered with {status:?}").into());
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Failure> {
        self.before = self.counted()?;
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]
    fn turn(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        self.ask(REQUESTS)?;
        self.turns.push(began.elapsed() / REQUESTS);
        Ok(())
    }

    fn counted(&self) -> Result<Counted, Failure> {
        let text = self.metrics.encode();
        let of_spans = "payonce_trace_spans_total";
        Ok(Counted {
            cpu: used(&self.task)?,
            events: sum(&text, |name| {
                let event = name.contains("_total") || name.contains("_count");
                event && !name.starts_with("process_") && !name.starts_with(of_spans)
            }),
            spans: sum(&text, |name| name.starts_with(of_spans)),
            dropped: sum(&text, |name| name.starts_with(of_spans) && name.contains("dropped")),
        })
    }

    fn measured(&self) -> Result<Measured, Failure> {
        let (before, now) = (self.before, self.counted()?);
        let requests = f64::from(TURNS * REQUESTS);
        let mut turns = self.turns.clone();
        turns.sort_unstable();
        Ok(Measured {
            cpu: now.cpu.saturating_sub(before.cpu) / (TURNS * REQUESTS),
            wall: turns.get(turns.len() / 2).copied().unwrap_or_default(),
            events: (now.events - before.events) / requests,
            spans: (now.spans - before.spans) / requests,
            dropped: now.dropped,
        })
    }

    fn stop(self) -> Result<(), Failure> {
        drop(self.client);
        self.shutdown.first.cancel();
        self.thread.join().map_err(|_panicked| "a payonce panicked".into())
    }
}

/// One payonce, until it is told to stop.
fn run(settings: Settings, up: impl FnOnce(Up) -> bool) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let assembly = Assembly::build(settings, Clock::System).await?;
        let Some(Local::Tcp(address)) = assembly.local().into_iter().next() else {
            return Err("it does not listen".into());
        };
        let told = Up {
            address,
            metrics: assembly.metrics().clone(),
            shutdown: assembly.shutdown().clone(),
            task: Path::new("/proc").join(std::fs::read_link("/proc/thread-self")?),
        };
        if up(told) {
            assembly.run().await;
        }
        Ok(())
    })
}

fn settings(
    policy: &Path,
    provider: SocketAddr,
    more: &[(&str, &str)],
) -> Result<Settings, Failure> {
    let (policy, provider) = (policy.display().to_string(), format!("http://{provider}"));
    let all = [
        ("LISTEN__PROXY", "127.0.0.1:0"),
        ("LISTEN__ADMIN", "off"),
        ("LISTEN__HEALTH", "off"),
        ("UPSTREAM__API", &provider),
        ("STORE__KIND", "memory"),
        ("POLICY__PATH", &policy),
    ];
    let variable = |(name, value): &(&str, &str)| {
        (OsString::from(format!("PAYONCE_{name}")), OsString::from(value))
    };
    let variables: Vec<_> = all.iter().chain(more).map(variable).collect();
    Settings::load(None, variables).map_err(|problems| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into()
    })
}

/// The processor time that a thread has used: its first number in `schedstat`, in nanoseconds.
fn used(task: &Path) -> Result<Duration, Failure> {
    let text = std::fs::read_to_string(task.join("schedstat"))?;
    let nanos = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanos))
}

/// All samples in a scrape whose name and labels are wanted.
fn sum(text: &str, wanted: impl Fn(&str) -> bool) -> f64 {
    let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    samples.filter(|(name, _)| wanted(name)).filter_map(|(_, n)| n.parse::<f64>().ok()).sum()
}

/// How long it takes to note so many events: half of them counted, half of them timed.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]
fn metrics_of_a_request(events: f64) -> Duration {
    let metrics = Metrics::new();
    let began = Instant::now();
    for n in 0..EVENTS / 2 {
        metrics.row(black_box("A1"));
        metrics.ledger_round_trip(black_box("claim"), Duration::from_micros(u64::from(n)));
    }
    (began.elapsed() / EVENTS).mul_f64(events)
}

/// Answers every request on every connection with the same.
fn serve(answer: &'static [u8]) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer_all(stream, answer));
        }
    });
    Ok(address)
}

fn answer_all(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while message(&mut reader)?.is_some() {
        stream.write_all(answer)?;
    }
    Ok(())
}

/// Reads a head, and the body that it announces: its first line, or nothing at the end.
fn message(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let (mut first, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        first.get_or_insert_with(|| line.to_owned());
    }
    io::copy(&mut reader.take(length), &mut io::sink())?;
    Ok(first)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}
