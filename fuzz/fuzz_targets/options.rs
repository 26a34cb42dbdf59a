//! Sets options of clients, producers and consumers by key and value. See `styx_client::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| styx_client::fuzzing::run("options", bytes));
