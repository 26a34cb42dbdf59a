//! What a committer thread does with a log: one group after the other.
//!
//! ```text
//! take ─▶ roll if due ─▶ plan ─▶ write ─▶ sync ─▶ publish ─▶ answer
//! ```
//!
//! Invariant: nothing is published or answered before its sync has returned, and
//! a failed write or sync ends the log's appends for good.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use styx_protocol::limits::BLOCK_HEADER_BYTES;

use super::inner::Inner;
use super::upkeep::micros;
use crate::commit::build::{Build, Built, Layout};
use crate::commit::end::{End, Failure, write, write_aligned};
use crate::commit::plan::Plan;
use crate::commit::pool::Job;
use crate::commit::queue::Item;
use crate::retention::exceeds;
use crate::wait::lock;
use crate::{Error, sabotage};

/// Bytes of appends that one group takes, unless a single one is larger.
const GROUP_BYTES_MAX: usize = 4 << 20;

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
            items.into_iter().for_each(|item| item.fail(&error));
            return true;
        };
        if let Err(failure) = self.roll_if_due(end, &items) {
            let error = self.failed(failure);
            items.into_iter().for_each(|item| item.fail(&error));
            return true;
        }
        let bytes: usize = items.iter().map(|item| item.len_bytes() + BLOCK_HEADER_BYTES).sum();
        let producers = Arc::clone(&end.producers);
        let (built, drafts, answers) = {
            let table = lock(&producers);
            let layout = self.layout(bytes);
            let build = Build::new(end, self.stamp_us(), self.tail.end(), bytes, layout);
            let mut plan = Plan::new(build, &table);
            items.into_iter().for_each(|item| plan.add(item));
            plan.finish()
        };
        match self.make_durable(end, &built) {
            Ok(()) => {
                lock(&producers).apply(drafts, self.services.time.now_us());
                answers.give();
            }
            Err(failure) => {
                let durable = end.cursor.position;
                answers.fail(&self.failed(failure), durable);
            }
        }
        true
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
            self.tail.publish(built.cursor.durable(), built.group.clone());
        }
        if sabotage::WATERMARK_AHEAD {
            let _ = self.write_watermark_ahead(built.cursor.position);
        }
        sabotage::sync_commit(&*end.file).map_err(|error| Failure::broken("a sync", &error))?;

        end.cursor = built.cursor;
        end.spacing = built.spacing.clone();
        built.entries.iter().for_each(|entry| end.segment.push_entry(*entry));
        self.tail.publish(end.cursor.durable(), built.group.clone());
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.counters.records.fetch_add(end.cursor.position.since(at.position), Ordering::Relaxed);
        self.counters.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.committed_at_us.store(micros(self.monotonic()), Ordering::Relaxed);
        self.settle_later();
        Ok(())
    }

    fn roll_if_due(&self, end: &mut End, items: &[Item]) -> Result<(), Failure> {
        let records: u64 = items.iter().map(|item| u64::from(item.count())).sum();
        let bytes: usize = items.iter().map(Item::len_bytes).sum();
        let cursor = end.cursor;
        let full = exceeds(cursor.records + records, self.config.segment_max_count)
            || exceeds(cursor.offset + bytes as u64 + 192, self.config.segment_max_size);
        if end.sealed.is_some() || (cursor.records > 0 && (full || self.is_old(end))) {
            self.roll(end)?;
        }
        Ok(())
    }

    /// Whether the newest segment's first record is too old to go on with it.
    pub(super) fn is_old(&self, end: &End) -> bool {
        let begun_us = end.cursor.first_timestamp_us;
        let age_us = self.services.time.now_us().saturating_sub(begun_us);
        end.cursor.records > 0 && exceeds(age_us / 1_000_000, self.config.segment_max_age)
    }

    pub(super) fn roll(&self, end: &mut End) -> Result<(), Failure> {
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
}
