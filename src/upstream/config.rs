//! What an upstream is built from, checked, and what can be wrong with it.
//!
//! Reading settings is not here; the names in the errors are theirs.

use std::path::PathBuf;
use std::time::Duration;

use super::origin::{Origin, Scheme};
use super::proxy::EgressProxy;

/// Where each of the provider's hosts is.
#[derive(Clone, Debug)]
pub struct Origins {
    /// For [`Host::Api`](super::Host::Api).
    pub api: Origin,
    /// For [`Host::Files`](super::Host::Files).
    pub files: Origin,
    /// For [`Host::Connect`](super::Host::Connect).
    pub connect: Origin,
    /// For [`Host::MeterEvents`](super::Host::MeterEvents).
    pub meter_events: Origin,
}

impl Origins {
    /// All hosts at one place, as a sandbox serves them.
    #[must_use]
    pub fn all(origin: &Origin) -> Self {
        let origin = || origin.clone();
        Self { api: origin(), files: origin(), connect: origin(), meter_events: origin() }
    }

    /// Each origin with the name of its setting.
    fn named(&self) -> [(&'static str, &Origin); 4] {
        [
            ("upstream.api", &self.api),
            ("upstream.files", &self.files),
            ("upstream.connect", &self.connect),
            ("upstream.meter_events", &self.meter_events),
        ]
    }
}

/// What [`Direct`](super::Direct) is built from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the hosts are. `http` is for loopback hosts only, unless `clear`.
    pub origins: Origins,
    /// PEM bundle of the only roots to trust; the platform's own without it.
    pub ca_file: Option<PathBuf>,
    /// Tunnels to `https` origins are made through it; loopback `http` goes straight.
    pub egress_proxy: Option<EgressProxy>,
    /// Limit for name, TCP, proxy and TLS together, and likewise for the wait for a free
    /// connection. 5 s is usual.
    pub connect_timeout: Duration,
    /// Longest silence within an answer's body, after which it breaks off.
    pub body_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Most HTTP/1.1 connections to one host, in use and idle together. At least 1.
    pub max_connections_per_host: usize,
    /// Whether HTTP/2 is offered (ALPN `h2`, then `http/1.1`).
    pub http2: bool,
    /// Whether `http` may leave this machine: never where API keys are sent.
    pub clear: bool,
}

impl Config {
    /// For these origins, with the usual limits and the platform's roots.
    #[must_use]
    pub fn new(origins: Origins) -> Self {
        Self {
            origins,
            ca_file: None,
            egress_proxy: None,
            connect_timeout: Duration::from_secs(8),
            body_timeout: Duration::from_mins(1),
            idle_timeout: Duration::from_secs(55),
            max_connections_per_host: 128,
            http2: true,
            clear: false,
        }
    }

    /// What can be told without touching a file.
    pub(super) fn check(&self) -> Result<(), BuildError> {
        for (setting, origin) in self.origins.named() {
            if origin.scheme() == Scheme::Http && !origin.is_loopback() && !self.clear {
                return Err(BuildError::Clear { setting, origin: origin.to_string() });
            }
        }
        for (setting, time) in [
            ("upstream.connect_timeout", self.connect_timeout),
            ("upstream.body_timeout", self.body_timeout),
            ("upstream.idle_timeout", self.idle_timeout),
        ] {
            if time.is_zero() {
                return Err(BuildError::Zero { setting });
            }
        }
        if self.max_connections_per_host == 0 {
            return Err(BuildError::Zero { setting: "upstream.max_connections_per_host" });
        }
        Ok(())
    }
}

/// Why no upstream could be built. Each message begins with the setting at fault.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Keys and cards would cross a network in clear.
    #[error("{setting}: {origin} would send API keys in clear; http:// is for this machine only")]
    Clear {
        /// The setting.
        setting: &'static str,
        /// What it says.
        origin: String,
    },
    /// A limit of nothing.
    #[error("{setting}: must be more than 0")]
    Zero {
        /// The setting.
        setting: &'static str,
    },
    /// The bundle could not be read.
    #[error("upstream.ca_file: cannot read {}: {source}", path.display())]
    CaUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bundle holds something else, or nothing.
    #[error("upstream.ca_file: {} {what}", path.display())]
    CaInvalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// No roots on this platform, or a TLS library without what is needed.
    #[error("upstream.ca_file: not set, and the platform's own roots cannot be used: {0}")]
    Platform(rustls::Error),
    /// The host is no name that a certificate could bear.
    #[error("upstream: {origin} has no host name that TLS can verify")]
    ServerName {
        /// The origin.
        origin: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(origin: &str) -> Config {
        Config::new(Origins::all(&Origin::parse(origin).unwrap()))
    }

    #[test]
    fn plain_http_leaves_this_machine_never() {
        assert!(config("http://127.0.0.1:1").check().is_ok());
        let error = config("http://10.0.0.1:1").check().unwrap_err().to_string();
        assert_eq!(
            error,
            "upstream.api: http://10.0.0.1:1 would send API keys in clear; \
             http:// is for this machine only"
        );
    }

    #[test]
    fn a_limit_of_nothing_is_named() {
        let mut config = config("https://a.b");
        config.max_connections_per_host = 0;
        let error = config.check().unwrap_err().to_string();
        assert_eq!(error, "upstream.max_connections_per_host: must be more than 0");
    }
}
