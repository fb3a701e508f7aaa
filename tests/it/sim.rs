//! A deterministic simulation: the real exchange, forward and ledger code of several pods on a clock,
//! a network, a store and a provider that a seed decides about. The oracle is what the sandbox
//! executed, never payonce's word. A seed replays its run exactly.
//!
//! The long run: `PAYONCE_SIM_OPERATIONS=1000000 cargo test --release --features seams --test it
//! sim::`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a helper of tests may fail the test"
)]

mod app;
mod chaos;
mod ears;
mod judge;
mod pod;
mod run;
mod sky;
mod store;
mod wire;
mod work;

use chaos::Climate;
use run::{Size, play};

const SMALL: Size = Size { operations: 150, pods: 3 };

#[test]
fn a_seed_replays_its_run_exactly() {
    let once = play(6, Climate::of(6), SMALL);
    let again = play(6, Climate::of(6), SMALL);
    if once.digest != again.digest {
        for (one, other) in once.last.iter().zip(&again.last) {
            println!("{one}\n{other}");
        }
    }
    assert_eq!(once.digest, again.digest);
    assert_ne!(once.digest, play(13, Climate::of(13), SMALL).digest);
}

#[test]
fn what_is_promised_holds_in_every_climate() {
    let mut wrong = 0;
    for seed in 0..14 {
        let ran = play(seed, Climate::of(seed), SMALL);
        let judged = &ran.judged;
        println!("seed {seed} {} {:?} {} sends", ran.climate.name, judged.verdict, ran.sends);
        println!("   {:?} {:?}", ran.faults, judged.excused);
        for what in judged.wrong() {
            wrong += 1;
            println!("   WRONG {what}");
        }
    }
    assert_eq!(wrong, 0);
}
