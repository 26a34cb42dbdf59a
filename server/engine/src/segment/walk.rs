//! [`Walk`]: reads a segment block by block and checks each block.
//!
//! ```text
//! filler ─prev_crc─▶ block ─prev_crc─▶ … ─prev_crc─▶ seal | torn tail
//! ```
//!
//! Recovery, verify, scrub, seek and resync use it. A walk checks the lengths, checksums, salt,
//! epoch and chain of a block, but not the limits of the current configuration. The walk ends at
//! the first invalid block; the bytes after it have no influence on the result. Invariant: a walk
//! uses about 1 MiB of memory, whatever the sizes of the blocks. Only one that returns the bodies
//! holds one body, if that is larger.

use std::io;

use bytes::{Bytes, BytesMut};
use styx_protocol::Position;
use styx_protocol::block::{self, Header};
use styx_protocol::limits::BLOCK_HEADER_BYTES;

use super::name::Offset;
use crate::format::Newer;
use crate::storage::{File, read_exact_at};

/// A walk that reads bodies reads this many bytes at once: 1 MiB.
const CHUNK_BYTES: usize = 1 << 20;

/// A walk that is watched reads this many bytes at once, so that it can pause between: 128 KiB.
const WATCHED_BYTES: usize = 128 << 10;

/// A block that passed the checks.
#[derive(Debug, Clone)]
pub(crate) struct WalkedBlock {
    pub(crate) offset: Offset,
    pub(crate) header: Header,
    pub(crate) header_crc: u32,
    /// Empty unless the walk returns bodies.
    pub(crate) body: Bytes,
}

/// Why a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WalkEnd {
    /// The file ends where the next block would begin.
    EndOfFile,
    /// The last block was the seal. The file may contain more bytes.
    Sealed,
    /// The next bytes are not a valid next block; the text says why.
    Invalid(&'static str),
    /// The next block is intact, but a newer Styx wrote it.
    Newer(Newer),
}

/// The position and checksum that the first block of a walk must follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChainStart {
    pub(crate) base: Position,
    /// The `header_crc` of the block before it, if that is known.
    pub(crate) prev_crc: Option<u32>,
}

/// What a walk does with the bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// Checks their checksums, and returns them.
    Return,
    /// Checks their checksums.
    Check,
    Skip,
}

/// Gets each piece that a walk has read, with its offset. Pieces may overlap. Its error ends the walk.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(Offset, &[u8]) -> io::Result<()>;

