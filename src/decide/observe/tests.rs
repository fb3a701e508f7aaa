//! What comes to light, request by request. Times are in seconds.

use super::*;
use crate::decide::digest::WholeDigest;

/// One operation and what is remembered of it.
#[derive(Default)]
struct Shop {
    memory: Option<Record>,
    requests: u32,
}

/// A request of it, on its way.
struct Sent {
    request: Request,
    opinion: Opinion,
}

const fn at(seconds: u64) -> Timestamp {
    // A day well within an epoch of the operation below.
    Timestamp::from_millis(1_790_000_000_000 + seconds * 1000)
}

fn content(twins: bool, window: u64) -> Request {
    Request {
        operation: OperationId([0; 32]),
        api: Api::V1,
        kind: Kind::Content,
        fingerprint: Fingerprint { whole: WholeDigest([1; 16]), fields: Vec::new() },
        client_key: None,
        twins,
        repeat_window: Duration::from_secs(window),
        next_after_saved_500: false,
        arrived: at(0),
        token: String::new(),
    }
}

fn lost() -> Request {
    content(false, 0)
}

fn named() -> Request {
    Request { kind: Kind::Header, ..content(false, 0) }
}

fn keyed(request: Request, key: u8) -> Request {
    Request { client_key: Some(ClientKeyDigest([key; 16])), ..request }
}

fn saying(request: Request, what: u8) -> Request {
    let fingerprint = Fingerprint { whole: WholeDigest([what; 16]), fields: Vec::new() };
    Request { fingerprint, ..request }
}

const SUCCESS: Conclusion = Conclusion::Succeeded;
const DECLINE: Conclusion = Conclusion::Declined { spent: true };
const DOUBT: Conclusion = Conclusion::InDoubt { saved_500: false };

impl Shop {
    fn keep(&mut self, keep: Keep) {
        match keep {
            Keep::Same => {}
            Keep::This(record) => self.memory = Some(*record),
            Keep::Nothing => self.memory = None,
        }
    }

    fn send(&mut self, seconds: u64, request: Request) -> Sent {
        self.requests += 1;
        let token = self.requests.to_string();
        let request = Request { arrived: at(seconds), token, ..request };
        let (opinion, keep) = arrive(self.memory.as_ref(), &request, at(seconds));
        self.keep(keep);
        Sent { request, opinion }
    }

    fn ends(
        &mut self,
        seconds: u64,
        sent: Sent,
        conclusion: Conclusion,
        delivered: bool,
    ) -> Option<Finding> {
        let ended = Ended { conclusion, replayed: false, delivered, answered: at(seconds) };
        let Sent { request, opinion } = sent;
        let (_, finding, keep) = end(self.memory.as_ref(), &request, opinion, &ended, at(seconds));
        self.keep(keep);
        finding
    }

    /// A request that has its outcome within a second.
    fn ask(
        &mut self,
        seconds: u64,
        request: Request,
        conclusion: Conclusion,
        delivered: bool,
    ) -> Option<Finding> {
        let sent = self.send(seconds, request);
        self.ends(seconds + 1, sent, conclusion, delivered)
    }
}

#[test]
fn the_first_request_of_an_operation_brings_nothing_to_light() {
    assert_eq!(Shop::default().ask(0, keyed(lost(), 1), SUCCESS, true), None);
}

#[test]
fn a_second_charge_after_a_lost_answer_is_a_duplicate_with_another_key_or_none() {
    for again in [keyed(lost(), 2), lost()] {
        let mut shop = Shop::default();
        shop.ask(0, keyed(lost(), 1), SUCCESS, false);
        assert_eq!(shop.ask(60, again, SUCCESS, true), Some(Finding::Duplicate));
    }
}

