//! Opening, building and closing the logs of a data directory, and reserving their names.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use styx_protocol::{LogConfig, LogId, LogName, LogStatus, Position};

use super::Options;
use super::slot::{Slot, not_found, scanning};
use crate::clock::{JUMP_US_MIN, shown};
use crate::commit::failure::Failure;
use crate::commit::queue::Queue;
use crate::commit::roll::{SegmentDirectory, SegmentStart};
use crate::cursors::Cursors;
use crate::log::{LogCounters, LogInner, Services};
use crate::manifest::Manifest;
use crate::recovery::{self, Recovered, read_manifest};
use crate::scrub::{self, ScrubRate, StopSignal};
use crate::segment::{Now, name};
use crate::storage::{Identity, Lock, replace_file};
use crate::sync::lock;
use crate::tail::{Tail, TailBudget, View};
use crate::watermark::{Mark, Watermark};
use crate::{Error, Log, data_directory, log_directory, random, restore};

/// What all handles of a catalog share.
#[derive(Debug)]
pub(super) struct CatalogInner {
    pub(super) options: Options,
    pub(super) services: Services,
    pub(super) tail_budget: Arc<TailBudget>,
    pub(super) slots: RwLock<BTreeMap<LogName, Slot>>,
    /// The number of logs that are still being opened.
    pub(super) opening: Mutex<usize>,
    pub(super) opened: Condvar,
    /// Held while a log is adopted, so that two of them cannot keep the same id.
    pub(super) adopting: Mutex<()>,
    pub(super) closing: AtomicBool,
    pub(super) scrubbed: Arc<scrub::ScrubCounters>,
    pub(super) stop_signal: Arc<StopSignal>,
    /// The lock on the directory; `None` after the catalog was closed.
    pub(super) lock: Mutex<Option<Box<dyn Lock>>>,
}

/// Logs that are opened, or closed, at the same time.
pub(super) const OPEN_THREADS: usize = 4;

impl CatalogInner {
    pub(super) fn directory(&self, name: &LogName) -> PathBuf {
        self.options.data_directory.join(name.as_str())
    }

    /// A new path in the data directory that cannot be the directory of a log.
    pub(super) fn unused_path(&self, prefix: &str) -> Result<PathBuf, Error> {
        let directory = &self.options.data_directory;
        let number =
            random::u64().map_err(Error::io("cannot choose a directory name in", directory))?;
        Ok(directory.join(format!("{prefix}{number:016x}")))
    }

    pub(super) fn new_id(&self) -> Result<LogId, Error> {
        let directory = &self.options.data_directory;
        random::u128().map(LogId).map_err(Error::io("cannot create an id in", directory))
    }

    /// Opens a log that existed when the catalog was opened.
    pub(super) fn open_one(&self, name: &LogName) {
        let slot = match self.recover(name) {
            Ok(log) => Slot::Open(log),
            Err(error) => {
                tracing::error!(log = %name, %error, "the log cannot be opened; run `styx verify`");
                Slot::Unknown(error.to_string())
            }
        };
        self.set(name, Some(slot));
        let mut opening = lock(&self.opening);
        *opening -= 1;
        if *opening == 0 {
            self.warn_of_copies();
            self.opened.notify_all();
        }
    }

    /// Recovers a log and starts it.
    pub(super) fn recover(&self, name: &LogName) -> Result<Log, Error> {
        let directory = self.directory(name);
        let locks = log_directory::lock_linked(&*self.options.storage, &directory)?;
        self.recover_locked(name, directory, locks)
    }

    /// Recovers a log whose directory is locked if it is behind a symbolic link.
    pub(super) fn recover_locked(
        &self,
        name: &LogName,
        directory: PathBuf,
        locks: Vec<Box<dyn Lock>>,
    ) -> Result<Log, Error> {
        let storage = &self.options.storage;
        let recover = match self.options.read_only {
            true => recovery::recover_replica,
            false => recovery::recover,
        };
        let recovered = recover(storage, &directory, &self.services.store)?;
        let identity =
            storage.identity(&directory).map_err(Error::io("cannot examine", &directory))?;
        let status = recovered.status;
        let cause = recovered.cause.clone();
        let log = Log(self.start_log(name, directory, identity, recovered));
        *lock(&log.0.link_locks) = locks;
        if status != LogStatus::Ok {
            log.0.mark_corrupt(&cause);
        }
        Ok(log)
    }

