//! Records: encoding payloads, and parsing records with their checksums.

use std::hint::black_box;

use styx_protocol::Records;
use styx_protocol::record::Builder;

use crate::Work;
use crate::payloads::Payloads;

/// Encodes payloads, as the server does for styx/0 and HTTP.
pub(crate) fn encode(payloads: Payloads) -> Work {
    Box::new(move || {
        let mut builder = Builder::new();
        for payload in payloads.each() {
            if !builder.push(payload) {
                black_box(builder.take());
                assert!(builder.push(payload), "the first always fits");
            }
        }
        black_box(builder.take());
    })
}

/// Parses bytes that were not checked before.
pub(crate) fn parse(payloads: Payloads) -> Work {
    let records = payloads.records();
    Box::new(move || {
        for records in &records {
            black_box(Records::parse(records.bytes().clone()).expect("valid records"));
        }
    })
}
