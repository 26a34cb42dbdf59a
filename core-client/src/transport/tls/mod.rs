//! TLS with rustls: trusted certificate authorities, and the server name to verify.

mod exact_certificate;

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

use crate::error::Error;
use crate::options::Roots;

/// The configuration of all encrypted connections of a client.
///
/// # Errors
/// A certificate file cannot be read or has no certificate; the machine trusts no
/// certificate authority.
pub(super) fn config(roots: &Roots) -> Result<Arc<ClientConfig>, Error> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::Exactly(path) => return exact_certificate::config(path),
        Roots::System => add_system(&mut store)?,
        Roots::Pem(pem) => add_pem(&mut store, pem, "the given certificates")?,
        Roots::File(path) => add_pem(&mut store, &read(path)?, &path.display().to_string())?,
    }
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::invalid_argument(format!("cannot set up TLS: {e}")))?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    Ok(Arc::new(config))
}

/// The only protocol of the client's connections.
const HTTP_1: &[u8] = b"http/1.1";

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|e| {
        Error::invalid_argument(format!("{}: cannot read the file: {e}", path.display()))
    })
}

fn add_system(store: &mut RootCertStore) -> Result<(), Error> {
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(());
    }
    let why = found.errors.first().map(|e| format!(": {e}")).unwrap_or_default();
    Err(Error::invalid_argument(format!(
        "this machine trusts no certificate authority{why}: pass a CA file (ca_file)"
    )))
}

fn add_pem(store: &mut RootCertStore, pem: &[u8], shown: &str) -> Result<(), Error> {
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate =
            certificate.map_err(|e| Error::invalid_argument(format!("{shown}: {e}")))?;
        store.add(certificate).map_err(|e| Error::invalid_argument(format!("{shown}: {e}")))?;
        found = true;
    }
    match found {
        true => Ok(()),
        false => {
            Err(Error::invalid_argument(format!("{shown}: no certificate found: use a PEM file")))
        }
    }
}

/// The name that the server's certificate must contain.
///
/// # Errors
/// No certificate can contain this name.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(host.to_owned()).map_err(|_| {
        let host: String = host.chars().take(80).collect();
        Error::invalid_argument(format!(
            "no certificate can contain the name {host:?}: set server_name"
        ))
    })
}

/// Whether the peer answered a handshake with something that is not TLS.
pub(super) fn is_no_tls(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::InvalidMessage(_)))
}

/// Advice about the server's certificate, if it is the reason why a handshake failed.
/// Another attempt fails in the same way.
pub(super) fn why_untrusted(error: &io::Error) -> Option<&'static str> {
    let certificate = match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(certificate) => certificate,
        rustls::Error::NoCertificatesPresented => {
            return Some("the server must present a certificate");
        }
        _ => return None,
    };
    Some(match certificate {
        CertificateError::UnknownIssuer => {
            "pass the certificate of the authority that signed the server's (ca_file)"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "use a name of the certificate in the address, or set server_name"
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "renew the server's certificate, or set this machine's clock"
        }
        _ => "replace the server's certificate",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_certificates_are_rejected() {
        let error = |roots: Roots| config(&roots).map(|_| ()).expect_err("unusable");
        assert!(error(Roots::Pem(b"nothing".to_vec())).message().contains("no certificate"));
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(error(Roots::Pem(broken.to_vec())).message().starts_with("the given certificates"));
        assert!(error(Roots::File("/nowhere/ca.pem".into())).message().starts_with("/nowhere/"));
    }

    #[test]
    fn host_names_and_ip_addresses_can_be_verified() {
        for name in ["localhost", "db.example.com", "10.0.0.1", "::1"] {
            assert!(server_name(name).is_ok(), "{name}");
        }
        assert!(server_name("a b").is_err());
    }
}
