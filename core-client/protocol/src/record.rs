//! One record, and sequences of records that are known to be valid.
//!
//! ```text
//! record   crc: u32 | size: u32 | payload[size]      big-endian
//!          └ CRC-32 of size ‖ payload
//! ```
//!
//! Appends and blocks contain [`Records`], which are always valid. [`Builder`] makes them
//! from payloads. [`Records::parse`] makes them from received bytes and checks each
//! record.

use bytes::{Bytes, BytesMut};

pub use crate::checksum::checksum;
use crate::limits::{BLOCK_RAW_BYTES_MAX, RECORD_HEADER_BYTES};

/// Complete, valid records, encoded one after the other.
///
/// They have at most [`BLOCK_RAW_BYTES_MAX`] bytes, or are exactly one larger record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    bytes: Bytes,
    count: u32,
    longest: usize,
}

/// Why bytes are not a sequence of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end inside the record that begins at `offset`.
    #[error("the record at byte {offset} is cut off")]
    Cut {
        /// The offset of the record.
        offset: usize,
    },
    /// The record's CRC does not match its bytes.
    #[error("the record at byte {offset} fails its checksum")]
    Checksum {
        /// The offset of the record.
        offset: usize,
    },
    /// More than one record, and over [`BLOCK_RAW_BYTES_MAX`] in total.
    #[error("{bytes} bytes of records do not fit one block")]
    TooLarge {
        /// The number of bytes.
        bytes: usize,
    },
}

impl Records {
    /// A single record with this payload.
    ///
    /// # Panics
    /// For payloads of 4 GiB or more, which cannot be encoded.
    #[must_use]
    pub fn one(payload: &[u8]) -> Records {
        let mut bytes = BytesMut::with_capacity(RECORD_HEADER_BYTES + payload.len());
        encode(payload, &mut bytes);
        Records { bytes: bytes.freeze(), count: 1, longest: payload.len() }
    }

    /// Takes encoded records and checks every length and CRC.
    ///
    /// # Errors
    /// The first error, with its byte offset.
    pub fn parse(bytes: Bytes) -> Result<Records, Error> {
        let run = check_run(&bytes)?;
        Ok(Records::of(bytes, run))
    }

    /// Parses encoded records whose checksums need no check, such as the body of a block
    /// whose CRC is correct. Only checks lengths.
    ///
    /// # Errors
    /// [`Error::Cut`] if the lengths do not add up to `bytes`.
    pub fn parse_lengths(bytes: Bytes) -> Result<Records, Error> {
        let run = walk(&bytes, frame)?;
        Ok(Records::of(bytes, run))
    }

    fn of(bytes: Bytes, run: CheckedRun) -> Records {
        Records { bytes, count: run.count, longest: run.longest }
    }

    /// The number of records.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The encoded records.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The payloads in order. Each shares the memory of these records.
    pub fn payloads(&self) -> impl Iterator<Item = Bytes> + '_ {
        let mut offset = 0;
        std::iter::from_fn(move || {
            if offset >= self.bytes.len() {
                return None;
            }
            let (start, end) = frame(&self.bytes, offset).ok()?;
            offset = end;
            Some(self.bytes.slice(start..end))
        })
    }

    /// The same records without the first `skip`.
    #[must_use]
    pub fn skip(&self, skip: u32) -> Records {
        let skip = skip.min(self.count);
        let mut offset = 0;
        for _ in 0..skip {
            match frame(&self.bytes, offset) {
                Ok((_, next)) => offset = next,
                Err(_) => break,
            }
        }
        Records {
            bytes: self.bytes.slice(offset..),
            count: self.count - skip,
            longest: self.longest,
        }
    }

    /// Payload bytes of the longest record; 0 if empty. After [`Records::skip`] it may be
    /// that of a skipped record.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.longest
    }
}

/// The result of checking records that are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckedRun {
    pub(crate) count: u32,
    pub(crate) longest: usize,
}

/// Checks every length and CRC, as [`Records::parse`] does.
pub(crate) fn check_run(bytes: &[u8]) -> Result<CheckedRun, Error> {
    let run = walk(bytes, check)?;
    if run.count > 1 && bytes.len() > BLOCK_RAW_BYTES_MAX {
        return Err(Error::TooLarge { bytes: bytes.len() });
    }
    Ok(run)
}

