//! The blocks of a group, contiguous in one buffer.
//!
//! ```text
//! records without a producer ─▶ shared block ┐
//! a producer's records ───────▶ own block ───┼─▶ [header|body][header|body][filler]… ─▶ one write
//! a client's block, a filler ────────────────┘     server fields set, header_crc recomputed
//! ```
//!
//! Records that name no producer share a block up to its size limit. Everything else gets a
//! block of its own. The body of a client's block is copied unchanged. Building changes only
//! the builder: the end of the log moves after the group was written.
//!
//! A large group is built for a write past the page cache. Fillers align its start and its end
//! to 4 KiB, and its alignment in memory equals its alignment in the file.
//!
//! A record that is larger than a group has a group of its own. Its body is written from where it
//! was received, so it is in memory only once. Such a group is written through the page cache, from
//! where followers read it.

use std::sync::Arc;

use bytes::Bytes;
use styx_protocol::block::{Block, Flags, Header};
use styx_protocol::limits::{BLOCK_HEADER_BYTES, BLOCK_RAW_BYTES_MAX};
use styx_protocol::{Position, Records};

use super::buffer_pool::{BUFFER_BYTES_MAX, BufferPool, GroupBuffer};
use super::log_end::{Cursor, WriteHead};
use crate::append::Payload;
use crate::segment::index::IndexEntry;
use crate::storage::DIRECT_ALIGNMENT;
use crate::tail::Group;

/// The alignment of groups on media that may tear a sector, and of writes past the page cache.
const BOUNDARY_BYTES: u64 = DIRECT_ALIGNMENT as u64;

/// How a group is aligned in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// It starts where the last group ended.
    Dense,
    /// Its end is aligned, so the next group starts on a boundary.
    Padded,
    /// Both its start and its end are aligned.
    Aligned,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct GroupBuilder {
    begin: Cursor,
    /// Its cursor does not include an open block.
    head: WriteHead,
    timestamp_us: u64,
    durable: Position,
    layout: Layout,
    bytes: GroupBuffer,
    /// Unused bytes before the first block, for the alignment in memory.
    skipped: usize,
    open: Option<OpenBlock>,
    /// The group is one record that is larger than a group: its body is not copied.
    is_one_record: bool,
    large_body: Option<LargeBody>,
    /// The position after all records so far.
    position: Position,
    entries: Vec<IndexEntry>,
    headers: Vec<(Header, u32)>,
}

/// The shared block, to which records are still added.
#[derive(Debug)]
struct OpenBlock {
    at: usize,
    count: u32,
}

/// A body that is not copied.
#[derive(Debug)]
struct LargeBody {
    /// Its place in the builder's bytes.
    at: usize,
    pieces: Vec<Bytes>,
}

/// The producer fields of a block's header; all are 0 without a producer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BlockProducer {
    pub(crate) producer: u64,
    pub(crate) epoch: u32,
    pub(crate) sequence: u64,
}

/// The bytes of a group, and the state after they are written.
#[derive(Debug)]
pub(crate) struct BuiltGroup {
    /// Without blocks if the group is one large record.
    pub(crate) group: Group,
    /// The rest of the group after the bytes of `group`, if it is one large record.
    pub(crate) large: Option<Vec<Bytes>>,
    pub(crate) layout: Layout,
    /// Where the group must be written.
    pub(crate) begin: Cursor,
    /// Where the next group goes.
    pub(crate) next_head: WriteHead,
    pub(crate) entries: Vec<IndexEntry>,
}

impl BuiltGroup {
    /// The bytes of the group, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.group.bytes).chain(self.large.iter().flatten())
    }

    /// The number of bytes.
    pub(crate) fn len_bytes(&self) -> usize {
        self.parts().map(Bytes::len).sum()
    }
}

