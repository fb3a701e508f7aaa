//! What stands between payonce and the provider: one request out, one answer head back.
//!
//! Nothing here retries. The one thing an upstream must get right besides HTTP is the evidence
//! that a request never left ([`NeverSent`]); whatever it cannot prove is [`SendError::Unknown`].

mod body;
pub mod config;
mod connect;
pub mod direct;
mod head;
pub mod headers;
mod measured;
mod names;
pub mod origin;
mod pool;
pub mod proxy;
pub mod routes;
mod tls;
mod wire;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};

pub use config::{BuildError, Config, Origins};
pub use direct::Direct;
pub use measured::Measured;
pub use origin::Origin;
pub use proxy::EgressProxy;

/// Why a body broke off.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request or answer body, streamed or held.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body of nothing.
#[must_use]
pub fn empty_body() -> Body {
    Body::new(Empty::new().map_err(|never| match never {}))
}

/// The provider's hosts; a path decides which (FACTS §1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// api.stripe.com
    Api,
    /// files.stripe.com
    Files,
    /// connect.stripe.com
    Connect,
    /// meter-events.stripe.com
    MeterEvents,
}

impl Host {
    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Files => "files",
            Self::Connect => "connect",
            Self::MeterEvents => "meter_events",
        }
    }
}

/// Proof that no byte of a request left this process. Only an upstream makes one.
#[derive(Debug)]
pub struct NeverSent(());

impl NeverSent {
    /// For upstream implementations alone, where the evidence is at hand.
    pub(crate) const fn proven() -> Self {
        Self(())
    }

    /// For a simulated network, which knows what left.
    #[cfg(feature = "seams")]
    #[must_use]
    pub const fn simulated() -> Self {
        Self(())
    }
}

/// Why no answer head came.
#[derive(Debug)]
pub enum SendError {
    /// No byte of the request left: no connection was made, or the unwritten request came back.
    NeverSent(NeverSent, Cause),
    /// Bytes may have left; what became of them is not known.
    Unknown(Cause),
}

impl SendError {
    /// What went wrong.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        match self {
            Self::NeverSent(_, cause) | Self::Unknown(cause) => *cause,
        }
    }
}

/// What went wrong, for logs and messages: no secret, no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The name did not resolve.
    Dns,
    /// The connection was refused, or no route.
    Connect,
    /// No connection in time.
    ConnectTimeout,
    /// The TLS handshake failed: a certificate that is not trusted, a wrong name, a protocol error.
    Tls,
    /// The egress proxy refused or broke the tunnel.
    Proxy,
    /// The pool of connections is full.
    Busy,
    /// The connection was reset or closed before the answer.
    Closed,
    /// No answer head in time.
    AnswerTimeout,
    /// The answer was not HTTP, or beyond a limit.
    Protocol,
    /// The body that was to be sent broke off.
    RequestBody,
}

impl Cause {
    /// The name in metrics and traces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
            Self::Busy => "busy",
            Self::Closed => "closed",
            Self::AnswerTimeout => "answer_timeout",
            Self::Protocol => "protocol",
            Self::RequestBody => "request_body",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "the upstream name did not resolve (upstream.api, …)",
            Self::Connect => "no connection to the upstream (upstream.api, …)",
            Self::ConnectTimeout => "no connection to the upstream in time",
            Self::Tls => "the TLS handshake with the upstream failed (upstream.ca_file)",
            Self::Proxy => "the egress proxy made no tunnel (upstream.egress_proxy)",
            Self::Busy => "all upstream connections are in use",
            Self::Closed => "the connection closed before the answer",
            Self::AnswerTimeout => "no answer in time",
            Self::Protocol => "the answer was not valid HTTP",
            Self::RequestBody => "the client's request broke off",
        })
    }
}

/// One way to the provider.
pub trait Upstream: Send + Sync + 'static {
    /// Sends `request` (origin-form, no hop-by-hop fields, Host is set here) once, and awaits the
    /// head of the final answer (1xx are passed over) for at most `within`.
    fn send(
        &self,
        host: Host,
        request: Request<Body>,
        within: Duration,
    ) -> impl Future<Output = Result<Response<Body>, SendError>> + Send;

    /// The host's name or address in metrics; an upstream without a network has none but ours.
    fn address(&self, host: Host) -> &str {
        host.as_str()
    }
}
