//! The data directory and the logs in it.
//!
//! [`Catalog`] is the public face; [`shared`] opens, builds and closes logs;
//! [`slot`] says who may do what with a name meanwhile.

mod shared;
mod slot;

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, mpsc};
use std::time::Duration;

use styx_protocol::{LogConfig, LogInfo, LogName, LogStatus};

use self::shared::{OPENERS, Shared};
use self::slot::{Slot, gone, not_found, scanning};
use crate::clock::{Clock, RealClock, SteadyTime};
use crate::commit::buffer_pool::BufferPool;
use crate::commit::keeper::Keeper;
use crate::commit::pool::Pool;
use crate::log::Services;
use crate::manifest::Manifest;
use crate::recovery::read_manifest;
use crate::storage::{RealStorage, Storage};
use crate::tail::Budget;
use crate::wait::lock;
use crate::{Error, Log, Removal, ScrubStats, opening, scrub};

/// How a catalog is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the logs are; created if it is not there.
    pub data_directory: PathBuf,
    /// Start every commit on a 4 KiB boundary, for media on which an
    /// interrupted sector write may leave neither old nor new bytes.
    pub pad_commits: bool,
    /// Bytes from which on a commit is written past the page cache: copying it there
    /// costs more than it saves those who read it later from the file.
    pub direct_bytes_min: usize,
    /// Bytes that wait from which on a commit is prepared while another of at least as
    /// many is written. Less than that waits until it is durable, and grows meanwhile.
    pub overlap_bytes_min: usize,
    /// Bytes that may wait in one log's queue.
    pub queue_bytes_max: usize,
    /// Bytes of recent commits kept in memory for followers, per log; three times as many
    /// of those that were written past the page cache.
    pub tail_bytes_max: usize,
    /// The same for all logs together.
    pub tail_bytes_total_max: usize,
    /// Threads that commit; started when needed. With 0 there is no thread at
    /// all and [`Catalog::step`] does their work, for deterministic tests.
    pub committers_max: usize,
    /// How fast sealed segments are read again to find damage; 0 is not at all.
    pub scrub_bytes_per_second: u64,
    /// How long after one pass of that the next begins.
    pub scrub_pause: Duration,
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
            direct_bytes_min: 512 << 10,
            overlap_bytes_min: 1 << 20,
            queue_bytes_max: 16 << 20,
            tail_bytes_max: 4 << 20,
            tail_bytes_total_max: 32 << 20,
            committers_max: 32,
            scrub_bytes_per_second: 16 << 20,
            scrub_pause: Duration::from_secs(24 * 3600),
            storage: Arc::new(RealStorage),
            clock: Arc::new(RealClock),
        }
    }
}

/// An open data directory. A cheap handle; the last one dropped closes it.
#[derive(Debug, Clone)]
pub struct Catalog(Arc<Shared>);

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
        opening::create_directory(&*storage, &directory)?;
        let names = opening::list_logs(&*storage, &directory)?;
        let held = opening::lock_directory(&*storage, &directory)?;
        opening::remove_leftovers(&*storage, &directory)?;
        let buffer_pool = Arc::<BufferPool>::default();
        let keeper = Keeper::new(Arc::clone(&buffer_pool));
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
                buffer_pool,
                time: SteadyTime::new(Arc::clone(&options.clock)),
                open_segments: Arc::default(),
                pad_commits: options.pad_commits,
                direct_bytes_min: options.direct_bytes_min,
                overlap_bytes_min: options.overlap_bytes_min,
            },
            budget: Arc::new(Budget::new(options.tail_bytes_total_max)),
            slots: RwLock::new(names.iter().map(|name| (name.clone(), Slot::Opening)).collect()),
            opening: Mutex::new(names.len()),
            opened: Condvar::new(),
            closing: AtomicBool::new(false),
            scrubbed: Arc::default(),
            stopper: Arc::default(),
            lock: Mutex::new(Some(held)),
            options,
        });
        let names = Arc::new(Mutex::new(names.into_iter()));
        let work = move |shared: &Shared| {
            // Released before the log is opened.
            let next = || lock(&names).next();
            while let Some(name) = next() {
                shared.open_one(&name);
            }
        };
        if threaded {
            let waiting = *lock(&shared.opening);
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
        if threaded && shared.options.scrub_bytes_per_second > 0 {
            let (weak, pace) = (Arc::downgrade(&shared), shared.pace());
            std::thread::Builder::new()
                .name("styx-scrub".into())
                .stack_size(512 << 10)
                .spawn(move || shared::scrub_on(&weak, &pace))
                .map_err(Error::io("cannot start a thread for", &directory))?;
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
        *lock(&self.0.opening) == 0
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
            Some(Slot::Open(log) | Slot::Ending(log)) => Ok(log.clone()),
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
            Slot::Open(log) | Slot::Ending(log) => Some(log.clone()),
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
            log.0.end_with(&gone(name, Removal::Deleted));
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
        let built = self.0.build(&directory, next);
        let manifest = read_manifest(&*self.0.options.storage, &directory);
        if let Err(error) = &built
            && manifest.is_ok_and(|manifest| manifest.generation != next.generation)
        {
            // The old manifest stands, so the old log goes on.
            taken.put_back(old);
            return Err(error.clone());
        }
        if let Slot::Open(log) = old {
            log.0.end_with(&gone(name, Removal::Truncated));
        }
        // Where the new manifest stands but may not be durable, only a restart
        // can tell which of the two logs there is.
        taken.fill(built.and_then(|()| self.0.recover(name)))
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

    /// Reads every sealed segment now, as fast as it can be read, and says what is
    /// damaged; such logs are `corrupt` afterwards. Blocks.
    #[must_use]
    pub fn scrub(&self) -> Vec<crate::verify::Problem> {
        let logs = self.logs();
        let scrubbed = &self.0.scrubbed;
        logs.iter().flat_map(|log| scrub::scrub(log, scrubbed, &mut |_| true)).collect()
    }

    /// What the scrub has done so far.
    #[must_use]
    pub fn scrub_stats(&self) -> ScrubStats {
        self.0.scrubbed.stats()
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
