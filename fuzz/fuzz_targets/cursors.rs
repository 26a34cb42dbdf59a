//! Decodes a file of cursors. See `styx_engine::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| styx_engine::fuzzing::run("cursors", bytes));
