//! Recorded lines under another policy.

use super::*;
use crate::decide::identity::Kind;
use crate::decide::observe::Before;
use crate::decide::traffic::{By, FORMAT, KeySaid, Said, Would};

const CONTENT: &str = "identity = \"content\"\ndistinguishes = [\"source\"]\n";

fn policy(rule: &str) -> Policy {
    let text = format!(
        "version = 1\n[[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\n{rule}"
    );
    Policy::parse(&text).unwrap()
}

fn critical(rest: &str) -> Policy {
    policy(&format!("class = \"critical\"\n{rest}"))
}

/// A charge at so many seconds, under a key of the SDK's; it succeeded within a second.
fn charge(at: u64, key: &str, fields: &[(&str, &str)]) -> Line {
    let fields: Vec<(String, Option<String>)> = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
        .collect();
    Line {
        v: FORMAT,
        at: 1_790_000_000_000 + at * 1000,
        took: 900,
        policy: "old".to_owned(),
        method: "POST".to_owned(),
        path: "/v1/charges".to_owned(),
        rule: "charges".to_owned(),
        class: "critical".to_owned(),
        mode: "observe".to_owned(),
        kind: Some(Kind::Content),
        operation: Some(format!("{fields:?}")),
        sdk: None,
        caller: None,
        said: Some(Said {
            scope: "s".to_owned(),
            target: "t".to_owned(),
            client_key: Some(KeySaid { digest: key.to_owned(), chosen: By::Sdk }),
            header: None,
            whole: format!("{fields:?}"),
            fields,
            more: false,
        }),
        amount: Some(500),
        currency: Some("eur".to_owned()),
        outcome: Came::Succeeded,
        status: Some(200),
        label: None,
        replayed: false,
        delivered: Some(true),
        would: None,
    }
}

fn lost(line: Line) -> Line {
    Line { delivered: Some(false), ..line }
}

fn duplicate(line: Line) -> Line {
    let (finding, does, before) = (Finding::Duplicate, Does::Replay, Before::Lost);
    let would = Would { finding, does, row: "A14".to_owned(), before, after: Some(1) };
    Line { would: Some(would), ..line }
}

const SAME: [(&str, &str); 2] = [("amount", "a1"), ("source", "b1")];

fn changes(replay: &Replay) -> Vec<(Change, u64)> {
    replay.groups.iter().map(|group| (group.change, group.requests)).collect()
}

#[test]
fn the_policy_that_was_in_force_changes_nothing_and_finds_the_same_duplicates() {
    let lines =
        [lost(charge(0, "k1", &SAME)), duplicate(charge(60, "k2", &SAME)), charge(90, "k3", &[])];
    let mut lines = lines.to_vec();
    lines[2].kind = Some(Kind::Call);
    let found = replay(&critical(CONTENT), &lines);
    assert_eq!((found.requests, found.changed, changes(&found)), (3, 0, Vec::new()));
    assert_eq!((found.duplicates, found.duplicate_sums.show().as_str()), (1, "5.00 EUR"));
    assert_eq!(found.recorded_sums, found.duplicate_sums);
}

#[test]
fn what_would_no_longer_be_critical_comes_first() {
    let lines = [charge(0, "k1", &SAME), charge(60, "k2", &SAME)];
    let found = replay(&policy("class = \"pass\""), &lines);
    assert_eq!(changes(&found), [(Change::Unprotected, 2)]);
    let group = &found.groups[0];
    assert_eq!(
        (group.was.as_str(), group.becomes.as_str()),
        ("charges (content)", "charges (pass)")
    );
    assert_eq!(group.sums.show(), "10.00 EUR");
}

#[test]
fn a_pair_that_is_no_longer_merged_is_told_with_both_times() {
    let lines = [lost(charge(0, "k1", &SAME)), duplicate(charge(60, "k2", &SAME))];
    let found = replay(&critical(""), &lines);
    assert_eq!(changes(&found), [(Change::NoLongerMerged, 1), (Change::Identity, 1)]);
    let [pair] = &found.pairs[..] else { panic!("{:?}", found.pairs) };
    assert_eq!((pair.earlier, pair.later), (lines[0].at, lines[1].at));
    assert!(pair.executed);
    assert_eq!((found.duplicates, found.recorded_duplicates), (0, 1));
}

#[test]
fn a_pair_that_would_be_merged_by_a_wider_identity_is_told() {
    // Two orders of one customer for the same amount: another description each.
    let one = charge(0, "k1", &[("amount", "a1"), ("customer", "c1"), ("description", "d1")]);
    let two = charge(60, "k2", &[("amount", "a1"), ("customer", "c1"), ("description", "d2")]);
    let by_customer = critical("identity = [\"customer\"]\notherwise = \"call\"\n");
    let found = replay(&by_customer, &[lost(one.clone()), two.clone()]);
    // Other content under one name is refused, and so nothing is merged.
    assert!(found.pairs.is_empty());
    assert_eq!(changes(&found), [(Change::NowRefused, 1), (Change::Identity, 1)]);
    let mut same = Line { said: one.said.clone(), ..two };
    if let Some(key) = same.said.as_mut().and_then(|said| said.client_key.as_mut()) {
        key.digest = "k2".to_owned();
    }
    let found = replay(&by_customer, &[one, same]);
    assert_eq!(changes(&found)[0], (Change::NowMerged, 1));
}

#[test]
fn the_same_client_key_again_is_no_pair() {
    let again = Line { replayed: true, ..charge(60, "k1", &SAME) };
    let found = replay(&critical(CONTENT), &[lost(charge(0, "k1", &SAME)), again]);
    assert!(found.pairs.is_empty() && found.duplicates == 0);
}

#[test]
fn what_the_policy_would_refuse_is_told_and_what_it_cannot_tell_is_counted() {
    let wants_key = critical("client_key = \"required\"\n");
    let unread = Line { said: None, kind: None, ..charge(60, "k2", &SAME) };
    let found = replay(&wants_key, &[charge(0, "k1", &SAME), unread]);
    assert_eq!(changes(&found), [(Change::NowRefused, 1)]);
    assert_eq!(found.untold, 1);
}

#[test]
fn a_uuid_is_the_applications_where_the_policy_says_so() {
    let mut line = charge(0, "k1", &SAME);
    if let Some(key) = line.said.as_mut().and_then(|said| said.client_key.as_mut()) {
        key.chosen = By::Uuid;
    }
    let text = "version = 1\nuuid4_keys = \"own\"\n[[rule]]\nname = \"charges\"\n\
                match = [\"POST /v1/charges\"]\nclass = \"critical\"\nidentity = \"content\"\n\
                distinguishes = [\"source\"]\n";
    let found = replay(&Policy::parse(text).unwrap(), &[line]);
    assert_eq!(found.groups[0].becomes, "charges (own_key)");
}

#[test]
fn a_duplicate_that_two_processes_made_is_found_in_their_records_together() {
    // Neither had seen the other's request, so that neither found anything.
    let found =
        replay(&critical(CONTENT), &[lost(charge(0, "k1", &SAME)), charge(60, "k2", &SAME)]);
    assert_eq!((found.duplicates, found.recorded_duplicates), (1, 0));
    assert_eq!(changes(&found), [(Change::NowMerged, 1)]);
}
