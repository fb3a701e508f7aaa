//! What the runs found, as a page for people: `tests/RESULTS.md`.
//!
//! Every run (the simulation, the processes, the baselines) leaves a [`Run`] in `target/proof/`; the
//! model and the seeded mistakes leave [`Lines`] there. [`page`] makes the page of what lies there,
//! so that no figure of it was typed by a person. `tests/prove` runs all of it at full length.
#![allow(dead_code, reason = "each kind of run fills in its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use payonce::sandbox::Effect;
use serde::{Deserialize, Serialize};

use super::verdict::{Operation, Verdict, verdict};

mod page;

pub(crate) use page::page;

/// What one harness found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Its place on the page.
    pub(crate) part: Part,
    /// What was done, in a sentence or two.
    pub(crate) about: String,
    /// How to do it again.
    pub(crate) command: String,
    /// What it was seeded with.
    pub(crate) seeds: Vec<u64>,
    /// Faults that struck, by kind.
    pub(crate) faults: BTreeMap<String, u64>,
    /// payonce, and whoever was held against it on the same seeds.
    pub(crate) columns: Vec<Column>,
    /// What else is worth a line.
    pub(crate) notes: Vec<String>,
}

/// Where a run stands on the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Real processes, killed, stopped and cut off.
    #[default]
    Chaos,
    /// The same seeds without payonce.
    Baselines,
    /// The real code with simulated time, network and store.
    Simulation,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Chaos, Self::Baselines, Self::Simulation];

    /// The name of its file.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Chaos => "chaos",
            Self::Baselines => "baselines",
            Self::Simulation => "simulation",
        }
    }
}

/// Lines that a proof without applications prints: the model, the seeded mistakes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Lines {
    pub(crate) title: String,
    pub(crate) command: String,
    pub(crate) found: Vec<String>,
}

/// The names of the files of [`Lines`], in the page's order.
const LINES: [&str; 5] = ["model", "kills", "kills-redis", "mistakes", "mistakes-simulated"];

/// The figures of one way to call the provider, over all seeds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Column {
    /// "payonce", "no keys", …
    pub(crate) who: String,
    pub(crate) all: Figures,
    /// By the shape of the client's keys.
    pub(crate) by_keys: BTreeMap<String, Figures>,
    /// By the story that the operations were part of.
    pub(crate) by_workload: BTreeMap<String, Figures>,
}

impl Lines {
    /// Leaves them in the file of that name for the page.
    pub(crate) fn leave(name: &str, title: &str, found: Vec<String>) {
        leave(name, &Self { title: title.to_owned(), command: command(), found });
    }
}

impl Column {
    /// A column without figures.
    pub(crate) fn new(who: &str) -> Self {
        Self { who: who.to_owned(), ..Self::default() }
    }

    /// A column of sums that were judged elsewhere.
    pub(crate) fn of_verdict(who: &str, verdict: &Verdict) -> Self {
        let mut column = Self::new(who);
        column.all.add(verdict);
        column
    }

    /// Keeps the sums alone.
    pub(crate) fn forget_groups(&mut self) {
        self.by_keys.clear();
        self.by_workload.clear();
    }

    /// Adds what became of the operations of one seed.
    pub(crate) fn add(&mut self, operations: &[Operation], effects: &[Effect]) {
        self.all.add(&verdict(operations, effects));
        let mut by_keys: BTreeMap<&str, Vec<Operation>> = BTreeMap::new();
        let mut by_workload: BTreeMap<&str, Vec<Operation>> = BTreeMap::new();
        for operation in operations {
            by_keys.entry(operation.keys.as_str()).or_default().push(operation.clone());
            by_workload.entry(operation.workload).or_default().push(operation.clone());
        }
        for (groups, figures) in
            [(by_keys, &mut self.by_keys), (by_workload, &mut self.by_workload)]
        {
            for (name, operations) in groups {
                figures.entry(name.to_owned()).or_default().add(&verdict(&operations, effects));
            }
        }
    }
}

