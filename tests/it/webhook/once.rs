//! An event is handled once, as far as that can be: acknowledged ones are not delivered again,
//! failed ones are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use payonce::clock::Clock;
use payonce::ledger::{Entry, Ledger};
use payonce::webhook::event::Event;
use payonce::webhook::once::{self, Handling};
use tokio::sync::Semaphore;

use super::{App, Plan, SECRET, Site, event, gate_of, send, settings, signed, thin};
use crate::harness::{Client, until};
use crate::redis_server::RedisServer;
use crate::running::Running;

/// An application that answers 200 for each permit, and tells how many it holds meanwhile.
async fn holding() -> (App, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let given = Arc::clone(&permits);
    let app = App::start(move |_got| {
        let given = Arc::clone(&given);
        Box::pin(async move {
            given.acquire().await.unwrap().forget();
            200
        })
    });
    (app.await, permits)
}

#[tokio::test]
async fn what_the_application_acknowledged_is_not_delivered_again() {
    let app = App::saying(204).await;
    let site = Site::start(&app).await;
    for body in [event("evt_1"), thin("evt_2")] {
        assert_eq!(site.send(&signed(&body)).await.status, 204);
        let again = site.send(&signed(&body)).await;
        assert_eq!((again.status, &again.json()["payonce_webhook"]), (200, &"duplicate".into()));
    }
    assert_eq!(app.count(), 2);
}

#[tokio::test]
async fn what_the_application_refused_is_delivered_again_until_it_is_acknowledged() {
    let tries = AtomicUsize::new(0);
    let app = App::start(move |_got| {
        let status = [500, 302, 404, 200][tries.fetch_add(1, Ordering::Relaxed).min(3)];
        Box::pin(async move { status })
    })
    .await;
    let site = Site::start(&app).await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(site.send(&signed(&event("evt_1"))).await.status);
    }
    assert_eq!((statuses, app.count()), (vec![500, 302, 404, 200, 200, 200], 4));
}

#[tokio::test]
async fn a_duplicate_of_one_in_hand_waits_and_is_answered_without_a_delivery() {
    let (app, permits) = holding().await;
    let site = Site::start(&app).await;
    let post = signed(&event("evt_1"));
    let (first, second, ()) = tokio::join!(site.send(&post), site.send(&post), async {
        until("one is delivered", || app.count() == 1).await;
        permits.add_permits(1);
    });
    let told = [first, second].map(|reply| (reply.status, reply.header("x-application").is_some()));
    assert!(told.contains(&(200, true)) && told.contains(&(200, false)), "{told:?}");
    assert_eq!(app.count(), 1);
}

#[tokio::test]
async fn one_that_stays_in_hand_is_answered_409_and_one_left_by_a_dead_process_is_delivered() {
    let app = App::saying(200).await;
    let plan = Plan { webhook: "timeout = \"100ms\"".into(), ..Plan::default() };
    let site = Site::with(&app, plan).await;
    let left = async |id: &str, owner: &str| {
        let body = event(id);
        let read = Event::read(body.as_bytes()).unwrap();
        let lease = Clock::System.now().plus(Duration::from_mins(1));
        let handling = Handling::begun(None, "orders", &read, (owner, "token", lease));
        let record = handling.encode().unwrap();
        let ttl = Duration::from_mins(1);
        let entry = Entry { record, ttl, open: false, keys: Vec::new() };
        site.exchange.ledger.claim(&[once::id("orders", None, id)], entry).await.unwrap();
        site.send(&signed(&body)).await
    };
    let busy = left("evt_1", &site.exchange.config.owner).await;
    assert_eq!((busy.status, busy.code().as_str()), (409, "payonce_webhook_in_hand"));
    assert_eq!(app.count(), 0);
    assert_eq!((left("evt_2", "a process that died").await.status, app.count()), (200, 1));
}

