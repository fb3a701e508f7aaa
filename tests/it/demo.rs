//! `payonce demo`, small: two columns on real sockets, each on a clock of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

use payonce::cli::Demo;
use payonce::demo;

/// The table, and whether the promise was kept.
async fn play(seed: u64, operations: u32) -> (String, bool) {
    let mut out = Vec::new();
    let kept = Box::pin(demo::run(&Demo { seed, operations }, &mut out)).await.unwrap();
    (String::from_utf8(out).unwrap(), kept)
}

/// The two figures of a row.
fn row(table: &str, label: &str) -> [u64; 2] {
    let line = table.lines().find(|line| line.trim_start().starts_with(label));
    let line = line.unwrap_or_else(|| panic!("no row {label:?} in\n{table}"));
    let mut figures = line.split_whitespace().rev().map(|figure| figure.parse().unwrap());
    let through = figures.next().unwrap();
    [figures.next().unwrap(), through]
}

#[tokio::test]
async fn the_same_day_harms_an_application_and_not_one_behind_payonce() {
    let (table, kept) = play(SEED, 60).await;
    assert!(kept, "{table}");
    assert_eq!(row(&table, "operations"), [60, 60]);
    let [straight, through] = row(&table, "charged twice");
    assert!(straight > 0, "{table}");
    assert_eq!(through, 0, "{table}");
    for harm in ["refunded twice", "executed though", "merged by mistake", "locked out"] {
        assert_eq!(row(&table, harm)[1], 0, "{table}");
    }
}

#[tokio::test]
async fn the_same_seed_prints_the_same_table_and_another_does_not() {
    let (first, _) = play(SEED, 60).await;
    let (second, _) = play(SEED, 60).await;
    assert_eq!(first, second);
    assert_ne!(first, play(SEED + 1, 60).await.0);
}

/// One whose keys are all told apart from the application's own.
const SEED: u64 = 4;
