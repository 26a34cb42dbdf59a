//! From a URL and options to clients of the store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};

use super::connector::Connector;
use super::credentials::CredentialsFile;
use super::error::{Error, Kind};
use super::location::Location;
use super::options::{Checksum, Options};
use super::pace::Pace;
use super::tls;

/// Two clients of one store, which share their connections.
pub(super) struct Clients {
    /// Tries again after failures: for requests that may have their effect twice.
    pub(super) patient: Arc<dyn ObjectStore>,
    /// Sends each request once: for conditional writes. A client that tries again would report the
    /// success of its first attempt as a failed condition.
    pub(super) strict: Arc<dyn ObjectStore>,
}

pub(super) fn open(location: &Location, options: &Options) -> Result<Clients, Error> {
    if let Location::Directory(path) = location {
        return directory(path);
    }
    let pace = options.upload_bytes_per_second.map(Pace::new);
    let tls = tls::config(options.ca_file.as_deref())?;
    let connector = Connector::new(tls, options.connect_deadline, options.stall_deadline, pace);
    let client = |retry: RetryConfig| -> Result<Arc<dyn ObjectStore>, Error> {
        let built = match location {
            Location::S3 { bucket, .. } => s3(bucket, options, connector.clone(), retry)?,
            Location::Google { bucket, .. } => google(bucket, options, connector.clone(), retry),
            Location::Azure { account, container, .. } => {
                azure(account, container, options, connector.clone(), retry)
            }
            Location::Directory(_) => return Err(invalid(location, "not a remote store")),
        };
        built.map_err(|e| Error::of(location.to_string(), &e))
    };
    Ok(Clients { patient: client(a_few_attempts())?, strict: client(one_attempt())? })
}

type Built = object_store::Result<Arc<dyn ObjectStore>>;

fn s3(
    bucket: &str,
    options: &Options,
    connector: Connector,
    retry: RetryConfig,
) -> Result<Built, Error> {
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_http_connector(connector)
        .with_retry(retry)
        // One object at a time: not every service with this protocol can remove many.
        .with_disable_bulk_delete(true)
        .with_allow_http(true);
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    // TLS protects the bytes of a body, so the signature need not. Over plain HTTP it must.
    let encrypted = options.endpoint.as_ref().is_none_or(|url| !url.starts_with("http://"));
    let environment = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    let encrypted = encrypted && environment.is_none_or(|url| !url.starts_with("http://"));
    builder = builder.with_unsigned_payload(encrypted);
    builder = match options.checksum {
        Checksum::Crc64 => builder.with_checksum_algorithm(object_store::aws::Checksum::CRC64NVME),
        Checksum::Sha256 => builder.with_checksum_algorithm(object_store::aws::Checksum::SHA256),
        Checksum::None => builder,
    };
    if let Some((path, profile)) = credentials_file(options) {
        builder = builder.with_credentials(Arc::new(CredentialsFile::new(path, profile)));
    }
    Ok(builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>))
}

/// The file with credentials and its profile: the given one, or that of the environment if the
/// environment has no key.
fn credentials_file(options: &Options) -> Option<(std::path::PathBuf, String)> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let profile = options.profile.clone().or_else(|| variable("AWS_PROFILE"));
    let profile = profile.unwrap_or_else(|| "default".to_owned());
    if let Some(path) = &options.credentials_file {
        return Some((path.clone(), profile));
    }
    let path = variable("AWS_SHARED_CREDENTIALS_FILE")?;
    variable("AWS_ACCESS_KEY_ID").is_none().then(|| (path.into(), profile))
}

fn google(bucket: &str, options: &Options, connector: Connector, retry: RetryConfig) -> Built {
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_http_connector(connector)
        .with_retry(retry);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    if let Some(path) = &options.credentials_file {
        builder = builder.with_application_credentials(path.display().to_string());
    }
    builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
}

fn azure(
    account: &str,
    container: &str,
    options: &Options,
    connector: Connector,
    retry: RetryConfig,
) -> Built {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_account(account)
        .with_container_name(container)
        .with_http_connector(connector)
        .with_retry(retry);
    if let Some(endpoint) = &options.endpoint {
        let endpoint = endpoint.trim_end_matches('/');
        builder = builder.with_endpoint(endpoint.to_owned()).with_allow_http(true);
    }
    builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
}

fn directory(path: &Path) -> Result<Clients, Error> {
    let location = Location::Directory(path.to_owned());
    // A directory that is made here could be on the wrong file system, when a mount is missing.
    if !path.is_dir() {
        return Err(invalid(&location, "there is no such directory: create it"));
    }
    let store = LocalFileSystem::new_with_prefix(path)
        .map_err(|e| Error::of(location.to_string(), &e))?
        .with_fsync(true);
    let store: Arc<dyn ObjectStore> = Arc::new(store);
    Ok(Clients { patient: store.clone(), strict: store })
}

fn invalid(location: &Location, why: &str) -> Error {
    Error::new(Kind::Invalid, location.to_string(), why)
}

fn one_attempt() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

fn a_few_attempts() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: Duration::from_secs(20),
    }
}
