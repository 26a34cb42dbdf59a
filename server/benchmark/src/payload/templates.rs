//! [`Templates`]: the bytes of payloads, without stamps.

use std::ops::Range;

use super::{PayloadKind, Stamp};

/// The total size of random templates: small, so that they stay in the CPU cache.
const RANDOM_BYTES: usize = 256 << 10;
/// The number of lines. They do not fit in one block, so no codec finds a line twice.
const JSON_LINES: usize = 8192;

/// The payloads of all producers, without stamps. Record `i` uses template `i` modulo
/// their number.
#[derive(Debug)]
pub(crate) struct Templates {
    kind: PayloadKind,
    bytes: Vec<u8>,
    /// Where each template begins, and where the last one ends.
    bounds: Vec<usize>,
}

impl Templates {
    pub(crate) fn new(kind: PayloadKind) -> Templates {
        let mut bounds = vec![0];
        let bytes = match kind {
            PayloadKind::Random(len) => {
                let len = len.max(Stamp::RANDOM_BYTES);
                let count = (RANDOM_BYTES / len).max(1);
                bounds.extend((1..=count).map(|i| i * len));
                noise(count * len)
            }
            PayloadKind::Json => {
                let mut bytes = Vec::new();
                for index in 0..JSON_LINES {
                    line(index as u64, &mut bytes);
                    bounds.push(bytes.len());
                }
                bytes
            }
        };
        Templates { kind, bytes, bounds }
    }

    pub(crate) fn kind(&self) -> PayloadKind {
        self.kind
    }

    /// The number of templates, at least 1.
    pub(super) fn count(&self) -> usize {
        self.bounds.len() - 1
    }

    /// The template of record `index`.
    pub(super) fn of(&self, index: u64) -> &[u8] {
        let at = (index % self.count() as u64) as usize;
        match self.bounds.get(at..at + 2) {
            Some(&[start, end]) => self.bytes.get(Range { start, end }).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Appends the payload of a record.
    pub(crate) fn append(&self, stamp: Stamp, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(self.of(stamp.index));
        if let Some(payload) = out.get_mut(from..) {
            stamp.write(self.kind, payload);
        }
    }

    /// The mean length of a payload in bytes.
    pub(crate) fn payload_bytes(&self) -> f64 {
        self.bytes.len() as f64 / self.count() as f64
    }
}

/// One line, with zeros in place of the stamp.
fn line(index: u64, out: &mut Vec<u8>) {
    const WORDS: [&str; 16] = [
        "view", "cart", "order", "refund", "login", "logout", "search", "rating", "Berlin",
        "Lagos", "Lima", "Osaka", "Oslo", "Pune", "Quito", "Turin",
    ];
    let mixed = index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = mixed ^ (mixed >> 29);
    let word = |shift: u32| WORDS[(mixed >> shift) as usize % WORDS.len()];
    let text = format!(
        "{{\"id\":\"{:016x}\",\"producer\":\"{:04x}\",\"time\":\"2026-01-01T{:02}:{:02}:{:02}.{:03}Z\",\
         \"kind\":\"{}\",\"city\":\"{}\",\"user\":\"u{:08x}\",\"session\":\"{:016x}\",\
         \"price\":{}.{:02},\"quantity\":{},\"tags\":[\"{}\",\"{}\"]}}",
        0,
        0,
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
    out.extend_from_slice(text.as_bytes());
}

/// Pseudorandom bytes that do not compress. They are the same in every run.
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
    fn json_payloads_are_valid_json_with_their_stamp() {
        let templates = Templates::new(PayloadKind::Json);
        for index in [0, 1, 8191, 8192, 1 << 40] {
            let mut payload = Vec::new();
            templates.append(Stamp { producer: 3, index }, &mut payload);
            let value: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
            assert_eq!(value["producer"], "0003");
            assert_eq!(value["id"], format!("{index:016x}"));
        }
    }

    #[test]
    fn random_payloads_have_the_requested_size() {
        for len in [10, 100, 1000, 64_000, 1_000_000] {
            let templates = Templates::new(PayloadKind::Random(len));
            assert_eq!(templates.of(12_345).len(), len);
            assert_eq!(templates.payload_bytes(), len as f64);
        }
    }
}
