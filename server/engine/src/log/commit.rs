//! What a committer thread does with a log: one group after the other.
//!
//! ```text
//! one thread     take ─▶ roll if due ─▶ plan ─▶ write ─▶ sync ─▶ publish ─▶ answer
//! another one                             take ─▶ plan ─▶ (waits) ─▶ write ─▶ …
//!                └── ahead ─────────────────┘
//!                                         └── end ───────────────┘
//! ```
//!
//! A group is taken and planned under `next_head`, written and published under `end`,
//! which is locked before `next_head` is let go: groups are written in the order in
//! which they were planned, one at a time. While a large one is written the next is
//! planned on what it will leave behind. If it fails, so does the next.
//!
//! Invariant: nothing is published or answered before its sync has returned, and
//! a failed write or sync ends the log's appends for good.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, TryLockError};

use styx_protocol::LogStatus;

use super::inner::Inner;
use super::upkeep::micros;
use crate::commit::buffer_pool::BUFFER_BYTES_MAX;
use crate::commit::build::{ALIGNED_BYTES_MAX, Build, Built, Layout};
use crate::commit::end::{Cursor, End, Failure, WriteHead, write, write_aligned};
use crate::commit::plan::Plan;
use crate::commit::pool::Job;
use crate::commit::queue::Item;
use crate::retention::exceeds;
use crate::wait::lock;
use crate::{Error, sabotage};

/// Bytes of blocks that one group has, unless a single one is larger: they fill a room.
const GROUP_BYTES_MAX: usize = BUFFER_BYTES_MAX - ALIGNED_BYTES_MAX;

/// The log's end, `None` when it takes no appends.
pub(super) type Slot<'a> = MutexGuard<'a, Option<End>>;

impl Job for Inner {
    fn run(&self) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.commit_group())).unwrap_or_else(|_| {
            self.taint("the committer panicked; see the server's log");
            true
        })
    }
}

impl Inner {
    /// Commits one group; says whether there was one.
    fn commit_group(&self) -> bool {
        let mut next_head = lock(&self.next_head);
        let mut slot = self.end_unless_in_flight(&next_head);
        let head = match &slot {
            Some(slot) => slot.as_ref().map(End::head),
            None => *next_head,
        };
        let records = head.map_or(0, |head| head.cursor.records);
        let limit = u64::try_from(self.config.segment_max_count).unwrap_or(u64::MAX);
        // A full segment rolls before the group, which may then fill the next.
        let records_max = if records >= limit { limit } else { limit - records };
        let items = self.queue.take(GROUP_BYTES_MAX, records_max);
        if items.is_empty() {
            return false;
        }
        let Some(mut head) = head else {
            let error = Error::OutcomeUnknown { cause: self.cause() };
            items.into_iter().for_each(|item| item.fail(&error));
            return true;
        };
        if self.is_roll_due(&head, &items) {
            *next_head = None;
            let slot = slot.get_or_insert_with(|| lock(&self.end));
            match self.roll_at(slot, &head.cursor) {
                Ok(next) => head = next,
                Err(error) => {
                    items.into_iter().for_each(|item| item.fail(&error));
                    return true;
                }
            }
        }
        let bytes: usize = items.iter().map(Item::block_bytes).sum();
        let (built, drafts, answers) = {
            let layout = self.layout(bytes);
            let durable = self.tail.end();
            let buffer_pool = &self.services.buffer_pool;
            let build = Build::new(head, self.stamp_us(), durable, bytes, layout, buffer_pool);
            let mut plan = Plan::new(build, &self.producers);
            items.into_iter().for_each(|item| plan.add(item));
            plan.finish()
        };

        let mut slot = slot.unwrap_or_else(|| lock(&self.end));
        let done = match self.end_at(&mut slot, &built.begin) {
            Err(error) => {
                *next_head = None;
                Err(error)
            }
            Ok(end) => {
                let is_large = built.group.bytes.len() >= self.services.overlap_bytes_min;
                *next_head = is_large.then_some(built.next_head);
                lock(&self.producers).depart(drafts);
                drop(next_head);
                self.make_durable(end, &built).map_err(|failure| self.failed(failure))
            }
        };
        let durable = slot.as_ref().map_or_else(|| self.tail.end(), |end| end.cursor.position);
        match done {
            Ok(()) => {
                lock(&self.producers).land(self.services.time.now_us());
                drop(slot);
                answers.give();
            }
            Err(error) => {
                lock(&self.producers).turn_back();
                answers.fail(&error, durable);
            }
        }
        true
    }