fn walk(
    bytes: &[u8],
    next: impl Fn(&[u8], usize) -> Result<(usize, usize), Error>,
) -> Result<CheckedRun, Error> {
    let (mut count, mut longest, mut offset) = (0, 0, 0);
    while offset < bytes.len() {
        let (start, end) = next(bytes, offset)?;
        count += 1;
        longest = longest.max(end - start);
        offset = end;
    }
    Ok(CheckedRun { count, longest })
}

/// Collects payloads into [`Records`] until they fill one block.
#[derive(Debug, Default)]
pub struct Builder {
    bytes: BytesMut,
    count: u32,
    longest: usize,
}

impl Builder {
    /// An empty builder. It allocates memory as records are added.
    #[must_use]
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Whether a payload of this size still fits the block. The first one always fits.
    #[must_use]
    pub fn fits(&self, payload_bytes: usize) -> bool {
        self.count == 0
            || self.bytes.len() + RECORD_HEADER_BYTES + payload_bytes <= BLOCK_RAW_BYTES_MAX
    }

    /// Adds a record if it [fits](Self::fits), and returns whether it did.
    #[must_use]
    pub fn push(&mut self, payload: &[u8]) -> bool {
        if !self.fits(payload.len()) {
            return false;
        }
        encode(payload, &mut self.bytes);
        self.count += 1;
        self.longest = self.longest.max(payload.len());
        true
    }

    /// The number of encoded bytes.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The number of records.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes the records, and leaves the builder empty.
    #[must_use]
    pub fn take(&mut self) -> Records {
        Records {
            bytes: self.bytes.split().freeze(),
            count: std::mem::take(&mut self.count),
            longest: std::mem::take(&mut self.longest),
        }
    }
}

/// Appends one encoded record to `out`.
///
/// # Panics
/// For payloads of 4 GiB or more, which cannot be encoded.
#[inline]
pub fn encode(payload: &[u8], out: &mut BytesMut) {
    let size = u32::try_from(payload.len()).expect("a record is smaller than 4 GiB");
    let size = size.to_be_bytes();
    let ([a, b, c, d], [e, f, g, h]) = (checksum(size, payload).to_be_bytes(), size);
    out.reserve(RECORD_HEADER_BYTES + payload.len());
    out.extend_from_slice(&[a, b, c, d, e, f, g, h]);
    out.extend_from_slice(payload);
}

/// The start and end of the payload of the record at `offset`. Its checksum is not checked.
///
/// # Errors
/// [`Error::Cut`] if the bytes end before the record does.
pub fn frame(bytes: &[u8], offset: usize) -> Result<(usize, usize), Error> {
    let cut = Error::Cut { offset };
    let header: &[u8] = bytes.get(offset..offset + RECORD_HEADER_BYTES).ok_or(cut)?;
    let size = header.get(4..8).and_then(|s| s.try_into().ok()).map(u32::from_be_bytes);
    let size = usize::try_from(size.ok_or(cut)?).map_err(|_| cut)?;
    let start = offset + RECORD_HEADER_BYTES;
    let end = start.checked_add(size).filter(|end| *end <= bytes.len()).ok_or(cut)?;
    Ok((start, end))
}

/// As [`frame`], and also checks the record's CRC.
///
/// # Errors
/// [`Error::Cut`] or [`Error::Checksum`].
pub fn check(bytes: &[u8], offset: usize) -> Result<(usize, usize), Error> {
    let (start, end) = frame(bytes, offset)?;
    let cut = Error::Cut { offset };
    let header: &[u8; RECORD_HEADER_BYTES] =
        bytes.get(offset..start).and_then(<[u8]>::first_chunk).ok_or(cut)?;
    let [a, b, c, d, size @ ..] = *header;
    let payload = bytes.get(start..end).ok_or(cut)?;
    if checksum(size, payload) == u32::from_be_bytes([a, b, c, d]) {
        Ok((start, end))
    } else {
        Err(Error::Checksum { offset })
    }
}
