//! [`RecordGenerator`]: one producer's records in order, ready to send. Making a batch
//! only writes the stamps of its records.

use std::sync::Arc;

use super::{Stamp, Templates};

/// The bytes in front of each payload on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// No bytes.
    Raw,
    /// A message of styx/0.
    Styx0,
    /// A binary message. Its mask is zero, which is valid and costs nothing.
    WebSocket,
    /// An item of a body of binary-records.
    BinaryRecords,
}

/// Makes the records of one producer.
#[derive(Debug)]
pub(crate) struct RecordGenerator {
    templates: Arc<Templates>,
    producer: u16,
    next: u64,
    /// All templates, each after its framing.
    bytes: Vec<u8>,
    /// Where each payload begins and ends in `bytes`.
    ranges: Vec<[usize; 2]>,
}

/// Consecutive records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GeneratedBatch<'m> {
    all: &'m [u8],
    ranges: &'m [[usize; 2]],
    from: usize,
}

impl RecordGenerator {
    pub(crate) fn new(
        templates: &Arc<Templates>,
        producer: u16,
        framing: Framing,
    ) -> RecordGenerator {
        let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
        for index in 0..templates.count() as u64 {
            let payload = templates.of(index);
            framing.write(payload.len(), &mut bytes);
            let start = bytes.len();
            bytes.extend_from_slice(payload);
            ranges.push([start, bytes.len()]);
        }
        RecordGenerator { templates: Arc::clone(templates), producer, next: 0, bytes, ranges }
    }

    /// The next records: at least one, and at most `bytes_max` bytes with their framing.
    /// A batch never wraps from the last template to the first, so it may be shorter.
    pub(crate) fn batch(&mut self, bytes_max: usize) -> GeneratedBatch<'_> {
        let kind = self.templates.kind();
        let first = (self.next % self.ranges.len() as u64) as usize;
        let before = |at: usize| at.checked_sub(1).and_then(|at| self.ranges.get(at));
        let from = before(first).map_or(0, |[_, end]| *end);
        let mut count = 0;
        for [start, end] in self.ranges.get(first..).unwrap_or_default() {
            if count > 0 && end - from > bytes_max {
                break;
            }
            let stamp = Stamp { producer: self.producer, index: self.next };
            if let Some(payload) = self.bytes.get_mut(*start..*end) {
                stamp.write(kind, payload);
            }
            self.next += 1;
            count += 1;
        }
        let ranges = self.ranges.get(first..first + count).unwrap_or_default();
        GeneratedBatch { all: &self.bytes, ranges, from }
    }

    /// The number of records made so far.
    pub(crate) fn made(&self) -> u64 {
        self.next
    }
}

impl<'m> GeneratedBatch<'m> {
    /// The payloads without their framing.
    pub(crate) fn payloads(self) -> impl Iterator<Item = &'m [u8]> {
        self.ranges.iter().map(move |[start, end]| self.all.get(*start..*end).unwrap_or_default())
    }

    /// The batch as it is sent, with the framing.
    pub(crate) fn bytes(self) -> &'m [u8] {
        let end = self.ranges.last().map_or(self.from, |[_, end]| *end);
        self.all.get(self.from..end).unwrap_or_default()
    }
}

impl Framing {
    fn write(self, len: usize, out: &mut Vec<u8>) {
        match self {
            Framing::Raw => {}
            Framing::Styx0 => {
                out.extend_from_slice(&1_u16.to_be_bytes());
                out.extend_from_slice(&(len as u32).to_be_bytes());
            }
            Framing::WebSocket => {
                const BINARY: u8 = 0x82;
                const MASKED: u8 = 0x80;
                match len {
                    0..126 => out.extend_from_slice(&[BINARY, MASKED | len as u8]),
                    126..0x1_0000 => {
                        out.extend_from_slice(&[BINARY, MASKED | 126]);
                        out.extend_from_slice(&(len as u16).to_be_bytes());
                    }
                    _ => {
                        out.extend_from_slice(&[BINARY, MASKED | 127]);
                        out.extend_from_slice(&(len as u64).to_be_bytes());
                    }
                }
                out.extend_from_slice(&[0; 4]);
            }
            Framing::BinaryRecords => out.extend_from_slice(&(len as u32).to_be_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{PayloadKind, RecordChecker};

    #[test]
    fn consecutive_batches_have_no_gap_and_wrap_around() {
        for kind in [PayloadKind::Random(10), PayloadKind::Random(64_000), PayloadKind::Json] {
            let templates = Arc::new(Templates::new(kind));
            let mut generator = RecordGenerator::new(&templates, 0, Framing::Raw);
            let mut checker = RecordChecker::new(&templates, 1);
            while generator.made() < 3 * templates.count() as u64 {
                let made = generator.made();
                let batch = generator.batch(100_000);
                assert!(batch.bytes().len() <= 100_000);
                let payloads: Vec<Vec<u8>> = batch.payloads().map(<[u8]>::to_vec).collect();
                assert_eq!(payloads.concat(), batch.bytes());
                assert_eq!(generator.made(), made + payloads.len() as u64);
                for payload in payloads {
                    checker.check(&payload).expect("it is next");
                }
            }
            assert_eq!(checker.checked(), generator.made());
        }
    }

    #[test]
    fn framing_has_the_bytes_of_each_protocol() {
        let framed = |framing, len| {
            let templates = Arc::new(Templates::new(PayloadKind::Random(len)));
            let batch = RecordGenerator::new(&templates, 7, framing).batch(1).bytes().to_vec();
            batch[..batch.len() - len].to_vec()
        };
        assert!(framed(Framing::Raw, 10).is_empty());
        assert_eq!(framed(Framing::Styx0, 10), [0, 1, 0, 0, 0, 10]);
        assert_eq!(framed(Framing::BinaryRecords, 300), [0, 0, 1, 44]);
        assert_eq!(framed(Framing::WebSocket, 125), [0x82, 0xFD, 0, 0, 0, 0]);
        assert_eq!(framed(Framing::WebSocket, 1000), [0x82, 0xFE, 3, 232, 0, 0, 0, 0]);
        assert_eq!(framed(Framing::WebSocket, 65_536)[..10], [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
