//! The blocks of a group, one behind the other in one buffer.
//!
//! ```text
//! loose records ─▶ shared block ┐
//! a producer's records ─▶ block ┼─▶ [header|body][header|body][filler]… ─▶ written once
//! a client's block, a filler ───┘     server's fields filled in, header_crc anew
//! ```
//!
//! Records that name no producer share a block up to its bound; everything else
//! stands in a block of its own. A client's body is copied as it came. Building
//! changes nothing but itself: the end of the log moves when this was written.
//!
//! A large group is made to be written past the page cache: fillers bring it to a
//! boundary first and last, and it stands in memory as it will on the disk.

use std::sync::Arc;

use styx_protocol::block::{Block, Flags, Header};
use styx_protocol::limits::{BLOCK_HEADER_BYTES, BLOCK_RAW_BYTES_MAX};
use styx_protocol::{Position, Records};

use super::buffer_pool::{BufferPool, GroupBuffer};
use super::end::{Cursor, WriteHead};
use crate::segment::index::Entry;
use crate::storage::DIRECT_ALIGNMENT;
use crate::tail::Group;

/// Where groups begin on media that may tear a sector, and what is written past the
/// page cache.
const PAD_BYTES: u64 = DIRECT_ALIGNMENT as u64;

/// How the bytes of a group lie on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Wherever the last one ended.
    Dense,
    /// The next one begins on a boundary.
    Padded,
    /// This one and the next one do.
    Aligned,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Build {
    begin: Cursor,
    /// Its cursor lags an open block.
    head: WriteHead,
    timestamp_us: u64,
    durable: Position,
    layout: Layout,
    bytes: GroupBuffer,
    /// Bytes before the first block, so that it lies in memory as on the disk.
    skipped: usize,
    open: Option<OpenBlock>,
    /// The position after everything put in.
    position: Position,
    entries: Vec<Entry>,
    headers: Vec<(Header, u32)>,
}

/// The shared block, to which records are still added.
#[derive(Debug)]
struct OpenBlock {
    at: usize,
    count: u32,
}

/// Whose block it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) producer: u64,
    pub(crate) epoch: u32,
    pub(crate) sequence: u64,
}

/// A group's bytes and where they lead.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) group: Group,
    pub(crate) layout: Layout,
    /// Where it was made to go.
    pub(crate) begin: Cursor,
    /// Where the next one goes.
    pub(crate) next_head: WriteHead,
    pub(crate) entries: Vec<Entry>,
}

impl Build {
    /// Nothing yet, of at most `bytes` bytes of blocks that will come next at `head`.
    pub(crate) fn new(
        head: WriteHead,
        stamp_us: u64,
        durable: Position,
        bytes: usize,
        layout: Layout,
        buffer_pool: &Arc<BufferPool>,
    ) -> Build {
        let (bytes, skipped) = match layout {
            Layout::Dense => (buffer_pool.acquire(bytes), 0),
            Layout::Padded => (buffer_pool.acquire(bytes + FILLER_BYTES_MAX), 0),
            Layout::Aligned => aligned(buffer_pool, bytes, head.cursor.offset),
        };
        Build {
            begin: head.cursor,
            head,
            timestamp_us: stamp_us.max(head.cursor.timestamp_us),
            durable,
            layout,
            bytes,
            skipped,
            open: None,
            position: head.cursor.position,
            entries: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// The position of the next record.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Adds records of nobody in particular to the shared block.
    pub(crate) fn loose(&mut self, records: &Records) {
        let len = records.bytes().len();
        let fits = |open: &OpenBlock| {
            self.bytes.len() - open.at - BLOCK_HEADER_BYTES + len <= BLOCK_RAW_BYTES_MAX
        };
        if !self.open.as_ref().is_some_and(fits) {
            self.close_shared();
            self.begin();
            self.open = Some(OpenBlock { at: self.bytes.len(), count: 0 });
            self.bytes.extend_from_slice(&[0; BLOCK_HEADER_BYTES]);
        }
        self.bytes.extend_from_slice(records.bytes());
        if let Some(open) = &mut self.open {
            open.count += records.count();
        }
        self.position = self.position + u64::from(records.count());
    }

    /// A block of a producer's loose records.
    pub(crate) fn owned(&mut self, records: &Records, owner: Owner) -> Header {
        let body = records.bytes();
        let size = size_of(body);
        let header = Header {
            count: records.count(),
            body_size: size,
            raw_size: size,
            producer_id: owner.producer,
            sequence: owner.sequence,
            producer_epoch: owner.epoch,
            body_crc: crc32fast::hash(body),
            ..Header::default()
        };
        self.block(&header, body)
    }

    /// A filler that raises a producer's epoch.
    pub(crate) fn epoch(&mut self, producer: u64, epoch: u32) -> Header {
        let header = Header {
            flags: Flags::FILLER,
            producer_id: producer,
            producer_epoch: epoch,
            ..Header::default()
        };
        self.block(&header, &[])
    }

    /// A block with this body. Of its header, what is the server's to say is
    /// filled in, and the expected position is left out: it was met.
    pub(crate) fn block(&mut self, header: &Header, body: &[u8]) -> Header {
        self.close_shared();
        self.begin();
        self.add(header, body)
    }

    /// Brings the first block of a group to a boundary, where it is to be on one.
    fn begin(&mut self) {
        if self.layout == Layout::Aligned && self.bytes.len() == self.skipped {
            self.pad();
        }
    }

    fn add(&mut self, header: &Header, body: &[u8]) -> Header {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; BLOCK_HEADER_BYTES]);
        self.bytes.extend_from_slice(body);
        self.stamp(at, header)
    }

