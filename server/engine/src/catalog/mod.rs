//! The data directory and the logs in it.
//!
//! [`Catalog`] is the public handle. [`inner`] opens, builds and closes logs and reserves their
//! names; [`attach`] creates logs from archived segments; [`replica`] keeps logs of other
//! servers; [`options`] has its settings; [`by_hand`] deals with directories that were added, replaced or removed by hand; [`slot`]
//! is the state of one name; [`scrub_thread`] runs the background scrub.

mod attach;
mod by_hand;
mod inner;
mod options;
mod removing;
mod replica;
mod scrub_thread;
mod slot;

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, mpsc};
use std::time::Duration;

use styx_protocol::{LogConfig, LogInfo, LogName, LogStatus};

pub use self::attach::{Attached, AttachedIndex};
use self::by_hand::Deletion;
use self::inner::{CatalogInner, OPEN_THREADS};
pub use self::options::Options;
use self::slot::{Slot, not_found, removed, scanning};
use crate::archive::StoreAccess;
use crate::block_parts::BlockParts;
use crate::clock::{ClockStats, StampClock, SteadyTime};
use crate::commit::buffer_pool::BufferPool;
use crate::commit::liveness;
use crate::commit::thread_pool::ThreadPool;
use crate::data_directory::Role;
use crate::disk_reserve::DiskReserve;
use crate::log::Services;
use crate::log::maintainer::Maintainer;
use crate::log::open_ends::OpenEnds;
use crate::manifest::Manifest;
use crate::measurements::Measurements;
use crate::read_ahead::ReadAhead;
use crate::recovery::read_manifest;
use crate::segment::OpenSegments;
use crate::sync::lock;
use crate::tail::TailBudget;
use crate::{
    DiskReserveStats, Error, Log, Removal, ScrubStats, data_directory, log_directory, scrub,
};

/// An open data directory. A cheap handle; dropping the last one closes it.
#[derive(Debug, Clone)]
pub struct Catalog(Arc<CatalogInner>);

