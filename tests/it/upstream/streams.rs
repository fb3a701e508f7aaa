//! Large bodies both ways: whole, and never held in memory.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::BodyExt;
use payonce::upstream::{Body, BoxError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::peer::Peer;
use super::{config, direct, get, send, soon};

const MIB: usize = 1024 * 1024;
/// More than the kernel's buffers on loopback could hold.
const LARGE: usize = 48 * MIB;
/// What sockets and hyper may hold of it.
const BUFFERED: usize = 20 * MIB;
/// Nothing moving for so long is a standstill.
const STILL: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_large_answer_waits_for_its_reader() {
    let peer = Peer::new().await;
    let direct = direct(&config(&peer.origin()));
    let (go, stalled) = tokio::sync::oneshot::channel();
    let server = async {
        let mut line = peer.accept().await;
        line.request().await;
        line.write(&format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")).await;
        let chunk = vec![b'x'; 64 * 1024];
        let (mut written, mut go) = (0, Some(go));
        while written < LARGE {
            let part = &chunk[..chunk.len().min(LARGE - written)];
            match tokio::time::timeout(STILL, line.stream.write(part)).await {
                Ok(count) => written += count.unwrap(),
                Err(_elapsed) => {
                    if let Some(go) = go.take() {
                        go.send(written).unwrap();
                    }
                }
            }
        }
    };
    let client = async {
        let mut answer = send(&direct, get("/v1/files/f/contents")).await.unwrap().into_body();
        assert!(soon(stalled).await.unwrap() < BUFFERED, "held instead of streamed");
        let mut read = 0;
        while let Some(frame) = soon(answer.frame()).await {
            read += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(read, LARGE);
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn a_large_request_waits_for_its_reader() {
    let peer = Peer::new().await;
    let direct = direct(&config(&peer.origin()));
    let given = Arc::new(AtomicUsize::new(0));
    let source = Source { left: LARGE, given: Arc::clone(&given) };
    let request = Request::post("/v1/files").body(Body::new(source)).unwrap();
    let server = async {
        let mut line = peer.accept().await;
        let head = line.read_to("\r\n\r\n").await.to_lowercase();
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        let mut before = usize::MAX;
        while before != given.load(Ordering::Relaxed) {
            before = given.load(Ordering::Relaxed);
            tokio::time::sleep(STILL).await;
        }
        assert!(before < BUFFERED, "taken in instead of streamed: {before}");
        let (mut data, mut tail, mut buffer) = (0, Vec::new(), vec![0; 256 * 1024]);
        while !tail.ends_with(b"0\r\n\r\n") {
            let count = soon(line.stream.read(&mut buffer)).await.unwrap();
            assert_ne!(count, 0);
            data += buffer[..count].split(|byte| *byte == b'x').count() - 1;
            tail.extend_from_slice(&buffer[count.saturating_sub(5)..count]);
            tail.drain(..tail.len().saturating_sub(5));
        }
        line.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        data
    };
    let (answer, data) = tokio::join!(send(&direct, request), server);
    assert_eq!(answer.unwrap().status(), 200);
    assert_eq!(data, LARGE);
}

/// A body of unknown length that counts what was taken of it.
struct Source {
    left: usize,
    given: Arc<AtomicUsize>,
}

impl http_body::Body for Source {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let count = self.left.min(64 * 1024);
        if count == 0 {
            return Poll::Ready(None);
        }
        self.left -= count;
        self.given.fetch_add(count, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; count])))))
    }
}
