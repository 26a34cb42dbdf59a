//! One open log.
//!
//! [`Log`] is the handle that everybody holds, [`Inner`] the log itself. What
//! goes on in it stands in two places: [`commit`](self::commit), which the
//! committers run, and [`upkeep`], which is done later.

mod commit;
mod gone;
mod inner;
mod upkeep;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use styx_protocol::{LogConfig, LogId, LogInfo, LogName, LogStatus, Position};

use crate::commit::queue::Item;
use crate::producers::Known;
use crate::wait::{lock, promise};
use crate::{
    Append, Error, Found, Full, ProducerState, Reader, Record, Room, Stream, Ticket, backup, seek,
};

pub use gone::Gone;
pub(crate) use inner::{Counters, Inner, Services};

/// Where a read begins. Nothing is clamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// Relative to position 0.
    Origin(i64),
    /// Relative to the first kept record.
    Start(i64),
    /// Relative to the durable end.
    End(i64),
    /// The first record appended at or after this, µs since the epoch; the end
    /// if there is none.
    Time(u64),
}

/// Counters for metrics, since the log was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Groups written and synced.
    pub commits: u64,
    /// Records in them.
    pub records_appended: u64,
    /// Bytes written for them, headers and all.
    pub bytes_written: u64,
    /// Bytes waiting to be committed.
    pub queue_bytes: u64,
    /// Bytes of the log's segment files.
    pub disk_bytes: u64,
    /// Segments.
    pub segments: u64,
}

/// A handle on an open log.
#[derive(Debug, Clone)]
pub struct Log(pub(crate) Arc<Inner>);

impl Log {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &LogName {
        &self.0.name
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> LogId {
        self.0.id
    }

    /// How it is kept.
    #[must_use]
    pub fn config(&self) -> LogConfig {
        self.0.config
    }

    /// Whether it can be used.
    #[must_use]
    pub fn status(&self) -> LogStatus {
        lock(&self.0.health).0
    }

    /// What the API says about it.
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
            segments: view.segments.len() as u64,
        }
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

    /// Append times of the first kept and the last durable record, µs since the
    /// epoch; `None` when there is no record. Never waits for the disk.
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

    /// Queues an append; never waits for the disk. Appends are committed in the
    /// order in which they are queued.
    ///
    /// # Errors
    /// Outer: what is certain at once (too large a record, a log that is not
    /// `ok`, one that is gone). Inner: the queue is full; the append comes back.
    pub fn append(&self, append: impl Into<Append>) -> Result<Result<Ticket, Full>, Error> {
        self.0.enqueue(append.into(), None)
    }

    /// Appends that stand in a row: what is durable of them is a prefix.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream { log: Arc::clone(&self.0), stream_error: Arc::default() }
    }

    /// Whether an append would be refused now, whatever it holds.
    ///
    /// # Errors
    /// The log is not `ok`, or gone.
    pub fn check_appendable(&self) -> Result<(), Error> {
        self.0.queue.refusal().map_or(Ok(()), Err)
    }

    /// Resolves once the log is gone for its handles (deleted, truncated or
    /// closed), with why. Commits do not wake it.
    #[must_use]
    pub fn gone(&self) -> Gone {
        Gone { log: Arc::clone(&self.0), key: None }
    }

    /// Appends and blocks until it is durable, waiting for room if there is
    /// none.
    ///
    /// # Errors
    /// As [`Log::append`], and what became of it.
    pub fn append_durably(&self, append: impl Into<Append>) -> Result<crate::Appended, Error> {
        let mut append = append.into();
        loop {
            match self.append(append)? {
                Ok(ticket) => return ticket.wait(),
                Err(Full(back)) => append = back,
            }
            self.room().wait();
        }
    }

    /// Resolves when the queue may take something again.
    #[must_use]
    pub fn room(&self) -> Room {
        Room { log: Arc::clone(&self.0), key: None }
    }

    /// An idempotent producer begins, or begins again: everything that was queued
    /// before is settled first, so that the answer is final. Its id is not 0.
    /// `epoch` is the one it was given earlier, or a higher one; `None` is for the
    /// next one, which is 1 for a producer that the log does not know. An epoch
    /// that is raised is durable once the ticket says so, and fences lower ones from
    /// then on. Never refused for a full queue: a connection does this once.
    ///
    /// # Errors
    /// What is certain at once; on the ticket, [`Error::ProducerFenced`] for a lower
    /// epoch than the one in force.
    pub fn begin_producer(
        &self,
        id: u64,
        epoch: Option<u32>,
    ) -> Result<Ticket<ProducerState>, Error> {
        let (promise, answer) = promise();
        self.0.push(Item::Begin { producer: id, epoch, promise })?;
        Ok(Ticket(answer))
    }

    /// What is durable of a producer now; `None` when the log does not know it.
    /// Never waits. What is queued may change it: [`Log::begin_producer`] is the
    /// final answer.
    #[must_use]
    pub fn producer(&self, id: u64) -> Option<ProducerState> {
        let table = lock(&self.0.producers);
        table.get(id)?;
        let known = Known::durable(id, &table);
        Some(ProducerState { epoch: known.epoch(), next_sequence: known.next_sequence() })
    }

    /// Forgets a producer, its epoch included, once everything is durable that was
    /// queued before: it will not come back. A crash may bring back what was
    /// forgotten since the segment began, which does no harm to a producer that
    /// does not append any more.
    ///
    /// # Errors
    /// What is certain at once.
    pub fn forget_producer(&self, id: u64) -> Result<(), Error> {
        self.0.push(Item::Forget { producer: id }).map(drop)
    }

    /// Where a read that begins there begins. [`Seek::Time`] may wait for the
    /// disk, the others never do.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] outside the log.
    pub fn seek(&self, to: Seek) -> Result<Position, Error> {
        seek::resolve(&self.0, to)
    }

    /// A cursor at this position.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] outside the log; gone.
    pub fn reader(&self, from: Position) -> Result<Reader, Error> {
        Reader::new(Arc::clone(&self.0), from)
    }

    /// One record, if it can be had without waiting for the disk.
    ///
    /// # Errors
    /// As [`Log::reader`], and damage.
    pub fn try_record(&self, position: Position) -> Result<Found<Record>, Error> {
        self.reader(position)?.one(false)
    }

    /// One record; may wait for the disk.
    ///
    /// # Errors
    /// As [`Log::reader`], and damage.
    pub fn record(&self, position: Position) -> Result<Found<Record>, Error> {
        self.reader(position)?.one(true)
    }

    /// Removes whole segments before `position`; blocks.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] after the end; not available; I/O.
    pub fn trim(&self, position: Position) -> Result<(), Error> {
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

    /// Writes a `tar.gz` of the log up to its durable end while appends go on;
    /// blocks.
    ///
    /// # Errors
    /// What reading the log or writing `out` fails with.
    pub fn backup(&self, out: &mut dyn Write) -> Result<(), Error> {
        backup::write(&self.0, out)
    }
}
