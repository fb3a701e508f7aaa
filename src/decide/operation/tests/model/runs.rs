//! What is explored, and what the exploration is worth: it finds mistakes made on purpose.

use std::time::{Duration, Instant};

use super::Fault::{Crash, Forget, People, Roads, Silence, StepBack};
use super::promises::PROPERTIES;
use super::provider::Mood;
use super::search::{Report, explore};
use super::{Config, Mistake, Model, left};
use crate::decide::identity::Kind;

const SECONDS: &[Duration] = &[Duration::from_secs(20)];
const WINDOW: &[Duration] = &[Duration::from_secs(20), Duration::from_secs(25)];
/// The epoch ends after 21 hours; a key is safe for 23 and remembered for 24; an open record is
/// kept for 8 days, one that is done for 30.
const DAY: &[Duration] =
    &[Duration::from_mins(22 * 60 - 30), Duration::from_hours(2), Duration::from_hours(1)];
const MONTH: &[Duration] = &[
    Duration::from_mins(22 * 60 - 30),
    Duration::from_hours(3),
    Duration::from_hours(10 * 24),
    Duration::from_hours(24 * 24),
];

const DECLINES: &[Mood] = &[Mood::DeclineCard, Mood::DeclineRequest];
const FAILURES: &[Mood] =
    &[Mood::Fail { effect: true }, Mood::Fail { effect: false }, Mood::FailEarly];

/// How much further than in the common run: one more request each, a fault more with every second.
fn deeper() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a test reads how far it is to go")]
    let depth = std::env::var("PAYONCE_MODEL_DEPTH");
    depth.ok().and_then(|depth| depth.parse().ok()).unwrap_or(0)
}

fn config(name: &'static str, kind: Kind) -> Config {
    Config {
        name,
        kind,
        twins: false,
        window: Duration::ZERO,
        next_after_saved_500: false,
        may: &[],
        moods: &[],
        other_card: false,
        faults: 1 + deeper() / 2,
        other_moods: 0,
        asks: (2 + deeper()).min(4),
        ticks: SECONDS,
        mistake: None,
    }
}

/// Where twins share their answers as named operations do, so that only a deeper run looks at both.
const AS_NAMED: [&str; 6] = [
    "crashes",
    "roads",
    "failures, hold",
    "failures, next",
    "store that steps back",
    "store that does not answer",
];

/// Every family of faults, for one kind of identity.
fn families(kind: Kind, twins: bool) -> Vec<Config> {
    let window = if twins { Duration::from_secs(30) } else { Duration::ZERO };
    let of = |name| Config { twins, window, ..config(name, kind) };
    let faults = deeper() / 2;
    let other_card = matches!(kind, Kind::Header | Kind::Fields);
    let next = &FAILURES[1..];
    // A decline that is not saved is not replayed either, when the store has forgotten it.
    let forgotten = if deeper() > 0 { DECLINES } else { &DECLINES[..1] };
    let mut all = vec![
        Config { may: &[People], ..of("people") },
        Config { ticks: WINDOW, faults, may: &[People], ..of("windows") },
        Config { may: &[Crash], ..of("crashes") },
        Config { may: &[Roads], ..of("roads") },
        Config {
            moods: DECLINES,
            other_moods: 2,
            faults,
            may: &[People],
            other_card,
            ..of("declines")
        },
        Config { moods: FAILURES, other_moods: 1, faults, may: &[People], ..of("failures, hold") },
        Config {
            moods: next,
            other_moods: 1,
            faults,
            may: &[People],
            next_after_saved_500: true,
            ..of("failures, next")
        },
        Config { may: &[Forget], moods: forgotten, other_moods: 1, ..of("store that forgets") },
        Config { may: &[StepBack], ..of("store that steps back") },
        Config { may: &[Silence], ..of("store that does not answer") },
        Config { ticks: DAY, may: &[People], ..of("a day") },
        Config { ticks: MONTH, faults, may: &[Crash, People], ..of("a month") },
    ];
    all.retain(|config| deeper() > 0 || !twins || !AS_NAMED.contains(&config.name));
    all
}

/// More than any family has in the common run; a search that comes to it says that it was cut.
const MOST: usize = 3_000_000;

