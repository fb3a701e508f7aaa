use std::collections::BTreeSet;

use http::HeaderValue;
use proptest::prelude::*;
use proptest::sample::select;

use super::Row::{O1, O2, O3, O4, O5, O6, O7, O8};
use super::*;

/// What the provider answers: status, headers, `error` of the body.
#[derive(Clone, Copy, Debug)]
struct Answer {
    status: u16,
    replayed: bool,
    kind: Option<&'static str>,
    code: Option<&'static str>,
}

const fn bare(status: u16) -> Answer {
    Answer { status, replayed: false, kind: None, code: None }
}

const fn of_kind(status: u16, kind: &'static str) -> Answer {
    Answer { kind: Some(kind), ..bare(status) }
}

const fn with_code(status: u16, code: &'static str) -> Answer {
    Answer { code: Some(code), ..of_kind(status, "invalid_request_error") }
}

const fn replayed(answer: Answer) -> Answer {
    Answer { replayed: true, ..answer }
}

fn meaning(answer: Answer, api: Api) -> Meaning {
    let mut headers = HeaderMap::new();
    if answer.replayed {
        headers.insert("Idempotent-Replayed", HeaderValue::from_static("true"));
    }
    let mut error = serde_json::Map::new();
    error.insert("message".to_owned(), "a text".into());
    error.extend(answer.kind.map(|kind| ("type".to_owned(), kind.into())));
    error.extend(answer.code.map(|code| ("code".to_owned(), code.into())));
    let body = serde_json::to_vec(&serde_json::json!({ "error": error })).unwrap();
    let status = StatusCode::from_u16(answer.status).unwrap();
    read(status, Signals::of(&headers), ErrorBody::read(&body).as_ref(), api)
}

const SPENT: Meaning = Meaning::Declined { spent: true };
const UNSPENT: Meaning = Meaning::Declined { spent: false };

/// Row, answer, and what it means for v1 and v2.
type Case = (Row, Answer, Meaning, Meaning);

fn both(cases: &mut Vec<Case>, row: Row, answer: Answer, meaning: Meaning) {
    cases.push((row, answer, meaning, meaning));
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for status in [300, 302, 304, 307, 408, 424, 409, 501, 502, 503, 504, 520, 599] {
        both(&mut cases, O2, bare(status), Meaning::Unknown);
    }
    both(&mut cases, O2, with_code(409, "idempotency_key_in_use"), Meaning::Unknown);
    both(&mut cases, O2, of_kind(409, "idempotency_error"), Meaning::Unknown);
    both(&mut cases, O2, with_code(429, "lock_timeout"), Meaning::Unknown);
    both(&mut cases, O3, bare(429), Meaning::RateLimited);
    both(&mut cases, O3, with_code(429, "rate_limit"), Meaning::RateLimited);
    both(&mut cases, O4, bare(500), Meaning::Indeterminate { saved: false });
    both(&mut cases, O4, replayed(bare(500)), Meaning::Indeterminate { saved: true });
    for status in [200, 201, 202, 204, 206] {
        both(&mut cases, O5, bare(status), Meaning::Succeeded);
        both(&mut cases, O5, replayed(bare(status)), Meaning::Succeeded);
    }
    for status in [401, 403] {
        both(&mut cases, O6, bare(status), Meaning::NotExecuted);
        both(&mut cases, O6, of_kind(status, "invalid_request_error"), Meaning::NotExecuted);
    }
    both(&mut cases, O7, of_kind(400, "idempotency_error"), Meaning::Conflict);
    both(&mut cases, O7, replayed(of_kind(400, "idempotency_error")), Meaning::Conflict);
    both(&mut cases, O8, with_code(409, "resource_already_exists"), UNSPENT);
    for status in [400, 404, 405, 410, 413, 422, 451] {
        both(&mut cases, O8, of_kind(status, "invalid_request_error"), UNSPENT);
        cases.push((O8, replayed(bare(status)), SPENT, UNSPENT));
    }
    cases.push((O8, of_kind(402, "card_error"), SPENT, UNSPENT));
    cases.push((O8, replayed(of_kind(402, "card_error")), SPENT, UNSPENT));
    cases
}

