//! Going through a segment block by block, and checking each one.
//!
//! ```text
//! filler ─prev_crc─▶ block ─prev_crc─▶ … ─prev_crc─▶ seal | torn tail
//! ```
//!
//! A block is checked by its lengths, CRCs, salt, epoch and chain only, never by the current
//! configuration. The first invalid block ends the walk; the bytes after it decide nothing.
//! Memory is bounded by the file's real size, not by the length fields in it.

use std::io;

use bytes::{Bytes, BytesMut};
use styx_protocol::Position;
use styx_protocol::block::{self, Header};
use styx_protocol::limits::BLOCK_HEADER_BYTES;

use super::name::Offset;
use crate::storage::{File, read_exact_at};

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A block that passed the checks.
#[derive(Debug, Clone)]
pub(crate) struct WalkedBlock {
    pub(crate) offset: Offset,
    pub(crate) header: Header,
    pub(crate) header_crc: u32,
    /// Empty if the walk skips bodies.
    pub(crate) body: Bytes,
}

/// Why a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WalkEnd {
    /// The file ends where a block would begin.
    EndOfFile,
    /// After the seal; the file may contain more bytes.
    Sealed,
    /// The next bytes are not the next block.
    Invalid(&'static str),
    /// The next block is intact, but from a newer Styx.
    Unknown(block::Error),
}

/// What the first block must follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChainStart {
    pub(crate) base: Position,
    /// The `header_crc` before it, if that is known.
    pub(crate) prev_crc: Option<u32>,
}

/// Whether bodies are read and their CRCs checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    Check,
    Skip,
}

/// A walk in progress.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    file: &'a dyn File,
    len: u64,
    bodies: Bodies,
    offset: Offset,
    position: Position,
    prev_crc: Option<u32>,
    salt: Option<u64>,
    epoch: u32,
    sealed: bool,
    chunk: Bytes,
    chunk_offset: Offset,
}

impl<'a> Walk<'a> {
    /// Begins at byte 0 of a file of `len` bytes.
    pub(crate) fn new(
        file: &'a dyn File,
        len: u64,
        chain_start: ChainStart,
        bodies: Bodies,
    ) -> Walk<'a> {
        Walk {
            file,
            len,
            bodies,
            offset: 0,
            position: chain_start.base,
            prev_crc: chain_start.prev_crc,
            salt: None,
            epoch: 0,
            sealed: false,
            chunk: Bytes::new(),
            chunk_offset: 0,
        }
    }

    /// Begins at a block in the middle, whose place is known from an index.
    pub(crate) fn begin_at(&mut self, offset: Offset, position: Position) {
        self.offset = offset;
        self.position = position;
    }

    /// Where the next block begins.
    pub(crate) fn offset(&self) -> Offset {
        self.offset
    }

    /// The position of the next block.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The `header_crc` of the last block, or the expected one before it.
    pub(crate) fn prev_crc(&self) -> Option<u32> {
        self.prev_crc
    }

    /// The next block, or why there is none.
    ///
    /// # Errors
    /// The file cannot be read. A short read is an invalid block instead.
    pub(crate) fn step(&mut self) -> io::Result<Result<WalkedBlock, WalkEnd>> {
        if self.sealed {
            return Ok(Err(WalkEnd::Sealed));
        }
        let left = self.len.saturating_sub(self.offset);
        if left == 0 {
            return Ok(Err(WalkEnd::EndOfFile));
        }
        if left < BLOCK_HEADER_BYTES as u64 {
            return Ok(Err(WalkEnd::Invalid("there are fewer bytes than a block header has")));
        }
        let Some(head) = self.bytes(self.offset, BLOCK_HEADER_BYTES)? else {
            return Ok(Err(WalkEnd::Invalid("the file is shorter than its length says")));
        };
        let (header, header_crc) = match Header::decode(&head) {
            Ok(decoded) => decoded,
            Err(block::Error::NotAHeader) => {
                return Ok(Err(WalkEnd::Invalid(
                    "there is no block header with a matching checksum",
                )));
            }
            Err(newer) => return Ok(Err(WalkEnd::Unknown(newer))),
        };
        if let Some(fault) = self.invalid_reason(&header, left) {
            return Ok(Err(WalkEnd::Invalid(fault)));
        }
        let body = match self.bodies {
            Bodies::Skip => Bytes::new(),
            Bodies::Check => {
                let at = self.offset + BLOCK_HEADER_BYTES as u64;
                let Some(body) = self.bytes(at, header.body_size as usize)? else {
                    return Ok(Err(WalkEnd::Invalid("the file is shorter than its length says")));
                };
                if crc32fast::hash(&body) != header.body_crc {
                    return Ok(Err(WalkEnd::Invalid("the body fails its checksum")));
                }
                body
            }
        };
        let block = WalkedBlock { offset: self.offset, header, header_crc, body };
        self.offset += header.block_bytes();
        self.position = Position(header.end_position());
        self.prev_crc = Some(header_crc);
        self.salt = Some(header.segment_salt);
        self.epoch = header.open_epoch;
        self.sealed = header.flags.contains(block::Flags::SEAL);
        Ok(Ok(block))
    }

    fn invalid_reason(&self, header: &Header, left: u64) -> Option<&'static str> {
        if header.block_bytes() > left {
            return Some("the block is longer than the file");
        }
        if header.base_position != self.position.0 {
            return Some("the position of the block is not the next one");
        }
        if self.prev_crc.is_some_and(|prev| prev != header.prev_crc) {
            return Some("the block does not follow the one before it");
        }
        if self.salt.is_some_and(|salt| salt != header.segment_salt) {
            return Some("the block belongs to another segment");
        }
        if header.open_epoch < self.epoch {
            return Some("the epoch of the block is lower than that of the block before it");
        }
        if self.offset == 0 && !header.flags.contains(block::Flags::FILLER) {
            return Some("the segment does not begin with a filler");
        }
        if header.is_marker() != (header.count == 0) {
            return Some("a marker has records, or a block has none");
        }
        None
    }

    /// `len` bytes at `offset`, from the current chunk or from a new one.
    fn bytes(&mut self, offset: Offset, len: usize) -> io::Result<Option<Bytes>> {
        let within = offset.checked_sub(self.chunk_offset).and_then(|at| usize::try_from(at).ok());
        if let Some(at) = within
            && at.checked_add(len).is_some_and(|end| end <= self.chunk.len())
        {
            return Ok(Some(self.chunk.slice(at..at + len)));
        }
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        if len > left {
            return Ok(None);
        }
        let chunk_bytes = match self.bodies {
            Bodies::Check => CHUNK_BYTES,
            Bodies::Skip => CHUNK_BYTES / 16,
        };
        let mut chunk = BytesMut::zeroed(chunk_bytes.min(left).max(len));
        match read_exact_at(self.file, &mut chunk, offset) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(e) => return Err(e),
        }
        self.chunk = chunk.freeze();
        self.chunk_offset = offset;
        Ok(Some(self.chunk.slice(..len)))
    }
}
