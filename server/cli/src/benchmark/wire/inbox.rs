//! [`Inbox`]: what came in and is not taken yet, cut into messages where it
//! lies.

use std::io::{self, Read};

use super::message::Parsed;

/// Bytes asked for at once.
const READ_BYTES: usize = 256 << 10;

/// Bytes that came in.
#[derive(Debug)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// Taken up to here; filled up to there.
    taken: usize,
    filled: usize,
}

/// The records in front, one after the other.
#[derive(Debug)]
pub(super) struct Records<'b, P> {
    rest: &'b [u8],
    used: usize,
    parse: P,
    stopped: Stop,
}

/// Why there are no more records for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The next message is not all there.
    Incomplete,
    /// The peer says that there is no more.
    End,
    Fault(&'static str),
}

impl Inbox {
    pub(super) fn new(surplus: &[u8]) -> Inbox {
        let mut bytes = vec![0; surplus.len() + 2 * READ_BYTES];
        if let Some(front) = bytes.get_mut(..surplus.len()) {
            front.copy_from_slice(surplus);
        }
        Inbox { bytes, taken: 0, filled: surplus.len() }
    }

    /// What came and is not taken.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.taken..self.filled).unwrap_or_default()
    }

    /// Takes so many bytes off the front.
    pub(super) fn take(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
        }
    }

    /// Appends bytes that came in another way.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        if let Some(room) = self.bytes.get_mut(self.filled..self.filled + bytes.len()) {
            room.copy_from_slice(bytes);
            self.filled += bytes.len();
        }
    }

    /// Reads once; how many bytes came, 0 at the end.
    pub(super) fn read(&mut self, from: &mut impl Read) -> io::Result<usize> {
        self.make_room(READ_BYTES);
        let room = self.bytes.get_mut(self.filled..self.filled + READ_BYTES).unwrap_or_default();
        let came = from.read(room)?;
        self.filled += came;
        Ok(came)
    }

    fn make_room(&mut self, bytes: usize) {
        if self.bytes.len() - self.filled < bytes {
            self.bytes.copy_within(self.taken..self.filled, 0);
            (self.taken, self.filled) = (0, self.filled - self.taken);
        }
        if self.bytes.len() - self.filled < bytes {
            self.bytes.resize(self.filled + 2 * bytes, 0);
        }
    }

    /// The records that are there; to be followed by [`take`](Self::take) of
    /// what was used.
    pub(super) fn records<P: Fn(&[u8]) -> Parsed<'_>>(&self, parse: P) -> Records<'_, P> {
        Records { rest: self.bytes(), used: 0, parse, stopped: Stop::Incomplete }
    }
}

impl<'b, P> Records<'b, P> {
    fn stop(&mut self, why: Stop) -> Option<&'b [u8]> {
        self.stopped = why;
        None
    }

    /// Bytes of the messages that were looked at, and why there are no more.
    pub(super) fn end(self) -> (usize, Stop) {
        (self.used, self.stopped)
    }
}

impl<'b, P: Fn(&[u8]) -> Parsed<'_>> Iterator for Records<'b, P> {
    type Item = &'b [u8];

    #[inline]
    fn next(&mut self) -> Option<&'b [u8]> {
        loop {
            let (record, bytes) = match (self.parse)(self.rest) {
                Parsed::Record(payload, bytes) => (Some(payload), bytes),
                Parsed::Durable(_, bytes) | Parsed::Other(bytes) => (None, bytes),
                Parsed::Incomplete => return self.stop(Stop::Incomplete),
                Parsed::End => return self.stop(Stop::End),
                Parsed::Fault(what) => return self.stop(Stop::Fault(what)),
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
    use crate::benchmark::wire::message;

    #[test]
    fn records_are_taken_however_they_are_cut() {
        let payloads: Vec<Vec<u8>> =
            (0..200_u32).map(|i| vec![i as u8; 3000 + i as usize]).collect();
        let mut wire = Vec::new();
        for payload in &payloads {
            wire.extend_from_slice(&(payload.len() as u32).to_be_bytes());
            wire.extend_from_slice(payload);
        }
        for step in [1000, 70_000, 1 << 20] {
            let mut inbox = Inbox::new(&wire[..5]);
            let mut found = Vec::new();
            for chunk in wire[5..].chunks(step) {
                inbox.push(chunk);
                let mut records = inbox.records(message::binary_record);
                found.extend(records.by_ref().map(<[u8]>::to_vec));
                let (used, stop) = records.end();
                assert_eq!(stop, Stop::Incomplete);
                inbox.take(used);
            }
            assert!(inbox.bytes().is_empty());
            assert_eq!(found, payloads);
        }
    }
}
