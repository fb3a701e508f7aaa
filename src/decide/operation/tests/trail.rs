//! What a record tells people: its attempts, and by what it is found.

use std::time::Duration;

use super::some::{NOW, key, record};
use crate::decide::digest::{key_digest, object_digest, request_digest};
use crate::decide::identity::Kind;
use crate::decide::operation::change::{Learnt, advanced, settled};
use crate::decide::operation::finding::digests;
use crate::decide::operation::record::{Claim, MAX_TRAIL, Record, Tried};
use crate::decide::outcome::Conclusion;

fn learnt(trail: Vec<Tried>, conclusion: Conclusion) -> Learnt {
    Learnt {
        conclusion,
        attempts: u32::try_from(trail.len()).unwrap(),
        object: None,
        request_id: None,
        last_sent: NOW,
        answered: NOW,
        trail,
    }
}

fn tried(seconds: u64, came: &'static str) -> Tried {
    Tried {
        at: NOW.plus(Duration::from_secs(seconds)),
        came: came.into(),
        status: None,
        cause: None,
        request_id: None,
    }
}

#[test]
fn a_success_at_the_first_attempt_leaves_no_trail_and_anything_else_a_short_one() {
    let plain = learnt(vec![tried(0, "succeeded")], Conclusion::Succeeded);
    let is = settled(record(Kind::Content), &plain, true, &[], NOW);
    assert!(is.about.trail.is_empty());
    let unknown = learnt(vec![tried(1, "unknown"); 3], Conclusion::InDoubt { saved_500: false });
    let mut is = record(Kind::Content);
    for round in 1..=4_usize {
        is = settled(is, &unknown, false, &[], NOW);
        assert_eq!(is.about.trail.len(), (3 * round).min(MAX_TRAIL));
    }
    // After those, the success belongs to the story too, and the oldest but the first goes.
    let is = settled(is, &plain, true, &[], NOW);
    assert_eq!((is.about.trail.len(), is.attempts), (MAX_TRAIL, 13));
    assert_eq!(is.about.trail.last().unwrap().came, "succeeded");
    assert_eq!(is.about.trail[0].at, NOW.plus(Duration::from_secs(1)));
    // The next occurrence has a story of its own.
    let next = advanced(&is, is.occurrence.epoch, key(9), NOW);
    assert!(next.about.trail.is_empty());
}

#[test]
fn a_record_is_found_by_its_key_and_by_stripes_ids_each_in_a_kind_of_its_own() {
    let same = "req_1".to_owned();
    let mut is = Record { claim: None, ..record(Kind::Content) };
    is.about.object = Some(same.clone());
    is.about.request_id = Some(same.clone());
    is.about.trail = vec![Tried { request_id: Some(same.clone()), ..tried(0, "declined") }];
    is.about.trail.push(Tried { request_id: Some("req_0".to_owned()), ..tried(1, "unknown") });
    let client = key_digest(&same);
    let all = digests(&is, Some(client));
    assert_eq!(all.len(), 5, "{all:?}");
    for digest in [
        client,
        key_digest(is.key.as_str()),
        request_digest("req_1"),
        request_digest("req_0"),
        object_digest("req_1"),
    ] {
        assert!(all.contains(&digest), "{digest:?}");
    }
    // What is claimed is found on the list of what is open.
    let claim = Claim { owner: "one".to_owned(), token: "1".to_owned(), lease: NOW };
    let claimed = Record { claim: Some(claim), ..is };
    assert_eq!(digests(&claimed, Some(client)), [client, key_digest(claimed.key.as_str())]);
}
