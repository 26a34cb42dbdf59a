//! [`Archiver`]: archives the logs of a catalog, and gives the engine its [`Depot`].
//!
//! ```text
//! depot ─ notice, removed, disk_is_short ─▶ log_work: one task for each log with work
//! tick  ─ ends old segments, evicts ────────┘   └▶ segment_upload ─▶ manifest ─▶ record_archived
//! ```
//!
//! Everything runs on a runtime of its own. Invariant: no failure of the store ends the archiver or
//! disturbs the log. It waits longer and longer between attempts, and tells the reason.

mod checks;
mod collection;
mod depot;
mod index;
mod log_work;
mod manifest_writer;
pub(crate) mod owner;
mod removals;
mod scrub;
mod segment_upload;
mod state;
mod stats;
mod tick;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use styx_engine::Catalog;
use styx_engine::archive::{Depot, LocalLimits};
use styx_protocol::LogName;
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, Semaphore};

use crate::collect::Collected;
use crate::fetch::{self, Fetch};
use crate::manifest::Owner;
use crate::probe::probe;
use crate::random;
use crate::store::{Error, Kind, Options, Store};

pub(crate) use manifest_writer::{ManifestWriter, Stop, decode, mark_deleted, read_page, register};
pub(crate) use removals::Removal;
pub use scrub::Scrubbed;
pub use state::LogStatus;
pub use stats::Stats;
pub(crate) use stats::of_reads;

/// Settings of an archive.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The URL: `s3://bucket/prefix`, `gs://…`, `az://…` or `file:///directory`.
    pub url: String,
    /// Settings of the store.
    pub store: Options,
    /// A segment with a record older than this is ended, so that it can be archived. At least 1 s.
    /// Recommended: 600 s.
    pub max_lag: Duration,
    /// The bytes of a log that stay on the disk, if the rest is archived. `None` for no limit.
    pub local_bytes_max: Option<u64>,
    /// How long archived segments stay on the disk. `None` for no limit.
    pub local_age_max: Option<Duration>,
    /// Segments that are uploaded at the same time, from 1 to 32. Recommended: 2.
    pub uploads: usize,
    /// The size of the cache of reads on the disk in bytes, at least 32 MiB. Recommended: 1 GiB.
    pub read_cache_bytes: u64,
    /// The memory for chunks on their way, in bytes, at least 1 MiB. Recommended: 64 MiB.
    pub read_memory_bytes: u64,
    /// The time of grace of the weekly collection, which removes superfluous objects of this server's
    /// logs from the store. `None` for no collection. Recommended: 7 days.
    pub collect_grace: Option<Duration>,
    /// The directory of the cache and of the file with the owner's number: the data directory.
    pub cache_directory: PathBuf,
}

impl Settings {
    /// The uploads that run at the same time, in all logs together.
    fn uploads_at_once(&self) -> usize {
        self.uploads.clamp(1, UPLOADS_MAX)
    }
}

/// The result of a probe of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Conditional writes are reliable.
    Reliable,
    /// The store could not be asked, for this reason. It is probed again before the first upload.
    Unreachable(String),
}

/// Archives the logs of a catalog. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Archiver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    settings: Settings,
    owner: Owner,
    /// A random number of this process, with which it claims the epochs of logs.
    claim: u128,
    fetch: Fetch,
    runtime: Mutex<Option<Runtime>>,
    handle: tokio::runtime::Handle,
    /// Until the stop: the catalog has the depot, and so would keep itself alive.
    catalog: Mutex<Option<Catalog>>,
    probed: OnceCell<()>,
    uploads: Semaphore,
    checks: Arc<checks::Checks>,
    /// Manifests that are read or written at the same time.
    manifests: Semaphore,
    /// Calls of logs that block.
    changes: Semaphore,
    /// Indexes that are rebuilt, one at a time.
    rebuilds: Semaphore,
    logs: state::Logs,
    removals: removals::Removals,
    totals: stats::Totals,
}

/// How long readers wait for the store.
const READ_DEADLINE: Duration = Duration::from_secs(30);

/// Threads that block. There are more than checks, uploads and changes of logs take, so that some
/// are always left for readers, on whose chunks the recovery of a log may wait.
const BLOCKING_THREADS: usize = 96;

/// The most uploads at the same time.
const UPLOADS_MAX: usize = 32;

/// Changes of logs at the same time. Thousands of logs give notice at the start.
const CHANGES_AT_ONCE: usize = 8;

/// Manifests that are read or written at the same time.
const MANIFESTS_AT_ONCE: usize = 16;

