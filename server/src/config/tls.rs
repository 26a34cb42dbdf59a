//! `[tls]`: the files and rules of encrypted connections.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// `[tls]`, as configured. [`files`](Tls::files) is what a server uses of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The certificate of the server and those that sign it, in PEM; `None` if TLS is off.
    pub certificate: Option<PathBuf>,
    /// The private key of the certificate, in PEM.
    pub key: Option<PathBuf>,
    /// The authorities that sign the certificates of clients, in PEM.
    pub client_ca: Option<PathBuf>,
    /// Whether clients need a certificate; `None` for the default.
    pub client_auth: Option<ClientAuth>,
    /// The oldest version that is accepted.
    pub min_version: TlsVersion,
}

/// The files and rules of a server whose TLS is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of the server and those that sign it, in PEM.
    pub certificate: PathBuf,
    /// The private key of the certificate, in PEM.
    pub key: PathBuf,
    /// The authorities that sign the certificates of clients, in PEM.
    pub client_ca: Option<PathBuf>,
    /// Whether clients need a certificate.
    pub client_auth: ClientAuth,
    /// The oldest version that is accepted.
    pub min_version: TlsVersion,
}

impl Tls {
    /// The files of a server; `None` if TLS is off.
    #[must_use]
    pub fn files(&self) -> Option<TlsFiles> {
        let default = match self.client_ca {
            Some(_) => ClientAuth::Required,
            None => ClientAuth::Off,
        };
        Some(TlsFiles {
            certificate: self.certificate.clone()?,
            key: self.key.clone()?,
            client_ca: self.client_ca.clone(),
            client_auth: self.client_auth.unwrap_or(default),
            min_version: self.min_version,
        })
    }

    /// The key, its value and the valid ones, if the keys contradict each other.
    pub(super) fn contradiction(&self) -> Option<(&'static str, String, &'static str)> {
        let path = |path: &Option<PathBuf>| match path {
            Some(path) => path.display().to_string(),
            None => String::new(),
        };
        if self.certificate.is_some() != self.key.is_some() {
            let (key, value) = match self.key {
                None => ("tls.key", &self.key),
                Some(_) => ("tls.certificate", &self.certificate),
            };
            return Some((key, path(value), "set tls.certificate and tls.key, or neither"));
        }
        if self.client_ca.is_some() && self.certificate.is_none() {
            let accepted = "set tls.certificate and tls.key too, because TLS is off without them";
            return Some(("tls.client_ca", path(&self.client_ca), accepted));
        }
        let auth = self.client_auth.filter(|auth| *auth != ClientAuth::Off)?;
        let accepted = "set tls.client_ca to the authorities that sign the clients' certificates";
        self.client_ca.is_none().then(|| ("tls.client_auth", auth.to_string(), accepted))
    }
}

/// Whether clients need a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    Off,
    /// They may present one. One that is not valid is refused.
    Optional,
    /// A client without one is refused.
    Required,
}

impl FromStr for ClientAuth {
    type Err = String;

    fn from_str(text: &str) -> Result<ClientAuth, String> {
        match text {
            "off" => Ok(ClientAuth::Off),
            "optional" => Ok(ClientAuth::Optional),
            "required" => Ok(ClientAuth::Required),
            _ => Err("use \"off\", \"optional\" or \"required\"".to_owned()),
        }
    }
}

impl fmt::Display for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClientAuth::Off => "off",
            ClientAuth::Optional => "optional",
            ClientAuth::Required => "required",
        })
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl FromStr for TlsVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<TlsVersion, String> {
        match text {
            "1.2" => Ok(TlsVersion::Tls12),
            "1.3" => Ok(TlsVersion::Tls13),
            _ => Err("use \"1.2\" or \"1.3\"; older versions are not secure".to_owned()),
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsVersion::Tls12 => "1.2",
            TlsVersion::Tls13 => "1.3",
        })
    }
}
