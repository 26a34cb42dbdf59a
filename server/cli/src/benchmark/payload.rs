//! What the producers write: payloads that say which record they are, so that
//! reading back can tell a wrong one from a right one, and that cost next to
//! nothing to make.
//!
//! ```text
//! random  producer: u16 | index: u64 | noise…     little-endian; incompressible
//! json    {"id":…,"producer":…,…}                 a line of a web shop's events
//! ```

use std::io::Write;

/// What payloads look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// So many bytes, at least [`Maker::BYTES_MIN`].
    Random(usize),
    /// Lines of some 230 bytes.
    Json,
}

/// Makes the payloads of one producer, in order.
#[derive(Debug)]
pub(super) struct Maker {
    kind: Kind,
    producer: u16,
    next: u64,
    bytes: Vec<u8>,
}

impl Maker {
    /// The index and the producer need so many.
    pub(super) const BYTES_MIN: usize = 10;

    pub(super) fn new(kind: Kind, producer: u16) -> Maker {
        let bytes = match kind {
            Kind::Random(len) => noise(len.max(Maker::BYTES_MIN)),
            Kind::Json => Vec::with_capacity(256),
        };
        Maker { kind, producer, next: 0, bytes }
    }

    /// The next payload.
    pub(super) fn next(&mut self) -> &[u8] {
        let index = self.next;
        self.next += 1;
        match self.kind {
            Kind::Random(_) => {
                if let Some(head) = self.bytes.first_chunk_mut::<{ Maker::BYTES_MIN }>() {
                    let fields = (u128::from(index) << 16) | u128::from(self.producer);
                    *head = std::array::from_fn(|i| (fields >> (8 * i)) as u8);
                }
            }
            Kind::Json => self.json(index),
        }
        &self.bytes
    }

    fn json(&mut self, index: u64) {
        const WORDS: [&str; 16] = [
            "view", "cart", "order", "refund", "login", "logout", "search", "rating", "Berlin",
            "Lagos", "Lima", "Osaka", "Oslo", "Pune", "Quito", "Turin",
        ];
        let mixed = (index ^ (u64::from(self.producer) << 48)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let word = |shift: u32| WORDS[(mixed >> shift) as usize % WORDS.len()];
        self.bytes.clear();
        // Writing to a Vec cannot fail.
        let _ = write!(
            self.bytes,
            "{{\"id\":{index},\"producer\":{},\"time\":\"2026-01-01T{:02}:{:02}:{:02}.{:03}Z\",\
             \"kind\":\"{}\",\"city\":\"{}\",\"user\":\"u{:08x}\",\"session\":\"{:016x}\",\
             \"price\":{}.{:02},\"quantity\":{},\"tags\":[\"{}\",\"{}\"]}}",
            self.producer,
            mixed % 24,
            (mixed >> 8) % 60,
            (mixed >> 16) % 60,
            mixed % 1000,
            word(3),
            word(9),
            (mixed >> 20) as u32,
            mixed,
            (mixed >> 30) % 500,
            mixed % 100,
            mixed % 9 + 1,
            word(17),
            word(23),
        );
    }
}

/// Checks that what is read back is what makers made: each producer's records
/// from its first on, none missing, none twice, none changed.
#[derive(Debug)]
pub(super) struct Checker {
    kind: Kind,
    makers: Vec<Maker>,
    checked: u64,
}

impl Checker {
    pub(super) fn new(kind: Kind, producers: u16) -> Checker {
        let makers = (0..producers).map(|producer| Maker::new(kind, producer)).collect();
        Checker { kind, makers, checked: 0 }
    }

    /// Holds the next record against what its producer wrote next.
    pub(super) fn check(&mut self, payload: &[u8]) -> Result<(), String> {
        let producer = producer_of(self.kind, payload).unwrap_or(u16::MAX);
        let wrong = || format!("record {} is not one that was written next", self.checked);
        let maker = self.makers.get_mut(usize::from(producer)).ok_or_else(wrong)?;
        if maker.next() != payload {
            return Err(format!("record {} of producer {producer} is not its next", self.checked));
        }
        self.checked += 1;
        Ok(())
    }

    /// Records that were right.
    pub(super) fn checked(&self) -> u64 {
        self.checked
    }
}

fn producer_of(kind: Kind, payload: &[u8]) -> Option<u16> {
    match kind {
        Kind::Random(_) => Some(u16::from_le_bytes(*payload.first_chunk()?)),
        Kind::Json => {
            let head = payload.get(..payload.len().min(60))?;
            let text = std::str::from_utf8(head).ok()?;
            text.split("\"producer\":").nth(1)?.split(',').next()?.parse().ok()
        }
    }
}

/// Bytes that no codec makes smaller; the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_right_and_nothing_else_is() {
        for kind in [Kind::Random(10), Kind::Random(100), Kind::Json] {
            let mut makers = [Maker::new(kind, 0), Maker::new(kind, 1)];
            let mut checker = Checker::new(kind, 2);
            for turn in [0, 1, 1, 0, 1] {
                checker.check(makers[turn].next()).expect("it is next");
            }
            assert_eq!(checker.checked(), 5);
            let skipped = {
                let _ = makers[0].next();
                makers[0].next().to_vec()
            };
            assert!(checker.check(&skipped).is_err(), "one is missing");
            let mut third = Maker::new(kind, 2);
            assert!(checker.check(third.next()).is_err(), "there is no third producer");
        }
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let mut bytes = Maker::new(Kind::Random(100), 0).next().to_vec();
        bytes[99] ^= 1;
        assert!(Checker::new(Kind::Random(100), 1).check(&bytes).is_err());
    }

    #[test]
    fn json_payloads_are_json() {
        let mut maker = Maker::new(Kind::Json, 3);
        for _ in 0..100 {
            let value: serde_json::Value = serde_json::from_slice(maker.next()).expect("JSON");
            assert_eq!(value["producer"], 3);
        }
    }
}