impl Archiver {
    /// Opens an archive: its store, its runtime and the file of its cache. Sends no request.
    ///
    /// # Errors
    /// The URL or an option cannot work; a file in the directory cannot be written.
    pub fn open(settings: Settings) -> Result<Archiver, Error> {
        let store = Store::open(&settings.url, &settings.store)?;
        let failed = |e: io::Error| {
            let what = settings.cache_directory.display().to_string();
            Error::new(Kind::Invalid, what, e.to_string())
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("styx-archive")
            .enable_all()
            .build()
            .map_err(failed)?;
        std::fs::create_dir_all(&settings.cache_directory).map_err(failed)?;
        let owner = owner::read_or_create(&settings.cache_directory).map_err(failed)?;
        let claim = random::number()?;
        let removals =
            removals::Removals::open(&settings.cache_directory, claim).map_err(failed)?;
        let handle = runtime.handle().clone();
        let reads = fetch::Settings {
            cache_bytes: settings.read_cache_bytes,
            memory_bytes: settings.read_memory_bytes,
            deadline: READ_DEADLINE,
        };
        let fetch = Fetch::new(store.clone(), handle.clone(), &settings.cache_directory, &reads)
            .map_err(failed)?;
        let inner = Arc::new(Inner {
            store,
            owner,
            claim,
            fetch,
            runtime: Mutex::new(Some(runtime)),
            handle,
            catalog: Mutex::new(None),
            probed: OnceCell::new(),
            checks: Arc::new(checks::Checks::new(
                settings.store.upload_bytes_per_second,
                settings.uploads_at_once(),
            )),
            uploads: Semaphore::new(settings.uploads_at_once()),
            manifests: Semaphore::new(MANIFESTS_AT_ONCE),
            changes: Semaphore::new(CHANGES_AT_ONCE),
            rebuilds: Semaphore::new(1),
            logs: state::Logs::default(),
            removals,
            totals: stats::Totals::default(),
            settings,
        });
        let weak = Arc::downgrade(&inner);
        inner.fetch.on_full_disk(move || {
            if let Some(inner) = weak.upgrade() {
                inner.make_space();
            }
        });
        Ok(Archiver(inner))
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The depot with which the engine reads archived segments, for the options of the catalog.
    pub fn depot(&self) -> Arc<dyn Depot> {
        Arc::new(self.clone())
    }

    /// Probes the store. Blocks for at most `at_most`.
    ///
    /// # Errors
    /// The store cannot hold an archive: see [`probe`].
    pub fn probe(&self, at_most: Duration) -> Result<Probe, Error> {
        let (tell, told) = std::sync::mpsc::channel();
        let inner = self.0.clone();
        self.0.handle.spawn(async move {
            let probed = inner.probed.get_or_try_init(|| probe(&inner.store)).await;
            // The caller may not wait any more.
            let _ = tell.send(probed.map(|()| Probe::Reliable));
        });
        match told.recv_timeout(at_most) {
            Ok(Err(error)) if error.kind == Kind::Invalid => Err(error),
            Ok(Err(error)) => Ok(Probe::Unreachable(error.to_string())),
            Ok(Ok(reliable)) => Ok(reliable),
            Err(_) => {
                let location = self.0.store.location();
                Ok(Probe::Unreachable(format!("{location}: no answer for {at_most:?}")))
            }
        }
    }

    /// Begins to archive the logs of a catalog. Logs that were opened before have given notice
    /// already. Only the first call has an effect.
    pub fn start(&self, catalog: Catalog) {
        let previous =
            self.0.catalog.lock().unwrap_or_else(PoisonError::into_inner).replace(catalog);
        if previous.is_none() {
            self.0.handle.spawn(tick::run(self.0.clone()));
        }
    }

    /// Looks whether the store has the objects of all archived segments, and uploads those again whose
    /// files are on the disk. A running archive does this once a week. Blocks.
    ///
    /// # Errors
    /// The store failed.
    pub fn scrub(&self) -> Result<Scrubbed, Error> {
        self.0.handle.block_on(scrub::run(&self.0))
    }

    /// Removes the superfluous objects of the logs that this server archives, if the settings have a
    /// time of grace. A running archive does this once a week. Blocks.
    ///
    /// # Errors
    /// The store failed.
    pub fn collect(&self) -> Result<Collected, Error> {
        self.0.handle.block_on(collection::run(&self.0))
    }

    /// Ends all tasks. Uploads are abandoned: the next start uploads their segments again. Blocks
    /// for at most `at_most`. Returns whether everything ended. Must not be called on a runtime.
    pub fn stop(&self, at_most: Duration) -> bool {
        let runtime = self.0.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        let started = Instant::now();
        self.0.checks.end();
        let catalog = self.0.catalog.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(catalog);
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(at_most);
        }
        started.elapsed() < at_most
    }

    /// Numbers for metrics. Never waits.
    pub fn stats(&self) -> Stats {
        stats::collect(&self.0)
    }

    /// Whether a log is archived. Never waits.
    pub fn log_status(&self, log: &LogName) -> LogStatus {
        self.0.logs.status(log)
    }
}

impl Inner {
    /// The catalog, between the start and the stop.
    fn catalog(&self) -> Option<Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How much of each log stays on the disk.
    fn local_limits(&self) -> LocalLimits {
        LocalLimits {
            bytes_max: self.settings.local_bytes_max,
            age_max: self.settings.local_age_max,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.checks.end();
        let runtime = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            // A task of the runtime may drop the last owner, and must not wait for itself.
            runtime.shutdown_background();
        }
    }
}
