//! Mistakes planted in the product, one at a time: a harness that does not find them proves nothing.

use payonce::seams::{Mistake, with_mistake};

use super::chaos::Climate;
use super::run::{Size, play};

/// Most seeds that are played for one mistake: `PAYONCE_SIM_MISTAKES=70` for the long search.
const SEEDS: u64 = 14;
const SIZE: Size = Size { operations: 300, pods: 3 };

/// Those that one of the first seeds shows; the others want a long search.
const EASY: [Mistake; 8] = [
    Mistake::NewKeyPerRetry,
    Mistake::ClaimOverwrites,
    Mistake::PutBackAfterBytes,
    Mistake::DeliveredTooEarly,
    Mistake::SuccessForEver,
    Mistake::KeyWithoutOccurrence,
    Mistake::LeaseIgnored,
    Mistake::MemoryOverStore,
];

/// The first seed that shows the mistake, and how.
fn found(mistake: Mistake, seeds: u64) -> Option<(u64, String)> {
    let _planted = with_mistake(mistake);
    (0..seeds).find_map(|seed| {
        let ran = play(seed, Climate::of(seed), SIZE);
        ran.judged.wrong().into_iter().next().map(|what| (seed, what))
    })
}

#[test]
fn every_planted_mistake_is_found() {
    let long = std::env::var("PAYONCE_SIM_MISTAKES").ok();
    let seeds = long.as_ref().map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let sought = if long.is_some() { Mistake::ALL } else { &EASY };
    let mut missed = Vec::new();
    for mistake in sought.iter().copied() {
        match found(mistake, seeds) {
            Some((seed, what)) => {
                let what: String = what.chars().take(160).collect();
                println!("{}: seed {seed}: {what}", mistake.as_str());
            }
            None => missed.push(mistake.as_str()),
        }
    }
    let count = sought.len();
    println!("{} of {count} planted mistakes were found", count - missed.len());
    assert_eq!(missed, Vec::<&str>::new());
}
