use super::*;
use crate::admin::Summary;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn operation(id: &str, state: State) -> Detail {
    Detail {
        summary: Summary {
            operation_id: id.to_owned(),
            rule: "charges".to_owned(),
            state,
            saved_500: false,
            since: NOW.minus(Duration::from_secs(2)),
            attempts: 3,
            amount: Some(500),
            currency: Some("usd".to_owned()),
            object_id: None,
            request_id: None,
            caller: None,
            policy_version: "0123456789ab".to_owned(),
        },
        identity: "content".to_owned(),
        request: Some("POST /v1/charges".to_owned()),
        occurrence: 0,
        epoch: 7,
        first_sent: Some(NOW.minus(Duration::from_secs(2))),
        last_sent: Some(NOW.minus(Duration::from_secs(2))),
        safe_until: None,
        lease_until: None,
        delivery: None,
        advice: None,
        resolved: None,
        api_key: None,
        event: None,
        client_keys: 0,
        timeline: Vec::new(),
    }
}

fn names(changes: &[Change]) -> Vec<(&'static str, String)> {
    let id = |change: &Change| match (&change.operation, &change.operation_id) {
        (Some(detail), _) => detail.summary.operation_id.clone(),
        (None, id) => id.clone().unwrap_or_default(),
    };
    changes.iter().map(|change| (change.what, id(change))).collect()
}

#[test]
fn what_is_in_doubt_is_told_once_and_then_what_became_of_it() {
    let mut followed = Followed::default();
    let doubt = || operation("a", State::InDoubt);
    let (changes, missing) = followed.open(vec![doubt()], NOW);
    assert_eq!((names(&changes), missing.len()), (vec![("already", "a".to_owned())], 0));
    let (changes, _) = followed.open(vec![doubt(), operation("b", State::InDoubt)], NOW);
    assert_eq!(names(&changes), [("in_doubt", "b".to_owned())]);
    let (changes, missing) = followed.open(vec![operation("a", State::InFlight)], NOW);
    assert_eq!(names(&changes), [("in_flight", "a".to_owned())]);
    assert_eq!(missing, ["b"]);
    let ended =
        Detail { resolved: Some("ann: seen".to_owned()), ..operation("b", State::Succeeded) };
    let changes = followed.missing(&missing, vec![ended], NOW);
    assert_eq!(names(&changes), [("succeeded", "b".to_owned())]);
    let (_, missing) = followed.open(Vec::new(), NOW);
    assert_eq!(missing, ["a"]);
    assert_eq!(names(&followed.missing(&missing, Vec::new(), NOW)), [("gone", "a".to_owned())]);
    assert!(followed.told.is_empty());
}

#[test]
fn what_ends_soon_is_not_told_unless_all_is_asked_for() {
    let quick = || vec![operation("a", State::InFlight)];
    let mut followed = Followed::default();
    assert!(followed.open(quick(), NOW).0.is_empty());
    let later = NOW.plus(Duration::from_secs(9));
    assert_eq!(names(&followed.open(quick(), later).0), [("in_flight", "a".to_owned())]);
    assert!(followed.open(quick(), later).0.is_empty());
    let mut all = Followed { all: true, looked: true, ..Followed::default() };
    assert_eq!(names(&all.open(quick(), NOW).0), [("in_flight", "a".to_owned())]);
}

#[test]
fn what_is_open_beyond_the_list_is_still_followed() {
    let mut followed = Followed::default();
    followed.open(vec![operation("a", State::InDoubt)], NOW);
    let missing = ["a".to_owned()];
    assert!(followed.missing(&missing, vec![operation("a", State::InDoubt)], NOW).is_empty());
    assert_eq!(followed.told.len(), 1);
}

#[test]
fn how_many_are_followed_is_bounded() {
    let mut followed = Followed::default();
    for n in 0..MOST_FOLLOWED + 10 {
        followed.open(vec![operation(&n.to_string(), State::InDoubt)], NOW);
    }
    assert_eq!(followed.told.len(), MOST_FOLLOWED);
}

#[test]
fn a_change_is_one_line_for_people_and_one_object_for_programs() {
    let ended =
        Detail { resolved: Some("ann: seen\u{1b}".to_owned()), ..operation("b", State::Succeeded) };
    let changes = [
        Change { operation: Some(operation("a", State::InDoubt)), ..Change::of("in_doubt", NOW) },
        Change { operation: Some(ended), ..Change::of("succeeded", NOW) },
        Change { operation_id: Some("c".to_owned()), ..Change::of("gone", NOW) },
        Change { why: Some("no payonce answers".to_owned()), ..Change::of("unreachable", NOW) },
    ];
    let mut text = Vec::new();
    tell(&mut text, false, &changes).unwrap();
    insta::assert_snapshot!(String::from_utf8(text).unwrap());
    let mut json = Vec::new();
    tell(&mut json, true, &changes).unwrap();
    for line in String::from_utf8(json).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["at"].is_u64() && line["change"].is_string(), "{line}");
    }
}
