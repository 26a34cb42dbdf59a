//! [`Options`]: what an operator says about a store beside its URL.

use std::path::PathBuf;
use std::time::Duration;

/// The checksum that S3 compares with each uploaded object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// CRC-64/NVME: fast, and known to Amazon S3, Cloudflare R2 and versitygw.
    #[default]
    Crc64,
    /// SHA-256: slower, for services that do not know CRC-64/NVME.
    Sha256,
    /// None, for services that refuse the header. The archive still stores a CRC-32C of its own.
    None,
}

/// Settings of a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address of a service with the protocol of S3, or of an emulator: `http://127.0.0.1:7070`.
    /// Default: that of the provider.
    pub endpoint: Option<String>,
    /// The region of an S3 bucket. Default: from the environment (`AWS_REGION`), else `us-east-1`.
    pub region: Option<String>,
    /// A file with credentials. S3: the format of `~/.aws/credentials`. Google: the key of a service
    /// account. Not for Azure. The file is read again when it changes. Default: the environment,
    /// else the metadata service of the machine.
    pub credentials_file: Option<PathBuf>,
    /// The profile in the credentials file. Default: `AWS_PROFILE`, else `default`.
    pub profile: Option<String>,
    /// A PEM file with certificate authorities that are trusted instead of those of the system.
    pub ca_file: Option<PathBuf>,
    /// The checksum that S3 compares with each uploaded object.
    pub checksum: Checksum,
    /// The rate of all uploads together, in bytes per second, at least 64 KiB. Default: no limit.
    pub upload_bytes_per_second: Option<u64>,
    /// How long a connection may take to open. Default: 5 s.
    pub connect_deadline: Duration,
    /// How long a request may make no progress in either direction. Default: 30 s.
    pub stall_deadline: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            endpoint: None,
            region: None,
            credentials_file: None,
            profile: None,
            ca_file: None,
            checksum: Checksum::default(),
            upload_bytes_per_second: None,
            connect_deadline: Duration::from_secs(5),
            stall_deadline: Duration::from_secs(30),
        }
    }
}
