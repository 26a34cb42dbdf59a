//! [`Answers`]: the memory that answers together take while they wait to be sent.
//!
//! ```text
//! share(wanted) ─▶ read so much ─▶ keep(bytes) ─▶ … sent, or given up: given back
//!      └ while there is room what is wanted, else a little, once the last is sent
//! ```
//!
//! Nobody is refused, and nobody waits but for its own peer: once readers that do
//! not read hold what there is, everybody gets small pieces, one at a time, until
//! those are let go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use styx_engine::Batch;
use tokio::sync::Notify;

/// What anybody gets, whatever the others hold. A record larger than that is
/// given out whole.
const LITTLE_BYTES: usize = 64 << 10;

/// A budget of bytes.
#[derive(Debug)]
pub(crate) struct Answers {
    bytes_max: usize,
    held: Arc<AtomicUsize>,
}

/// One answer, which goes out piece by piece.
#[derive(Debug)]
pub(crate) struct Pieces {
    bytes_max: usize,
    held: Arc<AtomicUsize>,
    own: Arc<Own>,
}

/// What one answer holds.
#[derive(Debug, Default)]
struct Own {
    pieces: AtomicUsize,
    sent: Notify,
}

/// Memory for a piece; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    bytes: usize,
    is_a_little: bool,
    held: Arc<AtomicUsize>,
    own: Arc<Own>,
}

impl Answers {
    pub(crate) fn new(bytes_max: usize) -> Answers {
        Answers { bytes_max, held: Arc::default() }
    }

    /// Bytes that wait to be sent now.
    pub(crate) fn bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Begins an answer.
    pub(crate) fn pieces(&self) -> Pieces {
        Pieces { bytes_max: self.bytes_max, held: self.held.clone(), own: Arc::default() }
    }
}

impl Pieces {
    /// Room for `wanted` bytes. If all answers hold too much, it is room for a
    /// little, and comes once the piece before was sent.
    pub(crate) async fn share(&self, wanted: usize) -> Share {
        while self.is_too_much(self.held.load(Ordering::Relaxed), wanted)
            && self.own.pieces.load(Ordering::Acquire) > 0
        {
            self.own.sent.notified().await;
        }
        self.own.pieces.fetch_add(1, Ordering::Relaxed);
        let before = self.held.fetch_add(wanted, Ordering::Relaxed);
        let is_a_little = self.is_too_much(before, wanted);
        let (held, own) = (self.held.clone(), self.own.clone());
        let mut share = Share { bytes: wanted, is_a_little, held, own };
        if is_a_little {
            share.resize(wanted.min(LITTLE_BYTES));
        }
        share
    }

    fn is_too_much(&self, held: usize, wanted: usize) -> bool {
        held.saturating_add(wanted) > self.bytes_max
    }
}

impl Share {
    /// How much may be read for it.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// After how many bytes an answer has to end, though more was read: a block is
    /// read as a whole.
    pub(crate) fn bytes_max(&self) -> usize {
        if self.is_a_little { self.bytes } else { usize::MAX }
    }

    /// How many of the batch's records it has room for, one at least.
    pub(crate) fn records_max(&self, batch: &Batch) -> u64 {
        if !self.is_a_little {
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

    /// So many bytes are kept elsewhere until this is dropped.
    pub(crate) fn hold(&mut self, bytes: usize) {
        self.resize(bytes);
    }

    /// The same bytes, which count until the last of them is dropped.
    pub(crate) fn keep(mut self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() {
            return bytes;
        }
        self.resize(bytes.len());
        Bytes::from_owner(Kept { bytes, _share: self })
    }

    /// Counts so many bytes from now on, more or fewer than before.
    pub(crate) fn resize(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.held.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.own.pieces.fetch_sub(1, Ordering::Release);
        // One waits at most, and is told also if it begins to only now.
        self.own.sent.notify_one();
    }
}

struct Kept {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn at_once(pieces: &Pieces, wanted: usize) -> Share {
        pieces.share(wanted).now_or_never().expect("nothing to wait for")
    }

    #[test]
    fn who_comes_when_all_is_held_gets_a_little() {
        let answers = Answers::new(4 * LITTLE_BYTES);
        let [first, second, third] = [(); 3].map(|()| answers.pieces());
        let large = at_once(&first, 3 * LITTLE_BYTES);
        assert_eq!((large.bytes(), large.bytes_max()), (3 * LITTLE_BYTES, usize::MAX));
        let little = at_once(&second, 2 * LITTLE_BYTES);
        assert_eq!((little.bytes(), little.bytes_max()), (LITTLE_BYTES, LITTLE_BYTES));
        let refused_nothing = at_once(&third, 2 * LITTLE_BYTES);
        assert_eq!(refused_nothing.bytes(), LITTLE_BYTES);
        assert_eq!(answers.bytes(), 5 * LITTLE_BYTES);
        drop((large, refused_nothing));
        assert_eq!(at_once(&third, 2 * LITTLE_BYTES).bytes(), 2 * LITTLE_BYTES);
    }

    #[test]
    fn a_second_piece_comes_at_once_or_when_the_first_was_sent() {
        let answers = Answers::new(100);
        let pieces = answers.pieces();
        let (first, second) = (at_once(&pieces, 40), at_once(&pieces, 40));
        let mut third = Box::pin(pieces.share(40));
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        // There is room again, also for one that still holds some.
        assert_eq!(third.now_or_never().expect("it was told").bytes(), 40);
        drop(second);
        let others = answers.pieces();
        let all = at_once(&others, 100);
        let little = at_once(&pieces, 40);
        let mut next = Box::pin(pieces.share(40));
        assert!((&mut next).now_or_never().is_none());
        drop(little);
        assert!(next.now_or_never().expect("it was told").bytes_max() <= LITTLE_BYTES);
        drop(all);
    }

    #[test]
    fn bytes_count_until_the_last_part_of_them_is_dropped() {
        let answers = Answers::new(1000);
        let pieces = answers.pieces();
        let mut kept = at_once(&pieces, 1000).keep(Bytes::from_static(b"abcdef"));
        assert_eq!(answers.bytes(), 6, "what was not used is free");
        let part = kept.split_to(2);
        drop(kept);
        assert_eq!((&part[..], answers.bytes()), (&b"ab"[..], 6));
        drop(part);
        let larger = at_once(&pieces, 1).keep(Bytes::from_static(b"a large record"));
        assert_eq!(answers.bytes(), larger.len());
        drop(larger);
        assert_eq!(at_once(&pieces, 1).keep(Bytes::new()).len() + answers.bytes(), 0);
    }
}
