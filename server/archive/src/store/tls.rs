//! The configuration of TLS: rustls with ring, and the certificate authorities of the system.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::error::{Error, Kind};

/// The configuration for all connections of a store. Without a file, the certificate authorities of
/// the system are trusted. A system without any is an error only when TLS is used.
///
/// # Errors
/// The file cannot be read or has no certificate.
pub(super) fn config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => add_file(&mut roots, path)?,
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::new(Kind::Invalid, "TLS", e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), Error> {
    let invalid = |why: String| Error::new(Kind::Invalid, path.display().to_string(), why);
    let pem = std::fs::read(path).map_err(|e| invalid(e.to_string()))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| invalid(e.to_string()))?;
        roots.add(certificate).map_err(|e| invalid(e.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(invalid("no certificate found: use a PEM file".to_owned())),
        false => Ok(()),
    }
}