#[tokio::test]
async fn what_a_killed_process_had_in_hand_another_delivers_again_once_its_lease_is_over() {
    let (app, permits) = holding().await;
    let redis = RedisServer::start(&[]);
    let store = format!("kind = \"redis\"\nnodes = \"unix://{}\"", redis.socket().display());
    let more = format!("[store]\n{store}\ntimeout = \"300ms\"");
    let plan = Plan { more, webhook: "timeout = \"400ms\"".into(), ..Plan::default() };
    let start = || {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let file = settings(dir.path(), app.address, app.address, &plan);
        Running::start(dir, &["serve", "--settings", file.to_str().unwrap()], &[])
    };
    let (first, second) = (start(), start());
    let gates = (gate_of(&first), gate_of(&second));
    let post = signed(&event("evt_1"));
    let mut client = Client::to(gates.0).await;
    client.send(&post).await;
    until("it is in the application's hands", || app.count() == 1).await;
    first.signal("KILL");
    // The application acknowledges it, and nobody is there to hear it.
    permits.add_permits(2);
    let began = std::time::Instant::now();
    while send(gates.1, &post).await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(20), "it is never delivered again");
    }
    assert_eq!(app.count(), 2);
    assert_eq!((send(gates.1, &post).await.status, app.count()), (200, 2));
}

#[tokio::test]
async fn each_endpoint_gets_the_event_that_stripe_sends_to_both() {
    let (app, other) = (App::saying(200).await, App::saying(200).await);
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), SECRET).unwrap();
    let endpoint = format!(
        "[webhook.endpoints.books]\npath = \"/books\"\nsecret_files = [{:?}]\nforward = \"http://{}/in\"",
        secret.path(),
        other.address
    );
    let site = Site::with(&app, Plan { endpoint, ..Plan::default() }).await;
    let body = event("evt_1");
    for _ in 0..2 {
        assert_eq!(site.send(&signed(&body)).await.status, 200);
        assert_eq!(site.send(&signed(&body).at("/books?x=1")).await.status, 200);
    }
    let got = other.seen();
    assert_eq!((app.count(), got.len(), got[0].target.as_str()), (1, 1, "/in?x=1"));
    assert_eq!(got[0].field("payonce-webhook-verified"), Some("books"));
}

#[tokio::test]
async fn a_sender_that_hangs_up_changes_nothing_about_the_delivery() {
    let (app, permits) = holding().await;
    let site = Site::start(&app).await;
    let post = signed(&event("evt_1"));
    let mut client = Client::to(site.gate).await;
    client.send(&post).await;
    until("it is delivered", || app.count() == 1).await;
    client.reset();
    permits.add_permits(1);
    assert_eq!(site.send(&post).await.status, 200);
    assert_eq!(app.count(), 1);
    let summary = site.stop().await;
    assert_eq!((summary.connections, summary.tasks), (0, 0));
}

#[tokio::test]
async fn a_store_that_is_down_delivers_and_marks_it_and_remembers_again_when_it_is_back() {
    let app = App::saying(200).await;
    let mut redis = RedisServer::start(&[]);
    let more = format!(
        "[store]\nkind = \"redis\"\nnodes = \"unix://{}\"\ntimeout = \"500ms\"\nconnect_timeout = \"200ms\"",
        redis.socket().display()
    );
    let site = Site::with(&app, Plan { more, ..Plan::default() }).await;
    assert_eq!(site.send(&signed(&event("evt_0"))).await.header("payonce-degraded"), None);
    redis.stop();
    for _ in 0..2 {
        let reply = site.send(&signed(&event("evt_1"))).await;
        assert_eq!((reply.status, reply.header("payonce-degraded")), (200, Some("store")));
    }
    let got = app.seen();
    assert_eq!((got.len(), got[1].field("payonce-degraded")), (3, Some("store")));
    assert!(site.count("payonce_degraded_total{reason=\"webhook_store\"}") >= 2);
    redis.again();
    let back = async |n: usize| site.send(&signed(&event(&format!("evt_back_{n}")))).await;
    let began = std::time::Instant::now();
    let mut n = 0;
    while back(n).await.header("payonce-degraded").is_some() {
        assert!(began.elapsed() < Duration::from_secs(20), "it stays degraded");
        n += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = app.count();
    assert_eq!((back(n).await.status, app.count()), (200, before));
}
