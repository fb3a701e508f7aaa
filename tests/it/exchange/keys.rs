//! I2, I7, observe and bypass: whose key goes upstream, whatever the policy says meanwhile.

use std::collections::BTreeSet;

use payonce::sandbox::{Fault, Kind, Strike};

use crate::harness::{BY_CONTENT, Post, STRICT, Setup, TWINS, World, charge, hasty, lost};

const CALL: &str = "";
const OBSERVE: &str = "mode = \"observe\"\n";

const PASS: &str = r#"
[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "pass"
"#;

/// Under which payonce would refuse, add a key, or hold a request to once.
fn strict() -> String {
    format!("{STRICT}{TWINS}")
}

fn observe(rules: &str) -> String {
    format!("{OBSERVE}{rules}")
}

/// A call ends in doubt under one policy, and is retried under another.
async fn retried_after_a_reload(before: &str, after: &str) {
    let world = hasty(before).await;
    world.faults([lost()]);
    world.done(&charge().sdk(1)).await;
    world.reload(after).await;
    let retry = world.done(&charge().sdk(1)).await;
    assert_eq!(retry.status, 200, "{before:?} → {after:?}");
    let keys = world.keys();
    assert_eq!(keys[0], keys[1], "{before:?} → {after:?}");
    assert_eq!(world.effects().len(), 1, "{before:?} → {after:?}");
}

#[tokio::test]
async fn a_reload_from_content_to_call_keeps_the_key_of_a_call_in_doubt() {
    retried_after_a_reload(BY_CONTENT, CALL).await;
}

#[tokio::test]
async fn a_reload_from_call_to_content_keeps_the_key_of_a_call_in_doubt() {
    retried_after_a_reload(CALL, BY_CONTENT).await;
}

#[tokio::test]
async fn a_change_to_observe_keeps_the_key_of_a_call_in_doubt() {
    retried_after_a_reload(BY_CONTENT, &observe(BY_CONTENT)).await;
    retried_after_a_reload(CALL, &observe(BY_CONTENT)).await;
}

#[tokio::test]
async fn a_change_from_observe_keeps_the_key_of_a_call_in_doubt() {
    retried_after_a_reload(&observe(BY_CONTENT), BY_CONTENT).await;
    retried_after_a_reload(&observe(CALL), BY_CONTENT).await;
}

#[tokio::test]
async fn a_reload_that_lets_a_path_pass_keeps_the_key_of_a_call_in_doubt() {
    retried_after_a_reload(BY_CONTENT, PASS).await;
}

#[tokio::test]
async fn a_reload_that_makes_uuid4_keys_own_keeps_the_key_of_a_call_in_doubt() {
    let world = hasty(BY_CONTENT).await;
    let ruby = charge()
        .instead("User-Agent", "Stripe/v1 RubyBindings/19.5.0")
        .key("10000000-0000-4000-8000-000000000001");
    world.faults([lost()]);
    world.done(&ruby).await.refused(504, "payonce_outcome_unknown");
    world.reload(&format!("uuid4_keys = \"own\"\n{BY_CONTENT}")).await;
    world.done(&ruby).await.is(200, "replayed");
    assert_eq!(world.keys().iter().collect::<BTreeSet<_>>().len(), 1);
}

#[tokio::test]
async fn a_rate_limit_in_between_does_not_make_payonce_forget_how_a_call_was_sent() {
    for (before, after) in [(BY_CONTENT, observe(BY_CONTENT)), (CALL, BY_CONTENT.to_owned())] {
        let world = hasty(before).await;
        if before == CALL {
            world.faults([lost(), Fault::new(Kind::RateLimited { reason: None })]);
            world.done(&charge().sdk(1)).await.refused(504, "payonce_outcome_unknown");
        } else {
            world.lose(&charge().sdk(1)).await;
            world.faults([Fault::new(Kind::RateLimited { reason: None })]);
        }
        let limited = world.done(&charge().sdk(1)).await;
        if before == CALL {
            limited.refused(504, "payonce_outcome_unknown");
        } else {
            limited.refused(504, "payonce_answer_unavailable");
        }
        world.reload(&after).await;
        assert_eq!(world.done(&charge().sdk(1)).await.status, 200);
        let keys = world.keys();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 1, "{before:?} → {after:?}");
        assert_eq!(world.effects().len(), 1);
    }
}

#[tokio::test]
async fn the_bypass_keeps_the_key_of_what_is_open() {
    let mut world = Setup::policy(BY_CONTENT)
        .set("RETRY__MAX_ATTEMPTS", 1)
        .set("STORE__KIND", "embedded")
        .start()
        .await;
    world.faults([lost()]);
    world.done(&charge().sdk(1)).await.refused(504, "payonce_outcome_unknown");
    world.restart_with("POLICY__BYPASS", "true").await;
    world.done(&charge().sdk(2)).await.is(200, "replayed");
    let keys = world.keys();
    assert_eq!((keys[0] == keys[1], world.effects().len()), (true, 1));
    // What is not open passes as it is.
    let other = Post::charge("amount=700&currency=usd&source=tok_visa");
    let passed = world.done(&other).await;
    passed.is(200, "-");
    assert_eq!(world.keys().last().unwrap(), "");
}

