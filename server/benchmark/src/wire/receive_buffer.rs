//! [`ReceiveBuffer`]: received bytes, split into messages without a copy.

use std::io::{self, Read};

use super::message::Parsed;

/// The largest read.
const READ_BYTES: usize = 256 << 10;

/// Received bytes that are not consumed yet.
#[derive(Debug)]
pub(super) struct ReceiveBuffer {
    bytes: Vec<u8>,
    /// The bytes up to here are consumed.
    consumed: usize,
    /// The bytes up to here are received.
    filled: usize,
}

/// Iterates over the complete records at the front of the buffer.
#[derive(Debug)]
pub(super) struct BufferedRecords<'b, P> {
    rest: &'b [u8],
    used: usize,
    parse: P,
    stopped: StopReason,
}

/// Why the iteration over records stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// The next message is incomplete.
    Incomplete,
    /// The server ended the stream.
    End,
    /// The server sent an error or an invalid message.
    Invalid(&'static str),
}

impl ReceiveBuffer {
    pub(super) fn new(surplus: &[u8]) -> ReceiveBuffer {
        let mut bytes = vec![0; surplus.len() + 2 * READ_BYTES];
        if let Some(front) = bytes.get_mut(..surplus.len()) {
            front.copy_from_slice(surplus);
        }
        ReceiveBuffer { bytes, consumed: 0, filled: surplus.len() }
    }

    /// The bytes that are not consumed yet.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.consumed..self.filled).unwrap_or_default()
    }

    /// Removes bytes from the front.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.consumed += bytes;
        if self.consumed == self.filled {
            (self.consumed, self.filled) = (0, 0);
        }
    }

    /// Appends bytes that were received by other means.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        if let Some(free) = self.bytes.get_mut(self.filled..self.filled + bytes.len()) {
            free.copy_from_slice(bytes);
            self.filled += bytes.len();
        }
    }

    /// Reads once. Returns the number of bytes, which is 0 at the end of the stream.
    pub(super) fn read(&mut self, from: &mut impl Read) -> io::Result<usize> {
        self.reserve(READ_BYTES);
        let free = self.bytes.get_mut(self.filled..self.filled + READ_BYTES).unwrap_or_default();
        let received = from.read(free)?;
        self.filled += received;
        Ok(received)
    }

    fn reserve(&mut self, bytes: usize) {
        if self.bytes.len() - self.filled < bytes {
            self.bytes.copy_within(self.consumed..self.filled, 0);
            (self.consumed, self.filled) = (0, self.filled - self.consumed);
        }
        if self.bytes.len() - self.filled < bytes {
            self.bytes.resize(self.filled + 2 * bytes, 0);
        }
    }

    /// The complete records at the front. Call [`consume`](Self::consume) afterwards with
    /// the bytes that [`end`](BufferedRecords::end) returns.
    pub(super) fn records<P: Fn(&[u8]) -> Parsed<'_>>(&self, parse: P) -> BufferedRecords<'_, P> {
        BufferedRecords { rest: self.bytes(), used: 0, parse, stopped: StopReason::Incomplete }
    }
}

impl<'b, P> BufferedRecords<'b, P> {
    fn stop(&mut self, why: StopReason) -> Option<&'b [u8]> {
        self.stopped = why;
        None
    }

    /// The bytes of all iterated messages, and why the iteration stopped.
    pub(super) fn end(self) -> (usize, StopReason) {
        (self.used, self.stopped)
    }
}

impl<'b, P: Fn(&[u8]) -> Parsed<'_>> Iterator for BufferedRecords<'b, P> {
    type Item = &'b [u8];

    #[inline]
    fn next(&mut self) -> Option<&'b [u8]> {
        loop {
            let (record, bytes) = match (self.parse)(self.rest) {
                Parsed::Record(payload, bytes) => (Some(payload), bytes),
                Parsed::Durable(_, bytes) | Parsed::Other(bytes) => (None, bytes),
                Parsed::Incomplete => return self.stop(StopReason::Incomplete),
                Parsed::End => return self.stop(StopReason::End),
                Parsed::Invalid(what) => return self.stop(StopReason::Invalid(what)),
            };
            self.used += bytes;
            self.rest = self.rest.get(bytes..).unwrap_or_default();
            if record.is_some() {
                return record;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message;

    #[test]
    fn records_are_found_with_any_split() {
        let payloads: Vec<Vec<u8>> =
            (0..200_u32).map(|i| vec![i as u8; 3000 + i as usize]).collect();
        let mut wire = Vec::new();
        for payload in &payloads {
            wire.extend_from_slice(&(payload.len() as u32).to_be_bytes());
            wire.extend_from_slice(payload);
        }
        for step in [1000, 70_000, 1 << 20] {
            let mut buffer = ReceiveBuffer::new(&wire[..5]);
            let mut found = Vec::new();
            for chunk in wire[5..].chunks(step) {
                buffer.push(chunk);
                let mut records = buffer.records(message::binary_record);
                found.extend(records.by_ref().map(<[u8]>::to_vec));
                let (used, stop) = records.end();
                assert_eq!(stop, StopReason::Incomplete);
                buffer.consume(used);
            }
            assert!(buffer.bytes().is_empty());
            assert_eq!(found, payloads);
        }
    }
}
