//! What is due after a commit: the watermark, retention, trims, old segments.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use styx_protocol::{LogStatus, Position};

use super::inner::Inner;
use crate::Error;
use crate::retention::expired;
use crate::tail::View;
use crate::wait::lock;
use crate::watermark::Mark;

/// A quiet log's watermark is written after this, a busy one's that often.
const WATERMARK_QUIET: Duration = Duration::from_millis(50);
const WATERMARK_BUSY: Duration = Duration::from_secs(1);

impl Inner {
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

    /// For [`crate::sabotage`]: a watermark that says more than is durable.
    pub(super) fn write_watermark_ahead(&self, durable: Position) -> std::io::Result<()> {
        let mut watermark = lock(&self.watermark);
        let Some(watermark) = watermark.as_mut() else { return Ok(()) };
        watermark.write(Mark { durable, ..watermark.mark() })
    }

    /// Asks the keeper to look at this log soon.
    pub(super) fn settle_later(&self) {
        if !self.settling.swap(true, Ordering::AcqRel) {
            self.services.keeper.owe(self.weak_self.clone());
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
        lock(&self.health).0 != LogStatus::Ok || lock(&self.watermark).is_none()
    }

    /// Rolls a segment that has become too old, and removes what has expired.
    pub(crate) fn age(&self) {
        if self.is_settled() {
            return;
        }
        let mut slot = self.end_alone();
        if let Some(end) = slot.as_mut()
            && end.cursor.records > 0
            && end.sealed.is_none()
            && self.is_old(&end.cursor)
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
    pub(super) fn remove_segments(&self, count: impl Fn(&View) -> usize) -> Result<(), Error> {
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
        let storage = &self.segment_directory.storage;
        for segment in view.segments.iter().take(count) {
            segment.retire();
            storage
                .remove_file(&segment.path)
                .map_err(Error::io("cannot remove the expired segment", &segment.path))?;
            // A cache: it may be missing.
            let _ = storage.remove_file(&segment.index_path());
        }
        storage
            .sync_dir(&self.segment_directory.path)
            .map_err(Error::io("cannot sync", &self.segment_directory.path))?;
        tracing::info!(log = %self.name, segments = count, start = %first_kept.base, "removed the oldest segments");
        Ok(())
    }
}

/// A duration as it is kept in an atomic.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
