//! The table, and what it means.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use super::count::Counts;
use super::day::Day;

/// Writes everything.
pub(super) fn print(
    seed: u64,
    operations: u32,
    straight: &Day,
    through: &Day,
    out: &mut impl Write,
) -> io::Result<()> {
    let columns = [straight, through];
    writeln!(out, "{:<44}{:>18}{:>18}", "", "straight", "through payonce")?;
    for (label, value) in WHAT_HAPPENED {
        row(out, label, columns.map(|day| value(day).to_string()))?;
    }
    writeln!(out, "faults")?;
    let kinds: BTreeSet<&str> =
        columns.iter().flat_map(|day| &day.faults).map(|(kind, _)| *kind).collect();
    for kind in kinds {
        let struck = |day: &Day| day.faults.iter().find(|it| it.0 == kind).map_or(0, |it| it.1);
        let label = format!("  {}", kind.replace('_', " "));
        row(out, &label, columns.map(|day| struck(day).to_string()))?;
    }
    writeln!(out, "harm")?;
    for (label, value) in HARM {
        row(out, label, columns.map(|day| value(&day.counts).to_string()))?;
    }
    money(out, "over-charged", columns.map(|day| &day.counts.over_charged))?;
    money(out, "over-refunded", columns.map(|day| &day.counts.over_refunded))?;
    writeln!(out, "within the stated limits")?;
    for (label, value) in LIMITS {
        row(out, label, columns.map(|day| value(&day.counts).to_string()))?;
    }
    writeln!(out)?;
    meaning(&straight.counts, &through.counts, out)?;
    writeln!(out, "Again: payonce demo --seed {seed} --operations {operations}")
}

type Of<T> = (&'static str, fn(&T) -> u64);

const WHAT_HAPPENED: [Of<Day>; 3] = [
    ("operations", |day| wide(day.counts.operations)),
    ("jobs delivered again", |day| day.tally.redelivered),
    ("pods that died in the middle of a call", |day| day.tally.deaths),
];

const HARM: [Of<Counts>; 6] = [
    ("  charged twice", |it| wide(it.charged_twice)),
    ("  refunded twice", |it| wide(it.refunded_twice)),
    ("  customers made twice", |it| wide(it.made_twice)),
    ("  executed though told \"failed\"", |it| wide(it.charged_told_failed)),
    ("  merged by mistake", |it| wide(it.merged)),
    ("  locked out", |it| wide(it.locked_out)),
];

const LIMITS: [Of<Counts>; 3] = [
    ("  twin within 30 s: one charge, by policy", |it| wide(it.merged_by_policy)),
    ("  looked up by a person (saved 500)", |it| wide(it.by_person)),
    ("  equal twins swapped, each executed once", |it| wide(it.swapped)),
];

fn row(out: &mut impl Write, label: &str, [straight, through]: [String; 2]) -> io::Result<()> {
    writeln!(out, "{label:<44}{straight:>18}{through:>18}")
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A row for each currency. All the demo's currencies have two decimals.
fn money(out: &mut impl Write, what: &str, columns: [&BTreeMap<String, i64>; 2]) -> io::Result<()> {
    let currencies: BTreeSet<&String> = columns.iter().flat_map(|sums| sums.keys()).collect();
    for currency in currencies {
        let sum = |sums: &BTreeMap<String, i64>| sums.get(currency).copied().unwrap_or_default();
        let shown = |sum: i64| format!("{}.{:02}", sum / 100, sum % 100);
        let label = format!("  money {what}, {currency}");
        row(out, &label, columns.map(|sums| shown(sum(sums))))?;
    }
    if columns.iter().all(|sums| sums.is_empty()) {
        row(out, &format!("  money {what}"), ["0", "0"].map(str::to_owned))?;
    }
    Ok(())
}

fn meaning(straight: &Counts, through: &Counts, out: &mut impl Write) -> io::Result<()> {
    let (harm, operations) = (straight.harm(), straight.operations);
    write!(out, "Straight, {harm} of {operations} operations came to harm. ")?;
    match through.harm() {
        0 => writeln!(
            out,
            "Through payonce none did: each happened once, counted from what the simulated Stripe \
             executed."
        ),
        left => writeln!(
            out,
            "Through payonce {left} did, which it promises to prevent: please report this seed."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_shown_by_currency_with_its_decimals() {
        let (none, some) = (BTreeMap::new(), BTreeMap::from([("eur".to_owned(), 1205)]));
        let mut out = Vec::new();
        money(&mut out, "over-charged", [&some, &none]).unwrap();
        money(&mut out, "over-refunded", [&none, &none]).unwrap();
        let text = String::from_utf8(out).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(
            words,
            ["money", "over-charged,", "eur", "12.05", "0.00", "money", "over-refunded", "0", "0"]
        );
    }
}
