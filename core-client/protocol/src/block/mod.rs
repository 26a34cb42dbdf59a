//! A block: a header of 96 bytes and a body, the same on the wire and on disk.
//!
//! ```text
//! block    header (96 bytes) | body[body_size]
//!          0 magic "STYX" | 4 header_crc | 8 version | 9 codec | 10 flags
//!          12 count | 16 body_size | 20 raw_size | 24 base_position
//!          32 timestamp_us | 40 producer_id | 48 sequence | 56 producer_epoch
//!          60 body_crc | 64 segment_salt | 72 open_epoch | 76 prev_crc
//!          80 durable_position | 88 reserved
//! ```
//!
//! All integers are big-endian. `header_crc` is the CRC-32 of bytes 8..96. It is not a
//! field of [`Header`]: encoding computes it, decoding checks it. docs/format.md has the
//! full description.

mod build;
mod checked;
mod whole;

pub use build::{Origin, build, build_with, header_of, pack_behind};
pub use checked::Checked;
pub use whole::{Block, ParseError, check_sizes};

pub use crate::codec::Codec;
use crate::limits::BLOCK_HEADER_BYTES;

/// The first four bytes of every block.
pub const MAGIC: [u8; 4] = *b"STYX";

/// The version that this crate writes, and the only one that it reads.
pub const VERSION: u8 = 1;

/// A block's flag bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u16);

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);
    /// Producer to server: append only if the log ends at `base_position`.
    pub const EXPECT_POSITION: Flags = Flags(1);
    /// No records: begins a segment, raises an epoch, or pads.
    pub const FILLER: Flags = Flags(2);
    /// No records: the last block of a finished segment.
    pub const SEAL: Flags = Flags(4);
    /// Bits that a reader must know to use the block.
    const MUST_KNOW: u16 = 0x00FF;
    const KNOWN: u16 = 0x0007;

    /// Whether all bits of `other` are set.
    #[must_use]
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets of bits.
    #[must_use]
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// The bits of `self` that are not in `other`.
    #[must_use]
    pub fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    /// The bits as they are stored.
    #[must_use]
    pub fn bits(self) -> u16 {
        self.0
    }
}

/// A block's header: every field except its own checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the fields are described once, in docs/format.md and above")]
pub struct Header {
    pub codec: Codec,
    pub flags: Flags,
    pub count: u32,
    pub body_size: u32,
    pub raw_size: u32,
    pub base_position: u64,
    pub timestamp_us: u64,
    pub producer_id: u64,
    pub sequence: u64,
    pub producer_epoch: u32,
    pub body_crc: u32,
    pub segment_salt: u64,
    pub open_epoch: u32,
    pub prev_crc: u32,
    pub durable_position: u64,
}

/// Why 96 bytes are not a header that this version can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer than 96 bytes, another magic, or a wrong CRC: these bytes are not a block.
    #[error("not a block header")]
    NotAHeader,
    /// The CRC is correct, so this is a block header, but the version is unknown.
    #[error("block version {0} is not known to this version of Styx")]
    Version(u8),
    /// The CRC is correct, but the codec is unknown.
    #[error("block codec {0} is not known to this version of Styx")]
    Codec(u8),
    /// The CRC is correct, but one of the flag bits 3 to 7 is set.
    #[error("block flags {0:#06x} are not known to this version of Styx")]
    Flags(u16),
}

impl Header {
    /// The header's bytes, and its `header_crc`.
    #[must_use]
    pub fn encode(&self) -> ([u8; BLOCK_HEADER_BYTES], u32) {
        let mut out = [0u8; BLOCK_HEADER_BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&MAGIC);
        put(&[0; 4]);
        put(&[VERSION, self.codec.byte()]);
        put(&self.flags.0.to_be_bytes());
        put(&self.count.to_be_bytes());
        put(&self.body_size.to_be_bytes());
        put(&self.raw_size.to_be_bytes());
        put(&self.base_position.to_be_bytes());
        put(&self.timestamp_us.to_be_bytes());
        put(&self.producer_id.to_be_bytes());
        put(&self.sequence.to_be_bytes());
        put(&self.producer_epoch.to_be_bytes());
        put(&self.body_crc.to_be_bytes());
        put(&self.segment_salt.to_be_bytes());
        put(&self.open_epoch.to_be_bytes());
        put(&self.prev_crc.to_be_bytes());
        put(&self.durable_position.to_be_bytes());
        let crc = crc32fast::hash(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_be_bytes());
        (out, crc)
    }

    /// Reads the header at the start of `bytes`. Returns it with its `header_crc`.
    ///
    /// # Errors
    /// See [`Error`]. Every error except [`Error::NotAHeader`] means that the header is
    /// intact, and newer than this crate.
    pub fn decode(bytes: &[u8]) -> Result<(Header, u32), Error> {
        let bytes: &[u8; BLOCK_HEADER_BYTES] = bytes.first_chunk().ok_or(Error::NotAHeader)?;
        let crc = u32_at(bytes, 4);
        if bytes[..4] != MAGIC || crc32fast::hash(&bytes[8..]) != crc {
            return Err(Error::NotAHeader);
        }
        if bytes[8] != VERSION {
            return Err(Error::Version(bytes[8]));
        }
        let codec = Codec::from_byte(bytes[9]).ok_or(Error::Codec(bytes[9]))?;
        let flags = u16::from_be_bytes([bytes[10], bytes[11]]);
        if flags & Flags::MUST_KNOW & !Flags::KNOWN != 0 {
            return Err(Error::Flags(flags));
        }
        let header = Header {
            codec,
            flags: Flags(flags),
            count: u32_at(bytes, 12),
            body_size: u32_at(bytes, 16),
            raw_size: u32_at(bytes, 20),
            base_position: u64_at(bytes, 24),
            timestamp_us: u64_at(bytes, 32),
            producer_id: u64_at(bytes, 40),
            sequence: u64_at(bytes, 48),
            producer_epoch: u32_at(bytes, 56),
            body_crc: u32_at(bytes, 60),
            segment_salt: u64_at(bytes, 64),
            open_epoch: u32_at(bytes, 72),
            prev_crc: u32_at(bytes, 76),
            durable_position: u64_at(bytes, 80),
        };
        Ok((header, crc))
    }

    /// The size of the whole block in bytes: header and body.
    #[must_use]
    pub fn block_bytes(&self) -> u64 {
        BLOCK_HEADER_BYTES as u64 + u64::from(self.body_size)
    }

    /// The position after the block's last record.
    #[must_use]
    pub fn end_position(&self) -> u64 {
        self.base_position.saturating_add(u64::from(self.count))
    }

    /// Whether the block has no records: a filler or a seal.
    #[must_use]
    pub fn is_marker(&self) -> bool {
        self.flags.contains(Flags::FILLER) || self.flags.contains(Flags::SEAL)
    }
}

fn u32_at(bytes: &[u8; BLOCK_HEADER_BYTES], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8; BLOCK_HEADER_BYTES], at: usize) -> u64 {
    u64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}
