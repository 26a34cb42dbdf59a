//! Puts the index of an evicted segment back, which is missing on the disk.
//!
//! ```text
//! a read needs the index ─▶ Depot::fetch_index ─▶ restore_index: check, rename
//!                                             └▶ no valid object: rebuild_index from the headers
//! ```
//!
//! Invariant: a file gets the name of an index only after all of it was checked, and only while the
//! log has the segment.

use std::sync::Arc;

use styx_protocol::Position;

use super::Log;
use super::archive::sealed_at;
use super::inner::LogInner;
use crate::Error;
use crate::segment::index::{self, IndexSpacing};
use crate::segment::walk::{Bodies, ChainStart, Walk, WalkEnd};
use crate::segment::{Sealed, Segment};
use crate::storage::{Access, temporary_path, write_temporary};
use crate::sync::lock;

impl Log {
    /// Stores the index of an archived segment, as it was uploaded. Returns `false`, and stores
    /// nothing, if the bytes are not the index of the segment with this base, or if the log has no
    /// such segment any more. Blocks.
    ///
    /// # Errors
    /// The log was removed; I/O.
    pub fn restore_index(&self, base: Position, bytes: &[u8]) -> Result<bool, Error> {
        self.0.restore_index(base, bytes)
    }

    /// Writes the index of an archived segment anew, from the headers of its blocks. Fetches the
    /// whole segment from the store. Returns `false` if the log has no such segment any more.
    /// Blocks, but nobody waits for it.
    ///
    /// # Errors
    /// The store is not available; [`Error::CorruptRecord`] if the object is missing or damaged; the
    /// log was removed; I/O.
    pub fn rebuild_index(&self, base: Position) -> Result<bool, Error> {
        self.0.rebuild_index(base)
    }
}

impl LogInner {
    fn restore_index(&self, base: Position, bytes: &[u8]) -> Result<bool, Error> {
        let _list = lock(&self.archive);
        let Some((segment, sealed)) = self.sealed_segment_at(base)? else { return Ok(false) };
        let storage = &*self.segment_directory.storage;
        let path = segment.index_path();
        let failed = |error| Error::io("cannot write", &path)(error);
        write_temporary(storage, &path, bytes).map_err(failed)?;
        let temporary = temporary_path(&path);
        let file = storage.open(&temporary, Access::Read).map_err(failed)?;
        if !index::is_intact(&*file, base, &sealed).map_err(failed)? {
            storage.remove_file(&temporary).map_err(failed)?;
            return Ok(false);
        }
        // As every index, it is a cache and needs no sync.
        storage.rename(&temporary, &path).map_err(failed)?;
        Ok(true)
    }

    fn rebuild_index(&self, base: Position) -> Result<bool, Error> {
        let Some((segment, sealed)) = self.sealed_segment_at(base)? else { return Ok(false) };
        let failed = |error| Error::io("cannot read", &segment.path)(error);
        let file = segment.file().map_err(failed)?;
        let chain_start = ChainStart { base, prev_crc: None };
        let mut walk = Walk::new(&*file, sealed.bytes, chain_start, Bodies::Skip);
        let mut spacing = IndexSpacing::new(self.segment_directory.index_after_size);
        let mut entries = Vec::new();
        loop {
            match walk.step().map_err(failed)? {
                Ok(block) => entries.extend(spacing.walked(&block)),
                Err(WalkEnd::Sealed) if walk.prev_crc() == Some(sealed.seal_crc) => break,
                Err(WalkEnd::Newer(newer)) => return Err(newer.error(segment.path.clone())),
                Err(_) => {
                    return Err(Error::CorruptRecord {
                        position: walk.position(),
                        path: segment.path.clone(),
                        offset: walk.offset(),
                        next: Some(sealed.end),
                    });
                }
            }
        }
        let _list = lock(&self.archive);
        let Some((segment, sealed)) = self.sealed_segment_at(base)? else { return Ok(false) };
        let path = segment.index_path();
        index::write(&*self.segment_directory.storage, &path, base, &sealed, &entries)
            .map_err(Error::io("cannot write", path))?;
        tracing::info!(log = %self.name, segment = %base, "rebuilt the index of an archived segment");
        Ok(true)
    }

    fn sealed_segment_at(&self, base: Position) -> Result<Option<(Arc<Segment>, Sealed)>, Error> {
        let view = self.tail.live_view()?;
        let segment = sealed_at(&view, base);
        Ok(segment.and_then(|segment| Some((Arc::clone(segment), *segment.summary()?))))
    }
}
