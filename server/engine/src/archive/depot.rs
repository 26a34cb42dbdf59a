//! [`Depot`]: the trait through which the engine reaches the object store.
//!
//! ```text
//! reader ─▶ read_cached ─▶ bytes
//!             └▶ not in the cache: Found::NeedsStore(Fetch) ─▶ fetch ─▶ the reader tries again
//! ```
//!
//! The archiver implements it; a test uses a store in memory. The engine checks every byte that it
//! gets, as it does with bytes from a disk. Invariant: no method waits for the network, only
//! [`Depot::removing`] waits for a disk, and none calls back into the log, because some are called
//! while the log is locked.

use std::any::Any;
use std::fmt::{self, Debug};
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use styx_protocol::{LogId, LogName};

use super::Entry;

/// The object store behind a catalog, with a cache in front of it.
pub trait Depot: Debug + Send + Sync {
    /// Fills `buffer` with the bytes of an archived segment that begin at `offset`, if all of them
    /// are in the cache. Returns whether they were. Never waits for the store. The range is within
    /// the segment.
    fn read_cached(&self, entry: &Entry, offset: u64, buffer: &mut [u8]) -> bool;

    /// Fetches a range of an archived segment into the cache. The result keeps the bytes there until
    /// it is dropped, so that [`Depot::read_cached`] finds them. The range is within the segment and
    /// not empty.
    ///
    /// `ahead` is the number of bytes after the range that a reader in order will probably need next.
    /// It is a hint: the depot may fetch them in the background, and the result does not wait for
    /// them.
    ///
    /// The future makes progress without being polled, or is woken until it is done. Dropping it
    /// cancels only this wait.
    fn fetch(&self, entry: &Entry, range: Range<u64>, ahead: u64) -> FetchResult;

    /// Fetches the index of an archived segment, and gives it to
    /// [`Log::restore_index`](crate::Log::restore_index) before the future resolves. If the store has
    /// no valid index, the future fails, and the depot calls
    /// [`Log::rebuild_index`](crate::Log::rebuild_index) in the background. Without an index, reads
    /// of the segment work but are slow. The future is as that of [`Depot::fetch`].
    fn fetch_index(&self, log: &LogName, id: LogId, entry: &Entry) -> FetchResult;

    /// The bytes of a range had the wrong checksums, although they came from the depot. Forgets them,
    /// so that the next fetch reads the store again.
    fn distrust(&self, entry: &Entry, range: Range<u64>);

    /// The log may have work for the archiver: it was opened, a segment was sealed, or segments were
    /// removed from its start. Never waits.
    fn notice(&self, log: &LogName, id: LogId);

    /// The log is about to be deleted or truncated. The depot notes that durably, because a crash can
    /// prevent the next call. Unlike the other methods, it may wait for the disk. `open_epoch` is that
    /// of the log; 0 if the log accepts no appends.
    fn removing(&self, log: &LogName, id: LogId, open_epoch: u32);

    /// The log could not be removed, and continues. Never waits for the store.
    fn kept(&self, log: &LogName, id: LogId);

    /// The log was deleted or truncated, durably: its objects are no longer needed. Never waits.
    fn removed(&self, log: &LogName, id: LogId);

    /// An append failed because the disk is full, or because less than the disk reserve is free.
    /// Archived segments should be evicted now. Never waits.
    fn disk_is_short(&self, log: &LogName, id: LogId);
}

/// The future of [`Depot::fetch`].
pub type FetchResult = Pin<Box<dyn Future<Output = Result<Kept, StoreError>> + Send>>;

/// Keeps fetched bytes in the cache until it is dropped.
pub struct Kept(
    #[expect(dead_code, reason = "dropping it releases the bytes")] Box<dyn Any + Send + Sync>,
);

impl Kept {
    /// A value whose drop releases the bytes.
    #[must_use]
    pub fn new(pin: impl Any + Send + Sync) -> Kept {
        Kept(Box::new(pin))
    }
}

impl Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

/// Why the store did not return bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no such object. The engine looks first whether the log still has the segment.
    #[error("the object does not exist")]
    Missing,
    /// The object exists but is not the archived segment, for this reason.
    #[error("the object is damaged: {0}")]
    Damaged(String),
    /// The store does not answer, or refuses; the text says why. A later attempt may succeed.
    #[error("the object store is not available: {0}")]
    Unavailable(String),
}

/// The depot of a catalog without one: it has no bytes.
#[derive(Debug)]
pub(crate) struct NoDepot;

impl Depot for NoDepot {
    fn read_cached(&self, _: &Entry, _: u64, _: &mut [u8]) -> bool {
        false
    }

    fn fetch(&self, _: &Entry, _: Range<u64>, _: u64) -> FetchResult {
        let why = "this server has no [archive], but the log has segments there";
        Box::pin(std::future::ready(Err(StoreError::Unavailable(why.into()))))
    }

    fn fetch_index(&self, _: &LogName, _: LogId, _: &Entry) -> FetchResult {
        Box::pin(std::future::ready(Err(StoreError::Missing)))
    }

    fn distrust(&self, _: &Entry, _: Range<u64>) {}
    fn notice(&self, _: &LogName, _: LogId) {}
    fn removing(&self, _: &LogName, _: LogId, _: u32) {}
    fn kept(&self, _: &LogName, _: LogId) {}
    fn removed(&self, _: &LogName, _: LogId) {}
    fn disk_is_short(&self, _: &LogName, _: LogId) {}
}

/// Waits on this thread for a future. `None` if nothing woke it for this time.
pub(crate) fn wait<F: Future + Unpin>(mut future: F, at_most: Duration) -> Option<F::Output> {
    let (woken, wakes) = mpsc::channel();
    let waker = Waker::from(Arc::new(ChannelWaker(woken)));
    loop {
        match Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return Some(output),
            Poll::Pending => wakes.recv_timeout(at_most).ok()?,
        }
    }
}

struct ChannelWaker(mpsc::Sender<()>);

impl Wake for ChannelWaker {
    fn wake(self: Arc<Self>) {
        // The thread may have given up.
        let _ = self.0.send(());
    }
}
