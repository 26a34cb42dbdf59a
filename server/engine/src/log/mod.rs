//! An open log.
//!
//! [`Log`] is the public handle and [`LogInner`] the log itself. Two kinds of background work
//! run on it: [committing](crate::commit), on the threads of the pool, and [`maintenance`], on
//! the thread of the [`maintainer`].

mod append_stream;
mod archive;
mod closed;
mod download;
mod index;
mod inner;
pub(crate) mod maintainer;
mod maintenance;
pub(crate) mod open_ends;
mod queue_space;
mod replica;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use styx_protocol::{LogConfig, LogId, LogInfo, LogName, LogStatus, Position};

use crate::archive::Kept;
use crate::commit::queue::Request;
use crate::producers::ProducerView;
use crate::segment::Place;
use crate::storage::DiskWait;
use crate::sync::lock;
use crate::wait::promise;
use crate::{
    Append, AppendError, Error, Found, ProducerState, Reader, Record, Ticket, backup, seek,
};

pub use append_stream::AppendStream;
pub use closed::Closed;
pub(crate) use inner::{LogCounters, LogInner, Services, is_missing};
pub(crate) use maintenance::micros;
pub use queue_space::QueueSpace;
pub use replica::{Activity, Extended};

/// Where a read begins. Positions are not clamped to the log's range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// Relative to position 0.
    Origin(i64),
    /// Relative to the first kept record.
    Start(i64),
    /// Relative to the durable end.
    End(i64),
    /// The first record appended at or after this time, in µs since the epoch. If there is none,
    /// the end.
    Time(u64),
}

/// Counters for metrics, since the log was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Groups that were written and synced.
    pub commits: u64,
    /// Records in these groups.
    pub records_appended: u64,
    /// Bytes that were written for these groups, including headers.
    pub bytes_written: u64,
    /// Bytes that wait to be committed.
    pub queue_bytes: u64,
    /// Bytes of the log's segment files on the disk.
    pub disk_bytes: u64,
    /// Bytes of the log's segments that are only in the object store.
    pub remote_bytes: u64,
    /// The number of segments.
    pub segments: u64,
    /// Records that readers took, as [`Log::count_read`] was told.
    pub records_read: u64,
    /// The bytes of these records, as they were read: a compressed block counts its stored size.
    pub bytes_read: u64,
}

/// A segment of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The position of its first record.
    pub start: Position,
    /// The position after its last durable record.
    pub end: Position,
    /// Bytes of its file, up to the durable end; 0 if it is only in the object store.
    pub disk_bytes: u64,
    /// Bytes of the segment, wherever they are.
    pub bytes: u64,
    /// Where these bytes are.
    pub place: Place,
    /// When its first record was appended, in µs since the epoch; 0 without records.
    pub first_timestamp_us: u64,
    /// When its last record was appended; 0 without records.
    pub last_timestamp_us: u64,
    /// Whether it is complete; only the newest segment is not.
    pub is_finished: bool,
}

/// A handle to an open log.
#[derive(Debug, Clone)]
pub struct Log(pub(crate) Arc<LogInner>);

