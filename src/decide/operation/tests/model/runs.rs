//! What is explored, and what the exploration is worth: it finds mistakes made on purpose.

use std::time::{Duration, Instant};

use super::promises::PROPERTIES;
use super::provider::Mood;
use super::search::{Report, explore};
use super::{Config, Mistake, Model};
use crate::decide::identity::Kind;

const SECONDS: &[Duration] = &[Duration::from_secs(20)];
const WINDOW: &[Duration] = &[Duration::from_secs(20), Duration::from_secs(25)];
/// The epoch ends after 21 hours; a key is safe for 23 and remembered for 24; an open record is
/// kept for 8 days, one that is done for 30.
const DAYS: &[Duration] = &[
    Duration::from_mins(22 * 60 - 30),
    Duration::from_hours(2),
    Duration::from_hours(1),
    Duration::from_hours(10 * 24),
    Duration::from_hours(24 * 24),
];

const DECLINES: &[Mood] = &[Mood::DeclineCard, Mood::DeclineRequest];
const FAILURES: &[Mood] =
    &[Mood::Fail { effect: true }, Mood::Fail { effect: false }, Mood::FailEarly];

fn config(name: &'static str, kind: Kind) -> Config {
    Config {
        name,
        kind,
        twins: false,
        window: Duration::ZERO,
        next_after_saved_500: false,
        forgets: false,
        steps_back: false,
        silent: false,
        crashes: false,
        people: false,
        roads: false,
        moods: &[],
        other_card: false,
        faults: 1 + deeper(),
        other_moods: 0,
        asks: 3,
        ticks: SECONDS,
        mistake: None,
    }
}

/// Every family of faults, for one kind of identity.
fn families(kind: Kind, twins: bool) -> Vec<Config> {
    let window = if twins { Duration::from_secs(30) } else { Duration::ZERO };
    let of = |name| Config { twins, window, ..config(name, kind) };
    vec![
        Config { ticks: if twins { WINDOW } else { SECONDS }, people: true, ..of("people") },
        Config { crashes: true, ..of("crashes") },
        Config { roads: true, ..of("roads") },
        Config { moods: DECLINES, other_moods: 2, faults: 0, other_card: !twins, ..of("declines") },
        Config { moods: FAILURES, other_moods: 1, faults: 0, ..of("failures") },
        Config { forgets: true, moods: DECLINES, other_moods: 1, ..of("forgetful store") },
        Config { steps_back: true, ..of("store that steps back") },
        Config { silent: true, ..of("silent store") },
        Config { ticks: DAYS, people: true, ..of("days") },
    ]
}

/// How many more faults are allowed than in the common run.
fn deeper() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a test reads how far it is to go")]
    let depth = std::env::var("PAYONCE_MODEL_DEPTH");
    depth.ok().and_then(|depth| depth.parse().ok()).unwrap_or(0)
}

fn most() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a test reads how far it is to go")]
    let most = std::env::var("PAYONCE_MODEL_STATES");
    most.ok().and_then(|most| most.parse().ok()).unwrap_or(25_000)
}

fn run(config: Config) -> Report {
    let began = Instant::now();
    let name = config.name;
    let report = explore(&Model::new(config), most());
    println!(
        "{name}: {} states, {} transitions, depth {}{}, {} ends tried, {} properties, {:?}",
        report.states,
        report.transitions,
        report.depth,
        if report.cut { " (cut)" } else { "" },
        report.continued,
        PROPERTIES.len(),
        began.elapsed(),
    );
    if let Some(violation) = &report.violation {
        println!("  {} after {} steps:\n{}", violation.what, violation.length, violation.trace);
    }
    report
}

fn all(kind: Kind, twins: bool) {
    for config in families(kind, twins) {
        run(config);
    }
}

#[test]
fn content() {
    all(Kind::Content, false);
}

#[test]
fn twins() {
    all(Kind::Content, true);
}

#[test]
fn header() {
    all(Kind::Header, false);
}

#[test]
fn own_key() {
    all(Kind::OwnKey, false);
}
