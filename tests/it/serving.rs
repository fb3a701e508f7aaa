//! A server under test on a free port, what it serves by path, and a raw client.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use payonce::clock::Clock;
use payonce::delivery::Delivery;
use payonce::request::{self, BodyError, Head, InFlightBytes};
use payonce::server::{
    Address, Connection, Counts, Limits, Listen, Local, Serve, Server, ServerConfig, Shutdown,
    Summary, Tasks,
};
use payonce::upstream::Body;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// The length of the answer to `/large`: more than the socket buffers of both sides hold.
pub(crate) const LARGE: usize = 32 * 1024 * 1024;

/// What the service saw.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The verdict over an answer.
    Delivered(Delivery),
    /// A request is being served.
    Began,
    /// A service future was dropped before it answered.
    Abandoned,
}

#[derive(Clone)]
pub(crate) struct Paths {
    clock: Clock,
    tasks: Tasks,
    events: mpsc::UnboundedSender<Event>,
    /// `/slow` takes one permit before it answers.
    pub(crate) gate: Arc<Semaphore>,
    budget: InFlightBytes,
}

impl Paths {
    fn tell(&self, event: Event) {
        // A test that has seen enough no longer listens.
        drop(self.events.send(event));
    }

    fn tracked(&self, response: Response<Body>, conn: &Connection) -> Response<Body> {
        let (response, receipt) = conn.watch.track(response);
        let this = self.clone();
        self.tasks.spawn(async move {
            this.tell(Event::Delivered(receipt.delivery(&this.clock).await));
        });
        response
    }
}

impl Serve for Paths {
    async fn call(&self, request: Request<Body>, conn: Connection) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let head = match Head::check(parts) {
            Ok(head) => head,
            Err(bad) => return status(400, &bad.to_string()),
        };
        match head.target.raw_path() {
            "/large" => self.tracked(text(vec![b'x'; LARGE]), &conn),
            "/slow" => {
                let abandoned = Abandon(Some(self.clone()));
                self.tell(Event::Began);
                self.gate.acquire().await.unwrap().forget();
                abandoned.not();
                self.tracked(text("slow".into()), &conn)
            }
            "/detached" => {
                let (this, conn, abandoned) = (self.clone(), conn, Abandon(Some(self.clone())));
                self.tasks.spawn(async move {
                    this.tell(Event::Began);
                    this.gate.acquire().await.unwrap().forget();
                    drop(this.tracked(text("late".into()), &conn));
                });
                std::future::pending::<()>().await;
                drop(abandoned);
                status(500, "")
            }
            "/close" => {
                let mut response = text("closing".into());
                response.headers_mut().insert("connection", "close".parse().unwrap());
                self.tracked(response, &conn)
            }
            "/spelled" => {
                let mut response = text(Vec::new());
                let names = head.headers.iter().filter(|(name, _)| *name != "host");
                response
                    .headers_mut()
                    .extend(names.map(|(name, value)| (name.clone(), value.clone())));
                *response.extensions_mut() = head.extensions;
                response
            }
            "/none" => self.tracked(status(204, ""), &conn),
            "/broken" => {
                let frames = [Ok(Bytes::from_static(b"some")), Err("broke off".into())];
                self.tracked(Response::new(stream(frames)), &conn)
            }
            "/echo" => match request::buffer(body, 64 * 1024, &self.budget).await {
                Ok(body) => text(body.bytes().to_vec()),
                Err(BodyError::ClientGone) => status(499, "client gone"),
                Err(BodyError::TooSlow) => status(408, "too slow"),
                Err(BodyError::Busy) => status(503, "busy"),
                Err(BodyError::Malformed) => status(400, "malformed"),
                Err(BodyError::TooLarge { limit, .. }) => status(413, &format!("over {limit}")),
            },
            "/replay" => match request::buffer(body, 10, &self.budget).await {
                Err(BodyError::TooLarge { rest, .. }) => {
                    text(rest.collect().await.unwrap().to_bytes().to_vec())
                }
                Ok(_) | Err(_) => status(500, "not too large"),
            },
            path => {
                let query = head.target.query().map(|query| format!("?{query}"));
                self.tracked(text(format!("{path}{}", query.unwrap_or_default()).into()), &conn)
            }
        }
    }
}

struct Abandon(Option<Paths>);

impl Abandon {
    fn not(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(paths) = &self.0 {
            paths.tell(Event::Abandoned);
        }
    }
}

fn text(bytes: Vec<u8>) -> Response<Body> {
    Response::new(Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync())
}

fn status(code: u16, why: &str) -> Response<Body> {
    let mut response = if why.is_empty() {
        Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync())
    } else {
        text(why.as_bytes().to_vec())
    };
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

fn stream<const N: usize>(frames: [Result<Bytes, payonce::upstream::BoxError>; N]) -> Body {
    let mut frames = std::collections::VecDeque::from(frames);
    Frames(move || frames.pop_front().map(|frame| frame.map(http_body::Frame::data))).boxed_unsync()
}

/// A body whose frames a closure makes, and whose length nobody knows.
struct Frames<F>(F);

