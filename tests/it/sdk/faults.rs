//! Each fault of the sandbox, struck on each kind of operation of each SDK.

use payonce::sandbox::{Fault, Kind, Strike};
use serde_json::{Value, json};

use super::app::{App, Call, Sdk};
use super::world::World;

/// Faults after which the SDK must hear of success in its first call, whoever retries.
fn passing() -> Vec<(&'static str, Fault)> {
    let (before, after) = (Strike::Before, Strike::After);
    let status = |code, effect| Fault::new(Kind::Status { code, effect });
    let mut faults = vec![
        ("refuse", Fault::new(Kind::Refuse)),
        ("reset before", Fault::new(Kind::ResetBeforeEffect { clean: false })),
        ("closed before", Fault::new(Kind::ResetBeforeEffect { clean: true })),
        ("reset after", Fault::new(Kind::ResetAfterEffect { clean: false })),
        ("closed after", Fault::new(Kind::ResetAfterEffect { clean: true })),
        ("cut in the head", cut(20, false, false)),
        ("cut in the body", cut(20, true, false)),
        ("reset in the body", cut(20, true, true)),
        ("stall before", Fault::new(Kind::Stall { millis: None, effect: before })),
        ("stall after", Fault::new(Kind::Stall { millis: None, effect: after })),
        ("delay", Fault::new(Kind::Delay { millis: 100, effect: after })),
        ("drip", Fault::new(Kind::Drip { bytes: 64, millis: 1 })),
        ("409", Fault::new(Kind::InUse)),
        ("429", Fault::new(Kind::RateLimited { reason: None })),
        ("lock_timeout", Fault::new(Kind::LockTimeout)),
        ("500 before", Fault::new(Kind::Unsaved500 { effect: before })),
        ("500 after", Fault::new(Kind::Unsaved500 { effect: after })),
        ("500, should retry", Fault::new(Kind::Unsaved500 { effect: after }).should_retry(true)),
        ("redirect", Fault::new(Kind::Redirect { location: "http://127.0.0.1:1/".to_owned() })),
        ("503 three times", status(503, before).times(3)),
    ];
    for code in [408, 424, 502, 503, 504] {
        faults.push(("status before", status(code, before)));
        faults.push(("status after", status(code, after)));
    }
    let html = Fault { html: true, ..status(502, after) };
    faults.push(("a balancer's page", html));
    faults
}

fn cut(bytes: u64, in_body: bool, reset: bool) -> Fault {
    Fault::new(Kind::CutAfterBytes { bytes, in_body, reset })
}

/// One call of each kind of operation: by content, by content with `merge = "lost"`, by call, by an
/// own key.
async fn calls(app: &mut App, nth: usize) -> Vec<(&'static str, Call)> {
    let charge = |amount: usize| {
        let source = "tok_visa";
        json!({"amount": amount, "currency": "usd", "source": source, "description": nth})
    };
    let paid = app.done(&Call::new("charges.create", charge(500))).await;
    let pay = json!({"amount": 800, "currency": "usd", "payment_method": "pm_card_visa"});
    let intent = app.done(&Call::new("payment_intents.create", pay.clone())).await;
    let mut at_once = pay;
    at_once["confirm"] = json!(true);
    at_once["metadata"] = json!({"order_id": nth});
    let own_key = format!("order-{nth}-of-the-shop");
    vec![
        ("charge", Call::new("charges.create", charge(100))),
        ("refund", Call::new("refunds.create", json!({"charge": paid["id"], "amount": 5}))),
        ("pay", Call::new("payment_intents.create", at_once)),
        ("confirm", Call::new("payment_intents.confirm", json!({})).of(&intent["id"])),
        ("own key", Call::new("charges.create", charge(200)).own_key(&own_key)),
    ]
}

async fn passes_every_fault(sdk: Sdk) {
    let world = World::start().await;
    let mut app = App::start(sdk, &world);
    for (nth, (name, fault)) in passing().into_iter().enumerate() {
        for (operation, call) in calls(&mut app, nth).await {
            let intent = format!("{operation} {nth}");
            let (kind, once) =
                (fault.kind.name(), Fault { times: fault.times.or(Some(1)), ..fault.clone() });
            let struck = world.sandbox.struck(kind);
            world.fault(once.of_intent(&intent));
            let done = app.done(&call.intent(&intent)).await;
            assert_eq!(world.effects(&intent).len(), 1, "{sdk:?}, {operation}, {name}");
            assert_eq!(done["outcome"], "executed", "{sdk:?}, {operation}, {name}");
            assert!(world.sandbox.struck(kind) > struck, "{name} did not strike");
        }
    }
    app.kill().await;
    world.end(&[]).await;
}

