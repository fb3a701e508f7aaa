//! `payonce health`: asks the health port of a running payonce, for probes that run a command. The
//! image has no shell and no curl, so payonce is its own client.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, header};
use http_body_util::Full;

use super::Exit;
use super::ops::exchange;
use crate::clock::Clock;
use crate::settings::Settings;

/// For the whole question: longer than payonce takes over `/readyz` at most, shorter than the time
/// that Docker and Kubernetes users give a probe.
const TIMEOUT: Duration = Duration::from_secs(2);

/// `payonce health`
#[derive(Args, Clone, Debug)]
pub struct Health {
    /// The settings file of the payonce to ask: its port is found there.
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Ask whether it is alive, whatever its store is like, instead of whether it is ready.
    #[arg(long)]
    pub live: bool,
}

impl Health {
    pub(super) const EXAMPLES: &str = "Examples:
  payonce health
  payonce health --live --settings /etc/payonce/payonce.toml
Exit codes: 0 it is, 1 it says that it is not, 69 nobody answers in 2 s. As a probe:
  HEALTHCHECK CMD [\"/payonce\", \"health\"]";
}

/// Why nobody could be asked.
#[derive(Debug, thiserror::Error)]
pub enum HealthFailure {
    /// Settings say that there is nobody to ask.
    #[error("listen.health is off in these settings: there is no health port to ask")]
    Off,
    /// Nobody answers.
    #[error("no payonce answers on {address}: {why}; is it running, with these settings?")]
    Unreachable {
        /// The health port.
        address: SocketAddr,
        /// What happened instead.
        why: String,
    },
    /// The answer could not be shown.
    #[error("the answer could not be written: {0}")]
    Output(#[from] io::Error),
}

impl HealthFailure {
    /// The exit code that says so.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Off | Self::Unreachable { .. } => Exit::Unavailable,
            Self::Output(_) => Exit::Failed,
        }
    }
}

/// Asks the payonce that has these `settings` how it is, and writes its answer to `out`: whether it
/// said yes.
///
/// # Errors
/// See [`HealthFailure`].
pub async fn run(
    args: &Health,
    settings: &Settings,
    out: &mut impl Write,
) -> Result<bool, HealthFailure> {
    let address = reachable(settings.listen.health.ok_or(HealthFailure::Off)?);
    let unreachable = |why: String| HealthFailure::Unreachable { address, why };
    let request = Request::builder()
        .uri(if args.live { "/livez" } else { "/readyz" })
        .header(header::HOST, address.to_string())
        .body(Full::<Bytes>::default())
        .map_err(|error| unreachable(error.to_string()))?;
    let (status, said) = match Clock::System.timeout(TIMEOUT, exchange(address, request)).await {
        Ok(answer) => answer.map_err(|silence| unreachable(silence.why()))?,
        Err(_elapsed) => return Err(unreachable(format!("no answer in {TIMEOUT:?}"))),
    };
    if !matches!(status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE) {
        return Err(unreachable(format!("not an answer of payonce's health port: {status}")));
    }
    out.write_all(&said)?;
    Ok(status == StatusCode::OK)
}

/// Where a port that listens on every address is reached from the same machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        given @ (IpAddr::V4(_) | IpAddr::V6(_)) => given,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_on_every_address_is_asked_on_loopback() {
        let asked = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:8422"), "127.0.0.1:8422");
        assert_eq!(asked("[::]:8422"), "[::1]:8422");
        assert_eq!(asked("10.1.2.3:8422"), "10.1.2.3:8422");
    }
}