/// What was counted; [`Verdict`] says what each means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) operations: usize,
    pub(crate) succeeded: usize,
    pub(crate) declined: usize,
    pub(crate) duplicates: usize,
    pub(crate) duplicates_measured: usize,
    pub(crate) lost_answers: usize,
    pub(crate) hollow: usize,
    pub(crate) false_merges: usize,
    pub(crate) merges_allowed: usize,
    pub(crate) locked_out: usize,
    pub(crate) doubts: Doubts,
    pub(crate) doubts_left: usize,
}

/// How long outcomes were not known, in milliseconds. A run leaves no more than three figures of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Doubts {
    pub(crate) count: usize,
    pub(crate) median: u64,
    pub(crate) longest: u64,
    /// Sorted.
    #[serde(skip)]
    all: Vec<u64>,
}

impl Doubts {
    fn add(&mut self, doubts: &[u64]) {
        self.all.extend(doubts);
        self.all.sort_unstable();
        self.count = self.all.len();
        self.median = self.all.get(self.count / 2).copied().unwrap_or_default();
        self.longest = self.all.last().copied().unwrap_or_default();
    }
}

impl Figures {
    /// Adds a verdict.
    pub(crate) fn add(&mut self, verdict: &Verdict) {
        self.operations += verdict.operations;
        self.succeeded += verdict.succeeded;
        self.declined += verdict.declined;
        self.duplicates += verdict.duplicates;
        self.duplicates_measured += verdict.duplicates_measured;
        self.lost_answers += verdict.lost_answers;
        self.hollow += verdict.hollow;
        self.false_merges += verdict.false_merges;
        self.merges_allowed += verdict.merges_allowed;
        self.locked_out += verdict.locked_out;
        self.doubts.add(&verdict.doubts);
        self.doubts_left += verdict.doubts_left;
    }

    pub(crate) const fn broken(&self) -> usize {
        self.duplicates + self.lost_answers + self.hollow + self.false_merges + self.locked_out
    }
}

/// Where runs leave what they found.
pub(crate) fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/proof")
}

/// Leaves `found` in the file of that name for the page.
pub(crate) fn leave(name: &str, found: &impl Serialize) {
    let directory = directory();
    std::fs::create_dir_all(&directory).unwrap();
    let text = serde_json::to_string_pretty(found).unwrap();
    std::fs::write(directory.join(format!("{name}.json")), text).unwrap();
}

/// What a run left, if it ran.
fn left<T: serde::de::DeserializeOwned>(name: &str) -> Option<T> {
    let text = std::fs::read_to_string(directory().join(format!("{name}.json"))).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

/// How to do this again: as `tests/prove` says, or one of the tests by itself.
pub(crate) fn command() -> String {
    std::env::var("PAYONCE_PROOF_COMMAND").unwrap_or_else(|_| "cargo test --test it".to_owned())
}

/// A size or a seed for the long run, from the environment; else what CI does.
pub(crate) fn size(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, is {text:?}"))
    })
}

/// `PAYONCE_RESULTS=write` (as `tests/prove` sets it) writes the page first.
#[test]
fn the_published_results_tell_every_part_and_break_no_promise() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/RESULTS.md");
    if std::env::var("PAYONCE_RESULTS").is_ok_and(|value| value == "write") {
        let runs: Vec<Run> = Part::ALL.iter().filter_map(|part| left(part.as_str())).collect();
        let lines: Vec<Lines> = LINES.into_iter().filter_map(left).collect();
        std::fs::write(&path, page(&runs, &lines)).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(page::title(Part::Baselines)), "nothing of the baselines");
    for part in [Part::Chaos, Part::Simulation] {
        let (_, told) = text.split_once(page::title(part)).expect("each part is told");
        let broken = told.lines().find_map(|line| line.strip_prefix("| promises broken | "));
        assert!(broken.is_some_and(|rest| rest.starts_with("0 ")), "{part:?}: {broken:?}");
    }
}
