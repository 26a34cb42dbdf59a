//! [`Block`]: a header with the body that belongs to it.
//!
//! Bytes become a block in two steps. [`Block::parse`] finds its end, holds its
//! sizes against the limits and checks the body's CRC; then [`Block::records`]
//! or [`Block::checked_records`] gives the records, unpacked if need be. What a
//! server has checked whole is [`Checked`]; a client makes blocks with
//! [`build`](super::build()).

use bytes::Bytes;

use super::{Checked, Codec, Error, Flags, Header};
use crate::codec::{self, UnpackError};
use crate::error::Code;
use crate::limits::{BLOCK_HEADER_BYTES, BLOCK_RAW_BYTES_MAX};
use crate::record::{self, Records};

/// A header and the body it describes, whose sizes are within limits and whose
/// body CRC matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    header: Header,
    header_crc: u32,
    body: Bytes,
}

/// Why bytes are not a block that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The header.
    #[error(transparent)]
    Header(#[from] Error),
    /// The bytes end before the body does.
    #[error("the block's body is {claimed} bytes, of which {present} are there")]
    Cut {
        /// What the header claims.
        claimed: u32,
        /// What follows it.
        present: usize,
    },
    /// More than a block of several records may hold.
    #[error("the block's body has {claimed} bytes, more than the {max} allowed")]
    TooLarge {
        /// What the header claims, stored or raw.
        claimed: u32,
        /// The limit.
        max: u64,
    },
    /// A record over `max_record_size`.
    #[error("a record of {size} bytes (8 more than its payload) is over max_record_size, {max}")]
    RecordTooLarge {
        /// Payload plus 8, or what the header of a block of one record claims.
        size: u64,
        /// The limit, likewise with 8 bytes for the record's header.
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
        /// What the header claims.
        claimed: u32,
        /// What the body has; of packed bytes that are too many, at least so many.
        found: u64,
    },
    /// The body is not what its codec writes.
    #[error("the block's body cannot be unpacked as {0}")]
    Packed(Codec),
    /// The body is not well-formed records.
    #[error("in the block's body, {0}")]
    Records(#[from] record::Error),
    /// A producer's block has a field set that is the server's, or has none of
    /// its own records.
    #[error("the block's {0} is the server's to set")]
    ServerField(&'static str),
}

impl ParseError {
    /// What a server answers to a producer's block with this fault.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            ParseError::RecordTooLarge { .. } => Code::RecordTooLarge,
            _ => Code::MalformedRecords,
        }
    }
}

impl Block {
    /// Splits the first block off `bytes` and gives back what follows it.
    /// `record_bytes_max` is the largest record, its 8 bytes included, that a
    /// block of one record may hold beyond [`BLOCK_RAW_BYTES_MAX`].
    ///
    /// # Errors
    /// See [`ParseError`]; records themselves are not looked at.
    pub fn parse(bytes: Bytes, record_bytes_max: u64) -> Result<(Block, Bytes), ParseError> {
        let (header, header_crc) = Header::decode(&bytes)?;
        check_sizes(&header, record_bytes_max)?;
        let mut body = bytes.slice(BLOCK_HEADER_BYTES..);
        let claimed = header.body_size;
        let body_bytes = usize::try_from(claimed).unwrap_or(usize::MAX);
        if body.len() < body_bytes {
            return Err(ParseError::Cut { claimed, present: body.len() });
        }
        let rest = body.split_off(body_bytes);
        if crc32fast::hash(&body) != header.body_crc {
            return Err(ParseError::BodyChecksum);
        }
        Ok((Block { header, header_crc, body }, rest))
    }

    /// A block that the caller has just made: it vouches for the header's sizes
    /// and `body_crc`, and for `header_crc`, which nobody computes again.
    #[must_use]
    pub fn vouched(header: Header, header_crc: u32, body: Bytes) -> Block {
        Block { header, header_crc, body }
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The header's own CRC, which the next block's `prev_crc` repeats.
    #[must_use]
    pub fn header_crc(&self) -> u32 {
        self.header_crc
    }

    /// The body as it is stored.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The records, for a reader of a stored block: the body's CRC vouches for
    /// them, so each one's own is not checked again. None in fillers and seals.
    ///
    /// # Errors
    /// [`ParseError::Packed`], `Records` or `Contradiction`.
    pub fn records(&self) -> Result<Records, ParseError> {
        self.decode(Records::parse_lengths)
    }

    /// The records, each checked by its own CRC: what a server does with a
    /// block before it stores it.
    ///
    /// # Errors
    /// As [`Block::records`].
    pub fn checked_records(&self) -> Result<Records, ParseError> {
        self.decode(Records::parse)
    }

    /// The same block with its body unpacked, for a reader that does not take
    /// its codec: every other field as it was, `header_crc` computed again.
    /// `None` when it is plain already.
    ///
    /// # Errors
    /// [`ParseError::Packed`] or `Contradiction`; records are not looked at.
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

    /// What a server accepts from a producer: a block with good checksums down
    /// to each record's, of at most `payload_bytes_max` bytes a record, with no
    /// field of the server's set. Keeps the body as it came.
    ///
    /// # Errors
    /// See [`ParseError`]; [`ParseError::code`] is what to answer.
    pub fn into_checked(self, payload_bytes_max: usize) -> Result<Checked, ParseError> {
        Checked::check(self, payload_bytes_max)
    }

    /// What a server asks of a producer's block besides good checksums: it has
    /// records, and no field that is the server's is set.
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

    /// The bytes of the records, unpacked but not parsed: the body itself when
    /// it is plain. Exactly `raw_size` of them.
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

/// Sizes that can be refused from the header alone, before a body is waited
/// for.
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
