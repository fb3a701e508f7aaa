//! Stripe's webhooks: events go out as they happen, again and again until they are acknowledged, in
//! no promised order, some twice. What goes wrong is chosen for each endpoint.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Shared;
use super::events::signature;
use super::mint::mix;

/// Most endpoints.
pub(crate) const MOST: usize = 16;
/// Deliveries under way at one time.
const AT_ONCE: usize = 32;
/// For one delivery.
const WITHIN: Duration = Duration::from_secs(30);

/// An endpoint that is registered with the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// `http://host:port/path`
    pub url: String,
    /// What its events are signed with.
    pub secret: String,
    /// How often each event is sent, whatever comes of it.
    #[serde(default = "once")]
    pub copies: u32,
    /// Milliseconds before each.
    #[serde(default)]
    pub delay_ms: u64,
    /// And up to so many more, drawn for each, so that they overtake one another.
    #[serde(default)]
    pub jitter_ms: u64,
    /// How many with a wrong signature go before each.
    #[serde(default)]
    pub bad_signatures: u32,
    /// How often one that was not acknowledged is sent in all.
    #[serde(default = "tries")]
    pub tries: u32,
    /// Milliseconds between, doubled each time.
    #[serde(default = "between")]
    pub retry_ms: u64,
}

const fn once() -> u32 {
    1
}

const fn tries() -> u32 {
    8
}

const fn between() -> u64 {
    100
}

impl Webhook {
    /// One to which every event goes once, at once, until it is acknowledged.
    #[must_use]
    pub fn new(url: &str, secret: &str) -> Self {
        Self {
            url: url.to_owned(),
            secret: secret.to_owned(),
            copies: once(),
            delay_ms: 0,
            jitter_ms: 0,
            bad_signatures: 0,
            tries: tries(),
            retry_ms: between(),
        }
    }

    /// Reads one out of the control plane's JSON.
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        let read: Self = serde_json::from_value(value.clone()).map_err(|it| it.to_string())?;
        if read.copies > 100 || read.tries > 100 || read.bad_signatures > 100 {
            return Err("copies, tries and bad_signatures: at most 100".to_owned());
        }
        read.place().map(|_| read).ok_or_else(|| "url: must be http://host:port/path".to_owned())
    }

    fn place(&self) -> Option<(String, Uri)> {
        let uri: Uri = self.url.parse().ok()?;
        let plain = uri.scheme_str() == Some("http");
        plain.then_some((uri.authority()?.to_string(), uri))
    }
}

/// What became of deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Events, however often each was sent.
    pub events: u64,
    /// Deliveries that were answered with 2xx.
    pub acknowledged: u64,
    /// Well-signed deliveries that were answered otherwise, or not at all.
    pub failed: u64,
    /// Badly signed ones that were answered with 2xx: there should be none.
    pub forged: u64,
    /// Events that were given up.
    pub given_up: u64,
}

/// Sends what happens, until the sandbox closes.
pub(crate) async fn pump(shared: Arc<Shared>) {
    let news = Arc::clone(&shared.lock().state.outbox().news);
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    let mut count = 0_u64;
    loop {
        tokio::select! {
            () = news.notified() => {}
            Some(_ended) = under_way.join_next() => continue,
            () = shared.closing.cancelled() => return,
        }
        let (events, endpoints) = {
            let mut inner = shared.lock();
            let events = std::mem::take(&mut inner.state.outbox().waiting);
            inner.sent.events += u64::try_from(events.len()).unwrap_or_default();
            (events, inner.webhooks.clone())
        };
        for event in events {
            let body = Bytes::from(event.to_string());
            for endpoint in &endpoints {
                for _ in 0..endpoint.copies {
                    count += 1;
                    let (shared, room) = (Arc::clone(&shared), Arc::clone(&room));
                    let (endpoint, body) = (endpoint.clone(), body.clone());
                    under_way.spawn(deliver(shared, room, endpoint, body, mix(count)));
                }
            }
        }
    }
}

async fn deliver(
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    endpoint: Webhook,
    body: Bytes,
    drawn: u64,
) {
    let jitter = drawn % endpoint.jitter_ms.saturating_add(1);
    let pause = endpoint.delay_ms.saturating_add(jitter);
    shared.clock.sleep(Duration::from_millis(pause)).await;
    for _ in 0..endpoint.bad_signatures {
        if post(&shared, &room, &endpoint, &body, "whsec_of_a_stranger").await {
            shared.lock().sent.forged += 1;
        }
    }
    for n in 0..endpoint.tries {
        if post(&shared, &room, &endpoint, &body, &endpoint.secret).await {
            shared.lock().sent.acknowledged += 1;
            return;
        }
        shared.lock().sent.failed += 1;
        let pause = endpoint.retry_ms.saturating_mul(1 << n.min(6));
        shared.clock.sleep(Duration::from_millis(pause)).await;
    }
    shared.lock().sent.given_up += 1;
}

/// Whether it was acknowledged.
async fn post(
    shared: &Shared,
    room: &Semaphore,
    endpoint: &Webhook,
    body: &Bytes,
    secret: &str,
) -> bool {
    let Ok(_place) = room.acquire().await else { return false };
    let signature = signature(secret, body, shared.now());
    let sent = once_over(endpoint, body.clone(), signature);
    let status = shared.clock.timeout(WITHIN, sent).await;
    matches!(status, Ok(Some(200..=299)))
}

/// The status, on a connection of its own.
async fn once_over(endpoint: &Webhook, body: Bytes, signature: String) -> Option<u16> {
    let (authority, uri) = endpoint.place()?;
    let address = if uri.port().is_some() { authority.clone() } else { format!("{authority}:80") };
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let request = Request::post(target)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
        .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
        .header("Stripe-Signature", signature)
        .body(Full::new(body))
        .ok()?;
    let answer = sender.send_request(request).await.ok()?;
    let status = answer.status().as_u16();
    answer.into_body().collect().await.ok()?;
    Some(status)
}
