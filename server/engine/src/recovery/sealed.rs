//! Recovery of the sealed segments, without reading their records.
//!
//! The summary of a segment without a file comes from its entry in the list of archived segments.//!
//! A segment's summary comes from its index, if the segment ends with the seal that the index
//! names. Otherwise recovery walks the block headers and rebuilds the index. Invariant: a segment
//! without a valid seal is reported as damaged and never changed.

use std::io;
use std::sync::Arc;

use styx_protocol::Position;
use styx_protocol::block::{Flags, Header};
use styx_protocol::limits::BLOCK_HEADER_BYTES;

use super::archived::KnownSegment;
use super::{LogRecovery, describe};
use crate::Error;
use crate::commit::log_end::Cursor;
use crate::segment::index::{self, IndexSpacing};
use crate::segment::name;
use crate::segment::walk::{Bodies, ChainStart, Walk, WalkEnd};
use crate::segment::{Sealed, Segment};
use crate::storage::{Access, File, read_exact_at};

impl LogRecovery {
    /// Opens all segments except the newest. Adds a text to `problems` for each damaged segment.
    pub(super) fn sealed_segments(
        &self,
        known: &[KnownSegment],
        newest: Option<Position>,
        problems: &mut Vec<String>,
    ) -> Result<Vec<Arc<Segment>>, Error> {
        let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(known.len());
        for (i, KnownSegment { base, has_file, entry }) in known.iter().enumerate() {
            let end = known.get(i + 1).map(|next| next.base).or(newest);
            let segment = match entry {
                Some(entry) if !has_file => self.remote_segment(*entry),
                _ => self.local_segment(*base, end, problems)?,
            };
            if *has_file {
                self.note_archived(&segment, *entry);
                if let Some(before) = segments.last() {
                    self.check_border(before, *base, problems)?;
                }
            }
            if let (Some(sealed), Some(end)) = (segment.summary(), end)
                && sealed.end != end
            {
                problems.push(format!(
                    "the segment {base} ends at position {}, but the next one begins at {end}",
                    sealed.end
                ));
            }
            segments.push(Arc::new(segment));
        }
        Ok(segments)
    }

    /// Opens a segment that has a file. The next segment begins at `end`, if there is one.
    fn local_segment(
        &self,
        base: Position,
        end: Option<Position>,
        problems: &mut Vec<String>,
    ) -> Result<Segment, Error> {
        let sealed = match self.summary(base)? {
            Ok(sealed) => sealed,
            Err((partial, cause)) => {
                problems.push(cause);
                match end {
                    Some(end) => self.extend_to_seal(base, end, partial)?,
                    None => partial,
                }
            }
        };
        let folder = &self.segment_directory.path;
        let storage = Arc::clone(&self.segment_directory.storage);
        Ok(Segment::sealed(storage, folder, base, sealed))
    }

    /// Returns the summary of a sealed segment, from its index or from its blocks. If the walk does
    /// not reach a seal, returns the summary of the valid part and a description of the damage.
    fn summary(&self, base: Position) -> Result<Result<Sealed, (Sealed, String)>, Error> {
        let path = self.path(&name::segment(base));
        let failed = |error| Error::io("cannot read", &path)(error);
        let file = self.storage().open(&path, Access::Read).map_err(failed)?;
        let len = file.len().map_err(failed)?;
        let index_path = self.path(&name::index(base));
        if let Ok(index) = self.storage().open(&index_path, Access::Read)
            && let Some(sealed) = index::read_summary(&*index, base, len).map_err(failed)?
            && self.has_seal(&*file, &sealed).map_err(failed)?
        {
            return Ok(Ok(sealed));
        }
        self.rebuild_index(&*file, len, base)
    }

    /// Extends the summary of a damaged segment to the end of its file if its seal is intact. Reads
    /// can then find the records after the damage.
    fn extend_to_seal(
        &self,
        base: Position,
        end: Position,
        partial: Sealed,
    ) -> Result<Sealed, Error> {
        let path = self.path(&name::segment(base));
        let failed = |error| Error::io("cannot read", &path)(error);
        let file = self.storage().open(&path, Access::Read).map_err(failed)?;
        let len = file.len().map_err(failed)?;
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        let Some(at) = len.checked_sub(bytes.len() as u64) else { return Ok(partial) };
        read_exact_at(&*file, &mut bytes, at).map_err(failed)?;
        Ok(match Header::decode(&bytes) {
            Ok((seal, seal_crc))
                if seal.flags.contains(Flags::SEAL) && seal.base_position == end.0 =>
            {
                Sealed {
                    end,
                    bytes: len,
                    last_timestamp_us: seal.timestamp_us,
                    seal_crc,
                    ..partial
                }
            }
            _ => partial,
        })
    }

    /// Whether the file ends with the seal that the index names.
    fn has_seal(&self, file: &dyn File, sealed: &Sealed) -> io::Result<bool> {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        let Some(at) = sealed.bytes.checked_sub(bytes.len() as u64) else { return Ok(false) };
        read_exact_at(file, &mut bytes, at)?;
        let decoded = Header::decode(&bytes);
        Ok(decoded.is_ok_and(|(header, crc)| {
            crc == sealed.seal_crc && header.base_position == sealed.end.0
        }))
    }

    /// Walks the block headers of a segment, and writes its index if the walk reaches the seal. A
    /// failure to write the index is logged only, because the index is a cache.
    fn rebuild_index(
        &self,
        file: &dyn File,
        len: u64,
        base: Position,
    ) -> Result<Result<Sealed, (Sealed, String)>, Error> {
        let path = self.path(&name::segment(base));
        let failed = |error| Error::io("cannot read", &path)(error);
        let chain_start = ChainStart { base, prev_crc: None };
        let mut walk = Walk::new(file, len, chain_start, Bodies::Skip);
        let mut spacing = IndexSpacing::new(self.segment_directory.index_after_size);
        let mut entries = Vec::new();
        let mut cursor = Cursor { position: base, ..Cursor::default() };
        let stop = loop {
            match walk.step().map_err(failed)? {
                Ok(block) => {
                    entries.extend(spacing.walked(&block));
                    cursor.pass(&block.header, block.header_crc);
                }
                Err(WalkEnd::Newer(newer)) => return Err(newer.error(path)),
                Err(stop) => break stop,
            }
        };
        let sealed = Sealed {
            end: cursor.position,
            bytes: cursor.offset,
            record_bytes: cursor.record_bytes,
            first_timestamp_us: cursor.first_timestamp_us,
            last_timestamp_us: cursor.last_timestamp_us,
            seal_crc: cursor.prev_crc,
        };
        if stop != WalkEnd::Sealed {
            let cause = format!(
                "the segment {base} is damaged at position {} (byte {}: {})",
                cursor.position,
                cursor.offset,
                describe(&stop)
            );
            return Ok(Err((sealed, cause)));
        }
        let index_path = self.path(&name::index(base));
        if let Err(error) = index::write(self.storage(), &index_path, base, &sealed, &entries) {
            tracing::warn!(%error, path = %index_path.display(), "cannot rebuild the index of a segment; reads of this segment will be slower");
        }
        Ok(Ok(sealed))
    }
}
