//! Binding, so that what goes wrong names the setting to mend.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};

use super::Peer;
use crate::delivery::Stream;

/// Connections that wait in the kernel, as far as `net.core.somaxconn` lets them.
const BACKLOG: u32 = 1024;

/// An address to listen on, and what the user calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The dotted name of the setting, for messages.
    pub setting: &'static str,
    /// Where.
    pub at: Address,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP address; port 0 takes any free one.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix {
        /// The file. A dead socket that lies there is replaced, anything else is left alone.
        path: PathBuf,
        /// Its permissions, such as `0o600`: who may connect may use payonce.
        mode: u32,
    },
}

/// Where a listener really listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket's file.
    Unix(PathBuf),
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Why payonce cannot listen. The message names the setting and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error("{setting}: {at} is in use by another process; stop it or choose another address")]
    InUse {
        /// The setting.
        setting: &'static str,
        /// The address.
        at: String,
    },
    /// No such address on this machine.
    #[error("{setting}: {at} is not an address of this machine")]
    NotHere {
        /// The setting.
        setting: &'static str,
        /// The address.
        at: String,
    },
    /// Not allowed.
    #[error("{setting}: this process may not listen on {at}")]
    Denied {
        /// The setting.
        setting: &'static str,
        /// The address.
        at: String,
    },
    /// A file that is no socket lies in the way.
    #[error("{setting}: {at} exists and is not a socket; remove it or choose another path")]
    NotASocket {
        /// The setting.
        setting: &'static str,
        /// The path.
        at: String,
    },
    /// Anything else.
    #[error("{setting}: cannot listen on {at}: {source}")]
    Other {
        /// The setting.
        setting: &'static str,
        /// The address.
        at: String,
        /// What the system said.
        source: io::Error,
    },
}

impl BindError {
    fn new(setting: &'static str, at: String, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::InUse { setting, at }
        } else if source.kind() == io::ErrorKind::AddrNotAvailable {
            Self::NotHere { setting, at }
        } else if source.kind() == io::ErrorKind::PermissionDenied {
            Self::Denied { setting, at }
        } else {
            Self::Other { setting, at, source }
        }
    }
}

/// A bound address.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    pub(super) async fn bind(listen: &Listen) -> Result<Self, BindError> {
        match &listen.at {
            Address::Tcp(address) => bind_tcp(*address)
                .map_err(|source| BindError::new(listen.setting, address.to_string(), source)),
            Address::Unix { path, mode } => bind_unix(listen.setting, path, *mode).await,
        }
    }

    pub(super) fn local(&self) -> Local {
        match self {
            Self::Tcp(_, address) => Local::Tcp(*address),
            Self::Unix(_, file) => Local::Unix(file.path.clone()),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, peer) = listener.accept().await?;
                // Answers are written whole; waiting for more to send only delays them. Where it
                // cannot be set the client is gone already.
                if let Err(gone) = stream.set_nodelay(true) {
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, gone));
                }
                Ok((Stream::Tcp(stream), Peer::Tcp(peer)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Peer::Unix))
            }
        }
    }
}

/// Where to listen where `address` cannot be had: on a system without IPv6, `[::]` is `0.0.0.0`, so
/// that one setting serves clusters of either kind.
pub(crate) fn without_ipv6(address: SocketAddr, why: &io::Error) -> Option<SocketAddr> {
    let kinds = [io::ErrorKind::AddrInUse, io::ErrorKind::PermissionDenied];
    let everywhere = address.is_ipv6() && address.ip().is_unspecified();
    let instead = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    (everywhere && !kinds.contains(&why.kind())).then_some(instead)
}

fn bind_tcp(address: SocketAddr) -> io::Result<Listener> {
    bind_one(address).or_else(|why| match without_ipv6(address, &why) {
        Some(instead) => bind_one(instead),
        None => Err(why),
    })
}

fn bind_one(address: SocketAddr) -> io::Result<Listener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of a process that just ended must not keep its successor from the port; a live
    // listener still does.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let local = listener.local_addr()?;
    Ok(Listener::Tcp(listener, local))
}

async fn bind_unix(setting: &'static str, path: &Path, mode: u32) -> Result<Listener, BindError> {
    let at = || path.display().to_string();
    let failed = |source| BindError::new(setting, at(), source);
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let found = std::fs::symlink_metadata(path).map_err(failed)?;
            if !found.file_type().is_socket() {
                return Err(BindError::NotASocket { setting, at: at() });
            }
            if !dead(path).await {
                return Err(BindError::InUse { setting, at: at() });
            }
            std::fs::remove_file(path).map_err(failed)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
    .map_err(failed)?;
    // Until this line the umask alone keeps others out, as for every file.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    let inode = std::fs::symlink_metadata(path).map_err(failed)?.ino();
    Ok(Listener::Unix(listener, SocketFile { path: path.to_owned(), inode }))
}

/// Whether nobody listens on the socket: only then does connecting end in "refused".
async fn dead(path: &Path) -> bool {
    let probe = UnixStream::connect(path).await;
    matches!(probe, Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

/// A socket's file, removed when its listener closes, unless another process has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            let file = self.path.display();
            tracing::warn!(%file, %error, "the socket's file stays behind; the next start removes it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_everywhere_is_listened_on_by_ipv4_where_there_is_no_ipv6() {
        // What Linux says of a socket that it cannot make (EAFNOSUPPORT).
        let none = || io::Error::from_raw_os_error(97);
        let at = |address: &str, why: io::Error| {
            without_ipv6(address.parse().unwrap(), &why).map(|it| it.to_string())
        };
        assert_eq!(at("[::]:8422", none()).as_deref(), Some("0.0.0.0:8422"));
        assert_eq!(at("[::1]:8422", none()), None);
        assert_eq!(at("0.0.0.0:8422", none()), None);
        assert_eq!(at("[::]:8422", io::ErrorKind::AddrInUse.into()), None);
        assert_eq!(at("[::]:80", io::ErrorKind::PermissionDenied.into()), None);
    }
}