impl Catalog {
    /// Locks the directory, lists its logs and starts to open them in the background. The status of
    /// a log is `scanning` until it is open.
    ///
    /// # Errors
    /// The directory is locked by another process, belongs to Styx 0.x or to a newer version, or
    /// cannot be used.
    pub fn open(options: Options) -> Result<Catalog, Error> {
        let storage = Arc::clone(&options.storage);
        let directory = options.data_directory.clone();
        data_directory::create_directory(&*storage, &directory)?;
        let listing = data_directory::list_logs(&*storage, &directory)?;
        let held = data_directory::lock_directory(&*storage, &directory)?;
        let role = if options.read_only { Role::Replica } else { Role::Primary };
        data_directory::check_role(&*storage, &directory, role, !listing.logs.is_empty())?;
        data_directory::remove_leftovers(&*storage, &directory)?;
        listing.others.iter().for_each(|other| tracing::warn!("{other}"));
        let names = listing.logs;
        let buffer_pool = Arc::<BufferPool>::default();
        let time = SteadyTime::new(Arc::clone(&options.clock));
        let stamps = Arc::new(StampClock::new(time.clone()));
        let threaded = options.committers_max > 0;
        let read_ahead = Arc::new(ReadAhead::new(options.read_ahead_bytes_max, threaded));
        let maintainer =
            Maintainer::new(Arc::clone(&buffer_pool), Arc::clone(&read_ahead), Arc::clone(&stamps));
        if threaded {
            maintainer
                .start(Arc::clone(&options.clock))
                .map_err(Error::io("cannot start a thread for", &directory))?;
        }
        let shared = Arc::new(CatalogInner {
            services: Services {
                pool: Arc::new(ThreadPool::new("styx-commit", options.committers_max)),
                maintainer: Arc::new(maintainer),
                buffer_pool,
                read_ahead,
                block_parts: Arc::new(BlockParts::new(options.block_parts_bytes_max)),
                time,
                stamps,
                open_segments: Arc::new(OpenSegments::new(options.open_files / 6)),
                open_ends: Arc::new(OpenEnds::new(options.open_files / 3)),
                disk_reserve: Arc::new(DiskReserve::new(
                    Arc::clone(&options.storage),
                    Arc::clone(&options.clock),
                    options.free_bytes_min,
                )),
                measurements: Arc::default(),
                store: StoreAccess::new(options.depot.clone(), options.store_wait),
                pad_commits: options.pad_commits,
                direct_bytes_min: options.direct_bytes_min,
                overlap_bytes_min: options.overlap_bytes_min,
            },
            tail_budget: Arc::new(TailBudget::new(
                options.tail_bytes_total_max,
                options.direct_tail_bytes_max,
            )),
            slots: RwLock::new(names.iter().map(|name| (name.clone(), Slot::Opening)).collect()),
            opening: Mutex::new(names.len()),
            opened: Condvar::new(),
            adopting: Mutex::default(),
            closing: AtomicBool::new(false),
            scrubbed: Arc::default(),
            stop_signal: Arc::default(),
            lock: Mutex::new(Some(held)),
            options,
        });
        let names = Arc::new(Mutex::new(names.into_iter()));
        let work = move |shared: &CatalogInner| {
            // The lock is released before the log is opened.
            let next = || lock(&names).next();
            while let Some(name) = next() {
                shared.open_one(&name);
            }
        };
        if threaded {
            let waiting = *lock(&shared.opening);
            for _ in 0..OPEN_THREADS.min(waiting) {
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
            let (weak, scrub_rate) = (Arc::downgrade(&shared), shared.scrub_rate());
            std::thread::Builder::new()
                .name("styx-scrub".into())
                .stack_size(512 << 10)
                .spawn(move || scrub_thread::run_scrub(&weak, &scrub_rate))
                .map_err(Error::io("cannot start a thread for", &directory))?;
        }
        Ok(Catalog(shared))
    }

    /// Blocks until no log is `scanning`.
    pub fn wait_until_open(&self) {
        let mut opening = lock(&self.0.opening);
        while *opening > 0 {
            opening = self.0.opened.wait(opening).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether every log was opened, successfully or not.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *lock(&self.0.opening) == 0
    }

    /// Creates a log, durably; blocks. Nothing in the data directory that has this name is changed.
    ///
    /// # Errors
    /// The log exists; something else has its name; the configuration is invalid; I/O.
    pub fn create(&self, name: &LogName, config: LogConfig) -> Result<Log, Error> {
        self.0.check_writable(None)?;
        config.validate()?;
        self.0.services.disk_reserve.check(&self.0.options.data_directory, 0)?;
        let reserved = self.0.reserve_new(name)?;
        let id = self.0.new_id();
        let placed = id.and_then(|id| self.0.create(name, &Manifest::new(id, 0, config)));
        let created = placed.and_then(|()| {
            // The log has no record yet.
            self.0.recover(name).inspect_err(|_| self.0.discard(name))
        });
        reserved.fill(created)
    }

    /// Serves a log whose directory, or a link to it, was put into the data directory while the
    /// catalog was open. Opens a log again whose status is `unknown`. Returns an open log unchanged,
    /// unless its directory was replaced. If an open log has the same id, because the directory is a
    /// copy of it, the adopted log gets a new id. Blocks.
    ///
    /// # Errors
    /// There is no log with this name in the data directory; it cannot be opened; logs are still
    /// being opened; I/O.
    pub fn adopt(&self, name: &LogName) -> Result<Log, Error> {
        self.0.check_writable(Some(name))?;
        if !self.is_open() {
            return Err(scanning(name));
        }
        let _one = lock(&self.0.adopting);
        let (old, reserved) = match self.0.take(name) {
            Ok((old, reserved)) => (Some(old), reserved),
            Err(Error::LogNotFound { .. }) => (None, self.0.reserve(name)?),
            Err(error) => return Err(error),
        };
        if let Some(Slot::Open(log)) = &old
            && !log.0.is_displaced()
        {
            let log = log.clone();
            reserved.put_back(Slot::Open(log.clone()));
            return Ok(log);
        }
        match (self.0.adopt(name), old) {
            (Ok(log), old) => {
                if let Some(Slot::Open(old)) = old {
                    old.0.close_with(&lock(&old.0.archive), &removed(name, Removal::Deleted));
                }
                reserved.fill(Ok(log))
            }
            (Err(error), old) => {
                match old {
                    Some(Slot::Unknown(_)) => reserved.put_back(Slot::Unknown(error.to_string())),
                    Some(old) => reserved.put_back(old),
                    None => reserved.clear(),
                }
                Err(error)
            }
        }
    }

    /// An open log, whatever its status, except `scanning` and `unknown`.
    ///
    /// # Errors
    /// There is no log with this name, or it is not available.
    pub fn log(&self, name: &LogName) -> Result<Log, Error> {
        match self.0.slots.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            Some(Slot::Open(log) | Slot::Removing(log)) => {
                log.0.counters.opened.fetch_add(1, Ordering::Relaxed);
                Ok(log.clone())
            }
            Some(Slot::Opening) => Err(scanning(name)),
            Some(Slot::Unknown(cause)) => Err(Error::NotAvailable {
                name: name.to_string(),
                status: LogStatus::Unknown,
                cause: cause.clone(),
            }),
            Some(Slot::Busy) | None => Err(not_found(name)),
        }
    }

    /// The log as the API describes it, whatever its status; unknown numbers are 0.
    ///
    /// # Errors
    /// There is no log with this name.
    pub fn info(&self, name: &LogName) -> Result<LogInfo, Error> {
        let slots = self.0.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(name).and_then(|slot| slot.info(name)).ok_or_else(|| not_found(name))
    }

    /// Why there is no log with this name: whether something in the data directory has it. Blocks.
    #[must_use]
    pub fn why_missing(&self, name: &LogName) -> Error {
        match self.0.is_there_exactly(name) {
            Ok(true) => {
                log_directory::not_served(&*self.0.options.storage, &self.0.directory(name))
            }
            _ => not_found(name),
        }
    }

    /// All logs, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<LogInfo> {
        let slots = self.0.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.iter().filter_map(|(name, slot)| slot.info(name)).collect()
    }