impl Log {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &LogName {
        &self.0.name
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> LogId {
        self.0.id
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> LogConfig {
        self.0.config
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> LogStatus {
        lock(&self.0.health).0
    }

    /// The log as the API describes it.
    #[must_use]
    pub fn info(&self) -> LogInfo {
        let view = self.0.tail.view();
        LogInfo {
            name: self.0.name.to_string(),
            status: self.status(),
            record_count: view.durable.position.since(view.start()),
            file_size: view.record_bytes(),
            start_position: view.start().0,
            end_position: view.durable.position.0,
        }
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let view = self.0.tail.view();
        let counters = &self.0.counters;
        LogStats {
            commits: counters.commits.load(Ordering::Relaxed),
            records_appended: counters.records.load(Ordering::Relaxed),
            bytes_written: counters.bytes.load(Ordering::Relaxed),
            queue_bytes: self.0.queue.bytes() as u64,
            disk_bytes: view.disk_bytes(),
            remote_bytes: view.remote_bytes(),
            segments: view.segments.len() as u64,
            records_read: counters.records_read.load(Ordering::Relaxed),
            bytes_read: counters.bytes_read.load(Ordering::Relaxed),
        }
    }

    /// Counts records that a caller has read and used, for [`Log::stats`]. A [`Reader`] does not
    /// count by itself, because its caller may go back to records that it could not use.
    pub fn count_read(&self, records: u64, bytes: u64) {
        self.0.counters.records_read.fetch_add(records, Ordering::Relaxed);
        self.0.counters.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The kept segments, the oldest first. Never waits for the disk.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let view = self.0.tail.view();
        let segments = view.segments.iter().map(|segment| match segment.summary() {
            Some(sealed) => SegmentInfo {
                start: segment.base,
                end: sealed.end,
                disk_bytes: if segment.is_remote() { 0 } else { sealed.bytes },
                bytes: sealed.bytes,
                place: segment.place(),
                first_timestamp_us: sealed.first_timestamp_us,
                last_timestamp_us: sealed.last_timestamp_us,
                is_finished: true,
            },
            None => SegmentInfo {
                start: segment.base,
                end: view.durable.position,
                disk_bytes: view.durable.offset,
                bytes: view.durable.offset,
                place: Place::Local,
                first_timestamp_us: view.durable.first_timestamp_us,
                last_timestamp_us: view.durable.last_timestamp_us,
                is_finished: false,
            },
        });
        segments.collect()
    }

    /// Position of the first kept record.
    #[must_use]
    pub fn start_position(&self) -> Position {
        self.0.tail.view().start()
    }

    /// Position after the last durable record.
    #[must_use]
    pub fn end_position(&self) -> Position {
        self.0.tail.end()
    }

    /// Append times of the first kept and the last durable record, in µs since the epoch; `None` if
    /// the log has no record. Never waits for the disk.
    #[must_use]
    pub fn timestamps(&self) -> Option<(u64, u64)> {
        let view = self.0.tail.view();
        let sealed: Vec<_> = view.segments.iter().filter_map(|segment| segment.summary()).collect();
        let newest = view.durable;
        let first = sealed.first().map_or(newest.first_timestamp_us, |s| s.first_timestamp_us);
        let newest_has_records = newest.record_bytes > 0;
        let last = match sealed.last() {
            Some(sealed) if !newest_has_records => sealed.last_timestamp_us,
            _ => newest.last_timestamp_us,
        };
        (view.durable.position > view.start()).then_some((first, last))
    }

    /// Queues an append; never waits for the disk. Appends are committed in the order in which they
    /// are queued.
    ///
    /// # Errors
    /// [`AppendError::Refused`]: a record is too large, the log is not `ok`, or it was removed.
    /// [`AppendError::QueueFull`]: the queue is full, and the append is returned.
    #[expect(clippy::result_large_err, reason = "a full queue returns the append itself")]
    pub fn append(&self, append: impl Into<Append>) -> Result<Ticket, AppendError> {
        self.0.enqueue(append.into(), None)
    }

    /// Appends in order: the durable ones are always a prefix of the stream.
    #[must_use]
    pub fn stream(&self) -> AppendStream {
        AppendStream { log: Arc::clone(&self.0), stream_error: Arc::default() }
    }

    /// Checks whether the log accepts appends at all.
    ///
    /// # Errors
    /// The log is not `ok`, or it was removed.
    pub fn check_appendable(&self) -> Result<(), Error> {
        self.0.queue.refusal().map_or(Ok(()), Err)
    }

    /// Resolves with the reason once the log is deleted, truncated or closed. Commits do not wake
    /// it.
    #[must_use]
    pub fn closed(&self) -> Closed {
        Closed { log: Arc::clone(&self.0), key: None }
    }

    /// Appends and blocks until the append is durable. Waits while the queue is full.
    ///
    /// # Errors
    /// As [`Log::append`], and the errors of the commit.
    pub fn append_durably(&self, append: impl Into<Append>) -> Result<crate::Appended, Error> {
        let mut append = append.into();
        loop {
            match self.append(append) {
                Ok(ticket) => return ticket.wait(),
                Err(AppendError::QueueFull(returned)) => append = returned,
                Err(AppendError::Refused(error)) => return Err(error),
            }
            self.queue_space().wait();
        }
    }

    /// Resolves when the queue may accept an append again.
    #[must_use]
    pub fn queue_space(&self) -> QueueSpace {
        QueueSpace { log: Arc::clone(&self.0), key: None }
    }

    /// Begins an idempotent producer, or begins it again. Everything that was queued before is
    /// committed first, so the result is final.
    ///
    /// - `id` is not 0.
    /// - `epoch` is the epoch that the producer got earlier, or a higher one. `None` asks for the
    ///   next epoch, which is 1 for a producer that the log does not know.
    ///
    /// A raised epoch is durable once the ticket resolves, and fences lower epochs from then on.
    /// The request is accepted even if the queue is full, because a connection sends it once.
    ///
    /// # Errors
    /// As [`Log::check_appendable`]. On the ticket: [`Error::ProducerFenced`] if the epoch is lower
    /// than the one in force.
    pub fn begin_producer(
        &self,
        id: u64,
        epoch: Option<u32>,
    ) -> Result<Ticket<ProducerState>, Error> {
        let (promise, completion) = promise();
        self.0.push(Request::Begin { producer: id, epoch, promise })?;
        Ok(Ticket(completion))
    }

    /// The durable state of a producer; `None` if the log does not know it. Never waits. Queued
    /// requests may change the state: [`Log::begin_producer`] returns the final one.
    #[must_use]
    pub fn producer(&self, id: u64) -> Option<ProducerState> {
        let table = lock(&self.0.producers);
        table.get(id)?;
        let known = ProducerView::durable(id, &table);
        Some(ProducerState { epoch: known.epoch(), next_sequence: known.next_sequence() })
    }

    /// Forgets a producer and its epoch, after everything that was queued before is durable. The
    /// producer must not append again. A crash may bring back what was forgotten since the segment
    /// began; this is harmless for a producer that no longer appends.
    ///
    /// # Errors
    /// As [`Log::check_appendable`].
    pub fn forget_producer(&self, id: u64) -> Result<(), Error> {
        self.0.push(Request::Forget { producer: id }).map(drop)
    }

    /// Resolves a [`Seek`] to a position. [`Seek::Time`] may wait for the disk and for the object
    /// store; the others never do.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the position is outside the log; [`Error::StoreUnavailable`].
    pub fn seek(&self, to: Seek) -> Result<Position, Error> {
        let mut kept: Option<Kept> = None;
        loop {
            let found = self.find(to);
            drop(kept.take());
            match found? {
                Found::Some(position) => return Ok(position),
                Found::NeedsStore(fetch) => kept = Some(fetch.wait()?),
                Found::AtEnd | Found::NeedsDisk => return Ok(self.end_position()),
            }
        }
    }

    /// As [`Log::seek`], but returns [`Found::NeedsStore`] instead of waiting for the object store.
    /// Keep the result of its future until you have called this again. Never returns
    /// [`Found::AtEnd`] or [`Found::NeedsDisk`].
    ///
    /// # Errors
    /// As [`Log::seek`].
    pub fn find(&self, to: Seek) -> Result<Found<Position>, Error> {
        seek::resolve(&self.0, to)
    }

    /// A reader that begins at this position.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the position is outside the log; the log was removed.
    pub fn reader(&self, from: Position) -> Result<Reader, Error> {
        Reader::new(Arc::clone(&self.0), from)
    }

    /// One record, if it can be read without waiting for the disk.
    ///
    /// # Errors
    /// As [`Log::reader`], and [`Error::CorruptRecord`].
    pub fn try_record(&self, position: Position) -> Result<Found<Record>, Error> {
        self.reader(position)?.read_one(DiskWait::Forbidden)
    }

    /// One record; may wait for the disk.
    ///
    /// # Errors
    /// As [`Log::reader`], and [`Error::CorruptRecord`].
    pub fn record(&self, position: Position) -> Result<Found<Record>, Error> {
        self.reader(position)?.read_one(DiskWait::Allowed)
    }

    /// Removes whole segments before `position`; blocks.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the position is after the end; the log is not available; I/O.
    pub fn trim(&self, position: Position) -> Result<(), Error> {
        self.0.check_writable()?;
        let view = self.0.tail.live_view()?;
        if position > view.durable.position {
            return Err(Error::OutOfRange {
                asked: i128::from(position.0),
                start: view.start(),
                end: view.durable.position,
            });
        }
        self.0.remove_segments(|view| {
            let ends = view.segments.iter().map_while(|segment| segment.summary());
            let before = ends.take_while(|sealed| sealed.end <= position).count();
            before.min(view.segments.len().saturating_sub(1))
        })
    }

    /// Writes a `tar.gz` of the log up to its durable end. Appends continue meanwhile. Blocks.
    ///
    /// # Errors
    /// Reading the log or writing to `out` fails.
    pub fn backup(&self, out: &mut dyn Write) -> Result<(), Error> {
        backup::write(&self.0, out)
    }
}
