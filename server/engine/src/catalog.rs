//! The data directory and the logs in it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use styx_protocol::{LogConfig, LogId, LogInfo, LogName, LogStatus, Position};

use crate::clock::{Clock, RealClock, SteadyTime};
use crate::commit::end::Failure;
use crate::commit::keeper::Keeper;
use crate::commit::pool::Pool;
use crate::commit::queue::Queue;
use crate::commit::roll::{Birth, Ground};
use crate::log::{Inner, Services};
use crate::manifest::Manifest;
use crate::recovery::{self, Recovered, read_manifest};
use crate::segment::name;
use crate::storage::{Lock, RealStorage, Storage, replace_file};
use crate::tail::{Budget, Tail};
use crate::wait::lock;
use crate::watermark::{Mark, Watermark};
use crate::{Error, Log, opening, random, restore};

/// How a catalog is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the logs are; created if it is not there.
    pub data_directory: PathBuf,
    /// Start every commit on a 4 KiB boundary, for media on which an
    /// interrupted sector write may leave neither old nor new bytes.
    pub pad_commits: bool,
    /// Bytes that may wait in one log's queue.
    pub queue_bytes_max: usize,
    /// Bytes of recent commits kept in memory for followers, per log.
    pub tail_bytes_max: usize,
    /// The same for all logs together.
    pub tail_bytes_total_max: usize,
    /// Threads that commit; started when needed. With 0 there is no thread at
    /// all and [`Catalog::step`] does their work, for deterministic tests.
    pub committers_max: usize,
    /// The file system.
    pub storage: Arc<dyn Storage>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// The defaults, for this directory.
    #[must_use]
    pub fn new(data_directory: impl Into<PathBuf>) -> Options {
        Options {
            data_directory: data_directory.into(),
            pad_commits: false,
            queue_bytes_max: 16 << 20,
            tail_bytes_max: 4 << 20,
            tail_bytes_total_max: 32 << 20,
            committers_max: 32,
            storage: Arc::new(RealStorage),
            clock: Arc::new(RealClock),
        }
    }
}

/// An open data directory. A cheap handle; the last one dropped closes it.
#[derive(Debug, Clone)]
pub struct Catalog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Options,
    services: Services,
    budget: Arc<Budget>,
    slots: RwLock<BTreeMap<LogName, Slot>>,
    /// Logs that are still being opened, and who waits for that.
    opening: Mutex<usize>,
    opened: Condvar,
    closing: AtomicBool,
    _lock: Box<dyn Lock>,
}

#[derive(Debug, Clone)]
enum Slot {
    /// Recovery is at it.
    Opening,
    Open(Log),
    /// Could not be opened, and why.
    Unknown(String),
    /// Being created, deleted or replaced by somebody.
    Busy,
}

/// Logs that are opened at the same time.
const OPENERS: usize = 4;

impl Catalog {
    /// Locks the directory, lists its logs and starts opening them in the
    /// background; until a log is open it is `scanning`.
    ///
    /// # Errors
    /// The directory is locked by another process, is one of Styx 0.x, or
    /// cannot be used.
    pub fn open(options: Options) -> Result<Catalog, Error> {
        let storage = Arc::clone(&options.storage);
        let directory = options.data_directory.clone();
        storage.create_dir_all(&directory).map_err(Error::io("cannot create", &directory))?;
        let names = opening::list_logs(&*storage, &directory)?;
        let lock = opening::lock_directory(&*storage, &directory)?;
        opening::remove_leftovers(&*storage, &directory)?;
        let keeper = Keeper::new();
        let threaded = options.committers_max > 0;
        if threaded {
            keeper
                .start(Arc::clone(&options.clock))
                .map_err(Error::io("cannot start a thread for", &directory))?;
        }
        let shared = Arc::new(Shared {
            services: Services {
                pool: Arc::new(Pool::new(options.committers_max)),
                keeper: Arc::new(keeper),
                time: SteadyTime::new(Arc::clone(&options.clock)),
                pad_commits: options.pad_commits,
            },
            budget: Arc::new(Budget::new(options.tail_bytes_total_max)),
            slots: RwLock::new(names.iter().map(|name| (name.clone(), Slot::Opening)).collect()),
            opening: Mutex::new(names.len()),
            opened: Condvar::new(),
            closing: AtomicBool::new(false),
            _lock: lock,
            options,
        });
        let names = Arc::new(Mutex::new(names.into_iter()));
        let work = move |shared: &Shared| {
            while let Some(name) = { lock_names(&names).next() } {
                shared.open_one(&name);
            }
        };
        if threaded {
            let waiting = lock_count(&shared.opening);
            for _ in 0..OPENERS.min(waiting) {
                let (shared, work) = (Arc::clone(&shared), work.clone());
                std::thread::Builder::new()
                    .name("styx-open".into())
                    .spawn(move || work(&shared))
                    .map_err(Error::io("cannot start a thread for", &directory))?;
            }
        } else {
            work(&shared);
        }
        Ok(Catalog(shared))
    }

