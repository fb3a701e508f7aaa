use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const LIMITS: Limits = Limits {
    deadline: Duration::from_secs(70),
    attempt: Duration::from_secs(40),
    attempts: 4,
    backoff: Duration::from_millis(500),
    backoff_max: Duration::from_secs(5),
};

const fn having(meaning: Meaning) -> Situation {
    Situation {
        attempts: 1,
        elapsed: Duration::ZERO,
        meaning,
        signals: Signals { should_retry: None, replayed: false, retry_after: None },
        indeterminate: 0,
        wanted: true,
        closing: false,
        key_is_safe: true,
    }
}

const FRESH_500: Situation =
    Situation { indeterminate: 1, ..having(Meaning::Indeterminate { saved: false }) };
const DECLINED: Meaning = Meaning::Declined { spent: false };

fn told(should_retry: bool, now: Situation) -> Situation {
    Situation { signals: Signals { should_retry: Some(should_retry), ..now.signals }, ..now }
}

fn next(now: Situation) -> Next {
    after(&LIMITS, &now, 0.5)
}

fn resends(now: Situation) -> bool {
    matches!(next(now), Next::Resend(_))
}

#[test]
fn what_may_be_cured_by_time_is_sent_again() {
    for meaning in [Meaning::NotSent, Meaning::Unknown, Meaning::RateLimited] {
        assert!(resends(having(meaning)), "{meaning:?}");
    }
}

#[test]
fn what_is_final_is_not_sent_again() {
    for meaning in [
        Meaning::Succeeded,
        Meaning::Conflict,
        Meaning::NotExecuted,
        DECLINED,
        Meaning::Indeterminate { saved: true },
    ] {
        assert_eq!(next(having(meaning)), Next::Stop(Why::Final), "{meaning:?}");
    }
}

#[test]
fn a_500_is_tried_once_more() {
    assert!(resends(FRESH_500));
    let twice = Situation { indeterminate: 2, attempts: 2, ..FRESH_500 };
    assert_eq!(next(twice), Next::Stop(Why::Attempts));
}

#[test]
fn the_provider_may_say_not_to() {
    for meaning in [Meaning::Unknown, Meaning::RateLimited, Meaning::NotSent] {
        assert_eq!(next(told(false, having(meaning))), Next::Stop(Why::ToldNotTo), "{meaning:?}");
    }
    assert_eq!(next(told(false, FRESH_500)), Next::Stop(Why::ToldNotTo));
    assert_eq!(next(told(false, having(DECLINED))), Next::Stop(Why::Final));
}

#[test]
fn the_provider_may_say_to_try_again_what_looks_final() {
    for meaning in [DECLINED, Meaning::NotExecuted] {
        assert!(resends(told(true, having(meaning))), "{meaning:?}");
    }
    assert!(resends(told(true, Situation { indeterminate: 2, ..FRESH_500 })));
}

#[test]
fn nothing_makes_it_send_a_success_or_a_conflict_again() {
    for meaning in [Meaning::Succeeded, Meaning::Conflict, Meaning::Indeterminate { saved: true }] {
        assert_eq!(next(told(true, having(meaning))), Next::Stop(Why::Final), "{meaning:?}");
    }
}

#[test]
fn a_limit_that_is_reached_is_named() {
    let unknown = having(Meaning::Unknown);
    for (now, why) in [
        (Situation { wanted: false, ..unknown }, Why::Unwanted),
        (Situation { closing: true, ..unknown }, Why::Shutdown),
        (Situation { key_is_safe: false, ..unknown }, Why::Retention),
        (Situation { attempts: 4, ..unknown }, Why::Attempts),
        (Situation { elapsed: Duration::from_secs(70), ..unknown }, Why::Deadline),
        (Situation { elapsed: Duration::from_millis(69_900), ..unknown }, Why::Deadline),
    ] {
        assert_eq!(next(now), Next::Stop(why));
        assert_eq!(next(told(true, now)), Next::Stop(why), "whatever the provider says");
    }
}

#[test]
fn retry_after_is_kept_or_the_trying_ends() {
    let after = |seconds| {
        let mut now = having(Meaning::RateLimited);
        now.signals.retry_after = Some(Duration::from_secs(seconds));
        next(now)
    };
    assert_eq!(after(20), Next::Resend(Duration::from_secs(20)));
    assert_eq!(after(70), Next::Stop(Why::Deadline));
    assert_eq!(after(u64::MAX), Next::Stop(Why::Deadline));
}

