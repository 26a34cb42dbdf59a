//! binary-records: records after their sizes, in HTTP bodies.
//!
//! ```text
//! item   size: int32 | payload[size]      big-endian
//! ```
//!
//! An item equals the bytes after the CRC of a stored [`record`], so stored records are
//! served without copying ([`items`]). The decoder keeps at most one incomplete item. It
//! only allocates memory for received bytes, never for a claimed size.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits::RECORD_HEADER_BYTES;
use crate::record::{self, Records};

const SIZE_BYTES: usize = 4;

/// Decodes items from chunks of bytes that are split anywhere.
///
/// [`push`](Self::push) a chunk, call [`next_payload`](Self::next_payload) until it returns
/// `None`, and repeat. After the last chunk, call [`finish`](Self::finish).
#[derive(Debug)]
pub struct BinaryRecordsDecoder {
    payload_bytes_max: usize,
    /// The part of the incomplete item from earlier chunks.
    begun: BytesMut,
    chunk: Bytes,
    /// Bytes of the incomplete item that [`take_part`](Self::take_part) has returned, and the
    /// bytes of its payload that are still missing.
    part: Option<Part>,
    /// The offset of the incomplete item from the first pushed byte.
    item_offset: u64,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    taken_bytes: usize,
    missing_bytes: usize,
}

/// Why bytes are not binary-records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The size is below zero.
    #[error("the record at byte {offset} has a size of {size}")]
    NegativeSize {
        /// The offset of the item.
        offset: u64,
        /// The claimed size.
        size: i32,
    },
    /// The size exceeds the limit of this log's records.
    #[error(
        "the record at byte {offset} has {size} bytes, more than the {payload_bytes_max} allowed"
    )]
    TooLarge {
        /// The offset of the item.
        offset: u64,
        /// The claimed size.
        size: i32,
        /// The limit.
        payload_bytes_max: usize,
    },
    /// The bytes end inside an item.
    #[error("the record at byte {offset} is cut off")]
    Cut {
        /// The offset of the item.
        offset: u64,
    },
}

impl BinaryRecordsDecoder {
    /// A decoder at byte 0. Payloads over `payload_bytes_max` are rejected.
    #[must_use]
    pub fn new(payload_bytes_max: usize) -> BinaryRecordsDecoder {
        BinaryRecordsDecoder {
            payload_bytes_max,
            begun: BytesMut::new(),
            chunk: Bytes::new(),
            part: None,
            item_offset: 0,
        }
    }

    /// Adds the next chunk. If items of the previous chunk are left, both are joined, which
    /// copies them.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            self.chunk = [self.chunk.as_ref(), chunk.as_ref()].concat().into();
        }
    }

    /// The next complete payload; `None` until more is pushed.
    ///
    /// # Errors
    /// An invalid size. Every further call returns the same error.
    pub fn next_payload(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(Part { taken_bytes, missing_bytes }) = self.part {
            let _ = self.keep(missing_bytes);
            if self.begun.len() < missing_bytes {
                return Ok(None);
            }
            self.part = None;
            self.item_offset += (taken_bytes + missing_bytes) as u64;
            return Ok(Some(self.begun.split().freeze()));
        }
        if self.begun.is_empty() {
            if let Some(size) = self.chunk.first_chunk().copied() {
                let item_bytes = SIZE_BYTES + self.check(size)?;
                if self.chunk.len() >= item_bytes {
                    return Ok(Some(self.payload_of(|s| s.chunk.split_to(item_bytes))));
                }
            }
            return Ok(self.keep(usize::MAX));
        }
        if self.begun.len() < SIZE_BYTES {
            let _ = self.keep(SIZE_BYTES);
        }
        let Some(size) = self.begun.first_chunk().copied() else { return Ok(None) };
        let item_bytes = SIZE_BYTES + self.check(size)?;
        let _ = self.keep(item_bytes);
        if self.begun.len() < item_bytes {
            return Ok(None);
        }
        Ok(Some(self.payload_of(|s| s.begun.split().freeze())))
    }

    /// Takes the part of the incomplete payload that has arrived, if it has at least `bytes_min`
    /// bytes. [`next_payload`](Self::next_payload) then returns the rest of the payload, so that a
    /// large one needs no large buffer. Call it after `next_payload` has returned `None`.
    pub fn take_part(&mut self, bytes_min: usize) -> Option<Bytes> {
        if let Some(part) = &mut self.part {
            if self.begun.len() < bytes_min.max(1) {
                return None;
            }
            part.taken_bytes += self.begun.len();
            part.missing_bytes -= self.begun.len();
            return Some(std::mem::take(&mut self.begun).freeze());
        }
        let size = i32::from_be_bytes(self.begun.first_chunk().copied()?);
        let payload_bytes = self.begun.len() - SIZE_BYTES;
        if payload_bytes < bytes_min.max(1) {
            return None;
        }
        // The size was checked when it had arrived.
        let missing_bytes = usize::try_from(size).ok()?.checked_sub(payload_bytes)?;
        self.part = Some(Part { taken_bytes: self.begun.len(), missing_bytes });
        let mut part = std::mem::take(&mut self.begun).freeze();
        part.advance(SIZE_BYTES);
        Some(part)
    }

    /// Call this after the last chunk and the last complete item. No bytes may be left.
    ///
    /// # Errors
    /// [`Error::Cut`], or as [`next_payload`](Self::next_payload).
    pub fn finish(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(payload) = self.next_payload()? {
            return Ok(Some(payload));
        }
        let is_complete = self.begun.is_empty() && self.part.is_none();
        if is_complete { Ok(None) } else { Err(Error::Cut { offset: self.item_offset }) }
    }

    /// The offset of the next item from the first pushed byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.item_offset
    }

    /// Moves bytes from the chunk to the incomplete item until it has `up_to` bytes.
    fn keep(&mut self, up_to: usize) -> Option<Bytes> {
        let missing = up_to.saturating_sub(self.begun.len()).min(self.chunk.len());
        self.begun.extend_from_slice(&self.chunk.split_to(missing));
        None
    }

    fn payload_of(&mut self, take: impl FnOnce(&mut BinaryRecordsDecoder) -> Bytes) -> Bytes {
        let mut item = take(self);
        self.item_offset += item.len() as u64;
        item.advance(SIZE_BYTES);
        item
    }

    fn check(&self, size: [u8; SIZE_BYTES]) -> Result<usize, Error> {
        let size = i32::from_be_bytes(size);
        let (offset, payload_bytes_max) = (self.item_offset, self.payload_bytes_max);
        match usize::try_from(size) {
            Err(_) => Err(Error::NegativeSize { offset, size }),
            Ok(bytes) if bytes > payload_bytes_max => {
                Err(Error::TooLarge { offset, size, payload_bytes_max })
            }
            Ok(bytes) => Ok(bytes),
        }
    }
}