    /// Blocks until no log is `scanning` any more.
    pub fn wait_until_open(&self) {
        let mut opening = lock(&self.0.opening);
        while *opening > 0 {
            opening = self.0.opened.wait(opening).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether every log has been opened (well or not).
    #[must_use]
    pub fn is_open(&self) -> bool {
        lock_count(&self.0.opening) == 0
    }

    /// Creates a log, durably; blocks.
    ///
    /// # Errors
    /// It exists; the configuration is invalid; I/O.
    pub fn create(&self, name: &LogName, config: LogConfig) -> Result<Log, Error> {
        config.validate()?;
        let reserved = self.0.reserve(name)?;
        let directory = self.0.directory(name);
        let created = self
            .0
            .new_id()
            .and_then(|id| self.0.build(&directory, Manifest { id, generation: 0, config }))
            .and_then(|()| self.0.recover(name));
        if created.is_err() {
            // It has no record yet; what stays is removed at the next open.
            let _ = self.0.options.storage.remove_dir_all(&directory);
        }
        reserved.fill(created)
    }

    /// An open log, whatever its status but `scanning` and `unknown`.
    ///
    /// # Errors
    /// There is none of that name, or it is not available.
    pub fn log(&self, name: &LogName) -> Result<Log, Error> {
        match self.0.slots.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            Some(Slot::Open(log)) => Ok(log.clone()),
            Some(Slot::Opening) => Err(scanning(name)),
            Some(Slot::Unknown(cause)) => Err(Error::NotAvailable {
                name: name.to_string(),
                status: LogStatus::Unknown,
                cause: cause.clone(),
            }),
            Some(Slot::Busy) | None => Err(not_found(name)),
        }
    }

    /// What the API says about a log, whatever its status; zeros where unknown.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn info(&self, name: &LogName) -> Result<LogInfo, Error> {
        let slots = self.0.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(name).and_then(|slot| slot.info(name)).ok_or_else(|| not_found(name))
    }

