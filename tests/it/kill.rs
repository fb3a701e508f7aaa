//! Kill at every step: a payonce process dies at each point of the journey that it passes, at each
//! time that it passes it, is started again on the same store, and the application asks again.
//!
//! Nothing is picked by hand: a first run of each script tells which points it passes how often,
//! then there is one death for each of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how a test fails, helpers included"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;

use payonce::seams::Point;

use self::scene::Scene;

mod scene;

/// How many processes die at the same time.
const AT_ONCE: usize = 4;
/// How often a point is passed before the process dies there, at most.
const TIMES: u32 = 3;

/// The store that the processes share one after the other.
#[derive(Clone, Copy)]
struct Store {
    /// Its settings, for a scene in this directory.
    settings: fn(&Path) -> Vec<(&'static str, String)>,
    /// The points that nobody passes with it.
    never: &'static [Point],
}

const EMBEDDED: Store = Store {
    settings: |directory| {
        let path = directory.join("store.redb").display().to_string();
        vec![("PAYONCE_STORE__KIND", "embedded".to_owned()), ("PAYONCE_STORE__PATH", path)]
    },
    // A lease is renewed where another process might take it for ended.
    never: &[Point::BeforeRenew, Point::Renewed],
};

/// By what the operation is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Content,
    Header,
    Fields,
    OwnKey,
    Call,
}

/// Who asks again for what was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// The SDK, with the key that it minted for the call.
    SameKey,
    /// A job that is delivered again: the SDK mints another.
    FreshKey,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    /// A charge.
    Success,
    /// A charge whose first answer is lost between the provider and payonce, so that it retries.
    AnswerLost,
    /// A rate limit that outlasts the retries, so that nothing is executed, then the charge.
    Limited,
    /// A card that is declined, then another.
    AnotherCard,
    /// A card that is declined again, while the store has forgotten the first decline.
    Forgotten,
    /// A new policy, then a charge.
    Reload,
}

/// One script in one way.
#[derive(Clone, Copy, Debug)]
struct Play {
    way: Way,
    again: Again,
    script: Script,
}

fn plays() -> Vec<Play> {
    use {Again::*, Script::*, Way::*};
    // A call with a fresh key is another call, and an own key is the application's, not the SDK's.
    let ways = [
        (Content, SameKey),
        (Content, FreshKey),
        (Header, SameKey),
        (Header, FreshKey),
        (Fields, SameKey),
        (Fields, FreshKey),
        (OwnKey, SameKey),
        (Call, SameKey),
    ];
    let scripts = [Success, AnswerLost, AnotherCard];
    let every = ways.into_iter().flat_map(|(way, again)| {
        scripts.into_iter().map(move |script| Play { way, again, script })
    });
    let more = [(Limited, FreshKey), (Forgotten, SameKey), (Reload, FreshKey)];
    let more = more.map(|(script, again)| Play { way: Content, again, script });
    every.chain(more).collect()
}

/// Runs `each` over `work` in a few threads; what failed, as text.
fn all<T: Send + std::fmt::Debug + Copy>(work: Vec<T>, each: impl Fn(T) + Sync) -> Vec<String> {
    let (work, failed) = (Mutex::new(work), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(next) = work.lock().unwrap().pop() else { return };
                    if catch_unwind(AssertUnwindSafe(|| each(next))).is_err() {
                        failed.lock().unwrap().push(format!("{next:?}"));
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

fn every_death_is_recovered_from(store: Store) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let passed = Mutex::new(Vec::new());
    let failed = all(plays(), |play| {
        let _inside = runtime.enter();
        let mut times = BTreeMap::<Point, u32>::new();
        for point in Scene::new(store, play).trace() {
            *times.entry(point).or_default() += 1;
        }
        let each =
            times.into_iter().flat_map(|(point, n)| (1..=n.min(TIMES)).map(move |n| (point, n)));
        passed.lock().unwrap().extend(each.map(|at| (play, at)));
    });
    assert!(failed.is_empty(), "these fail without any death: {failed:#?}");
    let deaths = passed.into_inner().unwrap();
    let reached: BTreeSet<Point> = deaths.iter().map(|(_, (point, _))| *point).collect();
    let wanted: BTreeSet<Point> =
        Point::ALL.iter().copied().filter(|point| !store.never.contains(point)).collect();
    assert_eq!(reached, wanted, "each point is passed by some script");
    let (count, each): (usize, BTreeSet<_>) =
        (deaths.len(), deaths.iter().map(|it| it.1).collect());
    let died = Mutex::new(BTreeSet::new());
    let failed = all(deaths, |(play, (point, n))| {
        let _inside = runtime.enter();
        Scene::new(store, play).die_at(point, n);
        died.lock().unwrap().insert((point, n));
    });
    println!(
        "kill at every step: reached {} of {} points × times, {} deaths, {}",
        died.lock().unwrap().len(),
        each.len(),
        count,
        if failed.is_empty() {
            "all recovered".to_owned()
        } else {
            format!("{} not", failed.len())
        }
    );
    assert!(failed.is_empty(), "not recovered from: {failed:#?}");
}

#[test]
fn a_binary_with_seams_bears_the_mark_that_a_release_must_not_bear() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_payonce")).unwrap();
    let mark = b"PAYONCE_SEAM";
    assert!(binary.windows(mark.len()).any(|bytes| bytes == mark));
}

#[test]
fn a_process_that_dies_at_any_step_is_recovered_from_on_the_embedded_store() {
    every_death_is_recovered_from(EMBEDDED);
}
