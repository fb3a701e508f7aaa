//! What an application does with an SDK on a day without faults.

use serde_json::json;

use super::app::{App, Call, Sdk};
use super::world::World;

#[tokio::test]
async fn an_sdk_creates_confirms_captures_cancels_refunds_and_lists() {
    for sdk in Sdk::ALL {
        let world = World::start().await;
        let mut app = App::start(sdk, &world);
        let customer = app.done(&Call::new("customers.create", json!({"email": "a@b.c"}))).await;
        let customer = &customer["id"];
        let attach = Call::new("payment_methods.attach", json!({"customer": customer}));
        let card = app.done(&attach.of(&json!("pm_card_visa"))).await["id"].clone();

        let create = |more: serde_json::Value| {
            let mut params = json!({
                "amount": 2000, "currency": "usd", "customer": customer, "payment_method": card,
                "description": "A very private description",
            });
            params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Call::new("payment_intents.create", params)
        };
        let step = |name: &str, id| Call::new(&format!("payment_intents.{name}"), json!({})).of(id);

        let paid = app.done(&create(json!({"metadata": {"order_id": "1"}}))).await;
        assert_eq!(paid["status"], "requires_confirmation");
        let paid = app.done(&step("confirm", &paid["id"]).intent("pay 1")).await;
        assert_eq!(paid["status"], "succeeded");
        assert_eq!(world.effects("pay 1").len(), 1, "{sdk:?}");

        let held = json!({"capture_method": "manual", "confirm": true});
        let held = app.done(&create(held)).await;
        assert_eq!(held["status"], "requires_capture");
        let captured = app.done(&step("capture", &held["id"]).intent("capture")).await;
        assert_eq!(captured["status"], "succeeded");
        assert_eq!(world.effects("capture").len(), 1, "{sdk:?}");

        let dropped = app.done(&create(json!({"metadata": {"order_id": "3"}}))).await;
        let dropped = app.done(&step("cancel", &dropped["id"]).intent("cancel")).await;
        assert_eq!(dropped["status"], "canceled");
        let found = app.done(&step("retrieve", &dropped["id"])).await;
        assert_eq!(found["status"], "canceled");

        let charge = json!({"amount": 900, "currency": "usd", "source": "tok_visa"});
        let charge = app.done(&Call::new("charges.create", charge).intent("charge")).await;
        let part = json!({"charge": charge["id"], "amount": 300});
        let refund = app.done(&Call::new("refunds.create", part).intent("refund")).await;
        assert_eq!(refund["status"], "succeeded");
        assert_eq!(refund["outcome"], "executed");
        assert_eq!(world.effects("refund").len(), 1, "{sdk:?}");

        for order in 0..5 {
            let params = json!({"email": format!("{order}@example.com")});
            app.done(&Call::new("customers.create", params)).await;
        }
        let all = app.done(&Call::new("customers.list", json!({"limit": 2}))).await;
        assert_eq!(all["ids"].as_array().unwrap().len(), 6, "{sdk:?}");
        app.kill().await;
        world.end(&["a@b.c", "A very private description"]).await;
    }
}

#[tokio::test]
async fn a_payment_that_requires_action_is_confirmed_again_and_paid_once() {
    for sdk in Sdk::ALL {
        let world = World::start().await;
        let mut app = App::start(sdk, &world);
        let params = json!({
            "amount": 700, "currency": "eur", "payment_method": "pm_card_authenticationRequired",
        });
        let intent = app.done(&Call::new("payment_intents.create", params)).await;
        let confirm = Call::new("payment_intents.confirm", json!({})).of(&intent["id"]);
        let first = app.done(&confirm.clone().intent("first")).await;
        assert_eq!(first["status"], "requires_action");
        let again = app.done(&confirm.clone().intent("again")).await;
        assert_eq!(again["status"], "succeeded", "{sdk:?}: the same bytes, another operation");
        let moved: Vec<_> = world.sandbox.effects().into_iter().filter(|it| it.money).collect();
        assert_eq!(moved.len(), 1, "{sdk:?}: {moved:?}");
        app.fails(&confirm, "InvalidRequestError", 400).await;
        app.kill().await;
        world.end(&[]).await;
    }
}

#[tokio::test]
async fn an_sdk_raises_what_it_raises_without_payonce() {
    for sdk in Sdk::ALL {
        let world = World::start().await;
        let mut app = App::start(sdk, &world);
        let nobody = Call::new("charges.retrieve", json!({})).of(&json!("ch_none"));
        app.fails(&nobody, "InvalidRequestError", 404).await;
        let nothing = Call::new("charges.create", json!({"source": "tok_visa"}));
        app.fails(&nothing, "InvalidRequestError", 400).await;

        let charge = |source, amount| {
            let params = json!({"amount": amount, "currency": "usd", "source": source});
            Call::new("charges.create", params).intent(source)
        };
        let broke = charge("tok_chargeDeclined", 100);
        app.fails(&broke, "CardError", 402).await;
        // The same card again is another attempt, and the next card is not kept from paying.
        app.fails(&broke, "CardError", 402).await;
        assert_eq!(world.effects("tok_chargeDeclined").len(), 2, "{sdk:?}");
        app.done(&charge("tok_visa", 100)).await;

        let own = charge("tok_mastercard", 100).own_key("order-42-of-the-shop");
        let first = app.done(&own).await;
        assert_eq!(app.done(&own).await["id"], first["id"], "{sdk:?}");
        let other = charge("tok_mastercard", 101).own_key("order-42-of-the-shop");
        app.fails(&other, "IdempotencyError", 400).await;
        assert_eq!(world.effects("tok_mastercard").len(), 1, "{sdk:?}");
        app.kill().await;
        world.end(&["order-42-of-the-shop"]).await;
    }
}

#[tokio::test]
async fn an_own_key_that_was_declined_stays_declined_as_at_stripe() {
    for sdk in Sdk::ALL {
        let world = World::start().await;
        let mut app = App::start(sdk, &world);
        let params = json!({"amount": 5, "currency": "usd", "source": "tok_chargeDeclined"});
        let charge = Call::new("charges.create", params).intent("declined").own_key("order-5");
        app.fails(&charge, "CardError", 402).await;
        app.fails(&charge, "CardError", 402).await;
        assert_eq!(world.effects("declined").len(), 1, "{sdk:?}");
        app.kill().await;
        world.end(&["order-5"]).await;
    }
}
