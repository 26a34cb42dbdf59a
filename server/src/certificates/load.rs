//! From the files of `[tls]` to a configuration of rustls, with an error for each mistake
//! that people make.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::error::{Error, Problem};
use crate::config::{ClientAuth, TlsFiles, TlsVersion};

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
const CLIENT_CA: &str = "tls.client_ca";
/// The protocols of a server, the preferred first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// A certificate that is valid for less than this is warned about.
const EXPIRES_SOON_DAYS: i64 = 14;

/// Loads the files. The number is the last second in which the certificate is valid, since the
/// Unix epoch.
pub(super) fn server_config(files: &TlsFiles) -> Result<(Arc<ServerConfig>, i64), Error> {
    let provider = Arc::new(ring::default_provider());
    let (identity, expires_at) = identity(files, &provider)?;
    let versions: &[_] = match files.min_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| of(&files.certificate, CERTIFICATE, Problem::Tls(error.to_string())))?;
    let builder = match client_verifier(files, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // New keys with each load, so that a ticket never outlives the authority that
    // approved its client.
    if let Ok(ticketer) = ring::Ticketer::new() {
        config.ticketer = ticketer;
        config.send_tls13_tickets = 1;
    }
    Ok((Arc::new(config), expires_at))
}

/// The certificate and its key, checked, and when it expires.
fn identity(files: &TlsFiles, provider: &CryptoProvider) -> Result<(CertifiedKey, i64), Error> {
    let path = &files.certificate;
    let chain = certificates(path, CERTIFICATE)?;
    let leaf = chain.first().ok_or_else(|| of(path, CERTIFICATE, Problem::NoCertificate))?;
    let expires_at = check_leaf(leaf, path)?;
    let key = private_key(&files.key)?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| of(&files.key, KEY, Problem::UnsupportedKey))?;
    let identity = CertifiedKey::new(chain, key);
    match identity.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok((identity, expires_at))
        }
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(of(&files.key, KEY, Problem::Mismatch { certificate: path.clone() }))
        }
        Err(error) => Err(of(path, CERTIFICATE, Problem::Certificate(error.to_string()))),
    }
}

/// Checks that clients can accept it from a server, and warns if they soon will not. Returns when
/// it expires.
fn check_leaf(leaf: &CertificateDer<'_>, path: &Path) -> Result<i64, Error> {
    let invalid = |why: String| of(path, CERTIFICATE, Problem::Certificate(why));
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|error| invalid(error.to_string()))?;
    let constraints = leaf.basic_constraints().map_err(|error| invalid(error.to_string()))?;
    if constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(of(path, CERTIFICATE, Problem::Authority));
    }
    let (path, validity) = (path.display(), leaf.validity());
    let (begins, ends) = (validity.not_before, validity.not_after);
    let now = x509_parser::time::ASN1Time::now();
    if now > ends {
        tracing::warn!(%path, "the certificate of this server expired on {ends}; clients refuse it, so replace it");
    } else if now < begins {
        tracing::warn!(%path, "the certificate of this server is valid from {begins}; until then, clients refuse it");
    } else if (ends.timestamp() - now.timestamp()) < EXPIRES_SOON_DAYS * 86_400 {
        tracing::warn!(%path, "the certificate of this server expires on {ends}; replace it before that");
    }
    Ok(ends.timestamp())
}

