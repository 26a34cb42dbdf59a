//! styx/0: messages decoded out of what a socket read, and encoded from records.

use std::hint::black_box;

use bytes::BytesMut;
use styx_protocol::styx0::{Message, MessageDecoder, encode_record, encode_records};

use crate::Work;
use crate::payloads::{Payloads, RECORDS};

/// Bytes of one read of the socket.
const READ_BYTES: usize = 64 << 10;

/// Payloads are looked at and not kept.
pub(crate) fn decode(payloads: Payloads) -> Work {
    let mut sent = BytesMut::new();
    payloads.each().for_each(|payload| encode_record(payload, &mut sent));
    let sent = sent.freeze();
    Box::new(move || {
        let mut decoder = MessageDecoder::new(1 << 20);
        let mut records = 0;
        for read in sent.chunks(READ_BYTES) {
            decoder.push(read);
            while let Some(message) = decoder.next().expect("good messages") {
                if let Message::Record(payload) = message {
                    black_box(payload);
                    records += 1;
                }
            }
        }
        assert_eq!(records, RECORDS);
    })
}

/// As a consumer gets them.
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
