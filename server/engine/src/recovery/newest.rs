//! Recovery of the newest segment: checks every block and cuts off a torn tail.
//!
//! The segment is read from the device, not from the page cache. Recovery decides by the
//! watermark whether the first invalid block is damage or a torn tail. Invariant: a torn tail is
//! cut off and synced before anything is appended in its place.

use std::sync::Arc;

use styx_protocol::Position;
use styx_protocol::block::Flags;

use super::LogRecovery;
use crate::Error;
use crate::commit::log_end::Cursor;
use crate::producers::ProducerTable;
use crate::segment::index::{self, IndexSpacing};
use crate::segment::name;
use crate::segment::walk::{Bodies, ChainStart, Walk, WalkEnd, WalkedBlock};
use crate::segment::{Sealed, Segment};
use crate::storage::{Access, File, last_not_zero, read_exact_at, write_all_at};

/// At most this many bytes of a torn tail are copied: 64 MiB.
const TORN_BYTES_MAX: u64 = 64 << 20;

/// What a walk of the newest segment found, up to its first invalid block.
pub(super) struct WalkedSegment {
    pub(super) file: Arc<dyn File>,
    pub(super) len: u64,
    pub(super) cursor: Cursor,
    /// The salt in its first block; `None` if that block is invalid or missing.
    pub(super) salt: Option<u64>,
    pub(super) epoch: u32,
    pub(super) sealed: Option<Sealed>,
    entries: Vec<index::IndexEntry>,
    pub(super) spacing: IndexSpacing,
    pub(super) producers: ProducerTable,
    pub(super) stop: WalkEnd,
}

impl LogRecovery {
    /// Syncs the newest segment, drops its page cache, and walks it to the first invalid block. An
    /// unreadable block counts as invalid, but one of a newer version is an error.
    pub(super) fn walk_newest(
        &self,
        base: Position,
        prev_crc: Option<u32>,
        producers: ProducerTable,
    ) -> Result<WalkedSegment, Error> {
        let path = self.path(&name::segment(base));
        let failed = |doing| Error::io(doing, &path);
        let file = self.storage().open(&path, Access::Write).map_err(failed("cannot open"))?;
        file.sync().map_err(failed("cannot sync"))?;
        file.drop_cache().map_err(failed("cannot drop the page cache of"))?;
        let len = file.len().map_err(failed("cannot read the size of"))?;
        let mut walk = Walk::new(&*file, len, ChainStart { base, prev_crc }, Bodies::Check);
        let mut walked = WalkedSegment {
            file: Arc::clone(&file),
            len,
            cursor: Cursor {
                position: base,
                prev_crc: prev_crc.unwrap_or_default(),
                ..Cursor::default()
            },
            salt: None,
            epoch: 0,
            sealed: None,
            entries: Vec::new(),
            spacing: IndexSpacing::new(self.segment_directory.index_after_size),
            producers,
            stop: WalkEnd::EndOfFile,
        };
        loop {
            match walk.step() {
                Ok(Ok(block)) => walked.add_block(&block),
                Ok(Err(WalkEnd::Newer(newer))) => return Err(newer.error(path)),
                Ok(Err(stop)) => {
                    walked.stop = stop;
                    return Ok(walked);
                }
                Err(error) => {
                    tracing::error!(%error, path = %path.display(), offset = walk.offset(), "cannot read a segment");
                    walked.stop = WalkEnd::Invalid("the file cannot be read here");
                    return Ok(walked);
                }
            }
        }
    }

    pub(super) fn newest_segment(&self, base: Position, walked: &WalkedSegment) -> Segment {
        Segment::newest(
            Arc::clone(&self.segment_directory.storage),
            &self.segment_directory.path,
            base,
            Arc::clone(&walked.file),
            walked.entries.clone(),
        )
    }

    /// Cuts off the bytes after the last valid block and syncs the file. If they are all zeros,
    /// there is no torn tail and no warning.
    pub(super) fn cut_torn_tail(
        &self,
        base: Position,
        walked: &WalkedSegment,
    ) -> Result<(), Error> {
        let at = walked.cursor.offset;
        if at >= walked.len {
            return Ok(());
        }
        let path = self.path(&name::segment(base));
        let torn = self.copy_aside(&*walked.file, at, walked.len);
        if torn > 0 {
            tracing::warn!(
                path = %path.display(), offset = at, bytes = torn, position = %walked.cursor.position,
                "cut off what a crash left after the last whole block; these bytes were never acknowledged"
            );
        }
        walked.file.set_len(at).map_err(Error::io("cannot cut off the torn tail of", &path))?;
        walked.file.sync().map_err(Error::io("cannot sync", &path))
    }

    /// Copies a torn tail to another file and ignores failures. Returns the number of its bytes
    /// before the trailing zeros.
    fn copy_aside(&self, file: &dyn File, from: u64, to: u64) -> u64 {
        let mut buffer = vec![0; 1 << 20];
        let mut last_byte = from;
        let mut copy: Option<Arc<dyn File>> = None;
        let path = self.path(name::TORN_TAIL);
        let mut at = from;
        while at < to {
            let want = usize::try_from(to - at).unwrap_or(usize::MAX).min(buffer.len());
            let part = &mut buffer[..want];
            if read_exact_at(file, part, at).is_err() {
                break;
            }
            if let Some(last) = last_not_zero(part) {
                last_byte = at + last as u64 + 1;
                if copy.is_none() {
                    let _ = self.storage().remove_file(&path);
                    copy = self.storage().create(&path).ok();
                }
                if let Some(copy) = &copy
                    && at - from < TORN_BYTES_MAX
                {
                    let _ = write_all_at(&**copy, &part[..=last], at - from);
                }
            }
            at += want as u64;
        }
        last_byte - from
    }
}

impl WalkedSegment {
    fn add_block(&mut self, block: &WalkedBlock) {
        let header = &block.header;
        self.salt.get_or_insert(header.segment_salt);
        self.epoch = self.epoch.max(header.open_epoch);
        self.entries.extend(self.spacing.walked(block));
        self.producers.replay(header);
        self.cursor.pass(header, block.header_crc);
        if header.flags.contains(Flags::SEAL) {
            self.sealed = Some(Sealed {
                end: self.cursor.position,
                bytes: self.cursor.offset,
                record_bytes: self.cursor.record_bytes,
                first_timestamp_us: self.cursor.first_timestamp_us,
                last_timestamp_us: self.cursor.last_timestamp_us,
                seal_crc: block.header_crc,
            });
        }
    }
}
