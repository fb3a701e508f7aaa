//! Thousands of events, many of them twice, over two processes on one Redis, while the application
//! fails at random: none is lost, and none is acknowledged twice.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::{App, Plan, settings, signed};
use crate::harness::Client;
use crate::redis_server::RedisServer;
use crate::running::Running;

/// Senders at one time, as Stripe has many.
const SENDERS: u64 = 24;
/// How often one event is sent at most before the test gives up on it.
const TRIES: usize = 200;

/// What Stripe sends: each event, and three in ten of them twice.
fn deliveries(events: usize, seed: u64) -> Vec<usize> {
    let mut all: Vec<usize> = (0..events).chain((0..events).step_by(10)).collect();
    all.extend((3..events).step_by(10).chain((6..events).step_by(10)));
    let mut dice = StdRng::seed_from_u64(seed);
    // A duplicate comes soon after the first, so that many meet it in hand.
    for near in all.chunks_mut(16) {
        near.shuffle(&mut dice);
    }
    let mut keyed: Vec<(usize, usize)> =
        all.into_iter().map(|event| (event + dice.random_range(0..20), event)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, event)| event).collect()
}

/// Sends each until it is answered with 2xx, as Stripe does.
async fn sender(gates: [SocketAddr; 2], queue: Arc<Mutex<std::vec::IntoIter<usize>>>, seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut clients = [Client::to(gates[0]).await, Client::to(gates[1]).await];
    loop {
        let Some(event) = queue.lock().unwrap().next() else { return };
        let body = format!("{{\"id\":\"evt_{event}\",\"object\":\"event\",\"type\":\"a.b\"}}");
        let mut acknowledged = false;
        for _ in 0..TRIES {
            let client = &mut clients[dice.random_range(0..2)];
            client.send(&signed(&body)).await;
            acknowledged = (200..300).contains(&client.reply().await.status);
            if acknowledged {
                break;
            }
        }
        assert!(acknowledged, "evt_{event} is never acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_thousand_events_none_is_lost_and_none_is_acknowledged_twice() {
    let events = std::env::var("PAYONCE_WEBHOOK_EVENTS");
    let events: usize = events.map_or(10_000, |it| it.parse().unwrap());
    let redis = RedisServer::start(&[]);
    // What the application did: how often it acknowledged each event.
    let done: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let (noted, dice) = (Arc::clone(&done), Arc::new(Mutex::new(StdRng::seed_from_u64(11))));
    let app = App::start(move |got| {
        let (status, slow) = {
            let mut dice = dice.lock().unwrap();
            let status = [200, 500, 503, 404][dice.random_range(0..12_usize).saturating_sub(8)];
            (status, dice.random_range(0..200) == 0)
        };
        if status == 200 {
            *noted.lock().unwrap().entry(got.event()).or_insert(0) += 1;
        }
        Box::pin(async move {
            if slow {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            status
        })
    })
    .await;
    let more = format!(
        "[store]\nkind = \"redis\"\nnodes = \"unix://{}\"\ntimeout = \"20s\"",
        redis.socket().display()
    );
    let plan = Plan { more, webhook: "connect_timeout = \"20s\"".into(), ..Plan::default() };
    let start = || {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let file = settings(dir.path(), app.address, app.address, &plan);
        Running::start(dir, &["serve", "--settings", file.to_str().unwrap()], &[])
    };
    let payonces = [start(), start()];
    let gates = payonces.each_ref().map(super::gate_of);
    let queue = Arc::new(Mutex::new(deliveries(events, 5).into_iter()));
    let senders: Vec<_> = (0..SENDERS)
        .map(|seed| tokio::task::spawn(sender(gates, Arc::clone(&queue), seed)))
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let done = done.lock().unwrap();
    let twice = done.iter().filter(|(_, times)| **times != 1).collect::<Vec<_>>();
    assert_eq!((done.len(), twice), (events, Vec::new()));
    for payonce in payonces {
        payonce.signal("TERM");
        assert_eq!(payonce.ended().0, Some(0));
    }
}
