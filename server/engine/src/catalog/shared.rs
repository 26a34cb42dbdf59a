//! Opening, building and closing the logs of a data directory.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, Weak};

use styx_protocol::{LogConfig, LogId, LogName, LogStatus, Position};

use super::Options;
use super::slot::Slot;
use crate::commit::end::Failure;
use crate::commit::queue::Queue;
use crate::commit::roll::{SegmentDirectory, SegmentStart};
use crate::log::{Counters, Inner, Services};
use crate::manifest::Manifest;
use crate::recovery::{self, Recovered, read_manifest};
use crate::scrub::{self, Pace, Stopper};
use crate::segment::name;
use crate::storage::{Lock, replace_file};
use crate::tail::{Budget, Tail};
use crate::wait::lock;
use crate::watermark::{Mark, Watermark};
use crate::{Error, Log, opening, random, restore};

/// What all handles of a catalog share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) services: Services,
    pub(super) budget: Arc<Budget>,
    pub(super) slots: RwLock<BTreeMap<LogName, Slot>>,
    /// Logs that are still being opened, and who waits for that.
    pub(super) opening: Mutex<usize>,
    pub(super) opened: Condvar,
    pub(super) closing: AtomicBool,
    pub(super) scrubbed: Arc<scrub::Counters>,
    pub(super) stopper: Arc<Stopper>,
    /// Until the catalog is closed.
    pub(super) lock: Mutex<Option<Box<dyn Lock>>>,
}

/// Logs that are opened, or closed, at the same time.
pub(super) const OPENERS: usize = 4;

impl Shared {
    pub(super) fn directory(&self, name: &LogName) -> PathBuf {
        self.options.data_directory.join(name.as_str())
    }

    /// A new name in the data directory that no log can have.
    pub(super) fn beside(&self, prefix: &str) -> Result<PathBuf, Error> {
        let directory = &self.options.data_directory;
        let number = random::u64().map_err(Error::io("cannot name a directory in", directory))?;
        Ok(directory.join(format!("{prefix}{number:016x}")))
    }

    pub(super) fn new_id(&self) -> Result<LogId, Error> {
        let directory = &self.options.data_directory;
        random::u128().map(LogId).map_err(Error::io("cannot draw an id in", directory))
    }

    /// Opens a log that was there when the catalog was.
    pub(super) fn open_one(&self, name: &LogName) {
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
    pub(super) fn recover(&self, name: &LogName) -> Result<Log, Error> {
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

    pub(super) fn bring_to_life(
        &self,
        name: &LogName,
        directory: PathBuf,
        from: Recovered,
    ) -> Arc<Inner> {
        let config = from.manifest.config;
        let producers = from.end.as_ref().map(|end| Arc::clone(&end.producers));
        let log = Arc::new_cyclic(|weak_self| Inner {
            weak_self: weak_self.clone(),
            name: name.clone(),
            id: from.manifest.id,
            config,
            directory,
            segment_directory: from.segment_directory,
            services: self.services.clone(),
            queue: Queue::new(self.options.queue_bytes_max, self.options.overlap_bytes_min),
            tail: Tail::new(from.view, Arc::clone(&self.budget), self.options.tail_bytes_max),
            producers: producers.unwrap_or_default(),
            next_head: Mutex::new(None),
            end: Mutex::new(from.end),
            watermark: Mutex::new(from.watermark),
            trimming: Mutex::new(()),
            health: Mutex::new((LogStatus::Ok, String::new())),
            settling: AtomicBool::new(false),
            committed_at_us: AtomicU64::new(0),
            marked_at_us: AtomicU64::new(0),
            counters: Counters::default(),
        });
        if config.segment_max_age > 0 || config.log_max_age > 0 {
            self.services.keeper.watch_ages(Arc::downgrade(&log));
        }
        log
    }

    /// Builds the files of an empty log, its manifest last: that is the commit
    /// point of a create, and of a truncate.
    pub(super) fn build(&self, directory: &Path, manifest: Manifest) -> Result<(), Error> {
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
        let segment_directory = SegmentDirectory {
            storage: Arc::clone(storage),
            path: folder,
            index_after_size: manifest.config.index_after_size,
        };
        let start = SegmentStart { base: Position::ORIGIN, prev_crc: 0, timestamp_us: 0, epoch: 0 };
        segment_directory.begin_segment(start).map_err(|failure| match failure {
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
    pub(super) fn next_generation(&self, directory: &Path) -> Result<Manifest, Error> {
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
    pub(super) fn unpack(&self, name: &LogName, archive: &mut dyn Read) -> Result<(), Error> {
        let storage = &self.options.storage;
        let temporary = self.beside(opening::RESTORING)?;
        let directory = self.directory(name);
        let id = self.new_id()?;
        let now_us = self.options.clock.wall_us();
        restore::place(&**storage, &temporary, &directory, || {
            restore::unpack(storage, &temporary, id, now_us, archive)
        })
    }

    pub(super) fn pace(&self) -> Pace {
        Pace {
            bytes_per_second: self.options.scrub_bytes_per_second,
            stop: Arc::clone(&self.stopper),
        }
    }

    pub(super) fn close_all(&self) {
        self.closing.store(true, Ordering::Release);
        self.stopper.stop();
        let slots =
            std::mem::take(&mut *self.slots.write().unwrap_or_else(PoisonError::into_inner));
        let open: Vec<Log> = slots
            .into_values()
            .filter_map(|slot| match slot {
                Slot::Open(log) | Slot::Ending(log) => Some(log),
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
        *lock(&self.lock) = None;
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

/// The scrub's thread: pass after pass, until the catalog closes. It keeps no
/// catalog alive.
pub(super) fn scrub_on(catalog: &Weak<Shared>, pace: &Pace) {
    loop {
        let Some(shared) = catalog.upgrade() else { return };
        let pause = shared.options.scrub_pause;
        let scrubbed = Arc::clone(&shared.scrubbed);
        let logs: Vec<Log> = {
            let slots = shared.slots.read().unwrap_or_else(PoisonError::into_inner);
            let open = slots.values().filter_map(|slot| match slot {
                Slot::Open(log) => Some(log.clone()),
                _ => None,
            });
            open.collect()
        };
        let opening = *lock(&shared.opening) > 0;
        drop(shared);
        if opening {
            if !pace.stop.wait(std::time::Duration::from_millis(200)) {
                return;
            }
            continue;
        }
        for log in logs {
            let mut go_on = true;
            scrub::scrub(&log, &scrubbed, &mut |bytes| {
                go_on = pace.pass(bytes);
                go_on
            });
            if !go_on {
                return;
            }
        }
        scrubbed.passes.fetch_add(1, Ordering::Relaxed);
        if !pace.stop.wait(pause) {
            return;
        }
    }
}
