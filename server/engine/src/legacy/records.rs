//! The records file of a 0.x segment, checked as its bytes stream by.
//!
//! ```text
//! record   size: int32 | payload[size] | CRC-32C of size ‖ payload: u32
//! ```
//!
//! Invariant: a record is part of the written log only after its checksum was checked. Its size
//! is checked against `max_record_size` before any byte of it is stored.

use styx_protocol::Position;

use super::error::{ConversionError, Damage};
use crate::rewrite::Writer;

/// Bytes of a record in addition to its payload; the same number as in this version.
const OVERHEAD_BYTES: u64 = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Scan {
    file: String,
    /// The offset and position of the current record.
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
    pub(super) fn more(
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
                    self.state =
                        State::Payload { size, left: size, crc: crc32c::crc32c(&word) }.settled();
                }
                State::Payload { size, left, crc } => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (now, rest) = bytes.split_at(take);
                    bytes = rest;
                    writer.payload(now);
                    let crc = crc32c::crc32c_append(crc, now);
                    let left = left - now.len() as u64;
                    self.state = State::Payload { size, left, crc }.settled();
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

    /// Called after the last byte: the position with which the next segment begins.
    pub(super) fn end(self) -> Result<Position, ConversionError> {
        match self.state {
            State::Size if self.word.have == 0 => Ok(self.position),
            _ => Err(self.damage("the record is cut off")),
        }
    }

    /// An error at the current record.
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
                "the record claims {size} bytes, which is more than max_record_size allows"
            ))),
            Err(_) => Err(self.damage(format!("the record claims {size} bytes"))),
        }
    }
}

impl State {
    /// After an empty rest of a payload comes its checksum.
    fn settled(self) -> State {
        match self {
            State::Payload { size, left: 0, crc } => State::Checksum { size, crc },
            other => other,
        }
    }
}

/// Four bytes that may arrive in pieces.
#[derive(Debug, Default)]
struct Word {
    bytes: [u8; 4],
    have: usize,
}

impl Word {
    fn fill(&mut self, from: &mut &[u8]) -> Option<[u8; 4]> {
        let take = (self.bytes.len() - self.have).min(from.len());
        let (now, rest) = from.split_at(take);
        self.bytes[self.have..self.have + take].copy_from_slice(now);
        *from = rest;
        self.have += take;
        if self.have < self.bytes.len() {
            return None;
        }
        self.have = 0;
        Some(self.bytes)
    }
}