#[test]
fn every_answer_means_what_the_table_says() {
    for (row, answer, v1, v2) in cases() {
        assert_eq!(meaning(answer, Api::V1), v1, "v1 {row:?} {answer:?}");
        assert_eq!(meaning(answer, Api::V2), v2, "v2 {row:?} {answer:?}");
        assert_eq!((v1.row(), v2.row()), (row, row), "{answer:?}");
    }
}

#[test]
fn no_row_is_left_untried() {
    let mut tried: BTreeSet<Row> = cases().into_iter().map(|case| case.0).collect();
    tried.insert(Meaning::NotSent.row()); // no answer, so no case above
    let missing: Vec<Row> = Row::ALL.into_iter().filter(|row| !tried.contains(row)).collect();
    println!("rows covered (pure): {}/{}", tried.len(), Row::ALL.len());
    assert!(missing.is_empty(), "rows without a case: {missing:?}");
    assert_eq!(Meaning::NotSent.row(), O1);
}

#[test]
fn each_row_has_a_name_of_its_own() {
    assert!(Row::ALL.iter().all(|row| row.as_str() == format!("{row:?}")));
}

#[test]
fn a_body_that_is_no_error_tells_nothing() {
    for body in ["", "<html>", "null", "[]", "{}", r#"{"error":null}"#, r#"{"error":{"type":1}}"#] {
        assert_eq!(ErrorBody::read(body.as_bytes()), None, "{body}");
    }
    assert_eq!(ErrorBody::read(br#"{"error":{}}"#), Some(ErrorBody::default()));
    let oauth = ErrorBody { kind: None, code: Some("invalid_grant".to_owned()) };
    assert_eq!(ErrorBody::read(br#"{"error":"invalid_grant"}"#), Some(oauth));
}

fn signals(name: &'static str, value: &'static str) -> Signals {
    let mut headers = HeaderMap::new();
    headers.insert(name, HeaderValue::from_static(value));
    Signals::of(&headers)
}

#[test]
fn signals_are_read_as_the_provider_writes_them_and_else_not_at_all() {
    assert_eq!(signals("stripe-should-retry", "true").should_retry, Some(true));
    assert_eq!(signals("Stripe-Should-Retry", "false").should_retry, Some(false));
    for other in ["", "1", "yes", "maybe"] {
        assert_eq!(signals("stripe-should-retry", other).should_retry, None, "{other}");
    }
    assert!(signals("idempotent-replayed", "true").replayed);
    for other in ["false", "", "1"] {
        assert!(!signals("idempotent-replayed", other).replayed, "{other}");
    }
    assert_eq!(signals("retry-after", "7").retry_after, Some(Duration::from_secs(7)));
    for other in ["-1", "1.5", "soon", "Wed, 21 Oct 2026 07:28:00 GMT"] {
        assert_eq!(signals("retry-after", other).retry_after, None, "{other}");
    }
    assert_eq!(Signals::of(&HeaderMap::new()), Signals::default());
}

fn tally(meanings: &[Meaning]) -> Tally {
    let mut tally = Tally::default();
    for meaning in meanings {
        tally.add(*meaning);
    }
    tally
}

fn concluded(meanings: &[Meaning]) -> Conclusion {
    tally(meanings).conclusion()
}

const IN_DOUBT: Conclusion = Conclusion::InDoubt { saved_500: false };
const FRESH_500: Meaning = Meaning::Indeterminate { saved: false };
const NOTHING: [Meaning; 4] =
    [Meaning::NotSent, Meaning::RateLimited, Meaning::NotExecuted, Meaning::Conflict];

#[test]
fn where_nothing_was_executed_nothing_is_concluded() {
    assert_eq!(concluded(&[]), Conclusion::NotExecuted);
    for one in NOTHING {
        for other in NOTHING {
            assert_eq!(concluded(&[one, other]), Conclusion::NotExecuted);
        }
    }
}

#[test]
fn after_one_unknown_nothing_short_of_an_outcome_ends_the_doubt() {
    for unknown in [Meaning::Unknown, FRESH_500] {
        assert_eq!(concluded(&[unknown]), IN_DOUBT);
        for later in NOTHING {
            assert_eq!(concluded(&[unknown, later]), IN_DOUBT, "{unknown:?}, {later:?}");
            assert_eq!(concluded(&[later, unknown]), IN_DOUBT, "{later:?}, {unknown:?}");
            assert_eq!(concluded(&[unknown, later, later]), IN_DOUBT);
        }
    }
}

#[test]
fn an_outcome_ends_the_doubt() {
    for before in [Meaning::Unknown, FRESH_500, Meaning::NotSent, Meaning::RateLimited] {
        assert_eq!(concluded(&[before, Meaning::Succeeded]), Conclusion::Succeeded);
        for spent in [true, false] {
            let declined = Meaning::Declined { spent };
            assert_eq!(concluded(&[before, declined]), Conclusion::Declined { spent });
        }
        let saved = Meaning::Indeterminate { saved: true };
        assert_eq!(concluded(&[before, saved]), Conclusion::InDoubt { saved_500: true });
    }
}

#[test]
fn a_decline_that_is_tried_again_without_being_sent_stays_declined() {
    for later in NOTHING {
        assert_eq!(concluded(&[UNSPENT, later]), Conclusion::Declined { spent: false });
    }
    for later in NOTHING {
        let told = [Meaning::Unknown, UNSPENT, later];
        assert_eq!(concluded(&told), Conclusion::Declined { spent: false }, "it was answered");
    }
    assert_eq!(concluded(&[UNSPENT, Meaning::Unknown]), IN_DOUBT);
}

#[test]
fn only_an_attempt_that_was_never_sent_leaves_no_trace() {
    assert!(!tally(&[]).sent() && !tally(&[Meaning::NotSent]).sent());
    for meaning in ALL_MEANINGS.into_iter().filter(|it| *it != Meaning::NotSent) {
        assert!(tally(&[Meaning::NotSent, meaning, Meaning::NotSent]).sent(), "{meaning:?}");
    }
}

const ALL_MEANINGS: [Meaning; 10] = [
    Meaning::NotSent,
    Meaning::Unknown,
    Meaning::RateLimited,
    Meaning::Indeterminate { saved: true },
    FRESH_500,
    Meaning::Succeeded,
    Meaning::NotExecuted,
    Meaning::Conflict,
    SPENT,
    UNSPENT,
];

proptest! {
    /// I5: "not executed" is never concluded once bytes have left and nothing was heard.
    #[test]
    fn nothing_is_put_back_after_a_doubt(
        meanings in prop::collection::vec(select(ALL_MEANINGS.to_vec()), 0..6)
    ) {
        let doubtful = meanings.iter().any(|it| {
            matches!(it, Meaning::Unknown | Meaning::Indeterminate { .. })
        });
        if doubtful {
            prop_assert_ne!(concluded(&meanings), Conclusion::NotExecuted);
        }
    }

    #[test]
    fn any_status_has_a_meaning_and_only_2xx_is_a_success(status in 200_u16..600, replay: bool) {
        for api in [Api::V1, Api::V2] {
            let meaning = meaning(Answer { replayed: replay, ..bare(status) }, api);
            prop_assert_eq!(meaning == Meaning::Succeeded, (200..300).contains(&status));
            if !(400..500).contains(&status) {
                let is_outcome = matches!(meaning.row(), O6 | O8);
                prop_assert!(!is_outcome, "{:?}", meaning);
            }
        }
    }
}
