//! The frames of styx/1: a header of 8 bytes and a body, both ways.
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
//! All integers are big-endian. Whoever sends appends messages to a buffer with
//! their `encode`, and blocks behind a [`blocks_header`]; whoever receives reads
//! into a [`FrameDecoder`], which gives out one [`Event`] after the other and refuses
//! what its peer must not send. docs/protocol.md says who sends what when.

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
    /// A sign of life.
    Heartbeat,
    /// What went wrong; the last frame of its sender.
    Error,
    /// That there is no more; the last frame of its sender but for heartbeats.
    End,
}

/// The 8 bytes in front of a frame's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the body is.
    pub kind: Kind,
    /// Bit 0 of an end: forget the producer. Nothing else is defined.
    pub flags: u8,
    /// Bytes of the body.
    pub size: u32,
}

/// The flag of an end frame with which a producer asks to be forgotten.
const FORGET: u8 = 1;

/// Why bytes are not the frames that this peer may send.
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
    /// The two bytes behind the flags, or those in a body that must be 0, are not.
    #[error("reserved bytes of a frame are {0:#06x} instead of 0")]
    Reserved(u16),
    /// A size that this kind cannot have.
    #[error("a frame of {kind} cannot have {size} bytes")]
    Size {
        /// The frame's kind.
        kind: Kind,
        /// What its header claims.
        size: u32,
    },
    /// A kind that this peer does not send.
    #[error("a frame of {0} is not this peer's to send")]
    Unexpected(Kind),
    /// A frame behind the peer's last one.
    #[error("a frame of {0} came after the last one")]
    AfterLast(Kind),
    /// A block that cannot be used.
    #[error(transparent)]
    Block(#[from] ParseError),
    /// A block that is longer than what is left of its frame, or a frame over
    /// 16 MiB that is not a single block.
    #[error("a block of {block} bytes stands in the last {left} bytes of its frame")]
    Boundary {
        /// Bytes of the block; 96 when not even a header is left.
        block: u64,
        /// Bytes from its beginning to its frame's end.
        left: u32,
    },
    /// A field with a value it cannot have.
    #[error("a frame of {kind} has {value} as its {field}")]
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

    /// Whether a body of this kind can have so many bytes.
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
    /// The header as it is sent.
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let [a, b, c, d] = self.size.to_be_bytes();
        [self.kind.byte(), self.flags, 0, 0, a, b, c, d]
    }

    /// Reads a header, and holds its size against what its kind can have.
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

/// The header that goes before `blocks_bytes` of whole blocks, which the sender
/// writes behind it without copying them.
///
/// At most [`FRAME_BLOCKS_BYTES_MAX`](crate::limits::FRAME_BLOCKS_BYTES_MAX), unless it is one block.
///
/// # Panics
/// Never for what a frame may hold; over 4 GiB cannot be written.
#[must_use]
pub fn blocks_header(blocks_bytes: usize) -> [u8; FRAME_HEADER_BYTES] {
    let size = u32::try_from(blocks_bytes).expect("a frame is smaller than 4 GiB");
    debug_assert!(Kind::Blocks.takes(size), "{size} bytes are no whole block");
    FrameHeader { kind: Kind::Blocks, flags: 0, size }.encode()
}

/// Appends a heartbeat; with the log's ends it is one to a consumer.
pub fn encode_heartbeat(ends: Option<Ends>, out: &mut BytesMut) {
    FrameHeader::put(Kind::Heartbeat, 0, if ends.is_some() { Ends::BYTES } else { 0 }, out);
    if let Some(Ends { start, end }) = ends {
        out.put_u64(start.0);
        out.put_u64(end.0);
    }
}

/// Appends an end; `forget` is a producer's alone.
pub fn encode_end(forget: bool, out: &mut BytesMut) {
    FrameHeader::put(Kind::End, if forget { FORGET } else { 0 }, 0, out);
}

/// What a log holds: the positions from `start` up to, not with, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The first kept record's.
    pub start: Position,
    /// The one that the next durable record will get.
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
