//! The hot pieces of work, each done once for callgrind to count.
//!
//! ```text
//! prepare ─▶ work (warm) ─▶ counted_work(work) ─▶ next case
//!                            └ callgrind counts in here alone, and writes what it
//!                              counted when it returns
//! ```
//! For every case one line goes to stdout, `name records`, in the order of the
//! counts. `cargo xtask bench-instructions` runs this and puts both together. With a
//! name it does that case alone, to see where its instructions are:
//!
//! ```text
//! valgrind --tool=callgrind --callgrind-out-file=target/callgrind/one \
//!     --toggle-collect=styx_instructions::counted_work \
//!     target/release/styx-instructions append_single_100
//! callgrind_annotate target/callgrind/one
//! ```
//!
//! What it keeps true: a case does the same work at every run. Nothing depends on
//! the time, the disk or another thread's pace, so that the counts differ by far
//! less than what they are compared for. Callgrind counts by thread, and only the
//! one that is in `counted_work`; what the kernel does is never counted.

mod batches;
mod blocks;
mod engine;
mod payloads;
mod producer;
mod records;
mod streams;

use std::hint::black_box;

use payloads::Payloads;

/// Something done twice: once to warm up, once to be counted.
type Work = Box<dyn FnMut()>;

/// How often a case's work is done.
const RUNS: usize = 2;

/// A name, and what prepares the work: to do its thing with each record once.
type Case = (&'static str, fn(Payloads) -> Work);

const CASES: [Case; 14] = [
    ("record_encode", records::encode),
    ("record_parse", records::parse),
    ("block_build", blocks::build),
    ("block_check", blocks::check),
    ("append_blocks", engine::append_blocks),
    ("append_single", engine::append_single),
    ("read_records", engine::read_records),
    ("read_blocks", engine::read_blocks),
    ("read_blocks_from_file", engine::read_blocks_from_file),
    ("styx0_decode", streams::decode),
    ("styx0_encode", streams::encode),
    ("batch_assemble", batches::assemble),
    ("batch_iterate", batches::iterate),
    // The last one, because its threads leave the heap as chance has it.
    ("producer_append", producer::append),
];

const PAYLOAD_BYTES: [usize; 2] = [10, 100];

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    for (name, prepare) in CASES {
        for payload_bytes in PAYLOAD_BYTES {
            let name = format!("{name}_{payload_bytes}");
            if !only.is_empty() && name != only {
                continue;
            }
            let payloads = Payloads::of(payload_bytes);
            let mut work = prepare(payloads);
            for _ in 1..RUNS {
                work();
            }
            counted_work(&mut *work);
            println!("{name} {}", payloads::RECORDS);
        }
    }
}

/// The function that callgrind knows by its name.
#[inline(never)]
fn counted_work(work: &mut dyn FnMut()) {
    work();
    // So that the call above is not the last thing, which would be a jump.
    black_box(());
}
