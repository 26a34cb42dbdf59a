//! One open log: a cheap handle that can be cloned and shared.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use styx_protocol::{LogConfig, LogId, LogInfo, LogName, LogStatus, Position};

use crate::clock::SteadyTime;
use crate::commit::end::{End, Failure, write};
use crate::commit::keeper::Keeper;
use crate::commit::plan::{Plan, Planned};
use crate::commit::pool::{Job, Pool};
use crate::commit::queue::{Item, Pushed, Queue};
use crate::commit::roll::Ground;
use crate::retention::{exceeds, expired};
use crate::tail::{Group, Tail};
use crate::wait::{lock, promise};
use crate::watermark::{Mark, Watermark};
use crate::{Append, Error, Found, Full, Reader, Record, Room, Ticket, backup, seek};

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

/// Bytes of appends that one group takes, unless a single one is larger.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// A quiet log's watermark is written after this, a busy one's that often.
const WATERMARK_QUIET: Duration = Duration::from_millis(50);
const WATERMARK_BUSY: Duration = Duration::from_secs(1);

/// What a log shares with the catalog.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    pub(crate) pool: Arc<Pool>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) time: SteadyTime,
    pub(crate) pad_commits: bool,
}

/// The log itself.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) me: Weak<Inner>,
    pub(crate) name: LogName,
    pub(crate) id: LogId,
    pub(crate) config: LogConfig,
    /// `<data>/<name>`.
    pub(crate) directory: PathBuf,
    pub(crate) ground: Ground,
    pub(crate) services: Services,
    pub(crate) queue: Queue,
    pub(crate) tail: Tail,
    /// `None` for a log that cannot be appended to.
    pub(crate) end: Mutex<Option<End>>,
    pub(crate) watermark: Mutex<Option<Watermark>>,
    /// Retention and trims, one at a time.
    pub(crate) trimming: Mutex<()>,
    pub(crate) standing: Mutex<(LogStatus, String)>,
    pub(crate) settling: AtomicBool,
    pub(crate) committed_at_us: AtomicU64,
    pub(crate) marked_at_us: AtomicU64,
    pub(crate) counters: Counters,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
}

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
        lock(&self.0.standing).0
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
        let append = append.into();
        let longest = append.records.longest();
        if longest > self.0.config.payload_bytes_max() {
            return Err(Error::RecordTooLarge {
                size: longest as u64 + 8,
                max: self.0.config.max_record_size.unsigned_abs(),
            });
        }
        let (promise, answer) = promise();
        if append.records.is_empty() {
            promise.keep(Ok(crate::Appended { end: self.end_position(), count: 0 }));
            return Ok(Ok(Ticket(answer)));
        }
        match self.0.queue.push(append, promise)? {
            Pushed::Full(full) => return Ok(Err(full)),
            Pushed::First => self.0.services.pool.submit(Arc::clone(&self.0) as Arc<dyn Job>),
            Pushed::Behind => {}
        }
        Ok(Ok(Ticket(answer)))
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

impl Job for Inner {
    fn run(&self) -> bool {
        let mut end = lock(&self.end);
        match catch_unwind(AssertUnwindSafe(|| self.commit_group(&mut end))) {
            Ok(more) => more,
            Err(_) => {
                self.taint("the committer panicked; see the server's log");
                true
            }
        }
    }
}

impl Inner {
    /// Commits one group; says whether there was one.
    fn commit_group(&self, end: &mut Option<End>) -> bool {
        let records = end.as_ref().map_or(0, |end| end.cursor.records);
        let limit = u64::try_from(self.config.segment_max_count).unwrap_or(u64::MAX);
        // A full segment rolls before the group, which may then fill the next.
        let records_max = if records >= limit { limit } else { limit - records };
        let items = self.queue.take(GROUP_BYTES_MAX, records_max);
        if items.is_empty() {
            return false;
        }
        let Some(end) = end else {
            let error = Error::OutcomeUnknown { cause: self.cause() };
            items.iter().for_each(|item| item.promise.keep(Err(error.clone())));
            return true;
        };
        if let Err(failure) = self.roll_if_due(end, &items) {
            let error = self.failed(failure);
            items.iter().for_each(|item| item.promise.keep(Err(error.clone())));
            return true;
        }
        let bytes = items.iter().map(|item| item.append.records.bytes().len() + 96).sum();
        let mut plan = Plan::new(end, self.wall_us(), self.tail.end(), bytes);
        for item in items {
            plan.add(item);
        }
        let planned = plan.finish(self.services.pad_commits);
        let failed = match self.make_durable(end, &planned) {
            Ok(()) => None,
            Err(failure) => Some(self.failed(failure)),
        };
        for (item, answer) in planned.answers {
            // What was refused is refused either way; the rest stands or falls
            // with the write.
            let answer = match (&failed, answer) {
                (Some(error), Ok(_)) => Err(error.clone()),
                (_, answer) => answer,
            };
            item.promise.keep(answer);
        }
        true
    }

