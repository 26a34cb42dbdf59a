//! [`Encoded`]: records that were encoded before a producer accepts them.
//!
//! ```text
//! push, extend_packed ─▶ [ part | part | open part ] ─ append ─▶ pending blocks
//!                          └ at most 1 MiB each, in the memory that is sent
//! ```
//! A part is accepted as a whole: it leaves the batch in the same step, so no record is
//! appended twice or lost. The ack of the parts that were accepted waits here for the
//! rest.

mod part;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;

use styx_protocol::Code;
use styx_protocol::limits::{BLOCK_RAW_BYTES_MAX, MAX_RECORD_SIZE_MAX, RECORD_HEADER_BYTES};
use styx_protocol::record::checksum;

use super::ack::Ack;
use super::block_buffer::PREFIX_BYTES;
use super::options::BATCH_BYTES_MAX;
use crate::error::Error;
pub(super) use part::Part;

/// Memory for the first part, if nothing is known of its size.
const PART_BYTES_MIN: usize = 1 << 10;

/// Records that are encoded as they will be sent, in parts of at most 1 MiB.
///
/// Fill it on any thread, and give it to
/// [`Producer::try_append_encoded`](crate::Producer::try_append_encoded) or
/// [`Producer::append_encoded`](crate::Producer::append_encoded). Encoding copies the
/// payloads, so the caller's memory is not needed afterwards.
///
/// Each record counts 8 bytes plus its payload. Up to 1 MiB of records are one part,
/// which is appended whole or not at all; a larger record is a part of its own. An
/// `Encoded` holds at most 1 GiB
/// ([`BATCH_BYTES_MAX`](crate::producer::options::BATCH_BYTES_MAX)).
pub struct Encoded {
    /// Parts that accept no more records; the oldest is in front.
    complete: VecDeque<Part>,
    /// The part that accepts records.
    open: Part,
    /// The most bytes that `open` may use. 0 if the next record begins a part.
    open_until: usize,
    /// Records and bytes of `complete`.
    complete_records: usize,
    complete_bytes: usize,
    /// The most bytes of records in a part, unless it has a single larger one.
    part_bytes: usize,
    /// Memory for the records of the next part.
    capacity: usize,
    /// The ack of the parts that a producer has accepted.
    accepted: Option<Ack>,
}

impl Encoded {
    /// No records. It allocates nothing.
    #[must_use]
    pub fn new() -> Encoded {
        Encoded::with_part_bytes(BLOCK_RAW_BYTES_MAX)
    }

    pub(super) fn with_part_bytes(part_bytes: usize) -> Encoded {
        Encoded {
            complete: VecDeque::new(),
            open: Part::default(),
            open_until: 0,
            complete_records: 0,
            complete_bytes: 0,
            part_bytes,
            capacity: PART_BYTES_MIN,
            accepted: None,
        }
    }

    /// Encodes a whole batch.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(super) fn of<I>(batch: I, part_bytes: usize) -> Result<Encoded, Error>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let mut encoded = Encoded::with_part_bytes(part_bytes);
        let mut batch = batch.into_iter();
        while let Some(payload) = batch.next() {
            encoded.push_before(payload.as_ref(), || batch.size_hint().0)?;
        }
        Ok(encoded)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// `record_too_large` for a record that exceeds the limit of every log;
    /// `invalid_argument` if the records would exceed 1 GiB. The record was not added.
    #[inline]
    pub fn push(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.push_before(payload, || 0)
    }

    /// Adds a record. At the start of a part, `more` says how many records of the same
    /// size will follow.
    #[inline]
    pub(super) fn push_before(
        &mut self,
        payload: &[u8],
        more: impl FnOnce() -> usize,
    ) -> Result<(), Error> {
        let header = header_of(payload)?;
        let record_bytes = RECORD_HEADER_BYTES + payload.len();
        if self.open.used_bytes() + record_bytes > self.open_until {
            let expected = more().saturating_add(1).saturating_mul(record_bytes);
            self.begin_part(record_bytes, expected)?;
        }
        self.open.push(header, payload);
        Ok(())
    }

    /// Adds records that lie one after the other in `data`. `ends[i]` is where record `i`
    /// ends; it begins where the previous one ends, and the first one at 0. Bytes after
    /// the last end are ignored.
    ///
    /// # Errors
    /// `invalid_argument` if an end is smaller than the one before it or beyond `data`, or
    /// if the records would exceed 1 GiB. No record was added then.
    pub fn extend_packed(&mut self, data: &[u8], ends: &[u32]) -> Result<(), Error> {
        let header_bytes = ends.len().saturating_mul(RECORD_HEADER_BYTES);
        if header_bytes > self.bytes_left() {
            return Err(too_many());
        }
        let mut last = 0;
        for (record, &end) in ends.iter().enumerate() {
            if end < last {
                return Err(Error::invalid_argument(format!(
                    "record {record} ends at byte {end}, before it begins at {last}: the ends \
                     must not decrease"
                )));
            }
            last = end;
        }
        let data = data.get(..last as usize).ok_or_else(|| {
            Error::invalid_argument(format!(
                "the last record ends at byte {last}, but the data has {} bytes",
                data.len()
            ))
        })?;
        let mut left = data.len().saturating_add(header_bytes);
        if left > self.bytes_left() {
            return Err(too_many());
        }
        self.reserve(left);
        let mut start = 0;
        for &end in ends {
            let payload = data.get(start..end as usize).unwrap_or_default();
            // Neither a record nor all of them are too large: both limits are 1 GiB.
            let record_bytes = RECORD_HEADER_BYTES + payload.len();
            let header = header_of(payload)?;
            if self.open.used_bytes() + record_bytes > self.open_until {
                self.begin_part(record_bytes, left)?;
            }
            self.open.push(header, payload);
            left -= record_bytes;
            start = end as usize;
        }
        Ok(())
    }

