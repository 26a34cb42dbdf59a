//! `[archive]`: the object store that has the history of the logs.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// `[archive]`. The archive is on if there is a URL, and the server is a read replica if there is
/// a URL of another server's archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Where the history is stored; `None` if the archive is off.
    pub url: Option<ArchiveUrl>,
    /// The archive whose logs this server only reads; `None` if it has logs of its own.
    pub replica_of: Option<ArchiveUrl>,
    /// The pause between two looks of a replica at a log that changes or is read.
    pub refresh: Duration,
    /// The address of the service, if it is not that of the cloud's own; may be empty.
    pub endpoint: String,
    /// The region of the bucket; empty for that of the environment.
    pub region: String,
    /// A file with the credentials; `None` for those of the environment or of the machine.
    pub credentials_file: Option<PathBuf>,
    /// The authorities that the store's certificate is checked against, in PEM; `None` for those
    /// of the system.
    pub ca_file: Option<PathBuf>,
    /// The checksum that S3 compares with each uploaded object.
    pub checksum: UploadChecksum,
    /// The age at which a record is archived although its segment is not full.
    pub max_lag: Duration,
    /// Most bytes of a log that stay on the disk once they are archived; 0 for no limit.
    pub local_max_size: usize,
    /// How long records stay on the disk once they are archived; zero for no limit.
    pub local_max_age: Duration,
    /// Segments that are uploaded at a time.
    pub uploads: usize,
    /// Rate of all uploads together; 0 for no limit.
    pub upload_bytes_per_second: usize,
    /// Most bytes of archived records that are kept on the disk after they were read.
    pub read_cache_size: usize,
    /// Most bytes of archived records that readers have in memory.
    pub read_memory: usize,
    /// How long a collection keeps objects after their records were removed.
    pub delete_grace: Duration,
    /// Whether the server removes superfluous objects of its logs once a week.
    pub collect: bool,
}

impl Default for Archive {
    fn default() -> Archive {
        Archive {
            url: None,
            replica_of: None,
            refresh: Duration::from_secs(10),
            endpoint: String::new(),
            region: String::new(),
            credentials_file: None,
            ca_file: None,
            checksum: UploadChecksum::default(),
            max_lag: Duration::from_secs(600),
            local_max_size: 0,
            local_max_age: Duration::ZERO,
            uploads: 2,
            upload_bytes_per_second: 0,
            read_cache_size: 1024 * MIB,
            read_memory: 64 * MIB,
            delete_grace: Duration::from_secs(7 * 86_400),
            collect: true,
        }
    }
}

impl Archive {
    /// A warning, if there are settings that have no effect because the archive is off.
    pub(super) fn warning(&self) -> Option<String> {
        let is_off = self.url.is_none() && self.replica_of.is_none();
        let is_unused = is_off && *self != Archive::default();
        is_unused.then(|| "archive.url is missing: the archive is off".to_owned())
    }

    /// The key, its value and the valid ones, if the keys contradict each other.
    pub(super) fn contradiction(&self) -> Option<(&'static str, String, &'static str)> {
        let has_endpoint = !self.endpoint.is_empty();
        if let (Some(_), Some(replica_of)) = (&self.url, &self.replica_of) {
            let accepted = "leave it or archive.url empty, because a server either archives its \
                            logs or is a replica that only reads those of another server";
            return Some(("archive.replica_of", replica_of.to_string(), accepted));
        }
        let url = self.url.as_ref().or(self.replica_of.as_ref());
        let is_file = url.is_some_and(|url| url.scheme() == "file");
        if is_file && has_endpoint {
            let accepted = "leave it empty, because a file:// archive has no service";
            return Some(("archive.endpoint", self.endpoint.clone(), accepted));
        }
        None
    }
}

/// The URL of an archive: a bucket and a prefix, or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveUrl(String);

impl ArchiveUrl {
    /// The URL, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `s3`, `gs`, `az` or `file`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(scheme, _)| scheme)
    }
}

