//! What goes wrong during the day: faults by rate, and the pods that die in the middle of a call.

use std::time::Duration;

use super::dice::Dice;
use super::work::Job;
use crate::sandbox::{Fault, Kind, Strike};

/// How long the provider takes over a call whose pod dies…
const SLOW: u64 = 2_000;
/// …and when the pod does.
pub(super) const DEATH: Duration = Duration::from_secs(1);

/// How many times the process dies that runs the job's `step`, once each time it is run.
pub(super) fn deaths(dice: Dice, intent: &str) -> u64 {
    match dice.unit("deaths", intent, 0) {
        ..0.012 => 2,
        ..0.08 => 1,
        _ => 0,
    }
}

/// All faults of the day.
pub(super) fn faults(dice: Dice, jobs: &[Job]) -> Vec<Fault> {
    // Scripted faults strike first, wherever they stand.
    let mut faults = by_rate();
    for step in jobs.iter().flat_map(|job| &job.steps) {
        let intent = &step.intent.id;
        let times = deaths(dice, intent);
        if times > 0 {
            let after = dice.unit("death", intent, 0) < 0.7;
            let effect = if after { Strike::After } else { Strike::Before };
            let slow = Kind::Delay { millis: SLOW, effect };
            faults.push(Fault::new(slow).of_intent(intent).times(times));
        }
    }
    faults
}

fn by_rate() -> Vec<Fault> {
    use Strike::{After, Before};

    // Longer than any time-out.
    let stall = |effect| Kind::Stall { millis: Some(100_000), effect };
    let cut = |bytes, reset| Kind::CutAfterBytes { bytes, in_body: true, reset };
    let rates = [
        (Kind::Refuse, 0.010),
        (Kind::ResetBeforeEffect { clean: false }, 0.010),
        (Kind::ResetBeforeEffect { clean: true }, 0.005),
        (Kind::ResetAfterEffect { clean: false }, 0.015),
        (Kind::ResetAfterEffect { clean: true }, 0.010),
        (cut(20, true), 0.008),
        (cut(60, false), 0.008),
        (stall(Before), 0.006),
        (stall(After), 0.006),
        (Kind::InUse, 0.010),
        (Kind::RateLimited { reason: None }, 0.010),
        (Kind::LockTimeout, 0.012),
        (Kind::Saved500 { effect: Before }, 0.002),
        (Kind::Saved500 { effect: After }, 0.002),
        (Kind::Unsaved500 { effect: Before }, 0.008),
        (Kind::Unsaved500 { effect: After }, 0.008),
        (Kind::Status { code: 502, effect: Before }, 0.010),
        (Kind::Status { code: 502, effect: After }, 0.010),
        (Kind::Status { code: 503, effect: Before }, 0.010),
        (Kind::Status { code: 503, effect: After }, 0.006),
        (Kind::Status { code: 504, effect: Before }, 0.005),
        (Kind::Status { code: 504, effect: After }, 0.010),
    ];
    let fault = |(kind, rate)| {
        // A balancer that fails speaks HTML.
        let html = matches!(kind, Kind::Status { .. });
        Fault { html, ..Fault::at_rate(kind, rate).on("POST", "/v1/") }
    };
    rates.into_iter().map(fault).collect()
}