    /// All logs, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<LogInfo> {
        let slots = self.0.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.iter().filter_map(|(name, slot)| slot.info(name)).collect()
    }

    /// All logs that are open, for metrics.
    #[must_use]
    pub fn logs(&self) -> Vec<Log> {
        let slots = self.0.slots.read().unwrap_or_else(PoisonError::into_inner);
        let open = slots.values().filter_map(|slot| match slot {
            Slot::Open(log) => Some(log.clone()),
            _ => None,
        });
        open.collect()
    }

    /// Removes a log whatever its status and ends its readers and writers;
    /// blocks.
    ///
    /// # Errors
    /// There is none of that name, it is being opened, I/O.
    pub fn delete(&self, name: &LogName) -> Result<(), Error> {
        let (old, taken) = self.0.take(name)?;
        let storage = &self.0.options.storage;
        let directory = self.0.directory(name);
        let aside = self.0.beside(opening::DELETED)?;
        let renamed =
            storage.rename(&directory, &aside).map_err(Error::io("cannot remove", &directory));
        if let Err(error) = renamed {
            taken.put_back(old);
            return Err(error);
        }
        if let Slot::Open(log) = old {
            log.0.end_with(&gone(name));
        }
        let data = &self.0.options.data_directory;
        let synced = storage.sync_dir(data).map_err(Error::io("cannot sync", data));
        taken.clear();
        synced?;
        storage.remove_dir_all(&aside).map_err(Error::io("cannot remove", aside))
    }

    /// Removes all records of a log and gives it a new identity; ends its
    /// readers and writers; blocks.
    ///
    /// # Errors
    /// As [`Catalog::delete`].
    pub fn truncate(&self, name: &LogName) -> Result<Log, Error> {
        let (old, taken) = self.0.take(name)?;
        let directory = self.0.directory(name);
        let next = match self.0.next_generation(&directory) {
            Ok(next) => next,
            Err(error) => {
                taken.put_back(old);
                return Err(error);
            }
        };
        if let Err(error) = self.0.build(&directory, next) {
            taken.put_back(old);
            return Err(error);
        }
        if let Slot::Open(log) = old {
            log.0.end_with(&gone(name));
        }
        taken.fill(self.0.recover(name))
    }

    /// Makes a log of an archive that [`Log::backup`] wrote. Nothing is left
    /// behind on any fault. Blocks.
    ///
    /// # Errors
    /// It exists; the archive is not one or is damaged; I/O. An `archive` that
    /// fails with `TimedOut` or `ConnectionAborted` is [`Error::Io`].
    pub fn restore(&self, name: &LogName, archive: &mut dyn Read) -> Result<Log, Error> {
        let reserved = self.0.reserve(name)?;
        let restored = self.0.unpack(name, archive).and_then(|()| self.0.recover(name));
        reserved.fill(restored)
    }

    /// Refuses new appends, commits what is queued, writes watermarks, closes
    /// every log and releases the directory. Blocks up to `deadline`; says
    /// whether all was closed by then.
    pub fn close(&self, deadline: Duration) -> bool {
        let (done, closed) = mpsc::channel();
        let shared = Arc::clone(&self.0);
        let started = std::thread::Builder::new().name("styx-close".into()).spawn(move || {
            shared.close_all();
            let _ = done.send(());
        });
        match started {
            Ok(_) => closed.recv_timeout(deadline).is_ok(),
            Err(_) => {
                self.0.close_all();
                true
            }
        }
    }

    /// With no threads ([`Options::committers_max`] 0): commits one group of one
    /// log on this thread, or, when nothing is queued, does what is due. Says
    /// whether a group was committed.
    pub fn step(&self) -> bool {
        let committed = self.0.services.pool.run_one();
        if !committed {
            self.0.services.keeper.tick(self.0.options.clock.monotonic());
        }
        committed
    }
}

impl Shared {
    fn directory(&self, name: &LogName) -> PathBuf {
        self.options.data_directory.join(name.as_str())
    }

    /// A new name in the data directory that no log can have.
    fn beside(&self, prefix: &str) -> Result<PathBuf, Error> {
        let directory = &self.options.data_directory;
        let number = random::u64().map_err(Error::io("cannot name a directory in", directory))?;
        Ok(directory.join(format!("{prefix}{number:016x}")))
    }

    fn new_id(&self) -> Result<LogId, Error> {
        let directory = &self.options.data_directory;
        random::u128().map(LogId).map_err(Error::io("cannot draw an id in", directory))
    }

