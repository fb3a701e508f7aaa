//! One connection to one server: TCP, TLS or Unix socket, then authentication.
//!
//! The `redis` crate speaks the protocol over a stream that is made here: so TLS is rustls over
//! aws-lc-rs as everywhere in payonce, and nothing reconnects or repeats a command by itself.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::fault::Fault;
use super::node::Node;
use crate::settings::Secret;

/// Anything that can be read and written.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Who payonce is to the servers.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// The ACL user; `None`: the default user.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The bundle cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The bundle is none.
    #[error("{path} {what}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The platform's roots cannot be used.
    #[error("TLS cannot be set up: {0}")]
    Platform(#[from] rustls::Error),
}

/// A connector that trusts the bundle in `ca_file`, or else the platform's roots.
pub(super) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = match ca_file {
        Some(path) => builder.with_root_certificates(roots(path)?),
        None => builder.with_platform_verifier()?,
    }
    .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let invalid = |what| TlsError::Invalid { path: path.to_owned(), what };
    let pem = std::fs::read(path)
        .map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_bad| invalid("is not valid PEM"))?;
        roots.add(certificate).map_err(|_bad| invalid("holds a certificate that is no root"))?;
    }
    if roots.is_empty() { Err(invalid("holds no certificate")) } else { Ok(roots) }
}

/// What reads and writes for a connection; whoever has it runs it.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Connects and logs in. The caller runs the future that comes with the connection, and bounds the
/// time that this takes.
pub(super) async fn dial(
    node: &Node,
    tls: Option<&TlsConnector>,
    login: &Login,
    database: u32,
) -> Result<(MultiplexedConnection, Driver), Fault> {
    let stream = open(node, tls).await?;
    let mut info = RedisConnectionInfo::default()
        .set_db(i64::from(database))
        .set_lib_name("payonce", env!("CARGO_PKG_VERSION"));
    if let Some(user) = &login.user {
        info = info.set_username(user);
    }
    if let Some(password) = &login.password {
        let Ok(password) = std::str::from_utf8(password.expose()) else {
            return Err(Fault::Unfit("its password is not UTF-8 text".to_owned()));
        };
        info = info.set_password(password);
    }
    // Each round trip is bounded by whoever makes it, on payonce's own clock.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    match MultiplexedConnection::new_with_config(&info, stream, config).await {
        Ok((connection, driver)) => Ok((connection, Box::pin(driver))),
        Err(error) => Err(refused(node, &error)),
    }
}

async fn open(node: &Node, tls: Option<&TlsConnector>) -> Result<Box<dyn Stream>, Fault> {
    let failed = |error: &std::io::Error| Fault::Unreached(format!("{node}: {error}"));
    let (host, port) = match node {
        Node::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(|error| failed(&error))?;
            return Ok(Box::new(stream));
        }
        Node::Tcp { host, port, .. } => (host, *port),
    };
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|error| failed(&error))?;
    stream.set_nodelay(true).map_err(|error| failed(&error))?;
    let Some(tls) = tls.filter(|_| node.tls()) else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(host.clone())
        .map_err(|_bad| Fault::Unreached(format!("{node} has no name that TLS could check")))?;
    let stream = tls.connect(name, stream).await.map_err(|error| failed(&error))?;
    Ok(Box::new(stream))
}

/// A server's refusal of the handshake. Only the code is told of what it says.
fn refused(node: &Node, error: &RedisError) -> Fault {
    match error.code() {
        Some("WRONGPASS" | "NOAUTH" | "NOPERM") => {
            Fault::Unfit(format!("{node} does not take the user or password"))
        }
        Some(code) => Fault::Unreached(format!("{node} refused the connection ({code})")),
        None => Fault::Unreached(format!("{node}: {}", error.category())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_that_is_none_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = connector(Some(file.path())).err().unwrap().to_string();
        assert!(error.ends_with("holds no certificate"), "{error}");
        assert!(connector(Some(Path::new("/nowhere/ca.pem"))).is_err());
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_without_the_password() {
        let login = Login { user: None, password: Some(Secret::new(b"hunter2-hunter2".to_vec())) };
        assert!(!format!("{login:?}").contains("hunter2"));
        let node = Node::parse("unix:///nowhere/redis.sock").unwrap();
        let fault = dial(&node, None, &login, 0).await.err().unwrap();
        assert!(fault.to_string().starts_with("unix:///nowhere/redis.sock"), "{fault}");
    }
}
