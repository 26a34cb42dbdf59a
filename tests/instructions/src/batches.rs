//! The client's record batches: assembling them from blocks, and iterating over them.
//!
//! The client assembles batches on its own thread, between reads of random sizes from a
//! socket. To count only the assembling, its source is compiled into this program. It
//! depends on nothing else in the client core.

#[path = "../../../core-client/src/batch/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub, reason = "only a part of it is used here")]
mod batch;

use std::hint::black_box;

use bytes::Bytes;
use styx_protocol::LogId;

use self::batch::{Assembler, RecordBatch};
use crate::Work;
use crate::payloads::{Payloads, RECORDS};

/// Assembles batches from plain blocks, as they come from a socket.
pub(crate) fn assemble(payloads: Payloads) -> Work {
    let blocks = payloads.stored(0);
    Box::new(move || {
        black_box(assembled(&blocks));
    })
}

/// Iterates over batches and reads every payload.
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
        assembler.take(block.clone()).expect("a valid block");
    }
    assembler.finish().collect()
}
