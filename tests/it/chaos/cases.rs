//! What runs found, as the smallest case that shows it.

use std::time::Duration;

use payonce::sandbox::{Fault, Kind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::{Got, HangUp, Post, send};
use super::pods::Pods;
use super::shop::API_KEYS;
use super::stories::order;
use super::storm::provider;
use crate::proof::verdict::Keys;
use crate::relay::{End, Relay, Script};

/// Found by seed 4: a process died between the answer and the settling write, and the order was
/// locked for every card but the declined one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_card_pays_though_payonce_died_as_soon_as_it_told_of_the_decline() {
    let sandbox = provider(4);
    sandbox.set_faults(Vec::new());
    let api = sandbox.addr();
    let pods = tokio::task::spawn_blocking(move || Pods::start(1, api, &[])).await.unwrap();
    let at = pods.bases()[0];
    let (declined, good) = (order("o1", "pm_card_chargeDeclined"), order("o1", "pm_card_visa"));
    let post = |body| Post {
        path: "/v1/payment_intents",
        body,
        api_key: API_KEYS[0],
        user_agent: super::sdk::user_agent(Keys::None),
        key: None,
        name: None,
        intent: "o1",
    };
    // The connection stays, so that nobody knows yet whether the decline was heard.
    let mut open = TcpStream::connect(at).await.unwrap();
    open.write_all(&post(&declined).bytes()).await.unwrap();
    let mut answer = [0; 12];
    open.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 402");
    let pods = tokio::task::spawn_blocking(move || {
        pods.kill(0, Duration::ZERO);
        pods
    });
    let pods = pods.await.unwrap();
    let Got::Answer(reply) = send(at, &post(&good), HangUp::Never).await else {
        panic!("no answer");
    };
    assert_eq!(reply.status, 200, "{}", reply.text());
    tokio::task::spawn_blocking(move || pods.stop(&[])).await.unwrap();
}

/// Found by seed 41: the call had been executed and its answer was lost; asked for again while the
/// provider could not be reached, payonce said that nothing was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_doubt_stays_in_doubt_when_it_is_asked_for_again_in_vain() {
    let sandbox = provider(41);
    sandbox.set_faults(Vec::new());
    let relay = Relay::start(sandbox.addr());
    let api = relay.addr();
    let pods = tokio::task::spawn_blocking(move || Pods::start(1, api, &[])).await.unwrap();
    let at = pods.bases()[0];
    let post = Post {
        path: "/v1/customers",
        body: "email=a%40example.com",
        api_key: API_KEYS[0],
        user_agent: super::sdk::user_agent(Keys::Node),
        key: Some("stripe-node-retry-2b0f6f0e-7a3c-4d52-9d0e-5f7c1d9f0a11"),
        name: None,
        intent: "c1",
    };
    sandbox.set_faults(vec![Fault::at_rate(Kind::ResetAfterEffect { clean: false }, 1.0)]);
    for script in [Script::default(), Script::refusing()] {
        relay.set(script);
        relay.end_all(End::Reset);
        let Got::Answer(reply) = send(at, &post, HangUp::Never).await else { panic!("no answer") };
        assert_eq!(reply.json()["error"]["code"], "payonce_outcome_unknown", "{}", reply.text());
    }
    tokio::task::spawn_blocking(move || pods.stop(&[])).await.unwrap();
}
