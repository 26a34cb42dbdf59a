//! The scrub: reads sealed segments again at a low rate while the catalog is open. It finds
//! damage early, while a backup with the intact records still exists.
//!
//! A pass checks every block of all sealed segments. It also checks that each segment names the
//! seal of the segment before it. If a pass finds damage, the log becomes `corrupt`; its status
//! and the server's log name the file, byte and position. The damaged file of an archived segment is
//! replaced by the archived bytes instead. The scrub does not read the newest
//! segment, because recovery has read it and its later commits are in memory. It does not read
//! segments that are only in the object store: the archiver checks those. Invariant: the
//! scrub changes no other file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Log;
use crate::segment::walk::{Bodies, ChainStart, Walk, WalkEnd};
use crate::segment::{Place, Segment};
use crate::sync::lock;
use crate::verify::Problem;

/// What the scrub has done since the catalog was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubStats {
    /// The number of bytes of segments that were read.
    pub bytes: u64,
    /// The number of completed passes over all logs.
    pub passes: u64,
    /// The number of times that a damaged segment was found and could not be replaced.
    pub problems: u64,
    /// The number of damaged segments that were replaced by their archived copies.
    pub healed: u64,
}

/// The counters behind [`ScrubStats`].
#[derive(Debug, Default)]
pub(crate) struct ScrubCounters {
    pub(crate) bytes: AtomicU64,
    pub(crate) passes: AtomicU64,
    pub(crate) problems: AtomicU64,
    pub(crate) healed: AtomicU64,
}

impl ScrubCounters {
    pub(crate) fn stats(&self) -> ScrubStats {
        ScrubStats {
            bytes: self.bytes.load(Ordering::Relaxed),
            passes: self.passes.load(Ordering::Relaxed),
            problems: self.problems.load(Ordering::Relaxed),
            healed: self.healed.load(Ordering::Relaxed),
        }
    }
}

/// Checks a log's sealed segments and returns the damage. Calls `pace` with the number of bytes
/// that were read, about once per MiB, and stops if it returns `false`.
pub(crate) fn scrub(
    log: &Log,
    counters: &ScrubCounters,
    pace: &mut dyn FnMut(u64) -> bool,
) -> Vec<Problem> {
    let view = log.0.tail.view();
    let mut problems = Vec::new();
    let mut prev_crc = None;
    for segment in view.segments.iter() {
        let Some(sealed) = segment.summary() else { break };
        if segment.is_remote() {
            prev_crc = Some(sealed.seal_crc);
            continue;
        }
        match check(segment, prev_crc, counters, pace) {
            Ok(SegmentCheck::Intact) => prev_crc = Some(sealed.seal_crc),
            Ok(SegmentCheck::Removed | SegmentCheck::Newer) => prev_crc = None,
            Ok(SegmentCheck::Stopped) => break,
            Err(problem) if heal(log, segment, &problem, counters) => {
                prev_crc = Some(sealed.seal_crc);
            }
            Err(problem) => {
                counters.problems.fetch_add(1, Ordering::Relaxed);
                log.0.mark_corrupt(&format!(
                    "{}, byte {}, position {}: {}",
                    problem.file.display(),
                    problem.offset,
                    problem.position,
                    problem.message
                ));
                problems.push(problem);
                prev_crc = None;
            }
        }
    }
    problems
}

/// Replaces the damaged file of an archived segment by the archived bytes. Returns whether it did.
fn heal(log: &Log, segment: &Arc<Segment>, problem: &Problem, counters: &ScrubCounters) -> bool {
    if segment.place() != Place::Both {
        return false;
    }
    let (path, message) = (problem.file.display(), &problem.message);
    match log.0.download(segment.base) {
        Ok(true) => {
            counters.healed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%path, offset = problem.offset, message, "a damaged segment was replaced by its archived copy; look at the health of the disk");
            true
        }
        Ok(false) => false,
        Err(error) => {
            tracing::error!(%path, message, %error, "a damaged segment cannot be replaced by its archived copy");
            false
        }
    }
}

