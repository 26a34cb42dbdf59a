//! [`Replica`]: keeps the logs of an archive in a read-only catalog, and gives the engine its
//! [`Depot`].
//!
//! ```text
//! lister ─ which logs there are ─┐
//! refresher ─ changed manifests ─┴▶ known ─ choose ─▶ apply ─▶ attach, extend, detach
//! depot ─ a missing object ─▶ refresh of its log
//! ```
//!
//! Everything runs on a runtime of its own. Invariant: nothing here writes to the store, and no
//! failure of the store removes a log or ends the replica.

mod apply;
mod depot;
mod known;
mod lister;
mod refresher;
mod schedule;
mod stats;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use styx_engine::Catalog;
use styx_engine::archive::Depot;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore};

use crate::fetch::{self, Fetch};
use crate::offline::AT_ONCE;
use crate::store::{Error, Kind, Options, Store};

pub use stats::ReplicaStats;

/// Settings of a read replica.
#[derive(Debug, Clone)]
pub struct ReplicaSettings {
    /// The URL of the archive: `s3://bucket/prefix`, `gs://…`, `az://…` or `file:///directory`.
    pub url: String,
    /// Settings of the store. The credentials need only allow to list and to read.
    pub store: Options,
    /// The pause between two looks at the manifest of a log that changes or is read. A quiet log is
    /// looked at up to 60 times less often. Recommended: 10 s.
    pub refresh: Duration,
    /// The size of the cache of reads on the disk in bytes, at least 32 MiB. Recommended: 1 GiB.
    pub read_cache_bytes: u64,
    /// The memory for chunks on their way, in bytes, at least 1 MiB. Recommended: 64 MiB.
    pub read_memory_bytes: u64,
    /// The directory of the cache: the data directory.
    pub cache_directory: PathBuf,
}

/// Keeps the logs of an archive in a catalog that was opened with
/// [`Options::read_only`](styx_engine::Options::read_only). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Replica(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    weak: Weak<Inner>,
    store: Store,
    fetch: Fetch,
    refresh: Duration,
    runtime: Mutex<Option<Runtime>>,
    handle: tokio::runtime::Handle,
    /// Until the stop: the catalog has the depot, and so would keep itself alive.
    catalog: Mutex<Option<Catalog>>,
    logs: known::Logs,
    /// Manifests that are looked at at the same time.
    looks: Arc<Semaphore>,
    /// Indexes that are read at the same time.
    indexes: Semaphore,
    /// Indexes that are made from their segments at the same time.
    rebuilds: Semaphore,
    /// Calls of the catalog that block.
    changes: Semaphore,
    /// A deadline has changed.
    wake: Notify,
    /// A log was removed, so there may be a new one.
    list_soon: Notify,
    totals: stats::Totals,
}

/// How long readers wait for the store.
const READ_DEADLINE: Duration = Duration::from_secs(30);

/// Threads that block, some of which are always left for readers.
const BLOCKING_THREADS: usize = 64;

/// Changes of logs at the same time.
const CHANGES_AT_ONCE: usize = 32;

impl Replica {
    /// Opens the store, the runtime and the file of the cache. Sends no request.
    ///
    /// # Errors
    /// The URL or an option cannot work; the file in the directory cannot be written.
    pub fn open(settings: &ReplicaSettings) -> Result<Replica, Error> {
        let store = Store::open(&settings.url, &settings.store)?;
        let failed = |e: io::Error| {
            let what = settings.cache_directory.display().to_string();
            Error::new(Kind::Invalid, what, e.to_string())
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("styx-replica")
            .enable_all()
            .build()
            .map_err(failed)?;
        std::fs::create_dir_all(&settings.cache_directory).map_err(failed)?;
        let handle = runtime.handle().clone();
        let reads = fetch::Settings {
            cache_bytes: settings.read_cache_bytes,
            memory_bytes: settings.read_memory_bytes,
            deadline: READ_DEADLINE,
        };
        let fetch = Fetch::new(store.clone(), handle.clone(), &settings.cache_directory, &reads)
            .map_err(failed)?;
        Ok(Replica(Arc::new_cyclic(|weak| Inner {
            weak: weak.clone(),
            store,
            fetch,
            refresh: settings.refresh,
            runtime: Mutex::new(Some(runtime)),
            handle,
            catalog: Mutex::new(None),
            logs: known::Logs::new(settings.refresh),
            looks: Arc::new(Semaphore::new(AT_ONCE)),
            indexes: Semaphore::new(AT_ONCE),
            rebuilds: Semaphore::new(1),
            changes: Semaphore::new(CHANGES_AT_ONCE),
            wake: Notify::new(),
            list_soon: Notify::new(),
            totals: stats::Totals::default(),
        })))
    }

    /// The depot with which the engine reads the logs, for the options of the catalog.
    pub fn depot(&self) -> Arc<dyn Depot> {
        Arc::new(self.clone())
    }

    /// Begins to keep the logs of a catalog up to date. Only the first call has an effect.
    pub fn start(&self, catalog: Catalog) {
        let previous = self.catalog_slot().replace(catalog.clone());
        if previous.is_some() {
            return;
        }
        let inner = self.0.clone();
        self.0.handle.spawn(async move {
            let opened = tokio::task::spawn_blocking(move || {
                catalog.wait_until_open();
                catalog.logs()
            });
            for log in opened.await.unwrap_or_default() {
                inner.begin_indexes(log.clone());
                inner.logs.set_served(log);
            }
            tokio::join!(lister::run(inner.clone()), refresher::run(inner));
        });
    }

    /// Ends all tasks. Blocks for at most `at_most`. Returns whether everything ended. Must not be
    /// called on a runtime.
    pub fn stop(&self, at_most: Duration) -> bool {
        let runtime = self.0.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        let started = Instant::now();
        let catalog = self.catalog_slot().take();
        drop(catalog);
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(at_most);
        }
        started.elapsed() < at_most
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Numbers of refreshes. Never waits.
    pub fn stats(&self) -> ReplicaStats {
        self.0.totals.stats(self.0.logs.served_count())
    }

    /// Numbers of requests and of the cache; those of uploads are 0. Never waits.
    pub fn archive_stats(&self) -> crate::Stats {
        self.0.totals.add_to(crate::archiver::of_reads(&self.0.store, &self.0.fetch))
    }

    fn catalog_slot(&self) -> std::sync::MutexGuard<'_, Option<Catalog>> {
        self.0.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The catalog, between the start and the stop.
    fn catalog(&self) -> Result<Catalog, Error> {
        let catalog = self.catalog.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stopped = || {
            let location = self.store.location().to_string();
            Error::new(Kind::Unavailable, location, "the replica was stopped")
        };
        catalog.ok_or_else(stopped)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let runtime = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            // A task of the runtime may drop the last owner, and must not wait for itself.
            runtime.shutdown_background();
        }
    }
}
