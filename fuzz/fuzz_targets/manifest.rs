//! Decodes the manifest of a log, `log.toml`. See `styx_engine::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| styx_engine::fuzzing::run("manifest", bytes));
