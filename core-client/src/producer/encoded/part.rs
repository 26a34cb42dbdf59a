//! [`Part`]: encoded records that will be in one block.

use styx_protocol::block::Codec;
use styx_protocol::limits::RECORD_HEADER_BYTES;

use crate::producer::block_buffer::{BlockBuffer, PREFIX_BYTES};

/// See the module. A part without records has no memory.
#[derive(Debug, Default)]
pub(in crate::producer) struct Part {
    body: BlockBuffer,
    count: u32,
}

impl Part {
    /// A part without records, and memory for this many bytes of them.
    pub(in crate::producer) fn with_capacity(record_bytes: usize) -> Part {
        Part { body: BlockBuffer::with_capacity(PREFIX_BYTES + record_bytes), count: 0 }
    }

    /// The number of records.
    pub(in crate::producer) fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of the records before compression.
    pub(in crate::producer) fn raw_bytes(&self) -> usize {
        self.body.raw_bytes()
    }

    /// The records, plain or compressed.
    pub(in crate::producer) fn records(&self) -> &[u8] {
        self.body.records()
    }

    /// Whether the records are compressed, so that they need a block of their own.
    pub(in crate::producer) fn is_final(&self) -> bool {
        self.body.is_final()
    }

    pub(in crate::producer) fn into_body(self) -> BlockBuffer {
        self.body
    }

    /// Compresses the records before they are appended. They get a block of their own.
    /// Returns the plain bytes if it has replaced them.
    pub(in crate::producer) fn compress(&mut self, codec: Codec) -> Option<Vec<u8>> {
        self.body.pack(codec)
    }

    /// Undoes [`compress`](Self::compress).
    pub(in crate::producer) fn restore(&mut self, plain: Vec<u8>) {
        self.body.unpack(plain);
    }

    /// Bytes in use: the records, and the space for headers.
    #[inline]
    pub(super) fn used_bytes(&self) -> usize {
        self.body.bytes.len()
    }

    /// Reserves memory for this many more bytes of records.
    pub(super) fn reserve(&mut self, record_bytes: usize) {
        self.body.bytes.reserve(record_bytes);
    }

    #[inline]
    pub(in crate::producer) fn push(&mut self, header: [u8; RECORD_HEADER_BYTES], payload: &[u8]) {
        self.body.push(header, payload);
        self.count += 1;
    }

    /// Splits plain records into parts of at most `bytes`, or of one larger record.
    pub(super) fn split(self, bytes: usize) -> Vec<Part> {
        let (mut parts, mut records) = (Vec::new(), self.records());
        while !records.is_empty() {
            let (mut at, mut count) = (0, 0);
            while let Some(record_bytes) = record_bytes(records, at)
                && (count == 0 || at + record_bytes <= bytes)
            {
                at += record_bytes;
                count += 1;
            }
            let (front, rest) = records.split_at(at);
            parts.push(Part { body: BlockBuffer::with_records(front), count });
            records = rest;
        }
        parts
    }
}

/// The bytes of the record at `at`, if there is one.
fn record_bytes(records: &[u8], at: usize) -> Option<usize> {
    // The header is `crc: u32 | size: u32`, written here.
    let size = records.get(at + RECORD_HEADER_BYTES / 2..)?.first_chunk()?;
    Some(RECORD_HEADER_BYTES + u32::from_be_bytes(*size) as usize)
}
