//! [`Archiving`]: the archive of the data directory, if there is one.
//!
//! ```text
//! open ─▶ probe ─▶ depot for the catalog ─▶ start ─▶ … ─▶ stop ─▶ the logs are closed
//! ```
//! Invariant: a store that does not answer, or refuses the credentials, delays the start by at most
//! [`PROBE_TIME_MAX`] and prevents nothing. Only a store that breaks a promise is refused.

use std::sync::Arc;
use std::time::Duration;

use styx_archive::store::{self, Checksum, Kind};
use styx_archive::{Archiver, Probe, Settings, Stats};
use styx_engine::Catalog;
use styx_engine::archive::Depot;

use super::OpenError;
use crate::Config;
use crate::config::{Archive, UploadChecksum};

/// How long a start waits for the store.
const PROBE_TIME_MAX: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Archiving(Option<Arc<Archiver>>);

impl Archiving {
    /// Opens the archive of this configuration and probes its store; blocks.
    ///
    /// # Errors
    /// The settings cannot work, or the store does not do what it answers.
    pub(super) fn open(config: &Config) -> Result<Archiving, OpenError> {
        let Some(settings) = settings(config) else { return Ok(Archiving::default()) };
        let url = settings.url.clone();
        let archiver = Archiver::open(settings).map_err(OpenError::Archive)?;
        match archiver.probe(PROBE_TIME_MAX) {
            Ok(Probe::Reliable) => tracing::info!(url, "the archive is on"),
            Ok(Probe::Unreachable(cause)) => warn_unreachable(&url, &cause),
            Err(error) if error.kind == Kind::Invalid => return Err(OpenError::Archive(error)),
            Err(error) => warn_unreachable(&url, &error.to_string()),
        }
        Ok(Archiving(Some(Arc::new(archiver))))
    }

    /// How the engine reaches archived segments.
    pub(super) fn depot(&self) -> Option<Arc<dyn Depot>> {
        self.0.as_ref().map(|archiver| archiver.depot())
    }

    /// Begins to archive.
    pub(super) fn start(&self, catalog: Catalog) {
        if let Some(archiver) = &self.0 {
            archiver.start(catalog);
        }
    }

    /// Ends uploads. Call it before the logs are closed.
    pub(super) async fn stop(&self, at_most: Duration) {
        let Some(archiver) = self.0.clone() else { return };
        let stopped = tokio::task::spawn_blocking(move || archiver.stop(at_most)).await;
        if !stopped.unwrap_or(false) {
            tracing::warn!(
                "an upload to the archive did not end in time; the next start repeats it"
            );
        }
    }

    /// Its numbers; `None` without an archive.
    pub(super) fn stats(&self) -> Option<Stats> {
        self.0.as_ref().map(|archiver| archiver.stats())
    }
}

fn warn_unreachable(url: &str, cause: &str) {
    tracing::warn!(
        url,
        cause,
        "the archive's object store cannot be used now: the server runs and tries again, but records \
         that are only in the archive cannot be read"
    );
}

/// The settings of the archive; `None` if it is off.
fn settings(config: &Config) -> Option<Settings> {
    let archive = &config.archive;
    let some = |size: usize| (size > 0).then_some(size as u64);
    let time = |time: Duration| (!time.is_zero()).then_some(time);
    Some(Settings {
        url: archive.url.as_ref()?.to_string(),
        store: archive.store_options(),
        max_lag: archive.max_lag,
        local_bytes_max: some(archive.local_max_size),
        local_age_max: time(archive.local_max_age),
        uploads: archive.uploads,
        read_cache_bytes: archive.read_cache_size as u64,
        read_memory_bytes: archive.read_memory as u64,
        collect_grace: archive.collect.then_some(archive.delete_grace),
        cache_directory: config.log_manager.data_directory.clone(),
    })
}

impl Archive {
    /// The settings of a client of the store.
    #[must_use]
    pub fn store_options(&self) -> store::Options {
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        store::Options {
            endpoint: text(&self.endpoint),
            region: text(&self.region),
            credentials_file: self.credentials_file.clone(),
            ca_file: self.ca_file.clone(),
            checksum: match self.checksum {
                UploadChecksum::Crc64 => Checksum::Crc64,
                UploadChecksum::Sha256 => Checksum::Sha256,
                UploadChecksum::None => Checksum::None,
            },
            upload_bytes_per_second: (self.upload_bytes_per_second > 0)
                .then_some(self.upload_bytes_per_second as u64),
            ..store::Options::default()
        }
    }
}
