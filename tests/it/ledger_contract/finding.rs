//! What finds a record besides its id: the open list, and the keys that it was written with.

use super::*;

pub(super) async fn the_open_list_follows_the_last_write<L: Ledger>(ledger: Arc<L>, _clock: Clock) {
    let one = fresh(&*ledger, id(1), open_entry("{}")).await;
    let two = fresh(&*ledger, id(2), entry("{}")).await;
    let three = fresh(&*ledger, id(3), open_entry("{}")).await;
    assert_eq!(open_ids(&*ledger, 9).await, BTreeSet::from([id(1), id(3)]));
    replaced(&*ledger, id(1), one, entry("{}")).await;
    replaced(&*ledger, id(2), two, open_entry("{}")).await;
    ledger.remove(id(3), three).await.unwrap();
    assert_eq!(open_ids(&*ledger, 9).await, BTreeSet::from([id(2)]));
}

pub(super) async fn the_open_list_is_as_long_as_asked_for<L: Ledger>(
    ledger: Arc<L>,
    _clock: Clock,
) {
    for number in 1..=5 {
        fresh(&*ledger, id(number), open_entry("{}")).await;
    }
    assert_eq!(open_ids(&*ledger, 3).await.len(), 3);
    assert_eq!(open_ids(&*ledger, 0).await.len(), 0);
}

pub(super) async fn an_expired_record_is_not_on_the_open_list<L: Ledger>(
    ledger: Arc<L>,
    clock: Clock,
) {
    fresh(&*ledger, id(1), brief(open_entry("{}"))).await;
    fresh(&*ledger, id(2), open_entry("{}")).await;
    wait_for_expiry(&clock).await;
    assert_eq!(open_ids(&*ledger, 1).await, BTreeSet::from([id(2)]));
}

pub(super) async fn a_key_finds_the_record_last_written_with_it<L: Ledger>(
    ledger: Arc<L>,
    _clock: Clock,
) {
    let one = fresh(&*ledger, id(1), with_keys(entry("{}"), &[key(1), key(2)])).await;
    assert_eq!(found_by(&*ledger, key(2)).await, Some(id(1)));
    fresh(&*ledger, id(2), with_keys(entry("{}"), &[key(2)])).await;
    assert_eq!(found_by(&*ledger, key(2)).await, Some(id(2)));
    replaced(&*ledger, id(1), one, with_keys(entry("{}"), &[key(2)])).await;
    assert_eq!(found_by(&*ledger, key(2)).await, Some(id(1)));
    assert_eq!(found_by(&*ledger, key(9)).await, None);
}

pub(super) async fn each_of_many_digests_finds_the_record_that_was_written_with_it<L: Ledger>(
    ledger: Arc<L>,
    _clock: Clock,
) {
    // A key, Stripe's ids of what was made and of the answers.
    let all: Vec<KeyDigest> = (1..=12).map(key).collect();
    let one = fresh(&*ledger, id(1), with_keys(open_entry("{}"), &all[..1])).await;
    let settled = replaced(&*ledger, id(1), one, with_keys(entry("{\"is\":1}"), &all)).await;
    for digest in &all {
        let held = ledger.by_key(*digest).await.unwrap().unwrap();
        assert_eq!((held.id, held.version), (id(1), settled));
    }
    // A race that was lost leaves what was written standing, under whatever it is found by.
    let lost = ledger.replace(id(1), one, with_keys(entry("lost"), &[key(13)])).await.unwrap();
    assert!(matches!(lost, Replaced::Moved(Some(_))));
    assert_eq!(ledger.by_key(all[11]).await.unwrap().unwrap().version, settled);
}

pub(super) async fn a_key_finds_its_record_also_after_writes_that_do_not_name_it<L: Ledger>(
    ledger: Arc<L>,
    _clock: Clock,
) {
    // Who settles an operation need not know by which keys it was asked for: a person, a webhook.
    let one = fresh(&*ledger, id(1), with_keys(open_entry("{}"), &[key(1), key(2), key(3)])).await;
    let two = replaced(&*ledger, id(1), one, with_keys(entry("{}"), &[key(2)])).await;
    let three = replaced(&*ledger, id(1), two, entry("settled")).await;
    for named in [key(1), key(2), key(3)] {
        let held = ledger.by_key(named).await.unwrap().unwrap();
        assert_eq!((held.id, held.version), (id(1), three));
    }
    // Nor does such a write take back a key that names another record by now.
    fresh(&*ledger, id(2), with_keys(entry("{}"), &[key(3)])).await;
    let four = replaced(&*ledger, id(1), three, entry("once more")).await;
    assert_eq!(found_by(&*ledger, key(3)).await, Some(id(2)));
    ledger.remove(id(1), four).await.unwrap();
    assert_eq!(found_by(&*ledger, key(1)).await, None);
    assert_eq!(found_by(&*ledger, key(3)).await, Some(id(2)));
}

pub(super) async fn a_record_is_found_by_the_last_64_of_its_keys_at_least<L: Ledger>(
    ledger: Arc<L>,
    _clock: Clock,
) {
    let all: Vec<KeyDigest> = (0..100).map(key).collect();
    let mut version = fresh(&*ledger, id(1), entry("{}")).await;
    for keys in all.chunks(10) {
        version = replaced(&*ledger, id(1), version, with_keys(entry("{}"), keys)).await;
    }
    for named in &all[36..] {
        assert_eq!(found_by(&*ledger, *named).await, Some(id(1)), "{named:?}");
    }
}

pub(super) async fn a_key_finds_nothing_once_its_record_is_gone<L: Ledger>(
    ledger: Arc<L>,
    clock: Clock,
) {
    let removed = fresh(&*ledger, id(1), with_keys(entry("{}"), &[key(1)])).await;
    fresh(&*ledger, id(2), with_keys(brief(entry("{}")), &[key(2)])).await;
    ledger.remove(id(1), removed).await.unwrap();
    wait_for_expiry(&clock).await;
    assert_eq!(found_by(&*ledger, key(1)).await, None);
    assert_eq!(found_by(&*ledger, key(2)).await, None);
}

pub(super) async fn removing_a_record_leaves_a_key_that_another_took_over<L: Ledger>(
    ledger: Arc<L>,
    _clock: Clock,
) {
    let one = fresh(&*ledger, id(1), with_keys(entry("{}"), &[key(1)])).await;
    fresh(&*ledger, id(2), with_keys(entry("{}"), &[key(1)])).await;
    ledger.remove(id(1), one).await.unwrap();
    assert_eq!(found_by(&*ledger, key(1)).await, Some(id(2)));
}
