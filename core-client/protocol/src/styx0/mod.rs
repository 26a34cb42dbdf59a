//! The messages of styx/0, the first binary protocol, which is kept for existing clients.
//!
//! ```text
//! message    type: int16, then
//!   1 record     size: int32 | payload[size]
//!   2 ack        position: int64 | count: int64
//!   3 heartbeat  nothing
//!   4 error      code: int16
//! ```
//!
//! All integers are big-endian. From its size on, a record message equals the tail of a
//! stored record, so [`encode_records`] only copies bytes. The [`MessageDecoder`] lends
//! payloads from the buffer that the socket is read into, so a small record needs no
//! allocation and no reference count.

mod decoder;

pub use decoder::{Error, MessageDecoder};

use bytes::{BufMut, BytesMut};

use crate::limits::RECORD_HEADER_BYTES;
use crate::{Position, Records, record};

const TYPE_BYTES: usize = 2;
const RECORD_HEAD_BYTES: usize = TYPE_BYTES + 4;
const ACK_BYTES: usize = TYPE_BYTES + 16;
const ERROR_BYTES: usize = TYPE_BYTES + 2;

const RECORD: i16 = 1;
const ACK: i16 = 2;
const HEARTBEAT: i16 = 3;
const ERROR: i16 = 4;

/// The only error code of this protocol.
pub const UNKNOWN_ERROR: i16 = 0;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'b> {
    /// A record's payload, borrowed from the decoder's buffer.
    Record(&'b [u8]),
    /// An ack of durable records.
    Ack {
        /// The position after the last durable record of this stream.
        position: Position,
        /// The number of durable records of this stream.
        count: u64,
    },
    /// A heartbeat: the sender is alive.
    Heartbeat,
    /// The stream has failed; its code.
    Error(i16),
}

/// Appends a record.
///
/// # Panics
/// For payloads of 2 GiB or more, which cannot be encoded.
pub fn encode_record(payload: &[u8], out: &mut BytesMut) {
    let size = i32::try_from(payload.len()).expect("a record is smaller than 2 GiB");
    out.reserve(RECORD_HEAD_BYTES + payload.len());
    out.put_i16(RECORD);
    out.put_i32(size);
    out.put_slice(payload);
}

/// Appends the first `count_max` of these records, or all, and returns how many.
pub fn encode_records(records: &Records, count_max: u64, out: &mut BytesMut) -> u32 {
    let count = u32::try_from(count_max).unwrap_or(u32::MAX).min(records.count());
    let bytes = records.bytes();
    if count == records.count() {
        // Each record's CRC, 4 bytes, becomes a type, 2 bytes.
        out.reserve(bytes.len());
    }
    let mut offset = 0;
    for _ in 0..count {
        let Ok((start, end)) = record::frame(bytes, offset) else { break };
        out.put_i16(RECORD);
        let tail = start - RECORD_HEADER_BYTES + 4..end;
        out.put_slice(bytes.get(tail).unwrap_or_default());
        offset = end;
    }
    count
}

/// Appends an ack: the position after the stream's last durable record, and the number of
/// its durable records.
pub fn encode_ack(position: Position, count: u64, out: &mut BytesMut) {
    let signed = |value| i64::try_from(value).unwrap_or(i64::MAX);
    out.put_i16(ACK);
    out.put_i64(signed(position.0));
    out.put_i64(signed(count));
}

/// Appends a heartbeat.
pub fn encode_heartbeat(out: &mut BytesMut) {
    out.put_i16(HEARTBEAT);
}

/// Appends an error with the code [`UNKNOWN_ERROR`].
pub fn encode_error(out: &mut BytesMut) {
    out.put_i16(ERROR);
    out.put_i16(UNKNOWN_ERROR);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Builder;

    /// Checks the messages in `bytes`, and how decoding ends.
    fn check(bytes: &[u8], expected: &[Message<'_>], end: Result<(), Error>) {
        for step in [bytes.len().max(1), 1, 3] {
            let mut decoder = MessageDecoder::new(5);
            let (mut found, mut result) = (Vec::new(), Ok(()));
            'all: for chunk in bytes.chunks(step) {
                decoder.push(chunk);
                loop {
                    match decoder.next() {
                        Ok(Some(message)) => found.push(format!("{message:?}")),
                        Ok(None) => break,
                        Err(error) => {
                            result = Err(error);
                            break 'all;
                        }
                    }
                }
            }
            let expected: Vec<_> = expected.iter().map(|m| format!("{m:?}")).collect();
            assert_eq!(found, expected, "chunks of {step}");
            assert_eq!(result.and_then(|()| decoder.finish()), end, "chunks of {step}");
        }
    }

    #[test]
    fn messages_round_trip() {
        let mut bytes = BytesMut::new();
        encode_record(b"three", &mut bytes);
        encode_heartbeat(&mut bytes);
        encode_record(b"", &mut bytes);
        encode_ack(Position(7), 2, &mut bytes);
        encode_error(&mut bytes);
        let messages = [
            Message::Record(b"three"),
            Message::Heartbeat,
            Message::Record(b""),
            Message::Ack { position: Position(7), count: 2 },
            Message::Error(UNKNOWN_ERROR),
        ];
        check(&bytes, &messages, Ok(()));
        check(&bytes[..9], &[], Err(Error::Cut));
        check(&bytes[..bytes.len() - 1], &messages[..4], Err(Error::Cut));
    }

    #[test]
    fn invalid_messages_are_errors() {
        let too_large = Error::TooLarge { size: 6, payload_bytes_max: 5 };
        check(b"\0\x01\0\0\0\x06abcdef", &[], Err(too_large));
        check(b"\0\x03\0\x01\xff\xff\xff\xff", &[Message::Heartbeat], Err(Error::NegativeSize(-1)));
        check(b"\0\0", &[], Err(Error::Type(0)));
        check(b"\xff\xfe", &[], Err(Error::Type(-2)));
        let negative = [&b"\0\x02"[..], &[0xff; 8], &[0; 8]].concat();
        check(&negative, &[], Err(Error::NegativeAck(-1)));
    }

    #[test]
    fn stored_records_encode_as_messages() {
        let payloads: [&[u8]; 3] = [b"one", b"", b"three"];
        let mut builder = Builder::new();
        let mut single = BytesMut::new();
        let mut ends = vec![0];
        for payload in payloads {
            assert!(builder.push(payload));
            encode_record(payload, &mut single);
            ends.push(single.len());
        }
        let records = builder.take();
        for (count_max, count) in [(0, 0), (1, 1), (3, 3), (u64::MAX, 3)] {
            let mut out = BytesMut::new();
            assert_eq!(encode_records(&records, count_max, &mut out), count);
            assert_eq!(out, single[..ends[count as usize]]);
        }
    }
}
