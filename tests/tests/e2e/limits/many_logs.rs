//! More logs than the process may have open files: the files of idle logs are closed and
//! opened again.

use styx_tests::Request;

use super::connection_limit::with_open_files;

#[test]
fn a_thousand_logs_are_served_with_256_descriptors() {
    let mut server = with_open_files(256);
    let logs: Vec<String> = (0..1000).map(|n| format!("log-{n}")).collect();
    for log in &logs {
        server.create(log);
        let _ = server.append(log, format!("{log} first"));
    }
    for log in &logs {
        let _ = server.append(log, format!("{log} second"));
    }
    let _ = server.stop();
    server.restart();
    for log in &logs {
        let expected = [format!("{log} first"), format!("{log} second")].map(String::into_bytes);
        assert_eq!(server.read_all(log), expected);
    }
    server.create("one-more");
    let _ = server.append("one-more", "x");
    let ready = server.ask(&Request::get("/health/ready")).expect(200);
    assert!(!ready.text().contains("log-"), "every log is ok: {}", ready.shown());
    let listed = server.ask(&Request::get("/logs")).expect(200);
    assert_eq!(listed.json().as_array().map(Vec::len), Some(1001));
    assert!(!server.log().contains("Too many open files"), "{}", server.log());
}
