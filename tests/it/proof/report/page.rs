//! The page itself: Markdown, one table a run, one column a way of calling the provider.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Column, Doubts, Figures, Lines, Part, Run};

const INTRODUCTION: &str = "\
# Results

Written by the tests (`./tests/prove`), not by hand. What happened is counted from the simulated \
Stripe's own books, by what the application truly wanted (`Sandbox-Intent`), never from payonce's \
word.

- *duplicates*: effects beyond those wanted, where one was promised; *measured duplicates*: the \
same where nothing is promised (an answer that was read and not committed, and then asked for again \
with other keys; a client without keys).
- *lost answers*: executed, and the application was told of a failure. *hollow successes*: told of a \
success that names nothing real.
- *false merges*: two intents told of one effect; *allowed merges*: the same where the rule allows \
it (`merge`), which `Payonce-Operation` avoids.
- *locked out*: asked again when all was well, and still no outcome.
- *in doubt*: times that the application did not know the outcome, and how long.
- Where a count is 0 of n, the true rate is below 3/n with 95 % confidence.
";

/// The heading of a part.
pub(crate) const fn title(part: Part) -> &'static str {
    match part {
        Part::Chaos => "## Real processes",
        Part::Baselines => "## With and without payonce",
        Part::Simulation => "## Simulation",
    }
}

/// The page of what was found.
pub(crate) fn page(runs: &[Run], lines: &[Lines]) -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut runs: Vec<&Run> = runs.iter().collect();
    runs.sort_by_key(|run| run.part);
    for run in runs {
        told(&mut page, run);
    }
    for lines in lines {
        write!(page, "\n## {}\n\n`{}`\n\n", lines.title, lines.command).unwrap();
        for line in &lines.found {
            writeln!(page, "- {line}").unwrap();
        }
    }
    page
}

fn told(page: &mut String, run: &Run) {
    write!(page, "\n{}\n\n{}\n\n", title(run.part), run.about).unwrap();
    writeln!(page, "- command: `{}`", run.command).unwrap();
    writeln!(page, "- seeds: {}", seeds(&run.seeds)).unwrap();
    let struck: u64 = run.faults.values().sum();
    let kinds: Vec<_> = run.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    writeln!(page, "- faults that struck: {struck} ({})", kinds.join(", ")).unwrap();
    for note in &run.notes {
        writeln!(page, "- {note}").unwrap();
    }
    page.push('\n');
    let all: Vec<(&str, &Figures)> =
        run.columns.iter().map(|column| (column.who.as_str(), &column.all)).collect();
    table(page, &all);
    for column in &run.columns {
        groups(page, "keys", column, &column.by_keys);
        groups(page, "workload", column, &column.by_workload);
    }
}

