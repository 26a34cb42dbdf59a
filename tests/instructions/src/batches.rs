//! The client's batches: assembled from blocks, and gone through.
//!
//! The client assembles them on a thread of its own, between reads of a socket,
//! whose sizes chance decides. So that only the assembling is counted, its source
//! is compiled into this program: it needs nothing of the client core but itself.

#[path = "../../../core-client/src/batch/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub, reason = "not all of it is used here")]
mod batch;

use std::hint::black_box;

use bytes::Bytes;
use styx_protocol::LogId;

use self::batch::{Assembler, RecordBatch};
use crate::Work;
use crate::payloads::{Payloads, RECORDS};

/// Of plain blocks, as they came from a socket.
pub(crate) fn assemble(payloads: Payloads) -> Work {
    let blocks = payloads.stored(0);
    Box::new(move || {
        black_box(assembled(&blocks));
    })
}

/// Every payload looked at.
pub(crate) fn iterate(payloads: Payloads) -> Work {
    let batches = assembled(&payloads.stored(0));
    assert_eq!(batches.iter().map(RecordBatch::len).sum::<usize>(), RECORDS);
    Box::new(move || {
        for record in batches.iter().flatten() {
            black_box((record.position(), record.timestamp(), record.payload()));
        }
    })
}

fn assembled(blocks: &[Bytes]) -> Vec<RecordBatch> {
    let mut assembler = Assembler::new(LogId(7), 0, u64::MAX);
    for block in blocks {
        assembler.take(block.clone()).expect("a good block");
    }
    assembler.finish().collect()
}
