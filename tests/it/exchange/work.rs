//! What applications do: update back and forth, confirm twice, try another card, ask ill.

use std::collections::BTreeSet;

use payonce::sandbox::Outcome;

use crate::harness::{Post, STRICT, Setup, World};

const SHIPPED: &str = include_str!("../../../config/policy.toml");

/// The policy that ships, as the file that a world reads.
async fn shipped() -> World {
    let policy = SHIPPED.replacen("version = 1\n", "", 1);
    Setup::policy(&policy).start().await
}

fn paid(world: &World) -> usize {
    let money = world.effects().into_iter().filter(|effect| effect.money);
    money.filter(|effect| effect.outcome == Outcome::Succeeded).count()
}

#[tokio::test]
async fn settings_that_go_back_and_forth_are_all_applied() {
    const CONTENT: &str = r#"
[[rule]]
name = "updates"
match = ["POST /v1/customers/{customer}"]
class = "critical"
identity = "content"
distinguishes = ["metadata[*]"]
"#;
    for policy in [SHIPPED.replacen("version = 1\n", "", 1), CONTENT.to_owned()] {
        for keyed in [false, true] {
            let world = Setup::policy(&policy).start().await;
            let customer = world.done(&Post::new("/v1/customers", "name=a")).await.id();
            let before = world.effects().len();
            for (n, value) in ["A", "B", "A", "B"].into_iter().enumerate() {
                let path = format!("/v1/customers/{customer}");
                let update = Post::new(&path, &format!("metadata[plan]={value}"));
                let n = u32::try_from(n).unwrap();
                let update = if keyed { update.sdk(n) } else { update };
                let reply = world.done(&update).await;
                assert_eq!(reply.status, 200);
                assert_eq!(reply.json()["metadata"]["plan"], value);
            }
            assert_eq!(world.effects().len() - before, 4);
        }
    }
}

#[tokio::test]
async fn a_confirmation_that_needs_the_payer_is_confirmed_again() {
    let world = shipped().await;
    let body = "amount=500&currency=usd&payment_method=pm_card_authenticationRequired";
    let intent = world.done(&Post::new("/v1/payment_intents", body).sdk(1)).await.id();
    let confirm = || Post::new(&format!("/v1/payment_intents/{intent}/confirm"), "");
    let first = world.done(&confirm().sdk(2)).await;
    assert_eq!(first.json()["status"], "requires_action", "{:?}", first.json());
    let authenticate = format!("{{\"payment_intent\":\"{intent}\"}}");
    let done = world.provider(&Post::new("/_sandbox/authenticate", &authenticate)).await;
    assert_eq!(done.status, 200);
    let second = world.done(&confirm().sdk(3)).await;
    assert_eq!(second.json()["status"], "succeeded", "{:?}", second.json());
    assert_eq!(paid(&world), 1);
}

#[tokio::test]
async fn after_a_decline_the_same_card_and_another_one_are_really_tried() {
    for (kept, keyed) in [(false, false), (false, true), (true, false), (true, true)] {
        let world = shipped().await;
        let cards = ["tok_chargeDeclined", "tok_chargeDeclined", "tok_visa"];
        let mut client = world.client().await;
        for (n, card) in (1..).zip(cards) {
            let charge = Post::charge(&format!("amount=500&currency=usd&source={card}"));
            let charge = if keyed { charge.sdk(n) } else { charge };
            let reply = if kept {
                client.send(&charge).await;
                client.reply().await
            } else {
                world.done(&charge).await
            };
            let status = if card == "tok_visa" { 200 } else { 402 };
            reply.is(status, "executed");
        }
        let keys = world.keys();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 3, "kept: {kept}, {keyed}");
        assert_eq!((world.effects().len(), paid(&world)), (3, 1));
    }
}

#[tokio::test]
async fn intended_equal_payouts_in_turn_all_happen() {
    let world = shipped().await;
    for n in 0..3 {
        let payout = Post::new("/v1/payouts", "amount=500&currency=usd").sdk(n);
        assert_eq!(world.done(&payout).await.status, 200);
    }
    assert_eq!(world.effects().len(), 3);
}

const BY_ORDER: &str = r#"
[[rule]]
name = "by_order_or_content"
match = ["POST /v1/charges"]
class = "critical"
identity = ["metadata[order_id]"]
otherwise = "content"
distinguishes = ["source"]

[[rule]]
name = "by_order_or_call"
match = ["POST /v1/refunds", "POST /v1/prices"]
class = "critical"
identity = ["metadata[order_id]"]
otherwise = "call"
"#;

async fn strict() -> World {
    Setup::policy(&format!("{STRICT}{BY_ORDER}")).start().await
}

#[tokio::test]
async fn what_the_policy_refuses_is_not_sent() {
    let world = strict().await;
    let payout = Post::new("/v1/payouts", "amount=5&currency=usd").key("mine");
    world.done(&payout).await.refused(403, "payonce_refused_by_policy");
    let customer = || Post::new("/v1/customers", "name=a");
    world.done(&customer()).await.refused(400, "payonce_key_required");
    world.done(&customer().sdk(1)).await.refused(400, "payonce_key_required");
    let named = customer().with("Payonce-Operation", "a");
    assert!([200, 400].contains(&world.done(&named).await.status));
    let before = world.seen().len();
    world.done(&customer().key("mine")).await.is(200, "executed");
    assert_eq!(world.seen().len() - before, 1);
}

