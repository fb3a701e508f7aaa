//! I5 and v2: what stays in doubt, and what ends it.

use std::collections::BTreeSet;

use payonce::sandbox::{Fault, Kind, Strike};

use crate::harness::{Post, Setup, World, charge, lost};

const CONTENT: &str = r#"
[[rule]]
name = "charges"
match = ["POST /v1/charges", "POST /v2/core/accounts"]
class = "critical"
identity = "content"
distinguishes = ["source", "display_name"]
"#;

fn limited() -> Fault {
    Fault::new(Kind::RateLimited { reason: None })
}

fn status(code: u16) -> Fault {
    Fault::new(Kind::Status { code, effect: Strike::Before })
}

/// How many keys the provider saw, and how many effects it made.
fn keys_and_effects(world: &World) -> (usize, usize) {
    let keys = world.keys();
    (keys.iter().collect::<BTreeSet<_>>().len(), world.effects().len())
}

#[tokio::test]
async fn an_unknown_attempt_is_not_undone_by_a_later_refusal_in_the_same_exchange() {
    let locked = Fault::new(Kind::LockTimeout).times(3);
    for refusal in [limited().times(3), locked, status(401), status(403)] {
        let world = Setup::policy(CONTENT).start().await;
        let said = refusal.clone();
        world.faults([lost(), refusal]);
        // Handed on, it would say that nothing happened.
        let told = world.done(&charge().sdk(1)).await;
        assert_eq!(told.status, 504, "{said:?}");
        // It is open, and taken over with its key, not begun anew.
        world.done(&charge().sdk(2)).await.is(200, "replayed");
        assert_eq!((world.row("A11"), world.row("A1")), (1, 1), "{said:?}");
        assert_eq!(keys_and_effects(&world), (1, 1), "{said:?}");
    }
}

#[tokio::test]
async fn an_unknown_attempt_is_not_undone_by_later_exchanges() {
    let world = Setup::policy(CONTENT).set("RETRY__MAX_ATTEMPTS", 1).start().await;
    world.faults([lost(), limited(), status(403), status(401), status(503)]);
    let mut statuses = Vec::new();
    for n in 1..=5 {
        statuses.push(world.done(&charge().sdk(n)).await.status);
    }
    assert_eq!(statuses, [504, 504, 504, 504, 503]);
    world.done(&charge().sdk(6)).await.is(200, "replayed");
    assert_eq!((world.row("A11"), keys_and_effects(&world)), (5, (1, 1)));
}

#[tokio::test]
async fn a_settled_success_never_becomes_unknown_again() {
    let world = Setup::policy(CONTENT).set("RETRY__MAX_ATTEMPTS", 1).start().await;
    world.lose(&charge()).await;
    world.faults([status(503), lost(), limited()]);
    for _ in 0..3 {
        assert_ne!(world.done(&charge()).await.status, 200);
    }
    world.done(&charge()).await.is(200, "replayed");
    assert_eq!((world.row("A14"), keys_and_effects(&world)), (4, (1, 1)));
}

#[tokio::test]
async fn an_answer_to_a_later_attempt_ends_the_doubt() {
    let world = Setup::policy(CONTENT).start().await;
    let card = Post::charge("amount=500&currency=usd&source=tok_chargeDeclined");
    world.faults([lost()]);
    let declined = world.done(&card).await;
    declined.is(402, "executed");
    assert_eq!(declined.header("payonce-attempts"), Some("2"));
    world.done(&card).await.is(402, "executed");
    assert_eq!(keys_and_effects(&world), (2, 2));
}

#[tokio::test]
async fn a_v2_request_is_recognised_by_content_only_with_a_store_that_does_not_forget() {
    let account = |n| {
        Post::new("/v2/core/accounts", "{\"display_name\":\"a\"}")
            .instead("Content-Type", "application/json")
            .sdk(n)
    };
    let world = Setup::policy(CONTENT).start().await;
    world.done(&account(1)).await.refused(503, "payonce_store_forgets");
    assert_eq!(world.seen().len(), 0);

    let world = Setup::policy(CONTENT).set("STORE__KIND", "embedded").start().await;
    world.lose(&account(1)).await;
    world.done(&account(2)).await.is(200, "replayed");
    world.done(&account(3)).await.is(200, "repeated");
    assert_eq!(keys_and_effects(&world), (2, 2));
    assert_eq!(world.count("payonce_alarms_total{kind=\"fresh_on_replay\"}"), 0);
    // After a failure v2 executes the same key again.
    let other = Post::new("/v2/core/accounts", "{\"display_name\":\"b\"}")
        .instead("Content-Type", "application/json");
    world.faults([status(400)]);
    world.done(&other).await.is(400, "executed");
    world.done(&other).await.is(200, "executed");
    assert_eq!((world.row("A12"), keys_and_effects(&world)), (1, (3, 3)));
}

#[tokio::test]
async fn a_v2_delete_is_a_write_like_any_other() {
    let world = Setup::policy("").start().await;
    let delete = Post::new("/v2/core/accounts/acct_1", "").method("DELETE");
    world.done(&delete).await;
    let v1 = Post::new("/v1/customers/cus_1", "").method("DELETE");
    world.done(&v1).await;
    let keys = world.keys();
    assert!(!keys[0].is_empty() && keys[1].is_empty(), "{keys:?}");
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_leaves_a_call_nothing_to_check() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = Setup::policy("").upstream(closed).start().await;
    let refused = world.done(&charge()).await;
    refused.refused(502, "payonce_upstream_unreachable");
    assert!(world.payonce().exchange.notes.all().is_empty());
}

#[tokio::test]
async fn the_note_of_a_call_in_doubt_goes_when_its_retry_brings_the_outcome() {
    let world = Setup::policy("").set("RETRY__MAX_ATTEMPTS", 1).start().await;
    let notes = || world.payonce().exchange.notes.all().len();
    world.faults([lost(), status(503), limited()]);
    for count in [1, 1, 1] {
        assert_ne!(world.done(&charge().sdk(1)).await.status, 200);
        assert_eq!(notes(), count);
    }
    world.done(&charge().sdk(1)).await.is(200, "replayed");
    assert_eq!((notes(), keys_and_effects(&world)), (0, (1, 1)));
}

#[tokio::test]
async fn whoever_asks_for_a_single_call_is_never_told_that_asking_again_is_safe() {
    // An SDK makes a key for each call, so that the application's next one is another payment.
    for call in [charge(), charge().sdk(1)] {
        let world = Setup::policy("").start().await;
        world.faults([lost().times(4)]);
        let unknown = world.done(&call).await;
        unknown.refused(504, "payonce_outcome_unknown");
        let said = unknown.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(said.contains("Check before repeating"), "{said}");
        assert!(!said.contains("safe"), "{said}");
        world.done(&charge().sdk(2)).await.is(200, "executed");
        assert_eq!(world.effects().len(), 2);
    }
}
