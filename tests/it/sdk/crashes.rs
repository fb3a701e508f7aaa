//! Applications and payonce killed in the middle of a request, and started again.

use payonce::sandbox::{Fault, Kind, Strike};
use serde_json::{Value, json};

use super::app::{App, Call, Sdk};
use super::world::{World, until};

/// What is killed in the middle of, by the merge that its rule has.
fn payments() -> [(&'static str, Value); 2] {
    let mut charge = json!({"amount": 100, "currency": "usd", "source": "tok_visa"});
    let mut intent = json!({"amount": 100, "currency": "usd", "payment_method": "pm_card_visa"});
    charge["description"] = json!("A very private description");
    intent["confirm"] = json!(true);
    [("charges.create", charge), ("payment_intents.create", intent)]
}

#[tokio::test]
async fn an_application_that_was_killed_and_runs_again_with_a_fresh_key_pays_once() {
    for sdk in Sdk::ALL {
        let world = World::start().await;
        for (method, params) in payments() {
            let call = Call::new(method, params).intent(method);
            let stall = Kind::Stall { millis: Some(300), effect: Strike::After };
            world.fault(Fault::new(stall).of_intent(method));
            let mut app = App::start(sdk, &world);
            app.begin(&call).await;
            world.arrived(method).await;
            app.kill().await;
            let mut again = App::start(sdk, &world);
            let done = again.done(&call).await;
            assert_eq!(done["status"], "succeeded");
            assert_eq!(world.effects(method).len(), 1, "{sdk:?}, {method}");
            again.kill().await;
        }
        world.end(&[]).await;
    }
}

#[tokio::test]
async fn a_payment_after_payonce_was_killed_in_the_middle_of_it_is_made_once() {
    for sdk in Sdk::ALL {
        let mut world = World::start().await;
        let (method, params) = payments()[0].clone();
        let call = Call::new(method, params).intent(method).retries(0);
        // Executed when payonce has died already.
        let stall = Kind::Stall { millis: Some(300), effect: Strike::Before };
        world.fault(Fault::new(stall).of_intent(method));
        let mut app = App::start(sdk, &world);
        app.begin(&call).await;
        world.arrived(method).await;
        world.kill_and_start_again().await;
        let done = match app.result().await {
            Err(raised) => {
                assert_eq!(raised.class, "APIConnectionError", "{sdk:?}");
                until("the payment is made", || world.effects(method).len() == 1).await;
                app.done(&call).await
            }
            // stripe-node asks once more when a connection broke, told to or not (FACTS §1.2).
            Ok(done) => {
                assert!(matches!(sdk, Sdk::Node), "{sdk:?} heard of success");
                done
            }
        };
        assert_eq!(done["status"], "succeeded");
        assert_eq!(world.effects(method).len(), 1, "{sdk:?}");
        app.kill().await;
        world.end(&[]).await;
    }
}

#[tokio::test]
async fn an_sdk_that_retries_by_itself_over_a_restart_of_payonce_pays_once() {
    for sdk in Sdk::ALL {
        let mut world = World::start().await;
        let (method, params) = payments()[1].clone();
        let call = Call::new(method, params).intent(method).retries(8);
        let stall = Kind::Stall { millis: Some(300), effect: Strike::After };
        world.fault(Fault::new(stall).of_intent(method));
        let mut app = App::start(sdk, &world);
        app.begin(&call).await;
        world.arrived(method).await;
        world.kill_and_start_again().await;
        assert_eq!(app.result().await.unwrap()["status"], "succeeded");
        assert_eq!(world.effects(method).len(), 1, "{sdk:?}");
        app.kill().await;
        world.end(&[]).await;
    }
}

#[tokio::test]
async fn what_was_answered_before_payonce_was_killed_is_not_merged_with_what_comes_after() {
    for sdk in Sdk::ALL {
        let mut world = World::start().await;
        let mut app = App::start(sdk, &world);
        let (method, params) = payments()[1].clone();
        let call = Call::new(method, params).retries(8);
        let first = app.done(&call.clone().intent("first")).await;
        // The connection goes on, which is how payonce knows that the answer was taken.
        app.done(&Call::new("payment_intents.retrieve", json!({})).of(&first["id"])).await;
        world.settled().await;
        world.kill_and_start_again().await;
        let second = app.done(&call.intent("second")).await;
        assert_ne!(first["id"], second["id"], "{sdk:?}: two orders, one payment");
        assert_eq!(world.effects("second").len(), 1, "{sdk:?}");
        app.kill().await;
        world.end(&[]).await;
    }
}