    /// The end, unless a group is being written on which the next may be planned.
    fn end_unless_in_flight(&self, next_head: &Option<WriteHead>) -> Option<Slot<'_>> {
        match self.end.try_lock() {
            Ok(slot) => Some(slot),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if next_head.is_some() => None,
            Err(TryLockError::WouldBlock) => Some(lock(&self.end)),
        }
    }

    /// The end, with no group in flight and none planned on one.
    pub(super) fn end_alone(&self) -> Slot<'_> {
        let mut next_head = lock(&self.next_head);
        let slot = lock(&self.end);
        *next_head = None;
        slot
    }

    /// The end, where a group was planned to go; an error if the group before it came
    /// to nothing.
    fn end_at<'a>(&self, slot: &'a mut Slot<'_>, planned: &Cursor) -> Result<&'a mut End, Error> {
        let is_over = slot.is_none() || lock(&self.health).0 == LogStatus::Tainted;
        match slot.as_mut().filter(|end| end.cursor == *planned) {
            Some(end) => Ok(end),
            None if is_over => Err(Error::OutcomeUnknown { cause: self.cause() }),
            None => Err(Error::StorageFull { path: self.directory.clone() }),
        }
    }

    /// How a group of about so many bytes is to be written.
    fn layout(&self, bytes: usize) -> Layout {
        if bytes >= self.services.direct_bytes_min {
            Layout::Aligned
        } else if self.services.pad_commits {
            Layout::Padded
        } else {
            Layout::Dense
        }
    }

    /// Writes and syncs a group's blocks, then moves the end and publishes.
    fn make_durable(&self, end: &mut End, built: &Built) -> Result<(), Failure> {
        let bytes = &built.group.bytes;
        if bytes.is_empty() {
            return Ok(());
        }
        let at = end.cursor;
        let segment_bytes = u64::try_from(self.config.segment_max_size).unwrap_or(u64::MAX);
        end.space.prepare(&*end.file, at.offset, bytes.len(), segment_bytes)?;
        match built.layout {
            Layout::Dense | Layout::Padded => write(&*end.file, bytes, at.offset)?,
            Layout::Aligned => write_aligned(&*end.file, bytes, at.offset)?,
        }
        if sabotage::SERVE_UNSYNCED {
            self.tail.publish(built.next_head.cursor.durable(), built.group.clone());
        }
        if sabotage::WATERMARK_AHEAD {
            let _ = self.write_watermark_ahead(built.next_head.cursor.position);
        }
        sabotage::sync_commit(&*end.file).map_err(|error| Failure::broken("a sync", &error))?;

        end.cursor = built.next_head.cursor;
        end.spacing = built.next_head.spacing;
        built.entries.iter().for_each(|entry| end.segment.push_entry(*entry));
        self.tail.publish(end.cursor.durable(), built.group.clone());
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.counters.records.fetch_add(end.cursor.position.since(at.position), Ordering::Relaxed);
        self.counters.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.committed_at_us.store(micros(self.monotonic()), Ordering::Relaxed);
        self.settle_later();
        Ok(())
    }

    /// Whether the segment is to end before these items.
    fn is_roll_due(&self, head: &WriteHead, items: &[Item]) -> bool {
        let cursor = &head.cursor;
        let records: u64 = items.iter().map(|item| u64::from(item.count())).sum();
        let bytes: usize = items.iter().map(Item::len_bytes).sum();
        let full = exceeds(cursor.records + records, self.config.segment_max_count)
            || exceeds(cursor.offset + bytes as u64 + 192, self.config.segment_max_size);
        head.is_sealed || (cursor.records > 0 && (full || self.is_old(cursor)))
    }

    /// Rolls, if the log's end is where it was planned to; where the next group goes.
    fn roll_at(&self, slot: &mut Slot<'_>, planned: &Cursor) -> Result<WriteHead, Error> {
        let end = self.end_at(slot, planned)?;
        self.roll(end).map_err(|failure| self.failed(failure))?;
        Ok(end.head())
    }

    /// Whether the newest segment's first record is too old to go on with it.
    pub(super) fn is_old(&self, newest: &Cursor) -> bool {
        let age_us = self.services.time.now_us().saturating_sub(newest.first_timestamp_us);
        newest.records > 0 && exceeds(age_us / 1_000_000, self.config.segment_max_age)
    }

    pub(super) fn roll(&self, end: &mut End) -> Result<(), Failure> {
        self.segment_directory.roll(end)?;
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
}
