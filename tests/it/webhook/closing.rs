//! What is in doubt is closed by the event that Stripe sends of it.

use payonce::ledger::Ledger;
use payonce::sandbox::{Fault, Kind, Webhook};
use serde_json::{Value, json};

use super::{App, Plan, SECRET, Site, signed};
use crate::harness::{Client, Post, Reply, until};

fn charge() -> Post {
    Post::charge("amount=500&currency=usd&source=tok_visa&description=order+42")
}

async fn ask(site: &Site, post: &Post) -> Reply {
    let mut client = Client::to(site.proxy).await;
    client.send(post).await;
    client.reply().await
}

/// A charge whose answer never comes: it happened, and payonce does not know. Its upstream key.
async fn doubt(site: &Site, post: &Post) -> String {
    site.sandbox.set_faults(vec![Fault::new(Kind::ResetAfterEffect { clean: false }).times(4)]);
    assert_eq!(ask(site, post).await.status, 504);
    let inflight = site.exchange.inflight.clone();
    until("it is recorded as in doubt", || inflight.is_empty()).await;
    site.sandbox.effects().last().unwrap().key.clone().unwrap()
}

fn told(kind: &str, object: &Value, key: &str) -> String {
    let event = json!({
        "id": format!("evt_{kind}"), "object": "event", "type": kind, "data": { "object": object },
        "request": { "id": "req_unknown", "idempotency_key": key },
    });
    event.to_string()
}

async fn open(site: &Site) -> usize {
    site.exchange.ledger.open(9).await.unwrap().len()
}

#[tokio::test]
async fn an_operation_in_doubt_is_closed_by_its_webhook_and_the_next_ask_gets_the_answer() {
    let app = App::saying(200).await;
    let site = Site::start(&app).await;
    let hook = Webhook { copies: 2, jitter_ms: 50, bad_signatures: 1, ..hook(&site) };
    site.sandbox.set_webhooks(vec![hook]);
    // The event comes while payonce still tries, and is looked at again afterwards.
    doubt(&site, &charge().sdk(1)).await;
    let closed = "payonce_webhook_closed_total{result=\"closed\"}";
    until("the webhook closes it", || site.count(closed) == 1).await;
    assert_eq!(open(&site).await, 0);
    let effect = site.sandbox.effects()[0].clone();
    let shown = site.ops(&["show", "--key", effect.key.as_deref().unwrap()]).await;
    assert!(shown.contains("resolved    Stripe's event evt_"), "{shown}");
    assert!(shown.contains("charge.succeeded at the webhook endpoint orders"), "{shown}");
    assert!(shown.contains(&effect.object), "{shown}");
    let reply = ask(&site, &charge().sdk(2)).await;
    reply.is(200, "replayed");
    assert_eq!((reply.id(), site.sandbox.effects().len()), (effect.object, 1));
    until("all is sent", || site.sandbox.webhooks_sent().acknowledged == 2).await;
    assert_eq!((site.sandbox.webhooks_sent().forged, app.count()), (0, 1));
    assert_eq!(site.rejected("orders", "signature_mismatch"), 2);
}

fn hook(site: &Site) -> Webhook {
    Webhook::new(&format!("http://{}/stripe", site.gate), SECRET)
}

#[tokio::test]
async fn an_event_that_proves_no_success_is_noted_for_people_and_closes_nothing() {
    let app = App::saying(200).await;
    let site = Site::start(&app).await;
    let key = doubt(&site, &charge().sdk(1)).await;
    let object = json!({ "id": "ch_9", "object": "charge" });
    site.send(&signed(&told("charge.failed", &object, &key))).await;
    assert_eq!(site.count("payonce_webhook_closed_total{result=\"noted\"}"), 1);
    assert_eq!(open(&site).await, 1);
    let held = site.exchange.ledger.open(9).await.unwrap().remove(0);
    let text = String::from_utf8(held.record.to_vec()).unwrap();
    assert!(text.contains("evt_charge.failed") && text.contains("ch_9"), "{text}");
    // The same key brings the truth: it had succeeded.
    assert_eq!(ask(&site, &charge().sdk(2)).await.status, 200);
    assert_eq!(site.sandbox.effects().len(), 1);
}

#[tokio::test]
async fn another_accounts_event_closes_nothing() {
    let app = App::saying(200).await;
    let site = Site::start(&app).await;
    let connected = charge().sdk(1).with("Stripe-Account", "acct_9");
    let key = doubt(&site, &connected).await;
    let object = json!({ "id": "ch_1", "object": "charge" });
    let body = told("charge.succeeded", &object, &key);
    assert_eq!(site.send(&signed(&body)).await.status, 200);
    assert_eq!(site.count("payonce_webhook_closed_total{result=\"other_account\"}"), 1);
    assert_eq!(open(&site).await, 1);
    let right = body.replace("\"evt_", "\"evt_2_").replacen('{', "{\"account\":\"acct_9\",", 1);
    assert_eq!(site.send(&signed(&right)).await.status, 200);
    assert_eq!((open(&site).await, app.count()), (0, 2));
}

#[tokio::test]
async fn a_key_that_the_application_chose_is_closed_where_the_endpoint_names_the_api_key() {
    let app = App::saying(200).await;
    // printf %s sk_test_shop_1 | sha256sum
    let named = "api_keys = [\"83736f9e26c5eb43cfe86043146b57feb1213b81d47befc4d5babf3199ea488a\"]";
    for (endpoint, open_after) in [(String::new(), 1), (named.to_owned(), 0)] {
        let site = Site::with(&app, Plan { endpoint, ..Plan::default() }).await;
        let own = charge().instead("User-Agent", "curl/8").key("order-42");
        assert_eq!(doubt(&site, &own).await, "order-42");
        let object = json!({ "id": "ch_1", "object": "charge" });
        site.send(&signed(&told("charge.succeeded", &object, "order-42"))).await;
        assert_eq!(open(&site).await, open_after);
        let reply = ask(&site, &own).await;
        assert_eq!((reply.status, site.sandbox.effects().len()), (200, 1));
    }
}

#[tokio::test]
async fn an_event_of_a_settled_operation_changes_nothing() {
    let app = App::saying(200).await;
    let site = Site::start(&app).await;
    let reply = ask(&site, &charge().sdk(1)).await;
    let inflight = site.exchange.inflight.clone();
    until("it is settled", || inflight.is_empty()).await;
    let key = site.sandbox.effects()[0].key.clone().unwrap();
    let digest = payonce::decide::digest::key_digest(&key);
    let before = site.exchange.ledger.by_key(digest).await.unwrap().unwrap();
    let object = json!({ "id": "ch_other", "object": "charge" });
    site.send(&signed(&told("charge.succeeded", &object, &key))).await;
    assert_eq!(site.exchange.ledger.by_key(digest).await.unwrap(), Some(before));
    assert_eq!(reply.status, 200);
}
