//! What is counted shows under its name and labels.

use std::collections::BTreeMap;

use http::StatusCode;

use super::*;
use crate::decide::agent::Sdk;

fn has(metrics: &Metrics, line: &str) {
    let text = metrics.encode();
    assert!(text.lines().any(|had| had == line), "no {line:?} in\n{text}");
}

#[test]
fn every_event_is_counted_under_its_labels() {
    let metrics = Metrics::new();
    let clone = metrics.clone();
    clone.operation("charges", "executed");
    clone.operation("charges", "executed");
    metrics.row("A1");
    metrics.retry("reset");
    metrics.refusal("payonce_store_down");
    metrics.upstream_attempt("api", "2xx");
    metrics.merge("content");
    metrics.degraded("store_down");
    metrics.ledger_error("unavailable");
    metrics.ledger_round_trip("claim", Duration::from_millis(1));
    metrics.alarm("conflict_at_stripe");
    metrics.limit_reached("limits.body");
    metrics.passthrough(StatusCode::NOT_FOUND);
    metrics.delivery(true);
    metrics.delivery(false);
    metrics.repeat("charges");
    metrics.forgotten("charges");
    metrics.in_doubt("charges");
    metrics.abandoned();
    metrics.store_forgot("mark_gone");
    metrics.store_breaker(true);
    metrics.policy_refused();
    metrics.request(&Method::POST, StatusCode::OK, Duration::from_millis(20));
    metrics.attempt(&Method::POST, "api.test", Ok(StatusCode::OK), Duration::from_millis(20));
    metrics.attempt(&Method::POST, "api.test", Err("dns"), Duration::from_millis(20));
    metrics.store_up(true);
    metrics.retry_budget(0.25);
    metrics.sdk(Some(Sdk::Python), Major::Known(16)).one();
    metrics.record_lines("written", 3);
    for line in [
        "payonce_operations_total{rule=\"charges\",outcome=\"executed\"} 2",
        "payonce_decisions_total{row=\"A1\"} 1",
        "payonce_retries_total{reason=\"reset\"} 1",
        "payonce_refusals_total{code=\"payonce_store_down\"} 1",
        "payonce_upstream_attempts_total{host=\"api\",result=\"2xx\"} 1",
        "payonce_merges_total{kind=\"content\"} 1",
        "payonce_degraded_total{reason=\"store_down\"} 1",
        "payonce_ledger_errors_total{kind=\"unavailable\"} 1",
        "payonce_ledger_round_trip_seconds_count{call=\"claim\"} 1",
        "payonce_alarms_total{kind=\"conflict_at_stripe\"} 1",
        "payonce_limits_reached_total{limit=\"limits.body\"} 1",
        "payonce_passthrough_total{status=\"4xx\"} 1",
        "payonce_deliveries_total{delivered=\"yes\"} 1",
        "payonce_deliveries_total{delivered=\"lost\"} 1",
        "payonce_repeats_total{rule=\"charges\"} 1",
        "payonce_forgotten_total{rule=\"charges\"} 1",
        "payonce_in_doubt_total{rule=\"charges\"} 1",
        "payonce_abandoned_total 1",
        "payonce_store_forgot_total{sign=\"mark_gone\"} 1",
        "payonce_store_breaker_total{change=\"opened\"} 1",
        "payonce_policy_refused_total 1",
        "payonce_store_up 1",
        "payonce_retry_budget_remaining_ratio 0.25",
        "payonce_sdk_requests_total{sdk=\"python\",major=\"16\"} 1",
        "payonce_record_lines_total{result=\"written\"} 3",
        "http_client_request_duration_seconds_count{http_request_method=\"POST\",server_address=\"api.test\",http_response_status_code=\"200\",error_type=\"\"} 1",
        "http_client_request_duration_seconds_count{http_request_method=\"POST\",server_address=\"api.test\",http_response_status_code=\"\",error_type=\"dns\"} 1",
        "http_server_request_duration_seconds_bucket{le=\"0.025\",http_request_method=\"POST\",http_response_status_code=\"200\"} 1",
    ] {
        has(&metrics, line);
    }
}

