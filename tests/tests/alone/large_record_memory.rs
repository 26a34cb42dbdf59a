//! The memory of one large record: about its size, while it is appended, read, and after
//! a restart.

use std::time::Duration;

use styx_tests::api::{BINARY, read_binary};
use styx_tests::{Request, Response, Settings, TestServer};

use crate::alone;

const MB: u64 = 1_000_000;
const RECORD_BYTES: usize = 24_000_000;
/// For everything else in the process, with a reserve. Two copies of the record do
/// not fit.
const OTHER_BYTES: u64 = 22 * MB;
/// Much longer than needed: the speed of the disk is not what this tests.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    let settings = Settings::default().program(styx_tests::binary::released());
    let settings = settings.set("max_in_flight_bytes = 67108864");
    settings.set("max_answer_bytes = 67108864").set("max_log_record_size = 1073741824")
}

#[track_caller]
fn check_peak(server: &TestServer, records: u64, what: &str) {
    let peak = server.memory_bytes_most();
    println!("{what}: at most {} MB in memory", peak / MB);
    assert!(peak < records * RECORD_BYTES as u64 + OTHER_BYTES, "{what}: {} MB", peak / MB);
}

/// The answer to a request, which may take long.
#[track_caller]
fn ask(server: &TestServer, request: &Request) -> Response {
    let mut connection = server.connect();
    connection.set_patience(PATIENCE);
    connection.exchange(request).expect("an answer").expect(200)
}

/// Appends one record, which follows `before` in the body.
fn append(server: &TestServer, content_type: &str, before: &[u8]) {
    let mut body = before.to_vec();
    body.resize(before.len() + RECORD_BYTES, b'x');
    let request = Request::post("/logs/a/records").typed(content_type, body);
    let _ = ask(server, &request);
}

#[test]
fn a_large_record_takes_its_size_in_memory_once() {
    let _alone = alone();
    let mut server = settings().start();
    server.create_with("a", "max_record_size=1073741824");
    append(&server, "application/octet-stream", b"");
    check_peak(&server, 1, "appended as one record");
    let size = i32::try_from(RECORD_BYTES).expect("small").to_be_bytes();
    append(&server, BINARY, &size);
    check_peak(&server, 1, "appended as binary records");
    server.kill();
    server.restart();
    // The newest segment is checked at the start.
    check_peak(&server, 0, "opened");
    let one = ask(&server, &Request::get("/logs/a/records?position=1"));
    assert!(one.body.len() == RECORD_BYTES && one.body.iter().all(|byte| *byte == b'x'));
    check_peak(&server, 1, "read as one record");
    let many = ask(&server, &read_binary("a", ""));
    assert_eq!(many.body.len(), 2 * (4 + RECORD_BYTES));
    check_peak(&server, 1, "read as binary records");
}
