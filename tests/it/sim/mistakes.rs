//! Mistakes planted in the product, one at a time: a harness that does not find them proves nothing.

use payonce::seams::{Mistake, with_mistake};

use super::chaos::Climate;
use super::run::{Size, play};

/// Most seeds that are played for one mistake.
const SEEDS: u64 = 70;
const SIZE: Size = Size { operations: 300, pods: 3 };

/// Those whose harm shows in the simulation. The others are found elsewhere.
fn sought() -> impl Iterator<Item = Mistake> {
    Mistake::ALL.iter().copied()
}

/// The first seed that shows the mistake, and how.
fn found(mistake: Mistake) -> Option<(u64, String)> {
    let _planted = with_mistake(mistake);
    (0..SEEDS).find_map(|seed| {
        let ran = play(seed, Climate::of(seed), SIZE);
        ran.judged.wrong().into_iter().next().map(|what| (seed, what))
    })
}

#[test]
fn every_planted_mistake_is_found() {
    let mut missed = Vec::new();
    let mut count = 0;
    for mistake in sought() {
        count += 1;
        match found(mistake) {
            Some((seed, what)) => {
                let what: String = what.chars().take(160).collect();
                println!("{}: seed {seed}: {what}", mistake.as_str());
            }
            None => missed.push(mistake.as_str()),
        }
    }
    println!("{} of {count} planted mistakes were found", count - missed.len());
    assert_eq!(missed, Vec::<&str>::new());
}
