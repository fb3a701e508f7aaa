//! Records survive being written, and what is no record is told from one.

use proptest::prelude::*;
use proptest::sample::select;

use super::some::{NOW, ago, at, key, record};
use super::world::{client_key, fingerprint};
use crate::decide::digest::{ApiKeyHint, FieldDigest, WholeDigest};
use crate::decide::identity::{Fingerprint, Kind};
use crate::decide::operation::codec::{CodecError, decode, encode};
use crate::decide::operation::record::{
    About, Claim, ClientKeySeen, Event, Outcome, Past, Record, Resolved, Settled, Standing,
    TakenOver, Tried,
};
use crate::decide::path::Api;

/// Written by the first payonce: a later one must read it for as long as such records may live.
const GOLDEN: &[u8] = include_bytes!("../../../../tests/fixtures/record-1.json");

fn golden() -> Record {
    Record {
        standing: Standing::Settled(Settled {
            result: Outcome::Succeeded,
            spent: true,
            delivered: false,
        }),
        fingerprint: Fingerprint {
            whole: WholeDigest([0xab; 16]),
            fields: vec![
                ("amount".to_owned(), FieldDigest([1; 8])),
                ("metadata[order_id]".to_owned(), FieldDigest([2; 8])),
            ],
        },
        attempts: 3,
        first_delivered: Some(ago(60)),
        answered: None,
        client_keys: vec![
            ClientKeySeen { digest: client_key(1, 0), occurrence: at(22_000, 0) },
            ClientKeySeen { digest: client_key(2, 0), occurrence: at(22_000, 1) },
        ],
        past: vec![Past {
            occurrence: at(22_000, 0),
            key: key(0),
            spent: true,
            first_sent: ago(7200),
        }],
        about: About {
            rule: "charges".to_owned(),
            policy: "0123456789ab".to_owned(),
            object: Some("ch_1".to_owned()),
            request_id: Some("req_1".to_owned()),
            caller: Some("shop".to_owned()),
            amount: Some("500".to_owned()),
            currency: Some("usd".to_owned()),
            resolved: Some(Resolved {
                by: "ann".to_owned(),
                why: "seen in the dashboard".to_owned(),
                at: NOW,
                unanswerable: false,
            }),
            ..About::default()
        },
        ..record(Kind::OwnKey)
    }
}

fn standings() -> impl Strategy<Value = Standing> {
    let settled =
        (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(it, spent, delivered)| {
            let result = if it { Outcome::Succeeded } else { Outcome::Declined };
            Standing::Settled(Settled { result, spent, delivered })
        });
    prop_oneof![
        Just(Standing::Begun),
        any::<bool>().prop_map(|saved_500| Standing::InDoubt { saved_500 }),
        settled,
    ]
}

fn tried(text: &str) -> Tried {
    Tried {
        at: NOW,
        came: text.to_owned().into(),
        status: (text.len() > 3).then_some(500),
        cause: (text.len() <= 3).then(|| text.to_owned()),
        request_id: (text.len() > 3).then(|| text.to_owned()),
    }
}

fn abouts() -> impl Strategy<Value = About> {
    let maybe = || prop::option::of(any::<String>());
    (any::<String>(), maybe(), maybe(), maybe(), any::<bool>()).prop_map(
        |(rule, object, caller, amount, by_hand)| About {
            policy: rule.clone(),
            rule: rule.clone(),
            object,
            request_id: None,
            currency: amount.clone(),
            caller,
            amount,
            resolved: by_hand.then(|| Resolved {
                by: rule.clone(),
                why: rule.clone(),
                at: NOW,
                unanswerable: false,
            }),
            account: by_hand.then(|| rule.clone()),
            api_key: by_hand.then_some(ApiKeyHint([7; 8])),
            event: by_hand.then(|| Event {
                id: rule.clone(),
                kind: rule.clone(),
                object: None,
                endpoint: rule.clone(),
                at: NOW,
            }),
            trail: by_hand.then(|| tried(&rule)).into_iter().collect(),
            taken_over: by_hand.then(|| TakenOver { from: rule.clone(), at: NOW }),
        },
    )
}

