//! A peer that reads and writes bytes as a test says.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::soon;

/// Listens on a port of loopback.
pub(super) struct Peer(TcpListener);

impl Peer {
    pub(super) async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(super) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    pub(super) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    pub(super) async fn accept(&self) -> Line {
        Line { stream: soon(self.0.accept()).await.unwrap().0 }
    }

    /// Whether nobody is waiting to be accepted.
    pub(super) async fn is_quiet(&self) -> bool {
        tokio::time::timeout(Duration::from_millis(100), self.0.accept()).await.is_err()
    }
}

/// One accepted connection.
pub(super) struct Line {
    pub(super) stream: TcpStream,
}

impl Line {
    /// Bytes up to and with the first occurrence of `end`.
    pub(super) async fn read_to(&mut self, end: &str) -> String {
        let mut seen = Vec::new();
        while !seen.ends_with(end.as_bytes()) {
            seen.push(soon(self.stream.read_u8()).await.expect("more bytes"));
        }
        String::from_utf8(seen).unwrap()
    }

    /// A request's head, and its body by `content-length` or, raw, by chunks.
    pub(super) async fn request(&mut self) -> (String, String) {
        let head = self.read_to("\r\n\r\n").await;
        let lower = head.to_lowercase();
        if lower.contains("transfer-encoding: chunked") {
            let body = self.read_to("0\r\n\r\n").await;
            return (head, body);
        }
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        soon(self.stream.read_exact(&mut body)).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    pub(super) async fn write(&mut self, bytes: &str) {
        soon(self.stream.write_all(bytes.as_bytes())).await.unwrap();
    }

    /// Reads one request and answers 200 with `body`.
    pub(super) async fn serve(&mut self, body: &str) -> (String, String) {
        let request = self.request().await;
        let length = body.len();
        self.write(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")).await;
        request
    }

    /// Ends the connection with a reset.
    pub(super) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Waits until the other side has closed; what still arrives is let go of.
    pub(super) async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end as well.
        drop(soon(self.stream.read_to_end(&mut rest)).await);
    }
}