#[tokio::test]
async fn stripe_python_hears_of_success_and_pays_once_under_every_passing_fault() {
    passes_every_fault(Sdk::PythonModule).await;
}

#[tokio::test]
async fn stripe_client_hears_of_success_and_pays_once_under_every_passing_fault() {
    passes_every_fault(Sdk::PythonClient).await;
}

#[tokio::test]
async fn stripe_python_7_hears_of_success_and_pays_once_under_every_passing_fault() {
    passes_every_fault(Sdk::Python7).await;
}

#[tokio::test]
async fn stripe_node_hears_of_success_and_pays_once_under_every_passing_fault() {
    passes_every_fault(Sdk::Node).await;
}

fn charge(source: &str, intent: &str) -> Call {
    let params: Value = json!({
        "amount": 100, "currency": "usd", "source": source, "description": intent,
    });
    Call::new("charges.create", params).intent(intent)
}

#[tokio::test]
async fn an_application_that_was_told_of_failure_may_ask_again_and_pays_once() {
    let (before, after) = (Strike::Before, Strike::After);
    let lasting = |code, effect| Fault::new(Kind::Status { code, effect }).times(1_000);
    let faults = [
        ("503 for long", lasting(503, before), 4),
        ("504 for long", lasting(504, after), 4),
        ("503, do not retry", lasting(503, before).should_retry(false), 1),
        ("503 after, do not retry", lasting(503, after).should_retry(false), 1),
        (
            "500 after, do not retry",
            Fault::new(Kind::Unsaved500 { effect: after }).times(1_000).should_retry(false),
            1,
        ),
        ("resets for long", Fault::new(Kind::ResetAfterEffect { clean: false }).times(1_000), 4),
    ];
    for sdk in Sdk::ALL {
        let world = World::start().await;
        let mut app = App::start(sdk, &world);
        for (name, fault, attempts) in faults.clone() {
            world.fault(fault.of_intent(name));
            let call = charge("tok_visa", name);
            app.call(&call).await.expect_err(name);
            // payonce's retries are not multiplied by the SDK's.
            assert_eq!(world.seen(name).len(), attempts, "{sdk:?}, {name}");
            world.sandbox.set_faults(Vec::new());
            app.done(&call).await;
            assert_eq!(world.effects(name).len(), 1, "{sdk:?}, {name}");
        }
        app.kill().await;
        world.end(&[]).await;
    }
}

#[tokio::test]
async fn a_saved_500_is_never_paid_twice_whether_or_not_it_was_paid() {
    for sdk in Sdk::ALL {
        let world = World::start().await;
        let mut app = App::start(sdk, &world);
        for (name, effect, paid) in [("unpaid", Strike::Before, 0), ("paid", Strike::After, 1)] {
            world.fault(Fault::new(Kind::Saved500 { effect }).of_intent(name));
            app.fails(&charge("tok_visa", name), "APIError", 500).await;
            app.fails(&charge("tok_visa", name), "APIError", 500).await;
            assert_eq!(world.effects(name).len(), paid, "{sdk:?}, {name}");
        }
        app.kill().await;
        world.end(&[]).await;
    }
}

#[tokio::test]
async fn a_decline_is_raised_once_and_tried_once_whatever_should_retry_says() {
    for sdk in Sdk::ALL {
        let world = World::start().await;
        let mut app = App::start(sdk, &world);
        for (name, retry) in [("told to", true), ("told not to", false)] {
            world.fault(Fault::new(Kind::Mark).times(1).should_retry(retry).of_intent(name));
            app.fails(&charge("tok_chargeDeclined", name), "CardError", 402).await;
            assert_eq!(world.effects(name).len(), 1, "{sdk:?}, {name}");
        }
        app.kill().await;
        world.end(&[]).await;
    }
}
