//! The way out through an egress proxy: one CONNECT, then the tunnel is ours.
//!
//! Nothing of the application's request is spoken to the proxy: TLS with the provider runs inside.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Cause;
use super::origin::{BadOrigin, Origin, split_authority};

/// Longest reply head that a proxy may send, in bytes.
const MAX_REPLY: usize = 8 * 1024;

/// An HTTP proxy that makes tunnels, with its credentials.
#[derive(Clone)]
pub struct EgressProxy {
    host: String,
    port: u16,
    /// The whole value of `Proxy-Authorization`.
    authorization: Option<SecretString>,
}

/// What is wrong with the text of an egress proxy. Never quotes it: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProxy {
    /// Not `http://`.
    #[error("must begin with http:// (TLS with the provider runs inside the tunnel)")]
    Scheme,
    /// User without a password, or ill-formed percent-encoding.
    #[error("the credentials must be user:password, percent-encoded")]
    Credentials,
    /// Without a port a proxy is a guess.
    #[error("must name a port")]
    NoPort,
    /// The rest is no host and port.
    #[error(transparent)]
    Address(#[from] BadOrigin),
}

impl EgressProxy {
    /// Reads `http://[user:password@]host:port`.
    ///
    /// # Errors
    /// [`BadProxy`] says what does not belong, without quoting it.
    pub fn parse(text: &str) -> Result<Self, BadProxy> {
        let rest = text.strip_prefix("http://").ok_or(BadProxy::Scheme)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '\\']) {
            return Err(BadOrigin::Path.into());
        }
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => (Some(credentials), authority),
            None => (None, rest),
        };
        let (host, port) = split_authority(authority)?;
        let authorization = credentials.map(basic).transpose()?;
        Ok(Self { host, port: port.ok_or(BadProxy::NoPort)?, authorization })
    }

    /// Where the proxy listens.
    pub(super) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Asks for a tunnel to `origin` on a fresh connection to the proxy.
    pub(super) async fn tunnel<S>(&self, stream: &mut S, origin: &Origin) -> Result<(), Cause>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let head = self.connect_head(origin);
        stream.write_all(head.expose_secret().as_bytes()).await.map_err(|_io| Cause::Proxy)?;
        let status = read_status(stream).await.ok_or(Cause::Proxy)?;
        if (200..300).contains(&status) {
            return Ok(());
        }
        tracing::warn!(status, "the egress proxy refused a tunnel; nothing was sent");
        Err(Cause::Proxy)
    }

    fn connect_head(&self, origin: &Origin) -> SecretString {
        let to = origin.host_and_port();
        let authorization = match &self.authorization {
            Some(value) => format!("Proxy-Authorization: {}\r\n", value.expose_secret()),
            None => String::new(),
        };
        format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{authorization}\r\n").into()
    }
}

impl fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.authorization.is_some() { "with" } else { "without" };
        write!(f, "EgressProxy({}:{}, {who} credentials)", self.host, self.port)
    }
}

/// Reads the reply head byte by byte up to its empty line, so that no byte of the tunnel is taken;
/// `None` if it is no HTTP/1 head or too long.
async fn read_status<S: AsyncRead + Unpin>(stream: &mut S) -> Option<u16> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_REPLY {
            return None;
        }
        head.push(stream.read_u8().await.ok()?);
    }
    let line = std::str::from_utf8(head.split(|b| *b == b'\r').next()?).ok()?;
    let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    let code = status.split(' ').next()?;
    if code.len() == 3 { code.parse().ok() } else { None }
}

/// The value of `Proxy-Authorization` for `user:password` as in a URI.
fn basic(credentials: &str) -> Result<SecretString, BadProxy> {
    let (user, password) = credentials.split_once(':').ok_or(BadProxy::Credentials)?;
    let mut plain = decode(user)?;
    plain.push(b':');
    plain.extend(decode(password)?);
    Ok(format!("Basic {}", STANDARD.encode(plain)).into())
}

fn decode(text: &str) -> Result<Vec<u8>, BadProxy> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let pair = [bytes.next(), bytes.next()].map(Option::unwrap_or_default);
        let mut value = [0];
        hex::decode_to_slice(pair, &mut value).map_err(|_bad| BadProxy::Credentials)?;
        out.extend(value);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_become_a_header_and_are_never_printed() {
        let proxy = EgressProxy::parse("http://us%40er:p%3Aw@proxy.example:3128").unwrap();
        let head = proxy.connect_head(&Origin::parse("https://api.stripe.com").unwrap());
        let encoded = STANDARD.encode("us@er:p:w");
        assert_eq!(
            head.expose_secret(),
            format!(
                "CONNECT api.stripe.com:443 HTTP/1.1\r\nHost: api.stripe.com:443\r\n\
                 Proxy-Authorization: Basic {encoded}\r\n\r\n"
            )
        );
        assert_eq!(format!("{proxy:?}"), "EgressProxy(proxy.example:3128, with credentials)");
    }

    #[test]
    fn what_is_no_proxy_is_refused() {
        let bad = |text| EgressProxy::parse(text).unwrap_err();
        assert_eq!(bad("https://p:1"), BadProxy::Scheme);
        assert_eq!(bad("http://p"), BadProxy::NoPort);
        assert_eq!(bad("http://user@p:1"), BadProxy::Credentials);
        assert_eq!(bad("http://u:%zz@p:1"), BadProxy::Credentials);
        assert_eq!(bad("http://p:1/path"), BadProxy::Address(BadOrigin::Path));
    }

    #[tokio::test]
    async fn a_reply_is_read_to_its_empty_line_and_no_further() {
        let mut reply: &[u8] = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nTLS";
        assert_eq!(read_status(&mut reply).await, Some(200));
        assert_eq!(reply, b"TLS");
    }

    #[tokio::test]
    async fn a_reply_without_end_or_sense_makes_no_tunnel() {
        let long = vec![b'a'; MAX_REPLY + 1];
        for reply in [long.as_slice(), b"HTTP/1.1 20\r\n\r\n", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200"]
        {
            let mut reply = reply;
            assert_eq!(read_status(&mut reply).await, None);
        }
    }
}
