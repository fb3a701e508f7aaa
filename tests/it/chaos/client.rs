//! One request on a connection of its own, which may be left in the middle.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than payonce's deadline in these runs, as SDKs' is (FACTS §1.4).
const PATIENCE: Duration = Duration::from_secs(20);

/// When the client's process dies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HangUp {
    Never,
    /// After so many bytes of its request.
    InRequest(usize),
    /// After so many bytes of the answer.
    InAnswer(usize),
    /// So long after the request.
    After(Duration),
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Post<'a> {
    pub(crate) path: &'a str,
    pub(crate) body: &'a str,
    pub(crate) api_key: &'a str,
    pub(crate) user_agent: &'a str,
    pub(crate) key: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
    pub(crate) intent: &'a str,
}

impl Post<'_> {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let kind = if self.path.starts_with("/v2/") {
            "application/json"
        } else {
            "application/x-www-form-urlencoded"
        };
        let optional = [("Idempotency-Key", self.key), ("Payonce-Operation", self.name)];
        let optional: String = optional
            .iter()
            .filter_map(|(name, value)| value.map(|value| format!("{name}: {value}\r\n")))
            .collect();
        format!(
            "POST {} HTTP/1.1\r\nHost: payonce\r\nAuthorization: Bearer {}\r\nUser-Agent: {}\r\n\
             Content-Type: {kind}\r\nSandbox-Intent: {}\r\n{optional}Content-Length: {}\r\n\r\n{}",
            self.path,
            self.api_key,
            self.user_agent,
            self.intent,
            self.body.len(),
            self.body
        )
        .into_bytes()
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Got {
    Answer(Reply),
    /// Nobody was there.
    NotConnected,
    /// The connection broke, or no answer came in time.
    Broken,
    /// The client died.
    Died,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// All of it that a person could read.
    pub(crate) fn text(&self) -> String {
        format!("{}\n{}", self.head, String::from_utf8_lossy(&self.body))
    }
}

/// Sends `post` and reads the answer, unless the client dies before.
pub(crate) async fn send(to: SocketAddr, post: &Post<'_>, hang_up: HangUp) -> Got {
    let Ok(stream) = TcpStream::connect(to).await else { return Got::NotConnected };
    let patience = match hang_up {
        HangUp::After(time) => time,
        HangUp::Never | HangUp::InRequest(_) | HangUp::InAnswer(_) => PATIENCE,
    };
    match tokio::time::timeout(patience, exchange(stream, post, hang_up)).await {
        Ok(Ok(Some(reply))) => Got::Answer(reply),
        Ok(Ok(None)) => Got::Died,
        Ok(Err(_broken)) => Got::Broken,
        Err(_) if matches!(hang_up, HangUp::After(_)) => Got::Died,
        Err(_late) => Got::Broken,
    }
}

/// `None` if the client died.
async fn exchange(
    mut stream: TcpStream,
    post: &Post<'_>,
    hang_up: HangUp,
) -> io::Result<Option<Reply>> {
    let bytes = post.bytes();
    if let HangUp::InRequest(after) = hang_up {
        stream.write_all(&bytes[..after.min(bytes.len() - 1)]).await?;
        stream.set_zero_linger()?;
        return Ok(None);
    }
    stream.write_all(&bytes).await?;
    let mut read = Vec::new();
    loop {
        if let HangUp::InAnswer(after) = hang_up
            && read.len() >= after
        {
            // As the kernel does for a process that dies with bytes unread.
            stream.set_zero_linger()?;
            return Ok(None);
        }
        if let Some(reply) = whole(&read) {
            return Ok(Some(reply));
        }
        let most = match hang_up {
            HangUp::InAnswer(after) => u64::try_from(after.saturating_sub(read.len())).unwrap(),
            HangUp::Never | HangUp::InRequest(_) | HangUp::After(_) => 64 << 10,
        };
        if (&mut stream).take(most).read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The answer in `bytes`, once it is whole.
fn whole(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.get(9..12)?.parse().ok()?;
    let mut reply = Reply { status, head, body: Vec::new() };
    let rest = &bytes[end + 4..];
    reply.body = if reply.field("transfer-encoding") == Some("chunked") {
        unchunked(rest)?
    } else {
        let length: usize = reply.field("content-length")?.parse().ok()?;
        rest.get(..length)?.to_vec()
    };
    Some(reply)
}

fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..end]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        let chunk = bytes.get(end + 2..end + 2 + size)?;
        bytes = bytes.get(end + 2 + size + 2..)?;
        if size == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(chunk);
    }
}
