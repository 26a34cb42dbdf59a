//! Everything the front ends may do with logs, and the only module that uses the
//! engine.
//!
//! ```text
//! http      ─┐                       ┌ manage, archive, cursors   on blocking threads
//! websocket ─┼→ Sessions → OpenLog → ┼ append, pipeline  blocks of records, in bounded memory
//! stream    ─┘                       ├ producers         one connection for each producer
//!                                    └ read, blocks      memory first, then a blocking thread
//! ```
//!
//! `budget` bounds the memory of requests and responses. Invariant: nothing here
//! makes an async worker wait for the disk.

mod append;
mod archive;
#[cfg(feature = "archive")]
mod archiving;
#[cfg(not(feature = "archive"))]
#[path = "no_archiving.rs"]
mod archiving;
mod blocks;
mod budget;
mod cursors;
mod error;
mod identity;
mod manage;
mod pause;
mod payload;
mod pipeline;
mod producers;
mod read;
mod reading;
mod status;
mod storage;
mod store;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::limits::Meter;
use styx_engine::clock::ClockStats;
use styx_engine::{Catalog, DiskReserveStats, Log, Options, ScrubStats};
use styx_protocol::{Checkpoint, Code, LogConfig, LogId, LogInfo, LogName, Position};
use tokio::sync::Semaphore;

use archiving::Archiving;

pub(crate) use append::{AppendStream, Condition, Written};
pub(crate) use blocks::{BlockQuery, BlockReader, StoredBlocks};
pub(crate) use budget::{
    ChunkReservation, ProducerMemory, RequestBudget, Reservation, ResponseBudget, ResponseChunks,
    Sending, SlowSender, UNLIMITED_WAIT_BYTES_MAX,
};
pub(crate) use error::{Error, ErrorField};
pub(crate) use identity::KnownLog;
pub(crate) use payload::{PAYLOAD_PIECE_BYTES, PayloadBuilder};
pub(crate) use pipeline::{AppendProgress, Pipeline};
pub(crate) use producers::{Claim, Producers, taken_over};
pub(crate) use read::RecordReader;
pub(crate) use reading::{FollowedBy, Followers};
pub(crate) use status::{LogRow, LogState};
pub(crate) use storage::{StorageHealth, space_of};
#[cfg(feature = "archive")]
pub(crate) use styx_archive::{ReplicaStats, Stats as ArchiveStats};
pub(crate) use styx_engine::storage::DiskSpace;
pub(crate) use styx_engine::{
    Append, Batch, CursorCondition, HistogramSnapshot, LogStats, Measurements, Payload, Producer,
    Span,
};

/// Backups and restores at a time; each holds a blocking thread throughout.
const ARCHIVES_MAX: usize = 8;

/// The open data directory.
#[derive(Debug)]
pub(crate) struct Sessions {
    catalog: Catalog,
    archiving: Archiving,
    request_budget: RequestBudget,
    response_budget: ResponseBudget,
    archives: Arc<Semaphore>,
    cursor_changes: cursors::CursorChanges,
    producers: Producers,
    followers: Followers,
    storage: StorageHealth,
    /// The largest `max_record_size` of a new log.
    record_bytes_max: usize,
}

/// A log that was opened by name for one request.
#[derive(Debug, Clone)]
pub(crate) struct OpenLog {
    log: styx_engine::Log,
    followers: Followers,
    /// The limits of the principal that opened it.
    meter: Meter,
}

/// Why the data directory or its archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDirectory(#[from] styx_engine::Error),
    /// The archive cannot be used.
    #[cfg(feature = "archive")]
    #[error("the archive cannot be used: {0}")]
    Archive(styx_archive::store::Error),
    /// There is an archive in the configuration, but not in the binary.
    #[error(
        "archive.url or archive.replica_of is set, but this binary was built without the feature \
         `archive`: build it with the feature, or remove the key"
    )]
    NoArchive,
}

impl Sessions {
    /// Opens the data directory; its logs are opened in the background. The engine keeps
    /// at most `open_files` of their files open.
    pub(crate) async fn open(
        config: &crate::config::Config,
        open_files: usize,
    ) -> Result<Sessions, OpenError> {
        let logs = &config.log_manager;
        let with_archive = config.clone();
        let archiving = on_a_thread(move || Archiving::open(&with_archive)).await?;
        let options = Options {
            depot: archiving.depot(),
            read_only: archiving.is_replica(),
            pad_commits: logs.pad_commits,
            direct_bytes_min: logs.direct_write_size,
            // Twice the size from which direct writes are used, at most the default.
            overlap_bytes_min: logs.direct_write_size.saturating_mul(2).min(1 << 20),
            scrub_bytes_per_second: logs.scrub_bytes_per_second as u64,
            open_files,
            free_bytes_min: config.min_free_disk as u64,
            direct_tail_bytes_max: match config.max_cache_bytes {
                0 => crate::memory::default_cache_bytes(),
                bytes => bytes,
            },
            ..Options::new(&logs.data_directory)
        };
        let open = move || {
            let directory = options.data_directory.clone();
            let catalog = Catalog::open(options)?;
            // Only now is it known that the directory exists and is locked by us.
            Ok::<_, OpenError>((catalog, StorageHealth::probe(&directory)))
        };
        let (catalog, storage) = on_a_thread(open).await?;
        archiving.start(catalog.clone());
        Ok(Sessions {
            catalog,
            archiving,
            storage,
            request_budget: RequestBudget::new(config.max_in_flight_bytes),
            response_budget: ResponseBudget::new(config.max_answer_bytes),
            archives: Arc::new(Semaphore::new(ARCHIVES_MAX)),
            cursor_changes: cursors::CursorChanges::default(),
            producers: Producers::default(),
            followers: Followers::default(),
            record_bytes_max: config.max_log_record_size,
        })
    }