#[test]
fn a_gauge_counts_what_lives() {
    let metrics = Metrics::new();
    let first = metrics.in_flight();
    let _second = metrics.in_flight();
    drop(first);
    has(&metrics, "payonce_operations_in_flight 1");
}

#[test]
fn only_the_policy_in_force_is_shown() {
    let metrics = Metrics::new();
    metrics.policy_in_force("aaaa", Timestamp::from_millis(1_000), true);
    metrics.policy_in_force("bbbb", Timestamp::from_millis(2_500), false);
    has(&metrics, "payonce_policy_info{version=\"bbbb\"} 1.0");
    has(&metrics, "payonce_policy_last_reload_successful 0");
    has(&metrics, "payonce_policy_last_reload_success_timestamp_seconds 2.5");
    assert!(!metrics.encode().contains("aaaa"));
}

#[test]
fn a_metric_has_a_bounded_number_of_series() {
    let metrics = Metrics::new();
    for n in 0..300 {
        metrics.repeat(&format!("rule{n}"));
    }
    metrics.repeat("rule0");
    has(&metrics, "payonce_repeats_total{rule=\"other\"} 44");
    has(&metrics, "payonce_repeats_total{rule=\"rule0\"} 2");
    has(&metrics, "payonce_limits_reached_total{limit=\"metric_series\"} 44");
}

#[test]
fn a_method_that_a_client_made_up_gets_no_series_of_its_own() {
    let metrics = Metrics::new();
    let made_up = Method::from_bytes(b"PAYNOW").unwrap();
    metrics.request(&made_up, StatusCode::OK, Duration::from_millis(1));
    assert!(!metrics.encode().contains("PAYNOW"));
    assert!(metrics.encode().contains("http_request_method=\"_OTHER\""));
}

#[test]
fn what_is_no_longer_open_is_no_longer_shown() {
    let metrics = Metrics::new();
    let group = Group { count: 2, oldest: Duration::from_secs(90) };
    let doubt = Open { in_doubt: group, horizon: Some(Duration::from_mins(1)), ..Open::default() };
    let open = BTreeMap::from([("charges".to_owned(), doubt), ("old".to_owned(), doubt)]);
    metrics.open_operations(&open, Timestamp::from_millis(5_000), false);
    for line in [
        "payonce_open_operations{rule=\"charges\",state=\"in_doubt\"} 2.0",
        "payonce_open_operations{rule=\"charges\",state=\"in_flight\"} 0.0",
        "payonce_oldest_open_age_seconds{rule=\"old\",state=\"in_doubt\"} 90.0",
        "payonce_horizon_seconds{rule=\"charges\"} 60.0",
        "payonce_survey_timestamp_seconds 5.0",
        "payonce_survey_complete 0",
    ] {
        has(&metrics, line);
    }
    let none = BTreeMap::from([("charges".to_owned(), Open::default())]);
    metrics.open_operations(&none, Timestamp::from_millis(6_000), true);
    has(&metrics, "payonce_open_operations{rule=\"charges\",state=\"in_doubt\"} 0.0");
    has(&metrics, "payonce_survey_complete 1");
    let text = metrics.encode();
    assert!(!text.contains("horizon_seconds{") && !text.contains("rule=\"old\""), "{text}");
}

#[test]
fn a_version_that_no_sdk_has_is_counted_with_all_others_of_that_kind() {
    let metrics = Metrics::new();
    metrics.sdk(Some(Sdk::Python), Major::Other).one();
    metrics.sdk(Some(Sdk::Python), Major::Other).one();
    metrics.sdk(None, Major::Unknown).one();
    has(&metrics, "payonce_sdk_requests_total{sdk=\"python\",major=\"other\"} 2");
    has(&metrics, "payonce_sdk_requests_total{sdk=\"unknown\",major=\"unknown\"} 1");
}