    fn set(&self, name: &LogName, slot: Option<Slot>) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        match slot {
            Some(slot) => slots.insert(name.clone(), slot),
            None => slots.remove(name),
        };
    }

    /// Takes a name that no log has.
    fn reserve(&self, name: &LogName) -> Result<Taken<'_>, Error> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::ShuttingDown);
        }
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if slots.contains_key(name) {
            return Err(Error::LogExists { name: name.to_string() });
        }
        slots.insert(name.clone(), Slot::Busy);
        Ok(Taken { shared: self, name: name.clone(), settled: false })
    }

    /// Takes a log away from everybody else.
    fn take(&self, name: &LogName) -> Result<(Slot, Taken<'_>), Error> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::ShuttingDown);
        }
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get_mut(name).ok_or_else(|| not_found(name))?;
        match slot {
            Slot::Opening => return Err(scanning(name)),
            Slot::Busy => return Err(not_found(name)),
            Slot::Open(_) | Slot::Unknown(_) => {}
        }
        let old = std::mem::replace(slot, Slot::Busy);
        Ok((old, Taken { shared: self, name: name.clone(), settled: false }))
    }

    /// Opens a log that was there when the catalog was.
    fn open_one(&self, name: &LogName) {
        let directory = self.directory(name);
        let has_manifest = self.options.storage.list(&directory).is_ok_and(|entries| {
            entries.iter().any(|entry| !entry.is_dir && entry.name == name::MANIFEST)
        });
        let slot = if !has_manifest
            && opening::is_unfinished(&*self.options.storage, &directory).unwrap_or(false)
        {
            tracing::info!(log = %name, "removed a log whose creation was never finished");
            self.options
                .storage
                .remove_dir_all(&directory)
                .err()
                .map(|e| Slot::Unknown(e.to_string()))
        } else {
            Some(match self.recover(name) {
                Ok(log) => Slot::Open(log),
                Err(error) => {
                    tracing::error!(log = %name, %error, "the log cannot be opened");
                    Slot::Unknown(error.to_string())
                }
            })
        };
        self.set(name, slot);
        let mut opening = lock(&self.opening);
        *opening -= 1;
        if *opening == 0 {
            self.opened.notify_all();
        }
    }

    /// Recovers a log and brings it to life.
    fn recover(&self, name: &LogName) -> Result<Log, Error> {
        let directory = self.directory(name);
        let recovered = recovery::recover(&self.options.storage, &directory)?;
        let status = recovered.status;
        let cause = recovered.cause.clone();
        let log = Log(self.bring_to_life(name, directory, recovered));
        if status != LogStatus::Ok {
            log.0.mark_corrupt(&cause);
        }
        Ok(log)
    }

    fn bring_to_life(&self, name: &LogName, directory: PathBuf, from: Recovered) -> Arc<Inner> {
        let config = from.manifest.config;
        let log = Arc::new_cyclic(|me| Inner {
            me: me.clone(),
            name: name.clone(),
            id: from.manifest.id,
            config,
            directory,
            ground: from.ground,
            services: self.services.clone(),
            queue: Queue::new(self.options.queue_bytes_max),
            tail: Tail::new(from.view, Arc::clone(&self.budget), self.options.tail_bytes_max),
            end: Mutex::new(from.end),
            watermark: Mutex::new(from.watermark),
            trimming: Mutex::new(()),
            standing: Mutex::new((from.status, from.cause)),
            settling: AtomicBool::new(false),
            committed_at_us: AtomicU64::new(0),
            marked_at_us: AtomicU64::new(0),
            counters: crate::log::Counters::default(),
        });
        if config.segment_max_age > 0 || config.log_max_age > 0 {
            self.services.keeper.watch_ages(Arc::downgrade(&log));
        }
        log
    }

    /// Builds the files of an empty log, its manifest last: that is the commit
    /// point of a create, and of a truncate.
    fn build(&self, directory: &Path, manifest: Manifest) -> Result<(), Error> {
        let storage = &self.options.storage;
        let folder = directory.join(manifest.generation.to_string());
        let failed = |doing| Error::io(doing, directory);
        // What a failed attempt left there has no record.
        match storage.remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed("cannot clear")(error));
            }
            _ => {}
        }
        storage.create_dir_all(directory).map_err(failed("cannot create"))?;
        storage.create_dir(&folder).map_err(failed("cannot create"))?;
        let file =
            storage.create(&folder.join(name::WATERMARK)).map_err(failed("cannot create"))?;
        Watermark::create(file, Mark::default()).map_err(failed("cannot write"))?;
        let ground = Ground {
            storage: Arc::clone(storage),
            directory: folder,
            index_after_size: manifest.config.index_after_size,
        };
        let birth = Birth { base: Position::ORIGIN, prev_crc: 0, timestamp_us: 0, epoch: 0 };
        ground.begin_segment(birth).map_err(|failure| match failure {
            Failure::Full => Error::StorageFull { path: directory.to_owned() },
            Failure::Broken(cause) => failed("cannot create")(std::io::Error::other(cause)),
        })?;
        storage.sync_dir(directory).map_err(failed("cannot sync"))?;
        let data = &self.options.data_directory;
        storage.sync_dir(data).map_err(Error::io("cannot sync", data))?;
        let text = manifest.encode();
        replace_file(&**storage, &directory.join(name::MANIFEST), text.as_bytes())
            .map_err(failed("cannot write"))
    }

    /// The manifest of a log once it is emptied. One whose own is unreadable
    /// gets the default configuration.
    fn next_generation(&self, directory: &Path) -> Result<Manifest, Error> {
        let storage = &*self.options.storage;
        let id = self.new_id()?;
        if let Ok(manifest) = read_manifest(storage, directory) {
            return Ok(Manifest { id, generation: manifest.generation + 1, ..manifest });
        }
        let entries = storage.list(directory).map_err(Error::io("cannot list", directory))?;
        let newest = entries.iter().filter_map(|entry| entry.name.parse::<u64>().ok()).max();
        let generation = newest.map_or(0, |newest| newest.saturating_add(1));
        Ok(Manifest { id, generation, config: LogConfig::default() })
    }

    /// Unpacks an archive under a temporary name, and gives it the log's name.
    fn unpack(&self, name: &LogName, archive: &mut dyn Read) -> Result<(), Error> {
        let storage = &*self.options.storage;
        let temporary = self.beside(opening::RESTORING)?;
        let directory = self.directory(name);
        let id = self.new_id()?;
        let unpacked = restore::unpack(storage, &temporary, id, archive).and_then(|()| {
            storage
                .rename(&temporary, &directory)
                .map_err(Error::io("cannot rename the restored log to", &directory))
        });
        if unpacked.is_err() {
            let _ = storage.remove_dir_all(&temporary);
        }
        unpacked?;
        let data = &self.options.data_directory;
        storage.sync_dir(data).map_err(Error::io("cannot sync", data))
    }

    fn close_all(&self) {
        self.closing.store(true, Ordering::Release);
        let slots =
            std::mem::take(&mut *self.slots.write().unwrap_or_else(PoisonError::into_inner));
        let open: Vec<Log> = slots
            .into_values()
            .filter_map(|slot| match slot {
                Slot::Open(log) => Some(log),
                _ => None,
            })
            .collect();
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..OPENERS.min(open.len()) {
                scope.spawn(|| {
                    let index = || usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok();
                    while let Some(log) = index().and_then(|i| open.get(i)) {
                        log.0.close();
                    }
                });
            }
        });
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Without threads nobody would commit what is queued.
        if self.options.committers_max > 0 {
            self.close_all();
        }
    }
}