/// One after the other, or the ends of an unbroken row.
fn seeds(seeds: &[u64]) -> String {
    match seeds {
        [first, .., last] if last - first == u64::try_from(seeds.len()).unwrap() - 1 => {
            format!("{first} to {last}")
        }
        _ => seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn table(page: &mut String, columns: &[(&str, &Figures)]) {
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    writeln!(page, "| | {} |\n{}", names.join(" | "), rule(columns.len() + 1)).unwrap();
    let mut row = |name: &str, cell: &dyn Fn(&Figures) -> String| {
        let cells: Vec<_> = columns.iter().map(|(_, figures)| cell(figures)).collect();
        writeln!(page, "| {name} | {} |", cells.join(" | ")).unwrap();
    };
    row("operations", &|it| it.operations.to_string());
    row("succeeded", &succeeded);
    row("declined, as meant", &|it| it.declined.to_string());
    row("promises broken", &|it| bounded(it.broken(), it.operations));
    row("duplicates", &|it| bounded(it.duplicates, it.operations));
    row("measured duplicates", &|it| it.duplicates_measured.to_string());
    row("lost answers", &|it| bounded(it.lost_answers, it.operations));
    row("hollow successes", &|it| bounded(it.hollow, it.operations));
    row("false merges", &|it| bounded(it.false_merges, it.operations));
    row("allowed merges", &|it| it.merges_allowed.to_string());
    row("locked out", &|it| bounded(it.locked_out, it.operations));
    row("in doubt", &doubts);
}

fn groups(page: &mut String, what: &str, column: &Column, groups: &BTreeMap<String, Figures>) {
    if groups.len() < 2 {
        return;
    }
    write!(
        page,
        "\n{}, by {what}:\n\n| {what} | operations | succeeded | duplicates | measured | lost | \
         false merges | allowed merges | locked out | in doubt |\n{}\n",
        column.who,
        rule(10)
    )
    .unwrap();
    for (name, it) in groups {
        writeln!(
            page,
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            it.operations,
            succeeded(it),
            it.duplicates,
            it.duplicates_measured,
            it.lost_answers + it.hollow,
            it.false_merges,
            it.merges_allowed,
            it.locked_out,
            doubts(it)
        )
        .unwrap();
    }
}

fn rule(columns: usize) -> String {
    "|---".repeat(columns) + "|"
}

/// Of those that were not to be declined.
fn succeeded(it: &Figures) -> String {
    let wanted = it.operations - it.declined;
    format!("{} of {wanted} ({})", it.succeeded, percent(it.succeeded, wanted))
}

fn percent(part: usize, whole: usize) -> String {
    let thousandths = (part * 100_000).checked_div(whole).unwrap_or_default();
    format!("{}.{:02} %", thousandths / 1000, thousandths % 1000 / 10)
}

/// A count, and what can be said of the rate where it is zero.
fn bounded(count: usize, of: usize) -> String {
    if count > 0 || of == 0 {
        return count.to_string();
    }
    let millionths = 3_000_000_usize.div_ceil(of);
    format!("0 (< {}.{:04} %)", millionths / 10_000, millionths % 10_000)
}

fn doubts(it: &Figures) -> String {
    let Doubts { count, median, longest, .. } = &it.doubts;
    match (*count, it.doubts_left) {
        (0, 0) => "0".to_owned(),
        (0, left) => format!("{left} left"),
        (_, 0) => format!("{count} (median {median} ms, max {longest} ms)"),
        (_, left) => format!("{count} (median {median} ms, max {longest} ms), {left} left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(figures: Figures) -> Run {
        let column = Column { who: "payonce".to_owned(), all: figures, ..Column::default() };
        Run { seeds: vec![3, 4, 5], columns: vec![column], ..Run::default() }
    }

    #[test]
    fn a_count_of_zero_comes_with_the_bound_of_its_rate() {
        let figures = Figures { operations: 20_000, succeeded: 20_000, ..Figures::default() };
        let page = page(&[run(figures)], &[]);
        assert!(page.contains("| duplicates | 0 (< 0.0150 %) |"), "{page}");
        assert!(page.contains("| succeeded | 20000 of 20000 (100.00 %) |"), "{page}");
        assert!(page.contains("- seeds: 3 to 5"), "{page}");
    }

    #[test]
    fn a_count_of_more_is_told_as_it_is() {
        let figures = Figures { operations: 9, duplicates: 2, ..Figures::default() };
        let page = page(&[run(figures)], &[]);
        assert!(page.contains("| duplicates | 2 |") && page.contains("| promises broken | 2 |"));
    }

    #[test]
    fn doubts_are_told_by_their_median_and_their_longest() {
        let mut figures = Figures { doubts_left: 1, ..Figures::default() };
        figures.doubts.add(&[300, 1]);
        figures.doubts.add(&[20]);
        assert_eq!(doubts(&figures), "3 (median 20 ms, max 300 ms), 1 left");
    }

    #[test]
    fn lines_of_other_proofs_stand_on_the_page_as_they_are() {
        let lines = Lines {
            title: "Model".to_owned(),
            found: vec!["12 states".to_owned()],
            ..Lines::default()
        };
        assert!(page(&[], &[lines]).contains("## Model\n\n``\n\n- 12 states\n"));
    }
}