    /// Creates the in-memory log from its recovered state.
    pub(super) fn start_log(
        &self,
        name: &LogName,
        directory: PathBuf,
        identity: Option<Identity>,
        from: Recovered,
    ) -> Arc<LogInner> {
        let config = from.manifest.config;
        let producers = from.end.as_ref().map(|end| Arc::clone(&end.producers));
        let has_end = from.end.is_some();
        let now = Now::read(&self.services.time, &self.services.stamps);
        from.view.segments.iter().for_each(|segment| segment.opened(now.monotonic_us));
        let first_at_us = first_at_us(name, &from.view, &now);
        let log = Arc::new_cyclic(|weak_self| LogInner {
            weak_self: weak_self.clone(),
            name: name.clone(),
            id: from.manifest.id,
            config,
            directory,
            identity,
            link_locks: Mutex::default(),
            segment_directory: from.segment_directory,
            services: self.services.clone(),
            queue: Queue::new(self.options.queue_bytes_max, self.options.overlap_bytes_min),
            tail: Tail::new(from.view, Arc::clone(&self.tail_budget), self.options.tail_bytes_max),
            producers: producers.unwrap_or_default(),
            next_head: Mutex::new(None),
            end: Mutex::new(from.end),
            watermark: Mutex::new(from.watermark),
            cursors: Cursors::default(),
            archive: Mutex::new(from.archive),
            lineage: from.manifest.lineage,
            has_archive_manifest: AtomicBool::new(from.manifest.has_archive_manifest),
            is_end_open: AtomicBool::new(false),
            trim_lock: Mutex::new(()),
            health: Mutex::new((LogStatus::Ok, String::new())),
            maintenance_scheduled: AtomicBool::new(false),
            archived_until: AtomicU64::new(0),
            committed_at_us: AtomicU64::new(0),
            watermark_at_us: AtomicU64::new(0),
            first_at_us: AtomicI64::new(first_at_us),
            counters: LogCounters::default(),
        });
        if self.options.read_only {
            log.queue.refuse(Error::ReadOnly { owner: None }, false);
        } else if config.segment_max_age > 0 || config.log_max_age > 0 {
            self.services.maintainer.watch_age_limits(Arc::downgrade(&log));
        }
        if has_end {
            log.note_open_end();
        }
        log.notice_archiver();
        log
    }

    /// Creates an empty log under a temporary name and renames it to the log's name. Nothing that
    /// has this name is changed.
    pub(super) fn create(&self, name: &LogName, manifest: &Manifest) -> Result<(), Error> {
        let storage = &self.options.storage;
        let temporary = self.unused_path(data_directory::RESTORING)?;
        restore::place(&**storage, &temporary, &self.directory(name), || {
            storage.create_dir(&temporary).map_err(Error::io("cannot create", &temporary))?;
            self.build(&temporary, manifest)
        })
    }