fn records() -> impl Strategy<Value = Record> {
    let kinds = vec![Kind::Header, Kind::Fields, Kind::OwnKey, Kind::Content];
    let names = prop::collection::vec((any::<String>(), any::<[u8; 8]>()), 0..5);
    let seen = prop::collection::vec((any::<u16>(), any::<u64>(), any::<u32>()), 0..5);
    let parts = (select(kinds), standings(), names, seen, abouts());
    (parts, any::<bool>(), any::<u64>(), "[ -~]{1,255}").prop_map(
        |((kind, standing, names, seen, about), v2, time, key)| {
            let key = crate::decide::key::IdempotencyKey::parse(key.as_bytes()).unwrap();
            let time = crate::clock::Timestamp::from_millis(time);
            Record {
                api: if v2 { Api::V2 } else { Api::V1 },
                claim: v2.then(|| Claim {
                    owner: about.rule.clone(),
                    token: about.policy.clone(),
                    lease: time,
                }),
                standing,
                key: key.clone(),
                fingerprint: Fingerprint {
                    fields: names.into_iter().map(|(it, of)| (it, FieldDigest(of))).collect(),
                    ..fingerprint(3)
                },
                first_sent: time,
                first_delivered: (!v2).then_some(time),
                answered: v2.then_some(time),
                past: seen
                    .iter()
                    .map(|(_digest, epoch, n)| Past {
                        occurrence: at(*epoch, *n),
                        key: key.clone(),
                        spent: v2,
                        first_sent: time,
                    })
                    .collect(),
                client_keys: seen
                    .into_iter()
                    .map(|(digest, epoch, n)| ClientKeySeen {
                        digest: client_key(digest, 0),
                        occurrence: at(epoch, n),
                    })
                    .collect(),
                about,
                ..record(kind)
            }
        },
    )
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_was_written(record in records()) {
        let bytes = encode(&record).unwrap();
        prop_assert_eq!(decode(&bytes), Ok(record));
    }

    #[test]
    fn a_record_cut_short_is_unreadable(record in records(), at in any::<prop::sample::Index>()) {
        let bytes = encode(&record).unwrap();
        prop_assert_eq!(decode(&bytes[..at.index(bytes.len())]), Err(CodecError::Unreadable));
    }

    #[test]
    fn garbage_is_unreadable_and_harmless(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(decode(&bytes), Err(CodecError::Unreadable));
    }
}

#[test]
fn records_of_form_1_stay_readable() {
    assert_eq!(decode(GOLDEN), Ok(golden()));
}

#[test]
fn what_is_written_has_the_names_of_form_1() {
    let ours: serde_json::Value = serde_json::from_slice(&encode(&golden()).unwrap()).unwrap();
    let theirs: serde_json::Value = serde_json::from_slice(GOLDEN).unwrap();
    assert_eq!(ours, theirs);
}

#[test]
fn a_record_of_a_newer_payonce_is_refused_even_if_it_looks_otherwise() {
    for newer in [r#"{"format":2}"#, r#"{"format":2,"kind":["anything"]}"#] {
        assert_eq!(decode(newer.as_bytes()), Err(CodecError::Newer(2)));
    }
    let bytes = encode(&Record { format: 7, ..golden() }).unwrap();
    assert_eq!(decode(&bytes), Err(CodecError::Newer(7)));
}

#[test]
fn what_is_json_and_no_record_is_unreadable() {
    for other in ["{}", "null", "[]", r#"{"format":1}"#, r#"{"format":-1}"#, r#"{"format":"1"}"#] {
        assert_eq!(decode(other.as_bytes()), Err(CodecError::Unreadable), "{other}");
    }
}

#[test]
fn a_stored_key_that_is_none_is_unreadable() {
    let text = String::from_utf8(GOLDEN.to_vec()).unwrap();
    let bad = text.replace(r#""key": "key-1""#, r#""key": "a\nb""#);
    assert_ne!(bad, text);
    assert_eq!(decode(bad.as_bytes()), Err(CodecError::Unreadable));
}

#[test]
fn nobody_reads_a_key_off_a_printed_record() {
    let printed = format!("{:?}", golden());
    assert!(!printed.contains("key-1") && !printed.contains("key-0"), "{printed}");
}
