//! Committing a log's groups, on a thread of the pool.
//!
//! ```text
//! one thread     take ─▶ roll if due ─▶ plan ─▶ write ─▶ sync ─▶ publish ─▶ deliver
//! another one                             take ─▶ plan ─▶ (waits) ─▶ write ─▶ …
//!                └── next_head ─────────────┘
//!                                          └── end ───────────────┘
//! ```
//!
//! A group is taken and planned under the lock `next_head`, and written and published under the
//! lock `end`. `end` is locked before `next_head` is released. So groups are written one at a
//! time, in the order in which they were planned. While a large group is written, the next one
//! is planned on the state after it. If the first one fails, the next one fails too.
//!
//! Invariant: nothing is published or acknowledged before its sync has returned. A failed write
//! or sync stops the log's appends until recovery.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, TryLockError};

use styx_protocol::LogStatus;

use crate::Error;
use crate::commit::failure::{Failure, is_no_descriptor};
use crate::commit::group_builder::{BuiltGroup, GROUP_BYTES_MAX, GroupBuilder, Layout};
use crate::commit::log_end::{Cursor, LogEnd, WriteHead};
use crate::commit::plan::Plan;
use crate::commit::queue::Request;
use crate::commit::thread_pool::Job;
use crate::commit::write::{write_aligned, write_parts};
use crate::log::{LogInner, is_missing, micros};
use crate::retention::exceeds;
use crate::sabotage::{self, Mistake};
use crate::sync::lock;
use crate::tail::DurableEnd;

/// The log's end; `None` if the log accepts no appends.
pub(crate) type EndGuard<'a> = MutexGuard<'a, Option<LogEnd>>;

impl Job for LogInner {
    fn run(&self) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.commit_group())).unwrap_or_else(|_| {
            self.taint("the committer panicked; see the server's log");
            true
        })
    }
}

impl LogInner {
    /// Commits one group; returns whether there was one.
    fn commit_group(&self) -> bool {
        let mut next_head = lock(&self.next_head);
        let mut end_guard = self.try_lock_end(&next_head);
        let head = match &end_guard {
            Some(end_guard) => end_guard.as_ref().map(LogEnd::head),
            None => *next_head,
        };
        let records = head.map_or(0, |head| head.cursor.records);
        let limit = u64::try_from(self.config.segment_max_count).unwrap_or(u64::MAX);
        // A full segment rolls before the group, which may then fill the next segment.
        let records_max = if records >= limit { limit } else { limit - records };
        let requests = self.queue.take(GROUP_BYTES_MAX, records_max);
        if requests.is_empty() {
            return false;
        }
        self.count_waits(&requests);
        let Some(mut head) = head else {
            let error = Error::OutcomeUnknown { cause: self.cause() };
            requests.into_iter().for_each(|request| request.fail(&error));
            return true;
        };
        if self.is_roll_due(&head, &requests) {
            *next_head = None;
            let end_guard = end_guard.get_or_insert_with(|| lock(&self.end));
            match self.roll_at(end_guard, &head.cursor) {
                Ok(next) => head = next,
                Err(error) => {
                    requests.into_iter().for_each(|request| request.fail(&error));
                    return true;
                }
            }
        }
        let bytes: usize = requests.iter().map(Request::block_bytes).sum();
        let stamp_us = self.services.stamps.now_us();
        let (built, changes, results) = {
            let layout = self.layout(bytes);
            let durable = self.tail.end();
            let buffer_pool = &self.services.buffer_pool;
            let builder = GroupBuilder::new(head, stamp_us, durable, bytes, layout, buffer_pool);
            let mut plan = Plan::new(builder, &self.producers);
            requests.into_iter().for_each(|request| plan.add(request));
            plan.finish()
        };

        let mut end_guard = end_guard.unwrap_or_else(|| lock(&self.end));
        let done = match self.expect_end_at(&mut end_guard, &built.begin) {
            Err(error) => {
                *next_head = None;
                Err(error)
            }
            Ok(end) => {
                let is_large = built.len_bytes() >= self.services.overlap_bytes_min;
                *next_head = is_large.then_some(built.next_head);
                lock(&self.producers).begin_group(changes);
                drop(next_head);
                self.make_durable(end, &built).map_err(|failure| self.record_failure(failure))
            }
        };
        let durable = end_guard.as_ref().map_or_else(|| self.tail.end(), |end| end.cursor.position);
        match done {
            Ok(()) => {
                // A clock that is ahead must forget no producer.
                let now_us = self.services.time.now_us().min(stamp_us);
                lock(&self.producers).commit_group(now_us);
                drop(end_guard);
                let now_us = micros(self.monotonic());
                results.deliver(now_us, &self.services.measurements.appends);
            }
            Err(error) => {
                lock(&self.producers).abort_group();
                results.fail(&error, durable);
            }
        }
        true
    }

