//! Certificates for a server on loopback.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Writes `ca.pem`, and `cert.pem` with `key.pem` that it vouches for.
pub(super) fn write(directory: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    // Not the name that rcgen gives to all: OpenSSL would take the server's for a root.
    params.distinguished_name.push(DnType::CommonName, "an authority of a test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let server_key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let server = CertificateParams::new(names).unwrap().signed_by(&server_key, &issuer).unwrap();
    for (name, text) in [
        ("ca.pem", root.pem()),
        ("cert.pem", server.pem()),
        ("key.pem", server_key.serialize_pem()),
    ] {
        std::fs::write(directory.join(name), text).unwrap();
    }
}
