//! What callers' threads do: append, wait for room, flush, close.

use std::time::{Duration, Instant};

use styx_protocol::limits::RECORD_HEADER_BYTES;

use super::{Phase, Shared};
use crate::completion::Source;
use crate::error::Error;
use crate::producer::ack::Ack;
use crate::producer::filling::{Appended, Filling, Run};

/// Records between two looks at the process id, which is a system call.
const UNCHECKED_RECORDS_MAX: u32 = 128;

impl Shared {
    /// Adds a record behind its header; `None` when there is no room.
    ///
    /// # Errors
    /// No record is taken any more, or this is a forked child.
    #[inline]
    pub(in crate::producer) fn push(
        &self,
        header: [u8; RECORD_HEADER_BYTES],
        payload: &[u8],
    ) -> Result<Option<Ack>, Error> {
        self.add(RECORD_HEADER_BYTES + payload.len(), false, |filling, begins_block| {
            filling.push(header, payload, begins_block)
        })
    }

    /// As [`push`](Self::push), for records that have to stand in one block. The
    /// run is taken out where there is room.
    pub(in crate::producer) fn push_run(
        &self,
        run: &mut Option<Run>,
    ) -> Result<Option<Ack>, Error> {
        let Some((bytes, alone)) = run.as_ref().map(|run| (run.raw_bytes(), run.is_packed()))
        else {
            return Ok(None);
        };
        self.add(bytes, alone, |filling, begins_block| {
            let run = run.take().expect("it was looked at above");
            filling.push_run(run, begins_block)
        })
    }

    /// Whether the link does not keep up: a block waits that is full. A caller that
    /// does not wait asks only where its append would be taken.
    pub(in crate::producer) fn is_behind(&self, would_wait: bool) -> bool {
        if self.process.check().is_err() {
            return false;
        }
        let state = self.lock();
        state.filling.is_full() && (would_wait || state.filling.has_room())
    }

    #[inline]
    fn add(
        &self,
        bytes: usize,
        alone: bool,
        push: impl FnOnce(&mut Filling, bool) -> Appended,
    ) -> Result<Option<Ack>, Error> {
        let mut state = self.lock_here()?;
        if !matches!(state.phase, Phase::Open) {
            return Err(state.refusal());
        }
        if !state.filling.has_room() {
            return Ok(None);
        }
        state.unchecked_records += 1;
        let begins = alone || state.filling.begins_block(bytes);
        if begins || state.unchecked_records >= UNCHECKED_RECORDS_MAX {
            self.process.check()?;
            state.unchecked_records = 0;
        }
        let appended = push(&mut state.filling, begins);
        let wake = appended.news && std::mem::take(&mut state.link_waits);
        drop(state);
        if wake {
            self.news.notify_one();
        }
        Ok(Some(appended.ack))
    }

    /// Waits until `push` gives something. Cancel safe: until it has, nothing
    /// was appended.
    pub(in crate::producer) async fn when_room<T>(
        &self,
        mut push: impl FnMut() -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        loop {
            // Created before the look, so that room made in between is noticed.
            let room = self.room.notified();
            if let Some(done) = push()? {
                self.pass_on_room();
                return Ok(done);
            }
            room.await;
        }
    }

    /// One waiting append was let in: perhaps there is room for the next one.
    fn pass_on_room(&self) {
        if self.lock().filling.has_room() {
            self.room.notify_one();
        }
    }

    /// Waits until every record before this call is settled.
    ///
    /// # Errors
    /// One of them was not acked and nobody had been told, or the producer
    /// ended by an error.
    pub(in crate::producer) async fn flush(&self) -> Result<(), Error> {
        self.process.check()?;
        let before = {
            let mut state = self.lock();
            state.flush_before = state.filling.next_sequence();
            state.flush_before
        };
        self.news.notify_one();
        loop {
            let settled = self.settled.notified();
            {
                let mut state = self.lock();
                if state.settled_before >= before || state.ended {
                    let unseen = state.take_unseen();
                    return match (unseen, &state.phase) {
                        (Some(error), _) => Err(error),
                        (None, Phase::Failed(error)) => Err(error.clone()),
                        (None, _) if state.settled_before < before => Err(state.refusal()),
                        (None, _) => Ok(()),
                    };
                }
            }
            settled.await;
        }
    }

    /// Takes no more records and waits until the link has ended.
    ///
    /// # Errors
    /// A record was not acked, and nobody had been told.
    pub(in crate::producer) async fn close(&self, patience: Duration) -> Result<(), Error> {
        self.process.check()?;
        {
            let mut state = self.lock();
            if matches!(state.phase, Phase::Open) {
                state.phase = Phase::Closing(Instant::now() + patience);
                state.flush_before = state.filling.next_sequence();
            }
        }
        self.room.notify_waiters();
        self.news.notify_one();
        loop {
            let settled = self.settled.notified();
            {
                let mut state = self.lock();
                if state.ended {
                    return state.take_unseen().map_or(Ok(()), Err);
                }
            }
            settled.await;
        }
    }

    /// The handle is gone: the link ends at once.
    pub(in crate::producer) fn abandon(&self) {
        // In a forked child there is no link, and perhaps nobody to unlock.
        let Ok(mut state) = self.lock_here() else { return };
        if matches!(state.phase, Phase::Open | Phase::Closing(_)) {
            state.phase = Phase::Abandoned;
        }
        drop(state);
        self.news.notify_one();
    }

    /// The sequence that the next record will get.
    pub(in crate::producer) fn next_sequence(&self) -> u64 {
        self.lock_here().map(|state| state.filling.next_sequence()).unwrap_or_default()
    }

    /// The sequence before which every record is settled.
    pub(in crate::producer) fn settled_before(&self) -> u64 {
        self.lock_here().map(|state| state.settled_before).unwrap_or_default()
    }

    /// Tells this source from now on, instead of another, when records were
    /// settled, room was made, or the producer ended; and once at once.
    pub(in crate::producer) fn notify(&self, source: Source) {
        let Ok(mut state) = self.lock_here() else { return };
        state.source = Some(source.clone());
        drop(state);
        source.ready();
    }
}
