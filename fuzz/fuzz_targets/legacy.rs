//! Restores archives and imports directories of Styx 0.x. See `styx_engine::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| styx_engine::fuzzing::run("legacy", bytes));