impl FromStr for ArchiveUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<ArchiveUrl, String> {
        let accepted = || {
            "use s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://ACCOUNT/CONTAINER/PREFIX (each also \
             without a prefix), or file:///DIRECTORY"
                .to_owned()
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(accepted)?;
        let rest = rest.trim_end_matches('/');
        // Neither a password in front of a bucket, nor a query.
        let is_plain = !rest.contains(['?', '#', '@', '\0']);
        let is_path = |path: &str| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let is_key = is_path(rest) && rest.chars().all(is_name);
        let is_valid = match scheme {
            "s3" | "gs" => is_key,
            "az" => is_key && rest.contains('/'),
            "file" => is_plain && rest.strip_prefix('/').is_some_and(is_path),
            _ => false,
        };
        is_valid.then(|| ArchiveUrl(format!("{scheme}://{rest}"))).ok_or_else(accepted)
    }
}

impl fmt::Display for ArchiveUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The checksum that a store with the protocol of S3 compares with each uploaded object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UploadChecksum {
    /// CRC-64/NVME.
    #[default]
    Crc64,
    /// SHA-256, which takes more time.
    Sha256,
    /// None.
    None,
}

impl FromStr for UploadChecksum {
    type Err = String;

    fn from_str(text: &str) -> Result<UploadChecksum, String> {
        match text {
            "crc64" => Ok(UploadChecksum::Crc64),
            "sha256" => Ok(UploadChecksum::Sha256),
            "none" => Ok(UploadChecksum::None),
            _ => Err("use \"crc64\", \"sha256\" or \"none\"".to_owned()),
        }
    }
}

impl fmt::Display for UploadChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UploadChecksum::Crc64 => "crc64",
            UploadChecksum::Sha256 => "sha256",
            UploadChecksum::None => "none",
        })
    }
}

/// The address of a service, as `http://` or `https://`; empty for none.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_host = |host: &str| {
        !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "?#@".contains(c))
    };
    if text.is_empty() || host.is_some_and(is_host) {
        return Ok(text.to_owned());
    }
    Err("use the address of the service, such as https://s3.example.com or \
         http://127.0.0.1:7070"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_buckets_and_directories_are_accepted() {
        for (text, url, scheme) in [
            ("s3://history", "s3://history", "s3"),
            ("s3://history/a/b/", "s3://history/a/b", "s3"),
            ("gs://history", "gs://history", "gs"),
            ("az://account/history", "az://account/history", "az"),
            ("file:///srv/my archive/", "file:///srv/my archive", "file"),
        ] {
            let parsed: ArchiveUrl = text.parse().expect(text);
            assert_eq!((parsed.as_str(), parsed.scheme()), (url, scheme));
        }
    }

    #[test]
    fn other_urls_are_refused_with_the_accepted_ones() {
        for text in [
            "",
            "history",
            "s3://",
            "s3:///a",
            "s3:history",
            "S3://history",
            "http://history",
            "s3://a//b",
            "s3://a/../b",
            "s3://a?b",
            "s3://key:secret@bucket",
            "s3://a b",
            "az://account",
            "file://",
            "file:///",
            "file://a",
            "file:///a/../b",
        ] {
            let refused = text.parse::<ArchiveUrl>().expect_err(text);
            assert!(refused.contains("s3://BUCKET/PREFIX"), "{refused}");
        }
    }

    #[test]
    fn endpoints_are_addresses_of_http_without_credentials() {
        assert_eq!(endpoint("").as_deref(), Ok(""));
        assert_eq!(endpoint("http://127.0.0.1:7070/").as_deref(), Ok("http://127.0.0.1:7070"));
        assert_eq!(endpoint("https://a.example").as_deref(), Ok("https://a.example"));
        for text in ["a.example", "ftp://a", "https://", "https://key:secret@a", "https://a b"] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }
}
