//! Parses the parameters of a read and of a log's configuration. See `styx_engine::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| styx_engine::fuzzing::run("parameters", bytes));