    /// Creates the files of an empty log in its directory, its manifest last. The manifest is the
    /// commit point of a truncate.
    pub(super) fn build(&self, directory: &Path, manifest: &Manifest) -> Result<(), Error> {
        let storage = &self.options.storage;
        let folder = directory.join(manifest.generation.to_string());
        let failed = |doing| Error::io(doing, directory);
        // The remains of a failed attempt contain no record.
        log_directory::remove_generation(&**storage, &folder).map_err(failed("cannot clear"))?;
        storage.create_dir(&folder).map_err(failed("cannot create"))?;
        let file =
            storage.create(&folder.join(name::WATERMARK)).map_err(failed("cannot create"))?;
        Watermark::create(&*file, Mark::default()).map_err(failed("cannot write"))?;
        let segment_directory = SegmentDirectory {
            storage: Arc::clone(storage),
            path: folder,
            index_after_size: manifest.config.index_after_size,
        };
        let start = SegmentStart { base: Position::ORIGIN, prev_crc: 0, timestamp_us: 0, epoch: 0 };
        segment_directory.begin_segment(start).map_err(|failure| match failure {
            Failure::NoSpace => Error::StorageFull { path: directory.to_owned() },
            Failure::BelowReserve(space) => self.services.disk_reserve.refusal(directory, space),
            Failure::NoDescriptor(error) => failed("cannot create")(error),
            Failure::Broken(cause) => failed("cannot create")(std::io::Error::other(cause)),
        })?;
        storage.sync_dir(directory).map_err(failed("cannot sync"))?;
        let text = manifest.encode();
        replace_file(&**storage, &directory.join(name::MANIFEST), text.as_bytes())
            .map_err(failed("cannot write"))
    }

    /// The manifest that a log gets when it is truncated. If the current manifest is unreadable,
    /// the new one has the default configuration. A log of a newer version is not truncated, because
    /// its configuration would be lost.
    pub(super) fn next_generation(&self, directory: &Path) -> Result<Manifest, Error> {
        let storage = &*self.options.storage;
        let id = self.new_id()?;
        match read_manifest(storage, directory) {
            Ok(manifest) => {
                return Ok(Manifest::new(id, manifest.generation + 1, manifest.config));
            }
            Err(newer @ Error::NewerFormat(_)) => return Err(newer),
            Err(_) => {}
        }
        let entries = storage.list(directory).map_err(Error::io("cannot list", directory))?;
        let newest = entries.iter().filter_map(|entry| entry.name.parse::<u64>().ok()).max();
        let generation = newest.map_or(0, |newest| newest.saturating_add(1));
        Ok(Manifest::new(id, generation, LogConfig::default()))
    }

    /// Unpacks an archive under a temporary name and renames it to the log's name.
    pub(super) fn unpack(&self, name: &LogName, archive: &mut dyn Read) -> Result<(), Error> {
        let storage = &self.options.storage;
        let temporary = self.unused_path(data_directory::RESTORING)?;
        let directory = self.directory(name);
        let id = self.new_id()?;
        let now_us = self.services.stamps.now_us();
        let room = |bytes| self.services.disk_reserve.check(&self.options.data_directory, bytes);
        restore::place(&**storage, &temporary, &directory, || {
            restore::unpack(storage, &temporary, id, now_us, archive, &room)
        })
    }

    pub(super) fn scrub_rate(&self) -> ScrubRate {
        ScrubRate {
            bytes_per_second: self.options.scrub_bytes_per_second,
            stop: Arc::clone(&self.stop_signal),
        }
    }

    /// Closes every log, and then makes the files of idle logs shorter until the monotonic time
    /// `cut_until`, so that the next start is faster.
    pub(super) fn close_all(&self, cut_until: Duration) {
        self.closing.store(true, Ordering::Release);
        self.stop_signal.stop();
        let slots =
            std::mem::take(&mut *self.slots.write().unwrap_or_else(PoisonError::into_inner));
        let open: Vec<Log> = slots
            .into_values()
            .filter_map(|slot| match slot {
                Slot::Open(log) | Slot::Removing(log) => Some(log),
                _ => None,
            })
            .collect();
        let left = Mutex::new(Vec::new());
        on_threads(&open, |log| {
            if let Some(end) = log.0.close() {
                lock(&left).push(Mutex::new(end));
            }
        });
        let left = left.into_inner().unwrap_or_else(PoisonError::into_inner);
        on_threads(&left, |end| {
            if self.options.clock.monotonic() < cut_until
                && let Err(error) = lock(end).cut_prepared_space()
            {
                tracing::debug!(%error, "the file of an idle log was not cut; the next start does it");
            }
        });
        *lock(&self.lock) = None;
    }
}

/// Calls `work` with every item, on up to [`OPEN_THREADS`] threads.
fn on_threads<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..OPEN_THREADS.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