#[test]
fn the_reasons_have_names_of_their_own() {
    let all = [
        Why::Final,
        Why::ToldNotTo,
        Why::Attempts,
        Why::Deadline,
        Why::Unwanted,
        Why::Retention,
        Why::Shutdown,
        Why::Budget,
    ];
    let names: std::collections::BTreeSet<&str> = all.iter().map(|why| why.as_str()).collect();
    assert_eq!(names.len(), all.len());
}

fn meanings() -> impl Strategy<Value = Meaning> {
    select(vec![
        Meaning::NotSent,
        Meaning::Unknown,
        Meaning::RateLimited,
        Meaning::Indeterminate { saved: false },
        Meaning::Indeterminate { saved: true },
        Meaning::Succeeded,
        Meaning::NotExecuted,
        Meaning::Conflict,
        DECLINED,
    ])
}

proptest! {
    #[test]
    fn no_attempt_begins_beyond_a_limit(
        meaning in meanings(),
        attempts in 0_u32..100,
        elapsed in 0_u64..100_000,
        random in -1.0_f64..2.0,
        should_retry in any::<Option<bool>>(),
        retry_after in prop::option::of(0_u64..100),
    ) {
        let signals = Signals {
            should_retry,
            retry_after: retry_after.map(Duration::from_secs),
            replayed: false,
        };
        let elapsed = Duration::from_millis(elapsed);
        let now = Situation { attempts, elapsed, signals, ..having(meaning) };
        if let Next::Resend(pause) = after(&LIMITS, &now, random) {
            prop_assert!(attempts < LIMITS.attempts);
            prop_assert!(elapsed + pause < LIMITS.deadline);
            prop_assert!(pause >= signals.retry_after.unwrap_or_default());
            prop_assert!(pause <= LIMITS.backoff_max.max(signals.retry_after.unwrap_or_default()));
        }
    }

    #[test]
    fn the_pause_is_anything_up_to_the_doubling_back_off(
        attempts in 1_u32..4, random in 0.0_f64..1.0,
    ) {
        let now = Situation { attempts, ..having(Meaning::Unknown) };
        let ceiling = Duration::from_millis(500 << (attempts - 1));
        let Next::Resend(pause) = after(&LIMITS, &now, random) else { panic!("no resend") };
        prop_assert_eq!(pause, ceiling.mul_f64(random));
    }

    #[test]
    fn a_rate_limit_waits_for_at_least_half_of_the_longest_pause(random in 0.0_f64..1.0) {
        let next = after(&LIMITS, &having(Meaning::RateLimited), random);
        let Next::Resend(pause) = next else { panic!("no resend") };
        prop_assert!(pause >= LIMITS.backoff_max / 2 && pause <= LIMITS.backoff_max);
    }

    #[test]
    fn retries_are_a_share_of_the_requests_and_a_few_a_second(
        steps in prop::collection::vec((any::<bool>(), 0_u64..500), 1..500)
    ) {
        let begin = Timestamp::from_millis(1_800_000_000_000);
        let mut budget = Budget::new(0.2, 1.0, begin);
        let (mut now, mut requests, mut granted) = (begin, 0.0, 0.0);
        for (request, millis) in steps {
            now = now.plus(Duration::from_millis(millis));
            if request {
                budget.deposit();
                requests += 1.0;
            } else if budget.withdraw(now) {
                granted += 1.0;
            }
            let most = 10.0 + 0.2 * requests + now.since(begin).as_secs_f64();
            prop_assert!(granted <= most + 1e-6, "{} retries, at most {}", granted, most);
        }
    }
}

#[test]
fn what_is_saved_up_is_bounded() {
    let begin = Timestamp::from_millis(0);
    let mut budget = Budget::new(0.2, 1.0, begin);
    let much_later = begin.plus(Duration::from_hours(1000));
    for _request in 0..10_000 {
        budget.deposit();
    }
    let granted = (0..1000).filter(|_each| budget.withdraw(much_later)).count();
    assert_eq!(granted, 20);
}

#[test]
fn a_budget_recovers_with_time_and_survives_a_clock_that_steps_back() {
    let begin = Timestamp::from_millis(1_000_000);
    let mut budget = Budget::new(0.2, 1.0, begin);
    while budget.withdraw(begin) {}
    assert!(!budget.withdraw(Timestamp::from_millis(0)));
    assert!(budget.withdraw(begin.plus(Duration::from_secs(1))));
}
