//! [`Checks`]: reads segments before they are uploaded, at the rate of the uploads.
//!
//! Segments of fast producers are not in the page cache, so each read of one takes bandwidth of the
//! disk from the producers. With a limit of uploads, one segment at a time is checked, at that rate,
//! while those before it are uploaded. Without a limit, checks run at full speed, as many at a time
//! as uploads.
//!
//! A segment that was checked keeps its turn until its upload begins. So checks are not so far ahead
//! of the uploads that the page cache no longer has what they read.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use styx_engine::archive::SealedSegment;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::segment_upload::{Failure, blocking};
use crate::store::Pace;

/// See the module.
#[derive(Debug)]
pub(super) struct Checks {
    pace: Option<Pace>,
    turns: Semaphore,
    is_over: Mutex<bool>,
    ended: Condvar,
}

impl Checks {
    /// `uploads` is the number of uploads at a time.
    pub(super) fn new(bytes_per_second: Option<u64>, uploads: usize) -> Checks {
        let pace = bytes_per_second.map(Pace::new);
        let turns = Semaphore::new(if pace.is_some() { 1 } else { uploads });
        let (is_over, ended) = Default::default();
        Checks { pace, turns, is_over, ended }
    }

    /// Checks every block of a segment, and returns the CRC-32C of its file. The turn is over when
    /// the permit is dropped.
    pub(super) async fn check(
        self: &Arc<Checks>,
        segment: &SealedSegment,
    ) -> Result<(u32, SemaphorePermit<'_>), Failure> {
        let turn = self.turns.acquire().await.map_err(|e| Failure::Local(e.to_string()))?;
        let (checks, segment) = (self.clone(), segment.clone());
        let crc = blocking(move || {
            segment.check(|bytes| checks.pause_after(bytes)).map_err(|e| match e {
                styx_engine::Error::CorruptRecord { .. } => Failure::Damaged(e.to_string()),
                e => Failure::Local(e.to_string()),
            })
        });
        Ok((crc.await?, turn))
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
        let pause = self.pace.as_ref().map_or(Duration::ZERO, |pace| pace.pause_after(bytes));
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
