//! `[[client]]`: clients that are reported, warned and refused, through a whole payonce.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

use super::harness::{Post, Reply, Setup, World};

const OLD: &str = "Stripe/v1 PythonBindings/7.14.1";
const NEW: &str = "Stripe/v1 PythonBindings/16.1.0";
const CHARGES: &str = "[[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\n\
                       class = \"critical\"\nidentity = \"content\"\ndistinguishes = [\"customer\"]\n";

fn client(name: &str, action: &str) -> String {
    format!(
        "[[client]]\nname = \"{name}\"\nsdk = \"python\"\nminimum = \"15.0\"\n\
         action = \"{action}\"\nmessage = \"Änderung: ask platform\"\n"
    )
}

fn charge(agent: &str) -> Post {
    Post::charge("amount=500&currency=usd&source=tok_visa").with("User-Agent", agent)
}

fn warning(reply: &Reply) -> Option<&str> {
    reply.header("payonce-warning")
}

fn rule(world: &World, name: &str, done: &str) -> u64 {
    world.count(&format!("payonce_client_rules_total{{rule=\"{name}\",done=\"{done}\"}}"))
}

#[tokio::test]
async fn a_refused_client_sends_nothing_and_is_told_why() {
    let world = Setup::policy(&[client("warned", "warn"), client("old", "refuse")].concat());
    let world = world.start().await;
    for post in [charge(OLD), charge(OLD).method("GET")] {
        let reply = world.done(&post).await;
        reply.refused(403, "payonce_client_refused");
        assert_eq!(reply.header("stripe-should-retry"), Some("false"));
        assert_eq!(
            reply.message(),
            "The policy's [[client]] \"old\" refuses this client: python 7.14.1: at least 15.0.0 is \
             wanted; Änderung: ask platform. Nothing was sent to Stripe."
        );
    }
    assert!(world.sandbox.requests().is_empty(), "nothing was sent");
    assert_eq!((rule(&world, "old", "refuse"), rule(&world, "warned", "warn")), (2, 2));
    let reply = world.done(&charge(NEW)).await;
    reply.is(200, "executed");
    assert_eq!(warning(&reply), None);
}

#[tokio::test]
async fn a_warned_client_is_served_and_told_with_every_answer() {
    let world = Setup::policy(&client("old", "warn")).start().await;
    let refused = charge(OLD).instead("Authorization", "").with("Payonce-Operation", "");
    for (post, status) in [(charge(OLD), 200), (charge(OLD).method("GET"), 200)] {
        let reply = world.done(&post).await;
        assert_eq!(reply.status, status);
        assert_eq!(
            warning(&reply),
            Some("old: python 7.14.1: at least 15.0.0 is wanted; ?nderung: ask platform")
        );
    }
    let wrong = world.done(&refused.instead("Idempotency-Key", "x\u{7f}")).await;
    assert!(wrong.status >= 400 && warning(&wrong).is_some(), "{wrong:?}");
    assert_eq!(warning(&world.done(&charge(NEW)).await), None);
}

#[tokio::test]
async fn report_observe_and_bypass_change_nothing() {
    let refuse = client("old", "refuse");
    for (policy, bypass, done) in [
        (client("old", "report"), "false", "report"),
        (format!("mode = \"observe\"\n{refuse}"), "false", "observed"),
        (refuse, "true", "observed"),
    ] {
        let world = Setup::policy(&policy).set("POLICY__BYPASS", bypass).start().await;
        let reply = world.done(&charge(OLD)).await;
        assert_eq!((reply.status, warning(&reply)), (200, None), "{policy}");
        assert_eq!(rule(&world, "old", done), 1, "{policy}");
        let sdks = "payonce_sdk_requests_total{sdk=\"python\",major=\"7\"}";
        assert_eq!(world.count(sdks), 1);
    }
}

#[tokio::test]
async fn a_reloaded_rule_holds_for_a_client_that_was_seen_before() {
    let world = Setup::policy("").start().await;
    world.done(&charge(OLD)).await.is(200, "executed");
    world.reload(&client("old", "refuse")).await;
    world.done(&charge(OLD)).await.refused(403, "payonce_client_refused");
    world.reload("").await;
    world.done(&charge(OLD)).await.is(200, "executed");
}

#[tokio::test]
async fn a_caller_alone_can_be_refused() {
    let policy =
        "[[client]]\nname = \"jobs\"\nsdk = \"*\"\ncaller = [\"jobs\"]\naction = \"refuse\"";
    let world = Setup::policy(policy).start().await;
    let jobs = charge(NEW).with("Payonce-Caller", "jobs");
    world.done(&jobs).await.refused(403, "payonce_client_refused");
    world.done(&charge(NEW).with("Payonce-Caller", "web")).await.is(200, "executed");
    world
        .done(&charge("jobs/1.2 (https://jobs.example)"))
        .await
        .refused(403, "payonce_client_refused");
}

/// An application's name in another alphabet must not hide whose key it is: the second charge would
/// count as one that the application means by a key of its own, and be made again.
#[tokio::test]
async fn an_sdk_key_is_known_though_the_application_has_a_name_beyond_ascii() {
    let world = Setup::policy(CHARGES).start().await;
    let charge = |n: u32| {
        Post::charge("amount=500&currency=usd&customer=cus_1")
            .sdk(n)
            .instead("User-Agent", "Stripe/v1 NodeBindings/23.1.0 Läden/1.2")
    };
    world.lose(&charge(1)).await;
    world.done(&charge(2)).await.is(200, "replayed");
    assert_eq!(world.effects().len(), 1);
}
