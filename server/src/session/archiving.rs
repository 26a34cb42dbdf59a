//! [`Archiving`]: the archive of the data directory, or the one that it is a replica of.
//!
//! ```text
//! open ─▶ probe ─▶ depot for the catalog ─▶ start ─▶ … ─▶ stop ─▶ the logs are closed
//! ```
//! Invariant: a store that does not answer, or refuses the credentials, delays the start by at most
//! [`PROBE_TIME_MAX`] and prevents nothing. Only a store that breaks a promise is refused.

use std::sync::Arc;
use std::time::Duration;

use styx_archive::store::{self, Checksum, Kind};
use styx_archive::{Archiver, Probe, Replica, ReplicaSettings, ReplicaStats, Settings, Stats};
use styx_engine::Catalog;
use styx_engine::archive::Depot;

use super::OpenError;
use crate::Config;
use crate::config::{Archive, UploadChecksum};

/// How long a start waits for the store.
const PROBE_TIME_MAX: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) enum Archiving {
    #[default]
    Off,
    /// The server archives its logs.
    On(Arc<Archiver>),
    /// The server only reads logs of another server, from its archive.
    Replica(Arc<Replica>),
}

impl Archiving {
    /// Opens the archive of this configuration and probes its store; blocks. A replica sends no
    /// probe.
    ///
    /// # Errors
    /// The settings cannot work, or the store does not do what it answers.
    pub(super) fn open(config: &Config) -> Result<Archiving, OpenError> {
        if let Some(settings) = replica_settings(config) {
            let replica = Replica::open(&settings).map_err(OpenError::Archive)?;
            tracing::info!(url = settings.url, "this server is a read replica");
            return Ok(Archiving::Replica(Arc::new(replica)));
        }
        let Some(settings) = settings(config) else { return Ok(Archiving::Off) };
        let url = settings.url.clone();
        let archiver = Archiver::open(settings).map_err(OpenError::Archive)?;
        match archiver.probe(PROBE_TIME_MAX) {
            Ok(Probe::Reliable) => tracing::info!(url, "the archive is on"),
            Ok(Probe::Unreachable(cause)) => warn_unreachable(&url, &cause),
            Err(error) if error.kind == Kind::Invalid => return Err(OpenError::Archive(error)),
            Err(error) => warn_unreachable(&url, &error.to_string()),
        }
        Ok(Archiving::On(Arc::new(archiver)))
    }

    /// Whether the logs are only read.
    pub(super) fn is_replica(&self) -> bool {
        matches!(self, Archiving::Replica(_))
    }

    /// How the engine reaches archived segments.
    pub(super) fn depot(&self) -> Option<Arc<dyn Depot>> {
        match self {
            Archiving::Off => None,
            Archiving::On(archiver) => Some(archiver.depot()),
            Archiving::Replica(replica) => Some(replica.depot()),
        }
    }

    /// Begins to archive, or to follow the archive.
    pub(super) fn start(&self, catalog: Catalog) {
        match self {
            Archiving::Off => {}
            Archiving::On(archiver) => archiver.start(catalog),
            Archiving::Replica(replica) => replica.start(catalog),
        }
    }

    /// Ends uploads and refreshes. Call it before the logs are closed.
    pub(super) async fn stop(&self, at_most: Duration) {
        let archiving = self.clone();
        let stopped = tokio::task::spawn_blocking(move || match archiving {
            Archiving::Off => true,
            Archiving::On(archiver) => archiver.stop(at_most),
            Archiving::Replica(replica) => replica.stop(at_most),
        });
        if !stopped.await.unwrap_or(false) {
            tracing::warn!(
                "a request to the archive did not end in time; the next start repeats it"
            );
        }
    }

    /// Its numbers; `None` without an archive.
    pub(super) fn stats(&self) -> Option<Stats> {
        match self {
            Archiving::Off => None,
            Archiving::On(archiver) => Some(archiver.stats()),
            Archiving::Replica(replica) => Some(replica.archive_stats()),
        }
    }

    /// The numbers of a replica; `None` of another server.
    pub(super) fn replica_stats(&self) -> Option<ReplicaStats> {
        match self {
            Archiving::Replica(replica) => Some(replica.stats()),
            _ => None,
        }
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

/// The settings of a read replica; `None` if the server is none.
fn replica_settings(config: &Config) -> Option<ReplicaSettings> {
    let archive = &config.archive;
    Some(ReplicaSettings {
        url: archive.replica_of.as_ref()?.to_string(),
        store: archive.store_options(),
        refresh: archive.refresh,
        read_cache_bytes: archive.read_cache_size as u64,
        read_memory_bytes: archive.read_memory as u64,
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