impl GroupBuilder {
    /// An empty group at `head`, for at most `bytes` bytes of blocks. More than
    /// [`GROUP_BYTES_MAX`] are the block of one record; its layout must not be
    /// [`Layout::Aligned`].
    pub(crate) fn new(
        head: WriteHead,
        stamp_us: u64,
        durable: Position,
        bytes: usize,
        layout: Layout,
        buffer_pool: &Arc<BufferPool>,
    ) -> GroupBuilder {
        let is_one_record = bytes > GROUP_BYTES_MAX;
        let bytes = if is_one_record { BLOCK_HEADER_BYTES } else { bytes };
        let (bytes, skipped) = match layout {
            Layout::Dense => (buffer_pool.acquire(bytes), 0),
            Layout::Padded => (buffer_pool.acquire(bytes + FILLER_BYTES_MAX), 0),
            Layout::Aligned => aligned_buffer(buffer_pool, bytes, head.cursor.offset),
        };
        GroupBuilder {
            begin: head.cursor,
            head,
            timestamp_us: stamp_us.max(head.cursor.timestamp_us),
            durable,
            layout,
            bytes,
            skipped,
            open: None,
            is_one_record,
            large_body: None,
            position: head.cursor.position,
            entries: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// The position of the next record.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Adds records without a producer to the shared block.
    pub(crate) fn add_records(&mut self, records: &Records) {
        if self.is_one_record {
            let _ = self.add_producer_records(records, BlockProducer::default());
            return;
        }
        let len = records.bytes().len();
        let fits = |open: &OpenBlock| {
            self.bytes.len() - open.at - BLOCK_HEADER_BYTES + len <= BLOCK_RAW_BYTES_MAX
        };
        if !self.open.as_ref().is_some_and(fits) {
            self.close_shared();
            self.align_first_block();
            self.open = Some(OpenBlock { at: self.bytes.len(), count: 0 });
            self.bytes.extend_from_slice(&[0; BLOCK_HEADER_BYTES]);
        }
        self.bytes.extend_from_slice(records.bytes());
        if let Some(open) = &mut self.open {
            open.count += records.count();
        }
        self.position = self.position + u64::from(records.count());
    }

    /// Adds a producer's loose records as a block of their own.
    pub(crate) fn add_producer_records(
        &mut self,
        records: &Records,
        producer_fields: BlockProducer,
    ) -> Header {
        let body = records.bytes();
        let size = size_of(body);
        let header = Header {
            count: records.count(),
            body_size: size,
            raw_size: size,
            producer_id: producer_fields.producer,
            sequence: producer_fields.sequence,
            producer_epoch: producer_fields.epoch,
            body_crc: crc32fast::hash(body),
            ..Header::default()
        };
        self.add_body(&header, std::slice::from_ref(body))
    }

    /// Adds one record, whose payload is in pieces, as a block of its own.
    pub(crate) fn add_pieces(&mut self, payload: &Payload, producer: BlockProducer) -> Header {
        let body = payload.encoded();
        let mut crc = crc32fast::Hasher::new();
        body.iter().for_each(|piece| crc.update(piece));
        let size = body.iter().map(|piece| size_of(piece)).sum();
        let header = Header {
            count: 1,
            body_size: size,
            raw_size: size,
            producer_id: producer.producer,
            sequence: producer.sequence,
            producer_epoch: producer.epoch,
            body_crc: crc.finalize(),
            ..Header::default()
        };
        self.add_body(&header, &body)
    }

    /// Adds a filler that raises a producer's epoch.
    pub(crate) fn add_epoch(&mut self, producer: u64, epoch: u32) -> Header {
        let header = Header {
            flags: Flags::FILLER,
            producer_id: producer,
            producer_epoch: epoch,
            ..Header::default()
        };
        self.add_body(&header, &[])
    }

    /// Adds a block with this body, which is in pieces. The server's header fields are set here.
    /// The expected position is left out, because it has been checked. The body of a record that
    /// is larger than a group is not copied.
    pub(crate) fn add_body(&mut self, header: &Header, pieces: &[Bytes]) -> Header {
        self.close_shared();
        self.align_first_block();
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; BLOCK_HEADER_BYTES]);
        if self.is_one_record && !pieces.is_empty() {
            self.large_body = Some(LargeBody { at: self.bytes.len(), pieces: pieces.to_vec() });
        } else {
            pieces.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        }
        self.finish_header(at, header)
    }