/// The rules for the certificates of clients; `None` if they are not asked for any.
fn client_verifier(
    files: &TlsFiles,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
    let (Some(path), auth) = (&files.client_ca, files.client_auth) else { return Ok(None) };
    if auth == ClientAuth::Off {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, CLIENT_CA)? {
        let added = roots.add(certificate);
        added.map_err(|error| of(path, CLIENT_CA, Problem::Certificate(error.to_string())))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = match auth {
        ClientAuth::Optional => builder.allow_unauthenticated(),
        ClientAuth::Off | ClientAuth::Required => builder,
    };
    let verifier = builder.build();
    verifier.map(Some).map_err(|error| of(path, CLIENT_CA, Problem::Tls(error.to_string())))
}

/// All certificates in a file; at least one.
fn certificates(path: &Path, key: &'static str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(path, key)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(certificates) if certificates.is_empty() => Err(of(
            path,
            key,
            match () {
                () if is_der(&text) => Problem::Der,
                () if contains(&text, "PRIVATE KEY-----") => Problem::KeyInsteadOfCertificate,
                () => Problem::NoCertificate,
            },
        )),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(of(path, key, Problem::Pem(error.to_string()))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let text = read(path, KEY)?;
    let is_encrypted =
        contains(&text, "BEGIN ENCRYPTED PRIVATE KEY") || contains(&text, "Proc-Type: 4,ENCRYPTED");
    if is_encrypted {
        return Err(of(path, KEY, Problem::EncryptedKey));
    }
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(of(
            path,
            KEY,
            match () {
                () if is_der(&text) => Problem::Der,
                () if contains(&text, "BEGIN CERTIFICATE") => Problem::CertificateInsteadOfKey,
                () => Problem::NoKey,
            },
        )),
        Err(error) => Err(of(path, KEY, Problem::Pem(error.to_string()))),
    }
}

fn read(path: &Path, key: &'static str) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| of(path, key, Problem::Read(error)))
}

fn of(path: &Path, key: &'static str, problem: Problem) -> Error {
    Error { path: path.to_owned(), key, problem }
}

/// Whether it begins like DER: a sequence with a length of two bytes.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x81 | 0x82, ..])
}

fn contains(text: &[u8], part: &str) -> bool {
    text.windows(part.len()).any(|window| window == part.as_bytes())
}

/// The subject of a certificate, as in RFC 4514.
pub(super) fn subject(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut parts: Vec<String> = Vec::new();
    for part in certificate.subject().iter() {
        let mut attributes: Vec<String> = Vec::new();
        for attribute in part.iter() {
            let value = attribute.as_str().ok()?;
            let registry = x509_parser::objects::oid_registry();
            let name = match x509_parser::objects::oid2abbrev(attribute.attr_type(), registry) {
                Ok(name) => name.to_owned(),
                Err(_) => attribute.attr_type().to_id_string(),
            };
            attributes.push(format!("{name}={}", escaped(value)));
        }
        parts.push(attributes.join("+"));
    }
    // RFC 4514 begins with the last part.
    parts.reverse();
    Some(parts.join(","))
}

/// A value with the escapes of RFC 4514, so that no value looks like two. They are those of
/// `openssl x509 -nameopt RFC2253`.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, c) in value.char_indices() {
        let is_edge = at == 0 || at + c.len_utf8() == value.len();
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => text.extend(['\\', c]),
            ' ' if is_edge => text.push_str("\\ "),
            '#' if at == 0 => text.push_str("\\#"),
            c if c.is_control() || !c.is_ascii() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    text.push_str(&format!("\\{byte:02X}"));
                }
            }
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject_of(parts: &[(rcgen::DnType, &str)]) -> Option<String> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let key = rcgen::KeyPair::generate().expect("a key");
        subject(params.self_signed(&key).expect("a certificate").der())
    }

    /// A principal is compared by its subject, so no certificate may look like another.
    #[test]
    fn subject_of_a_certificate_is_unambiguous() {
        use rcgen::DnType::{CommonName, OrganizationName};
        let plain = subject_of(&[(OrganizationName, "Example"), (CommonName, "ci")]);
        assert_eq!(plain.as_deref(), Some("CN=ci,O=Example"));
        let tricky = subject_of(&[(CommonName, "ci,O=Example")]);
        assert_eq!(tricky.as_deref(), Some("CN=ci\\,O=Example"));
        for (value, shown) in [
            (" a ", "CN=\\ a\\ "),
            ("#a#", "CN=\\#a#"),
            ("a\nb", "CN=a\\0Ab"),
            ("ü\\+", "CN=\\C3\\BC\\\\\\+"),
        ] {
            assert_eq!(subject_of(&[(CommonName, value)]).as_deref(), Some(shown), "{value:?}");
        }
        assert_eq!(subject(b"nothing"), None);
    }
}
