//! Decodes the bytes of a WebSocket client. See `styx_server::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| styx_server::fuzzing::run("websocket", bytes));
