//! Records: encoded from payloads, and parsed with every checksum.

use std::hint::black_box;

use styx_protocol::Records;
use styx_protocol::record::Builder;

use crate::Work;
use crate::payloads::Payloads;

/// As the server does it with what comes over styx/0 and HTTP.
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

/// Bytes that nobody has vouched for.
pub(crate) fn parse(payloads: Payloads) -> Work {
    let records = payloads.records();
    Box::new(move || {
        for records in &records {
            black_box(Records::parse(records.bytes().clone()).expect("good records"));
        }
    })
}
