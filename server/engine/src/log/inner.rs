//! The parts of a log, and whether it is usable.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use styx_protocol::{LogConfig, LogId, LogName, LogStatus};

use crate::Error;
use crate::append::{Append, AppendError, Appended, StreamError, Ticket};
use crate::archive::list::ArchiveList;
use crate::archive::{Lineage, StoreAccess};
use crate::block_parts::BlockParts;
use crate::clock::{StampClock, SteadyTime};
use crate::commit::buffer_pool::BufferPool;
use crate::commit::failure::Failure;
use crate::commit::log_end::{LogEnd, WriteHead};
use crate::commit::queue::{Pushed, Queue, Request};
use crate::commit::roll::SegmentDirectory;
use crate::commit::thread_pool::{Job, ThreadPool};
use crate::cursors::Cursors;
use crate::disk_reserve::DiskReserve;
use crate::log::maintainer::Maintainer;
use crate::log::micros;
use crate::log::open_ends::OpenEnds;
use crate::measurements::Measurements;
use crate::producers::ProducerTable;
use crate::read_ahead::ReadAhead;
use crate::segment::OpenSegments;
use crate::storage::{Identity, Lock};
use crate::sync::lock;
use crate::tail::Tail;
use crate::wait::promise;
use crate::watermark::Watermark;

/// What all logs of a catalog share.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    pub(crate) pool: Arc<ThreadPool>,
    pub(crate) maintainer: Arc<Maintainer>,
    pub(crate) buffer_pool: Arc<BufferPool>,
    pub(crate) read_ahead: Arc<ReadAhead>,
    pub(crate) block_parts: Arc<BlockParts>,
    pub(crate) time: SteadyTime,
    pub(crate) stamps: Arc<StampClock>,
    pub(crate) open_segments: Arc<OpenSegments>,
    pub(crate) open_ends: Arc<OpenEnds>,
    pub(crate) disk_reserve: Arc<DiskReserve>,
    pub(crate) measurements: Arc<Measurements>,
    pub(crate) store: StoreAccess,
    pub(crate) pad_commits: bool,
    pub(crate) direct_bytes_min: usize,
    pub(crate) overlap_bytes_min: usize,
}

/// The locked list of archived segments of a log.
pub(crate) type ListGuard<'a> = MutexGuard<'a, Option<Box<ArchiveList>>>;

/// The log itself.
#[derive(Debug)]
pub(crate) struct LogInner {
    pub(crate) weak_self: Weak<LogInner>,
    pub(crate) name: LogName,
    pub(crate) id: LogId,
    pub(crate) config: LogConfig,
    /// `<data>/<name>`.
    pub(crate) directory: PathBuf,
    /// The identity of this directory; `None` if the storage has no identities.
    pub(crate) identity: Option<Identity>,
    /// The locks of a log behind a symbolic link, until it is closed.
    pub(crate) link_locks: Mutex<Vec<Box<dyn Lock>>>,
    pub(crate) segment_directory: SegmentDirectory,
    pub(crate) services: Services,
    pub(crate) queue: Queue,
    pub(crate) tail: Tail,
    /// The durable state of the idempotent producers; only the committer changes it.
    pub(crate) producers: Arc<Mutex<ProducerTable>>,
    /// Where the next group goes while a large group is being written. The committer locks it
    /// before `end`.
    pub(crate) next_head: Mutex<Option<WriteHead>>,
    /// `None` if the log accepts no appends.
    pub(crate) end: Mutex<Option<LogEnd>>,
    pub(crate) watermark: Mutex<Option<Watermark>>,
    pub(crate) cursors: Cursors,
    /// The list of archived segments; `None` if there is none. Held while the list or the version in
    /// `log.toml` is written, while files of archived segments are changed, and while the log is
    /// closed, deleted or truncated. Locked before `end` and `trim_lock`.
    pub(crate) archive: Mutex<Option<Box<ArchiveList>>>,
    /// The logs from which it was restored.
    pub(crate) lineage: Lineage,
    /// As in `log.toml`; changed with the lock of `archive`.
    pub(crate) has_archive_manifest: AtomicBool,
    /// The newest segment's file is open, and [`OpenEnds`] knows it.
    pub(crate) is_end_open: AtomicBool,
    /// Held by retention and trims, so that one of them runs at a time, and while the log is closed.
    /// Locked after `end`.
    pub(crate) trim_lock: Mutex<()>,
    /// The status, and the cause if it is not `ok`.
    pub(crate) health: Mutex<(LogStatus, String)>,
    /// The maintainer knows that this log needs it.
    pub(crate) maintenance_scheduled: AtomicBool,
    /// The end of the archived segments that [`Log::archived_position`](crate::Log) has seen.
    pub(crate) archived_until: AtomicU64,
    /// The monotonic time of the last commit.
    pub(crate) committed_at_us: AtomicU64,
    /// The monotonic time at which the watermark was last written.
    pub(crate) watermark_at_us: AtomicU64,
    /// The monotonic time of the first record of the newest segment in µs. It may be negative.
    pub(crate) first_at_us: AtomicI64,
    pub(crate) counters: LogCounters,
}

