//! Epochs and retention: no key of an earlier epoch can be remembered when it would be met again.

use proptest::prelude::*;

use crate::clock::Timestamp;
use crate::decide::digest::{OperationId, Secret};
use crate::decide::key::IdempotencyKey;
use crate::decide::operation::{Occurrence, Retention};
use crate::decide::path::Api;

fn api() -> impl Strategy<Value = Api> {
    prop_oneof![Just(Api::V1), Just(Api::V2)]
}

#[test]
fn an_epoch_is_shorter_than_a_key_is_safe_and_that_than_the_provider_remembers() {
    for (api, remembers) in [(Api::V1, 24), (Api::V2, 30 * 24)] {
        let retention = Retention::of(api);
        assert!(retention.epoch < retention.safe);
        assert!(retention.safe.as_secs() < remembers * 3600);
        assert!(retention.after_send.as_secs() >= remembers * 3600);
        assert!(retention.open() > retention.safe.max(retention.epoch));
        assert!(Retention::done() >= retention.after_send);
    }
}

#[test]
fn occurrences_compare_by_epoch_then_number() {
    let at = |epoch, n| Occurrence { epoch, n };
    assert!(at(1, 9) < at(2, 0) && at(2, 0) < at(2, 1));
    assert_eq!(at(1, 9).next(1), at(1, 10));
    assert_eq!(at(1, 9).next(2), at(2, 0));
    assert_eq!(at(3, 9).next(2), at(3, 10), "a clock that stepped back");
    assert_eq!(at(1, u32::MAX).next(1), at(1, u32::MAX), "and never wraps to a used key");
}

#[test]
fn operations_do_not_all_turn_at_once() {
    let now = Timestamp::from_millis(1_800_000_000_000);
    let retention = Retention::of(Api::V1);
    let ends: std::collections::BTreeSet<Timestamp> = (0..100_u8)
        .map(|n| OperationId(Secret::configured(b"x").digest(&[&[n]])))
        .map(|it| retention.epoch_end(&it, retention.epoch_at(&it, now)))
        .collect();
    assert!(ends.len() > 95, "{} different ends of 100", ends.len());
}

proptest! {
    #[test]
    fn an_epoch_ends_when_the_next_begins(
        id in any::<[u8; 32]>(), now in 0_u64..4_000_000_000_000, api in api(),
    ) {
        let (operation, now) = (OperationId(id), Timestamp::from_millis(now));
        let retention = Retention::of(api);
        let epoch = retention.epoch_at(&operation, now);
        let end = retention.epoch_end(&operation, epoch);
        prop_assert!(now < end && end.since(now) <= retention.epoch);
        prop_assert_eq!(retention.epoch_at(&operation, end), epoch + 1);
        let before = Timestamp::from_millis(end.as_millis() - 1);
        prop_assert_eq!(retention.epoch_at(&operation, before), epoch);
    }

    #[test]
    fn the_same_key_comes_again_only_within_its_epoch(
        id in any::<[u8; 32]>(), now in 0_u64..4_000_000_000_000, later in 0_u64..200, api in api(),
    ) {
        let (operation, now) = (OperationId(id), Timestamp::from_millis(now));
        let retention = Retention::of(api);
        let secret = Secret::configured(b"secret");
        let key = |at| {
            let first = Occurrence::first(retention.epoch_at(&operation, at));
            IdempotencyKey::derived(&secret, &operation, first)
        };
        let then = now.plus(std::time::Duration::from_hours(later));
        let end = retention.epoch_end(&operation, retention.epoch_at(&operation, now));
        prop_assert_eq!(key(now) == key(then), then < end);
        if key(now) == key(then) {
            prop_assert!(then.since(now) < retention.safe, "a key that the provider forgot");
        }
    }
}
