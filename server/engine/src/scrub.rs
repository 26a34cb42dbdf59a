//! The scrub: sealed segments are read again, slowly, for as long as the catalog
//! is open, so that damage is found while there still is a backup.
//!
//! A pass checks each log's chain (every segment begins with the seal before it)
//! and every block of its sealed segments. What it finds makes the log `corrupt`,
//! with file, byte and position in its status and in the server's log. The newest
//! segment is not read: recovery has, and its commits are in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Log;
use crate::segment::Segment;
use crate::segment::walk::{Bodies, Expect, Stop, Walk};
use crate::verify::Problem;
use crate::wait::lock;

/// What the scrub has done since the catalog was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubStats {
    /// Bytes of segments read.
    pub bytes: u64,
    /// Passes over all logs that were finished.
    pub passes: u64,
    /// Damaged segments found.
    pub problems: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) bytes: AtomicU64,
    pub(crate) passes: AtomicU64,
    pub(crate) problems: AtomicU64,
}

impl Counters {
    pub(crate) fn stats(&self) -> ScrubStats {
        ScrubStats {
            bytes: self.bytes.load(Ordering::Relaxed),
            passes: self.passes.load(Ordering::Relaxed),
            problems: self.problems.load(Ordering::Relaxed),
        }
    }
}

/// Reads a log's sealed segments; `pace` is told of every portion read and ends
/// the scrub by saying `false`.
pub(crate) fn scrub(
    log: &Log,
    counters: &Counters,
    pace: &mut dyn FnMut(u64) -> bool,
) -> Vec<Problem> {
    let view = log.0.tail.view();
    let mut problems = Vec::new();
    let mut prev_crc = None;
    for segment in view.segments.iter() {
        let Some(sealed) = segment.summary() else { break };
        match check(segment, prev_crc, counters, pace) {
            Ok(Checked::Good) => prev_crc = Some(sealed.seal_crc),
            Ok(Checked::Gone) => prev_crc = None,
            Ok(Checked::Stopped) => break,
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

enum Checked {
    Good,
    /// Retention has removed it meanwhile.
    Gone,
    Stopped,
}

fn check(
    segment: &Arc<Segment>,
    prev_crc: Option<u32>,
    counters: &Counters,
    pace: &mut dyn FnMut(u64) -> bool,
) -> Result<Checked, Problem> {
    let Some(sealed) = segment.summary() else { return Ok(Checked::Gone) };
    let problem = |offset, position, message: String| Problem {
        file: segment.path.clone(),
        offset,
        position,
        message,
    };
    let file = match segment.file() {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Checked::Gone),
        Err(error) => return Err(problem(0, segment.base, error.to_string())),
    };
    let expect = Expect { base: segment.base, prev_crc };
    let mut walk = Walk::new(&*file, sealed.bytes, expect, Bodies::Check);
    let mut told = 0;
    let stop = loop {
        match walk.step() {
            Ok(Ok(_)) if walk.offset() - told < (1 << 20) => {}
            Ok(Ok(_)) => {
                let read = walk.offset() - told;
                told = walk.offset();
                counters.bytes.fetch_add(read, Ordering::Relaxed);
                if !pace(read) {
                    return Ok(Checked::Stopped);
                }
            }
            Ok(Err(stop)) => break stop,
            Err(error) => return Err(problem(walk.offset(), walk.position(), error.to_string())),
        }
    };
    let read = walk.offset() - told;
    counters.bytes.fetch_add(read, Ordering::Relaxed);
    let message = match stop {
        Stop::Sealed
            if walk.prev_crc() == Some(sealed.seal_crc) && walk.offset() == sealed.bytes =>
        {
            return Ok(if pace(read) { Checked::Good } else { Checked::Stopped });
        }
        Stop::Sealed => "the seal is not the one that was written".to_owned(),
        Stop::EndOfFile => "the segment ends without a seal".to_owned(),
        Stop::Invalid(why) => why.to_owned(),
        Stop::Unknown(error) => error.to_string(),
    };
    Err(problem(walk.offset(), walk.position(), message))
}

/// Waits so that no more than `bytes_per_second` are read; `false` once the
/// catalog is closing.
#[derive(Debug)]
pub(crate) struct Pace {
    pub(crate) bytes_per_second: u64,
    pub(crate) stop: Arc<Stopper>,
}

/// Ends waits.
#[derive(Debug, Default)]
pub(crate) struct Stopper {
    stopped: std::sync::Mutex<bool>,
    changed: std::sync::Condvar,
}

impl Stopper {
    pub(crate) fn stop(&self) {
        *lock(&self.stopped) = true;
        self.changed.notify_all();
    }

    /// Waits; says whether to go on.
    pub(crate) fn wait(&self, at_most: std::time::Duration) -> bool {
        let stopped = lock(&self.stopped);
        let waited = self.changed.wait_timeout_while(stopped, at_most, |stopped| !*stopped);
        !*waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
    }
}

impl Pace {
    pub(crate) fn pass(&self, bytes: u64) -> bool {
        let us = bytes.saturating_mul(1_000_000) / self.bytes_per_second.max(1);
        self.stop.wait(std::time::Duration::from_micros(us))
    }
}
