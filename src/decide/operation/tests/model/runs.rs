//! What is explored, and what the exploration is worth: it finds mistakes made on purpose.

use std::time::{Duration, Instant};

use super::promises::PROPERTIES;
use super::provider::Mood;
use super::search::{Report, explore};
use super::{Config, Mistake, Model};
use crate::decide::identity::Kind;

const SECONDS: &[Duration] = &[Duration::from_secs(20), Duration::from_secs(25)];
const WINDOW: Duration = Duration::from_secs(30);

const MOODS: &[Mood] = &[
    Mood::DeclineCard,
    Mood::DeclineRequest,
    Mood::Fail { effect: true },
    Mood::Fail { effect: false },
    Mood::FailEarly,
];

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
        crashes: true,
        roads: true,
        moods: MOODS,
        other_card: false,
        faults: 1 + deeper(),
        other_moods: 1,
        asks: 2,
        ticks: SECONDS,
        mistake: None,
    }
}

/// How many more faults are allowed than in the common run.
fn deeper() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a test reads how far it is to go")]
    let depth = std::env::var("PAYONCE_MODEL_DEPTH");
    depth.ok().and_then(|depth| depth.parse().ok()).unwrap_or(0)
}

fn run(config: Config) -> Report {
    let began = Instant::now();
    let name = config.name;
    let report = explore(&Model::new(config), usize::MAX);
    println!(
        "{name}: {} states, {} transitions, depth {}, {} ends tried, {} properties, {:?}",
        report.states,
        report.transitions,
        report.depth,
        report.continued,
        PROPERTIES.len(),
        began.elapsed(),
    );
    if let Some(violation) = &report.violation {
        println!("  {} after {} steps:\n{}", violation.what, violation.length, violation.trace);
    }
    report
}

#[test]
fn first() {
    run(config("content", Kind::Content));
}