/// A name that one caller has to itself; given back as it was if forgotten.
struct Taken<'a> {
    shared: &'a Shared,
    name: LogName,
    settled: bool,
}

impl Taken<'_> {
    /// The log is there, or it is not.
    fn fill(mut self, log: Result<Log, Error>) -> Result<Log, Error> {
        self.settled = true;
        let there = self.shared.options.storage.list(&self.shared.directory(&self.name)).is_ok();
        let slot = match &log {
            Ok(log) => Some(Slot::Open(log.clone())),
            // It failed after its files were there.
            Err(error) if there => Some(Slot::Unknown(error.to_string())),
            Err(_) => None,
        };
        self.shared.set(&self.name, slot);
        log
    }

    fn put_back(mut self, slot: Slot) {
        self.settled = true;
        self.shared.set(&self.name, Some(slot));
    }

    fn clear(mut self) {
        self.settled = true;
        self.shared.set(&self.name, None);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.shared.set(&self.name, None);
        }
    }
}

impl Slot {
    fn info(&self, name: &LogName) -> Option<LogInfo> {
        let status = match self {
            Slot::Open(log) => return Some(log.info()),
            Slot::Opening => LogStatus::Scanning,
            Slot::Unknown(_) => LogStatus::Unknown,
            Slot::Busy => return None,
        };
        Some(LogInfo {
            name: name.to_string(),
            status,
            record_count: 0,
            file_size: 0,
            start_position: 0,
            end_position: 0,
        })
    }
}

fn lock_count(count: &Mutex<usize>) -> usize {
    *lock(count)
}

fn lock_names<T>(names: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock(names)
}

fn scanning(name: &LogName) -> Error {
    Error::NotAvailable {
        name: name.to_string(),
        status: LogStatus::Scanning,
        cause: "it is being opened; try again shortly".into(),
    }
}

fn not_found(name: &LogName) -> Error {
    Error::LogNotFound { name: name.to_string() }
}

fn gone(name: &LogName) -> Error {
    Error::LogGone { name: name.to_string() }
}