    /// Finishes the header of the block that begins at `at` and is the last.
    fn stamp(&mut self, at: usize, header: &Header) -> Header {
        let header = Header {
            flags: header.flags.without(Flags::EXPECT_POSITION),
            codec: header.codec,
            count: header.count,
            body_size: header.body_size,
            raw_size: header.raw_size,
            producer_id: header.producer_id,
            sequence: header.sequence,
            producer_epoch: header.producer_epoch,
            body_crc: header.body_crc,
            durable_position: self.durable.0,
            ..self.head.marker(Flags::NONE, self.timestamp_us)
        };
        let (encoded, crc) = header.encode();
        self.bytes[at..at + BLOCK_HEADER_BYTES].copy_from_slice(&encoded);
        let WriteHead { cursor, spacing, .. } = &mut self.head;
        self.entries.extend(spacing.entry(cursor.offset, &header, crc));
        self.headers.push((header, crc));
        cursor.pass(&header, crc);
        self.position = cursor.position;
        header
    }

    fn close_shared(&mut self) {
        let Some(open) = self.open.take() else { return };
        let body = &self.bytes[open.at + BLOCK_HEADER_BYTES..];
        let size = size_of(body);
        let body_crc = crc32fast::hash(body);
        let header = Header {
            count: open.count,
            body_size: size,
            raw_size: size,
            body_crc,
            ..Header::default()
        };
        self.stamp(open.at, &header);
    }

    /// A filler up to the next boundary.
    fn pad(&mut self) {
        let past = self.head.cursor.offset % PAD_BYTES;
        if past == 0 {
            return;
        }
        let header_bytes = BLOCK_HEADER_BYTES as u64;
        let mut total = PAD_BYTES - past;
        if total < header_bytes {
            total += PAD_BYTES;
        }
        let body = vec![0; usize::try_from(total - header_bytes).expect("under 8 KiB")];
        let size = size_of(&body);
        let body_crc = crc32fast::hash(&body);
        let header = Header {
            flags: Flags::FILLER,
            body_size: size,
            raw_size: size,
            body_crc,
            ..Header::default()
        };
        self.add(&header, &body);
    }

    /// The bytes to write and where they lead.
    pub(crate) fn finish(mut self) -> Built {
        self.close_shared();
        if self.layout != Layout::Dense && self.bytes.len() > self.skipped {
            self.pad();
        }
        let held_bytes = self.bytes.held_bytes();
        let bytes = self.bytes.into_bytes().slice(self.skipped..);
        let mut rest = bytes.clone();
        let blocks = self.headers.into_iter().map(|(header, crc)| {
            let mut block = rest.split_to(BLOCK_HEADER_BYTES + header.body_size as usize);
            Block::vouched(header, crc, block.split_off(BLOCK_HEADER_BYTES))
        });
        let group = Group::new(self.begin.position, bytes.clone(), blocks);
        Built {
            group: Group { held_bytes, is_direct: self.layout == Layout::Aligned, ..group },
            layout: self.layout,
            begin: self.begin,
            next_head: self.head,
            entries: self.entries,
        }
    }
}

/// The largest filler: one that has no room for its header before the next boundary
/// goes on to the one after it.
const FILLER_BYTES_MAX: usize = DIRECT_ALIGNMENT + BLOCK_HEADER_BYTES;

/// What a group may take beside its blocks, to lie in memory as on the disk.
pub(crate) const ALIGNED_BYTES_MAX: usize = 2 * (FILLER_BYTES_MAX + DIRECT_ALIGNMENT);

/// Room for so many bytes of blocks, and what to leave out at its beginning so that they
/// are as far from a boundary in memory as `offset` is from one in the file.
fn aligned(buffer_pool: &Arc<BufferPool>, bytes: usize, offset: u64) -> (GroupBuffer, usize) {
    let mut buffer = buffer_pool.acquire(bytes + ALIGNED_BYTES_MAX);
    let past = usize::try_from(offset % PAD_BYTES).unwrap_or_default();
    let skipped = buffer.as_ptr().align_offset(DIRECT_ALIGNMENT) + past;
    buffer.extend_from_slice(&[0; 2 * DIRECT_ALIGNMENT][..skipped]);
    (buffer, skipped)
}

fn size_of(body: &[u8]) -> u32 {
    u32::try_from(body.len()).expect("a block is smaller than 4 GiB")
}