impl<F> http_body::Body for Frames<F>
where
    F: FnMut() -> Option<Result<http_body::Frame<Bytes>, payonce::upstream::BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = payonce::upstream::BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready((self.0)())
    }
}

/// A running server.
pub(crate) struct Served {
    pub(crate) paths: Paths,
    pub(crate) local: Vec<Local>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) shutdown: Shutdown,
    pub(crate) run: JoinHandle<Summary>,
    events: mpsc::UnboundedReceiver<Event>,
    _directory: tempfile::TempDir,
}

/// Settings of a [`Served`].
pub(crate) struct Setup {
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) drain: Duration,
    pub(crate) budget: usize,
}

impl Default for Setup {
    fn default() -> Self {
        let (limits, drain) = (Limits::default(), Duration::from_secs(20));
        Self { clock: Clock::System, limits, drain, budget: 1 << 20 }
    }
}

pub(crate) fn tcp(address: &str) -> Listen {
    Listen { setting: "proxy.listen", at: Address::Tcp(address.parse().unwrap()) }
}

pub(crate) fn unix(path: PathBuf) -> Listen {
    Listen { setting: "proxy.unix", at: Address::Unix { path, mode: 0o600 } }
}

impl Served {
    pub(crate) async fn start(setup: Setup) -> Self {
        let Setup { clock, limits, drain, budget } = setup;
        let directory = tempfile::tempdir().unwrap();
        let listen = vec![tcp("127.0.0.1:0"), unix(directory.path().join("socket"))];
        let config = ServerConfig { listen, limits, drain };
        let server = Server::bind(config, clock.clone()).await.unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        let tasks = Tasks::new();
        let paths = Paths {
            clock,
            tasks: tasks.clone(),
            events: sender,
            gate: Arc::new(Semaphore::new(0)),
            budget: InFlightBytes::new(budget),
        };
        let (local, counts, shutdown) = (server.local(), server.counts(), Shutdown::new());
        let run = tokio::task::spawn(server.run(paths.clone(), tasks, shutdown.clone()));
        Self { paths, local, counts, shutdown, run, events, _directory: directory }
    }

    pub(crate) fn port(&self) -> u16 {
        let Local::Tcp(address) = &self.local[0] else { panic!("no TCP") };
        address.port()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        let Local::Unix(path) = &self.local[1] else { panic!("no Unix socket") };
        path.clone()
    }

    pub(crate) fn paths_clock(&self) -> &Clock {
        &self.paths.clock
    }

    pub(crate) async fn tcp(&self) -> Raw<TcpStream> {
        Raw::new(TcpStream::connect(("127.0.0.1", self.port())).await.unwrap())
    }

    pub(crate) async fn unix(&self) -> Raw<UnixStream> {
        Raw::new(UnixStream::connect(self.socket()).await.unwrap())
    }

    /// The next event, which must come within `limit` on the wall.
    pub(crate) async fn event(&mut self, limit: Duration) -> Option<Event> {
        tokio::time::timeout(limit, self.events.recv()).await.ok().flatten()
    }

    /// The verdict over one answer. A *yes* must come sooner than silence alone would bring it.
    pub(crate) async fn verdict(&mut self) -> Delivery {
        let asked = std::time::Instant::now();
        match self.event(Duration::from_secs(20)).await {
            Some(Event::Delivered(Delivery::Lost)) => Delivery::Lost,
            Some(Event::Delivered(Delivery::Yes)) => {
                assert!(asked.elapsed() < Duration::from_millis(1_900), "silence decided");
                Delivery::Yes
            }
            other => panic!("expected a verdict, got {other:?}"),
        }
    }
}

/// A client that writes and reads bytes.
pub(crate) struct Raw<S> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    pub(crate) async fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: payonce\r\n\r\n")).await;
    }

    /// Reads up to the blank line, and the body as far as `Content-Length` says.
    pub(crate) async fn answer(&mut self) -> Answer {
        let (head, status) = self.head().await;
        let field = "content-length: ";
        let length = head.lines().find_map(|line| line.strip_prefix(field)?.parse().ok());
        let length: usize = length.unwrap_or(0);
        while self.buffer.len() < length {
            assert!(self.more().await.unwrap() > 0, "the answer was cut short");
        }
        Answer { status, head, body: self.buffer.drain(..length).collect() }
    }

    /// Reads a head only.
    pub(crate) async fn head(&mut self) -> (String, u16) {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                let head = String::from_utf8(head).unwrap();
                let status = head[9..12].parse().unwrap();
                return (head, status);
            }
            assert!(self.more().await.unwrap() > 0, "no whole head: {:?}", self.buffer);
        }
    }

    /// Reads what is left until the server closes (or resets) the connection.
    pub(crate) async fn rest(&mut self) -> String {
        while self.more().await.is_ok_and(|read| read > 0) {}
        String::from_utf8(std::mem::take(&mut self.buffer)).unwrap()
    }

    async fn more(&mut self) -> std::io::Result<usize> {
        let read = self.stream.read_buf(&mut self.buffer);
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("nothing came for 20 s")
    }
}
