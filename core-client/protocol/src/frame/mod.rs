//! The frames of styx/1. Each has a header of 8 bytes and a body, in both directions.
//!
//! ```text
//! frame      type: u8 | flags: u8 | zero: u16 | size: u32 | body[size]
//!   1 blocks     one or more whole blocks                    ─▶ and ◀─
//!   2 ack        count: u64 | runs of base: u64, count: u32  ◀─ to a producer
//!   3 heartbeat  nothing; to a consumer start: u64, end: u64
//!   4 error      code: u16 | outcome: u8 | zero: u8 | retry_after_ms: u32
//!                | a: u64 | b: u64 | message                 ◀─
//!   5 end        nothing; flag bit 0 from a producer: forget my state
//! ```
//!
//! All integers are big-endian. A sender appends messages to a buffer with their
//! `encode`, and blocks after a [`blocks_header`]. A receiver reads into a
//! [`FrameDecoder`], which returns one [`Event`] after the other and rejects frames that
//! its peer must not send. docs/protocol.md says which side sends which frame when.

mod ack;
mod decoder;
mod fault;
mod route;

pub use ack::{Ack, AckRun};
pub use decoder::{Event, FrameDecoder};
pub use fault::{Damage, Fault, Outcome};
pub use route::Route;

use bytes::{Buf, BufMut, BytesMut};

use crate::Position;
use crate::block::ParseError;
use crate::limits::{BLOCK_HEADER_BYTES, FRAME_HEADER_BYTES, MAX_RECORD_SIZE_MAX};

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Whole blocks.
    Blocks,
    /// What has become durable.
    Ack,
    /// A heartbeat: the sender is alive.
    Heartbeat,
    /// An error; the last frame of its sender.
    Error,
    /// The end of the stream: the sender only sends heartbeats after it.
    End,
}

/// The 8 bytes before a frame's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the body contains.
    pub kind: Kind,
    /// Bit 0 of an end frame: forget the producer. No other bit is defined.
    pub flags: u8,
    /// Bytes of the body.
    pub size: u32,
}

/// The flag of an end frame by which a producer asks the log to forget it.
const FORGET: u8 = 1;

/// Why bytes are not frames that this peer may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A type that this version does not know.
    #[error("frame type {0} is not known to this version of Styx")]
    Kind(u8),
    /// Flags that this version does not know on this kind.
    #[error("flags {flags:#04x} of a frame of {kind} are not known to this version of Styx")]
    Flags {
        /// The frame's kind.
        kind: Kind,
        /// Its flags.
        flags: u8,
    },
    /// The two bytes after the flags, or bytes of a body that must be 0, are not 0.
    #[error("the reserved bytes of a frame are {0:#06x} instead of 0")]
    Reserved(u16),
    /// A size that this kind cannot have.
    #[error("a frame of {kind} cannot have {size} bytes")]
    Size {
        /// The frame's kind.
        kind: Kind,
        /// The size in its header.
        size: u32,
    },
    /// A kind that this peer does not send.
    #[error("this peer must not send a frame of {0}")]
    Unexpected(Kind),
    /// A frame after the peer's last one.
    #[error("a frame of {0} came after the last one")]
    AfterLast(Kind),
    /// A block that cannot be used.
    #[error(transparent)]
    Block(#[from] ParseError),
    /// A block that is longer than the rest of its frame, or a frame over 16 MiB that is
    /// not a single block.
    #[error("a block of {block} bytes does not fit the remaining {left} bytes of its frame")]
    Boundary {
        /// Bytes of the block; 96 if the rest is shorter than a block header.
        block: u64,
        /// Bytes from the start of the block to the end of its frame.
        left: u32,
    },
    /// A field with an invalid value.
    #[error("a frame of {kind} has an invalid {field}: {value}")]
    Field {
        /// The frame's kind.
        kind: Kind,
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The message of an error frame is not UTF-8.
    #[error("the message of an error frame is not UTF-8")]
    Text,
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Cut,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Blocks => "blocks",
            Kind::Ack => "ack",
            Kind::Heartbeat => "heartbeat",
            Kind::Error => "error",
            Kind::End => "end",
        })
    }
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Kind::Blocks => 1,
            Kind::Ack => 2,
            Kind::Heartbeat => 3,
            Kind::Error => 4,
            Kind::End => 5,
        }
    }

    fn from_byte(byte: u8) -> Result<Kind, Error> {
        match byte {
            1 => Ok(Kind::Blocks),
            2 => Ok(Kind::Ack),
            3 => Ok(Kind::Heartbeat),
            4 => Ok(Kind::Error),
            5 => Ok(Kind::End),
            unknown => Err(Error::Kind(unknown)),
        }
    }

    /// Whether a body of this kind can have this size.
    fn takes(self, size: u32) -> bool {
        let size = u64::from(size);
        match self {
            Kind::Blocks => {
                let one_block = BLOCK_HEADER_BYTES as u64 + MAX_RECORD_SIZE_MAX;
                (BLOCK_HEADER_BYTES as u64..=one_block).contains(&size)
            }
            Kind::Ack => ack::takes(size),
            Kind::Heartbeat => size == 0 || size == Ends::BYTES as u64,
            Kind::Error => fault::takes(size),
            Kind::End => size == 0,
        }
    }
}

