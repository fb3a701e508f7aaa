//! Stripe's webhooks through a real gate: an application behind it, a sandbox as Stripe.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use payonce::assembly::Assembly;
use payonce::clock::Clock;
use payonce::exchange::Exchange;
use payonce::ledger::AnyLedger;
use payonce::metrics::Metrics;
use payonce::sandbox::{self, Sandbox};
use payonce::server::{Local, Shutdown, Summary};
use payonce::settings::Settings;
use payonce::upstream::Direct;
use payonce::webhook::signature::sign;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::harness::{Client, Post, Reply};
use crate::running::{self, Running};

mod closing;
mod flood;
mod gate;
mod once;
mod sdk;

pub(crate) const SECRET: &str = "whsec_of_the_webhook_tests_0001";
pub(crate) const OTHER: &str = "whsec_of_somebody_else_entirely";

/// A request as the application got it.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The event's id.
    pub(crate) fn event(&self) -> String {
        let event: Value = serde_json::from_slice(&self.body).unwrap();
        event["id"].as_str().unwrap().to_owned()
    }
}

type Status = Pin<Box<dyn Future<Output = u16> + Send>>;
type Says = Arc<dyn Fn(Got) -> Status + Send + Sync>;

/// An application that takes webhooks.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Got>>>,
    accepting: JoinHandle<()>,
}

impl App {
    /// One that always answers so.
    pub(crate) async fn saying(status: u16) -> Self {
        Self::start(move |_got| Box::pin(async move { status })).await
    }

    pub(crate) async fn start(says: impl Fn(Got) -> Status + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, says): (Arc<Mutex<Vec<Got>>>, Says) = (Arc::default(), Arc::new(says));
        let noted = Arc::clone(&seen);
        let accepting = tokio::task::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (noted, says) = (Arc::clone(&noted), Arc::clone(&says));
                let service = service_fn(move |request| {
                    answer(request, Arc::clone(&noted), Arc::clone(&says))
                });
                let http = hyper::server::conn::http1::Builder::new();
                let connection = http.serve_connection(TokioIo::new(stream), service);
                tokio::task::spawn(async move { drop(connection.await) });
            }
        });
        Self { address, seen, accepting }
    }

    /// What it got, in order.
    pub(crate) fn seen(&self) -> Vec<Got> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    noted: Arc<Mutex<Vec<Got>>>,
    says: Says,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes().to_vec();
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let fields = head.headers.iter().map(field).collect();
    let got = Got { target: head.uri.to_string(), fields, body };
    noted.lock().unwrap().push(got.clone());
    let status = says(got).await;
    let body = Full::from(format!("the application says {status}"));
    let response = Response::builder().status(status).header("x-application", "shop");
    Ok(response.body(body).unwrap())
}

/// How a [`Site`] is set up, beyond what every one has.
#[derive(Default)]
pub(crate) struct Plan {
    /// Lines of `[webhook]`.
    pub(crate) webhook: String,
    /// Lines of the endpoint.
    pub(crate) endpoint: String,
    /// Whole sections.
    pub(crate) more: String,
}

/// A payonce in this process, with one endpoint `orders` at `/stripe`.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) sandbox: Sandbox,
    pub(crate) exchange: Exchange<Arc<AnyLedger>, Direct>,
    pub(crate) metrics: Metrics,
    pub(crate) proxy: SocketAddr,
    admin: SocketAddr,
    pub(crate) gate: SocketAddr,
    shutdown: Shutdown,
    run: JoinHandle<Summary>,
}

/// The settings of a payonce with one endpoint, whose secret is in the file `whsec`.
pub(crate) fn settings(dir: &Path, app: SocketAddr, stripe: SocketAddr, plan: &Plan) -> PathBuf {
    let secret = dir.join("whsec");
    if !secret.exists() {
        std::fs::write(&secret, SECRET).unwrap();
    }
    let Plan { webhook, endpoint, more } = plan;
    let stripe = format!("http://{stripe}");
    let mut text = format!(
        r#"[listen]
proxy = "127.0.0.1:0"
admin = "127.0.0.1:0"
health = "off"
[upstream]
api = "{stripe}"
files = "{stripe}"
connect = "{stripe}"
meter_events = "{stripe}"
[retry]
backoff = "1ms"
backoff_max = "1ms"
{more}
[webhook]
listen = "127.0.0.1:0"
{webhook}
[webhook.endpoints.orders]
path = "/stripe"
secret_files = ["{}"]
forward = "http://{app}/hooks"
{endpoint}
"#,
        secret.display()
    );
    if !more.contains("[store]") {
        text.push_str("[store]\nkind = \"memory\"\nsingle_instance = true\n");
    }
    let file = dir.join("payonce.toml");
    std::fs::write(&file, text).unwrap();
    file
}