    /// Counts how long the appends of a group have waited in the queue.
    fn count_waits(&self, requests: &[Request]) {
        let now_us = micros(self.monotonic());
        let mut waits = self.services.measurements.queue.tally();
        for request in requests {
            if let Request::Append { queued_at_us, .. } = request {
                waits.add(now_us.saturating_sub(*queued_at_us));
            }
        }
    }

    /// Locks the end, unless a group is in flight on which the next one may be planned.
    fn try_lock_end(&self, next_head: &Option<WriteHead>) -> Option<EndGuard<'_>> {
        match self.end.try_lock() {
            Ok(end_guard) => Some(end_guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if next_head.is_some() => None,
            Err(TryLockError::WouldBlock) => Some(lock(&self.end)),
        }
    }

    /// Locks the end while no group is in flight or planned.
    pub(crate) fn lock_end(&self) -> EndGuard<'_> {
        let mut next_head = lock(&self.next_head);
        let end_guard = lock(&self.end);
        *next_head = None;
        end_guard
    }

    /// The end, if it is where the group was planned to go. It is elsewhere if the group before it
    /// failed.
    fn expect_end_at<'a>(
        &self,
        end_guard: &'a mut EndGuard<'_>,
        planned: &Cursor,
    ) -> Result<&'a mut LogEnd, Error> {
        let is_over = end_guard.is_none() || lock(&self.health).0 == LogStatus::Tainted;
        match end_guard.as_mut().filter(|end| end.cursor == *planned) {
            Some(end) => Ok(end),
            None if is_over => Err(Error::OutcomeUnknown { cause: self.cause() }),
            None => Err(Error::StorageFull { path: self.directory.clone() }),
        }
    }

    /// How to align a group of about `bytes` bytes.
    fn layout(&self, bytes: usize) -> Layout {
        // The body of a record that is larger than a group is not aligned in memory.
        if bytes >= self.services.direct_bytes_min && bytes <= GROUP_BYTES_MAX {
            Layout::Aligned
        } else if self.services.pad_commits {
            Layout::Padded
        } else {
            Layout::Dense
        }
    }

    /// Writes and syncs a group, then moves the end and publishes the group.
    fn make_durable(&self, end: &mut LogEnd, built: &BuiltGroup) -> Result<(), Failure> {
        let bytes = built.len_bytes();
        if bytes == 0 {
            return Ok(());
        }
        let at = end.cursor;
        let segment_bytes = u64::try_from(self.config.segment_max_size).unwrap_or(u64::MAX);
        let was_closed = end.file.is_none();
        if was_closed {
            self.check_in_place(end)?;
        }
        let file = end.file_for_writing()?;
        if was_closed {
            self.note_open_end();
        }
        let reserve = &self.services.disk_reserve;
        let free = || reserve.free_space(&self.directory);
        end.space.prepare(&*file, at.offset, bytes, segment_bytes, free)?;
        match built.layout {
            Layout::Dense | Layout::Padded => write_parts(&*file, built.parts(), at.offset)?,
            Layout::Aligned => write_aligned(&*file, &built.group.bytes, at.offset)?,
        }
        if sabotage::makes(Mistake::ServeUnsynced) {
            self.publish(built.next_head.cursor.durable(), built);
        }
        if sabotage::makes(Mistake::WatermarkAhead) {
            let _ = self.write_watermark_ahead(built.next_head.cursor.position);
        }
        let written_us = micros(self.monotonic());
        sabotage::sync_commit(&*file).map_err(|error| Failure::broken("a sync", &error))?;
        let now_us = micros(self.monotonic());
        end.is_synced = true;
        self.check_in_place(end)?;

        end.cursor = built.next_head.cursor;
        end.spacing = built.next_head.spacing;
        built.entries.iter().for_each(|entry| end.segment.push_entry(*entry));
        self.publish(end.cursor.durable(), built);
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        let records = end.cursor.position.since(at.position);
        self.counters.records.fetch_add(records, Ordering::Relaxed);
        self.counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let sync_us = now_us.saturating_sub(written_us);
        self.services.measurements.committed(bytes as u64, records, sync_us);
        self.committed_at_us.store(now_us, Ordering::Relaxed);
        if at.records == 0 {
            self.first_at_us.store(now_us.cast_signed(), Ordering::Relaxed);
        }
        if end.cursor.records > at.records {
            end.segment.committed(now_us);
        }
        self.schedule_maintenance();
        Ok(())
    }

    /// Checks that the newest segment still has its name. Otherwise the log's directory was removed
    /// or replaced, and what is written to the open file would be lost with the next restart.
    fn check_in_place(&self, end: &LogEnd) -> Result<(), Failure> {
        let path = &end.segment.path;
        match self.segment_directory.storage.identity(path) {
            Ok(found) if found != end.identity => Err(Failure::Broken(self.displaced())),
            Err(error) if is_missing(&error) => Err(Failure::Broken(self.displaced())),
            // Another error does not show that the file has lost its name.
            _ => Ok(()),
        }
    }

    fn publish(&self, durable: DurableEnd, built: &BuiltGroup) {
        match built.large {
            None => self.tail.publish(durable, built.group.clone()),
            Some(_) => self.tail.publish_uncached(durable),
        }
    }

    /// Whether the segment must end before these requests.
    fn is_roll_due(&self, head: &WriteHead, requests: &[Request]) -> bool {
        let cursor = &head.cursor;
        let records: u64 = requests.iter().map(|request| u64::from(request.count())).sum();
        let bytes: usize = requests.iter().map(Request::len_bytes).sum();
        let full = exceeds(cursor.records + records, self.config.segment_max_count)
            || exceeds(cursor.offset + bytes as u64 + 192, self.config.segment_max_size);
        head.is_sealed || (cursor.records > 0 && (full || self.is_old(cursor)))
    }

    /// Rolls if the log's end is where the plan expects it; returns where the next group goes.
    fn roll_at(&self, end_guard: &mut EndGuard<'_>, planned: &Cursor) -> Result<WriteHead, Error> {
        let end = self.expect_end_at(end_guard, planned)?;
        self.roll(end).map_err(|failure| self.record_failure(failure))?;
        Ok(end.head())
    }

    /// Whether the newest segment's first record has reached `segment_max_age`.
    pub(crate) fn is_old(&self, newest: &Cursor) -> bool {
        if newest.records == 0 || self.config.segment_max_age < 0 {
            return false;
        }
        exceeds(self.newest_age_us() / 1_000_000, self.config.segment_max_age)
    }

    /// The time since the first record of the newest segment in µs. It has no meaning if the segment
    /// has no record.
    pub(crate) fn newest_age_us(&self) -> u64 {
        let first_at_us = self.first_at_us.load(Ordering::Relaxed);
        let age_us = micros(self.monotonic()).cast_signed().saturating_sub(first_at_us);
        age_us.max(0).cast_unsigned()
    }

    /// Ends the newest segment, publishes the next one and writes the watermark.
    pub(crate) fn roll(&self, end: &mut LogEnd) -> Result<(), Failure> {
        // The next segment must not be created in the directory of another log.
        self.check_in_place(end)?;
        let rolled = self.segment_directory.roll(end);
        self.note_open_end();
        rolled?;
        // The next segment has no record, and the first commit sets the time of it.
        let now_us = micros(self.monotonic());
        self.first_at_us.store(now_us.cast_signed(), Ordering::Relaxed);
        self.tail.push_segment(Arc::clone(&end.segment), end.cursor.durable());
        match self.write_watermark(None) {
            // The maintainer writes it.
            Err(error) if is_no_descriptor(&error) => {}
            written => {
                written.map_err(|error| Failure::broken("writing the watermark", &error))?;
            }
        }
        self.schedule_maintenance();
        self.notice_archiver();
        Ok(())
    }
}
