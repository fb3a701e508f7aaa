//! Many seeds, and what they come to together: the figures that the report is written from.

use std::collections::BTreeMap;
use std::fmt;

use super::chaos::Climate;
use super::run::{Ran, Size, play};
use crate::proof::report::{Column, Part, Run, command};
use crate::proof::verdict::{Keys, Verdict};

/// What many runs came to.
#[derive(Debug, Default)]
pub(crate) struct Campaign {
    pub(crate) seeds: u64,
    /// Requests that reached the provider's side of the network.
    pub(crate) sends: u64,
    /// Attempts that nobody waited for, of rules that say `finish`.
    pub(crate) finished: u64,
    /// Events in all traces.
    pub(crate) events: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) verdict: Verdict,
    pub(crate) by_keys: BTreeMap<Keys, Verdict>,
    pub(crate) by_workload: BTreeMap<&'static str, Verdict>,
    pub(crate) by_climate: BTreeMap<&'static str, Verdict>,
    /// Operations of which less was promised, by the reason.
    pub(crate) excused: BTreeMap<&'static str, usize>,
    /// Every broken promise and invariant, with its seed.
    pub(crate) wrong: Vec<String>,
}

/// Most broken promises that are kept one by one.
const KEPT: usize = 100;
/// Most of the last events that a failure shows.
const SHOWN: usize = 40;

impl Campaign {
    /// Plays seeds from `first` on until so many operations were asked for.
    pub(crate) fn play(first: u64, operations: usize, size: Size) -> Self {
        let mut campaign = Self::default();
        let mut seed = first;
        while campaign.verdict.operations < operations {
            campaign.add(&play(seed, Climate::of(seed), size));
            seed += 1;
        }
        campaign
    }

    fn add(&mut self, ran: &Ran) {
        let name = ran.climate.name;
        self.seeds += 1;
        self.sends += ran.sends;
        self.finished += ran.finished;
        self.events += ran.digest.1;
        sum(&mut self.faults, &ran.faults);
        self.verdict.add(&ran.judged.verdict);
        for (keys, verdict) in &ran.judged.by_keys {
            self.by_keys.entry(*keys).or_default().add(verdict);
        }
        for (workload, verdict) in &ran.judged.by_workload {
            self.by_workload.entry(workload).or_default().add(verdict);
        }
        self.by_climate.entry(name).or_default().add(&ran.judged.verdict);
        for (why, count) in &ran.judged.excused {
            *self.excused.entry(why).or_default() += count;
        }
        for what in ran.judged.wrong() {
            if self.wrong.len() < KEPT {
                self.wrong.push(format!("seed {} ({name}): {what}", ran.seed));
                println!("seed {} ({name}): {what}", ran.seed);
                let intent = what.split_whitespace().find(|word| word.contains('-'));
                let intent = intent.map(|it| it.trim_matches(|c: char| !c.is_alphanumeric()));
                let told = ran.told_of(intent.unwrap_or_default());
                let skipped = told.len().saturating_sub(SHOWN);
                told.iter().skip(skipped).for_each(|event| println!("    {event}"));
            }
        }
    }

    /// For the page of results.
    pub(crate) fn run(&self, first: u64) -> Run {
        let mut column = Column::of_verdict("payonce", &self.verdict);
        for (keys, verdict) in &self.by_keys {
            column.by_keys.entry(keys.as_str().to_owned()).or_default().add(verdict);
        }
        for (workload, verdict) in &self.by_workload {
            column.by_workload.entry((*workload).to_owned()).or_default().add(verdict);
        }
        let climates = self.by_climate.iter();
        let climates = climates.map(|(name, it)| format!("{name}: {} operations", it.operations));
        let excused = self.excused.iter();
        let excused = excused.map(|(why, count)| format!("less was promised ({why}): {count}"));
        let all = [
            format!("{} requests reached the provider's network", self.sends),
            format!("{} attempts finished what was in doubt", self.finished),
            format!("invariants or promises broken: {}", self.wrong.len()),
        ];
        Run {
            part: Part::Simulation,
            about: "The real exchange, forward and ledger code of three pods on simulated time, \
                network, store and provider. A seed replays its run exactly."
                .to_owned(),
            command: command(),
            seeds: (first..first + self.seeds).collect(),
            faults: self.faults.iter().map(|(kind, n)| ((*kind).to_owned(), *n)).collect(),
            columns: vec![column],
            notes: all.into_iter().chain(climates).chain(excused).collect(),
        }
    }

    /// At least 95 of 100 operations succeeded or were declined, once all was well.
    pub(crate) fn mostly_succeeded(&self) -> bool {
        self.verdict.mostly_succeeded()
    }
}

fn sum(all: &mut BTreeMap<&'static str, u64>, more: &BTreeMap<&'static str, u64>) {
    for (kind, count) in more {
        *all.entry(kind).or_default() += count;
    }
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, sends, events, verdict, .. } = self;
        let operations = verdict.operations;
        writeln!(f, "{operations} operations, {seeds} seeds, {sends} sends, {events} events")?;
        writeln!(f, "{} attempts finished what was in doubt", self.finished)?;
        for (kind, count) in &self.faults {
            writeln!(f, "  {kind}: {count}")?;
        }
        writeln!(f, "less was promised of:")?;
        for (why, count) in &self.excused {
            writeln!(f, "  {why}: {count}")?;
        }
        let rows = [("all", verdict)]
            .into_iter()
            .chain(self.by_climate.iter().map(|(name, it)| (*name, it)))
            .chain(self.by_keys.iter().map(|(keys, it)| (keys.as_str(), it)))
            .chain(self.by_workload.iter().map(|(name, it)| (*name, it)));
        for (name, it) in rows {
            writeln!(
                f,
                "{name:>24}: {} operations, {} succeeded, {} declined, {} duplicates, {} lost \
                 answers, {} hollow, {} false merges, {} locked out; measured: {} duplicates, {} \
                 merges; {} doubts, {} left",
                it.operations,
                it.succeeded,
                it.declined,
                it.duplicates,
                it.lost_answers,
                it.hollow,
                it.false_merges,
                it.locked_out,
                it.duplicates_measured,
                it.merges_allowed,
                it.doubts.len(),
                it.doubts_left,
            )?;
        }
        write!(f, "{} promises or invariants broken", self.wrong.len())
    }
}
