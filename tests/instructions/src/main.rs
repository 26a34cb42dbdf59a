//! The hot paths, each run once for callgrind to count.
//!
//! ```text
//! prepare ─▶ work (warm-up) ─▶ counted_work(work) ─▶ next case
//!                               └ callgrind counts only in here, and writes a dump when
//!                                 it returns
//! ```
//! For every case the program prints one line, `name records`, in the order of the dumps.
//! `cargo xtask bench-instructions` runs it and combines both. With the name of a case it
//! runs only that case, to see where its instructions are:
//!
//! ```text
//! cargo build --profile profiling --package styx-instructions
//! valgrind --tool=callgrind --callgrind-out-file=target/callgrind/one \
//!     --toggle-collect=styx_instructions::counted_work \
//!     target/profiling/styx-instructions append_single_100
//! callgrind_annotate target/callgrind/one
//! ```
//!
//! Invariant: a case does the same work in every run. Nothing depends on the time, the
//! disk or the speed of another thread, so counts vary much less than the change that the
//! comparison looks for. Callgrind counts only the thread that is in `counted_work`. It
//! never counts the kernel.

mod batches;
mod blocks;
mod engine;
mod payloads;
mod producer;
mod records;
mod streams;

use std::hint::black_box;

use payloads::Payloads;

/// The work of a case, which runs twice: once to warm up, once to be counted.
type Work = Box<dyn FnMut()>;

/// How often the work of a case runs.
const RUNS: usize = 2;

/// The name of a case, and the function that prepares its work. The work handles each
/// record once.
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
    // The last one, because its threads leave the heap in a random state.
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

/// The function that callgrind selects by its name.
#[inline(never)]
fn counted_work(work: &mut dyn FnMut()) {
    work();
    // The call above must not be a tail call, which would be a jump.
    black_box(());
}
