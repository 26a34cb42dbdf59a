//! [`PayloadBuilder`]: a large record while it arrives.
//!
//! ```text
//! chunks of any size ─copy─▶ pieces of 256 KiB ─▶ one append, written from the pieces
//! ```
//!
//! A chunk may be tiny, or a part of a much larger buffer. So the bytes are copied to
//! pieces, and the record needs its own size in memory and at most one piece more,
//! whatever the chunks are.

use bytes::BytesMut;
use styx_engine::Payload;

/// The size of a piece: 256 KiB.
pub(crate) const PAYLOAD_PIECE_BYTES: usize = 256 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PayloadBuilder {
    full: Payload,
    piece: BytesMut,
}

impl PayloadBuilder {
    /// Adds bytes at the end.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.piece.is_empty() && !self.full.is_empty() {
                self.piece = BytesMut::with_capacity(PAYLOAD_PIECE_BYTES);
            }
            let room = PAYLOAD_PIECE_BYTES - self.piece.len();
            let (fitting, rest) = bytes.split_at(bytes.len().min(room));
            self.piece.extend_from_slice(fitting);
            if self.piece.len() == PAYLOAD_PIECE_BYTES {
                self.full.push(std::mem::take(&mut self.piece).freeze());
            }
            bytes = rest;
        }
    }

    /// The number of bytes.
    pub(crate) fn len_bytes(&self) -> usize {
        self.full.len_bytes() + self.piece.len()
    }

    /// Whether there are no bytes.
    pub(crate) fn is_empty(&self) -> bool {
        self.len_bytes() == 0
    }

    /// Takes the payload, and leaves the builder empty.
    pub(crate) fn take(&mut self) -> Payload {
        let mut payload = std::mem::take(&mut self.full);
        let piece = std::mem::take(&mut self.piece);
        if !piece.is_empty() {
            payload.push(piece.freeze());
        }
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_any_size_become_full_pieces() {
        let len = 3 * PAYLOAD_PIECE_BYTES + 5;
        let bytes: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).expect("small")).collect();
        let mut builder = PayloadBuilder::default();
        for chunk_bytes in [1000, PAYLOAD_PIECE_BYTES, 2 * PAYLOAD_PIECE_BYTES + 1, len] {
            for chunk in bytes.chunks(chunk_bytes) {
                builder.push(chunk);
            }
            assert_eq!(builder.len_bytes(), len);
            let payload = builder.take();
            assert_eq!(payload.pieces().len(), 4, "{chunk_bytes}");
            assert!(payload.pieces().concat() == bytes, "{chunk_bytes}");
            assert!(builder.is_empty());
        }
        assert!(builder.take().is_empty());
    }
}
