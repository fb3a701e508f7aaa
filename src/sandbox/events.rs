//! Stripe's events for what was executed, and their signatures: how Stripe would tell of it.
//!
//! Nothing is sent here. The signature is made by code of the sandbox's own, as all that judges.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::Notify;

use crate::clock::Timestamp;

use super::call::{Call, Family};
use super::ctx::iso8601;
use super::effects::{Draft, Outcome};
use super::mint::Mint;
use super::routes::Route;
use super::store::Account;

/// Most events that wait to be sent; more are dropped, and counted.
const WAITING: usize = 10_000;

/// The events that were not sent yet. Shut until there is an endpoint to send them to.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) open: bool,
    pub(crate) waiting: Vec<Value>,
    pub(crate) dropped: u64,
    pub(crate) news: Arc<Notify>,
}

impl Outbox {
    pub(crate) fn put(&mut self, events: Vec<Value>) {
        let room = WAITING.saturating_sub(self.waiting.len());
        self.dropped += u64::try_from(events.len().saturating_sub(room)).unwrap_or_default();
        self.waiting.extend(events.into_iter().take(room));
        self.news.notify_one();
    }
}

/// What Stripe tells of one executed call: one event or several, all with the request's key.
pub(crate) fn of(
    draft: &Draft,
    call: &Call,
    route: &Route,
    account: &Account,
    mint: &mut Mint,
    request: &str,
    now: Timestamp,
) -> Vec<Value> {
    let of = |id: &str| account.get(id).map(|object| Value::Object(object.fields.clone()));
    // What was deleted is told by its id alone.
    let object = of(&draft.object).unwrap_or_else(|| json!({ "id": draft.object }));
    let field = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let kind = Some(field("object")).filter(|kind| !kind.is_empty()).unwrap_or("object");
    let mut told = Vec::new();
    match (kind, draft.outcome) {
        ("charge", Outcome::Declined | Outcome::RequiresAction) => {
            told.push(("charge.failed".to_owned(), object.clone()));
        }
        ("charge", Outcome::Succeeded) if field("status") == "succeeded" => {
            let what = if route.shape.ends_with("/capture") { "captured" } else { "succeeded" };
            told.push((format!("charge.{what}"), object.clone()));
        }
        ("payment_intent", outcome) => {
            if route.shape == "POST /v1/payment_intents" {
                told.push(("payment_intent.created".to_owned(), object.clone()));
            }
            let charge = of(field("latest_charge"));
            match (outcome, field("status")) {
                (Outcome::Declined, _) => {
                    told.extend(charge.map(|charge| ("charge.failed".to_owned(), charge)));
                    told.push(("payment_intent.payment_failed".to_owned(), object.clone()));
                }
                (Outcome::RequiresAction, _) => {
                    told.push(("payment_intent.requires_action".to_owned(), object.clone()));
                }
                (Outcome::Succeeded, "succeeded") => {
                    told.extend(charge.map(|charge| ("charge.succeeded".to_owned(), charge)));
                    told.push(("payment_intent.succeeded".to_owned(), object.clone()));
                }
                (Outcome::Succeeded, "canceled") => {
                    told.push(("payment_intent.canceled".to_owned(), object.clone()));
                }
                (Outcome::Succeeded, _) => {}
            }
        }
        ("refund", _) => {
            told.push(("refund.created".to_owned(), object.clone()));
            let charge = of(field("charge"));
            told.extend(charge.map(|charge| ("charge.refunded".to_owned(), charge)));
        }
        (kind, _) => told.push((format!("{kind}.{}", change(route)), object.clone())),
    }
    let events = told.into_iter();
    events.map(|(name, object)| event(&name, &object, call, mint, request, now)).collect()
}

/// What happened to an object that has no events of its own.
fn change(route: &Route) -> &'static str {
    if route.operation.starts_with("DELETE") {
        "deleted"
    } else if route.shape.ends_with("{}") || route.shape.contains("{}/") {
        "updated"
    } else {
        "created"
    }
}

fn event(
    name: &str,
    object: &Value,
    call: &Call,
    mint: &mut Mint,
    request: &str,
    now: Timestamp,
) -> Value {
    let asked = json!({ "id": request, "idempotency_key": call.effective_key() });
    let connected = call.scope.split('|').nth(1).filter(|account| *account != "-");
    match call.family() {
        Family::V1 => {
            let mut event = json!({
                "id": mint.id("evt"), "object": "event", "api_version": "2026-08-26.dahlia",
                "created": now.as_millis() / 1000, "data": { "object": object },
                "livemode": false, "pending_webhooks": 1, "request": asked, "type": name,
            });
            if let (Some(account), Some(fields)) = (connected, event.as_object_mut()) {
                fields.insert("account".to_owned(), json!(account));
            }
            event
        }
        Family::V2 => json!({
            "id": mint.id("evt_test"), "object": "v2.core.event", "type": name,
            "created": iso8601(now), "livemode": false, "context": connected,
            "related_object": {
                "id": object.get("id"), "type": object.get("object"), "url": call.path,
            },
            "reason": { "type": "request", "request": asked },
        }),
    }
}

/// `Stripe-Signature` of `body`, sent at `at`.
pub(crate) fn signature(secret: &str, body: &[u8], at: Timestamp) -> String {
    let time = at.as_millis() / 1000;
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{time}.").as_bytes());
    mac.update(body);
    format!("t={time},v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::desk::{Desk, post};
    use super::*;

    fn told(desk: &mut Desk) -> Vec<(String, String)> {
        let events = std::mem::take(&mut desk.state.outbox().waiting);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let both =
            |event: &Value| (text(&event["type"]), text(&event["request"]["idempotency_key"]));
        events.iter().map(both).collect()
    }

    #[test]
    fn every_event_of_a_request_bears_its_key_and_a_replay_tells_nothing() {
        let mut desk = Desk::new();
        desk.state.outbox().open = true;
        let pay = post(
            "/v1/payment_intents",
            "amount=500&currency=usd&payment_method=pm_card_visa&confirm=true",
        );
        desk.done(&pay.clone().key("k1"));
        let kinds = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"];
        assert_eq!(told(&mut desk), kinds.map(|kind| (kind.to_owned(), "k1".to_owned())));
        desk.done(&pay.key("k1"));
        assert_eq!(told(&mut desk), []);
    }

    #[test]
    fn a_decline_is_told_as_a_failure() {
        let mut desk = Desk::new();
        desk.state.outbox().open = true;
        let declined = "amount=500&currency=usd&source=tok_chargeDeclined";
        desk.fails(&post("/v1/charges", declined).key("k1"));
        assert_eq!(told(&mut desk), [("charge.failed".to_owned(), "k1".to_owned())]);
    }

    #[test]
    fn nothing_is_kept_while_there_is_nobody_to_tell() {
        let mut desk = Desk::new();
        desk.done(&post("/v1/customers", "email=a@b.test"));
        assert_eq!(told(&mut desk), []);
    }
}
