//! [`BlockBuffer`]: the body of a future block, in the memory that it will be sent from.
//!
//! ```text
//! [ space for headers | record | record | … ]      plain
//! [ space for headers | compressed records  ]      final: it accepts no more records
//! ```

use styx_protocol::block::{Codec, pack_behind};
use styx_protocol::limits::{BLOCK_HEADER_BYTES, FRAME_HEADER_BYTES, RECORD_HEADER_BYTES};

/// Bytes before a block's records: the frame header and the block header.
pub(super) const PREFIX_BYTES: usize = FRAME_HEADER_BYTES + BLOCK_HEADER_BYTES;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct BlockBuffer {
    /// [`PREFIX_BYTES`] of zeros, then the records, plain or compressed. Empty before the
    /// first record, if the buffer was made without a capacity.
    pub(super) bytes: Vec<u8>,
    /// The codec and the uncompressed size, once both are final.
    stored: Option<(Codec, usize)>,
}

impl BlockBuffer {
    /// A buffer with this many bytes of memory, for the headers and the records.
    pub(super) fn with_capacity(bytes: usize) -> BlockBuffer {
        let mut body = BlockBuffer { bytes: Vec::with_capacity(bytes), stored: None };
        body.bytes.resize(PREFIX_BYTES, 0);
        body
    }

    /// A buffer with these records.
    pub(super) fn with_records(records: &[u8]) -> BlockBuffer {
        let mut body = BlockBuffer::with_capacity(PREFIX_BYTES + records.len());
        body.bytes.extend_from_slice(records);
        body
    }

    /// Bytes of the records before compression.
    pub(super) fn raw_bytes(&self) -> usize {
        self.stored.map_or(self.open_bytes(), |(_, bytes)| bytes)
    }

    /// The records, plain or compressed.
    pub(super) fn records(&self) -> &[u8] {
        self.bytes.get(PREFIX_BYTES..).unwrap_or_default()
    }

    /// Whether the body accepts no more records.
    pub(super) fn is_final(&self) -> bool {
        self.stored.is_some()
    }

    /// Makes the body final, if it is not yet: compresses the records if that makes them
    /// smaller. Returns the codec in use.
    pub(super) fn compress(&mut self, codec: Codec) -> Codec {
        self.pack(codec);
        self.stored.map_or(Codec::None, |(codec_used, _)| codec_used)
    }

    /// As [`compress`](Self::compress), but returns the plain bytes if it has replaced
    /// them.
    pub(super) fn pack(&mut self, codec: Codec) -> Option<Vec<u8>> {
        if self.is_final() {
            return None;
        }
        let raw_bytes = self.open_bytes();
        let compressed = pack_behind(PREFIX_BYTES, codec, None, self.records());
        let codec_used = if compressed.is_some() { codec } else { Codec::None };
        self.stored = Some((codec_used, raw_bytes));
        compressed.map(|compressed| std::mem::replace(&mut self.bytes, compressed))
    }

    /// Undoes [`pack`](Self::pack), which has returned these bytes.
    pub(super) fn unpack(&mut self, plain: Vec<u8>) {
        *self = BlockBuffer { bytes: plain, stored: None };
    }

    /// Bytes of the records of a body that is not final.
    #[inline]
    pub(super) fn open_bytes(&self) -> usize {
        self.bytes.len().saturating_sub(PREFIX_BYTES)
    }

    #[inline]
    pub(super) fn push(&mut self, header: [u8; RECORD_HEADER_BYTES], payload: &[u8]) {
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(payload);
    }
}