#[derive(Debug, Default)]
pub(crate) struct LogCounters {
    pub(crate) commits: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) records_read: AtomicU64,
    pub(crate) bytes_read: AtomicU64,
    /// How often a caller got the log by its name.
    pub(crate) opened: AtomicU64,
}

impl LogInner {
    /// Queues an append; see [`Log::append`](crate::Log::append).
    #[expect(clippy::result_large_err, reason = "a full queue returns the append itself")]
    pub(crate) fn enqueue(
        &self,
        append: Append,
        stream_error: Option<Arc<StreamError>>,
    ) -> Result<Ticket, AppendError> {
        let longest = append.longest();
        if longest > self.config.payload_bytes_max() {
            let max = self.config.max_record_size.unsigned_abs();
            return Err(Error::RecordTooLarge { size: longest as u64 + 8, max }.into());
        }
        let (promise, completion) = promise();
        if append.count() == 0 {
            let end = self.tail.end();
            promise.complete(Ok(Appended { base: end, end, count: 0, repeated: 0 }));
            return Ok(Ticket(completion));
        }
        let queued_at_us = micros(self.monotonic());
        match self.push(Request::Append { append, stream_error, promise, queued_at_us })? {
            Some(Request::Append { append, .. }) => Err(AppendError::QueueFull(append)),
            _ => Ok(Ticket(completion)),
        }
    }

    /// Queues a request, and submits a job if none will take it. Returns the request if the queue
    /// is full.
    pub(crate) fn push(&self, item: Request) -> Result<Option<Request>, Error> {
        match self.queue.push(item)? {
            Pushed::Full(item) => return Ok(Some(item)),
            Pushed::Submit => {
                // The log is gone only if no handle can wait for it any more.
                if let Some(log) = self.weak_self.upgrade() {
                    self.services.pool.submit(log as Arc<dyn Job>);
                }
            }
            Pushed::Behind => {}
        }
        Ok(None)
    }

    /// Converts a failure into the error of the group. The log becomes `tainted` unless nothing was
    /// written.
    pub(crate) fn record_failure(&self, failure: Failure) -> Error {
        if matches!(failure, Failure::NoSpace | Failure::BelowReserve(_)) {
            self.services.store.depot.disk_is_short(&self.name, self.id);
        }
        match failure {
            Failure::NoSpace => Error::StorageFull { path: self.directory.clone() },
            Failure::BelowReserve(space) => {
                self.services.disk_reserve.refusal(&self.directory, space)
            }
            Failure::NoDescriptor(error) => {
                Error::io("cannot open a file in", &self.directory)(error)
            }
            Failure::Broken(cause) => {
                self.taint(&cause);
                Error::OutcomeUnknown { cause }
            }
        }
    }

    /// Stops appends until the log is recovered. The first cause is kept.
    pub(crate) fn taint(&self, cause: &str) {
        {
            let mut health = lock(&self.health);
            if health.0 == LogStatus::Ok {
                *health = (LogStatus::Tainted, cause.to_owned());
                tracing::error!(log = %self.name, cause, "appends stop; durable records can still be read; restart the server to recover");
            }
        }
        let refusal = self.not_available();
        self.queue.refuse(refusal, false);
        self.queue.fail_all(&Error::OutcomeUnknown { cause: self.cause() });
    }

