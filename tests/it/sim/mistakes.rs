//! Seeded mistakes, and whether the simulation finds them: each is made in run after run until the
//! verdict says that a promise or an invariant is broken. A seed that is not sound without the
//! mistake counts for nothing.
//!
//! The long run: `PAYONCE_SIM_MISTAKES=500 cargo test --release --features seams --test it
//! sim::mistakes`, of one mistake alone with `PAYONCE_SIM_MISTAKE=lease_ignored` before it.

use std::sync::{Mutex, OnceLock};

use payonce::seams::{Mistake, with_mistake};

use super::chaos::Climate;
use super::run::{Size, play};
use crate::proof::report::Lines;

/// How many seeds a mistake may go unnoticed, unless `PAYONCE_SIM_MISTAKES` says otherwise.
const SEEDS: u64 = 28;
/// How many mistakes are made at the same time, each on a thread of its own.
const AT_ONCE: usize = 2;

const SMALL: Size = Size { operations: 150, pods: 3 };

/// What takes two pods within milliseconds, or a store or a provider that fails at the wrong moment,
/// and then a request that derived keys do not heal: too rare for a short run.
/// `tests/it/mistakes.rs` has a precise scenario for each mistake, these among them.
const RARE: [Mistake; 5] = [
    Mistake::UnknownErased,
    Mistake::VersionIgnored,
    Mistake::SettleByNonOwner,
    Mistake::StoreErrorSwallowed,
    Mistake::EditUnannounced,
];

/// How a mistake showed.
struct Caught {
    seeds: u64,
    operations: usize,
    climate: &'static str,
    what: String,
}

/// The first thing that is wrong in a run, and how much was asked for.
fn wrong(seed: u64) -> (usize, Option<String>) {
    let ran = play(seed, Climate::of(seed), SMALL);
    let verdict = &ran.judged.verdict;
    let few = || format!("only {} of {} succeeded", verdict.succeeded, verdict.operations);
    let few = (!verdict.mostly_succeeded()).then(few);
    (verdict.operations, ran.judged.wrong().into_iter().next().or(few))
}

fn made(mistake: Mistake, sound: &[OnceLock<bool>]) -> Option<Caught> {
    let mut operations = 0;
    for (seed, sound) in (0..).zip(sound) {
        let planted = with_mistake(mistake);
        let (more, found) = wrong(seed);
        drop(planted);
        operations += more;
        let Some(what) = found else { continue };
        if *sound.get_or_init(|| wrong(seed).1.is_none()) {
            let climate = Climate::of(seed).name;
            return Some(Caught { seeds: seed + 1, operations, climate, what });
        }
    }
    None
}

#[test]
fn the_simulation_finds_the_seeded_mistakes() {
    let long = std::env::var("PAYONCE_SIM_MISTAKES").ok();
    let seeds = long.as_ref().map_or(SEEDS, |text| text.parse().expect("a number of seeds"));
    let one = std::env::var("PAYONCE_SIM_MISTAKE").ok();
    let tried = Mistake::ALL.iter().filter(|it| long.is_some() || !RARE.contains(it));
    let tried = tried.filter(|it| one.as_ref().is_none_or(|name| name == it.as_str()));
    let sound: Vec<OnceLock<bool>> = (0..seeds).map(|_| OnceLock::new()).collect();
    let (work, results) = (Mutex::new(tried.copied().collect::<Vec<_>>()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(mistake) = work.lock().unwrap().pop() else { return };
                    let caught = made(mistake, &sound);
                    results.lock().unwrap().push((mistake, caught));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(mistake, _)| *mistake);
    let mut missed = Vec::new();
    let mut lines = Vec::new();
    for (mistake, caught) in &results {
        let name = mistake.as_str();
        if let Some(Caught { seeds, operations, climate, what }) = caught {
            let what: String = what.chars().take(100).collect();
            lines.push(format!(
                "{name}: after {operations} operations, {seeds} seeds ({climate}): {what}"
            ));
        } else {
            lines.push(format!("{name}: not in {seeds} seeds"));
            missed.push(*mistake);
        }
    }
    let caught = results.len() - missed.len();
    let line = format!("mistakes caught by the simulation: {caught} of {}", results.len());
    println!("{}\n{line}", lines.join("\n"));
    lines.insert(0, line);
    Lines::leave("mistakes-simulated", "Seeded mistakes, in the simulation", lines);
    missed.retain(|mistake| !RARE.contains(mistake));
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
