//! Settings: what the platform team decides (DESIGN §7). What counts as critical is the policy's.
//!
//! Defaults, a file and the environment are merged (`layers`), read value by value (`reader`)
//! and checked against one another (`checked`); the result is plain structs whose values need no
//! second look. A section with more to it than values stands in a file of its own. All problems are
//! found at once, and none shows a secret. Nothing else in payonce reads the environment.

mod checked;
mod clients;
mod credential;
mod files;
mod layers;
mod metrics;
mod other_secrets;
mod policy;
mod problem;
mod reader;
mod secret;
mod store;
mod traces;
mod units;
mod webhook;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use crate::finishing;

pub use clients::Clients;
pub use credential::{Credential, Unfit, fit};
pub(crate) use files::read as read_file;
pub use metrics::Metrics;
pub use other_secrets::OtherSecret;
pub use policy::Policy;
pub use problem::{Origin, Problem};
pub use secret::Secret;
pub use store::{RedisStore, Store, StoreKind};
pub use traces::{Tracing, TracingHeaders};
pub use units::{duration as read_duration, show_duration, show_size};
pub use webhook::{Webhook, WebhookEndpoint};

/// Everything that can be set, checked. Each field is explained in `config/payonce.toml`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where payonce listens.
    pub listen: Listen,
    /// The provider, and the way there.
    pub upstream: Upstream,
    /// Where operations are remembered.
    pub store: Store,
    /// How often and how long one request is tried.
    pub retry: Retry,
    /// What bounds memory and waiting.
    pub limits: Limits,
    /// What bounds what is held to be finished.
    pub finishing: finishing::Limits,
    /// Where the policy is.
    pub policy: Policy,
    /// What is known of clients.
    pub clients: Clients,
    /// Where decisions are written down.
    pub record: Record,
    /// From what keys are derived; `None`: from each request's API key.
    pub secret: Option<Secret>,
    /// What `secret` was before, or will be.
    pub other_secrets: Vec<OtherSecret>,
    /// The API key that payonce holds for its application.
    pub credential: Credential,
    /// Who may ask the admin port.
    pub admin: Admin,
    /// What stands before the application's webhooks.
    pub webhook: Webhook,
    /// What is measured.
    pub metrics: Metrics,
    /// What is logged and how.
    pub log: Log,
    /// Where traces go.
    pub tracing: Tracing,
    /// How payonce ends.
    pub shutdown: Shutdown,
    /// What is allowed but should be said aloud at start, each with its setting.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Merges the defaults, `file` and `env` (later ones win) and checks the result. Reads the
    /// files that hold secrets; binds and opens nothing.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the settings' paths: exit code 64.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Vec<Problem>> {
        let (layers, problems) = layers::Layers::merge(file, env);
        checked::check(reader::Reader::new(layers, problems))
    }
}

/// The environment of this process, for [`Settings::load`].
pub fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    #[cfg(feature = "seams")]
    return std::env::vars_os().filter(|(name, _)| !crate::seams::is_switch(name));
    #[cfg(not(feature = "seams"))]
    std::env::vars_os()
}

/// Where payonce listens. At least one of `proxy` and `unix_socket` is set.
#[derive(Clone, Debug)]
pub struct Listen {
    /// For the application, over TCP.
    pub proxy: Option<SocketAddr>,
    /// For the application, over a Unix socket.
    pub unix_socket: Option<PathBuf>,
    /// For `payonce ops`; loopback.
    pub admin: Option<SocketAddr>,
    /// For probes and metrics.
    pub health: Option<SocketAddr>,
    /// Who asks, where a request does not say.
    pub caller: Option<String>,
}

/// The provider's hosts as origins (`https://api.stripe.com`, no path, no final slash), and the way
/// there.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Most paths.
    pub api: String,
    /// Files and quote PDFs (FACTS §1.5).
    pub files: String,
    /// OAuth.
    pub connect: String,
    /// The meter event stream.
    pub meter_events: String,
    /// The host name bound into each operation id; lower case, no port.
    pub provider_host: String,
    /// Trusted instead of the platform's authorities. PEM; it could be read.
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy's URI, perhaps with a password.
    pub egress_proxy: Option<SecretString>,
    /// For a connection, TLS included.
    pub connect_timeout: Duration,
    /// For a connection that is not in use.
    pub idle_timeout: Duration,
    /// Connections to one host.
    pub max_connections_per_host: usize,
    /// Whether HTTP/2 is offered by ALPN.
    pub http2: bool,
}

/// How often and how long one request is tried.
#[derive(Clone, Debug)]
pub struct Retry {
    /// All attempts together; at most 78 s, under the SDKs' 80 s (FACTS §1.4).
    pub deadline: Duration,
    /// One attempt; at most the deadline.
    pub attempt_timeout: Duration,
    /// At least 1.
    pub max_attempts: u32,
    /// Before the second attempt, then doubling.
    pub backoff: Duration,
    /// At most.
    pub backoff_max: Duration,
    /// Retries as a share of requests, 0 to 1.
    pub budget_ratio: f64,
    /// Retries a second besides.
    pub budget_per_second: f64,
}

/// What bounds memory and waiting. Sizes in bytes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A critical request's held body.
    pub body: usize,
    /// A critical answer's held body.
    pub answer: usize,
    /// All that is held at one time; at least `body` and `answer` together.
    pub bytes_in_flight: usize,
    /// Client connections.
    pub connections: usize,
    /// For a request's head.
    pub header_timeout: Duration,
    /// For a client connection that is not in use.
    pub idle_timeout: Duration,
    /// Between two pieces of a body.
    pub body_timeout: Duration,
    /// Fields of a head.
    pub headers: usize,
    /// Bytes of a head.
    pub head_bytes: usize,
    /// Requests that wait for one operation.
    pub waiters: usize,
    /// Critical operations in flight.
    pub operations: usize,
}

/// Where decisions are written down, if the policy says `record = "decisions"`.
#[derive(Clone, Debug)]
pub struct Record {
    /// The file; `None`: nowhere. The one before it stands beside it with `.1` at its end.
    pub path: Option<PathBuf>,
    /// How large the file becomes before the next is begun, in bytes.
    pub max_size: usize,
}

/// Who may ask the admin port.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The bearer token.
    pub token: Token,
}

/// Where the admin port's bearer token comes from; [`crate::admin::token`] makes and finds it.
#[derive(Clone, Debug)]
pub enum Token {
    /// Somebody chose it.
    Given(Secret),
    /// `serve` makes one at each start and writes it here, for its owner's eyes (mode 0600).
    Made(PathBuf),
}

/// What is logged and how.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// The least that payonce's own events must matter.
    pub level: LogLevel,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// What needs somebody now.
    Error,
    /// And what needs somebody soon.
    Warn,
    /// And each critical operation.
    #[default]
    Info,
    /// And each decision.
    Debug,
    /// And everything else.
    Trace,
}

/// How payonce ends.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// How long requests may take to finish.
    pub drain: Duration,
}

#[cfg(test)]
mod tests;
