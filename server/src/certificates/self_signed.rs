//! [`generate_self_signed`]: a certificate for a first try, signed by nobody else.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::error::{Error, Problem};

const FLAG: &str = "--generate-self-signed";
const CERTIFICATE_FILE: &str = "tls-certificate.pem";
const KEY_FILE: &str = "tls-key.pem";
const DAY: Duration = Duration::from_secs(86_400);
/// The longest that browsers accept of a certificate from no public authority.
const VALID_FOR: Duration = Duration::from_secs(825 * 86_400);

/// The files of a self-signed certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfSigned {
    /// The certificate, in PEM. It is also what clients need (`--ca-file`).
    pub certificate: PathBuf,
    /// Its private key, in PEM; only its owner can read it.
    pub key: PathBuf,
    /// Whether it was created now. If not, an earlier one is still valid for this name.
    pub is_new: bool,
}

/// Creates a certificate for `name`, a host name or IP address, in `directory`, unless
/// there is one for this name that is valid for another day. A certificate for
/// `localhost` is also valid for `127.0.0.1` and `::1`.
///
/// # Errors
/// The name is not one of a host, or a file cannot be written.
pub fn generate_self_signed(directory: &Path, name: &str) -> Result<SelfSigned, Error> {
    let (certificate, key) = (directory.join(CERTIFICATE_FILE), directory.join(KEY_FILE));
    let failed = |path: &Path, problem| Error { path: path.to_owned(), key: FLAG, problem };
    if key.exists() && is_usable(&certificate, name) {
        return Ok(SelfSigned { certificate, key, is_new: false });
    }
    let refused = |error: rcgen::Error| failed(&certificate, Problem::Tls(error.to_string()));
    let mut names = vec![name.to_owned()];
    if name == "localhost" {
        names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    }
    let mut params = CertificateParams::new(names).map_err(refused)?;
    let is_named = params.subject_alt_names.iter().all(|name| match name {
        SanType::DnsName(name) => is_host_name(name.as_str()),
        _ => true,
    });
    if !is_named {
        let problem = Problem::Tls(format!("{name:?} is not a host name or an IP address"));
        return Err(failed(&certificate, problem));
    }
    // The name alone would be that of every other certificate made this way.
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(DAY);
    params.not_after = epoch + now + VALID_FOR;
    let pair = KeyPair::generate().map_err(refused)?;
    let signed = params.self_signed(&pair).map_err(refused)?;
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, Problem::Write(error)))?;
    write(&key, &pair.serialize_pem()).map_err(|error| failed(&key, Problem::Write(error)))?;
    write(&certificate, &signed.pem())
        .map_err(|error| failed(&certificate, Problem::Write(error)))?;
    Ok(SelfSigned { certificate, key, is_new: true })
}

/// Whether there is a certificate for this name, and it is valid for another day.
fn is_usable(certificate: &Path, name: &str) -> bool {
    let Ok(text) = std::fs::read(certificate) else { return false };
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(&text) else { return false };
    let Ok((_, parsed)) = X509Certificate::from_der(&pem.contents) else { return false };
    let tomorrow = SystemTime::now() + DAY;
    let tomorrow = tomorrow.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let is_current = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0) > tomorrow;
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return false };
    let has_name = names.value.general_names.iter().any(|other| match other {
        GeneralName::DNSName(other) => *other == name,
        GeneralName::IPAddress(bytes) => name.parse().is_ok_and(|address| match address {
            std::net::IpAddr::V4(address) => address.octets() == **bytes,
            std::net::IpAddr::V6(address) => address.octets() == **bytes,
        }),
        _ => false,
    });
    is_current && has_name
}

/// Whether a certificate can have this host name.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Replaces a file, which only its owner can read.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("pem.new");
    // A file that an interrupted start left may have other permissions.
    let _ = std::fs::remove_file(&new);
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}
