//! [`ResponseBudget`]: the memory that all responses together take while they
//! wait to be sent.
//!
//! ```text
//! reserve(wanted) ─▶ read that much ─▶ keep(bytes) ─▶ … sent or dropped: freed
//!      └ memory is free: all of it; memory is short: 64 KiB, after the last chunk is sent
//! ```
//!
//! No response is refused, and each waits only for its own peer. While readers
//! that do not read hold the whole budget, every response gets small chunks, one
//! at a time, until those readers are closed.
//!
//! A record that is larger than a block is the exception, because it is read whole. It
//! waits until it fits, and is refused as overloaded after 5 s. If it is larger than the
//! whole budget, it takes all of it, so that a stored record can always be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use styx_engine::Batch;
use styx_protocol::Code;
use tokio::sync::Notify;

use crate::session::Error;

/// The chunk that every response gets, whatever the others hold. A larger record
/// is given out whole.
const SMALL_CHUNK_BYTES: usize = 64 << 10;

/// How long a record that is larger than a block may wait for memory.
const RECORD_WAIT_MAX: Duration = Duration::from_secs(5);

/// A budget of bytes.
#[derive(Debug)]
pub(crate) struct ResponseBudget {
    bytes_max: usize,
    held: Arc<HeldBytes>,
}

/// The bytes of all responses.
#[derive(Debug, Default)]
struct HeldBytes {
    bytes: AtomicUsize,
    freed: Notify,
}

/// One response, which is sent chunk by chunk.
#[derive(Debug)]
pub(crate) struct ResponseChunks {
    bytes_max: usize,
    held: Arc<HeldBytes>,
    unsent: Arc<UnsentChunks>,
}

/// The chunks that one response holds.
#[derive(Debug, Default)]
struct UnsentChunks {
    count: AtomicUsize,
    sent: Notify,
}

/// Memory for a chunk; freed when dropped.
#[derive(Debug)]
pub(crate) struct ChunkReservation {
    bytes: usize,
    is_small: bool,
    held: Arc<HeldBytes>,
    unsent: Arc<UnsentChunks>,
}

impl ResponseBudget {
    pub(crate) fn new(bytes_max: usize) -> ResponseBudget {
        ResponseBudget { bytes_max, held: Arc::default() }
    }

    /// Bytes that wait to be sent now.
    pub(crate) fn bytes(&self) -> usize {
        self.held.bytes.load(Ordering::Relaxed)
    }

    /// Begins a response.
    pub(crate) fn chunks(&self) -> ResponseChunks {
        ResponseChunks {
            bytes_max: self.bytes_max,
            held: self.held.clone(),
            unsent: Arc::default(),
        }
    }
}

impl HeldBytes {
    fn free(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    /// Adds `wanted` bytes when all together are at most `bytes_max`.
    async fn take_within(&self, wanted: usize, bytes_max: usize) {
        loop {
            // It is registered before the check, so no release is missed.
            let freed = self.freed.notified();
            let taken = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                held.checked_add(wanted).filter(|held| *held <= bytes_max)
            });
            if taken.is_ok() {
                return;
            }
            freed.await;
        }
    }
}

impl ResponseChunks {
    /// Memory for `wanted` bytes. If all responses together hold too much, it is
    /// memory for a small chunk, available once this response's last one was sent.
    pub(crate) async fn reserve(&self, wanted: usize) -> ChunkReservation {
        while self.is_too_much(self.held.bytes.load(Ordering::Relaxed), wanted)
            && self.unsent.count.load(Ordering::Acquire) > 0
        {
            self.unsent.sent.notified().await;
        }
        self.unsent.count.fetch_add(1, Ordering::Relaxed);
        let before = self.held.bytes.fetch_add(wanted, Ordering::Relaxed);
        let is_small = self.is_too_much(before, wanted);
        let (held, unsent) = (self.held.clone(), self.unsent.clone());
        let mut reservation = ChunkReservation { bytes: wanted, is_small, held, unsent };
        if is_small {
            reservation.resize(wanted.min(SMALL_CHUNK_BYTES));
        }
        reservation
    }

