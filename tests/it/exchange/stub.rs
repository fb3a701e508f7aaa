//! A provider that answers with the bytes it is told to, for what the sandbox does not say.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Got {
    /// All values of a field, by its name in lower case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(known, _)| known.to_lowercase() == name).map(|(_, value)| value).collect()
    }

    pub(crate) fn key(&self) -> Option<&str> {
        self.all("idempotency-key").first().copied()
    }
}

type Script = dyn Fn(usize, &Got) -> Vec<u8> + Send + Sync;

/// A provider on a free port.
pub(crate) struct Stub {
    pub(crate) addr: SocketAddr,
    seen: Arc<Mutex<Vec<Got>>>,
    /// Each answer takes one permit.
    pub(crate) gate: Arc<Semaphore>,
}

impl Stub {
    /// Answers the n-th request (from 0) as `script` says, at once.
    pub(crate) async fn start(
        script: impl Fn(usize, &Got) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let stub = Self::held(script).await;
        stub.gate.add_permits(10_000);
        stub
    }

    /// The same, each answer as soon as the gate lets it.
    pub(crate) async fn held(
        script: impl Fn(usize, &Got) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (seen, gate) = (Arc::<Mutex<Vec<Got>>>::default(), Arc::new(Semaphore::new(0)));
        let script: Arc<Script> = Arc::new(script);
        let (log, door) = (Arc::clone(&seen), Arc::clone(&gate));
        tokio::task::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, door) = (Arc::clone(&log), Arc::clone(&door));
                tokio::task::spawn(serve(stream, Arc::clone(&script), log, door));
            }
        });
        Self { addr, seen, gate }
    }

    pub(crate) fn seen(&self) -> Vec<Got> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// `HTTP/1.1 200 OK` and so on, with a length.
pub(crate) fn answer(status: u16, fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status} x\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A success in JSON.
pub(crate) fn success(id: &str) -> Vec<u8> {
    answer(200, "Content-Type: application/json\r\n", format!("{{\"id\":\"{id}\"}}"))
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<Script>,
    log: Arc<Mutex<Vec<Got>>>,
    gate: Arc<Semaphore>,
) {
    let mut buffer = Vec::new();
    while let Some(got) = request(&mut stream, &mut buffer).await {
        let n = {
            let mut log = log.lock().unwrap();
            log.push(got.clone());
            log.len() - 1
        };
        gate.acquire().await.unwrap().forget();
        if stream.write_all(&script(n, &got)).await.is_err() {
            return;
        }
    }
}

async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Got> {
    let end = until(stream, buffer, b"\r\n\r\n").await?;
    let head: Vec<u8> = buffer.drain(..end).collect();
    let mut got = Got { head: String::from_utf8(head).unwrap(), body: Vec::new() };
    if got.all("transfer-encoding") == ["chunked"] {
        loop {
            let end = until(stream, buffer, b"\r\n").await?;
            let line: Vec<u8> = buffer.drain(..end).collect();
            let size = std::str::from_utf8(&line).unwrap().trim();
            let size = usize::from_str_radix(size, 16).unwrap();
            while buffer.len() < size + 2 {
                more(stream, buffer).await?;
            }
            let data: Vec<u8> = buffer.drain(..size + 2).collect();
            got.body.extend_from_slice(&data[..size]);
            if size == 0 {
                return Some(got);
            }
        }
    }
    let length = got.all("content-length").first().map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        more(stream, buffer).await?;
    }
    got.body = buffer.drain(..length).collect();
    Some(got)
}

async fn until(stream: &mut TcpStream, buffer: &mut Vec<u8>, mark: &[u8]) -> Option<usize> {
    loop {
        if let Some(at) = buffer.windows(mark.len()).position(|bytes| bytes == mark) {
            return Some(at + mark.len());
        }
        more(stream, buffer).await?;
    }
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    matches!(stream.read_buf(buffer).await, Ok(1..)).then_some(())
}
