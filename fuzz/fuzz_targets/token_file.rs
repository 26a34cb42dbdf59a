//! Decodes a token file. See `styx_server::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| styx_server::fuzzing::run("token_file", bytes));
