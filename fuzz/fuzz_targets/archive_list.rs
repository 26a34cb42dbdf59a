//! Decodes a list of archived segments, and its entries. See `styx_engine::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| styx_engine::fuzzing::run("archive_list", bytes));
