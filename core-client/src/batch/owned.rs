//! [`OwnedRecord`]: a record that outlives its batch, without a copy of the payload.

use std::fmt;

use bytes::Bytes;
use styx_protocol::{Checkpoint, LogId, Position};

use super::Record;

/// One record that can be kept, or sent to another thread.
///
/// Its payload shares the memory of its batch, and keeps all of that memory allocated. To
/// keep a few records of many, copy their payloads.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    log: LogId,
    position: u64,
    timestamp: u64,
    payload: Bytes,
}

impl OwnedRecord {
    /// The record's position in the log.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// When the record was appended, in µs since the Unix epoch. Timestamps never decrease
    /// within a log.
    #[must_use]
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// The record's payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload alone.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// The log's id and the position after this record.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { log_id: self.log, next: Position(self.position + 1) }
    }
}

impl From<Record<'_>> for OwnedRecord {
    fn from(record: Record<'_>) -> OwnedRecord {
        OwnedRecord {
            log: record.checkpoint().log_id,
            position: record.position(),
            timestamp: record.timestamp(),
            payload: record.payload_bytes(),
        }
    }
}

impl fmt::Debug for OwnedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedRecord")
            .field("position", &self.position)
            .field("timestamp", &self.timestamp)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
