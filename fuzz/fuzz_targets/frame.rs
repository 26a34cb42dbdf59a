//! Decodes the frames of a styx/1 stream in one of its four directions. See `styx_engine::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| styx_engine::fuzzing::run("frame", bytes));
