//! A record to begin with, and the times around it.

use std::time::Duration;

use super::world::fingerprint;
use crate::clock::Timestamp;
use crate::decide::identity::Kind;
use crate::decide::key::IdempotencyKey;
use crate::decide::operation::Occurrence;
use crate::decide::operation::record::{About, Claim, FORMAT, Record, Standing};
use crate::decide::path::Api;

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
pub(super) const EPOCH: u64 = 22_000;
pub(super) const DAY: u64 = 24 * 3600;

pub(super) fn ago(seconds: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() - seconds * 1000)
}

pub(super) fn at(epoch: u64, n: u32) -> Occurrence {
    Occurrence { epoch, n }
}

pub(super) fn key(n: u32) -> IdempotencyKey {
    IdempotencyKey::parse(format!("key-{n}").as_bytes()).unwrap()
}

/// Occurrence 1, claimed an hour ago, and nothing known of it since.
pub(super) fn record(kind: Kind) -> Record {
    Record {
        format: FORMAT,
        kind,
        request: "POST /v1/charges".to_owned(),
        api: Api::V1,
        claim: Some(Claim {
            owner: "one".to_owned(),
            token: "1".to_owned(),
            lease: NOW.plus(Duration::from_secs(15)),
        }),
        standing: Standing::Begun,
        occurrence: at(EPOCH, 1),
        key: key(1),
        fingerprint: fingerprint(0),
        first_sent: ago(3600),
        last_sent: ago(3600),
        attempts: 0,
        first_delivered: None,
        answered: None,
        client_keys: Vec::new(),
        past: Vec::new(),
        about: About::default(),
    }
}
