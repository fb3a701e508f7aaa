//! `deploy/metrics.md` against what a payonce really exposes.

use std::collections::BTreeMap;

use payonce::metrics::Metrics;

const LIST: &str = include_str!("../../../deploy/metrics.md");

/// Name → type, of each table row that begins with a metric.
fn listed() -> BTreeMap<String, String> {
    let rows = LIST.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once('`').unwrap();
        let kind = rest.split('|').nth(1).unwrap().trim();
        (name.to_owned(), kind.to_owned())
    })
    .collect()
}

/// Likewise, as a new payonce says it, by the names of the samples.
fn exposed() -> BTreeMap<String, String> {
    let page = Metrics::new().encode();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            let suffix = if kind == "counter" { "_total" } else { "" };
            (format!("{name}{suffix}"), kind.to_owned())
        })
        .collect()
}

#[test]
fn every_metric_is_listed_for_people_and_nothing_else_is() {
    assert_eq!(listed(), exposed());
}

#[test]
fn every_listed_metric_says_what_it_means_and_what_to_do() {
    for row in LIST.lines().filter(|line| line.starts_with("| `")) {
        let columns: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(columns.len(), 5, "name, type, labels, meaning, what to do: {row}");
        assert!(columns.iter().all(|column| !column.is_empty()), "{row}");
    }
}
