//! Every row of both tables of DESIGN §4, driven over sockets and looked at from outside: on the
//! wire, in what the provider saw and executed, and in payonce's own count of rows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use payonce::decide::operation::table;
use payonce::decide::outcome;
use payonce::sandbox::{Fault, Kind, Outcome, Rules, Strike};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::harness::{Post, Reply, Setup, World, hasty, lost};

mod answers;
mod flight;
mod forgot;
mod found;

const HOUR: Duration = Duration::from_hours(1);

const CONTENT_LOST: &str = r#"
[[rule]]
name = "money"
match = ["POST /v1/charges", "POST /v1/payouts"]
class = "critical"
identity = "content"
distinguishes = ["source", "description"]
"#;

const CONTENT_TWINS: &str = r#"
[[rule]]
name = "money"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source"]
merge = "twins"
repeat_window = "10m"
"#;

const NEXT_AFTER_500: &str = r#"
[[rule]]
name = "money"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source"]
indeterminate = "next"
"#;

const BY_ORDER: &str = r#"
[[rule]]
name = "money"
match = ["POST /v1/charges"]
class = "critical"
identity = ["metadata[order_id]"]
otherwise = "refuse"
"#;

const GOOD: &str = "amount=500&currency=usd&source=tok_visa";
const DECLINED: &str = "amount=500&currency=usd&source=tok_chargeDeclined";

async fn world(policy: &str) -> World {
    Setup::policy(policy).start().await
}

fn good() -> Post {
    Post::charge(GOOD)
}

fn declined() -> Post {
    Post::charge(DECLINED)
}

fn named(operation: &str) -> Post {
    good().with("Payonce-Operation", operation)
}

fn replayed(is: bool) -> Fault {
    Fault { replayed: Some(is), ..Fault::new(Kind::Mark) }
}

/// How many of the effects moved money.
fn paid(world: &World) -> usize {
    world.effects().iter().filter(|effect| effect.outcome == Outcome::Succeeded).count()
}

#[track_caller]
fn same(one: &Reply, other: &Reply) {
    assert_eq!(one.id(), other.id());
    assert!(!one.id().is_empty());
}

type Scenario = (&'static str, &'static str, fn() -> Pin<Box<dyn Future<Output = ()> + Send>>);

macro_rules! scenarios {
    ($($row:literal $room:ident $scenario:ident)*) => {
        [$(($row, stringify!($scenario), || Box::pin($room::$scenario()))),*]
    };
}

/// Each asserts that the row decided, as payonce counts it.
const SCENARIOS: [Scenario; 40] = scenarios![
    "A1" found a1_what_nobody_asked_for_before_is_sent
    "A2" found a2_an_earlier_calls_retry_gets_the_earlier_answer
    "A2" found a2_an_earlier_calls_retry_beyond_retention_is_superseded
    "A2" found a2_an_earlier_calls_retry_is_served_while_the_next_is_in_flight
    "A3" found a3_the_same_call_again_is_replayed_though_its_answer_was_delivered
    "A3" found a3_the_same_call_after_a_saved_500_is_not_the_next_occurrence
    "A4" found a4_what_is_in_doubt_for_too_long_waits_for_a_person
    "A5" found a5_what_was_done_long_ago_is_named_and_not_sent
    "A6" found a6_content_begins_anew_beyond_retention_whatever_became_of_it
    "A6" found a6_a_named_decline_may_be_asked_for_again_beyond_retention
    "A7" found a7_another_card_after_a_decline_gets_another_key
    "A8" found a8_other_content_is_a_conflict_that_names_fields_and_no_values
    "A8" found a8_an_own_key_conflicts_though_it_was_declined
    "A9" flight a9_twins_and_named_operations_share_the_answer
    "A9" flight a9_without_twins_the_second_waits_and_is_judged_by_what_became_of_the_first
    "A9" flight a9_a_uuid4_of_an_sdk_is_never_a_twin
    "A9" flight a9_the_wait_ends_at_the_deadline
    "A10" found a10_a_new_call_after_a_saved_500_is_the_next_where_the_policy_says_so
    "A11" found a11_what_is_in_doubt_is_taken_over_with_the_same_key
    "A11" found a11_a_saved_500_is_held_unless_the_policy_says_next
    "A12" found a12_an_unspent_decline_is_asked_for_again_with_the_same_key
    "A12" found a12_a_replayed_decline_makes_way_for_the_next_occurrence
    "A13" found a13_a_delivered_decline_makes_way_and_a_lost_one_is_replayed
    "A14" found a14_a_lost_success_is_replayed_once
    "A15" found a15_named_operations_and_fresh_twins_are_replayed
    "A15" found a15_the_window_counts_from_the_first_delivery
    "A16" found a16_the_same_again_after_a_delivered_success_happens_again
    "A3" found a16_an_own_key_has_no_next_occurrence
    "O1" answers o1_what_never_left_is_tried_again_and_leaves_no_trace
    "O2" answers o2_what_may_have_happened_is_asked_for_again_with_the_same_key
    "O3" answers o3_a_rate_limit_is_waited_for_and_passed_on_at_the_end
    "O4" answers o4_a_500_gets_one_more_try_unless_stripe_says_no
    "O5" answers o5_a_whole_2xx_settles_it
    "O6" answers o6_a_401_is_passed_on_and_nothing_is_remembered
    "O7" answers o7_a_conflict_at_stripe_is_passed_on_unchanged_and_alarms
    "O8" answers o8_any_other_4xx_is_a_decline
    "A1" forgot a_forgotten_decline_does_not_lock_out
    "A1" forgot a_forgotten_success_is_handed_on_and_marked
    "A14" forgot a_fresh_success_where_a_saved_one_was_asked_for_alarms
    "A1" forgot at_most_eight_occurrences_are_passed_over
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_of_both_tables_holds_over_sockets() {
    let room = Arc::new(Semaphore::new(6));
    let mut running = JoinSet::new();
    for (row, name, scenario) in SCENARIOS {
        let room = Arc::clone(&room);
        running.spawn(async move {
            let _place = room.acquire_owned().await.unwrap();
            let held = tokio::task::spawn(scenario()).await.is_ok();
            (row, name, held)
        });
    }
    let (mut covered, mut broken) = (BTreeSet::new(), Vec::new());
    while let Some(ended) = running.join_next().await {
        let (row, name, held) = ended.unwrap();
        if held {
            covered.insert(row);
        } else {
            broken.push(name);
        }
    }
    let rows = table::Row::ALL.map(table::Row::as_str).into_iter();
    let all: BTreeSet<_> = rows.chain(outcome::Row::ALL.map(outcome::Row::as_str)).collect();
    let missing: Vec<_> = all.difference(&covered).collect();
    let line = format!("rows covered over sockets / all rows: {}/{}", covered.len(), all.len());
    println!("{line}");
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("rows-covered.txt"), format!("{line}\n")).unwrap();
    assert!(broken.is_empty(), "these do not hold: {broken:#?}");
    assert!(missing.is_empty(), "not driven over sockets: {missing:?}");
}
