//! Seeded mistakes: each is made on purpose, and must show in what the provider executed or in what
//! the application was told. The same scenario without the mistake must show nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how a test fails, helpers included"
)]

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Mutex;

use payonce::sandbox::Effect;
use payonce::seams::{Mistake, with_mistake};

use crate::harness::{Post, World};
use crate::proof::report::Lines;

mod alone;
mod pods;
mod store;

/// How many scenarios run at the same time.
const AT_ONCE: usize = 4;

/// What a scenario found: nothing wrong, or what is.
type Verdict = Result<(), String>;

type Scenario = fn() -> Pin<Box<dyn Future<Output = Verdict>>>;

macro_rules! scenarios {
    ($($mistake:ident $room:ident $scenario:ident)*) => {
        [$((Mistake::$mistake, || Box::pin($room::$scenario()))),*]
    };
}

const SCENARIOS: [(Mistake, Scenario); 27] = scenarios![
    NewKeyPerRetry alone a_lost_answer_is_asked_for_again
    SendBeforeClaim alone nothing_is_sent_without_the_store
    ClaimOverwrites alone the_same_is_meant_again_after_a_restart
    VersionIgnored pods two_pods_claim_what_both_have_read
    PutBackAfterBytes alone a_doubt_is_asked_for_again_in_the_next_epoch
    SettleByNonOwner pods a_settling_write_comes_late
    FingerprintOmitsFields alone another_amount_is_asked_for_under_the_same_name
    IdentityOmitsScope alone two_accounts_charge_the_same_at_once
    IdentityOmitsDescription alone two_orders_cost_the_same
    DeliveredTooEarly alone the_client_is_gone_before_it_has_its_answer
    SentPastHorizon alone a_doubt_is_asked_for_again_when_the_provider_has_forgotten
    StoreErrorSwallowed alone the_same_is_meant_again_while_the_store_is_down
    EpochFromNow alone a_doubt_is_asked_for_again_in_the_next_epoch
    UnknownAsDecline alone a_balancer_gives_up_after_the_effect
    InUseAsDecline alone the_key_is_still_in_use
    UnknownErased alone a_rate_limit_follows_a_lost_answer
    DeclineForEver alone a_declined_card_is_tried_again
    SuccessForEver alone the_same_is_meant_again
    KeyWithoutOccurrence alone the_same_is_meant_again
    LeaseIgnored pods another_pod_is_asked_for_the_same
    AskerNotRecorded alone the_sdk_asks_again_after_a_restart
    RetriedUnwanted alone the_client_is_gone_while_the_provider_stalls
    MemoryOverStore pods the_other_pod_knows_more
    FormerForgotten alone the_policy_is_edited_while_a_charge_is_in_doubt
    EditUnannounced pods one_pod_has_an_edit_and_the_other_has_not
    FinishesAnything pods the_other_pod_has_finished_it
    FinishedAsDelivered alone a_doubt_is_finished_before_the_job_comes_again
];

#[test]
fn every_mistake_shows_and_without_it_nothing_does() {
    let (work, results) = (Mutex::new(SCENARIOS.to_vec()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((mistake, scenario)) = work.lock().unwrap().pop() else { return };
                    let clean = run(scenario);
                    let planted = with_mistake(mistake);
                    let made = run(scenario);
                    drop(planted);
                    results.lock().unwrap().push((mistake, clean, made));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(mistake, ..)| *mistake);
    let caught = results.iter().filter(|(_, clean, made)| clean.is_ok() && made.is_err()).count();
    let line = format!("mistakes caught: {caught} of {}", Mistake::ALL.len());
    let mut lines = vec![line.clone()];
    for (mistake, _, made) in &results {
        let how: String = made.as_ref().err().map_or("not caught", |it| it).to_owned();
        lines.push(format!("{}: {}", mistake.as_str(), how.chars().take(100).collect::<String>()));
    }
    println!("{}\n{line}", lines.join("\n"));
    Lines::leave("mistakes", "Seeded mistakes, each in its scenario", lines);
    for (mistake, clean, made) in &results {
        assert_eq!(*clean, Ok(()), "without a mistake ({mistake:?})");
        assert!(made.is_err(), "{mistake:?} does not show");
    }
    let tried: BTreeSet<Mistake> = SCENARIOS.iter().map(|(mistake, _)| *mistake).collect();
    assert_eq!(tried, Mistake::ALL.iter().copied().collect(), "each mistake has its scenario");
}

/// On this thread alone, for which the mistake is planted.
fn run(scenario: Scenario) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(scenario())
}

/// A charge that the application wants once for `intent`, and that an SDK sends as its `call`.
fn charge(intent: &str, call: u32) -> Post {
    Post::charge("amount=500&currency=usd&source=tok_visa").sdk(call).with("Sandbox-Intent", intent)
}

fn effects_of<L>(world: &World<L>, intent: &str) -> Vec<Effect> {
    let effects = world.sandbox.effects().into_iter();
    effects.filter(|effect| effect.intent.as_deref() == Some(intent)).collect()
}

/// Each of these was executed as often as that.
fn executed<L>(world: &World<L>, times: usize, intents: &[&str]) -> Verdict {
    for intent in intents {
        let seen = effects_of(world, intent).len();
        if seen != times {
            return Err(format!("intent {intent} was executed {seen} times, not {times}"));
        }
    }
    Ok(())
}
