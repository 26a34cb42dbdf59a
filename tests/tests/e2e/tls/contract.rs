//! The tests of the other modules, each with a server that speaks TLS.

use styx_tests::transport::run_again;

/// Tests of a peer that does not read but sends heartbeats, within limits of time. The bridge
/// buffers too, and carries heartbeats late. `tls::clients` has the test of a consumer that
/// pauses.
const BUFFERS_OF_THE_BRIDGE: &[&str] =
    &["a_stalled_consumer_with_heartbeats_", "a_slow_or_busy_reader_stays_connected"];

#[test]
fn http_contract_holds_over_tls() {
    run_again("tls", &["http::"], &["over_http::"]);
}

#[test]
fn websocket_contract_holds_over_tls() {
    run_again("tls", &["websocket::"], BUFFERS_OF_THE_BRIDGE);
}

#[test]
fn contracts_of_styx0_and_styx1_hold_over_tls() {
    run_again("tls", &["styx0::", "styx1::"], BUFFERS_OF_THE_BRIDGE);
}
