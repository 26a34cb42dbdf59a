//! [`Block`]: a header with its body.
//!
//! Bytes become a block in two steps. [`Block::parse`] finds the end of the block, checks
//! its sizes against the limits, and checks the body's CRC. Then [`Block::records`] or
//! [`Block::checked_records`] returns the records, decompressed if necessary. A block that
//! a server has checked completely is a [`Checked`]. A client makes blocks with
//! [`build`](super::build()).

use bytes::Bytes;

use super::{Checked, Codec, Error, Flags, Header};
use crate::codec::{self, UnpackError};
use crate::error::Code;
use crate::limits::{BLOCK_HEADER_BYTES, BLOCK_RAW_BYTES_MAX};
use crate::record::{self, Records};

/// A header and its body. The sizes are within the limits, and the body's CRC is
/// correct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    header: Header,
    header_crc: u32,
    body: Bytes,
}

/// Why bytes are not a usable block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The header.
    #[error(transparent)]
    Header(#[from] Error),
    /// The bytes end before the body does.
    #[error("the block is cut off: its body has {claimed} bytes, but only {present} follow")]
    Cut {
        /// The value in the header.
        claimed: u32,
        /// The bytes after the header.
        present: usize,
    },
    /// More bytes than a block of several records may have.
    #[error("the block's body has {claimed} bytes, more than the {max} allowed")]
    TooLarge {
        /// The size in the header, stored or uncompressed.
        claimed: u32,
        /// The limit.
        max: u64,
    },
    /// A record over `max_record_size`.
    #[error("a record of {size} bytes (8 more than its payload) is over max_record_size, {max}")]
    RecordTooLarge {
        /// Payload plus 8, or the size in the header of a block of one record.
        size: u64,
        /// The limit, which also includes 8 bytes for the record's header.
        max: u64,
    },
    /// The body's CRC does not match.
    #[error("the block's body fails its checksum")]
    BodyChecksum,
    /// The header's sizes or count contradict the body.
    #[error("the block's header says {claimed} {what}, its body has {found}")]
    Contradiction {
        /// `records` or `bytes`.
        what: &'static str,
        /// The value in the header.
        claimed: u32,
        /// The value in the body. If it decompresses to too many bytes, at least this
        /// number.
        found: u64,
    },
    /// The body is not valid for its codec.
    #[error("the block's body cannot be decompressed as {0}")]
    Packed(Codec),
    /// The body is not well-formed records.
    #[error("invalid body of the block: {0}")]
    Records(#[from] record::Error),
    /// A producer's block has a field that only a server may set, or has no records.
    #[error("a producer's block must not have this: {0}")]
    ServerField(&'static str),
}

impl ParseError {
    /// The code with which a server rejects a producer's block.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            ParseError::RecordTooLarge { .. } => Code::RecordTooLarge,
            _ => Code::MalformedRecords,
        }
    }
}

impl Block {
    /// Splits the first block off `bytes` and returns it with the bytes after it.
    /// `record_bytes_max` is the largest record, including its header of 8 bytes, that a
    /// block of one record may have beyond [`BLOCK_RAW_BYTES_MAX`].
    ///
    /// # Errors
    /// See [`ParseError`]. The records are not checked.
    pub fn parse(bytes: Bytes, record_bytes_max: u64) -> Result<(Block, Bytes), ParseError> {
        let (block, rest) = Block::split(bytes, record_bytes_max)?;
        if crc32fast::hash(&block.body) != block.header.body_crc {
            return Err(ParseError::BodyChecksum);
        }
        Ok((block, rest))
    }

    /// As [`Block::parse`], but does not compare the checksum of the body, for a block whose
    /// receiver does.
    ///
    /// # Errors
    /// As there, except for `BodyChecksum`.
    pub fn split(bytes: Bytes, record_bytes_max: u64) -> Result<(Block, Bytes), ParseError> {
        let (header, header_crc) = Header::decode(&bytes)?;
        check_sizes(&header, record_bytes_max)?;
        let mut body = bytes.slice(BLOCK_HEADER_BYTES..);
        let claimed = header.body_size;
        let body_bytes = usize::try_from(claimed).unwrap_or(usize::MAX);
        if body.len() < body_bytes {
            return Err(ParseError::Cut { claimed, present: body.len() });
        }
        let rest = body.split_off(body_bytes);
        Ok((Block { header, header_crc, body }, rest))
    }