fn run(of: &str, config: Config) -> Report {
    #[expect(clippy::disallowed_methods, reason = "how long a test takes decides nothing")]
    let began = Instant::now();
    let name = config.name;
    let report = explore(&Model::new(config), MOST);
    println!(
        "{of}, {name}: {} states, {} transitions, depth {}{}, {} ends tried, {:?}",
        report.states,
        report.transitions,
        report.depth,
        if report.cut { " (cut)" } else { "" },
        report.continued,
        began.elapsed(),
    );
    if let Some(violation) = &report.violation {
        println!("  {} after {} steps:\n{}", violation.what, violation.length, violation.trace);
    }
    report
}

#[test]
fn every_interleaving_keeps_what_was_promised() {
    let kinds = [
        ("content", Kind::Content, false),
        ("content with twins", Kind::Content, true),
        ("header", Kind::Header, false),
        ("own key", Kind::OwnKey, false),
    ];
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let runs = kinds.map(|(of, kind, twins)| {
            scope.spawn(move || {
                families(kind, twins).into_iter().map(|it| run(of, it)).collect::<Vec<_>>()
            })
        });
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    });
    let states: usize = reports.iter().map(|report| report.states).sum();
    let transitions: usize = reports.iter().map(|report| report.transitions).sum();
    let depth = reports.iter().map(|report| report.depth).max().unwrap();
    let violations = reports.iter().filter(|report| report.violation.is_some()).count();
    let cut = reports.iter().filter(|report| report.cut).count();
    for property in PROPERTIES {
        println!("{property}");
    }
    let (properties, searches) = (PROPERTIES.len(), reports.len());
    let line = format!(
        "model: {states} states, {transitions} transitions, depth {depth}, {properties} \
         properties, {violations} violations, {cut} of {searches} searches cut"
    );
    println!("{line}");
    left::leave([
        ("states", states.into()),
        ("transitions", transitions.into()),
        ("depth", depth.into()),
        ("properties", properties.into()),
        ("violations", violations.into()),
        ("searches", searches.into()),
        ("searches_cut", cut.into()),
        ("line of model", line.into()),
    ]);
    assert_eq!(violations, 0, "see the traces above");
    assert!(deeper() > 0 || cut == 0, "the common run is exhaustive within its bounds");
}

/// The model is worth something only if it finds what is wrong.
#[test]
fn every_mistake_made_on_purpose_is_found() {
    let header = |name| config(name, Kind::Header);
    let content = |name| config(name, Kind::Content);
    let another = Config { other_card: true, ..header("declines") };
    let mistakes: [(Mistake, Config); MISTAKES] = [
        (Mistake::NewKeyPerAttempt, Config { may: &[People], ..header("people") }),
        (Mistake::SettleWithoutCompare, Config { may: &[People], ..header("people") }),
        (Mistake::ClaimOverAll, Config { may: &[People], ..header("people") }),
        (Mistake::DeliveredTooEarly, Config { may: &[People], ..content("people") }),
        (Mistake::TakeOverTheNext, Config { may: &[Crash], ..header("crashes") }),
        (
            Mistake::LeaseNotLookedAt,
            Config { moods: &DECLINES[1..], other_moods: 1, faults: 0, asks: 3, ..another },
        ),
        (Mistake::ReleaseAfterBytes, Config { may: &[People], ..header("people") }),
    ];
    let mut found = 0_usize;
    for (mistake, config) in mistakes {
        let report = explore(&Model::new(Config { mistake: Some(mistake), ..config }), MOST);
        let Some(violation) = report.violation else {
            println!("{mistake:?}: not found in {} states", report.states);
            continue;
        };
        found += 1;
        println!(
            "{mistake:?}: {} after {} steps, {} states",
            violation.what, violation.length, report.states
        );
    }
    let line = format!("mistakes found: {found}/{MISTAKES}");
    println!("{line}");
    left::leave([
        ("mistakes_found", found.into()),
        ("mistakes", MISTAKES.into()),
        ("line of mistakes", line.into()),
    ]);
    assert_eq!(found, MISTAKES);
}

const MISTAKES: usize = 7;
