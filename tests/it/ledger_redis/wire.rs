//! How often payonce speaks with Redis, counted on the wire by a relay between them.

use std::time::Instant;

use crate::harness::{World, until};
use crate::redis_servers::{Options, Server};
use crate::relay::{Chunk, Direction, Flow, Relay, Script, Way};

use super::{charge, on};

/// A server, a relay before it, one before the provider, and a payonce between them that has a
/// connection and has done its start-up checks.
struct Watched {
    server: Server,
    store: Relay,
    provider: Relay,
    world: World,
    heard: Vec<Chunk>,
}

impl Watched {
    async fn start() -> Self {
        let server = Server::start(&Options::default());
        let store = Relay::start(server.addr());
        let nobody = crate::port::Port::free();
        let provider = Relay::start(nobody.addr());
        let setup = on(&format!("redis://{}", store.addr()));
        let world = setup.set("STORE__TIMEOUT", "20s").upstream(provider.addr()).start().await;
        provider.toward(world.sandbox.addr());
        world.done(&charge("first")).await.is(200, "executed");
        store.record(true);
        provider.record(true);
        Self { server, store, provider, world, heard: Vec::new() }
    }

    /// From now on Redis hears payonce, and payonce does not hear Redis.
    fn hold_answers(&self) {
        let held = Way { flow: Flow::Hold, ..Way::default() };
        self.store.set(Script::one(Direction::Down, held));
    }

    /// What was said between payonce and Redis since the last look: each round trip, as the names
    /// of the commands that went together.
    fn trips(&mut self) -> Vec<Vec<String>> {
        self.heard.extend(self.store.recorded());
        let mut trips: Vec<Vec<u8>> = Vec::new();
        let mut answered = true;
        for chunk in self.heard.drain(..) {
            match (chunk.direction, trips.last_mut()) {
                (Direction::Up, Some(trip)) if !answered => trip.extend(chunk.bytes),
                (Direction::Up, _) => trips.push(chunk.bytes),
                (Direction::Down, _) => {}
            }
            answered = chunk.direction == Direction::Down;
        }
        trips.iter().map(|trip| names(trip)).collect()
    }

    /// Waits until payonce has said something to Redis, without forgetting it.
    async fn until_spoken(&mut self) {
        let (store, heard) = (&self.store, &mut self.heard);
        until("payonce asks Redis", || {
            heard.extend(store.recorded());
            heard.iter().any(|chunk| chunk.direction == Direction::Up)
        })
        .await;
    }
}

/// The names of the commands in RESP.
fn names(bytes: &[u8]) -> Vec<String> {
    let mut rest = bytes;
    let mut names = Vec::new();
    while !rest.is_empty() {
        let parts = number(&mut rest, b'*');
        for part in 0..parts {
            let length = number(&mut rest, b'$');
            if part == 0 {
                names.push(String::from_utf8_lossy(&rest[..length]).to_uppercase());
            }
            rest = &rest[length + 2..];
        }
    }
    names
}

fn number(rest: &mut &[u8], kind: u8) -> usize {
    assert_eq!(rest[0], kind, "{}", String::from_utf8_lossy(rest));
    let end = rest.windows(2).position(|two| two == b"\r\n").expect("a whole line");
    let number = std::str::from_utf8(&rest[1..end]).unwrap().parse().unwrap();
    *rest = &rest[end + 2..];
    number
}

/// Hints of a claim: the client's key and the one that is sent.
const CLAIM: usize = 2;
/// Of the write after the answer: Stripe's ids of the answer and of what it made as well.
const SETTLED: usize = 4;

/// One compare and swap, and nothing beside it but the hints by which people look things up, so
/// many at most.
#[track_caller]
fn one_swap(trip: &[String], most: usize) {
    let (swaps, hints): (Vec<_>, Vec<_>) = trip.iter().partition(|name| *name == "EVALSHA");
    assert_eq!(swaps.len(), 1, "{trip:?}");
    assert!(hints.len() <= most && hints.iter().all(|name| *name == "SET"), "{trip:?}");
}

#[tokio::test]
async fn a_fresh_operation_awaits_one_round_trip_before_it_is_sent_and_makes_one_write_after() {
    let mut watched = Watched::start().await;
    watched.hold_answers();
    let mut client = watched.world.client().await;
    client.send(&charge("fresh")).await;
    watched.until_spoken().await;
    let released = Instant::now();
    watched.store.heal();
    client.reply().await.is(200, "executed");
    let sent = watched.provider.recorded();
    let sent = sent.iter().find(|chunk| chunk.direction == Direction::Up).unwrap();
    assert!(sent.at > released, "it was sent before Redis had answered");
    drop(client);
    watched.world.settled().await;
    let trips = watched.trips();
    assert_eq!(trips.len(), 2, "{trips:?}");
    one_swap(&trips[0], CLAIM);
    one_swap(&trips[1], SETTLED);
}

#[tokio::test]
async fn the_client_does_not_wait_for_the_write_after_the_answer() {
    let mut watched = Watched::start().await;
    let mut client = watched.world.client().await;
    // The claim's answer gets through, and nothing after it.
    watched.world.faults([payonce::sandbox::Fault::new(payonce::sandbox::Kind::Delay {
        millis: 300,
        effect: payonce::sandbox::Strike::After,
    })]);
    client.send(&charge("fresh")).await;
    watched.world.until_seen(2).await;
    one_swap(&watched.trips().concat(), CLAIM);
    watched.store.set(Script::held());
    client.reply().await.is(200, "executed");
    drop(client);
    watched.store.heal();
    watched.world.settled().await;
    let trips = watched.trips();
    assert_eq!(trips.len(), 1, "{trips:?}");
    one_swap(&trips[0], SETTLED);
}

#[tokio::test]
async fn a_known_operation_costs_one_round_trip_more() {
    let mut watched = Watched::start().await;
    // Another process did it: this one remembers nothing.
    let nodes = watched.server.url();
    let other = on(&nodes).upstream(watched.world.sandbox.addr()).start().await;
    other.done(&charge("known")).await.is(200, "executed");
    watched.world.done(&charge("known")).await.is(200, "replayed");
    let trips = watched.trips();
    assert_eq!(trips.len(), 3, "{trips:?}");
    one_swap(&trips[0], CLAIM);
    one_swap(&trips[1], CLAIM);
    one_swap(&trips[2], SETTLED);
    assert_eq!(watched.world.effects().len(), 2);
}

#[tokio::test]
async fn who_joins_in_the_same_process_asks_redis_nothing() {
    let mut watched = Watched::start().await;
    watched.provider.set(Script::one(Direction::Down, Script::held().down));
    let (mut first, mut second) = (watched.world.client().await, watched.world.client().await);
    first.send(&charge("shared")).await;
    watched.world.until_seen(2).await;
    one_swap(&watched.trips().concat(), CLAIM);
    second.send(&charge("shared")).await;
    let joined = "payonce_merges_total{kind=\"joined\"}";
    until("the second joins", || watched.world.count(joined) == 1).await;
    assert_eq!(watched.trips(), Vec::<Vec<String>>::new());
    watched.provider.heal();
    first.reply().await.is(200, "executed");
    second.reply().await.is(200, "joined");
}
