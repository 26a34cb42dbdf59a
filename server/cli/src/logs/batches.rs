//! [`Batches`]: records between the thread that reads standard input and the
//! one that sends requests.
//!
//! ```text
//! reader ── push ──► [full] [full] [open] ── take ──► sender
//! ```
//!
//! A batch is a request's body: binary-records that the server appends
//! atomically, or one larger record. It is taken when it is full, when its
//! oldest record has waited for [`WAIT_MAX`], or when the input has ended. At
//! most [`FULL_MAX`] full batches wait; then the reader does.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use styx_protocol::binary_records;
use styx_protocol::limits::{BLOCK_RAW_BYTES_MAX, RECORD_HEADER_BYTES};

/// How long a record may wait for others to share its request.
const WAIT_MAX: Duration = Duration::from_millis(100);

const FULL_MAX: usize = 2;

/// Records that go into one request.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// As binary-records.
    pub(super) body: BytesMut,
    pub(super) count: u64,
}

/// When a batch is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    /// When it is full, or its oldest record has waited long enough.
    FullOrOld,
    /// Each record by itself.
    EachRecord,
}

#[derive(Debug)]
pub(super) struct Batches<E> {
    flush: Flush,
    state: Mutex<State<E>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<E> {
    full: VecDeque<Batch>,
    open: Batch,
    /// When the open batch got its first record.
    opened: Option<Instant>,
    /// How the input ended.
    ended: Option<Result<(), E>>,
}

impl Batch {
    /// Bytes that the batch takes in a block.
    fn raw_bytes(&self) -> usize {
        let records = usize::try_from(self.count).unwrap_or(usize::MAX);
        self.body.len() + records.saturating_mul(RECORD_HEADER_BYTES - 4)
    }

    fn fits(&self, payload: &Bytes) -> bool {
        let raw = self.raw_bytes() + RECORD_HEADER_BYTES + payload.len();
        self.count == 0 || raw <= BLOCK_RAW_BYTES_MAX
    }
}

impl<E> Batches<E> {
    pub(super) fn new(flush: Flush) -> Batches<E> {
        let state =
            State { full: VecDeque::new(), open: Batch::default(), opened: None, ended: None };
        Batches { flush, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds records in their order; waits while too many batches are full.
    pub(super) fn push(&self, payloads: impl Iterator<Item = Bytes>) {
        let mut state = self.lock();
        for payload in payloads {
            if !state.open.fits(&payload) {
                state.close_open();
            }
            while state.full.len() >= FULL_MAX {
                self.changed.notify_all();
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            binary_records::encode(&payload, &mut state.open.body);
            state.open.count += 1;
            state.opened.get_or_insert_with(Instant::now);
            if self.flush == Flush::EachRecord {
                state.close_open();
            }
        }
        self.changed.notify_all();
    }

    /// There is no more input; `how` is what [`Batches::take`] ends with.
    pub(super) fn end(&self, how: Result<(), E>) {
        self.lock().ended = Some(how);
        self.changed.notify_all();
    }

    /// Waits for the next batch; `None` when the input has ended.
    ///
    /// # Errors
    /// The one that ended the input, after the last batch before it.
    pub(super) fn take(&self) -> Result<Option<Batch>, E> {
        let mut state = self.lock();
        loop {
            let waited = state.opened.map(|opened| opened.elapsed());
            let ripe = state.ended.is_some() || waited.is_some_and(|waited| waited >= WAIT_MAX);
            if state.full.is_empty() && ripe && state.open.count > 0 {
                state.close_open();
            }
            if let Some(batch) = state.full.pop_front() {
                self.changed.notify_all();
                return Ok(Some(batch));
            }
            if let Some(how) = state.ended.take() {
                return how.map(|()| None);
            }
            let rest = waited.map_or(Duration::MAX, |waited| WAIT_MAX.saturating_sub(waited));
            state = if rest == Duration::MAX {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.changed.wait_timeout(state, rest);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> State<E> {
    fn close_open(&mut self) {
        self.full.push_back(std::mem::take(&mut self.open));
        self.opened = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads(count: usize, bytes: usize) -> Vec<Bytes> {
        vec![Bytes::from(vec![b'x'; bytes]); count]
    }

    /// Counts of the batches that are taken when all of `input` was there.
    fn taken(flush: Flush, input: Vec<Bytes>) -> (Vec<u64>, Result<(), &'static str>) {
        let batches = Batches::new(flush);
        let mut counts = Vec::new();
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                batches.push(input.into_iter());
                batches.end(Err("the end"));
            });
            loop {
                match batches.take() {
                    Ok(Some(batch)) => {
                        assert!(batch.count == 1 || batch.raw_bytes() <= BLOCK_RAW_BYTES_MAX);
                        counts.push(batch.count);
                    }
                    Ok(None) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        });
        (counts, result)
    }

    #[test]
    fn a_batch_is_what_the_server_appends_atomically() {
        let per_record = 100 + RECORD_HEADER_BYTES;
        let fit = (BLOCK_RAW_BYTES_MAX / per_record) as u64;
        let (counts, result) = taken(Flush::FullOrOld, payloads(3 * fit as usize + 1, 100));
        assert_eq!(counts, [fit, fit, fit, 1]);
        assert_eq!(result, Err("the end"), "after all that came before it");
    }

    #[test]
    fn a_large_record_goes_by_itself() {
        let mut input = payloads(1, 5);
        input.extend(payloads(1, BLOCK_RAW_BYTES_MAX + 1));
        input.extend(payloads(2, 5));
        assert_eq!(taken(Flush::FullOrOld, input).0, [1, 1, 2]);
    }

    #[test]
    fn unbuffered_is_a_request_a_record() {
        assert_eq!(taken(Flush::EachRecord, payloads(5, 0)).0, [1; 5]);
    }

    #[test]
    fn records_do_not_wait_for_a_full_batch() {
        let batches = Batches::<()>::new(Flush::FullOrOld);
        batches.push(payloads(3, 10).into_iter());
        let batch = batches.take().expect("no error").expect("a batch");
        assert_eq!(batch.count, 3);
    }
}
