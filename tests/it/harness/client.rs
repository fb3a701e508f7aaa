//! Requests as bytes, connections that can be kept, left or reset, and answers as they came.

use std::fmt::Write as _;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Post {
    /// A form POST with an API key.
    pub(crate) fn new(path: &str, body: &str) -> Self {
        let headers = [
            ("Authorization", "Bearer sk_test_shop_1"),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (path, body) = (path.to_owned(), body.as_bytes().to_vec());
        Self { method: "POST", path, headers: headers.to_vec(), body }
    }

    /// A charge of a token.
    pub(crate) fn charge(body: &str) -> Self {
        Self::new("/v1/charges", body)
    }

    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// To another path.
    pub(crate) fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// With one more header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With another header instead, or none if `value` is empty.
    pub(crate) fn instead(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        if value.is_empty() { self } else { self.with(name, value) }
    }

    /// With a key.
    pub(crate) fn key(self, key: &str) -> Self {
        self.instead("Idempotency-Key", key)
    }

    /// With a key that stripe-node minted for this call: `n` tells one call from another.
    pub(crate) fn sdk(self, n: u32) -> Self {
        self.instead("User-Agent", "Stripe/v1 NodeBindings/23.1.0")
            .key(&format!("stripe-node-retry-00000000-0000-4000-8000-{n:012}"))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: payonce\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write!(head, "Content-Length: {}\r\n\r\n", self.body.len()).unwrap();
        [head.as_bytes(), &self.body].concat()
    }
}

/// A connection to payonce, or to the sandbox.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn to(address: impl tokio::net::ToSocketAddrs) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, post: &Post) {
        self.stream.write_all(&post.bytes()).await.unwrap();
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Waits until an answer is there, then resets the connection with it unread.
    pub(crate) async fn lose_answer(self) {
        let readable = self.stream.readable();
        tokio::time::timeout(PATIENCE, readable).await.expect("an answer").unwrap();
        self.reset();
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Reads one answer.
    pub(crate) async fn reply(&mut self) -> Reply {
        self.try_reply().await.expect("a whole answer")
    }

    /// Reads one answer; `None` if the connection ended before it was whole.
    pub(crate) async fn try_reply(&mut self) -> Option<Reply> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            self.more().await?;
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status: u16 = lines.next().unwrap()[9..12].parse().unwrap();
        let fields = lines.filter_map(|line| line.split_once(": "));
        let fields = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let mut reply = Reply { status, fields: fields.collect(), body: Vec::new() };
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.body = self.chunks().await?;
        } else {
            let length = reply.header("content-length").map_or(0, |it| it.parse().unwrap());
            reply.body = self.take(length).await?;
        }
        Some(reply)
    }

    /// Reads a head only.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            self.more().await.expect("a whole head");
        }
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut whole = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                    break end;
                }
                self.more().await?;
            };
            let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let size = std::str::from_utf8(&line[..end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let data = self.take(size + 2).await?;
            whole.extend_from_slice(&data[..size]);
            if size == 0 {
                return Some(whole);
            }
        }
    }

    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.buffer);
        let read = tokio::time::timeout(PATIENCE, read).await.expect("something comes in time");
        matches!(read, Ok(1..)).then_some(())
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `Payonce-Outcome`, or `-`.
    pub(crate) fn outcome(&self) -> &str {
        self.header("payonce-outcome").unwrap_or("-")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// `error.code`, or what stands there instead.
    pub(crate) fn code(&self) -> String {
        let code = &self.json()["error"]["code"];
        code.as_str().map_or_else(|| "-".to_owned(), str::to_owned)
    }

    pub(crate) fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn id(&self) -> String {
        self.json()["id"].as_str().unwrap_or_default().to_owned()
    }

    /// Status and outcome, the two things that most tests look at.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, outcome: &str) {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!((self.status, self.outcome()), (status, outcome), "{text}");
    }

    /// An error that payonce wrote.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!((self.status, self.code().as_str()), (status, code), "{text}");
        assert!(self.header("request-id").is_some_and(|it| it.starts_with("req_payonce_")));
    }
}