impl CatalogInner {
    /// Sets the state of a name.
    pub(super) fn set(&self, name: &LogName, slot: Option<Slot>) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        match slot {
            Some(slot) => slots.insert(name.clone(), slot),
            None => slots.remove(name),
        };
    }

    /// Reserves a name that no log has.
    pub(super) fn reserve(&self, name: &LogName) -> Result<ReservedName<'_>, Error> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::ShuttingDown);
        }
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if slots.contains_key(name) {
            return Err(Error::LogExists { name: name.to_string() });
        }
        slots.insert(name.clone(), Slot::Busy);
        Ok(ReservedName { catalog: self, name: name.clone(), resolved: false })
    }

    /// Takes a log out of use, so that it can be deleted or truncated.
    pub(super) fn take(&self, name: &LogName) -> Result<(Slot, ReservedName<'_>), Error> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::ShuttingDown);
        }
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get_mut(name).ok_or_else(|| not_found(name))?;
        match slot {
            Slot::Opening | Slot::Removing(_) => return Err(scanning(name)),
            Slot::Busy => return Err(not_found(name)),
            Slot::Open(_) | Slot::Unknown(_) => {}
        }
        let meanwhile = match slot {
            Slot::Open(log) => Slot::Removing(log.clone()),
            _ => Slot::Busy,
        };
        let old = std::mem::replace(slot, meanwhile);
        Ok((old, ReservedName { catalog: self, name: name.clone(), resolved: false }))
    }
}

/// The monotonic time of the first record of the newest segment, for a log that is being opened.
/// Warns if the log's last timestamp is in the future.
fn first_at_us(name: &LogName, view: &View, now: &Now) -> i64 {
    let durable = &view.durable;
    // If the timestamp cannot be true, the age is counted from now.
    let age_us = now.age_us(durable.first_timestamp_us).unwrap_or_default();
    let sealed = view.segments.iter().rev().find_map(|segment| segment.summary());
    let last_us = sealed.map_or(0, |sealed| sealed.last_timestamp_us);
    let last_us = last_us.max(durable.last_timestamp_us);
    if last_us > now.stamp_us.saturating_add(JUMP_US_MIN) {
        tracing::warn!(
            log = %name,
            last = shown(last_us),
            now = shown(now.stamp_us),
            "the last timestamp of the log is in the future: new records get the same timestamp until then (see \"A clock that was wrong\" in docs/operating.md)"
        );
    }
    now.monotonic_us.cast_signed().saturating_sub_unsigned(age_us)
}

impl Drop for CatalogInner {
    fn drop(&mut self) {
        // Without threads, the queued requests would never be committed.
        if self.options.committers_max > 0 {
            self.close_all(Duration::MAX);
        }
    }
}

/// A name that one caller owns. If it is dropped unresolved, the name becomes free.
pub(super) struct ReservedName<'a> {
    catalog: &'a CatalogInner,
    name: LogName,
    resolved: bool,
}

impl ReservedName<'_> {
    /// Puts the log under the name, or records that this failed.
    pub(super) fn fill(mut self, log: Result<Log, Error>) -> Result<Log, Error> {
        self.resolved = true;
        let there = self.catalog.options.storage.list(&self.catalog.directory(&self.name)).is_ok();
        let slot = match &log {
            Ok(log) => Some(Slot::Open(log.clone())),
            // Another file or directory has the name.
            Err(Error::NameTaken { .. }) => None,
            // It failed after its files were created.
            Err(error) if there => Some(Slot::Unknown(error.to_string())),
            Err(_) => None,
        };
        self.catalog.set(&self.name, slot);
        log
    }

    pub(super) fn put_back(mut self, slot: Slot) {
        self.resolved = true;
        self.catalog.set(&self.name, Some(slot));
    }

    pub(super) fn clear(mut self) {
        self.resolved = true;
        self.catalog.set(&self.name, None);
    }
}

impl Drop for ReservedName<'_> {
    fn drop(&mut self) {
        if !self.resolved {
            self.catalog.set(&self.name, None);
        }
    }
}
