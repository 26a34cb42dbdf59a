//! [`Checks`]: reads segments before they are uploaded, at the rate of the uploads.
//!
//! Segments of fast producers are not in the page cache, so each read of one takes bandwidth of the
//! disk from the producers. With a limit of uploads, one segment at a time is checked, at that rate,
//! while the one before it is uploaded. Without a limit, all checks run at full speed.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use styx_engine::archive::SealedSegment;
use tokio::sync::Semaphore;

use super::segment_upload::{Failure, blocking};
use crate::store::Pace;

/// See the module.
#[derive(Debug)]
pub(super) struct Checks {
    limit: Option<Limit>,
    is_over: Mutex<bool>,
    ended: Condvar,
}

#[derive(Debug)]
struct Limit {
    pace: Pace,
    turn: Semaphore,
}

impl Checks {
    pub(super) fn new(bytes_per_second: Option<u64>) -> Checks {
        let limit = |rate| Limit { pace: Pace::new(rate), turn: Semaphore::new(1) };
        let (is_over, ended) = Default::default();
        Checks { limit: bytes_per_second.map(limit), is_over, ended }
    }

    /// Checks every block of a segment, and returns the CRC-32C of its file.
    pub(super) async fn check(self: &Arc<Checks>, segment: &SealedSegment) -> Result<u32, Failure> {
        let _turn = match &self.limit {
            Some(limit) => limit.turn.acquire().await.ok(),
            None => None,
        };
        let (checks, segment) = (self.clone(), segment.clone());
        blocking(move || {
            segment.check(|bytes| checks.pause_after(bytes)).map_err(|e| match e {
                styx_engine::Error::CorruptRecord { .. } => Failure::Damaged(e.to_string()),
                e => Failure::Local(e.to_string()),
            })
        })
        .await
    }

    /// Ends all checks, also those that pause.
    pub(super) fn end(&self) {
        *self.is_over() = true;
        self.ended.notify_all();
    }

    /// Whether [`Checks::end`] was called: then every check fails, and nobody needs to be told why.
    pub(super) fn have_ended(&self) -> bool {
        *self.is_over()
    }

    /// Pauses until the next piece may be read.
    fn pause_after(&self, bytes: usize) -> io::Result<()> {
        let pause =
            self.limit.as_ref().map_or(Duration::ZERO, |limit| limit.pace.pause_after(bytes));
        let until = Instant::now() + pause;
        let mut is_over = self.is_over();
        loop {
            if *is_over {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "the server stops"));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let waited = self.ended.wait_timeout(is_over, left);
            is_over = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn is_over(&self) -> MutexGuard<'_, bool> {
        self.is_over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
