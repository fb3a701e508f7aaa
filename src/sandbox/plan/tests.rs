use serde_json::json;

use super::super::faults::Strike;
use super::*;

fn seen<'a>(path: &'a str, intent: &'a str) -> Seen<'a> {
    Seen { method: "POST", path, intent: Some(intent), key: None }
}

fn kinds(plan: &mut Plan, path: &str, times: usize) -> Vec<Option<&'static str>> {
    (0..times).map(|_| plan.take(seen(path, "i")).map(|fault| fault.kind.name())).collect()
}

#[test]
fn scripted_faults_strike_in_order_and_as_often_as_told() {
    let mut plan = Plan::new(1);
    plan.add(vec![Fault::new(Kind::InUse).times(2), Fault::new(Kind::LockTimeout)]).unwrap();
    let expected = [Some("in_use"), Some("in_use"), Some("lock_timeout"), None];
    assert_eq!(kinds(&mut plan, "/v1/charges", 4), expected);
}

#[test]
fn a_fault_waits_until_enough_matching_requests_went_by() {
    let mut plan = Plan::new(1);
    plan.add(vec![Fault::new(Kind::InUse).on("POST", "/v1/charges").after(1)]).unwrap();
    assert_eq!(kinds(&mut plan, "/v1/refunds", 3), [None, None, None]);
    assert_eq!(kinds(&mut plan, "/v1/charges", 3), [None, Some("in_use"), None]);
}

#[test]
fn a_fault_strikes_only_what_it_matches() {
    let mut plan = Plan::new(1);
    plan.add(vec![Fault::new(Kind::InUse).of_intent("a")]).unwrap();
    assert!(plan.take(seen("/v1/charges", "b")).is_none());
    assert!(plan.take(Seen { intent: None, ..seen("/v1/charges", "") }).is_none());
    assert!(plan.take(seen("/v1/charges", "a")).is_some());
}

#[test]
fn chance_does_not_depend_on_the_order_of_requests() {
    let drawn = |order: &[&'static str]| {
        let mut plan = Plan::new(7);
        let rates = [Fault::at_rate(Kind::InUse, 0.3), Fault::at_rate(Kind::LockTimeout, 0.3)];
        plan.add(rates.to_vec()).unwrap();
        let mut all: Vec<_> = order
            .iter()
            .map(|intent| (*intent, plan.take(seen("/", intent)).map(|f| f.kind.name())))
            .collect();
        all.sort_unstable();
        all
    };
    assert_eq!(drawn(&["a", "b", "c", "d", "e"]), drawn(&["e", "c", "a", "d", "b"]));
}

#[test]
fn a_rate_is_met_and_a_seed_repeats_it() {
    let struck = |seed| {
        let mut plan = Plan::new(seed);
        plan.add(vec![Fault::at_rate(Kind::InUse, 0.2)]).unwrap();
        let struck: Vec<bool> =
            (0..5000).map(|n| plan.take(seen("/", &n.to_string())).is_some()).collect();
        struck
    };
    let first = struck(1);
    assert_eq!(first, struck(1));
    assert_ne!(first, struck(2));
    let count = first.iter().filter(|struck| **struck).count();
    assert!((900..1100).contains(&count), "{count}");
}

#[test]
fn a_fault_reads_as_it_is_written() {
    let fault = Fault::new(Kind::CutAfterBytes { bytes: 7, in_body: true, reset: false })
        .on("POST", "/v1/")
        .should_retry(true);
    assert_eq!(Fault::read(&json!(fault)), Ok(fault));
    let none = Fault::read(&json!({"kind": "status", "code": 503, "effect": "none"})).unwrap();
    assert_eq!(none.kind, Kind::Status { code: 503, effect: Strike::Before });
}

#[test]
fn a_misspelt_fault_is_an_error() {
    for bad in [
        json!({"kind": "status", "code": 503, "efect": "after"}),
        json!({"kind": "reset"}),
        json!({"kind": "status"}),
        json!({"kind": "status", "code": 200}),
        json!({"kind": "in_use", "rate": 1.5}),
        json!({"kind": "in_use", "match": {"pth": "/"}}),
        json!({"kind": "drip", "bytes": 0, "millis": 1}),
        json!("in_use"),
    ] {
        assert!(Fault::read(&bad).is_err(), "{bad}");
    }
}

#[test]
fn a_plan_is_bounded() {
    let mut plan = Plan::new(1);
    assert!(plan.add(vec![Fault::new(Kind::Mark); FAULTS + 1]).is_err());
    assert!(plan.faults().is_empty());
}