enum SegmentCheck {
    Intact,
    /// Retention has removed the segment in the meantime, or it was evicted.
    Removed,
    /// A newer version wrote the rest of the segment, so it was not checked.
    Newer,
    /// `pace` stopped the scrub.
    Stopped,
}

/// Checks one sealed segment, which must follow the seal with `prev_crc` if that is known.
fn check(
    segment: &Arc<Segment>,
    prev_crc: Option<u32>,
    counters: &ScrubCounters,
    pace: &mut dyn FnMut(u64) -> bool,
) -> Result<SegmentCheck, Problem> {
    let Some(sealed) = segment.summary() else { return Ok(SegmentCheck::Removed) };
    let problem = |offset, position, message: String| Problem {
        file: segment.path.clone(),
        offset,
        position,
        message,
    };
    let file = match segment.local_file() {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(SegmentCheck::Removed);
        }
        Err(error) => return Err(problem(0, segment.base, error.to_string())),
    };
    let chain_start = ChainStart { base: segment.base, prev_crc };
    let mut walk = Walk::new(&*file, sealed.bytes, chain_start, Bodies::Check);
    let mut counted = 0;
    let stop = loop {
        match walk.step() {
            Ok(Ok(_)) if walk.offset() - counted < (1 << 20) => {}
            Ok(Ok(_)) => {
                let read = walk.offset() - counted;
                counted = walk.offset();
                counters.bytes.fetch_add(read, Ordering::Relaxed);
                if !pace(read) {
                    return Ok(SegmentCheck::Stopped);
                }
            }
            Ok(Err(stop)) => break stop,
            Err(error) => return Err(problem(walk.offset(), walk.position(), error.to_string())),
        }
    };
    let read = walk.offset() - counted;
    counters.bytes.fetch_add(read, Ordering::Relaxed);
    let message = match stop {
        WalkEnd::Sealed
            if walk.prev_crc() == Some(sealed.seal_crc) && walk.offset() == sealed.bytes =>
        {
            return Ok(if pace(read) { SegmentCheck::Intact } else { SegmentCheck::Stopped });
        }
        WalkEnd::Sealed => "the seal differs from the one that the log wrote".to_owned(),
        WalkEnd::EndOfFile => "the segment ends without a seal".to_owned(),
        WalkEnd::Invalid(why) => why.to_owned(),
        WalkEnd::Newer(newer) => {
            let cause = newer.in_file(&segment.path);
            tracing::error!(offset = walk.offset(), "cannot check a segment: {cause}");
            return Ok(SegmentCheck::Newer);
        }
    };
    Err(problem(walk.offset(), walk.position(), message))
}

/// Limits the scrub to `bytes_per_second`, and stops it when the catalog closes.
#[derive(Debug)]
pub(crate) struct ScrubRate {
    pub(crate) bytes_per_second: u64,
    pub(crate) stop: Arc<StopSignal>,
}

/// Ends all waits when the catalog closes.
#[derive(Debug, Default)]
pub(crate) struct StopSignal {
    stopped: std::sync::Mutex<bool>,
    changed: std::sync::Condvar,
}

impl StopSignal {
    /// Ends all current and later waits.
    pub(crate) fn stop(&self) {
        *lock(&self.stopped) = true;
        self.changed.notify_all();
    }

    /// Waits for this time, or until [`StopSignal::stop`]. Returns `false` if stopped.
    pub(crate) fn wait(&self, at_most: std::time::Duration) -> bool {
        let stopped = lock(&self.stopped);
        let waited = self.changed.wait_timeout_while(stopped, at_most, |stopped| !*stopped);
        !*waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
    }
}

impl ScrubRate {
    /// Waits for the time that reading `bytes` may take. Returns `false` if the catalog is closing.
    pub(crate) fn pass(&self, bytes: u64) -> bool {
        let us = bytes.saturating_mul(1_000_000) / self.bytes_per_second.max(1);
        self.stop.wait(std::time::Duration::from_micros(us))
    }
}