#[test]
fn the_same_key_again_is_no_duplicate_since_stripe_knows_it() {
    let mut shop = Shop::default();
    shop.ask(0, keyed(lost(), 1), SUCCESS, false);
    let sent = shop.send(60, keyed(lost(), 1));
    let ended = Ended { conclusion: SUCCESS, replayed: true, delivered: true, answered: at(61) };
    let (_, finding, _) = end(shop.memory.as_ref(), &sent.request, sent.opinion, &ended, at(61));
    assert_eq!(finding, Some(Finding::SameKey));
}

#[test]
fn the_same_key_that_stripe_had_forgotten_is_a_duplicate() {
    let own = || Request { kind: Kind::OwnKey, ..keyed(lost(), 1) };
    let mut shop = Shop::default();
    shop.ask(0, own(), SUCCESS, true);
    assert_eq!(shop.ask(26 * 3600, own(), SUCCESS, true), Some(Finding::Duplicate));
    let v2 = || Request { api: Api::V2, ..own() };
    let mut shop = Shop::default();
    shop.ask(0, v2(), SUCCESS, true);
    assert_eq!(shop.ask(60, v2(), SUCCESS, true), Some(Finding::SameKey), "v2 marks nothing");
}

#[test]
fn the_same_again_after_a_delivered_answer_is_taken_as_intended() {
    let mut shop = Shop::default();
    shop.ask(0, keyed(lost(), 1), SUCCESS, true);
    assert_eq!(shop.ask(60, keyed(lost(), 2), SUCCESS, true), Some(Finding::Repeat));
}

#[test]
fn twins_within_the_window_are_duplicates_and_beyond_it_they_are_not() {
    let mut shop = Shop::default();
    shop.ask(0, keyed(content(true, 30), 1), SUCCESS, true);
    assert_eq!(shop.ask(20, keyed(content(true, 30), 2), SUCCESS, true), Some(Finding::Duplicate));
    assert_eq!(shop.ask(90, keyed(content(true, 30), 3), SUCCESS, true), Some(Finding::Repeat));
}

#[test]
fn a_named_operation_that_succeeded_is_a_duplicate_whenever_it_comes_again() {
    let mut shop = Shop::default();
    shop.ask(0, keyed(named(), 1), SUCCESS, true);
    assert_eq!(shop.ask(3600, keyed(named(), 2), SUCCESS, true), Some(Finding::Duplicate));
    // Beyond safe retention payonce would say that it is done.
    assert_eq!(shop.ask(24 * 3600, keyed(named(), 3), SUCCESS, true), Some(Finding::Duplicate));
}

#[test]
fn three_executions_are_two_duplicates() {
    let mut shop = Shop::default();
    let findings: Vec<_> =
        (0..3).map(|n| shop.ask(u64::from(n) * 60, keyed(lost(), n), SUCCESS, false)).collect();
    assert_eq!(findings, [None, Some(Finding::Duplicate), Some(Finding::Duplicate)]);
}

#[test]
fn a_retry_after_a_decline_is_a_retry_and_what_comes_after_its_success_is_judged_by_that() {
    let mut shop = Shop::default();
    shop.ask(0, keyed(lost(), 1), DECLINE, true);
    assert_eq!(shop.ask(60, keyed(lost(), 2), SUCCESS, false), Some(Finding::Retry));
    assert_eq!(shop.ask(120, keyed(lost(), 3), SUCCESS, true), Some(Finding::Duplicate));
}

#[test]
fn after_an_unknown_outcome_a_success_is_suspected_and_another_failure_is_a_retry() {
    let mut shop = Shop::default();
    shop.ask(0, keyed(lost(), 1), DOUBT, false);
    assert_eq!(shop.ask(60, keyed(lost(), 2), DOUBT, true), Some(Finding::Retry));
    assert_eq!(shop.ask(120, keyed(lost(), 3), SUCCESS, true), Some(Finding::Duplicate));
}

#[test]
fn what_was_never_executed_leaves_no_trace() {
    let mut shop = Shop::default();
    shop.ask(0, keyed(lost(), 1), Conclusion::NotExecuted, true);
    assert!(shop.memory.is_none());
    assert_eq!(shop.ask(60, keyed(lost(), 2), SUCCESS, true), None);
}

