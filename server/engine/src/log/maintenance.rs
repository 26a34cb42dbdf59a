//! Work that follows commits: the watermark, retention, trims and segments that became too old.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use styx_protocol::{LogStatus, Position};

use super::inner::{LogInner, is_missing};
use crate::Error;
use crate::commit::failure::is_no_descriptor;
use crate::retention::expired;
use crate::segment::Now;
use crate::storage::if_there;
use crate::sync::lock;
use crate::tail::View;
use crate::watermark::{Mark, Watermark};

/// The watermark is written after this time without a commit.
const WATERMARK_QUIET: Duration = Duration::from_millis(50);
/// The interval at which the watermark is written while commits continue.
const WATERMARK_BUSY: Duration = Duration::from_secs(1);

impl LogInner {
    /// Writes the watermark with the current durable end.
    pub(crate) fn write_watermark(&self, start: Option<Position>) -> std::io::Result<()> {
        let mut watermark = lock(&self.watermark);
        let Some(watermark) = watermark.as_mut() else { return Ok(()) };
        let mark = self.current_mark(watermark, start);
        self.watermark_at_us.store(micros(self.monotonic()), Ordering::Relaxed);
        watermark.write(mark)
    }

    /// Whether the watermark already says what [`LogInner::write_watermark`] would write.
    pub(crate) fn is_watermark_current(&self) -> bool {
        let watermark = lock(&self.watermark);
        watermark.as_ref().is_none_or(|w| w.mark() == self.current_mark(w, None))
    }

    fn current_mark(&self, watermark: &Watermark, start: Option<Position>) -> Mark {
        let view = self.tail.view();
        let Mark { open_epoch, start: written, .. } = watermark.mark();
        // A written start stays in force, even before the new segment list is published.
        let start = start.unwrap_or_else(|| view.start()).max(written);
        Mark { open_epoch, start, durable: view.durable.position }
    }

    /// Files that somebody removed are no fault of the disk, and need another remedy.
    fn taint_by_watermark(&self, error: &std::io::Error) {
        let cause = if self.is_displaced() {
            self.displaced()
        } else if is_missing(error) {
            "its watermark was removed or replaced while the server ran".to_owned()
        } else {
            format!("writing the watermark failed: {error}")
        };
        self.taint(&cause);
    }

    /// For [`crate::sabotage`]: a watermark beyond the durable end.
    pub(crate) fn write_watermark_ahead(&self, durable: Position) -> std::io::Result<()> {
        let mut watermark = lock(&self.watermark);
        let Some(watermark) = watermark.as_mut() else { return Ok(()) };
        watermark.write(Mark { durable, ..watermark.mark() })
    }

    /// Asks the maintainer to look at this log soon.
    pub(crate) fn schedule_maintenance(&self) {
        if !self.maintenance_scheduled.swap(true, Ordering::AcqRel) {
            self.services.maintainer.schedule(self.weak_self.clone());
        }
    }

    /// Does the work that is due after commits and rolls; returns `false` to be called again.
    pub(crate) fn maintain(&self, now: Duration) -> bool {
        let now_us = micros(now);
        let since = |mark: &AtomicU64| {
            Duration::from_micros(now_us.saturating_sub(mark.load(Ordering::Relaxed)))
        };
        if since(&self.committed_at_us) < WATERMARK_QUIET
            && since(&self.watermark_at_us) < WATERMARK_BUSY
        {
            return false;
        }
        // A commit after this point schedules maintenance again.
        self.maintenance_scheduled.store(false, Ordering::Release);
        if self.is_over() {
            return true;
        }
        if let Err(error) = self.write_watermark(None) {
            if is_no_descriptor(&error) {
                // Nothing was written, so a later attempt is safe.
                return self.maintenance_scheduled.swap(true, Ordering::AcqRel);
            }
            self.taint_by_watermark(&error);
            return true;
        }
        self.apply_retention();
        true
    }

    /// Whether the log accepts no more appends and writes no more watermarks.
    fn is_over(&self) -> bool {
        lock(&self.health).0 != LogStatus::Ok || lock(&self.watermark).is_none()
    }

    /// Ends a segment that became too old, and removes expired segments.
    pub(crate) fn enforce_age_limits(&self) {
        if self.is_over() {
            return;
        }
        let mut end_guard = self.lock_end();
        if let Some(end) = end_guard.as_mut()
            && end.cursor.records > 0
            && end.sealed.is_none()
            && self.is_old(&end.cursor)
            && let Err(failure) = self.roll(end)
        {
            self.record_failure(failure);
        }
        drop(end_guard);
        self.apply_retention();
    }

    fn apply_retention(&self) {
        let now = Now::read(&self.services.time, &self.services.stamps);
        let removed = self.remove_segments(|view| expired(view, &self.config, &now));
        if let Err(error) = removed {
            tracing::warn!(log = %self.name, %error, "retention could not remove a segment");
        }
    }

    /// Removes the oldest segments; `count` says how many.
    pub(crate) fn remove_segments(&self, count: impl Fn(&View) -> usize) -> Result<(), Error> {
        let start = self.tail.view().start();
        let removed = self.remove_segments_alone(count);
        // Without the lock of trims: a deletion locks the list first.
        if self.tail.view().start() > start {
            self.compact_archive();
            self.notice_archiver();
        }
        removed
    }

    fn remove_segments_alone(&self, count: impl Fn(&View) -> usize) -> Result<(), Error> {
        let _alone = lock(&self.trim_lock);
        let view = self.tail.live_view()?;
        let count = count(&view);
        let Some(first_kept) = view.segments.get(count).filter(|_| count > 0) else {
            return Ok(());
        };
        // Segments of another log must not be removed.
        if self.is_displaced() {
            self.taint(&self.displaced());
            return Err(self.not_available());
        }
        if let Err(error) = self.write_watermark(Some(first_kept.base)) {
            if is_no_descriptor(&error) {
                return Err(Error::io("cannot open the watermark of", &self.directory)(error));
            }
            self.taint_by_watermark(&error);
            return Err(Error::io("cannot write the watermark of", &self.directory)(error));
        }
        self.tail.drop_segments_before(first_kept.base);
        let storage = &self.segment_directory.storage;
        for segment in view.segments.iter().take(count) {
            segment.retire();
            // Nothing is there if it was evicted before, or if the log is being deleted.
            if_there(storage.remove_file(&segment.path))
                .map_err(Error::io("cannot remove the expired segment", &segment.path))?;
            // An index is a cache and may be missing.
            let _ = storage.remove_file(&segment.index_path());
        }
        storage
            .sync_dir(&self.segment_directory.path)
            .map_err(Error::io("cannot sync", &self.segment_directory.path))?;
        tracing::info!(log = %self.name, segments = count, start = %first_kept.base, "removed the oldest segments");
        Ok(())
    }
}

/// A duration as it is stored in an atomic.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
