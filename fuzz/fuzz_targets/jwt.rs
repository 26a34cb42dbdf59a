//! Checks signed tokens and files of keys. See `styx_server::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| styx_server::fuzzing::run("jwt", bytes));