#[test]
fn a_name_used_again_with_other_content_is_a_conflict_unless_it_was_declined() {
    let mut shop = Shop::default();
    shop.ask(0, keyed(named(), 1), SUCCESS, true);
    assert_eq!(shop.ask(60, saying(named(), 9), SUCCESS, true), Some(Finding::Conflict));
    let mut shop = Shop::default();
    shop.ask(0, keyed(named(), 1), DECLINE, true);
    assert_eq!(shop.ask(60, saying(named(), 9), SUCCESS, true), None);
}

#[test]
fn of_two_at_once_one_is_a_duplicate_whichever_ends_first() {
    for first_ends_first in [true, false] {
        let mut shop = Shop::default();
        let one = shop.send(0, keyed(content(true, 0), 1));
        let two = shop.send(1, keyed(content(true, 0), 2));
        let findings = if first_ends_first {
            [shop.ends(3, one, SUCCESS, true), shop.ends(4, two, SUCCESS, true)]
        } else {
            let two = shop.ends(3, two, SUCCESS, true);
            [shop.ends(4, one, SUCCESS, true), two]
        };
        assert_eq!(findings, [None, Some(Finding::Duplicate)], "{first_ends_first}");
    }
}

#[test]
fn who_waits_for_a_live_one_that_is_no_twin_is_judged_by_its_outcome() {
    for (delivered, finding) in [(true, Finding::Repeat), (false, Finding::Duplicate)] {
        let mut shop = Shop::default();
        let one = shop.send(0, keyed(lost(), 1));
        let two = shop.send(1, keyed(lost(), 2));
        assert_eq!(shop.ends(2, one, SUCCESS, delivered), None);
        assert_eq!(shop.ends(3, two, SUCCESS, true), Some(finding), "{delivered}");
    }
}

#[test]
fn an_answer_that_was_given_is_not_shared_beyond_the_window_while_its_delivery_is_not_known() {
    let mut shop = Shop::default();
    let one = shop.send(0, keyed(content(true, 0), 1));
    let keep = answered(shop.memory.as_ref(), &one.request, &one.opinion, false, at(1));
    shop.keep(keep);
    assert_eq!(shop.ask(1, keyed(content(true, 0), 2), SUCCESS, true), None);
    assert_eq!(shop.ends(3, one, SUCCESS, true), None);
}

#[test]
fn a_decline_that_was_given_is_gone_on_from_at_once() {
    let mut shop = Shop::default();
    let one = shop.send(0, keyed(content(true, 30), 1));
    let keep = answered(shop.memory.as_ref(), &one.request, &one.opinion, true, at(1));
    shop.keep(keep);
    let again = shop.ask(1, keyed(content(true, 30), 2), SUCCESS, true);
    assert_eq!(again, Some(Finding::Retry));
    assert_eq!(shop.ends(3, one, DECLINE, true), None);
}

#[test]
fn an_answer_that_the_provider_replayed_was_not_executed_again() {
    let mut shop = Shop::default();
    shop.ask(0, keyed(lost(), 1), SUCCESS, false);
    let sent = shop.send(60, keyed(lost(), 2));
    let ended = Ended { conclusion: SUCCESS, replayed: true, delivered: true, answered: at(61) };
    let (_, finding, _) = end(shop.memory.as_ref(), &sent.request, sent.opinion, &ended, at(61));
    assert_eq!(finding, Some(Finding::Retry));
}

#[test]
fn an_answer_that_nobody_got_a_second_time_is_still_lost() {
    let mut shop = Shop::default();
    shop.ask(0, keyed(lost(), 1), SUCCESS, false);
    // Whoever asked was told that there is no answer, and got that.
    assert_eq!(shop.ask(60, keyed(lost(), 2), DOUBT, true), Some(Finding::Retry));
    assert_eq!(shop.ask(120, keyed(lost(), 3), SUCCESS, true), Some(Finding::Duplicate));
}