impl Site {
    pub(crate) async fn start(app: &App) -> Self {
        Self::with(app, Plan::default()).await
    }

    pub(crate) async fn with(app: &App, plan: Plan) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(sandbox::Config::local(Clock::System, 7)).unwrap();
        let file = settings(dir.path(), app.address, sandbox.addr(), &plan);
        let settings =
            Settings::load(Some(&file), [("PAYONCE_ADMIN__TOKEN".into(), running::TOKEN.into())])
                .unwrap_or_else(|problems| panic!("{problems:#?}"));
        let assembly = Assembly::build(settings, Clock::System).await.unwrap();
        let tcp = |local: Option<Local>| match local {
            Some(Local::Tcp(address)) => address,
            other => panic!("no TCP: {other:?}"),
        };
        let proxy = tcp(assembly.local().into_iter().next());
        Self {
            dir,
            sandbox,
            exchange: assembly.exchange().clone(),
            metrics: assembly.metrics().clone(),
            proxy,
            admin: assembly.admin_addr().unwrap(),
            gate: tcp(assembly.webhook_addr()),
            shutdown: assembly.shutdown().clone(),
            run: tokio::task::spawn(assembly.run()),
        }
    }

    /// Sends an event to the gate, on a connection of its own.
    pub(crate) async fn send(&self, post: &Post) -> Reply {
        send(self.gate, post).await
    }

    /// What `payonce ops` prints.
    pub(crate) async fn ops(&self, args: &[&str]) -> String {
        let (admin, args) = (self.admin.to_string(), [&["ops"], args].concat());
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        let asked = tokio::task::spawn_blocking(move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            running::run(&args, &[("PAYONCE_LISTEN__ADMIN", &admin)])
        });
        let ended = asked.await.unwrap();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        ended.out
    }

    /// The value of a counter, 0 if it never counted.
    pub(crate) fn count(&self, series: &str) -> u64 {
        let text = self.metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// How often the gate turned something away for this reason.
    pub(crate) fn rejected(&self, endpoint: &str, reason: &str) -> u64 {
        let labels = format!("endpoint=\"{endpoint}\",reason=\"{reason}\"");
        self.count(&format!("payonce_webhook_rejected_total{{{labels}}}"))
    }

    /// Drains; what was left.
    pub(crate) async fn stop(mut self) -> Summary {
        self.shutdown.first.cancel();
        (&mut self.run).await.unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shutdown.second.cancel();
    }
}

/// Where the webhooks of a payonce process arrive.
pub(crate) fn gate_of(payonce: &Running) -> SocketAddr {
    let line: Value = serde_json::from_str(&payonce.line("webhooks listen")).unwrap();
    line["address"].as_str().unwrap().parse().unwrap()
}

pub(crate) async fn send(gate: SocketAddr, post: &Post) -> Reply {
    let mut client = Client::to(gate).await;
    client.send(post).await;
    client.reply().await
}

/// A snapshot event.
pub(crate) fn event(id: &str) -> String {
    let object = json!({ "id": "ch_1", "object": "charge", "note": "ünïcode and \"quotes\"" });
    let event = json!({
        "id": id, "object": "event", "type": "charge.succeeded", "data": { "object": object },
        "request": { "id": "req_1", "idempotency_key": null },
    });
    // As Stripe writes it: not the shortest form.
    serde_json::to_string_pretty(&event).unwrap()
}

/// A thin event.
pub(crate) fn thin(id: &str) -> String {
    let event = json!({
        "id": id, "object": "v2.core.event", "type": "v1.billing.meter.no_meter_found",
        "created": "2026-08-26T00:00:00.000Z", "livemode": false, "reason": null,
        "related_object": { "id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/1" },
    });
    event.to_string()
}

/// Signed by Stripe, just now.
pub(crate) fn signed(body: &str) -> Post {
    let signature = sign(body.as_bytes(), [SECRET.as_bytes()], Clock::System.now());
    unsigned(body).with("Stripe-Signature", &signature)
}

pub(crate) fn unsigned(body: &str) -> Post {
    Post::new("/stripe", body)
        .instead("Authorization", "")
        .instead("Content-Type", "application/json; charset=utf-8")
        .with("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
}
