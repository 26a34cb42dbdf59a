//! [`Scan`]: checks the records file of a 0.x segment and writes its records, as a stream.
//!
//! ```text
//! record   size: int32 | payload[size] | CRC-32C of size ‖ payload: u32
//! ```
//!
//! Invariant: a record becomes part of the new log only after its checksum was checked. Its size
//! is checked against `max_record_size` before any of its bytes are stored.

use styx_protocol::Position;

use super::error::{ConversionError, Damage};
use crate::rewrite::Writer;

/// The bytes of a record besides its payload, for size and checksum. This version uses the same
/// number.
const OVERHEAD_BYTES: u64 = 8;

/// The state of a scan between two chunks of a file.
#[derive(Debug)]
pub(super) struct Scan {
    file: String,
    /// The offset and the position of the current record.
    offset: u64,
    position: Position,
    record_bytes_max: u64,
    state: State,
    word: Word,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Size,
    Payload { size: u64, left: u64, crc: u32 },
    Checksum { size: u64, crc: u32 },
}

impl Scan {
    pub(super) fn new(file: String, position: Position, record_bytes_max: u64) -> Scan {
        let (state, word) = (State::Size, Word::default());
        Scan { file, offset: 0, position, record_bytes_max, state, word }
    }

    /// Processes the next bytes of the file.
    ///
    /// # Errors
    /// A record is invalid, or the writer failed.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        writer: &mut Writer,
    ) -> Result<(), ConversionError> {
        while !bytes.is_empty() {
            match self.state {
                State::Size => {
                    let Some(word) = self.word.fill(&mut bytes) else { break };
                    let size = self.size(word)?;
                    writer.begin_record(word)?;
                    self.state = State::Payload { size, left: size, crc: crc32c::crc32c(&word) }
                        .checksum_if_complete();
                }
                State::Payload { size, left, crc } => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (now, rest) = bytes.split_at(take);
                    bytes = rest;
                    writer.payload(now);
                    let crc = crc32c::crc32c_append(crc, now);
                    let left = left - now.len() as u64;
                    self.state = State::Payload { size, left, crc }.checksum_if_complete();
                }
                State::Checksum { size, crc } => {
                    let Some(word) = self.word.fill(&mut bytes) else { break };
                    if u32::from_be_bytes(word) != crc {
                        return Err(self.damage("the record fails its checksum"));
                    }
                    writer.end_record();
                    self.offset += size + OVERHEAD_BYTES;
                    self.position = self.position + 1;
                    self.state = State::Size;
                }
            }
        }
        Ok(())
    }

    /// Ends the scan after the last byte. Returns the position at which the next segment begins.
    ///
    /// # Errors
    /// The last record is cut off.
    pub(super) fn end(self) -> Result<Position, ConversionError> {
        match self.state {
            State::Size if self.word.filled == 0 => Ok(self.position),
            _ => Err(self.damage("the record is cut off")),
        }
    }

    /// Creates an error for the current record.
    pub(super) fn damage(&self, message: impl Into<String>) -> ConversionError {
        let Scan { file, offset, position, .. } = self;
        let (file, message) = (file.clone(), message.into());
        ConversionError::Damaged(Damage { file, offset: *offset, position: *position, message })
    }

    fn size(&self, word: [u8; 4]) -> Result<u64, ConversionError> {
        let size = i32::from_be_bytes(word);
        match u64::try_from(size) {
            Ok(size) if size + OVERHEAD_BYTES <= self.record_bytes_max => Ok(size),
            Ok(_) => Err(self.damage(format!(
                "the record has a size of {size} bytes, which is more than max_record_size allows"
            ))),
            Err(_) => Err(self.damage(format!("the record has an invalid size of {size} bytes"))),
        }
    }
}

impl State {
    /// Continues with the checksum if no bytes of the payload are left.
    fn checksum_if_complete(self) -> State {
        match self {
            State::Payload { size, left: 0, crc } => State::Checksum { size, crc },
            other => other,
        }
    }
}

/// Collects four bytes that may arrive in several chunks.
#[derive(Debug, Default)]
struct Word {
    bytes: [u8; 4],
    filled: usize,
}

impl Word {
    /// Takes bytes from the chunk. Returns the word once it is complete.
    fn fill(&mut self, from: &mut &[u8]) -> Option<[u8; 4]> {
        let take = (self.bytes.len() - self.filled).min(from.len());
        let (now, rest) = from.split_at(take);
        self.bytes[self.filled..self.filled + take].copy_from_slice(now);
        *from = rest;
        self.filled += take;
        if self.filled < self.bytes.len() {
            return None;
        }
        self.filled = 0;
        Some(self.bytes)
    }
}