#[tokio::test]
async fn an_embedded_store_remembers_across_a_restart() {
    let mut world = Setup::policy(BY_CONTENT).set("STORE__KIND", "embedded").start().await;
    world.lose(&charge().sdk(1)).await;
    world.restart().await;
    world.done(&charge().sdk(2)).await.is(200, "replayed");
    world.done(&charge().sdk(3)).await.is(200, "repeated");
    assert_eq!((world.effects().len(), world.row("A14"), world.row("A16")), (2, 1, 1));
}

/// Sends one request of every kind; the provider must get each as if payonce were not there.
async fn everything_passes(world: &World) {
    let long = format!("amount=5&currency=usd&source=tok_visa&description={}", "x".repeat(4000));
    let asks = [
        charge(),
        charge(),
        charge().sdk(1),
        charge().sdk(1),
        charge().key("mine"),
        charge().with("Payonce-Operation", "order-7"),
        Post::new("/v1/payouts", "amount=5&currency=usd"),
        Post::new("/v1/customers", "name=a"),
        Post::new("/v1/customers", "name=b").sdk(2),
        Post::new("/v1/products", "name=a"),
        Post::charge(&long),
        Post::charge(&long).key("long"),
    ];
    let wanted = ["", "", "sdk", "sdk", "mine", "", "", "", "sdk", "", "", "long"];
    for (ask, wanted) in asks.iter().zip(wanted) {
        let before = world.seen().len();
        let reply = world.done(ask).await;
        assert!([200, 400].contains(&reply.status), "{ask:?}: {}", reply.status);
        assert!(!reply.code().starts_with("payonce_"), "{ask:?}: {}", reply.code());
        let own = reply.fields.iter().filter(|(name, _)| name.starts_with("payonce-"));
        assert_eq!(own.count(), 0, "{ask:?}: {reply:?}");
        let seen = &world.seen()[before..];
        assert_eq!(seen.len(), 1, "{ask:?}");
        let key = seen[0].key.as_deref().unwrap_or_default();
        let matches = if wanted == "sdk" { key.starts_with("stripe-node-") } else { key == wanted };
        assert!(matches, "{ask:?}: {key:?}");
        let added = seen[0].headers.iter().filter(|name| name.starts_with("payonce"));
        assert_eq!(added.count(), 0);
    }
    // Failures are passed on as they are, untried.
    for ask in [charge(), charge().sdk(9), charge().sdk(9)] {
        world.faults([Fault::new(Kind::Status { code: 503, effect: Strike::Before })]);
        let before = world.seen().len();
        let failed = world.done(&ask).await;
        assert_eq!((failed.status, world.seen().len() - before), (503, 1));
        assert_eq!(failed.header("stripe-should-retry"), None);
    }
}

#[tokio::test]
async fn observe_changes_nothing_on_the_wire() {
    let setup = Setup::policy(&observe(&strict())).set("LIMITS__BODY", "2KiB");
    everything_passes(&setup.start().await).await;
}

#[tokio::test]
async fn the_bypass_changes_nothing_on_the_wire() {
    let setup = Setup::policy(&strict()).set("LIMITS__BODY", "2KiB").set("POLICY__BYPASS", true);
    everything_passes(&setup.start().await).await;
}

#[tokio::test]
async fn without_an_authorization_nothing_is_joined_recorded_or_answered_from_memory() {
    let world = Setup::policy(TWINS).start().await;
    let nobody = charge().instead("Authorization", "");
    for _ in 0..2 {
        let reply = world.done(&nobody).await;
        reply.is(401, "-");
        assert_eq!(reply.header("payonce-operation-id"), None);
    }
    assert_eq!((world.seen().len(), world.row("A1")), (2, 0));
    assert_eq!(world.keys(), ["", ""], "it passes as it is");
}

#[tokio::test]
async fn scopes_share_nothing_and_spellings_of_one_key_are_one_scope() {
    let world = Setup::policy(TWINS).start().await;
    let scopes = [
        charge(),
        charge().instead("Authorization", "Bearer sk_test_other_1"),
        charge().instead("Authorization", "Bearer sk_test_shop_2"),
        charge().with("Stripe-Account", "acct_1"),
        charge().with("Stripe-Account", "acct_2"),
        charge().with("Stripe-Account", ""),
        charge().with("Stripe-Context", "acct_1"),
    ];
    for scope in &scopes {
        world.done(scope).await.is(200, "executed");
    }
    // The first API key again, as the user name of Basic credentials: a twin of the first.
    let basic = charge().instead("Authorization", "Basic c2tfdGVzdF9zaG9wXzE6");
    world.done(&basic).await.is(200, "replayed");
    let keys = world.keys();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), scopes.len());
    assert_eq!(keys.first(), keys.last());
    assert_eq!(world.effects().len(), scopes.len());
}

#[tokio::test]
async fn a_client_key_means_something_only_in_its_own_scope() {
    let world = Setup::policy(CALL).start().await;
    let other = charge().instead("Authorization", "Bearer sk_test_other_1");
    world.done(&charge().key("mine")).await.is(200, "executed");
    world.done(&other.key("mine")).await.is(200, "executed");
    assert_eq!((world.effects().len(), world.row("A1")), (2, 2));
}
