//! Why payonce does not start, each reason with what is to mend.

use crate::ledger::embedded::OpenError;
use crate::ledger::redis;
use crate::policy_file::LoadError;
use crate::server::BindError;
use crate::upstream::BuildError;
use crate::upstream::origin::BadOrigin;
use crate::upstream::proxy::BadProxy;

/// Why payonce does not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The policy is not good.
    #[error("{0}")]
    Policy(#[from] LoadError),
    /// The way to the provider cannot be built.
    #[error("{0}")]
    Upstream(#[from] BuildError),
    /// An origin is none.
    #[error("{setting}: {why}")]
    Origin {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        why: BadOrigin,
    },
    /// The egress proxy's address is none.
    #[error("upstream.egress_proxy: {0}")]
    Proxy(#[from] BadProxy),
    /// The store cannot be opened.
    #[error("store.path: {0}")]
    Store(#[from] OpenError),
    /// The Redis store cannot be used. (One that is not there now is no reason.)
    #[error("{0}")]
    Redis(#[from] redis::OpenError),
    /// A port or socket cannot be listened on.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// Likewise, for the admin or health port.
    #[error("{setting}: {address} cannot be listened on: {why}; choose another, or \"off\"")]
    Port {
        /// The setting.
        setting: &'static str,
        /// Its value.
        address: std::net::SocketAddr,
        /// What the system says.
        why: std::io::Error,
    },
    /// The way to the collector of traces cannot be built.
    #[error("{}", of_collector(.0))]
    Collector(BuildError),
    /// The webhook listener cannot be built.
    #[error("{setting}: {why}")]
    Webhook {
        /// The setting.
        setting: String,
        /// What is wrong with it.
        why: String,
    },
    /// Decisions cannot be written down where the settings say.
    #[error("record.path: {} cannot be written to: {why}", path.display())]
    Record {
        /// The file.
        path: std::path::PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// The admin token cannot be made.
    #[error(
        "admin.token_file: the admin token cannot be written{}: {why}; name a token file, or set \
         listen.admin = \"off\"",
        path.as_ref().map(|path| format!(" to {}", path.display())).unwrap_or_default()
    )]
    Token {
        /// Where it was to be written.
        path: Option<std::path::PathBuf>,
        /// What the system says.
        why: std::io::Error,
    },
}

impl StartError {
    /// Whether a file that people wrote is wrong, rather than something that is not there.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Policy(_)
            | Self::Upstream(_)
            | Self::Origin { .. }
            | Self::Proxy(_)
            | Self::Collector(_)
            | Self::Webhook { .. } => true,
            Self::Store(_)
            | Self::Redis(_)
            | Self::Bind(_)
            | Self::Port { .. }
            | Self::Record { .. }
            | Self::Token { .. } => false,
        }
    }
}

/// What is wrong with the way to the collector, under the names of its own settings.
fn of_collector(why: &BuildError) -> String {
    let why = why.to_string();
    match why.strip_prefix("upstream.ca_file: ") {
        Some(what) => format!("tracing.ca_file: {what}"),
        None => format!("tracing.otlp_endpoint: {why}"),
    }
}
