//! [`Location`]: the URL of an archive.
//!
//! ```text
//! s3://bucket/prefix   gs://bucket/prefix   az://account/container/prefix   file:///directory
//! ```

use std::fmt;
use std::path::PathBuf;

use super::error::{Error, Kind};

/// Where an archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Amazon S3, or a service with the same protocol.
    S3 {
        /// The bucket.
        bucket: String,
        /// What all keys begin with; may be empty. Without slashes at its ends.
        prefix: String,
    },
    /// Google Cloud Storage.
    Google {
        /// The bucket.
        bucket: String,
        /// What all keys begin with; may be empty.
        prefix: String,
    },
    /// Azure Blob Storage.
    Azure {
        /// The storage account.
        account: String,
        /// The container.
        container: String,
        /// What all keys begin with; may be empty.
        prefix: String,
    },
    /// A directory, for example of a mounted file server.
    Directory(PathBuf),
}

/// The longest prefix, in bytes. Keys of all stores may have 1,024 bytes.
const PREFIX_BYTES_MAX: usize = 512;

impl Location {
    /// Parses a URL.
    ///
    /// # Errors
    /// The scheme is unknown, or a part is missing or has characters that no store accepts.
    pub fn parse(url: &str) -> Result<Location, Error> {
        let invalid = |why: &str| Error::new(Kind::Invalid, format!("archive URL {url:?}"), why);
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(invalid("use s3://BUCKET, gs://BUCKET, az://ACCOUNT/CONTAINER or file://"));
        };
        if rest.contains(['?', '#', '@']) {
            return Err(invalid(
                "a URL has no user, query or fragment: credentials come from the environment",
            ));
        }
        if scheme == "file" {
            return match rest.starts_with('/') {
                true => Ok(Location::Directory(PathBuf::from(rest))),
                false => Err(invalid("use an absolute path: file:///DIRECTORY")),
            };
        }
        let (first, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let name = |name: &str, what: &str| match is_name(name) {
            true => Ok(name.to_owned()),
            false => Err(invalid(&format!(
                "the {what} {name:?} must have 3 to 63 letters, digits, '-', '_' or '.'"
            ))),
        };
        match scheme {
            "s3" | "gs" => {
                let bucket = name(first, "bucket")?;
                let prefix = prefix(rest).map_err(|why| invalid(&why))?;
                Ok(match scheme {
                    "s3" => Location::S3 { bucket, prefix },
                    _ => Location::Google { bucket, prefix },
                })
            }
            "az" => {
                let (container, rest) = rest.split_once('/').unwrap_or((rest, ""));
                Ok(Location::Azure {
                    account: name(first, "account")?,
                    container: name(container, "container")?,
                    prefix: prefix(rest).map_err(|why| invalid(&why))?,
                })
            }
            _ => Err(invalid("unknown scheme: use s3, gs, az or file")),
        }
    }

    /// What all keys begin with.
    pub fn prefix(&self) -> &str {
        match self {
            Location::S3 { prefix, .. }
            | Location::Google { prefix, .. }
            | Location::Azure { prefix, .. } => prefix,
            Location::Directory(_) => "",
        }
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (3..=63).contains(&name.len()) && name.chars().all(allowed)
}

/// The prefix without slashes at its ends.
fn prefix(path: &str) -> Result<String, String> {
    let path = path.trim_matches('/');
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good =
        |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(allowed);
    if path.len() > PREFIX_BYTES_MAX {
        return Err(format!("the prefix is longer than {PREFIX_BYTES_MAX} bytes"));
    }
    if !path.is_empty() && !path.split('/').all(good) {
        return Err(format!(
            "the prefix {path:?} must consist of letters, digits, '-', '_', '.' and single slashes"
        ));
    }
    Ok(path.to_owned())
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, prefix) = match self {
            Location::S3 { bucket, prefix } => (format!("s3://{bucket}"), prefix),
            Location::Google { bucket, prefix } => (format!("gs://{bucket}"), prefix),
            Location::Azure { account, container, prefix } => {
                (format!("az://{account}/{container}"), prefix)
            }
            Location::Directory(path) => return write!(f, "file://{}", path.display()),
        };
        match prefix.is_empty() {
            true => write!(f, "{base}"),
            false => write!(f, "{base}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed_and_printed() {
        for (url, printed) in [
            ("s3://styx-archive", "s3://styx-archive"),
            ("s3://styx-archive/", "s3://styx-archive"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
            ("gs://bucket/production", "gs://bucket/production"),
            ("az://account/container/x.y", "az://account/container/x.y"),
            ("az://account/container", "az://account/container"),
            ("file:///var/archive", "file:///var/archive"),
        ] {
            assert_eq!(Location::parse(url).expect(url).to_string(), printed);
        }
    }

    #[test]
    fn urls_that_no_store_accepts_are_refused_with_a_reason() {
        for (url, why) in [
            ("bucket", "use s3://"),
            ("http://bucket/x", "unknown scheme"),
            ("s3://", "the bucket \"\""),
            ("s3://b", "the bucket \"b\""),
            ("s3://bucket//x//y", "the prefix"),
            ("s3://bucket/../x", "the prefix"),
            ("s3://bucket/x?y=z", "credentials come from the environment"),
            ("s3://key:secret@bucket", "credentials come from the environment"),
            ("az://account", "the container \"\""),
            ("file://relative", "absolute path"),
        ] {
            let error = Location::parse(url).expect_err(url);
            assert_eq!(error.kind, Kind::Invalid);
            assert!(error.to_string().contains(why), "{error}");
        }
        let long = format!("s3://bucket/{}", "x".repeat(PREFIX_BYTES_MAX + 1));
        assert!(Location::parse(&long).is_err());
    }
}
