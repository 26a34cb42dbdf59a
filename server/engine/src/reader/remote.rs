//! Reads of evicted segments: what a read needs from the object store, and damage in it.
//!
//! ```text
//! damaged bytes ─▶ distrust the cache, fetch again ─▶ intact: the read goes on
//!                                                └▶ damaged: error; reading can continue after the
//!                                                   segment, and the log stays `ok`
//! ```
//!
//! Invariant: a damaged object stops no append.

use std::io;

use super::{Fetch, FilePlace, Found, Reader};
use crate::Error;
use crate::archive::remote_file::{self, NeedsStore};
use crate::segment::index::SearchKey;
use crate::storage::DiskWait;
use crate::tail::View;

/// The number of bytes that are fetched in advance for a reader in order, at most: 16 MiB.
const FETCH_AHEAD_BYTES_MAX: u64 = 16 << 20;

/// The most bytes that are fetched for the block of one record before its size is known: 4 MiB.
const FETCH_BLOCK_BYTES_MAX: u64 = 4 << 20;

/// What a read needs before it can find something.
pub(super) enum Needs {
    Disk,
    Store(Fetch),
}

impl Needs {
    pub(super) fn found<T>(self) -> Found<T> {
        match self {
            Needs::Disk => Found::NeedsDisk,
            Needs::Store(fetch) => Found::NeedsStore(fetch),
        }
    }
}

impl Reader {
    /// Begins to fetch what a failed read of a file needs, if that is why it failed, together with
    /// the rest of the block of the position. So a record is one request, although the read was of
    /// the beginning of its block.
    pub(super) fn fetch_for(
        &self,
        place: &FilePlace,
        error: &io::Error,
        disk: DiskWait,
    ) -> Option<Fetch> {
        let NeedsStore { entry, range } = remote_file::needed(error)?;
        let indexed = place.segment.find(SearchKey::Position(self.position), disk).ok().flatten();
        let next = indexed.and_then(|range| range.until).map(|until| until.offset);
        let next = next.filter(|next| next.saturating_sub(range.start) <= FETCH_BLOCK_BYTES_MAX);
        let end = range.end.max(next.unwrap_or(0)).min(entry.bytes);
        let needs = NeedsStore { entry: *entry, range: range.start..end };
        let ahead = (self.order.bytes as u64).min(FETCH_AHEAD_BYTES_MAX);
        Some(Fetch::begin(&self.log, self.position, &place.segment, &needs, ahead))
    }

    /// Whether the position is in an evicted segment.
    pub(super) fn is_remote(&self, view: &View) -> bool {
        view.segment_of(self.position).is_some_and(|(_, segment)| segment.is_remote())
    }

    /// Bytes from the cache of the object store were damaged. Returns whether they should be fetched
    /// again, which is tried once for each position.
    pub(super) fn distrust(&mut self, view: &View, damage: &Error) -> bool {
        if !self.is_remote(view) || self.distrusted == Some(self.position) {
            return false;
        }
        let entry = view.segment_of(self.position).and_then(|(_, segment)| segment.entry());
        let Some(entry) = entry else { return false };
        tracing::warn!(log = %self.log.name, "bytes from the object store are fetched again: {damage}");
        self.log.services.store.depot.distrust(&entry, 0..entry.bytes);
        self.distrusted = Some(self.position);
        self.place = None;
        self.kept = None;
        true
    }

    /// The error for damage in an evicted segment: reading can continue after the segment. The log
    /// is not marked as corrupt, because appends do not depend on the object store.
    pub(super) fn after_segment(&self, error: Error) -> Error {
        let view = self.log.tail.view();
        match (error, view.segment_of(self.position)) {
            (Error::CorruptRecord { position, path, offset, .. }, Some((_, segment))) => {
                let next = segment.summary().map(|sealed| sealed.end);
                let damage = Error::CorruptRecord { position, path, offset, next };
                tracing::error!(log = %self.log.name, "an archived segment is damaged: {damage}");
                damage
            }
            (error, _) => error,
        }
    }
}
