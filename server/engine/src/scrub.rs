//! The scrub: reads sealed segments again, slowly, while the catalog is open, so that damage is
//! found while a backup still exists.
//!
//! A pass checks each log's chain (every segment begins with the seal before it) and every
//! block of its sealed segments. If it finds damage, the log becomes `corrupt`; its status and
//! the server's log name the file, byte and position. The newest segment is not read: recovery
//! has read it, and its later commits are in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Log;
use crate::segment::Segment;
use crate::segment::walk::{Bodies, ChainStart, Walk, WalkEnd};
use crate::sync::lock;
use crate::verify::Problem;

/// What the scrub has done since the catalog was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubStats {
    /// Bytes of segments that were read.
    pub bytes: u64,
    /// Completed passes over all logs.
    pub passes: u64,
    /// Damaged segments that were found.
    pub problems: u64,
}

#[derive(Debug, Default)]
pub(crate) struct ScrubCounters {
    pub(crate) bytes: AtomicU64,
    pub(crate) passes: AtomicU64,
    pub(crate) problems: AtomicU64,
}

impl ScrubCounters {
    pub(crate) fn stats(&self) -> ScrubStats {
        ScrubStats {
            bytes: self.bytes.load(Ordering::Relaxed),
            passes: self.passes.load(Ordering::Relaxed),
            problems: self.problems.load(Ordering::Relaxed),
        }
    }
}

/// Reads a log's sealed segments. `pace` is called with every portion that was read, and stops
/// the scrub if it returns `false`.
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
        match check(segment, prev_crc, counters, pace) {
            Ok(SegmentCheck::Intact) => prev_crc = Some(sealed.seal_crc),
            Ok(SegmentCheck::Removed) => prev_crc = None,
            Ok(SegmentCheck::Stopped) => break,
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

enum SegmentCheck {
    Intact,
    /// Retention has removed it in the meantime.
    Removed,
    Stopped,
}

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
    let file = match segment.file() {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(SegmentCheck::Removed);
        }
        Err(error) => return Err(problem(0, segment.base, error.to_string())),
    };
    let chain_start = ChainStart { base: segment.base, prev_crc };
    let mut walk = Walk::new(&*file, sealed.bytes, chain_start, Bodies::Check);
    let mut told = 0;
    let stop = loop {
        match walk.step() {
            Ok(Ok(_)) if walk.offset() - told < (1 << 20) => {}
            Ok(Ok(_)) => {
                let read = walk.offset() - told;
                told = walk.offset();
                counters.bytes.fetch_add(read, Ordering::Relaxed);
                if !pace(read) {
                    return Ok(SegmentCheck::Stopped);
                }
            }
            Ok(Err(stop)) => break stop,
            Err(error) => return Err(problem(walk.offset(), walk.position(), error.to_string())),
        }
    };
    let read = walk.offset() - told;
    counters.bytes.fetch_add(read, Ordering::Relaxed);
    let message = match stop {
        WalkEnd::Sealed
            if walk.prev_crc() == Some(sealed.seal_crc) && walk.offset() == sealed.bytes =>
        {
            return Ok(if pace(read) { SegmentCheck::Intact } else { SegmentCheck::Stopped });
        }
        WalkEnd::Sealed => "the seal is not the one that the log wrote".to_owned(),
        WalkEnd::EndOfFile => "the segment ends without a seal".to_owned(),
        WalkEnd::Invalid(why) => why.to_owned(),
        WalkEnd::Unknown(error) => error.to_string(),
    };
    Err(problem(walk.offset(), walk.position(), message))
}

/// Waits so that at most `bytes_per_second` are read. [`pass`](Self::pass) returns `false` once
/// the catalog is closing.
#[derive(Debug)]
pub(crate) struct ScrubRate {
    pub(crate) bytes_per_second: u64,
    pub(crate) stop: Arc<StopSignal>,
}

/// Ends waits when the catalog closes.
#[derive(Debug, Default)]
pub(crate) struct StopSignal {
    stopped: std::sync::Mutex<bool>,
    changed: std::sync::Condvar,
}

impl StopSignal {
    pub(crate) fn stop(&self) {
        *lock(&self.stopped) = true;
        self.changed.notify_all();
    }

    /// Waits; returns whether to continue.
    pub(crate) fn wait(&self, at_most: std::time::Duration) -> bool {
        let stopped = lock(&self.stopped);
        let waited = self.changed.wait_timeout_while(stopped, at_most, |stopped| !*stopped);
        !*waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
    }
}

impl ScrubRate {
    pub(crate) fn pass(&self, bytes: u64) -> bool {
        let us = bytes.saturating_mul(1_000_000) / self.bytes_per_second.max(1);
        self.stop.wait(std::time::Duration::from_micros(us))
    }
}
