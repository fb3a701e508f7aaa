//! Real payonce processes, killed, stopped, restarted and cut off from both sides while applications
//! work through them; what happened is counted from the sandbox's books.
//!
//! ```text
//! applications (this process) ─ payonce × n ─ relay ─ sandbox (this process)
//!                                        └── relay ─ the store
//! ```
//!
//! The seed decides what is wanted, by whom, what goes wrong and when in the order of operations;
//! not how the machine schedules it, so a run does not repeat to the letter. `PAYONCE_CHAOS_SEED`,
//! `PAYONCE_CHAOS_SEEDS` (how many) and `PAYONCE_CHAOS_OPERATIONS` (of all seeds together) size it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a helper of tests may fail the test"
)]

mod baselines;
mod cases;
mod client;
mod dice;
mod pods;
mod sdk;
mod secrets;
mod shop;
mod store;
mod stories;
mod storm;

use store::Kept;

use crate::proof::report::{Part, Run, leave, page, size};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_on_its_own_store_keeps_its_promises_while_it_is_killed() {
    let seed = size("PAYONCE_CHAOS_SEED", 1);
    let operations = usize::try_from(size("PAYONCE_CHAOS_OPERATIONS", 300)).unwrap();
    let came = storm::embedded(storm::Plan { seed, operations, at_once: 100 }).await;
    came.kept();
    assert!(came.faults.contains_key("payonce killed"), "{:?}", came.faults);
}

async fn shared(store: Kept) {
    let seed = size("PAYONCE_CHAOS_SEED", 1);
    let operations = usize::try_from(size("PAYONCE_CHAOS_OPERATIONS", 300)).unwrap();
    let plan = storm::Plan { seed, operations, at_once: 60 };
    let came = storm::shared(plan, 3, store).await;
    println!("{:#?}", came.faults);
    came.kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_on_one_redis_keep_their_promises() {
    shared(Kept::Alone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_on_a_redis_that_forgets_keep_their_promises() {
    shared(Kept::Forgetful).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_on_a_redis_that_fails_over_keep_their_promises() {
    shared(Kept::Replicated).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payonce_keeps_what_retries_and_redelivery_alone_break() {
    let seed = size("PAYONCE_CHAOS_SEED", 1);
    let operations = usize::try_from(size("PAYONCE_BASELINE_OPERATIONS", 60)).unwrap();
    let workers = usize::try_from(size("PAYONCE_BASELINE_WORKERS", 3)).unwrap();
    let mut run = Run {
        part: Part::Baselines,
        about: "The same purchases under the same faults at the provider, on the way to it, and \
                with applications that are killed and run their jobs again."
            .to_owned(),
        command: "./tests/prove".to_owned(),
        seeds: vec![seed],
        ..Run::default()
    };
    for how in baselines::How::ALL {
        let (column, faults) = baselines::play(how, seed, operations, workers).await;
        for (kind, times) in faults {
            *run.faults.entry(kind).or_default() += times;
        }
        run.columns.push(column);
    }
    leave(run.part.as_str(), &run);
    let of = |how: baselines::How| {
        let found = run.columns.iter().find(|column| column.who == how.as_str());
        &found.unwrap().all
    };
    println!("{}", page(&[run.clone()], &[]));
    assert_eq!(of(baselines::How::PythonPayonce).broken(), 0);
    let named = of(baselines::How::PythonPayonceNamed);
    assert_eq!((named.broken(), named.duplicates_measured), (0, 0));
    assert!(of(baselines::How::NoKeys).duplicates > 0, "nothing goes wrong in this world");
    assert!(of(baselines::How::Python).duplicates > 0, "nothing goes wrong in this world");
}
