//! [`Block`]: a header with the body that belongs to it.
//!
//! Bytes become a block in two steps. [`Block::parse`] finds its end, holds its
//! sizes against the limits and checks the body's CRC; then [`Block::records`]
//! or [`Block::checked_records`] gives the records. A client makes blocks with
//! [`build`]; the server's fields are 0 in them.

use bytes::{Bytes, BytesMut};

use super::{Codec, Error, Flags, Header};
use crate::Position;
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
    /// More than one block may hold, or a record over `max_record_size`.
    #[error("the block's body has {claimed} bytes, more than the {max} allowed")]
    TooLarge {
        /// What the header claims, stored or raw.
        claimed: u32,
        /// The limit.
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
        /// What the body has.
        found: u64,
    },
    /// The body is not well-formed records.
    #[error("in the block's body, {0}")]
    Records(#[from] record::Error),
    /// This version cannot unpack the codec yet.
    #[error("this version of Styx cannot unpack blocks of codec {0:?}")]
    CodecUnavailable(Codec),
    /// A producer's block has a field set that is the server's, or has none of
    /// its own records.
    #[error("the block's {0} is the server's to set")]
    ServerField(&'static str),
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
    /// [`ParseError::CodecUnavailable`], `Records` or `Contradiction`.
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
        if self.header.codec != Codec::None {
            return Err(ParseError::CodecUnavailable(self.header.codec));
        }
        let records = parse(self.body.clone())?;
        let (claimed, found) = (self.header.count, u64::from(records.count()));
        if u64::from(claimed) != found {
            return Err(ParseError::Contradiction { what: "records", claimed, found });
        }
        Ok(records)
    }
}

/// Sizes that can be refused from the header alone, before a body is waited
/// for.
///
/// # Errors
/// [`ParseError::TooLarge`] or `Contradiction`.
pub fn check_sizes(header: &Header, record_bytes_max: u64) -> Result<(), ParseError> {
    let block_bytes_max = BLOCK_RAW_BYTES_MAX as u64;
    let max =
        if header.count == 1 { block_bytes_max.max(record_bytes_max) } else { block_bytes_max };
    let claimed = header.raw_size.max(header.body_size);
    if u64::from(claimed) > max {
        return Err(ParseError::TooLarge { claimed, max });
    }
    let plain = header.codec == Codec::None && !header.is_marker();
    if plain && header.raw_size != header.body_size {
        let found = u64::from(header.body_size);
        return Err(ParseError::Contradiction { what: "bytes", claimed: header.raw_size, found });
    }
    Ok(())
}

/// Whose block it is, and where it must go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin {
    /// The producer; 0 is none.
    pub producer_id: u64,
    /// The producer's epoch.
    pub producer_epoch: u32,
    /// Number of the first record in the producer's stream.
    pub sequence: u64,
    /// Append only if the log ends here.
    pub expected: Option<Position>,
}

/// A block of these records as a producer sends it: codec none, the server's
/// fields 0.
#[must_use]
pub fn build(records: &Records, origin: Origin) -> Bytes {
    let body = records.bytes();
    let body_size = u32::try_from(body.len()).expect("records are at most about 1 GiB");
    let header = Header {
        flags: if origin.expected.is_some() { Flags::EXPECT_POSITION } else { Flags::NONE },
        count: records.count(),
        body_size,
        raw_size: body_size,
        base_position: origin.expected.unwrap_or_default().0,
        producer_id: origin.producer_id,
        sequence: origin.sequence,
        producer_epoch: origin.producer_epoch,
        body_crc: crc32fast::hash(body),
        ..Header::default()
    };
    let mut block = BytesMut::with_capacity(BLOCK_HEADER_BYTES + body.len());
    block.extend_from_slice(&header.encode().0);
    block.extend_from_slice(body);
    block.freeze()
}