    /// All open logs, for metrics.
    #[must_use]
    pub fn logs(&self) -> Vec<Log> {
        let slots = self.0.slots.read().unwrap_or_else(PoisonError::into_inner);
        let open = slots.values().filter_map(|slot| match slot {
            Slot::Open(log) | Slot::Removing(log) => Some(log.clone()),
            _ => None,
        });
        open.collect()
    }

    /// Deletes a log, whatever its status, and closes it for its readers and writers; blocks.
    ///
    /// Removes only files of the log. If the log is behind a symbolic link, the link is removed and
    /// the directory behind it is kept. If the directory was removed or replaced by hand, a
    /// directory that has its name now is not changed.
    ///
    /// # Errors
    /// There is no log with this name; it is being opened; I/O; [`Error::DirectoryKept`] if the log
    /// was deleted, but its directory contains something else.
    pub fn delete(&self, name: &LogName) -> Result<(), Error> {
        self.0.check_writable(Some(name))?;
        let (old, reserved) = self.0.take(name)?;
        let removing = self.0.begin_removing(name, &old);
        // The list of archived segments, the watermark and the cursors are not written while their
        // path changes.
        let open = match &old {
            Slot::Open(log) => Some(log.clone()),
            _ => None,
        };
        let archive = open.as_ref().map(|log| lock(&log.0.archive));
        let (watermark, cursors) = match &open {
            Some(log) => (Some(lock(&log.0.watermark)), Some(log.0.cursors.pause())),
            None => (None, None),
        };
        let deletion = match self.0.begin_deletion(name, &old) {
            Ok(deletion) => deletion,
            Err(error) => {
                drop((archive, watermark, cursors));
                removing.kept();
                reserved.put_back(old);
                return Err(error);
            }
        };
        drop(watermark.map(|mut watermark| watermark.take()));
        drop(cursors);
        if let (Some(log), Some(list)) = (&open, &archive) {
            log.0.close_with(list, &removed(name, Removal::Deleted));
        }
        drop(archive);
        let data = &self.0.options.data_directory;
        let synced = self.0.options.storage.sync_dir(data).map_err(Error::io("cannot sync", data));
        if let Err(error) = synced {
            reserved.clear();
            return Err(error);
        }
        removing.done();
        match deletion {
            Deletion::InPlace => {
                // The name stays reserved until its files are gone.
                let finished = self.0.finish_deletion(name, deletion);
                reserved.clear();
                finished
            }
            _ => {
                reserved.clear();
                self.0.finish_deletion(name, deletion)
            }
        }
    }