    /// Writes and syncs a plan, then moves the end and publishes.
    fn make_durable(&self, end: &mut End, planned: &Planned) -> Result<(), Failure> {
        if planned.bytes.is_empty() {
            return Ok(());
        }
        let at = end.cursor;
        let segment_bytes = u64::try_from(self.config.segment_max_size).unwrap_or(u64::MAX);
        end.space.prepare(&*end.file, at.offset, planned.bytes.len(), segment_bytes)?;
        write(&*end.file, &planned.bytes, at.offset)?;
        end.file.sync().map_err(|error| Failure::broken("a sync", &error))?;

        end.cursor = planned.cursor;
        end.spacing = planned.spacing.clone();
        planned.entries.iter().for_each(|entry| end.segment.push_entry(*entry));
        for (id, state) in &planned.producers {
            end.producers.put(*id, state.clone());
        }
        self.tail.publish(
            end.cursor.durable(),
            Group { base: at.position, end: end.cursor.position, bytes: planned.bytes.clone() },
        );
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.counters.records.fetch_add(end.cursor.position.since(at.position), Ordering::Relaxed);
        self.counters.bytes.fetch_add(planned.bytes.len() as u64, Ordering::Relaxed);
        self.committed_at_us.store(micros(self.monotonic()), Ordering::Relaxed);
        self.settle_later();
        Ok(())
    }

    fn roll_if_due(&self, end: &mut End, items: &[Item]) -> Result<(), Failure> {
        let records: u64 = items.iter().map(|item| u64::from(item.append.records.count())).sum();
        let bytes: usize = items.iter().map(|item| item.append.records.bytes().len()).sum();
        let cursor = end.cursor;
        let full = exceeds(cursor.records + records, self.config.segment_max_count)
            || exceeds(cursor.offset + bytes as u64 + 192, self.config.segment_max_size);
        if end.sealed.is_some() || (cursor.records > 0 && (full || self.is_old(end))) {
            self.roll(end)?;
        }
        Ok(())
    }

    fn is_old(&self, end: &End) -> bool {
        let age_us = self.services.time.now_us().saturating_sub(end.begun_us);
        exceeds(age_us / 1_000_000, self.config.segment_max_age)
    }

    fn roll(&self, end: &mut End) -> Result<(), Failure> {
        self.ground.roll(end)?;
        {
            // Trims publish too: the list must not change in between.
            let _alone = lock(&self.trimming);
            let mut segments = self.tail.view().segments.to_vec();
            segments.push(Arc::clone(&end.segment));
            self.tail.publish_segments(segments, end.cursor.durable());
        }
        self.write_watermark(None)
            .map_err(|error| Failure::broken("writing the watermark", &error))?;
        self.settle_later();
        Ok(())
    }

    /// Writes the watermark with what is durable now.
    pub(crate) fn write_watermark(&self, start: Option<Position>) -> std::io::Result<()> {
        let mut watermark = lock(&self.watermark);
        let Some(watermark) = watermark.as_mut() else { return Ok(()) };
        let view = self.tail.view();
        let open_epoch = watermark.mark().open_epoch;
        // A start that was written stays, even while its list is not published.
        let start = start.unwrap_or_else(|| view.start()).max(watermark.mark().start);
        self.marked_at_us.store(micros(self.monotonic()), Ordering::Relaxed);
        watermark.write(Mark { open_epoch, start, durable: view.durable.position })
    }

    /// Asks the keeper to look at this log soon.
    fn settle_later(&self) {
        if !self.settling.swap(true, Ordering::AcqRel) {
            self.services.keeper.owe(self.me.clone());
        }
    }

