//! TLS with the provider: rustls over aws-lc-rs, named explicitly, never a process-wide default.
//!
//! Depended on: rustls sends no early data unless asked to, so no byte of a request leaves before
//! the handshake is done; and it reports a connection cut without `close_notify`, so an answer
//! that ends with the connection is never taken for whole.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_rustls::TlsConnector;

use super::config::BuildError;
use super::origin::Origin;

/// The ALPN name of HTTP/2 (RFC 9113 §3.2).
pub(super) const H2: &[u8] = b"h2";
const HTTP11: &[u8] = b"http/1.1";

/// A connector that trusts the bundle in `ca_file`, or else the platform's roots.
pub(super) fn connector(ca_file: Option<&Path>, http2: bool) -> Result<TlsConnector, BuildError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(BuildError::Platform)?;
    let mut config = match ca_file {
        Some(path) => builder.with_root_certificates(read_roots(path)?),
        None => builder.with_platform_verifier().map_err(BuildError::Platform)?,
    }
    .with_no_client_auth();
    config.alpn_protocols =
        if http2 { vec![H2.to_vec(), HTTP11.to_vec()] } else { vec![HTTP11.to_vec()] };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The name that the certificate must bear, and that SNI says.
pub(super) fn server_name(origin: &Origin) -> Result<ServerName<'static>, BuildError> {
    ServerName::try_from(origin.host().to_owned())
        .map_err(|_not_a_name| BuildError::ServerName { origin: origin.to_string() })
}

fn read_roots(path: &Path) -> Result<RootCertStore, BuildError> {
    let invalid = |what| BuildError::CaInvalid { path: path.to_owned(), what };
    let pem = std::fs::read(path)
        .map_err(|source| BuildError::CaUnreadable { path: path.to_owned(), source })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_bad| invalid("is not valid PEM"))?;
        roots.add(certificate).map_err(|_bad| invalid("holds a certificate that is no root"))?;
    }
    if roots.is_empty() { Err(invalid("holds no certificate")) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_that_is_none_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = connector(Some(file.path()), true).err().unwrap().to_string();
        assert!(error.starts_with("upstream.ca_file: "), "{error}");
        assert!(error.ends_with("holds no certificate"), "{error}");
        let error = connector(Some(Path::new("/nowhere/ca.pem")), true).err().unwrap();
        assert!(error.to_string().starts_with("upstream.ca_file: cannot read /nowhere/ca.pem"));
    }
}