    /// Memory for a record that is larger than a block: `record_bytes`, or `copies` times that
    /// while it is encoded, but at most the whole budget. Waits until this response's last
    /// chunk was sent, and then up to 5 s for others.
    ///
    /// # Errors
    /// `overloaded` if there is no memory for it now.
    pub(crate) async fn reserve_record(
        &self,
        record_bytes: usize,
        copies: usize,
    ) -> Result<ChunkReservation, Error> {
        while self.unsent.count.load(Ordering::Acquire) > 0 {
            self.unsent.sent.notified().await;
        }
        let wanted = record_bytes.saturating_mul(copies).min(self.bytes_max);
        let free = self.held.take_within(wanted, self.bytes_max);
        tokio::time::timeout(RECORD_WAIT_MAX, free).await.map_err(|_| overloaded())?;
        self.unsent.count.fetch_add(1, Ordering::Relaxed);
        let (held, unsent) = (self.held.clone(), self.unsent.clone());
        Ok(ChunkReservation { bytes: wanted, is_small: false, held, unsent })
    }

    fn is_too_much(&self, held: usize, wanted: usize) -> bool {
        held.saturating_add(wanted) > self.bytes_max
    }
}

impl ChunkReservation {
    /// How many bytes may be read for it.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The size at which the chunk has to end, even if more was read: blocks are
    /// read whole.
    pub(crate) fn bytes_max(&self) -> usize {
        if self.is_small { self.bytes } else { usize::MAX }
    }

    /// How many of the batch's records fit, at least one.
    pub(crate) fn records_max(&self, batch: &Batch) -> u64 {
        if !self.is_small {
            return batch.count();
        }
        let mut bytes = 0;
        let records = batch.blocks().flat_map(|(_, records)| records.payloads());
        let fitting = records.take_while(|payload| {
            let fits = bytes < self.bytes;
            bytes += payload.len();
            fits
        });
        fitting.count() as u64
    }

    /// The same bytes; they count until the last part of them is dropped.
    pub(crate) fn keep(mut self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() {
            return bytes;
        }
        self.resize(bytes.len());
        Bytes::from_owner(CountedBytes { bytes, _reservation: self })
    }