    /// Whether opening has finished for every log, successfully or not.
    pub(crate) fn is_open(&self) -> bool {
        self.catalog.is_open()
    }

    /// What the probe of the storage found at the start.
    pub(crate) fn storage(&self) -> &StorageHealth {
        &self.storage
    }

    /// The memory that requests may take.
    pub(crate) fn request_budget(&self) -> &RequestBudget {
        &self.request_budget
    }

    /// The producers that have connections.
    pub(crate) fn producers(&self) -> &Producers {
        &self.producers
    }

    /// The memory that responses may take.
    pub(crate) fn response_budget(&self) -> &ResponseBudget {
        &self.response_budget
    }

    /// Opens a log by name.
    pub(crate) fn log(&self, name: &str) -> Result<OpenLog, Error> {
        let log = self.catalog.log(&existing(name)?)?;
        Ok(OpenLog { log, followers: self.followers.clone(), meter: Meter::default() })
    }

    /// Counters of the scrub.
    pub(crate) fn scrub_stats(&self) -> ScrubStats {
        self.catalog.scrub_stats()
    }

    /// The state of the system clock.
    pub(crate) fn clock_stats(&self) -> ClockStats {
        self.catalog.clock_stats()
    }

    /// What the disk reserve (`min_free_disk`) has done.
    pub(crate) fn disk_reserve_stats(&self) -> DiskReserveStats {
        self.catalog.disk_reserve_stats()
    }

    /// The durations and sizes of appends, commits and reads of all logs.
    pub(crate) fn measurements(&self) -> Arc<Measurements> {
        self.catalog.measurements()
    }

    /// Resolves when a thread that commits has taken a job that is submitted now.
    pub(crate) fn committer_is_free(&self) -> impl Future<Output = ()> + use<> {
        self.catalog.committer_is_free()
    }

    /// Counters of every open log.
    pub(crate) fn stats(&self) -> Vec<(String, LogStats)> {
        self.catalog.logs().iter().map(|log| (log.name().to_string(), log.stats())).collect()
    }

    /// The API's description of every log, sorted by name.
    pub(crate) fn list(&self) -> Vec<LogInfo> {
        self.catalog.list()
    }

    /// Positions up to which the open logs are archived, by name; empty without an archive.
    pub(crate) fn archived_positions(&self) -> HashMap<String, u64> {
        let archived = |log: &Log| Some((log.name().to_string(), log.archived_position()?.0));
        self.catalog.logs().iter().filter_map(archived).collect()
    }

    /// The numbers of the archive; `None` without one.
    #[cfg(feature = "archive")]
    pub(crate) fn archive_stats(&self) -> Option<ArchiveStats> {
        self.archiving.stats()
    }

    /// The numbers of a read replica; `None` if the server is none.
    #[cfg(feature = "archive")]
    pub(crate) fn replica_stats(&self) -> Option<ReplicaStats> {
        self.archiving.replica_stats()
    }

    /// Ends uploads to the archive, commits queued appends and closes every log; returns whether
    /// it finished within `deadline`.
    pub(crate) async fn close(&self, deadline: Duration) -> bool {
        let begun = Instant::now();
        self.archiving.stop(deadline / 2).await;
        let deadline = deadline.saturating_sub(begun.elapsed());
        let catalog = self.catalog.clone();
        tokio::task::spawn_blocking(move || catalog.close(deadline)).await.unwrap_or(false)
    }
}

impl OpenLog {
    /// The log's identity.
    pub(crate) fn id(&self) -> LogId {
        self.log.id()
    }

    /// The same log, for a request with these limits.
    pub(crate) fn with_meter(self, meter: Meter) -> OpenLog {
        OpenLog { meter, ..self }
    }

    /// The limits of the principal that opened it.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Compares the log with what a request knows about it. If it knows a log from which this one
    /// was restored, returns that log and the fork.
    pub(crate) fn check(&self, known: &KnownLog) -> Result<Option<Checkpoint>, Error> {
        known.check(self.log.id(), self.log.lineage(), self.log.end_position())
    }

    /// Checks whether any append would be refused now.
    pub(crate) fn check_appendable(&self) -> Result<(), Error> {
        Ok(self.log.check_appendable()?)
    }

    /// Refuses every change if this server only reads the logs of another one.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        Ok(self.log.check_writable()?)
    }

    /// Resolves with the reason when the log is deleted, truncated or closed.
    /// Cancel safe; commits do not wake it.
    pub(crate) fn gone(&self) -> impl Future<Output = Error> + Send + 'static + use<> {
        let gone = self.log.closed();
        async move { gone.await.into() }
    }

    /// The log's configuration.
    pub(crate) fn config(&self) -> LogConfig {
        self.log.config()
    }

    /// Position of the first kept record.
    pub(crate) fn start_position(&self) -> Position {
        self.log.start_position()
    }

    /// Position after the last durable record.
    pub(crate) fn end_position(&self) -> Position {
        self.log.end_position()
    }

    /// Position up to which the log is archived; `None` without an archive.
    pub(crate) fn archived_position(&self) -> Option<Position> {
        self.log.archived_position()
    }
}

/// Parses the name of a log that should exist. No log has an invalid name, so that
/// is "not found".
fn existing(name: &str) -> Result<LogName, Error> {
    name.parse().map_err(|invalid: styx_protocol::log::InvalidName| {
        Error::new(Code::LogNotFound, format!("there is no such log: {invalid}"))
    })
}

/// Runs work that waits for the disk on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, styx_engine::Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(panic) => Err(Error::new(
            Code::UnknownError,
            format!("the request failed because of a bug: {panic}"),
        )),
    }
}

/// Runs a part of the start that blocks.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
