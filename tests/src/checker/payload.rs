//! [`Payload`]: a record that contains its producer and sequence, with a checksum.
//!
//! ```text
//! producer: u32 | sequence: u64 | length: u32 | checksum: u32 | filler[length]
//! └ big-endian; checksum = CRC-32 of everything else ┘
//! ```

use crate::random::Random;

const HEADER_BYTES: usize = 20;

/// The fields of a record of the checker's producers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Payload {
    /// The producer that wrote it.
    pub producer: u32,
    /// Its number among that producer's records, from 0.
    pub sequence: u64,
    /// The number of filler bytes after the header.
    pub length: u32,
}

impl Payload {
    /// The bytes. The same payload always has the same bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.length as usize);
        bytes.extend_from_slice(&self.producer.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.length.to_be_bytes());
        let seed = u64::from(self.producer) << 40 ^ self.sequence;
        let filler = Random::new(seed).bytes(self.length as usize);
        let checksum = checksum(&bytes, &filler);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        bytes.extend_from_slice(&filler);
        bytes
    }

    /// Parses the bytes, if they are a complete payload.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Payload> {
        let (fields, rest) = bytes.split_at_checked(HEADER_BYTES - 4)?;
        let (stored, filler) = rest.split_first_chunk()?;
        let length = u32::from_be_bytes(*fields.last_chunk()?);
        let whole = filler.len() == length as usize
            && checksum(fields, filler) == u32::from_be_bytes(*stored);
        whole.then_some(Payload {
            producer: u32::from_be_bytes(*fields.first_chunk()?),
            sequence: u64::from_be_bytes(*fields[4..].first_chunk()?),
            length,
        })
    }
}

fn checksum(fields: &[u8], filler: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(fields);
    hasher.update(filler);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for length in [0, 1, 7, 8, 9, 5000] {
            let payload = Payload { producer: 7, sequence: 1 << 40, length };
            assert_eq!(Payload::decode(&payload.encode()), Some(payload));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = Payload { producer: 1, sequence: 2, length: 11 }.encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Payload::decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = Payload { producer: 1, sequence: 2, length: 11 }.encode();
        for length in 0..bytes.len() {
            assert_eq!(Payload::decode(&bytes[..length]), None, "cut at {length}");
        }
    }
}
