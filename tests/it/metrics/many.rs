//! A hundred thousand requests that differ in everything a client can choose.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use payonce::clock::Clock;
use payonce::exchange::Exchange;
use payonce::ledger::memory::Memory;
use payonce::ledger::{AnyLedger, Kind};
use payonce::metrics::Metrics;
use payonce::server::Shutdown;
use payonce::survey::survey;
use payonce::upstream::{Body, Host, SendError, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Around, fixed, listener};

/// Series on the whole page, whatever was sent. A payonce of the shipped policy has about 450.
const MOST_SERIES: usize = 1_500;

/// Stands in everything that a client chooses.
const MARK: &str = "zebra";

const POLICY: &str = r#"
version = 1
# A debug build has enough to do: it is what passes that differs most.
default_writes = "pass"
[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source"]
[[rule]]
name = "payouts"
match = ["POST /v1/payouts/**"]
class = "refuse"
[[client]]
name = "old"
sdk = "python"
older_than = "90 days"
action = "report"
"#;

/// A provider that says yes at once.
struct Yes;

impl Upstream for Yes {
    async fn send(
        &self,
        _host: Host,
        _request: Request<Body>,
        _within: Duration,
    ) -> Result<Response<Body>, SendError> {
        let body = Full::new(Bytes::from_static(b"{\"id\":\"ch_1\"}"));
        Ok(Response::new(body.map_err(|never| match never {}).boxed_unsync()))
    }
}

type Payonce = Exchange<Arc<AnyLedger>, Yes>;

fn exchange(shutdown: &Shutdown) -> Payonce {
    let (clock, metrics) = (Clock::System, Metrics::new());
    let memory = Kind::Memory(Memory::new(clock.clone(), 1_000_000));
    let ledger = Arc::new(AnyLedger::new(memory, clock.clone(), metrics.clone()));
    let around = Around::new(ledger, Yes, fixed(POLICY), clock, shutdown.first.clone());
    Exchange::new(around.rooms(metrics))
}

/// The n-th request: its method, path, operation, key, account and body are its own, and every ten
/// have an SDK, versions, an application and a caller of their own.
fn request(n: usize, out: &mut String) {
    let method = match n % 5 {
        0 => "GET".to_owned(),
        2 => "DELETE".to_owned(),
        3 => format!("{}{n}", MARK.to_uppercase()),
        _ => "POST".to_owned(),
    };
    let path = match n % 50 {
        4 => "/v1/charges".to_owned(),
        9 => format!("/v1/payouts/{MARK}{n}"),
        _ if n.is_multiple_of(3) => format!("/v2/core/{MARK}{n}/charges?{MARK}={n}"),
        _ => format!("/v1/{MARK}-{n}/rule%20{n}/other"),
    };
    let client = n / 10;
    let sdk = ["PythonBindings", "NodeBindings", "GoBindings", "ZebraBindings"][client % 4];
    let said = format!(
        "{{\"lang\":\"{MARK}{client}\",\"lang_version\":\"{client}.1\",\
         \"application\":{{\"name\":\"{MARK}-{client}\",\"version\":\"{client}\"}}}}"
    );
    let body = format!("amount={n}&currency=usd&source=tok_{MARK}_{n}&customer=cus_{n}");
    write!(
        out,
        "{method} {path} HTTP/1.1\r\nHost: {MARK}-{n}.test\r\nAuthorization: Bearer sk_{MARK}_{}\r\n\
         User-Agent: Stripe/v1 {sdk}/{client}.{}.0 {MARK}-{client}/1.0\r\n\
         X-Stripe-Client-User-Agent: {said}\r\nPayonce-Caller: {MARK}-{client}\r\n\
         Payonce-Operation: {MARK}-{n}\r\nStripe-Account: acct_{MARK}{n}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        n % 1_000,
        client % 7,
        body.len()
    )
    .unwrap();
}

/// Sends its share of all requests on one connection, many at once, and reads all answers.
async fn ask(address: SocketAddr, from: usize, to: usize) {
    const AT_ONCE: usize = 100;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut out, mut answers, mut buffer) = (String::new(), 0, vec![0; 1 << 16]);
    for first in (from..to).step_by(AT_ONCE) {
        let last = (first + AT_ONCE).min(to);
        out.clear();
        (first..last).for_each(|n| request(n, &mut out));
        stream.write_all(out.as_bytes()).await.unwrap();
        let mut tail = Vec::new();
        while answers < last - from {
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "the connection closed after {answers} answers");
            tail.extend_from_slice(&buffer[..read]);
            answers += memchr::memmem::find_iter(&tail, b"HTTP/1.1 ").count();
            // What may be the beginning of the next one is looked at again.
            let keep = tail.len().min(8);
            tail.drain(..tail.len() - keep);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_different_requests_make_no_more_series_than_a_few_and_show_nowhere() {
    let requests = std::env::var("PAYONCE_METRICS_REQUESTS");
    let requests: usize = requests.map_or(100_000, |text| text.parse().unwrap());
    let shutdown = Shutdown::new();
    let exchange = exchange(&shutdown);
    let tasks = exchange.tasks.clone();
    let (server, address) = listener(Clock::System, Duration::from_secs(20)).await;
    let run = tokio::spawn(server.run(exchange.clone(), tasks, shutdown.clone()));
    let share = requests.div_ceil(8);
    let clients: Vec<_> = (0..8)
        .map(|it| (it * share, ((it + 1) * share).min(requests)))
        .map(|(from, to)| tokio::spawn(ask(address, from, to)))
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    shutdown.first.cancel();
    run.await.unwrap();
    survey(&exchange).await;

    let page = exchange.metrics.encode();
    let counted = |name: &str| -> f64 {
        let lines = page.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    let seen = counted("http_server_request_duration_seconds_count{");
    assert!((seen - f64::from(u32::try_from(requests).unwrap())).abs() < 0.5, "{seen}");
    assert!(counted("payonce_operations_total{rule=\"charges\"") > 0.0, "some were critical");
    assert!(counted("payonce_refusals_total{") > 0.0, "some were refused");
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series < MOST_SERIES, "{series} series");
    assert!(!page.to_lowercase().contains(MARK), "a client's text is on the page");
    // Not one label had to be folded: none of them is a client's to choose.
    assert!(!page.contains("metric_series"), "{page}");
}
