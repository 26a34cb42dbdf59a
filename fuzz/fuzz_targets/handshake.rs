//! Decodes the parameters and features of a handshake, and checkpoints. See `styx_engine::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| styx_engine::fuzzing::run("handshake", bytes));
