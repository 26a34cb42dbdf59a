//! Decodes a page of the archive. See `styx_archive::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| styx_archive::fuzzing::run("archive_page", bytes));
