//! Seeded mistakes, and whether the simulation finds them: each is made in run after run until the
//! verdict says that a promise or an invariant is broken.
//!
//! That nothing is found without a mistake is shown on the same seeds beside this
//! (`what_is_promised_holds_in_every_climate`).

use std::sync::Mutex;

use payonce::seams::{Mistake, with_mistake};

use super::chaos::Climate;
use super::run::{Size, play};

/// How many runs a mistake may go unnoticed.
const SEEDS: u64 = 42;
/// How many mistakes are made at the same time, each on a thread of its own.
const AT_ONCE: usize = 2;

const SMALL: Size = Size { operations: 150, pods: 3 };

/// How a mistake showed.
struct Caught {
    seeds: u64,
    operations: usize,
    climate: &'static str,
    what: String,
}

fn made(mistake: Mistake) -> Option<Caught> {
    let _planted = with_mistake(mistake);
    let mut operations = 0;
    (0..SEEDS).find_map(|seed| {
        let climate = Climate::of(seed);
        let ran = play(seed, climate, SMALL);
        let verdict = &ran.judged.verdict;
        operations += verdict.operations;
        let mut wrong = ran.judged.wrong();
        if !verdict.mostly_succeeded() {
            wrong.push(format!("only {} of {} succeeded", verdict.succeeded, verdict.operations));
        }
        let what = wrong.into_iter().next()?;
        Some(Caught { seeds: seed + 1, operations, climate: climate.name, what })
    })
}

#[test]
fn the_simulation_finds_every_seeded_mistake() {
    let (work, results) = (Mutex::new(Mistake::ALL.to_vec()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(mistake) = work.lock().unwrap().pop() else { return };
                    let caught = made(mistake);
                    results.lock().unwrap().push((mistake, caught));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(mistake, _)| *mistake);
    for (mistake, caught) in &results {
        let name = mistake.as_str();
        match caught {
            Some(Caught { seeds, operations, climate, what }) => {
                println!("{name}: after {operations} operations, {seeds} seeds ({climate}): {what}")
            }
            None => println!("{name}: not caught in {SEEDS} seeds"),
        }
    }
    let missed: Vec<_> =
        results.iter().filter(|it| it.1.is_none()).map(|it| it.0.as_str()).collect();
    println!("mistakes caught: {} of {}", results.len() - missed.len(), Mistake::ALL.len());
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