/// A walk in progress.
pub(crate) struct Walk<'a> {
    file: &'a dyn File,
    watch: Option<Watch<'a>>,
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
    /// Creates a walk of the first `len` bytes of a file, from byte 0.
    pub(crate) fn new(
        file: &'a dyn File,
        len: u64,
        chain_start: ChainStart,
        bodies: Bodies,
    ) -> Walk<'a> {
        Walk {
            file,
            watch: None,
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

    /// Shows each piece that the walk reads.
    pub(crate) fn watched(self, watch: Watch<'a>) -> Walk<'a> {
        Walk { watch: Some(watch), ..self }
    }

    /// Moves a new walk to a block in the middle of the file, whose place is already known.
    pub(crate) fn begin_at(&mut self, offset: Offset, position: Position) {
        self.offset = offset;
        self.position = position;
    }

    /// The offset at which the next block begins.
    pub(crate) fn offset(&self) -> Offset {
        self.offset
    }

    /// The position of the next block.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The `header_crc` of the last block; before the first one, that of [`ChainStart`].
    pub(crate) fn prev_crc(&self) -> Option<u32> {
        self.prev_crc
    }

    /// Returns the next block, or the reason why the walk ends.
    ///
    /// # Errors
    /// The file cannot be read. A file that is too short is an invalid block instead.
    pub(crate) fn step(&mut self) -> io::Result<Result<WalkedBlock, WalkEnd>> {
        if self.sealed {
            return Ok(Err(WalkEnd::Sealed));
        }
        let left = self.len.saturating_sub(self.offset);
        if left == 0 {
            return Ok(Err(WalkEnd::EndOfFile));
        }
        if left < BLOCK_HEADER_BYTES as u64 {
            return Ok(Err(WalkEnd::Invalid("the file ends within a block header")));
        }
        let Some(head) = self.bytes(self.offset, BLOCK_HEADER_BYTES)? else {
            return Ok(Err(WalkEnd::Invalid("the file is shorter than its expected length")));
        };
        let (header, header_crc) = match Header::decode(&head) {
            Ok(decoded) => decoded,
            Err(error) => {
                return Ok(Err(Newer::block(error).map_or(
                    WalkEnd::Invalid("there is no valid block header here"),
                    WalkEnd::Newer,
                )));
            }
        };
        if let Some(fault) = self.invalid_reason(&header, left) {
            return Ok(Err(WalkEnd::Invalid(fault)));
        }
        let body = match self.bodies {
            Bodies::Skip => Bytes::new(),
            Bodies::Check | Bodies::Return => {
                let Some((body, crc)) = self.body(&header)? else {
                    return Ok(Err(WalkEnd::Invalid(
                        "the file is shorter than its expected length",
                    )));
                };
                if crc != header.body_crc {
                    return Ok(Err(WalkEnd::Invalid("the checksum of the body does not match")));
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

    /// Why this header cannot be the next one; `None` if it can.
    fn invalid_reason(&self, header: &Header, left: u64) -> Option<&'static str> {
        if header.block_bytes() > left {
            return Some("the file ends within the block");
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
            return Some("the block has a lower epoch than the block before it");
        }
        if self.offset == 0 && !header.flags.contains(block::Flags::FILLER) {
            return Some("the segment does not begin with a filler");
        }
        if header.is_marker() != (header.count == 0) {
            return Some("a filler or seal has records, or another block has none");
        }
        None
    }

    /// Returns the body of the block at the current offset, and its checksum. The body is empty if
    /// it is larger than a chunk and the walk does not return bodies. `None` if the file is too
    /// short.
    fn body(&mut self, header: &Header) -> io::Result<Option<(Bytes, u32)>> {
        let at = self.offset + BLOCK_HEADER_BYTES as u64;
        let len = header.body_size as usize;
        if self.bodies == Bodies::Check && len > CHUNK_BYTES {
            return Ok(self.large_body_crc(at, len)?.map(|crc| (Bytes::new(), crc)));
        }
        Ok(self.bytes(at, len)?.map(|body| {
            let crc = crc32fast::hash(&body);
            (body, crc)
        }))
    }

    /// The checksum of `len` bytes at `offset`, read piece by piece. `None` if the file is too
    /// short.
    fn large_body_crc(&mut self, mut offset: Offset, len: usize) -> io::Result<Option<u32>> {
        let mut left = len;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut crc = crc32fast::Hasher::new();
        while left > 0 {
            let piece = &mut chunk[..left.min(CHUNK_BYTES)];
            if !self.read(piece, offset)? {
                return Ok(None);
            }
            crc.update(piece);
            offset += piece.len() as u64;
            left -= piece.len();
        }
        Ok(Some(crc.finalize()))
    }

    /// Returns `len` bytes at `offset`, from the current chunk or from a new one. `None` if the
    /// file is too short.
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
            Bodies::Check | Bodies::Return => CHUNK_BYTES,
            Bodies::Skip => CHUNK_BYTES / 16,
        };
        // The old chunk may be a large body: only one is in memory at a time.
        self.chunk = Bytes::new();
        let mut chunk = BytesMut::zeroed(chunk_bytes.min(left).max(len));
        if !self.read(&mut chunk, offset)? {
            return Ok(None);
        }
        self.chunk = chunk.freeze();
        self.chunk_offset = offset;
        Ok(Some(self.chunk.slice(..len)))
    }

    /// Fills a buffer from the file. False if the file is too short.
    fn read(&mut self, buffer: &mut [u8], mut offset: Offset) -> io::Result<bool> {
        let at_once = if self.watch.is_some() { WATCHED_BYTES } else { usize::MAX };
        for piece in buffer.chunks_mut(at_once) {
            match read_exact_at(self.file, piece, offset) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(e) => return Err(e),
            }
            if let Some(watch) = &mut self.watch {
                watch(offset, piece)?;
            }
            offset += piece.len() as u64;
        }
        Ok(true)
    }
}
