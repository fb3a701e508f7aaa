//! From an origin to a byte stream that HTTP can be spoken on: name, TCP, proxy, TLS.
//!
//! Everything that fails here fails before a byte of a request exists on the wire. Names are looked
//! up for each connection, so a moved host is found without a restart. No limits but the one that
//! the pool sets around all of it, and a share of it for each address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Cause;
use super::config::{BuildError, Config};
use super::head::Destination;
use super::names::resolve;
use super::origin::{Origin, Scheme};
use super::proxy::EgressProxy;
use super::tls;
use crate::clock::Clock;

/// Probes tell a peer that vanished from one that is slow: after 30 s of silence, every 10 s.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// A connected stream.
pub(super) enum Link {
    /// In clear, to this machine.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Link {
    /// Whether both sides agreed on HTTP/2.
    pub(super) fn speaks_h2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(tls::H2),
        }
    }
}

/// Makes connections to one origin.
pub(super) struct Connector {
    origin: Origin,
    destination: Destination,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    proxy: Option<Arc<EgressProxy>>,
    clear: bool,
    limit: Duration,
    clock: Clock,
}

impl Connector {
    /// For `origin`, which [`Config::check`] let pass.
    pub(super) fn new(
        origin: Origin,
        tls: &TlsConnector,
        config: &Config,
        clock: &Clock,
    ) -> Result<Self, BuildError> {
        let (tls, proxy) = match origin.scheme() {
            // A proxy elsewhere cannot reach this machine's loopback.
            Scheme::Http => (None, None),
            Scheme::Https => (
                Some((tls.clone(), tls::server_name(&origin)?)),
                config.egress_proxy.clone().map(Arc::new),
            ),
        };
        let destination = Destination::new(&origin.authority())
            .ok_or_else(|| BuildError::ServerName { origin: origin.to_string() })?;
        let (limit, clock, clear) = (config.connect_timeout, clock.clone(), config.clear);
        Ok(Self { origin, destination, tls, proxy, clear, limit, clock })
    }

    /// What a request's head says of where it goes.
    pub(super) const fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Where it leads.
    pub(super) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Connects anew, within the time limit for all steps together.
    pub(super) async fn connect(&self) -> Result<Link, Cause> {
        let link = self.clock.timeout(self.limit, self.steps()).await;
        link.unwrap_or(Err(Cause::ConnectTimeout))
    }

    async fn steps(&self) -> Result<Link, Cause> {
        let mut tcp = match &self.proxy {
            Some(proxy) => {
                let (host, port) = proxy.address();
                let found = resolve(host, port, &self.clock).await;
                let addresses = found.map_err(|_cause| Cause::Proxy)?;
                self.dial(&addresses).await.map_err(|_cause| Cause::Proxy)?
            }
            None => self.dial(&self.addresses().await?).await?,
        };
        if let Some(proxy) = &self.proxy {
            proxy.tunnel(&mut tcp, &self.origin).await?;
        }
        let Some((connector, name)) = &self.tls else { return Ok(Link::Plain(tcp)) };
        match connector.connect(name.clone(), tcp).await {
            Ok(stream) => Ok(Link::Tls(Box::new(stream))),
            Err(error) => {
                tracing::warn!(origin = %self.origin, %error, "TLS failed; nothing was sent");
                Err(Cause::Tls)
            }
        }
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, Cause> {
        let mut found = resolve(self.origin.host(), self.origin.port(), &self.clock).await?;
        if self.origin.scheme() == Scheme::Http && !self.clear {
            // Whatever the name `localhost` means to a resolver, keys in clear stay here.
            found.retain(|address| address.ip().is_loopback());
        }
        if found.is_empty() { Err(Cause::Dns) } else { Ok(found) }
    }

    /// Tries one address after the other, each with an equal share of the time limit, so that one
    /// that swallows packets leaves time for the next.
    async fn dial(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Cause> {
        let share = self.limit / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut last = Cause::Dns;
        for address in addresses {
            last = match self.clock.timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(tuned(stream)),
                Ok(Err(error)) => {
                    tracing::debug!(origin = %self.origin, %address, %error, "no connection");
                    Cause::Connect
                }
                Err(_elapsed) => Cause::ConnectTimeout,
            };
        }
        Err(last)
    }
}

/// Small writes leave at once, and a dead peer is found out. A kernel that will not is no reason
/// to fail a payment.
fn tuned(stream: TcpStream) -> TcpStream {
    let set = stream.set_nodelay(true);
    if let Err(error) = set.and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)) {
        tracing::debug!(%error, "the socket takes no options");
    }
    stream
}
