//! [`Stamp`]: which record a payload is, written into the payload itself.

use super::Kind;

/// Which record of which producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::benchmark) struct Stamp {
    pub(in crate::benchmark) producer: u16,
    pub(in crate::benchmark) index: u64,
}

/// Where an index begins in a JSON line: behind `{"id":"`.
const JSON_INDEX: usize = 7;
/// Where its producer begins: behind the index and `","producer":"`.
const JSON_PRODUCER: usize = JSON_INDEX + 16 + 14;
const JSON_END: usize = JSON_PRODUCER + 4;

impl Stamp {
    /// Bytes of a random payload that are its stamp: it cannot be shorter.
    pub(in crate::benchmark) const RANDOM_BYTES: usize = 10;

    /// Writes the stamp into a payload, which has the bytes of a template.
    pub(super) fn write(self, kind: Kind, payload: &mut [u8]) {
        match kind {
            Kind::Random(_) => {
                if let Some(head) = payload.first_chunk_mut::<{ Stamp::RANDOM_BYTES }>() {
                    let fields = (u128::from(self.index) << 16) | u128::from(self.producer);
                    *head = std::array::from_fn(|i| (fields >> (8 * i)) as u8);
                }
            }
            Kind::Json => {
                write_hex(payload.get_mut(JSON_INDEX..), &self.index.to_be_bytes());
                write_hex(payload.get_mut(JSON_PRODUCER..), &self.producer.to_be_bytes());
            }
        }
    }

    /// The stamp of a payload; `None` if it can have none.
    pub(in crate::benchmark) fn read(kind: Kind, payload: &[u8]) -> Option<Stamp> {
        match kind {
            Kind::Random(_) => {
                let producer = u16::from_le_bytes(*payload.first_chunk()?);
                let index = u64::from_le_bytes(*payload.get(2..)?.first_chunk()?);
                Some(Stamp { producer, index })
            }
            Kind::Json => {
                let index = u64::from_be_bytes(read_hex(payload.get(JSON_INDEX..)?)?);
                let producer = u16::from_be_bytes(read_hex(payload.get(JSON_PRODUCER..)?)?);
                Some(Stamp { producer, index })
            }
        }
    }

    /// Whether a payload is the template wherever no stamp stands.
    pub(super) fn frames(kind: Kind, payload: &[u8], template: &[u8]) -> bool {
        let same = |from: usize, to: usize| payload.get(from..to) == template.get(from..to);
        payload.len() == template.len()
            && match kind {
                Kind::Random(_) => same(Stamp::RANDOM_BYTES, payload.len()),
                Kind::Json => {
                    same(0, JSON_INDEX)
                        && same(JSON_INDEX + 16, JSON_PRODUCER)
                        && same(JSON_END, payload.len())
                }
            }
    }
}

fn write_hex<const N: usize>(at: Option<&mut [u8]>, value: &[u8; N]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let pairs = at.into_iter().flat_map(|at| at.chunks_exact_mut(2));
    for (pair, byte) in pairs.zip(value) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

fn read_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut value = [0; N];
    for (at, byte) in value.iter_mut().enumerate() {
        *byte = (digit(*digits.get(2 * at)?)? << 4) | digit(*digits.get(2 * at + 1)?)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for kind in [Kind::Random(100), Kind::Json] {
            for stamp in
                [Stamp { producer: 0, index: 0 }, Stamp { producer: 0xBEEF, index: 1 << 60 }]
            {
                let mut payload = vec![b'x'; 100];
                stamp.write(kind, &mut payload);
                assert_eq!(Stamp::read(kind, &payload), Some(stamp), "{kind:?}");
                assert!(Stamp::frames(kind, &payload, &[b'x'; 100]));
                payload[99] ^= 1;
                assert!(!Stamp::frames(kind, &payload, &[b'x'; 100]));
            }
        }
        assert_eq!(Stamp::read(Kind::Random(10), &[0; 9]), None);
        assert_eq!(Stamp::read(Kind::Json, &[b'X'; 100]), None);
    }
}
