//! Blocks: building them from encoded records, and checking them as a server does.

use std::hint::black_box;

use styx_protocol::block::{self, Origin};

use crate::Work;
use crate::payloads::{Payloads, parsed};

/// More than any payload here.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// Builds blocks: header, checksum and a copy of the records.
pub(crate) fn build(payloads: Payloads) -> Work {
    let records = payloads.records();
    Box::new(move || {
        for records in &records {
            black_box(block::build(records, Origin::default()));
        }
    })
}

/// Checks blocks: header, body and the checksum of every record.
pub(crate) fn check(payloads: Payloads) -> Work {
    let blocks = payloads.blocks(7, 0);
    Box::new(move || {
        for block in &blocks {
            let checked = parsed(block.clone()).into_checked(PAYLOAD_BYTES_MAX);
            black_box(checked.expect("a valid block"));
        }
    })
}
