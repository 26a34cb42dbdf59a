//! Parses the names and ids of logs, and the names of files. See `styx_engine::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| styx_engine::fuzzing::run("names", bytes));
