//! [`Certificates`]: the certificate of the server and the rules for those of clients,
//! as the configuration names them.
//!
//! ```text
//! files ─▶ load ─▶ current: ServerConfig ─▶ each new connection
//!   └ SIGHUP, or changed and then still for one check ─▶ load ─▶ current, or an error in the log
//! ```
//!
//! Invariant: a file that cannot be used never replaces one that can. Connections that
//! are open keep what they began with.

mod error;
mod load;
mod self_signed;

use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;

use crate::config::TlsFiles;
pub use error::Error;
pub use self_signed::{SelfSigned, generate_self_signed};

/// How often the files are looked at. A change is used after the second look that finds
/// the same files, so that a certificate and its key are replaced together.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: TlsFiles,
    current: RwLock<Current>,
    /// The files that were last loaded, whether that worked or not.
    loaded: Mutex<Stamps>,
}

/// What was loaded.
#[derive(Debug, Clone)]
struct Current {
    config: Arc<ServerConfig>,
    /// The last second in which the certificate is valid, since the Unix epoch.
    expires_at: i64,
}

/// The difference between versions of the files.
type Stamps = Vec<Option<(SystemTime, u64, u64)>>;

impl Certificates {
    /// Loads the files, and logs what is unusual about them.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn load(files: &TlsFiles) -> Result<Certificates, Error> {
        let stamps = stamps(files);
        let current = RwLock::new(Current::load(files)?);
        Ok(Certificates { files: files.clone(), current, loaded: Mutex::new(stamps) })
    }

    /// The configuration for new connections.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).config.clone()
    }

    /// The last second in which the certificate is valid, since the Unix epoch.
    pub(crate) fn expires_at(&self) -> i64 {
        self.current.read().unwrap_or_else(PoisonError::into_inner).expires_at
    }

    /// Loads the files again. If they cannot be used, the log says why, and nothing
    /// changes.
    pub(crate) fn reload(&self) {
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = stamps(&self.files);
        match Current::load(&self.files) {
            Ok(current) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
                let path = self.files.certificate.display();
                tracing::info!(%path, "new connections use the certificate that was loaded now");
            }
            Err(error) => tracing::error!(
                "the certificate was not replaced, and the old one stays in use: {error}; \
                 correct the file, and it is loaded again"
            ),
        }
    }

    /// Reloads when the files change; never resolves. Cancel safe.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut seen = None;
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            let this = self.clone();
            // The files may be on a slow disk.
            let check = tokio::task::spawn_blocking(move || this.reload_if_changed(seen));
            seen = check.await.unwrap_or_default();
        }
    }

    /// Reloads if the files differ from those loaded, and are as they were at the last
    /// look.
    fn reload_if_changed(&self, seen: Option<Stamps>) -> Option<Stamps> {
        let now = stamps(&self.files);
        if now == *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) {
            return None;
        }
        if seen.as_ref() == Some(&now) {
            self.reload();
            return None;
        }
        Some(now)
    }
}

impl Current {
    fn load(files: &TlsFiles) -> Result<Current, Error> {
        let (config, expires_at) = load::server_config(files)?;
        Ok(Current { config, expires_at })
    }
}

fn stamps(files: &TlsFiles) -> Stamps {
    let paths = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
    paths
        .into_iter()
        .flatten()
        .map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
        })
        .collect()
}

/// The subject of a client's certificate, as in RFC 4514, for example `CN=ci,O=Example`.
/// `None` if it cannot be read.
pub(crate) fn subject(certificate: &[u8]) -> Option<Arc<str>> {
    load::subject(certificate).map(Arc::from)
}
