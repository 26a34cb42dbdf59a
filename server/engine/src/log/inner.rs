//! What a log is made of, and whether it can be used.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use styx_protocol::{LogConfig, LogId, LogName, LogStatus};

use crate::Error;
use crate::append::{Append, Appended, Full, StreamError, Ticket};
use crate::clock::SteadyTime;
use crate::commit::buffer_pool::BufferPool;
use crate::commit::end::{End, Failure, WriteHead};
use crate::commit::keeper::Keeper;
use crate::commit::pool::{Job, Pool};
use crate::commit::queue::{Item, Pushed, Queue};
use crate::commit::roll::SegmentDirectory;
use crate::producers::Table;
use crate::segment::OpenSegments;
use crate::tail::Tail;
use crate::wait::{lock, promise};
use crate::watermark::Watermark;

/// What a log shares with the catalog.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    pub(crate) pool: Arc<Pool>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) buffer_pool: Arc<BufferPool>,
    pub(crate) time: SteadyTime,
    pub(crate) open_segments: Arc<OpenSegments>,
    pub(crate) pad_commits: bool,
    pub(crate) direct_bytes_min: usize,
    pub(crate) overlap_bytes_min: usize,
}

/// The log itself.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) weak_self: Weak<Inner>,
    pub(crate) name: LogName,
    pub(crate) id: LogId,
    pub(crate) config: LogConfig,
    /// `<data>/<name>`.
    pub(crate) directory: PathBuf,
    pub(crate) segment_directory: SegmentDirectory,
    pub(crate) services: Services,
    pub(crate) queue: Queue,
    pub(crate) tail: Tail,
    /// What is durable of idempotent producers; the committer changes it.
    pub(crate) producers: Arc<Mutex<Table>>,
    /// Where the next group goes while this large one is still written; locked
    /// before `end` by who takes from the queue.
    pub(crate) next_head: Mutex<Option<WriteHead>>,
    /// `None` for a log that cannot be appended to.
    pub(crate) end: Mutex<Option<End>>,
    pub(crate) watermark: Mutex<Option<Watermark>>,
    /// Retention and trims, one at a time.
    pub(crate) trimming: Mutex<()>,
    pub(crate) health: Mutex<(LogStatus, String)>,
    pub(crate) settling: AtomicBool,
    pub(crate) committed_at_us: AtomicU64,
    pub(crate) marked_at_us: AtomicU64,
    pub(crate) counters: Counters,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl Inner {
    /// Queues an append; see [`Log::append`](crate::Log::append).
    pub(crate) fn enqueue(
        &self,
        append: Append,
        stream_error: Option<Arc<StreamError>>,
    ) -> Result<Result<Ticket, Full>, Error> {
        let longest = append.longest();
        if longest > self.config.payload_bytes_max() {
            return Err(Error::RecordTooLarge {
                size: longest as u64 + 8,
                max: self.config.max_record_size.unsigned_abs(),
            });
        }
        let (promise, answer) = promise();
        if append.count() == 0 {
            let end = self.tail.end();
            promise.keep(Ok(Appended { base: end, end, count: 0, repeated: 0 }));
            return Ok(Ok(Ticket(answer)));
        }
        match self.push(Item::Append { append, stream_error, promise })? {
            Some(Item::Append { append, .. }) => Ok(Err(Full(append))),
            _ => Ok(Ok(Ticket(answer))),
        }
    }

    /// Queues a request and sees to it that somebody comes for it; gives it back
    /// when the queue is full.
    pub(crate) fn push(&self, item: Item) -> Result<Option<Item>, Error> {
        match self.queue.push(item)? {
            Pushed::Full(item) => return Ok(Some(item)),
            Pushed::Submit => {
                // Gone only when nobody can wait for it any more.
                if let Some(log) = self.weak_self.upgrade() {
                    self.services.pool.submit(log as Arc<dyn Job>);
                }
            }
            Pushed::Behind => {}
        }
        Ok(None)
    }

    /// Turns a failure into the answer of the group, and poisons the log unless
    /// nothing has happened.
    pub(super) fn failed(&self, failure: Failure) -> Error {
        match failure {
            Failure::Full => Error::StorageFull { path: self.directory.clone() },
            Failure::Broken(cause) => {
                self.taint(&cause);
                Error::OutcomeUnknown { cause }
            }
        }
    }

    /// Ends appends for good; the first cause stays.
    pub(crate) fn taint(&self, cause: &str) {
        {
            let mut health = lock(&self.health);
            if health.0 == LogStatus::Ok {
                *health = (LogStatus::Tainted, cause.to_owned());
                tracing::error!(log = %self.name, cause, "appends stop; records that are durable can be read; restart to recover");
            }
        }
        let refusal = self.not_available();
        self.queue.refuse(refusal, false);
        self.queue.fail_all(&Error::OutcomeUnknown { cause: self.cause() });
    }

    /// Marks damage that was found after the log was opened.
    pub(crate) fn mark_corrupt(&self, cause: &str) {
        {
            let mut health = lock(&self.health);
            if health.0 == LogStatus::Corrupt {
                return;
            }
            *health = (LogStatus::Corrupt, cause.to_owned());
        }
        tracing::error!(log = %self.name, cause, "the log is damaged; intact records can be read; run styx verify");
        let refusal = self.not_available();
        self.queue.refuse(refusal, false);
    }

    pub(super) fn cause(&self) -> String {
        lock(&self.health).1.clone()
    }

    /// Why this log takes no appends, and what to do.
    pub(crate) fn not_available(&self) -> Error {
        let (status, cause) = lock(&self.health).clone();
        let advice = match status {
            LogStatus::Corrupt => "run `styx verify`; its intact records can be read",
            _ => "restart the server to recover it; its records can be read",
        };
        Error::NotAvailable {
            name: self.name.to_string(),
            status,
            cause: format!("{cause}; {advice}"),
        }
    }

    /// Ends the log under its handles: what waits is refused, readers end.
    pub(crate) fn end_with(&self, error: &Error) {
        self.queue.refuse(error.clone(), true);
        let mut end = self.end_alone();
        self.queue.fail_all(error);
        *end = None;
        *lock(&self.watermark) = None;
        self.tail.end_with(error.clone());
    }

    /// Commits what is queued and lets the files go; new appends are refused.
    pub(crate) fn close(&self) {
        self.queue.refuse(Error::ShuttingDown, false);
        let mut key = None;
        crate::wait::block_on(std::future::poll_fn(|context| {
            if self.queue.register_idle(&mut key, context.waker()) {
                std::task::Poll::Pending
            } else {
                std::task::Poll::Ready(())
            }
        }));
        let mut slot = self.end_alone();
        if let Some(end) = slot.take()
            && lock(&self.health).0 == LogStatus::Ok
        {
            let cut = end.file.set_len(end.cursor.offset).and_then(|()| end.file.sync());
            if let Err(error) = cut.and_then(|()| self.write_watermark(None)) {
                tracing::error!(log = %self.name, %error, "the log was not closed cleanly; it will be recovered");
            }
        }
        drop(slot);
        *lock(&self.watermark) = None;
        self.tail.end_with(Error::ShuttingDown);
    }

    /// What a group is stamped with: the wall clock, unless it was set back.
    pub(super) fn stamp_us(&self) -> u64 {
        self.services.time.clock().wall_us().max(self.services.time.now_us())
    }

    pub(super) fn monotonic(&self) -> Duration {
        self.services.time.clock().monotonic()
    }
}