    /// Records damage that was found after the log was opened.
    pub(crate) fn mark_corrupt(&self, cause: &str) {
        {
            let mut health = lock(&self.health);
            if health.0 == LogStatus::Corrupt {
                return;
            }
            *health = (LogStatus::Corrupt, cause.to_owned());
        }
        tracing::error!(log = %self.name, cause, "the log is damaged; its intact records can still be read; run `styx verify`");
        let refusal = self.not_available();
        self.queue.refuse(refusal, false);
    }

    /// Whether the log's directory was removed or replaced since the log was opened.
    pub(crate) fn is_displaced(&self) -> bool {
        match self.segment_directory.storage.identity(&self.directory) {
            Ok(found) => found != self.identity,
            Err(error) => is_missing(&error),
        }
    }

    /// The cause of the status of a log whose directory was removed or replaced.
    pub(crate) fn displaced(&self) -> String {
        format!(
            "its directory {} was removed or replaced while the server ran: delete the log, or put the directory back",
            self.directory.display()
        )
    }

    pub(crate) fn cause(&self) -> String {
        lock(&self.health).1.clone()
    }

    /// Why this log accepts no appends, and what to do.
    pub(crate) fn not_available(&self) -> Error {
        let (status, cause) = lock(&self.health).clone();
        let advice = match status {
            LogStatus::Corrupt => "run `styx verify`; its intact records can still be read",
            _ => "restart the server to recover it; its records can still be read",
        };
        Error::NotAvailable {
            name: self.name.to_string(),
            status,
            cause: format!("{cause}; {advice}"),
        }
    }

    /// Closes the log for all of its handles: waiting requests fail, and readers end. After it, no
    /// thread changes a file of the log, which may then be that of the next log with its name. The
    /// caller holds the lock of `archive`, because a thread that uses it may be changing files.
    pub(crate) fn close_with(&self, _list: &ListGuard<'_>, error: &Error) {
        self.queue.refuse(error.clone(), true);
        // Before the log that replaces this one opens the same file.
        self.cursors.close_with(error);
        let mut end = self.lock_end();
        self.queue.fail_all(error);
        *end = None;
        let _no_trim = lock(&self.trim_lock);
        *lock(&self.watermark) = None;
        lock(&self.link_locks).clear();
        self.tail.close_with(error.clone());
    }

    /// Commits the queued requests and closes the files. New appends are refused.
    ///
    /// Returns the end of the log if its file, which was closed before, still has prepared space.
    /// [`LogEnd::cut_prepared_space`] removes it; the next start does the same, but slowly.
    ///
    /// After it, no other thread changes a file of the log.
    pub(crate) fn close(&self) -> Option<LogEnd> {
        self.queue.refuse(Error::ShuttingDown, false);
        self.cursors.close_with(&Error::ShuttingDown);
        let mut key = None;
        pollster::block_on(std::future::poll_fn(|context| {
            if self.queue.register_idle(&mut key, context.waker()) {
                std::task::Poll::Pending
            } else {
                std::task::Poll::Ready(())
            }
        }));
        let mut slot = self.lock_end();
        let mut end = slot.take();
        if let Some(end) = &mut end {
            if lock(&self.health).0 == LogStatus::Ok
                && let Err(error) = self.finish(end)
            {
                tracing::error!(log = %self.name, %error, "the log was not closed cleanly; the next start recovers it");
            }
            // Handles of the log may still exist, and they must not keep its file open.
            drop(end.close_file());
        }
        drop(slot);
        let is_ok = lock(&self.health).0 == LogStatus::Ok;
        // Threads that hold these locks may be changing files, and a trim needs the watermark. Later
        // ones find the log closed.
        let no_change = (lock(&self.archive), lock(&self.trim_lock));
        *lock(&self.watermark) = None;
        lock(&self.link_locks).clear();
        self.tail.close_with(Error::ShuttingDown);
        drop(no_change);
        end.filter(|end| is_ok && end.has_prepared_space())
    }

    /// Syncs only what needs it, so that a server with many idle logs stops quickly: the records
    /// are durable already. An open file loses its prepared space.
    fn finish(&self, end: &mut LogEnd) -> io::Result<()> {
        end.sync_rest()?;
        if end.file.is_some() {
            end.cut_prepared_space()?;
        }
        if self.is_watermark_current() {
            return Ok(());
        }
        self.write_watermark(None)
    }

    pub(crate) fn monotonic(&self) -> Duration {
        self.services.time.monotonic()
    }
}

/// Whether a call failed because nothing has the path's name any more.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
