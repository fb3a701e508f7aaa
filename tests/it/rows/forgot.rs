//! A store that forgot, and a provider that remembers.

use super::*;

pub(super) async fn a_forgotten_decline_does_not_lock_out() {
    let mut world = world(CONTENT_LOST).await;
    world.done(&declined()).await.is(402, "executed");
    world.restart().await;
    world.done(&declined()).await.is(402, "executed");
    let keys = world.keys();
    assert!(keys[0] == keys[1] && keys[2] != keys[1], "{keys:?}");
    assert_eq!((keys.len(), world.effects().len(), world.row("A1")), (3, 2, 1));
}

pub(super) async fn a_forgotten_success_is_handed_on_and_marked() {
    let mut world = world(CONTENT_LOST).await;
    let first = world.done(&good()).await;
    world.restart().await;
    let again = world.done(&good()).await;
    again.is(200, "forgotten");
    same(&again, &first);
    assert_eq!((paid(&world), world.row("A1")), (1, 1));
    assert_eq!(world.count("payonce_forgotten_total{rule=\"money\"}"), 1);
}

pub(super) async fn a_fresh_success_where_a_saved_one_was_asked_for_alarms() {
    let world = world(CONTENT_LOST).await;
    world.lose(&good()).await;
    world.faults([replayed(false)]);
    world.done(&good()).await.is(200, "replayed");
    assert_eq!(world.count("payonce_alarms_total{kind=\"fresh_on_replay\"}"), 1);
    assert_eq!(world.row("A14"), 1);
}

pub(super) async fn at_most_eight_occurrences_are_passed_over() {
    let world = world(CONTENT_LOST).await;
    world.faults([replayed(true).times(50)]);
    world.done(&declined()).await;
    let keys = world.keys();
    assert_eq!((keys.len(), keys.iter().collect::<BTreeSet<_>>().len()), (9, 9));
    assert_eq!(world.row("A1"), 1);
}
