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

mod cases;
mod client;
mod dice;
mod pods;
mod sdk;
mod secrets;
mod shop;
mod stories;
mod storm;

use crate::proof::report::size;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_on_its_own_store_keeps_its_promises_while_it_is_killed() {
    let seed = size("PAYONCE_CHAOS_SEED", 1);
    let operations = usize::try_from(size("PAYONCE_CHAOS_OPERATIONS", 300)).unwrap();
    let came = storm::embedded(storm::Plan { seed, operations, at_once: 100 }).await;
    came.kept();
}