    /// Aligns the start of the group if the layout requires it.
    fn align_first_block(&mut self) {
        if self.layout == Layout::Aligned && self.bytes.len() == self.skipped {
            self.add_filler();
        }
    }

    fn append_block(&mut self, header: &Header, body: &[u8]) -> Header {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; BLOCK_HEADER_BYTES]);
        self.bytes.extend_from_slice(body);
        self.finish_header(at, header)
    }

    /// Completes the header of the last block, which begins at `at`.
    fn finish_header(&mut self, at: usize, header: &Header) -> Header {
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
        self.finish_header(open.at, &header);
    }

    /// Adds a filler up to the next boundary.
    fn add_filler(&mut self) {
        let past = self.head.cursor.offset % BOUNDARY_BYTES;
        if past == 0 {
            return;
        }
        let header_bytes = BLOCK_HEADER_BYTES as u64;
        let mut total = BOUNDARY_BYTES - past;
        if total < header_bytes {
            total += BOUNDARY_BYTES;
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
        self.append_block(&header, &body);
    }

    /// The finished group.
    pub(crate) fn finish(mut self) -> BuiltGroup {
        self.close_shared();
        if self.layout != Layout::Dense && self.bytes.len() > self.skipped {
            self.add_filler();
        }
        let (layout, begin, next_head) = (self.layout, self.begin, self.head);
        if let Some(LargeBody { at, mut pieces }) = self.large_body {
            let mut head = self.bytes.into_bytes();
            pieces.push(head.split_off(at));
            let group = Group { end: self.position, ..Group::new(begin.position, head, []) };
            let entries = self.entries;
            return BuiltGroup { group, large: Some(pieces), layout, begin, next_head, entries };
        }
        let held_bytes = self.bytes.held_bytes();
        let bytes = self.bytes.into_bytes().slice(self.skipped..);
        let mut rest = bytes.clone();
        let blocks = self.headers.into_iter().map(|(header, crc)| {
            let mut block = rest.split_to(BLOCK_HEADER_BYTES + header.body_size as usize);
            Block::vouched(header, crc, block.split_off(BLOCK_HEADER_BYTES))
        });
        let group = Group::new(begin.position, bytes.clone(), blocks);
        BuiltGroup {
            group: Group { held_bytes, is_direct: layout == Layout::Aligned, ..group },
            large: None,
            layout,
            begin,
            next_head,
            entries: self.entries,
        }
    }
}

/// The largest filler. If the header does not fit before the next boundary, the filler extends
/// to the one after it.
const FILLER_BYTES_MAX: usize = DIRECT_ALIGNMENT + BLOCK_HEADER_BYTES;

/// Bytes of blocks in one group, unless a single block is larger. An aligned group of this size
/// fills the largest buffer.
pub(crate) const GROUP_BYTES_MAX: usize = BUFFER_BYTES_MAX - ALIGNED_BYTES_MAX;

/// The bytes that an aligned group may need in addition to its blocks.
pub(crate) const ALIGNED_BYTES_MAX: usize = 2 * (FILLER_BYTES_MAX + DIRECT_ALIGNMENT);

/// A buffer for `bytes` bytes of blocks, and the number of bytes to skip at its start. After
/// the skipped bytes, the distance to the last boundary is the same in memory as at `offset` in
/// the file.
fn aligned_buffer(
    buffer_pool: &Arc<BufferPool>,
    bytes: usize,
    offset: u64,
) -> (GroupBuffer, usize) {
    let mut buffer = buffer_pool.acquire(bytes + ALIGNED_BYTES_MAX);
    let past = usize::try_from(offset % BOUNDARY_BYTES).unwrap_or_default();
    let skipped = buffer.as_ptr().align_offset(DIRECT_ALIGNMENT) + past;
    buffer.extend_from_slice(&[0; 2 * DIRECT_ALIGNMENT][..skipped]);
    (buffer, skipped)
}

fn size_of(body: &[u8]) -> u32 {
    u32::try_from(body.len()).expect("a block is smaller than 4 GiB")
}
