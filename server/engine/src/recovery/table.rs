//! Recovery of the producers table: reads a snapshot and replays every block after it.
//!
//! Recovery calls this before it walks the newest segment, whose blocks it replays itself.
//! Invariant: a snapshot is used only with the seal that it names.

use std::sync::Arc;

use styx_protocol::Position;
use styx_protocol::block::Header;
use styx_protocol::limits::BLOCK_HEADER_BYTES;

use super::LogRecovery;
use crate::Error;
use crate::format::{Newer, Unusable};
use crate::producers::{BYTES_MAX, ProducerTable};
use crate::segment::walk::{Bodies, ChainStart, Walk, WalkEnd};
use crate::segment::{Segment, name};
use crate::storage::{Access, read_exact_at, read_file};

impl LogRecovery {
    /// Returns the producers table at the start of the newest segment. Reads the newest snapshot
    /// that belongs to this chain, then replays the blocks from there to the newest segment.
    pub(super) fn producers_before(
        &self,
        older: &[Arc<Segment>],
        newest: Position,
    ) -> Result<ProducerTable, Error> {
        let mut table = ProducerTable::default();
        let mut from = 0;
        for (i, segment) in older.iter().enumerate().rev() {
            let Some(sealed) = segment.summary() else { continue };
            if let Some(read) = self.snapshot(sealed.end, sealed.seal_crc)? {
                table = read;
                from = i + 1;
                break;
            }
        }
        if from == 0 {
            let oldest = older.first().map_or(newest, |segment| segment.base);
            if let Some(seal_crc) = self.prev_crc_of(oldest)? {
                table = self.snapshot(oldest, seal_crc)?.unwrap_or_default();
            }
        }
        for segment in older.iter().skip(from) {
            let failed = |error| Error::io("cannot read", &segment.path)(error);
            let file = segment.file().map_err(failed)?;
            let len = segment.summary().map_or(0, |sealed| sealed.bytes);
            let chain_start = ChainStart { base: segment.base, prev_crc: None };
            let mut walk = Walk::new(&*file, len, chain_start, Bodies::Skip);
            loop {
                match walk.step().map_err(failed)? {
                    Ok(block) => table.replay(&block.header),
                    Err(WalkEnd::Newer(newer)) => return Err(newer.error(&segment.path)),
                    Err(_) => break,
                }
            }
        }
        Ok(table)
    }

    /// Returns the snapshot that was taken at this seal, if it exists and is valid.
    fn snapshot(&self, end: Position, seal_crc: u32) -> Result<Option<ProducerTable>, Error> {
        let path = self.path(&name::producers(end));
        let Ok(bytes) = read_file(self.storage(), &path, BYTES_MAX) else { return Ok(None) };
        match ProducerTable::decode(&bytes) {
            Ok((table, crc, at)) if crc == seal_crc && at == end => Ok(Some(table)),
            Err(Unusable::Newer(newer)) => Err(newer.error(path)),
            _ => {
                tracing::warn!(path = %path.display(), "ignored a producer snapshot, because it is damaged or belongs to another seal");
                Ok(None)
            }
        }
    }

    /// Returns the `prev_crc` of a segment's first block: the `header_crc` of the seal before it.
    /// `None` if it cannot be read.
    pub(super) fn prev_crc_of(&self, base: Position) -> Result<Option<u32>, Error> {
        let path = self.path(&name::segment(base));
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        let read = self.storage().open(&path, Access::Read);
        if read.and_then(|file| read_exact_at(&*file, &mut bytes, 0)).is_err() {
            return Ok(None);
        }
        match Header::decode(&bytes) {
            Ok((header, _)) => Ok(Some(header.prev_crc)),
            Err(error) => Newer::block(error).map_or(Ok(None), |newer| Err(newer.error(path))),
        }
    }
}
