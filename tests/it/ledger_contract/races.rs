//! Many at once: one wins, and no write is lost.

use super::*;

pub(super) async fn of_64_claims_of_one_id_one_is_fresh<L: Ledger>(ledger: Arc<L>, _clock: Clock) {
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move {
                ledger.claim(&[id(1)], entry(&number.to_string())).await.unwrap()
            })
        })
        .collect();
    let mut versions = Vec::new();
    let mut found = BTreeSet::new();
    for task in tasks {
        match task.await.unwrap() {
            Claimed::Fresh(version) => versions.push(version),
            Claimed::Found(held) => {
                found.insert((held.version, held.record));
            }
        }
    }
    assert_eq!(versions.len(), 1);
    let held = ledger.get(id(1)).await.unwrap().unwrap();
    assert_eq!(found, BTreeSet::from([(versions[0], held.record)]));
}

pub(super) async fn of_64_increments_by_compare_and_swap_none_is_lost<L: Ledger>(
    ledger: Arc<L>,
    _clock: Clock,
) {
    fresh(&*ledger, id(1), entry("0")).await;
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move { increment(&*ledger).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let held = ledger.get(id(1)).await.unwrap().unwrap();
    assert_eq!(held.record, Bytes::from_static(b"64"));
}

async fn increment<L: Ledger>(ledger: &L) {
    let mut held = ledger.get(id(1)).await.unwrap().unwrap();
    loop {
        let count: u32 = std::str::from_utf8(&held.record).unwrap().parse().unwrap();
        let next = entry(&(count + 1).to_string());
        match ledger.replace(id(1), held.version, next).await.unwrap() {
            Replaced::Done(_) => return,
            Replaced::Moved(current) => held = current.unwrap(),
        }
    }
}
