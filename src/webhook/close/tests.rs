//! From which account an event may close what.

use super::*;
use crate::clock::Timestamp;
use crate::decide::digest::{Secret, WholeDigest};
use crate::decide::identity::Fingerprint;
use crate::decide::key::IdempotencyKey;
use crate::decide::operation::Occurrence;
use crate::decide::operation::record::{About, FORMAT, Standing};
use crate::decide::path::Api;

const KEY: ApiKeyDigest = ApiKeyDigest([1; 32]);

fn derived() -> IdempotencyKey {
    let operation = OperationId([3; 32]);
    IdempotencyKey::derived(&Secret::configured(b"of tests"), &operation, Occurrence::first(1))
}

fn record(kind: Kind, key: IdempotencyKey, account: Option<&str>) -> Record {
    Record {
        format: FORMAT,
        kind,
        request: "POST /v1/charges".to_owned(),
        api: Api::V1,
        claim: None,
        standing: Standing::InDoubt { saved_500: false },
        occurrence: Occurrence::first(1),
        key,
        fingerprint: Fingerprint { whole: WholeDigest([0; 16]), fields: Vec::new() },
        first_sent: Timestamp::default(),
        last_sent: Timestamp::default(),
        attempts: 1,
        first_delivered: None,
        answered: None,
        client_keys: Vec::new(),
        past: Vec::new(),
        about: About {
            account: account.map(str::to_owned),
            api_key: Some(KEY.hint()),
            request_id: Some("req_1".to_owned()),
            ..About::default()
        },
    }
}

fn event(account: Option<&str>, request: &str) -> Event {
    let event = serde_json::json!({
        "id": "evt_1", "type": "charge.succeeded", "account": account,
        "request": { "id": request, "idempotency_key": "any" },
    });
    Event::read(event.to_string().as_bytes()).unwrap()
}

#[test]
fn a_derived_key_is_proof_and_the_connected_account_must_agree() {
    for (asked, happened, endpoint, same) in [
        (None, None, None, true),
        (None, None, Some("acct_1"), true),
        (Some("acct_9"), Some("acct_9"), None, true),
        (Some("org_1/acct_9"), Some("acct_9"), None, true),
        (Some("acct_9"), None, Some("acct_9"), true),
        (None, Some("acct_1"), Some("acct_1"), true),
        (Some("acct_9"), Some("acct_8"), None, false),
        (Some("acct_9"), None, None, false),
        (Some("acct_9"), None, Some("acct_1"), false),
        (None, Some("acct_9"), None, false),
        (None, Some("acct_9"), Some("acct_1"), false),
    ] {
        let record = record(Kind::Content, derived(), asked);
        let event = event(happened, "req_other");
        assert_eq!(same_account(&record, endpoint, &[], &event), same, "{asked:?} {happened:?}");
    }
}

#[test]
fn a_key_that_the_application_chose_needs_the_endpoint_to_name_its_api_key_or_the_same_request() {
    let own = IdempotencyKey::parse(b"order-42").unwrap();
    let same = |kind, key: &IdempotencyKey, keys: &[ApiKeyDigest], request: &str| {
        same_account(&record(kind, key.clone(), None), None, keys, &event(None, request))
    };
    assert!(!same(Kind::OwnKey, &own, &[], "req_other"));
    assert!(!same(Kind::OwnKey, &own, &[ApiKeyDigest([2; 32])], "req_other"));
    assert!(same(Kind::OwnKey, &own, &[KEY], "req_other"));
    assert!(same(Kind::OwnKey, &own, &[], "req_1"));
    // Also where it looks like a derived one, or stands for a call that was recalled.
    assert!(!same(Kind::OwnKey, &derived(), &[], "req_other"));
    assert!(!same(Kind::Content, &own, &[], "req_other"));
}
