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
mod events;
mod harm;
mod pods;
mod sdk;
mod secrets;
mod shop;
mod store;
mod stories;
mod storm;

use store::Kept;

use crate::proof::report::{Column, Part, Run, command, leave, page, size};

/// Operations of one run at most: longer runs are more seeds.
const MOST: usize = 500;

/// Who shares what, and the name of its column.
const WORLDS: [(&str, Option<Kept>); 5] = [
    ("one process, own store", None),
    ("three, a calm Redis", Some(Kept::Calm)),
    ("three, a Redis cut off", Some(Kept::Alone)),
    ("three, a Redis that forgets", Some(Kept::Forgetful)),
    ("three, fail-overs", Some(Kept::Replicated)),
];

/// What must strike at least so often in 20,000 operations, in proportion in fewer, and once in
/// any run; further each [`events::Harm`], before the provider and before the store, and all that
/// the provider does.
const STRIKES: [(&str, u64); 12] = [
    ("application killed", 1_000),
    ("payonce killed", 200),
    ("payonce stopped past its lease", 40),
    ("rolling restart with drain", 10),
    ("policy edited", 40),
    ("store flushed", 20),
    ("store full", 10),
    ("store killed", 10),
    ("store stood still", 20),
    ("store failed over", 5),
    ("store failed over to a stale replica", 10),
    ("provider: saved500", 40),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_killed_stopped_and_cut_off_keep_their_promises() {
    let first = size("PAYONCE_CHAOS_SEED", 1);
    let mut left = usize::try_from(size("PAYONCE_CHAOS_OPERATIONS", 500)).unwrap();
    let mut columns: Vec<Column> = WORLDS.iter().map(|(who, _)| Column::new(who)).collect();
    let mut run = Run {
        part: Part::Chaos,
        about:
            "payonce processes before a provider that fails: killed, stopped past their leases, \
                restarted one after the other, given other policies, and cut off from the \
                provider. Their store is cut off, flushed, killed, full, or replaced by a replica \
                that missed writes. The applications die in the middle of requests and answers, \
                and run their jobs again at any of the processes."
                .to_owned(),
        command: command(),
        columns: vec![Column::new("payonce")],
        ..Run::default()
    };
    let mut all = Vec::new();
    while left > 0 {
        let seed = first + u64::try_from(run.seeds.len()).unwrap();
        run.seeds.push(seed);
        let operations = left.div_ceil(WORLDS.len()).min(MOST);
        left = left.saturating_sub(operations * WORLDS.len());
        let plan = storm::Plan { seed, operations, at_once: 24 };
        let worlds = WORLDS.map(|(_, store)| tokio::task::spawn(storm::play(plan, store)));
        for (column, world) in columns.iter_mut().zip(worlds) {
            let came = world.await.unwrap();
            run.columns[0].add(&came.operations, &came.effects);
            column.add(&came.operations, &came.effects);
            for (kind, times) in &came.faults {
                *run.faults.entry(kind.clone()).or_default() += times;
            }
            all.push(came.judged());
        }
    }
    // What keys and stories came to is told once, of all worlds together.
    columns.iter_mut().for_each(Column::forget_groups);
    run.columns.append(&mut columns);
    run.notes = notes(&run.columns[0]);
    leave(run.part.as_str(), &run);
    for judged in all {
        judged.kept();
    }
    assert_eq!(missing(&run), Vec::<String>::new(), "struck too seldom: {:?}", run.faults);
}

/// What the table leaves open.
fn notes(payonce: &Column) -> Vec<String> {
    let held = payonce.by_workload.get(stories::HELD).map_or(0, |it| it.operations);
    vec![format!(
        "waiting for a person: {held} operations whose outcome the provider keeps to itself (a 500 \
         that it replays for their key), as `indeterminate = \"hold\"` says"
    )]
}

/// What struck less often than it must.
fn missing(run: &Run) -> Vec<String> {
    let operations = u64::try_from(run.columns[0].all.operations).unwrap();
    let of_relays = ["upstream", "store"]
        .into_iter()
        .flat_map(|side| events::Harm::ALL.map(|harm| format!("{side} {}", harm.as_str())));
    let of_provider = storm::faults();
    let of_provider = of_provider.iter().map(|fault| format!("provider: {}", fault.kind.name()));
    let once = of_relays.chain(of_provider).map(|kind| (kind, 1));
    STRIKES
        .into_iter()
        .map(|(kind, times)| (kind.to_owned(), (times * operations / 20_000).max(1)))
        .chain(once)
        .filter(|(kind, least)| run.faults.get(kind).copied().unwrap_or_default() < *least)
        .map(|(kind, _)| kind)
        .collect()
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
        command: command(),
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
