//! [`Error`]: why a file of `[tls]` cannot be used, and what to do.

use std::path::PathBuf;

/// Why a file of `[tls]` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path} ({key}): {problem}")]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// The key of the configuration that names it, or the flag that creates it.
    pub key: &'static str,
    /// The mistake in it.
    pub problem: Problem,
}

/// The mistake in a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It cannot be read.
    #[error("{0}; the server needs to read it, and finds it at this path")]
    Read(#[source] std::io::Error),
    /// It cannot be written.
    #[error("cannot write it: {0}")]
    Write(#[source] std::io::Error),
    /// It has no certificate in PEM.
    #[error("it has no certificate; a certificate begins with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// It has a key where a certificate belongs.
    #[error("it has a private key but no certificate; are tls.certificate and tls.key swapped?")]
    KeyInsteadOfCertificate,
    /// It has no key in PEM.
    #[error("it has no private key; a key begins with -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// It has a certificate where a key belongs.
    #[error("it has a certificate but no private key; are tls.certificate and tls.key swapped?")]
    CertificateInsteadOfKey,
    /// It is binary (DER).
    #[error(
        "it is not text in PEM; convert it from DER: \
         openssl x509 -inform der for a certificate, openssl pkey -inform der for a key"
    )]
    Der,
    /// The key needs a password.
    #[error(
        "the private key is encrypted, and the server cannot ask for its password; \
         decrypt it to a file that only the server can read: openssl pkey -in KEY -out NEW"
    )]
    EncryptedKey,
    /// The text between the lines is damaged.
    #[error("it is not valid PEM: {0}")]
    Pem(String),
    /// The certificate is not X.509.
    #[error("it is not a valid certificate: {0}")]
    Certificate(String),
    /// The certificate is that of a certificate authority.
    #[error(
        "it is the certificate of a certificate authority (CA:TRUE), which clients refuse for a \
         server; create a certificate for this server and sign it with that authority, or try \
         styx serve --generate-self-signed NAME"
    )]
    Authority,
    /// The key is of a kind that is not supported.
    #[error("this kind of private key is not supported; use ECDSA (P-256, P-384), Ed25519 or RSA")]
    UnsupportedKey,
    /// The key does not belong to the certificate.
    #[error(
        "the private key does not belong to the certificate in {certificate}; \
         use the key with which the certificate was requested"
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// TLS refuses it for another reason.
    #[error("{0}")]
    Tls(String),
}
