//! `Client::connect` and `Client::check` against a real server, also one that hangs.

use std::time::{Duration, Instant};

use styx_client::Kind;
use styx_client::blocking::Client;
use styx_tests::TestServer;
use styx_tests::server::Settings;

#[test]
fn check_returns_version_features_and_limits() {
    let server = Settings::default().set("max_log_record_size = 1048576").start();
    let client = Client::connect(&server.address().to_string()).expect("a server");
    let info = client.check().expect("a server");
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    for feature in ["styx/0", "styx/1", "websocket", "lz4", "zstd"] {
        assert!(info.has_feature(feature), "{feature} in {info:?}");
    }
    assert_eq!((info.max_record_size, info.max_block_size), (Some(1 << 20), Some(1 << 20)));
}

/// The kernel still accepts the connections of a stopped process.
#[test]
fn connect_to_a_stopped_server_fails_within_the_connect_timeout() {
    let server = TestServer::start();
    let address = server.address().to_string();
    server.pause();
    let started = Instant::now();
    let builder = Client::builder(&address).connect_timeout(Duration::from_secs(1));
    let error = builder.clone().connect().expect_err("the server hangs");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert_eq!(error.kind(), Kind::TimedOut, "{error}");
    assert!(error.message().contains("did not answer GET /version"), "{error}");
    server.resume();
    builder.connect_timeout(Duration::from_secs(30)).connect().expect("it continues");
}
