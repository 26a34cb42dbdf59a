//! The methods of [`ProducerShared`] for callers' threads: append, wait for space,
//! flush, close.

use std::time::{Duration, Instant};

use styx_protocol::limits::RECORD_HEADER_BYTES;

use super::ack::Ack;
use super::pending::{Appended, EncodedBatch, PendingBlocks};
use super::shared::{Phase, ProducerShared};
use crate::completion::Source;
use crate::error::Error;
use crate::process::ForgetInChild;

/// Records between two checks of the process id, each of which is a system call.
const UNCHECKED_RECORDS_MAX: u32 = 128;

impl ProducerShared {
    /// Appends a record after its header; `None` when there is no space.
    ///
    /// # Errors
    /// The producer does not accept records any more, or this is a forked child.
    #[inline]
    pub(super) fn push(
        &self,
        header: [u8; RECORD_HEADER_BYTES],
        payload: &[u8],
    ) -> Result<Option<Ack>, Error> {
        self.add(RECORD_HEADER_BYTES + payload.len(), false, |pending, begins_block| {
            pending.push(header, payload, begins_block)
        })
    }

    /// As [`push`](Self::push), for records that must be in one block. Takes the batch
    /// out of `batch` if there is space.
    pub(super) fn push_batch(
        &self,
        batch: &mut Option<EncodedBatch>,
    ) -> Result<Option<Ack>, Error> {
        let Some((bytes, alone)) =
            batch.as_ref().map(|batch| (batch.raw_bytes(), batch.is_final()))
        else {
            return Ok(None);
        };
        self.add(bytes, alone, |pending, begins_block| {
            let batch = batch.take().expect("checked above");
            pending.push_batch(batch, begins_block)
        })
    }

    /// Whether the task is behind: a full block is pending. Callers that do not wait
    /// (`would_wait` is false) only get `true` if their append would be accepted.
    pub(super) fn is_behind(&self, would_wait: bool) -> bool {
        if self.process.check().is_err() {
            return false;
        }
        let state = self.lock();
        state.pending.is_full() && (would_wait || state.pending.has_space())
    }

    #[inline]
    fn add(
        &self,
        bytes: usize,
        alone: bool,
        push: impl FnOnce(&mut PendingBlocks, bool) -> Appended,
    ) -> Result<Option<Ack>, Error> {
        let mut state = self.lock_unless_forked()?;
        if !matches!(state.phase, Phase::Open) {
            return Err(state.closed_error());
        }
        if !state.pending.has_space() {
            return Ok(None);
        }
        state.unchecked_records += 1;
        let begins = alone || state.pending.begins_block(bytes);
        if begins || state.unchecked_records >= UNCHECKED_RECORDS_MAX {
            self.process.check()?;
            state.unchecked_records = 0;
        }
        let appended = push(&mut state.pending, begins);
        let wake = appended.is_work && std::mem::take(&mut state.task_waits);
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(Some(appended.ack))
    }

    /// Waits until `push` returns something. Cancel safe: before that, nothing was
    /// appended.
    pub(super) async fn when_space<T>(
        &self,
        mut push: impl FnMut() -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        loop {
            // Created before the check, so that a notification in between is not lost.
            let space = self.space.notified();
            if let Some(done) = push()? {
                self.wake_next_append();
                return Ok(done);
            }
            ForgetInChild::future(self.process, space).await;
        }
    }

    /// After a waiting append was accepted: wakes the next one if space is left.
    fn wake_next_append(&self) {
        if self.lock().pending.has_space() {
            self.space.notify_one();
        }
    }

    /// Waits until every record before this call is settled.
    ///
    /// # Errors
    /// One of the records failed and the failure was not reported yet, or the
    /// producer ended with an error.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        self.process.check()?;
        let before = {
            let mut state = self.lock();
            state.flush_before = state.pending.next_sequence();
            state.flush_before
        };
        self.work.notify_one();
        loop {
            let settled = self.settled.notified();
            {
                let mut state = self.lock();
                if state.settled_before >= before || state.ended {
                    let unreported = state.take_unreported();
                    return match (unreported, &state.phase) {
                        (Some(error), _) => Err(error),
                        (None, Phase::Failed(error)) => Err(error.clone()),
                        (None, _) if state.settled_before < before => Err(state.closed_error()),
                        (None, _) => Ok(()),
                    };
                }
            }
            ForgetInChild::future(self.process, settled).await;
        }
    }

    /// Stops accepting records and waits until the task has ended.
    ///
    /// # Errors
    /// A record failed, and the failure was not reported yet.
    pub(crate) async fn close(&self, timeout: Duration) -> Result<(), Error> {
        self.process.check()?;
        {
            let mut state = self.lock();
            if matches!(state.phase, Phase::Open) {
                state.phase = Phase::Closing(Instant::now() + timeout);
                state.flush_before = state.pending.next_sequence();
            }
        }
        self.space.notify_waiters();
        self.work.notify_one();
        loop {
            let settled = self.settled.notified();
            {
                let mut state = self.lock();
                if state.ended {
                    return state.take_unreported().map_or(Ok(()), Err);
                }
            }
            ForgetInChild::future(self.process, settled).await;
        }
    }

    /// The producer was dropped: the task ends at once.
    pub(super) fn abandon(&self) {
        // A forked child has no task, and the holders of locks may not exist there.
        if !self.process.is_current() {
            return;
        }
        let mut state = self.lock();
        if matches!(state.phase, Phase::Open | Phase::Closing(_)) {
            state.phase = Phase::Abandoned;
        }
        drop(state);
        self.work.notify_one();
    }

    /// The sequence of the next record.
    pub(super) fn next_sequence(&self) -> u64 {
        self.lock_unless_forked().map(|state| state.pending.next_sequence()).unwrap_or_default()
    }

    /// The sequence before which every record is settled.
    pub(super) fn settled_before(&self) -> u64 {
        self.lock_unless_forked().map(|state| state.settled_before).unwrap_or_default()
    }

    /// From now on, notifies `source` instead of any earlier one when records were
    /// settled, space became free, or the producer ended. Also notifies it once now.
    pub(crate) fn notify(&self, source: Source) {
        let Ok(mut state) = self.lock_unless_forked() else { return };
        state.source = Some(source.clone());
        drop(state);
        source.ready();
    }
}
