//! [`MessageDecoder`]: converts the bytes from a socket to messages.
//!
//! It parses in place, with a cursor. Returned messages leave the buffer only when the
//! caller reads into it again.

use bytes::{Buf, BytesMut};

use super::{
    ACK, ACK_BYTES, ERROR, ERROR_BYTES, HEARTBEAT, Message, RECORD, RECORD_HEAD_BYTES, TYPE_BYTES,
};
use crate::Position;

/// Why bytes are not messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A type that this protocol does not have.
    #[error("a message has the unknown type {0}: this protocol has 1 to 4")]
    Type(i16),
    /// A record's size is below zero.
    #[error("a record has a size of {0}")]
    NegativeSize(i32),
    /// A record exceeds the limit of the log.
    #[error("a record has {size} bytes, more than the {payload_bytes_max} allowed")]
    TooLarge {
        /// The claimed size.
        size: i32,
        /// The limit.
        payload_bytes_max: usize,
    },
    /// An ack's position or count is below zero.
    #[error("an ack has {0} as its position or count")]
    NegativeAck(i64),
    /// The stream ended inside a message.
    #[error("the stream ended inside a message")]
    Cut,
}

/// Converts bytes, however they are split, to messages.
///
/// Read into [`buffer`](Self::buffer), then call [`next`](Self::next) until it returns
/// `None`. The caller decides which messages the peer may send.
#[derive(Debug)]
pub struct MessageDecoder {
    payload_bytes_max: usize,
    buffer: BytesMut,
    /// Bytes at the front of the buffer that were returned.
    taken: usize,
    missing: usize,
}

impl MessageDecoder {
    /// A decoder at the first byte after the handshake. Payloads over
    /// `payload_bytes_max` are rejected.
    #[must_use]
    pub fn new(payload_bytes_max: usize) -> MessageDecoder {
        MessageDecoder { payload_bytes_max, buffer: BytesMut::new(), taken: 0, missing: TYPE_BYTES }
    }

    /// The buffer to read into, without the messages that were returned. Only append bytes.
    /// An idle caller may replace an empty buffer by a new one to free its memory.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.buffer.advance(self.taken);
        self.taken = 0;
        &mut self.buffer
    }

    /// Appends a copy of these bytes, such as those received with the handshake.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer().extend_from_slice(bytes);
    }

    /// The number of bytes that [`next`](Self::next) needs for its next message. It is never
    /// 0, and at most the size of the largest record's message.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Takes the part of an incomplete record that was received, and returns its payload. Call it
    /// when there is no next message. The caller must take the [`missing`](Self::missing) bytes of
    /// the payload from the front of the [`buffer`](Self::buffer) before it asks for the next
    /// message. So a large record needs no large buffer. `None` if no payload has been received.
    pub fn take_partial_record(&mut self) -> Option<BytesMut> {
        let is_record = self.buffer().get(..TYPE_BYTES) == Some(&RECORD.to_be_bytes()[..]);
        if !is_record || self.buffer.len() <= RECORD_HEAD_BYTES {
            return None;
        }
        let mut part = self.buffer.split();
        part.advance(RECORD_HEAD_BYTES);
        Some(part)
    }

    /// Whether a part of a message was received, but not all of it. Call it when there is no
    /// next message.
    #[must_use]
    pub fn is_mid_message(&self) -> bool {
        self.buffer.len() > self.taken
    }

    /// Checks the end of the stream: call it once the peer has closed its side and there is
    /// no further message.
    ///
    /// # Errors
    /// [`Error::Cut`] if the stream ended inside a message.
    pub fn finish(&self) -> Result<(), Error> {
        if self.is_mid_message() { Err(Error::Cut) } else { Ok(()) }
    }

    /// The next message; `None` until [`missing`](Self::missing) more bytes were received.
    ///
    /// # Errors
    /// See [`Error`]. Every further call returns the same error.
    #[expect(clippy::should_implement_trait, reason = "it lends, is fallible, and may go on")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Message<'_>>, Error> {
        let bytes = self.buffer.get(self.taken..).unwrap_or_default();
        match split(bytes, self.payload_bytes_max)? {
            Split::Message(message, message_bytes) => {
                self.taken += message_bytes;
                Ok(Some(message))
            }
            Split::Needs(message_bytes) => {
                self.missing = message_bytes.saturating_sub(bytes.len()).max(1);
                Ok(None)
            }
        }
    }
}

enum Split<'b> {
    Message(Message<'b>, usize),
    /// The least number of bytes of the first message.
    Needs(usize),
}

#[inline]
fn split(bytes: &[u8], payload_bytes_max: usize) -> Result<Split<'_>, Error> {
    let Some((kind, mut body)) = bytes.split_first_chunk() else {
        return Ok(Split::Needs(TYPE_BYTES));
    };
    match i16::from_be_bytes(*kind) {
        RECORD => {
            let Some((size, body)) = body.split_first_chunk() else {
                return Ok(Split::Needs(RECORD_HEAD_BYTES));
            };
            let size = i32::from_be_bytes(*size);
            let payload_bytes = usize::try_from(size).map_err(|_| Error::NegativeSize(size))?;
            if payload_bytes > payload_bytes_max {
                return Err(Error::TooLarge { size, payload_bytes_max });
            }
            let message_bytes = RECORD_HEAD_BYTES + payload_bytes;
            match body.get(..payload_bytes) {
                Some(payload) => Ok(Split::Message(Message::Record(payload), message_bytes)),
                None => Ok(Split::Needs(message_bytes)),
            }
        }
        ACK => {
            let (Ok(position), Ok(count)) = (body.try_get_i64(), body.try_get_i64()) else {
                return Ok(Split::Needs(ACK_BYTES));
            };
            let positive = |value| u64::try_from(value).map_err(|_| Error::NegativeAck(value));
            let position = Position(positive(position)?);
            Ok(Split::Message(Message::Ack { position, count: positive(count)? }, ACK_BYTES))
        }
        HEARTBEAT => Ok(Split::Message(Message::Heartbeat, TYPE_BYTES)),
        ERROR => match body.try_get_i16() {
            Ok(code) => Ok(Split::Message(Message::Error(code), ERROR_BYTES)),
            Err(_) => Ok(Split::Needs(ERROR_BYTES)),
        },
        unknown => Err(Error::Type(unknown)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_record_is_taken_and_its_rest_is_read_from_the_buffer() {
        let mut decoder = MessageDecoder::new(10);
        decoder.push(b"\0\x03\0\x01\0\0\0\x05");
        assert_eq!(decoder.next(), Ok(Some(Message::Heartbeat)));
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.take_partial_record(), None, "nothing of the payload is there");
        decoder.push(b"ab");
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.missing(), 3);
        assert_eq!(decoder.take_partial_record().as_deref(), Some(&b"ab"[..]));
        decoder.push(b"cde\0\x03");
        assert_eq!(decoder.buffer().split_to(3), b"cde"[..]);
        assert_eq!(decoder.next(), Ok(Some(Message::Heartbeat)));
        decoder.push(b"\0\x04\0");
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.take_partial_record(), None, "it is no record");
    }
}
