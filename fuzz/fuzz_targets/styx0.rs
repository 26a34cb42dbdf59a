//! Decodes the messages of a styx/0 stream. See `styx_engine::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| styx_engine::fuzzing::run("styx0", bytes));