    /// Removes all records of a log and gives it a new id. Closes it for its readers and writers;
    /// blocks.
    ///
    /// # Errors
    /// As [`Catalog::delete`].
    pub fn truncate(&self, name: &LogName) -> Result<Log, Error> {
        self.0.check_writable(Some(name))?;
        let (old, reserved) = self.0.take(name)?;
        let directory = self.0.directory(name);
        let next = self
            .0
            .lock_for_change(&directory, &old)
            .and_then(|locks| self.0.next_generation(&directory).map(|next| (locks, next)));
        let (locks, next) = match next {
            Ok(next) => next,
            Err(error) => {
                reserved.put_back(old);
                return Err(error);
            }
        };
        let removing = self.0.begin_removing(name, &old);
        // The version in the manifest is not raised while the manifest is replaced.
        let open = match &old {
            Slot::Open(log) => Some(log.clone()),
            _ => None,
        };
        let archive = open.as_ref().map(|log| lock(&log.0.archive));
        let generation = next.generation;
        let built = self.0.build(&directory, &next);
        let manifest = read_manifest(&*self.0.options.storage, &directory);
        if let Err(error) = &built
            && manifest.is_ok_and(|manifest| manifest.generation != generation)
        {
            // The old manifest is still in force, so the old log continues.
            drop(archive);
            removing.kept();
            reserved.put_back(old);
            return Err(error.clone());
        }
        if let (Some(log), Some(list)) = (&open, &archive) {
            log.0.close_with(list, &removed(name, Removal::Truncated));
        }
        drop((archive, locks));
        if built.is_ok() {
            removing.done();
        }
        // If the new manifest exists but may not be durable, only a restart can tell which of the
        // two logs exists.
        reserved.fill(built.and_then(|()| self.0.recover(name)))
    }

    /// Creates a log from an archive that [`Log::backup`] wrote. A failure leaves nothing behind.
    /// Blocks.
    ///
    /// # Errors
    /// The log exists; something else has its name; the bytes are not an archive, or it is damaged;
    /// I/O. If reading `archive`
    /// fails with `TimedOut` or `ConnectionAborted`, the error is [`Error::Io`].
    pub fn restore(&self, name: &LogName, archive: &mut dyn Read) -> Result<Log, Error> {
        self.0.check_writable(None)?;
        let reserved = self.0.reserve_new(name)?;
        let restored = self.0.unpack(name, archive).and_then(|()| self.0.recover(name));
        reserved.fill(restored)
    }

    /// Refuses new appends, commits what is queued, writes watermarks, closes every log and
    /// releases the directory. Blocks for up to `deadline`; returns whether everything was closed
    /// by then.
    pub fn close(&self, deadline: Duration) -> bool {
        let (done, closed) = mpsc::channel();
        let shared = Arc::clone(&self.0);
        // The rest of the time is for a call that takes long.
        let cut_until = self.0.options.clock.monotonic().saturating_add(deadline / 4 * 3);
        let started = std::thread::Builder::new().name("styx-close".into()).spawn(move || {
            shared.close_all(cut_until);
            let _ = done.send(());
        });
        match started {
            Ok(_) => closed.recv_timeout(deadline).is_ok(),
            Err(_) => {
                self.0.close_all(cut_until);
                true
            }
        }
    }

    /// Reads every sealed segment now, at full speed, and returns the damage. Damaged logs become
    /// `corrupt`. Blocks.
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

    /// The state of the wall clock.
    #[must_use]
    pub fn clock_stats(&self) -> ClockStats {
        self.0.services.stamps.stats()
    }

    /// Resolves when a thread that commits has taken a job that is submitted now. It does not, while
    /// all of them hang.
    pub fn committer_is_free(&self) -> impl Future<Output = ()> + use<> {
        liveness::committer_is_free(&self.0.services.pool)
    }

    /// The free space of the data directory's file system in bytes; `None` if it is not known.
    /// Waits for the disk.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        let options = &self.0.options;
        options.storage.free_bytes(&options.data_directory).ok().flatten()
    }

    /// What the disk reserve has done.
    #[must_use]
    pub fn disk_reserve_stats(&self) -> DiskReserveStats {
        self.0.services.disk_reserve.stats()
    }

    /// The measurements of the commits of all logs.
    #[must_use]
    pub fn measurements(&self) -> Arc<Measurements> {
        Arc::clone(&self.0.services.measurements)
    }

    /// For a catalog without threads ([`Options::committers_max`] is 0): commits one group of one
    /// log on this thread. If nothing is queued, it does the maintenance that is due. Returns
    /// whether a group was committed.
    pub fn step(&self) -> bool {
        let committed = self.0.services.pool.run_one();
        if !committed {
            self.0.services.maintainer.tick(self.0.options.clock.monotonic());
        }
        committed
    }
}