    /// The number of records that no producer has accepted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.complete_records + self.open.count() as usize
    }

    /// Whether there is no record that a producer still has to accept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of these records; each counts 8 bytes plus its payload.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.complete_bytes + self.open.raw_bytes()
    }

    /// Removes all records. Parts that a producer has accepted are appended nevertheless;
    /// their ack is lost.
    pub fn clear(&mut self) {
        *self = Encoded { capacity: self.capacity, ..Encoded::with_part_bytes(self.part_bytes) };
    }

    /// The number of parts that no producer has accepted.
    pub(super) fn parts(&self) -> usize {
        self.complete.len() + usize::from(self.open.count() > 0)
    }

    fn bytes_left(&self) -> usize {
        BATCH_BYTES_MAX - self.bytes()
    }

    /// Reserves memory in the open part for some of the next `record_bytes`.
    fn reserve(&mut self, record_bytes: usize) {
        let free = self.open_until.saturating_sub(self.open.used_bytes());
        self.open.reserve(record_bytes.min(free));
    }

    /// Begins a part with memory for `expected` bytes, as far as they fit.
    #[cold]
    fn begin_part(&mut self, record_bytes: usize, expected: usize) -> Result<(), Error> {
        let bytes_left = self.bytes_left();
        if record_bytes > bytes_left {
            return Err(too_many());
        }
        self.complete_open();
        let part_bytes = self.part_bytes.min(bytes_left);
        // A part after a full one will probably be full too.
        let usual = if self.complete.is_empty() { self.capacity } else { self.part_bytes };
        let wanted = if expected > record_bytes { expected } else { usual };
        self.open = Part::with_capacity(wanted.min(part_bytes).max(record_bytes));
        self.open_until = PREFIX_BYTES + part_bytes;
        Ok(())
    }

    /// The open part accepts no more records.
    fn complete_open(&mut self) {
        let part = std::mem::take(&mut self.open);
        self.open_until = 0;
        if part.count() > 0 {
            self.complete_records += part.count() as usize;
            self.complete_bytes += part.raw_bytes();
            self.complete.push_back(part);
        }
    }

    /// Removes the oldest part, with at most `part_bytes` of records unless it has only
    /// one.
    pub(super) fn take_part(&mut self, part_bytes: usize) -> Option<Part> {
        let part = match self.complete.pop_front() {
            Some(part) => {
                self.complete_records -= part.count() as usize;
                self.complete_bytes -= part.raw_bytes();
                part
            }
            None => {
                self.open_until = 0;
                std::mem::take(&mut self.open)
            }
        };
        if part.count() == 0 {
            return None;
        }
        self.capacity =
            part.raw_bytes().next_power_of_two().clamp(PART_BYTES_MIN, BLOCK_RAW_BYTES_MAX);
        if part.raw_bytes() <= part_bytes || part.count() == 1 || part.is_final() {
            return Some(part);
        }
        part.split(part_bytes).into_iter().rev().for_each(|part| self.put_back(part));
        self.take_part(part_bytes)
    }

    /// Puts a part that was taken in front of the others.
    pub(super) fn put_back(&mut self, part: Part) {
        self.complete_records += part.count() as usize;
        self.complete_bytes += part.raw_bytes();
        self.complete.push_front(part);
    }

    /// A producer has accepted the oldest part.
    pub(super) fn accepted(&mut self, ack: Ack) {
        match &mut self.accepted {
            Some(accepted) => accepted.join(ack),
            None => self.accepted = Some(ack),
        }
    }

    /// The ack of all accepted parts, once.
    pub(super) fn take_ack(&mut self) -> Option<Ack> {
        self.accepted.take()
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded")
            .field("len", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl Default for Encoded {
    fn default() -> Encoded {
        Encoded::new()
    }
}

/// A record's checksum and size.
#[inline]
pub(super) fn header_of(payload: &[u8]) -> Result<[u8; RECORD_HEADER_BYTES], Error> {
    if (payload.len() + RECORD_HEADER_BYTES) as u64 > MAX_RECORD_SIZE_MAX {
        return Err(too_large(payload.len()));
    }
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let [a, b, c, d] = checksum(size, payload).to_be_bytes();
    let [e, f, g, h] = size;
    Ok([a, b, c, d, e, f, g, h])
}

#[cold]
fn too_large(payload_bytes: usize) -> Error {
    let text = format!(
        "the record is too large: {payload_bytes} bytes plus 8 exceed {MAX_RECORD_SIZE_MAX}, the \
         limit of every log"
    );
    Error::code_error(Code::RecordTooLarge, text)
}

#[cold]
fn too_many() -> Error {
    Error::invalid_argument("the batch would have more than 1 GiB of records: append them in parts")
}
