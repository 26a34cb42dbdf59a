//! [`Fetch`]: waits for bytes of an evicted segment, which have to come from the object store.
//!
//! ```text
//! Found::NeedsStore(fetch) ─▶ await it, without a thread ─▶ keep(kept) ─▶ read again
//! ```
//!
//! Invariant: a missing object is judged by the log's start. If retention has removed the segment
//! in the meantime, the error is `out_of_range`, and not damage.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use styx_protocol::Position;

use crate::Error;
use crate::archive::depot::wait;
use crate::archive::remote_file::NeedsStore;
use crate::archive::{Entry, FetchResult, Kept, StoreError};
use crate::log::LogInner;
use crate::segment::Segment;

/// A future that resolves when the bytes that a read needs are in the cache. They stay there while
/// the result exists; give it to [`Reader::keep`](crate::Reader::keep). Dropping it cancels only
/// this wait.
#[must_use = "the read goes on after this future is awaited"]
pub struct Fetch(Box<Fetching>);

/// In a box, so that the results of reads that need no store stay small.
struct Fetching {
    log: Arc<LogInner>,
    /// The position that the read wants.
    position: Position,
    segment: Arc<Segment>,
    entry: Entry,
    offset: u64,
    /// It is the index that is fetched. If the store has none, the read goes on without.
    is_index: bool,
    fetched: FetchResult,
}

impl Fetch {
    /// Begins to fetch. `ahead` is a hint for the depot.
    pub(crate) fn begin(
        log: &Arc<LogInner>,
        position: Position,
        segment: &Arc<Segment>,
        needs: &NeedsStore,
        ahead: u64,
    ) -> Fetch {
        let left = needs.entry.bytes.saturating_sub(needs.range.end);
        let depot = &log.services.store.depot;
        Fetch(Box::new(Fetching {
            log: Arc::clone(log),
            position,
            segment: Arc::clone(segment),
            entry: needs.entry,
            offset: needs.range.start,
            is_index: false,
            fetched: depot.fetch(&needs.entry, needs.range.clone(), ahead.min(left)),
        }))
    }

    /// Begins to fetch the index of an evicted segment. `None` if there is one on the disk, or if
    /// somebody has asked for it. Waits for the disk.
    pub(crate) fn index(
        log: &Arc<LogInner>,
        position: Position,
        segment: &Arc<Segment>,
    ) -> Option<Fetch> {
        let entry = segment.entry().filter(|_| segment.wants_index())?;
        tracing::debug!(log = %log.name, segment = %segment.base, "fetching the index of an archived segment");
        Some(Fetch(Box::new(Fetching {
            log: Arc::clone(log),
            position,
            segment: Arc::clone(segment),
            entry,
            offset: 0,
            is_index: true,
            fetched: log.services.store.depot.fetch_index(&log.name, log.id, &entry),
        })))
    }

    /// Blocks this thread until the future resolves, or until the store made no progress for
    /// [`Options::store_wait`](crate::Options::store_wait).
    ///
    /// # Errors
    /// As the future; [`Error::StoreUnavailable`] also after that time.
    pub fn wait(self) -> Result<Kept, Error> {
        let at_most = self.0.log.services.store.wait_max;
        let late = || Error::StoreUnavailable { cause: "it did not answer in time".into() };
        wait(self, at_most).unwrap_or_else(|| Err(late()))
    }
}

impl Fetching {
    /// What the failure means for the reader. `Ok` if it should read again.
    fn judge(&self, error: StoreError) -> Result<Kept, Error> {
        if self.is_index {
            return match error {
                StoreError::Unavailable(cause) => {
                    self.segment.index_did_not_arrive();
                    Err(Error::StoreUnavailable { cause })
                }
                StoreError::Missing | StoreError::Damaged(_) => Ok(Kept::new(())),
            };
        }
        let view = self.log.tail.live_view()?;
        if self.position < view.start() {
            return Err(Error::OutOfRange {
                asked: i128::from(self.position.0),
                start: view.start(),
                end: view.durable.position,
            });
        }
        let cause = match error {
            StoreError::Unavailable(cause) => return Err(Error::StoreUnavailable { cause }),
            // The segment was uploaded again, or its file was put back, in the meantime.
            _ if !self.segment.is_remote() || self.segment.entry() != Some(self.entry) => {
                return Ok(Kept::new(()));
            }
            StoreError::Missing | StoreError::Damaged(_) => error,
        };
        tracing::error!(log = %self.log.name, segment = %self.segment.base, %cause, "an archived segment cannot be read");
        Err(Error::CorruptRecord {
            position: self.position,
            path: self.segment.path.clone(),
            offset: self.offset,
            next: self.segment.summary().map(|sealed| sealed.end),
        })
    }
}

impl Future for Fetch {
    type Output = Result<Kept, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0.fetched.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(kept)) => Poll::Ready(Ok(kept)),
            Poll::Ready(Err(error)) => Poll::Ready(self.0.judge(error)),
        }
    }
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetch")
            .field("position", &self.0.position)
            .field("segment", &self.0.segment.base)
            .field("offset", &self.0.offset)
            .finish_non_exhaustive()
    }
}