    /// Counts `bytes` from now on: more or fewer than before. The caller holds
    /// them until this is dropped.
    pub(crate) fn resize(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.held.bytes.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.held.free(self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for ChunkReservation {
    fn drop(&mut self) {
        self.held.free(self.bytes);
        self.unsent.count.fetch_sub(1, Ordering::Release);
        // At most one task waits; it is woken even if it starts waiting only now.
        self.unsent.sent.notify_one();
    }
}

fn overloaded() -> Error {
    let message = "no memory to read this record became free within 5 s (max_answer_bytes); \
                   read it again later";
    Error::new(Code::Overloaded, message)
}

struct CountedBytes {
    bytes: Bytes,
    _reservation: ChunkReservation,
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn at_once(chunks: &ResponseChunks, wanted: usize) -> ChunkReservation {
        chunks.reserve(wanted).now_or_never().expect("nothing to wait for")
    }

    #[test]
    fn response_gets_a_small_chunk_when_the_budget_is_used_up() {
        let budget = ResponseBudget::new(4 * SMALL_CHUNK_BYTES);
        let [first, second, third] = [(); 3].map(|()| budget.chunks());
        let large = at_once(&first, 3 * SMALL_CHUNK_BYTES);
        assert_eq!((large.bytes(), large.bytes_max()), (3 * SMALL_CHUNK_BYTES, usize::MAX));
        let small = at_once(&second, 2 * SMALL_CHUNK_BYTES);
        assert_eq!((small.bytes(), small.bytes_max()), (SMALL_CHUNK_BYTES, SMALL_CHUNK_BYTES));
        let beyond_the_budget = at_once(&third, 2 * SMALL_CHUNK_BYTES);
        assert_eq!(beyond_the_budget.bytes(), SMALL_CHUNK_BYTES);
        assert_eq!(budget.bytes(), 5 * SMALL_CHUNK_BYTES);
        drop((large, beyond_the_budget));
        assert_eq!(at_once(&third, 2 * SMALL_CHUNK_BYTES).bytes(), 2 * SMALL_CHUNK_BYTES);
    }

    #[test]
    fn second_chunk_waits_for_the_first_only_while_memory_is_short() {
        let budget = ResponseBudget::new(100);
        let chunks = budget.chunks();
        let (first, second) = (at_once(&chunks, 40), at_once(&chunks, 40));
        let mut third = Box::pin(chunks.reserve(40));
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        // Memory is free again, also for a response that still holds some.
        assert_eq!(third.now_or_never().expect("it was woken").bytes(), 40);
        drop(second);
        let others = budget.chunks();
        let all = at_once(&others, 100);
        let small = at_once(&chunks, 40);
        let mut next = Box::pin(chunks.reserve(40));
        assert!((&mut next).now_or_never().is_none());
        drop(small);
        assert!(next.now_or_never().expect("it was woken").bytes_max() <= SMALL_CHUNK_BYTES);
        drop(all);
    }

    #[tokio::test(start_paused = true)]
    async fn large_record_waits_until_it_fits_and_is_refused_after_a_while() {
        let budget = ResponseBudget::new(1 << 20);
        let (others, chunks) = (budget.chunks(), budget.chunks());
        let other = at_once(&others, 600 << 10);
        let refused = chunks.reserve_record(500 << 10, 1).await.expect_err("too little is free");
        assert_eq!((refused.code, refused.retry_after), (Code::Overloaded, Some(1)));
        assert_eq!(budget.bytes(), 600 << 10);
        let mut waiting = Box::pin(chunks.reserve_record(500 << 10, 1));
        assert!((&mut waiting).now_or_never().is_none());
        drop(other);
        let large = waiting.await.expect("memory is free");
        assert_eq!((large.bytes(), budget.bytes()), (500 << 10, 500 << 10));
        // The next one waits for this response's peer, for any time.
        let mut next = Box::pin(chunks.reserve_record(600 << 10, 2));
        let long = tokio::time::timeout(RECORD_WAIT_MAX * 10, &mut next).await;
        assert!(long.is_err(), "the last chunk is not sent");
        drop(large);
        let next = next.await.expect("memory is free");
        assert_eq!(next.bytes(), 1 << 20, "two copies, but at most the whole budget");
        drop(next);
        assert_eq!(budget.bytes(), 0);
    }

    #[tokio::test]
    async fn record_that_is_larger_than_the_budget_takes_all_of_it() {
        let budget = ResponseBudget::new(1 << 20);
        let (first, second) = (budget.chunks(), budget.chunks());
        let large = first.reserve_record(3 << 20, 1).await.expect("all memory is free");
        assert_eq!(large.bytes(), 1 << 20);
        let large = large.keep(Bytes::from(vec![0; 3 << 20]));
        assert_eq!(budget.bytes(), 3 << 20, "the record counts with its size");
        let mut other = Box::pin(second.reserve_record(2 << 20, 1));
        assert!((&mut other).now_or_never().is_none());
        drop(large);
        assert_eq!(other.await.expect("all memory is free").bytes(), 1 << 20);
    }

    #[test]
    fn bytes_count_until_the_last_part_of_them_is_dropped() {
        let budget = ResponseBudget::new(1000);
        let chunks = budget.chunks();
        let mut kept = at_once(&chunks, 1000).keep(Bytes::from_static(b"abcdef"));
        assert_eq!(budget.bytes(), 6, "unused memory is free");
        let part = kept.split_to(2);
        drop(kept);
        assert_eq!((&part[..], budget.bytes()), (&b"ab"[..], 6));
        drop(part);
        let larger = at_once(&chunks, 1).keep(Bytes::from_static(b"a large record"));
        assert_eq!(budget.bytes(), larger.len());
        drop(larger);
        assert_eq!(at_once(&chunks, 1).keep(Bytes::new()).len() + budget.bytes(), 0);
    }
}