/// Appends one item to `out`.
///
/// # Panics
/// For payloads of 2 GiB or more, which cannot be encoded.
pub fn encode(payload: &[u8], out: &mut BytesMut) {
    let size = i32::try_from(payload.len()).expect("a record is smaller than 2 GiB");
    out.reserve(SIZE_BYTES + payload.len());
    out.put_i32(size);
    out.extend_from_slice(payload);
}

/// The records as items, one by one. Each shares the memory of `records`.
pub fn items(records: &Records) -> impl Iterator<Item = Bytes> + '_ {
    let bytes = records.bytes();
    let mut offset = 0;
    std::iter::from_fn(move || {
        if offset >= bytes.len() {
            return None;
        }
        let (start, end) = record::frame(bytes, offset).ok()?;
        offset = end;
        Some(bytes.slice(start - RECORD_HEADER_BYTES + SIZE_BYTES..end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_inside_one_chunk_is_not_copied() {
        let chunk = Bytes::from_static(b"\0\0\0\x02ab\0\0\0\0");
        let mut decoder = BinaryRecordsDecoder::new(2);
        decoder.push(chunk.clone());
        let payload = decoder.next_payload().expect("fits").expect("is whole");
        assert_eq!(payload.as_ptr(), chunk[4..].as_ptr());
    }

    #[test]
    fn payload_taken_in_parts_is_the_same_as_in_one() {
        let payload: Vec<u8> = (0..1000u32).map(|i| (i % 251) as u8).collect();
        let mut bytes = BytesMut::new();
        encode(&payload, &mut bytes);
        encode(b"after", &mut bytes);
        let whole = bytes.freeze();
        for (chunk_bytes, part_bytes) in [(1, 0), (1, 1), (7, 100), (300, 300), (1004, 1)] {
            let mut decoder = BinaryRecordsDecoder::new(1000);
            let (mut payloads, mut parts) = (Vec::new(), BytesMut::new());
            for chunk in whole.chunks(chunk_bytes) {
                decoder.push(Bytes::copy_from_slice(chunk));
                while let Some(rest) = decoder.next_payload().expect("valid") {
                    parts.extend_from_slice(&rest);
                    payloads.push(parts.split());
                }
                if let Some(part) = decoder.take_part(part_bytes) {
                    assert!(part.len() >= part_bytes);
                    parts.extend_from_slice(&part);
                }
            }
            assert_eq!(decoder.finish(), Ok(None));
            assert_eq!(payloads, [&payload[..], b"after"], "{chunk_bytes} {part_bytes}");
            assert_eq!(decoder.offset(), whole.len() as u64);
        }
    }

    #[test]
    fn item_that_is_cut_after_a_part_is_an_error() {
        let mut decoder = BinaryRecordsDecoder::new(10);
        decoder.push(Bytes::from_static(b"\0\0\0\x03ab"));
        assert_eq!(decoder.next_payload(), Ok(None));
        assert_eq!(decoder.take_part(3), None);
        assert_eq!(decoder.take_part(2), Some(Bytes::from_static(b"ab")));
        assert_eq!(decoder.offset(), 0, "the item is not complete");
        assert_eq!(decoder.finish(), Err(Error::Cut { offset: 0 }));
    }

    #[test]
    fn items_are_the_tails_of_stored_records() {
        let mut builder = record::Builder::new();
        let payloads: [&[u8]; 3] = [b"one", b"", b"three"];
        let mut expected = BytesMut::new();
        for payload in payloads {
            assert!(builder.push(payload));
            encode(payload, &mut expected);
        }
        assert_eq!(items(&builder.take()).collect::<Vec<_>>().concat(), expected);
    }
}
