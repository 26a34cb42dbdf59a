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
use crate::producers::{BYTES_MAX, ProducerTable};
use crate::segment::walk::{Bodies, ChainStart, Walk};
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
            if let Some(read) = self.snapshot(sealed.end, sealed.seal_crc) {
                table = read;
                from = i + 1;
                break;
            }
        }
        if from == 0 {
            let oldest = older.first().map_or(newest, |segment| segment.base);
            let seal_crc = self.prev_crc_of(oldest);
            table = seal_crc.and_then(|crc| self.snapshot(oldest, crc)).unwrap_or_default();
        }
        for segment in older.iter().skip(from) {
            let failed = |error| Error::io("cannot read", &segment.path)(error);
            let file = segment.file().map_err(failed)?;
            let len = segment.summary().map_or(0, |sealed| sealed.bytes);
            let chain_start = ChainStart { base: segment.base, prev_crc: None };
            let mut walk = Walk::new(&*file, len, chain_start, Bodies::Skip);
            while let Ok(block) = walk.step().map_err(failed)? {
                table.replay(&block.header);
            }
        }
        Ok(table)
    }

    /// Returns the snapshot that was taken at this seal, if it exists and is valid.
    fn snapshot(&self, end: Position, seal_crc: u32) -> Option<ProducerTable> {
        let path = self.path(&name::producers(end));
        let bytes = read_file(self.storage(), &path, BYTES_MAX).ok()?;
        match ProducerTable::decode(&bytes) {
            Some((table, crc, at)) if crc == seal_crc && at == end => Some(table),
            _ => {
                tracing::warn!(path = %path.display(), "ignored a producer snapshot, because it is damaged or belongs to another seal");
                None
            }
        }
    }

    /// Returns the `prev_crc` of a segment's first block: the `header_crc` of the seal before it.
    fn prev_crc_of(&self, base: Position) -> Option<u32> {
        let file = self.storage().open(&self.path(&name::segment(base)), Access::Read).ok()?;
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        read_exact_at(&*file, &mut bytes, 0).ok()?;
        Header::decode(&bytes).ok().map(|(header, _)| header.prev_crc)
    }
}