    /// A block that the caller has just made. The header's sizes, `body_crc` and
    /// `header_crc` must be correct; they are not checked.
    #[must_use]
    pub fn vouched(header: Header, header_crc: u32, body: Bytes) -> Block {
        Block { header, header_crc, body }
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The CRC of the header. The `prev_crc` of the next block has the same value.
    #[must_use]
    pub fn header_crc(&self) -> u32 {
        self.header_crc
    }

    /// The body as it is stored.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The records of a stored block. The body's CRC covers them, so their own CRCs are not
    /// checked. Fillers and seals have no records.
    ///
    /// # Errors
    /// [`ParseError::Packed`], `Records` or `Contradiction`.
    pub fn records(&self) -> Result<Records, ParseError> {
        self.decode(Records::parse_lengths)
    }

    /// The records, each checked by its own CRC. A server does this before it stores a
    /// block.
    ///
    /// # Errors
    /// As [`Block::records`].
    pub fn checked_records(&self) -> Result<Records, ParseError> {
        self.decode(Records::parse)
    }

    /// The same block with its body decompressed, for a reader that does not support its
    /// codec. All other fields are unchanged, except that `header_crc` is recomputed.
    /// `None` if the block is plain.
    ///
    /// # Errors
    /// [`ParseError::Packed`] or `Contradiction`. The records are not checked.
    pub fn unpacked(&self) -> Result<Option<Block>, ParseError> {
        if self.header.codec == Codec::None || self.header.is_marker() {
            return Ok(None);
        }
        let body = self.raw()?;
        let header = Header {
            codec: Codec::None,
            body_size: self.header.raw_size,
            body_crc: crc32fast::hash(&body),
            ..self.header
        };
        let header_crc = header.encode().1;
        Ok(Some(Block { header, header_crc, body }))
    }

    /// Checks a producer's block: all checksums including those of the records, at most
    /// `payload_bytes_max` bytes per payload, and no field that only a server may set.
    /// Keeps the received body.
    ///
    /// # Errors
    /// See [`ParseError`]. Respond with [`ParseError::code`].
    pub fn into_checked(self, payload_bytes_max: usize) -> Result<Checked, ParseError> {
        Checked::check(self, payload_bytes_max)
    }

    /// Checks that a producer's block has records, and no field that only a server may
    /// set.
    ///
    /// # Errors
    /// [`ParseError::ServerField`].
    pub fn check_from_producer(&self) -> Result<(), ParseError> {
        let h = &self.header;
        let positioned = h.flags.contains(Flags::EXPECT_POSITION);
        let faults = [
            (h.is_marker(), "filler or seal flag"),
            (h.count == 0, "count of 0"),
            (h.base_position != 0 && !positioned, "base_position"),
            (h.timestamp_us != 0, "timestamp_us"),
            (h.segment_salt != 0, "segment_salt"),
            (h.open_epoch != 0, "open_epoch"),
            (h.prev_crc != 0, "prev_crc"),
            (h.durable_position != 0, "durable_position"),
        ];
        match faults.into_iter().find(|(is, _)| *is) {
            Some((_, field)) => Err(ParseError::ServerField(field)),
            None => Ok(()),
        }
    }

    fn decode(
        &self,
        parse: fn(Bytes) -> Result<Records, record::Error>,
    ) -> Result<Records, ParseError> {
        if self.header.is_marker() {
            return Ok(Records::default());
        }
        let records = parse(self.raw()?)?;
        self.check_count(records.count())?;
        Ok(records)
    }

    /// The bytes of the records, decompressed but not parsed: exactly `raw_size` bytes. For a
    /// plain block, the body itself.
    ///
    /// # Errors
    /// [`ParseError::Packed`] or `Contradiction`.
    pub fn raw(&self) -> Result<Bytes, ParseError> {
        let raw_bytes = self.raw_bytes();
        let raw = codec::unpack(self.header.codec, &self.body, raw_bytes);
        raw.map_err(|fault| self.unpack_error(fault))
    }

    pub(super) fn raw_bytes(&self) -> usize {
        usize::try_from(self.header.raw_size).unwrap_or(usize::MAX)
    }

    pub(super) fn unpack_error(&self, fault: UnpackError) -> ParseError {
        match fault {
            UnpackError::Malformed => ParseError::Packed(self.header.codec),
            UnpackError::Length(found) => {
                let claimed = self.header.raw_size;
                ParseError::Contradiction { what: "bytes", claimed, found }
            }
        }
    }

    pub(super) fn check_count(&self, found: u32) -> Result<(), ParseError> {
        let (claimed, found) = (self.header.count, u64::from(found));
        if u64::from(claimed) == found {
            Ok(())
        } else {
            Err(ParseError::Contradiction { what: "records", claimed, found })
        }
    }
}

/// Checks the sizes in the header, before the body is received.
///
/// # Errors
/// [`ParseError::TooLarge`], `RecordTooLarge` or `Contradiction`.
pub fn check_sizes(header: &Header, record_bytes_max: u64) -> Result<(), ParseError> {
    let claimed = header.raw_size.max(header.body_size);
    let max = BLOCK_RAW_BYTES_MAX as u64;
    if u64::from(claimed) > max {
        if header.count != 1 {
            return Err(ParseError::TooLarge { claimed, max });
        }
        if u64::from(claimed) > record_bytes_max {
            let max = record_bytes_max;
            return Err(ParseError::RecordTooLarge { size: claimed.into(), max });
        }
    }
    let plain = header.codec == Codec::None && !header.is_marker();
    if plain && header.raw_size != header.body_size {
        let found = u64::from(header.body_size);
        return Err(ParseError::Contradiction { what: "bytes", claimed: header.raw_size, found });
    }
    Ok(())
}