#[tokio::test]
async fn identity_fields_decide_and_what_lacks_them_goes_where_the_policy_says() {
    let world = strict().await;
    let product = |body: &str| Post::new("/v1/products", body);
    let missing = world.done(&product("name=a")).await;
    missing.refused(400, "payonce_identity_missing");
    assert!(missing.message().contains("metadata[order_id]"), "{}", missing.message());
    world
        .done(&product("name=a&metadata[order_id]="))
        .await
        .refused(400, "payonce_identity_missing");
    let twice = "name=a&metadata[order_id]=1&metadata[order_id]=2";
    world.done(&product(twice)).await.refused(400, "payonce_identity_missing");
    assert_eq!(world.seen().len(), 0);
    // An own key names the operation as well.
    world.done(&product("name=a").key("mine")).await.is(200, "executed");
    let first = world.done(&product("name=a&metadata[order_id]=7").sdk(1)).await;
    let again = world.done(&product("name=a&metadata[order_id]=7").sdk(2)).await;
    again.is(200, "replayed");
    assert_eq!(first.id(), again.id());
    world.done(&product("name=a&metadata[order_id]=8")).await.is(200, "executed");
    // Own keys beside the fields do not make two of one order.
    let order = || product("name=a&metadata[order_id]=9");
    world.done(&order().key("a")).await.is(200, "executed");
    world.done(&order().key("b")).await.is(200, "replayed");
    let before = world.effects().len();
    let charge = Post::charge("amount=500&currency=usd&source=tok_visa");
    world.lose(&charge).await;
    world.done(&charge).await.is(200, "replayed");
    let price = Post::new("/v1/prices", "currency=usd&unit_amount=5&product=prod_1");
    world.done(&price).await.is(200, "executed");
    world.done(&price).await.is(200, "executed");
    assert_eq!(world.effects().len() - before, 3);
}

#[tokio::test]
async fn ill_formed_keys_and_names_are_refused_and_nothing_is_sent() {
    let world = strict().await;
    let ask = || Post::new("/v1/plans", "amount=5");
    let long = "k".repeat(256);
    let cases = [
        (ask().with("Idempotency-Key", &long), "payonce_bad_idempotency_key"),
        (ask().with("Idempotency-Key", ""), "payonce_bad_idempotency_key"),
        (ask().with("Idempotency-Key", "schlüssel"), "payonce_bad_idempotency_key"),
        (ask().with("Idempotency-Key", "a\tb"), "payonce_bad_idempotency_key"),
        (ask().with("Payonce-Operation", &long), "payonce_bad_operation"),
        (ask().with("Payonce-Operation", ""), "payonce_bad_operation"),
        (ask().with("Payonce-Operation", "ü"), "payonce_bad_operation"),
        (
            ask().with("Payonce-Operation", "a").with("Payonce-Operation", "a"),
            "payonce_repeated_header",
        ),
        (
            ask().with("Idempotency-Key", "a").with("idempotency-key", "b"),
            "payonce_repeated_header",
        ),
        (ask().with("Authorization", "Bearer sk_test_x_1"), "payonce_repeated_header"),
        (Post::new("/v1//charges", "a=1"), "payonce_bad_target"),
        (Post::new("/v1/charges/%2e%2e/x", "a=1"), "payonce_bad_target"),
    ];
    for (ask, code) in cases {
        let refused = world.done(&ask).await;
        refused.refused(400, code);
        let text = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(text.contains("Nothing was sent") && !text.contains(&long), "{text}");
        assert_eq!(refused.header("stripe-should-retry"), Some("false"));
    }
    assert_eq!(world.seen().len(), 0);
    // The longest that Stripe takes goes through.
    let longest = ask().key(&"k".repeat(255));
    world.done(&longest).await.is(200, "executed");
}

#[tokio::test]
async fn a_name_of_the_application_beats_every_other_identity_and_never_leaves() {
    let world = strict().await;
    let charge = |order: u32| {
        let body = format!("amount=500&currency=usd&source=tok_visa&metadata[order_id]={order}");
        Post::charge(&body)
    };
    world.done(&charge(1).with("Payonce-Operation", "x").key("own-1")).await.is(200, "executed");
    world.done(&charge(1).with("Payonce-Operation", "x").key("own-2")).await.is(200, "replayed");
    world.done(&charge(1).with("Payonce-Operation", "y").key("own-3")).await.is(200, "executed");
    let other = world.done(&charge(2).with("Payonce-Operation", "x")).await;
    other.refused(400, "payonce_conflict");
    assert!(other.message().contains("metadata[order_id]"));
    assert_eq!(world.effects().len(), 2);
    for seen in world.seen() {
        assert!(!seen.headers.iter().any(|name| name.starts_with("payonce")), "{seen:?}");
        assert!(!seen.key.as_ref().is_some_and(|key| key.starts_with("own")), "it is derived");
    }
}
