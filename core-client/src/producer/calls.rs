//! The methods of [`ProducerShared`] for callers' threads: append, wait for space,
//! flush, close.

use std::time::Instant;

use styx_protocol::limits::RECORD_HEADER_BYTES;

use super::ack::Ack;
use super::encoded::Part;
use super::pending::{Appended, PendingBlocks};
use super::settled::Settled;
use super::shared::{CloseLimit, Phase, ProducerShared};
use crate::completion::Source;
use crate::error::Error;
use crate::options::TIMEOUT_MAX;
use crate::process::ForgetInChild;

/// Records between two checks of the process id, each of which is a system call.
const UNCHECKED_RECORDS_MAX: u32 = 128;

/// Whether an append needs space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is only accepted if there is space.
    IfSpace,
    /// There was space a moment ago, and the caller has worked on the append since.
    /// Another thread may have used up the space, so the limit of bytes in flight is
    /// exceeded by at most one append for each thread.
    Granted,
}

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
        let bytes = RECORD_HEADER_BYTES + payload.len();
        self.add(bytes, false, Admission::IfSpace, |pending, begins_block| {
            pending.push(header, payload, begins_block)
        })
    }

    /// As [`push`](Self::push), for records that must be in one block. Takes the part
    /// out of `part` if it is accepted.
    pub(super) fn push_part(
        &self,
        part: &mut Option<Part>,
        admission: Admission,
    ) -> Result<Option<Ack>, Error> {
        let Some((bytes, alone)) = part.as_ref().map(|part| (part.raw_bytes(), part.is_final()))
        else {
            return Ok(None);
        };
        self.add(bytes, alone, admission, |pending, begins_block| {
            let part = part.take().expect("checked above");
            pending.push_part(part, begins_block)
        })
    }

    /// Whether an append would be accepted now.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(crate) fn admits(&self) -> Result<bool, Error> {
        let state = self.lock_unless_forked()?;
        match state.phase {
            Phase::Open => Ok(state.pending.has_space()),
            _ => Err(state.closed_error()),
        }
    }

    /// Whether the task is behind: a full block is pending.
    pub(super) fn is_behind(&self) -> bool {
        self.lock_unless_forked().is_ok_and(|state| state.pending.is_full())
    }

    #[inline]
    fn add(
        &self,
        bytes: usize,
        alone: bool,
        admission: Admission,
        push: impl FnOnce(&mut PendingBlocks, bool) -> Appended,
    ) -> Result<Option<Ack>, Error> {
        let mut state = self.lock_unless_forked()?;
        if !matches!(state.phase, Phase::Open) {
            return Err(state.closed_error());
        }
        if admission == Admission::IfSpace && !state.pending.has_space() {
            return Ok(None);
        }
        state.unchecked_records += 1;
        let begins = alone || state.pending.begins_block(bytes);
        let check = begins || state.unchecked_records >= UNCHECKED_RECORDS_MAX;
        if check {
            self.process.check()?;
            state.unchecked_records = 0;
        }
        let appended = push(&mut state.pending, begins);
        let wake = appended.is_work && std::mem::take(&mut state.task_waits);
        drop(state);
        if wake {
            // It may take a lock. A record that fills a block may not have been checked.
            if !check {
                self.process.check()?;
            }
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
            // In a forked child, no task makes space.
            self.process.check()?;
            ForgetInChild::future(self.process, space).await;
        }
    }

    /// Waits until an append would not wait: there is space, or it would fail. Uses no
    /// space, and passes the notification on to an append that waits.
    pub(crate) async fn room(&self) {
        let admits = || match self.admits() {
            Ok(false) => Ok(None),
            Ok(true) | Err(_) => Ok(Some(())),
        };
        // It only fails in a forked child, where an append would fail too.
        let _ = self.when_space(admits).await;
    }

    /// After a waiting append was accepted: wakes the next one if space is left.
    fn wake_next_append(&self) {
        if self.lock_unless_forked().is_ok_and(|state| state.pending.has_space()) {
            self.notify_space();
        }
    }

    /// Wakes one append that waits for space. Not in a forked child: it may take a lock.
    fn notify_space(&self) {
        if self.process.is_current() {
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

    /// Stops accepting records and waits until the task has ended, which takes at most
    /// `limit`. If the producer is closing already, the earlier limit counts.
    ///
    /// # Errors
    /// A record failed, and the failure was not reported yet.
    pub(crate) async fn close(&self, limit: CloseLimit) -> Result<(), Error> {
        self.process.check()?;
        {
            let mut state = self.lock();
            let before = Instant::now() + limit.within.min(TIMEOUT_MAX);
            match state.phase {
                Phase::Open => {
                    state.phase = Phase::Closing { before, limit };
                    state.flush_before = state.pending.next_sequence();
                }
                Phase::Closing { before: earlier, .. } if before < earlier => {
                    state.phase = Phase::Closing { before, limit };
                }
                Phase::Closing { .. } | Phase::Abandoned | Phase::Failed(_) => {}
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

    /// Whether outcomes are kept until they are taken. False in a forked child.
    pub(crate) fn tracks_settled(&self) -> bool {
        self.lock_unless_forked().is_ok_and(|state| state.settled.is_tracked())
    }

    /// Moves the outcomes that were not taken into `into`.
    pub(crate) fn take_settled(&self, into: &mut Vec<Settled>) {
        let Ok(mut state) = self.lock_unless_forked() else { return };
        let continues = state.take_settled(into);
        drop(state);
        if continues {
            self.notify_space();
        }
    }

    /// The producer was dropped: the task ends at once.
    pub(super) fn abandon(&self) {
        // A forked child has no task, and the holders of locks may not exist there.
        if !self.process.is_current() {
            return;
        }
        let mut state = self.lock();
        if matches!(state.phase, Phase::Open | Phase::Closing { .. }) {
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