    /// Does what is due after commits and rolls; `false` to be asked again.
    pub(crate) fn settle(&self, now: Duration) -> bool {
        let now_us = micros(now);
        let since = |mark: &AtomicU64| {
            Duration::from_micros(now_us.saturating_sub(mark.load(Ordering::Relaxed)))
        };
        if since(&self.committed_at_us) < WATERMARK_QUIET
            && since(&self.marked_at_us) < WATERMARK_BUSY
        {
            return false;
        }
        // Whatever commits from here on asks again.
        self.settling.store(false, Ordering::Release);
        if self.is_settled() {
            return true;
        }
        if let Err(error) = self.write_watermark(None) {
            self.taint(&format!("writing the watermark failed: {error}"));
            return true;
        }
        self.retain();
        true
    }

    /// Whether appends and the watermark are over for this log.
    fn is_settled(&self) -> bool {
        lock(&self.standing).0 != LogStatus::Ok || lock(&self.watermark).is_none()
    }

    /// Rolls a segment that has become too old, and removes what has expired.
    pub(crate) fn age(&self) {
        if self.is_settled() {
            return;
        }
        let mut slot = lock(&self.end);
        if let Some(end) = slot.as_mut()
            && end.cursor.records > 0
            && end.sealed.is_none()
            && self.is_old(end)
            && let Err(failure) = self.roll(end)
        {
            self.failed(failure);
        }
        drop(slot);
        self.retain();
    }

    fn retain(&self) {
        let removed =
            self.remove_segments(|view| expired(view, &self.config, self.services.time.now_us()));
        if let Err(error) = removed {
            tracing::warn!(log = %self.name, %error, "retention could not remove a segment");
        }
    }

    /// Removes as many of the oldest segments as `count` says of the view.
    fn remove_segments(&self, count: impl Fn(&crate::tail::View) -> usize) -> Result<(), Error> {
        let _alone = lock(&self.trimming);
        let view = self.tail.live_view()?;
        let count = count(&view);
        let Some(first_kept) = view.segments.get(count).filter(|_| count > 0) else {
            return Ok(());
        };
        if let Err(error) = self.write_watermark(Some(first_kept.base)) {
            self.taint(&format!("writing the watermark failed: {error}"));
            return Err(Error::io("cannot write the watermark of", &self.directory)(error));
        }
        self.tail.drop_segments(count);
        let storage = &self.ground.storage;
        for segment in view.segments.iter().take(count) {
            storage
                .remove_file(&segment.path)
                .map_err(Error::io("cannot remove the expired segment", &segment.path))?;
            // A cache: it may be missing.
            let _ = storage.remove_file(&segment.index_path());
        }
        storage
            .sync_dir(&self.ground.directory)
            .map_err(Error::io("cannot sync", &self.ground.directory))?;
        tracing::info!(log = %self.name, segments = count, start = %first_kept.base, "removed the oldest segments");
        Ok(())
    }

    /// Turns a failure into the answer of the group, and poisons the log unless
    /// nothing has happened.
    fn failed(&self, failure: Failure) -> Error {
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
            let mut standing = lock(&self.standing);
            if standing.0 == LogStatus::Ok {
                *standing = (LogStatus::Tainted, cause.to_owned());
                tracing::error!(log = %self.name, cause, "appends stop; records that are durable can be read; restart to recover");
            }
        }
        let refusal = self.not_available();
        self.queue.refuse(refusal, false);
        self.queue.fail_all(&Error::OutcomeUnknown { cause: self.cause() });
    }

    /// Marks damage that was found after the log was opened.
    pub(crate) fn mark_corrupt(&self, cause: &str) {
        *lock(&self.standing) = (LogStatus::Corrupt, cause.to_owned());
        tracing::error!(log = %self.name, cause, "the log is damaged; intact records can be read; run styx verify");
        let refusal = self.not_available();
        self.queue.refuse(refusal, false);
    }

    fn cause(&self) -> String {
        lock(&self.standing).1.clone()
    }

    /// Why this log takes no appends, and what to do.
    pub(crate) fn not_available(&self) -> Error {
        let (status, cause) = lock(&self.standing).clone();
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
        let mut end = lock(&self.end);
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
        let mut slot = lock(&self.end);
        if let Some(end) = slot.take()
            && lock(&self.standing).0 == LogStatus::Ok
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

    fn wall_us(&self) -> u64 {
        self.services.time.clock().wall_us()
    }

    fn monotonic(&self) -> Duration {
        self.services.time.clock().monotonic()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
