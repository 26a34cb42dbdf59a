//! [`Maker`]: one producer's records in order, ready to be sent: a batch costs
//! the writing of its stamps.

use std::sync::Arc;

use super::{Stamp, Templates};

/// What stands in front of each payload on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::benchmark) enum Framing {
    /// Nothing.
    Bare,
    /// A message of styx/0.
    Styx0,
    /// A binary message, masked with zeros: as valid as any mask, and free.
    WebSocket,
    /// An item of a body of binary-records.
    BinaryRecords,
}

/// Makes the records of one producer.
#[derive(Debug)]
pub(in crate::benchmark) struct Maker {
    templates: Arc<Templates>,
    producer: u16,
    next: u64,
    /// Every template behind its framing.
    bytes: Vec<u8>,
    /// Where each payload begins and ends in `bytes`.
    places: Vec<[usize; 2]>,
}

/// Records that follow each other.
#[derive(Debug, Clone, Copy)]
pub(in crate::benchmark) struct Batch<'m> {
    all: &'m [u8],
    places: &'m [[usize; 2]],
    from: usize,
}

impl Maker {
    pub(in crate::benchmark) fn new(
        templates: &Arc<Templates>,
        producer: u16,
        framing: Framing,
    ) -> Maker {
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for index in 0..templates.count() as u64 {
            let payload = templates.of(index);
            framing.write(payload.len(), &mut bytes);
            let start = bytes.len();
            bytes.extend_from_slice(payload);
            places.push([start, bytes.len()]);
        }
        Maker { templates: Arc::clone(templates), producer, next: 0, bytes, places }
    }

    /// The next records: as many as `bytes_max` bytes hold with their framing,
    /// at least one, and fewer where the circle of templates ends.
    pub(in crate::benchmark) fn batch(&mut self, bytes_max: usize) -> Batch<'_> {
        let kind = self.templates.kind();
        let first = (self.next % self.places.len() as u64) as usize;
        let before = |at: usize| at.checked_sub(1).and_then(|at| self.places.get(at));
        let from = before(first).map_or(0, |[_, end]| *end);
        let mut count = 0;
        for [start, end] in self.places.get(first..).unwrap_or_default() {
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
        let places = self.places.get(first..first + count).unwrap_or_default();
        Batch { all: &self.bytes, places, from }
    }

    /// Records made so far.
    pub(in crate::benchmark) fn made(&self) -> u64 {
        self.next
    }
}

impl<'m> Batch<'m> {
    /// The payloads without their framing.
    pub(in crate::benchmark) fn payloads(self) -> impl Iterator<Item = &'m [u8]> {
        self.places.iter().map(move |[start, end]| self.all.get(*start..*end).unwrap_or_default())
    }

    /// All of it as it is sent.
    pub(in crate::benchmark) fn bytes(self) -> &'m [u8] {
        let end = self.places.last().map_or(self.from, |[_, end]| *end);
        self.all.get(self.from..end).unwrap_or_default()
    }
}

impl Framing {
    fn write(self, len: usize, out: &mut Vec<u8>) {
        match self {
            Framing::Bare => {}
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
    use crate::benchmark::payload::{Checker, Kind};

    #[test]
    fn batches_follow_each_other_around_the_circle() {
        for kind in [Kind::Random(10), Kind::Random(64_000), Kind::Json] {
            let templates = Arc::new(Templates::new(kind));
            let mut maker = Maker::new(&templates, 0, Framing::Bare);
            let mut checker = Checker::new(&templates, 1);
            while maker.made() < 3 * templates.count() as u64 {
                let made = maker.made();
                let batch = maker.batch(100_000);
                assert!(batch.bytes().len() <= 100_000);
                let payloads: Vec<Vec<u8>> = batch.payloads().map(<[u8]>::to_vec).collect();
                assert_eq!(payloads.concat(), batch.bytes());
                assert_eq!(maker.made(), made + payloads.len() as u64);
                for payload in payloads {
                    checker.check(&payload).expect("it is next");
                }
            }
            assert_eq!(checker.checked(), maker.made());
        }
    }

    #[test]
    fn framing_is_what_the_protocols_say() {
        let framed = |framing, len| {
            let templates = Arc::new(Templates::new(Kind::Random(len)));
            let batch = Maker::new(&templates, 7, framing).batch(1).bytes().to_vec();
            batch[..batch.len() - len].to_vec()
        };
        assert!(framed(Framing::Bare, 10).is_empty());
        assert_eq!(framed(Framing::Styx0, 10), [0, 1, 0, 0, 0, 10]);
        assert_eq!(framed(Framing::BinaryRecords, 300), [0, 0, 1, 44]);
        assert_eq!(framed(Framing::WebSocket, 125), [0x82, 0xFD, 0, 0, 0, 0]);
        assert_eq!(framed(Framing::WebSocket, 1000), [0x82, 0xFE, 3, 232, 0, 0, 0, 0]);
        assert_eq!(framed(Framing::WebSocket, 65_536)[..10], [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
