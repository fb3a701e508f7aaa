//! How long it takes to judge a request, and to read a policy: `cargo bench`.
//!
//! Besides criterion's times, it prints judging against 1,000 rules as a multiple of judging against
//! the shipped policy. Both are measured in turns within one run, so that a machine that slows down
//! meanwhile slows both; what a time is worth on another machine nobody knows.
#![allow(missing_docs, reason = "nobody calls a benchmark")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion};
use http::Method;
use payonce::decide::path::Target;
use payonce::decide::policy::Policy;
use payonce::policy_file::SHIPPED;

/// Turns of the comparison; each measures every policy once.
const TURNS: usize = 101;

/// How often all requests are judged in one turn.
const ROUNDS: u32 = 50;

fn main() {
    let shipped = policy(SHIPPED);
    let thousand = policy(&rules(1_000));
    let mut criterion = Criterion::default().configure_from_args();
    let requests = requests();
    for (name, policy) in [("shipped", &shipped), ("1,000 rules", &thousand)] {
        criterion.bench_function(&format!("judge {} requests, {name}", requests.len()), |bench| {
            bench.iter(|| judge(policy, &requests));
        });
    }
    criterion.bench_function("read a target and judge it, shipped", |bench| {
        bench.iter(|| {
            let target = Target::parse(black_box("/v1/payment_intents/pi_1/capture"));
            target.map(|target| shipped.judge(&Method::POST, &target).line)
        });
    });
    for (name, text) in [("shipped", SHIPPED.to_owned()), ("1,000 rules", rules(1_000))] {
        criterion.bench_function(&format!("read the policy, {name}"), |bench| {
            bench.iter_batched(|| text.clone(), |text| Policy::parse(&text), BatchSize::LargeInput);
        });
    }
    criterion.final_summary();
    compare(&shipped, &thousand, &requests);
}

/// Judges all requests; what comes of it keeps the compiler from leaving it out.
fn judge(policy: &Policy, requests: &[(Method, Target)]) -> usize {
    requests
        .iter()
        .map(|(method, target)| policy.judge(black_box(method), black_box(target)).line)
        .sum()
}

/// Prints how much longer judging takes with more rules.
fn compare(shipped: &Policy, thousand: &Policy, requests: &[(Method, Target)]) {
    let (mut few, mut many) = (Vec::with_capacity(TURNS), Vec::with_capacity(TURNS));
    for _ in 0..TURNS {
        few.push(timed(|| judge(shipped, requests)));
        many.push(timed(|| judge(thousand, requests)));
    }
    let (few, many) = (median(few), median(many));
    println!("one request, {} rules: {:.0} ns", shipped.rules().len(), each(few, requests));
    println!("one request, {} rules: {:.0} ns", thousand.rules().len(), each(many, requests));
    println!("1,000 rules / shipped = {:.2}x", many.as_secs_f64() / few.as_secs_f64());
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]
fn timed(judged: impl Fn() -> usize) -> Duration {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(judged());
    }
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Nanoseconds for one request.
fn each(turn: Duration, requests: &[(Method, Target)]) -> f64 {
    let judged = f64::from(ROUNDS) * f64::from(u32::try_from(requests.len()).unwrap_or(u32::MAX));
    turn.as_secs_f64() * 1e9 / judged
}

fn policy(text: &str) -> Policy {
    Policy::parse(text).unwrap_or_else(|problems| {
        let problems: String = problems.iter().map(ToString::to_string).collect();
        eprintln!("{problems}");
        std::process::exit(1)
    })
}

/// A policy of so many rules: the shipped one, and others that requests must be told apart from.
fn rules(count: usize) -> String {
    // In front, where they come before rules that match everything.
    let (head, shipped) = SHIPPED.split_once("\n[[rule]]").unwrap_or((SHIPPED, ""));
    let mut text = format!("{head}\n");
    let missing = count.saturating_sub(policy(SHIPPED).rules().len());
    for n in 0..missing {
        let path = match n % 3 {
            0 => format!("POST /v1/charges/{{charge}}/more_{n}"),
            1 => format!("POST /v1/own_{n}/**"),
            _ => format!("* /v2/own/{{id}}/part_{n}"),
        };
        let class = "class = \"refuse\"";
        writeln!(text, "[[rule]]\nname = \"own_{n}\"\nmatch = [\"{path}\"]\n{class}")
            .unwrap_or_default();
    }
    text + "\n[[rule]]" + shipped
}

/// What an application sends: operations of Stripe's, each once, ids filled in.
fn requests() -> Vec<(Method, Target)> {
    let operations = include_str!("../config/operations.tsv").lines().skip(1);
    operations
        .filter_map(|line| {
            let mut columns = line.split('\t');
            let method = Method::from_bytes(columns.next()?.as_bytes()).ok()?;
            let path = columns.next()?.replace(['{', '}'], "_");
            Some((method, Target::parse(&path).ok()?))
        })
        .collect()
}
