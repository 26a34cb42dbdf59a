//! [`Stamp`]: the identity of a record, written into its payload.

use super::PayloadKind;

/// The identity of a record: its producer and its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) producer: u16,
    pub(crate) index: u64,
}

/// The offset of the index in a JSON line: after `{"id":"`.
const JSON_INDEX: usize = 7;
/// The offset of the producer: after the index and `","producer":"`.
const JSON_PRODUCER: usize = JSON_INDEX + 16 + 14;
const JSON_END: usize = JSON_PRODUCER + 4;

impl Stamp {
    /// The length of the stamp in a random payload, which cannot be shorter.
    pub(crate) const RANDOM_BYTES: usize = 10;

    /// Writes the stamp into a copy of a template.
    pub(super) fn write(self, kind: PayloadKind, payload: &mut [u8]) {
        match kind {
            PayloadKind::Random(_) => {
                if let Some(head) = payload.first_chunk_mut::<{ Stamp::RANDOM_BYTES }>() {
                    let fields = (u128::from(self.index) << 16) | u128::from(self.producer);
                    *head = std::array::from_fn(|i| (fields >> (8 * i)) as u8);
                }
            }
            PayloadKind::Json => {
                write_hex(payload.get_mut(JSON_INDEX..), &self.index.to_be_bytes());
                write_hex(payload.get_mut(JSON_PRODUCER..), &self.producer.to_be_bytes());
            }
        }
    }

    /// The stamp of a payload. `None` if the payload is too short or not of this kind.
    pub(crate) fn read(kind: PayloadKind, payload: &[u8]) -> Option<Stamp> {
        match kind {
            PayloadKind::Random(_) => {
                let producer = u16::from_le_bytes(*payload.first_chunk()?);
                let index = u64::from_le_bytes(*payload.get(2..)?.first_chunk()?);
                Some(Stamp { producer, index })
            }
            PayloadKind::Json => {
                let index = u64::from_be_bytes(read_hex(payload.get(JSON_INDEX..)?)?);
                let producer = u16::from_be_bytes(read_hex(payload.get(JSON_PRODUCER..)?)?);
                Some(Stamp { producer, index })
            }
        }
    }

    /// Whether a payload equals its template outside of the stamp.
    pub(super) fn matches_outside(kind: PayloadKind, payload: &[u8], template: &[u8]) -> bool {
        let same = |from: usize, to: usize| payload.get(from..to) == template.get(from..to);
        payload.len() == template.len()
            && match kind {
                PayloadKind::Random(_) => same(Stamp::RANDOM_BYTES, payload.len()),
                PayloadKind::Json => {
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
    fn a_written_stamp_can_be_read() {
        for kind in [PayloadKind::Random(100), PayloadKind::Json] {
            for stamp in
                [Stamp { producer: 0, index: 0 }, Stamp { producer: 0xBEEF, index: 1 << 60 }]
            {
                let mut payload = vec![b'x'; 100];
                stamp.write(kind, &mut payload);
                assert_eq!(Stamp::read(kind, &payload), Some(stamp), "{kind:?}");
                assert!(Stamp::matches_outside(kind, &payload, &[b'x'; 100]));
                payload[99] ^= 1;
                assert!(!Stamp::matches_outside(kind, &payload, &[b'x'; 100]));
            }
        }
        assert_eq!(Stamp::read(PayloadKind::Random(10), &[0; 9]), None);
        assert_eq!(Stamp::read(PayloadKind::Json, &[b'X'; 100]), None);
    }
}