impl FrameHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let [a, b, c, d] = self.size.to_be_bytes();
        [self.kind.byte(), self.flags, 0, 0, a, b, c, d]
    }

    /// Reads a header, and checks that its kind can have this size.
    ///
    /// # Errors
    /// [`Error::Kind`], `Flags`, `Reserved` or `Size`.
    pub fn decode(bytes: [u8; FRAME_HEADER_BYTES]) -> Result<FrameHeader, Error> {
        let [kind, flags, zero_0, zero_1, a, b, c, d] = bytes;
        let kind = Kind::from_byte(kind)?;
        let known = if kind == Kind::End { FORGET } else { 0 };
        if flags & !known != 0 {
            return Err(Error::Flags { kind, flags });
        }
        match u16::from_be_bytes([zero_0, zero_1]) {
            0 => {}
            other => return Err(Error::Reserved(other)),
        }
        let size = u32::from_be_bytes([a, b, c, d]);
        if !kind.takes(size) {
            return Err(Error::Size { kind, size });
        }
        Ok(FrameHeader { kind, flags, size })
    }

    fn put(kind: Kind, flags: u8, body_bytes: usize, out: &mut BytesMut) {
        let size = u32::try_from(body_bytes).expect("these bodies are small");
        out.put_slice(&FrameHeader { kind, flags, size }.encode());
    }
}

/// The header of a frame with `blocks_bytes` of whole blocks. The sender writes the
/// blocks after it, without copying them.
///
/// At most [`FRAME_BLOCKS_BYTES_MAX`](crate::limits::FRAME_BLOCKS_BYTES_MAX), unless it is one block.
///
/// # Panics
/// For 4 GiB or more, which no frame may have.
#[must_use]
pub fn blocks_header(blocks_bytes: usize) -> [u8; FRAME_HEADER_BYTES] {
    let size = u32::try_from(blocks_bytes).expect("a frame is smaller than 4 GiB");
    debug_assert!(Kind::Blocks.takes(size), "{size} bytes are no whole block");
    FrameHeader { kind: Kind::Blocks, flags: 0, size }.encode()
}

/// Appends a heartbeat. A heartbeat to a consumer has the log's ends.
pub fn encode_heartbeat(ends: Option<Ends>, out: &mut BytesMut) {
    FrameHeader::put(Kind::Heartbeat, 0, if ends.is_some() { Ends::BYTES } else { 0 }, out);
    if let Some(Ends { start, end }) = ends {
        out.put_u64(start.0);
        out.put_u64(end.0);
    }
}

/// Appends an end frame. Only a producer may set `forget`.
pub fn encode_end(forget: bool, out: &mut BytesMut) {
    FrameHeader::put(Kind::End, if forget { FORGET } else { 0 }, 0, out);
}

/// The range of positions that a log has: from `start` to `end`, exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Position of the first record that the log still has.
    pub start: Position,
    /// Position of the next durable record.
    pub end: Position,
}

impl Ends {
    const BYTES: usize = 16;

    /// Reads a heartbeat's body, which may be empty.
    fn decode(mut body: &[u8]) -> Result<Option<Ends>, Error> {
        let (Ok(start), Ok(end)) = (body.try_get_u64(), body.try_get_u64()) else {
            return Ok(None);
        };
        if start > end {
            let kind = Kind::Heartbeat;
            return Err(Error::Field { kind, field: "start position", value: start });
        }
        Ok(Some(Ends { start: Position(start), end: Position(end) }))
    }
}
