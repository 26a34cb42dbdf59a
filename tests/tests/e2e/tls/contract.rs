//! The tests of the other modules, each with a server that speaks TLS.

use styx_tests::transport::{TLS, TLS_WITH_TOKENS, run_again};

#[test]
fn http_contract_holds_over_tls() {
    run_again(TLS, &["http::"], &["over_http::"]);
}

#[test]
fn websocket_contract_holds_over_tls() {
    run_again(TLS, &["websocket::"], &[]);
}

#[test]
fn contracts_of_styx0_and_styx1_hold_over_tls() {
    run_again(TLS, &["styx0::", "styx1::"], &[]);
}

/// The contract's table: what each request of HTTP and each handshake is answered.
const TABLE: &[&str] = &[
    "http::appends",
    "http::backup",
    "http::by_hand",
    "http::compatibility",
    "http::conditional_appends",
    "http::cursors",
    "http::error_codes",
    "http::follow",
    "http::half_close",
    "http::logs",
    "http::metrics",
    "http::reads",
    "http::restore_0x",
    "http::transport",
    "styx0::handshake",
    "styx1::handshake",
    "websocket::reader",
    "websocket::writer",
];

/// Tests of it that are not run with tokens.
const NOT_WITH_TOKENS: &[&str] = &[
    // These are of the command line.
    "over_http::",
    // These send requests by curl and by a library, which do not know the token.
    "http_2_works_with_prior_knowledge",
    "an_independent_websocket_library_can_read_and_write",
    // These are long, and tokens change nothing in what they test.
    "a_log_has_at_most_1000_cursors",
    "every_flipped_byte_of_a_small_archive_",
    "backups_packed_again_with_tar_",
    "corrupt_and_truncated_archives_",
    "malicious_entries",
    "statsd_is_sent_at_most_once_a_second_",
    "an_archive_with_a_flipped_bit_",
    "bombs_and_false_sizes_",
    "a_decompression_bomb_",
    "a_small_body_that_decompresses_to_a_huge_record_",
    "consecutive_polls_see_every_record_once",
];

#[test]
fn table_of_the_contract_holds_over_tls_with_tokens() {
    run_again(TLS_WITH_TOKENS, TABLE, NOT_WITH_TOKENS);
}
