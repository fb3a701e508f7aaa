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
use crate::proof::report::Lines;
use crate::redis_server::RedisServer;

mod scene;

/// How often a point is passed before the process dies there, at most.
const TIMES: u32 = 3;

type Settings = Vec<(&'static str, String)>;

/// The store that the processes of a scene share one after the other.
#[derive(Clone, Copy)]
struct Store<'a> {
    name: &'static str,
    /// Its settings, for a scene in this directory; another number is an empty store.
    settings: &'a (dyn Fn(&Path, u32) -> Settings + Sync),
    /// The points that nobody passes with it.
    never: &'static [Point],
}

const EMBEDDED: Store<'_> = Store {
    name: "embedded",
    settings: &|directory, number| {
        let path = directory.join(format!("store-{number}.redb")).display().to_string();
        vec![
            ("PAYONCE_STORE__KIND", "embedded".to_owned()),
            ("PAYONCE_STORE__PATH", path),
            ("PAYONCE_STORE__SINGLE_INSTANCE", "true".to_owned()),
        ]
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
    /// A charge that takes the provider long enough for the lease to be renewed.
    Slow,
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
fn all<T: Send + std::fmt::Debug + Copy>(
    work: Vec<T>,
    at_once: usize,
    each: impl Fn(T) + Sync,
) -> Vec<String> {
    let (work, failed) = (Mutex::new(work), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
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

/// So many processes die at the same time.
fn every_death_is_recovered_from(store: Store<'_>, plays: Vec<Play>, at_once: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let passed = Mutex::new(Vec::new());
    let failed = all(plays, at_once, |play| {
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
    let failed = all(deaths, at_once, |(play, (point, n))| {
        let _inside = runtime.enter();
        Scene::new(store, play).die_at(point, n);
        died.lock().unwrap().insert((point, n));
    });
    let line = format!(
        "kill at every step ({}): reached {} of {} points × times, {} deaths, {}",
        store.name,
        died.lock().unwrap().len(),
        each.len(),
        count,
        if failed.is_empty() {
            "all recovered".to_owned()
        } else {
            format!("{} not", failed.len())
        }
    );
    println!("{line}");
    let file = if store.name == "redis" { "kills-redis" } else { "kills" };
    Lines::leave(file, &format!("A process that dies at every step, {}", store.name), vec![line]);
    assert!(failed.is_empty(), "not recovered from: {failed:#?}");
}

#[test]
fn another_card_is_tried_though_the_process_died_between_the_decline_and_its_settling() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    for way in [Way::Header, Way::Fields] {
        let play = Play { way, again: Again::FreshKey, script: Script::AnotherCard };
        Scene::new(EMBEDDED, play).die_at(Point::DeliveryKnown, 1);
    }
}

#[test]
fn a_binary_with_seams_bears_the_mark_that_a_release_must_not_bear() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_payonce")).unwrap();
    let mark = b"PAYONCE_SEAM";
    assert!(binary.windows(mark.len()).any(|bytes| bytes == mark));
}

#[test]
fn a_process_that_dies_at_any_step_is_recovered_from_on_the_embedded_store() {
    every_death_is_recovered_from(EMBEDDED, plays(), 4);
}

/// Whoever asks again waits until the lease of the dead process has ended: few scripts, many at once.
#[test]
fn a_process_that_dies_at_any_step_is_recovered_from_on_redis() {
    let redis = RedisServer::start(&["--appendonly", "yes"]);
    let node = format!("unix://{}", redis.socket().display());
    let settings = |directory: &Path, number: u32| {
        let prefix = directory.file_name().unwrap().to_str().unwrap();
        let prefix: String = prefix.chars().filter(char::is_ascii_alphanumeric).collect();
        vec![
            ("PAYONCE_STORE__KIND", "redis".to_owned()),
            ("PAYONCE_STORE__NODES", node.clone()),
            ("PAYONCE_STORE__PREFIX", format!("{prefix}-{number}")),
        ]
    };
    let never = &[Point::BeforeCommit, Point::Committed];
    let plays = [
        (Way::Header, Again::SameKey, Script::AnotherCard),
        (Way::Content, Again::SameKey, Script::Forgotten),
        (Way::Content, Again::FreshKey, Script::Reload),
        (Way::Content, Again::FreshKey, Script::Slow),
    ];
    let plays = plays.map(|(way, again, script)| Play { way, again, script });
    let store = Store { name: "redis", settings: &settings, never };
    every_death_is_recovered_from(store, plays.to_vec(), 32);
}
