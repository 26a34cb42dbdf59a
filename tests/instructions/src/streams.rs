//! styx/0: decoding messages from the bytes of a socket, and encoding records.

use std::hint::black_box;

use bytes::BytesMut;
use styx_protocol::styx0::{Message, MessageDecoder, encode_record, encode_records};

use crate::Work;
use crate::payloads::{Payloads, RECORDS};

/// Bytes of one read of the socket.
const READ_BYTES: usize = 64 << 10;

/// Decodes messages without keeping their payloads.
pub(crate) fn decode(payloads: Payloads) -> Work {
    let mut sent = BytesMut::new();
    payloads.each().for_each(|payload| encode_record(payload, &mut sent));
    let sent = sent.freeze();
    Box::new(move || {
        let mut decoder = MessageDecoder::new(1 << 20);
        let mut records = 0;
        for read in sent.chunks(READ_BYTES) {
            decoder.push(read);
            while let Some(message) = decoder.next().expect("valid messages") {
                if let Message::Record(payload) = message {
                    black_box(payload);
                    records += 1;
                }
            }
        }
        assert_eq!(records, RECORDS);
    })
}

/// Encodes records for a consumer.
pub(crate) fn encode(payloads: Payloads) -> Work {
    let records = payloads.records();
    Box::new(move || {
        for records in &records {
            let mut out = BytesMut::new();
            black_box(encode_records(records, u64::MAX, &mut out));
            black_box(out);
        }
    })
}
